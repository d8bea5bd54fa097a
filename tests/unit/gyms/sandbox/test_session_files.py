"""Saving the files of a session in a process of their own, where they are not what they seem."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[4]


def saved(folder: str | Path, paths: list[str] | None) -> tuple[int, bytes, bytes]:
    """Exit status, result channel and errors."""
    code = f"from gyms.sandbox.inside.files import run; run({{'mode': 'snapshot', 'paths': {paths!r}}})"
    done = subprocess.run(
        ["sh", "-c", 'exec "$0" -c "$1" 3>&1', sys.executable, code],
        cwd=folder, env={**os.environ, "PYTHONPATH": str(ROOT)}, capture_output=True, check=False, timeout=120,
    )  # fmt: skip
    return done.returncode, done.stdout, done.stderr


def test_a_file_that_is_longer_than_it_said_is_refused_and_not_taken_for_the_next() -> None:
    """One of /proc says that it is empty, as one does to which something is written while it is read."""
    status, results, error = saved("/proc/sys/kernel", ["ostype"])
    assert (status, error) == (1, b"'ostype': its size changed while it was read")
    assert results.startswith(b'["ostype", ') and results.endswith(b", 0]\n"), "no more than it said"


def test_nothing_is_waited_for_and_no_device_is_read(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "fifo")
    (tmp_path / "link").symlink_to("/dev/zero")
    (tmp_path / "file").write_text("it")
    (tmp_path / "file").chmod(0o640)
    assert saved(tmp_path, None) == (0, b'["file", 416, 2]\nit', b"")
    assert saved(tmp_path, ["fifo"]) == (1, b"", b"'fifo': it is no regular file")


def test_a_path_that_could_not_be_written_again_is_not_saved(tmp_path: Path) -> None:
    """All or nothing: the session that would be opened with it refuses such a path."""
    (tmp_path / "a").write_text("it")
    folder = tmp_path
    for _ in range(5):
        folder /= "x" * 200
    folder.mkdir(parents=True)
    (folder / ("y" * 19)).write_text("1024 bytes")
    assert saved(tmp_path, None)[0] == 0
    (folder / ("y" * 20)).write_text("1025 bytes")
    status, results, error = saved(tmp_path, None)
    assert (status, results) == (1, b"") and error.endswith(b"has more than 1024 bytes")
