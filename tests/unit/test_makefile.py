"""`make venv` says in one line what an interpreter lacks, and which Debian package brings it."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]

pytestmark = pytest.mark.skipif(shutil.which("make") is None, reason="make is not installed")


def made(*arguments: str) -> tuple[int, list[str]]:
    """Status of make, and its lines of errors without make's own."""
    done = subprocess.run(["make", "-s", *arguments], cwd=ROOT, capture_output=True, text=True)
    return done.returncode, [line for line in done.stderr.splitlines() if not line.startswith("make")]


def interpreter(folder: Path, *, fails_at: str) -> Path:
    """This interpreter behind a script that fails where its arguments hold `fails_at`."""
    path = folder / "python-that-lacks-something"
    path.write_text(f'#!/bin/sh\ncase "$*" in *"{fails_at}"*) exit 1;; esac\nexec "{sys.executable}" "$@"\n')
    path.chmod(0o755)
    return path


@pytest.mark.parametrize(
    ("library", "package"),
    [("libnuma.so.1", "libnuma1"), ("libstdc++.so.6", "libstdc++6")],
)
def test_a_system_library_that_is_missing_is_one_line(tmp_path: Path, library: str, package: str) -> None:
    python = interpreter(tmp_path, fails_at=library)
    status, said = made("packages", f"PYTHON={python}", f"VENV={tmp_path / 'venv'}")
    assert status != 0 and len(said) == 1 and said[0].startswith(f"error: there is no {library}, which ")
    assert said[0].endswith(f"on Debian, apt-get install {package}") and not (tmp_path / "venv").exists()


@pytest.mark.parametrize(
    ("fails_at", "message"),
    [
        ("version_info", "3.11, 3.12 or 3.13 is needed"),
        ("import venv", "has no module venv: on Debian, apt-get install python3-venv"),
        ("-m pip", "has no pip: on Debian, apt-get install python3-pip"),
    ],
)
def test_what_an_interpreter_lacks_is_one_line(tmp_path: Path, fails_at: str, message: str) -> None:
    python = interpreter(tmp_path, fails_at=fails_at)
    status, said = made("packages", f"PYTHON={python}", f"VENV={tmp_path / 'venv'}")
    assert status != 0 and len(said) == 1 and said[0].startswith(f"error: {python} ") and message in said[0]
    assert not (tmp_path / "venv").exists()


def test_an_interpreter_that_is_not_there_is_one_line(tmp_path: Path) -> None:
    status, said = made("packages", "PYTHON=no-such-python", f"VENV={tmp_path / 'venv'}")
    assert (
        status != 0 and len(said) == 1 and said[0].startswith("error: there is no no-such-python: on Debian, apt-get")
    )


def test_a_folder_of_somebody_else_is_never_replaced(tmp_path: Path) -> None:
    (tmp_path / "precious").touch()
    status, said = made("packages", f"PYTHON={sys.executable}", f"VENV={tmp_path}")
    assert status != 0 and "was not made by this Makefile" in said[0]
    assert [path.name for path in tmp_path.iterdir()] == ["precious"]


def test_testing_under_no_python_at_all_is_an_error() -> None:
    status, said = made("pythons", "PYTHONS=no-such-python")
    assert status != 0 and said == ["error: none of no-such-python is installed; name some with PYTHONS="]
