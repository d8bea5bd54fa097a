"""What an actor's process prints: by Python, past it, and by its children."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from rl.actor_logs import logged

CODE = """
import os, subprocess, sys
from pathlib import Path
from rl.actor_logs import logged

class Worker:
    def __init__(self, word):
        print(word, "by print", flush=True)
        os.write(2, b"past Python\\n")
        subprocess.run(["sh", "-c", "echo by a child"])

made = logged(Worker, Path(sys.argv[1]) if sys.argv[1] else None, "engine_0")
assert (made.__name__, made.__module__ is not None) == ("Worker", True)
assert isinstance(made("said"), Worker)
"""


def run(folder: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-c", CODE, folder], capture_output=True, text=True, check=True)


def test_all_that_a_process_prints_is_in_its_file_and_a_new_process_goes_on_there(tmp_path: Path) -> None:
    for _ in range(2):
        done = run(str(tmp_path / "logs"))
        assert (done.stdout, done.stderr) == ("", "")
    lines = (tmp_path / "logs" / "engine_0.log").read_text().splitlines()
    assert [line for line in lines if not line.startswith("--- process")] == [
        "said by print", "past Python", "by a child",
    ] * 2  # fmt: skip
    assert len(lines) == 8


def test_where_the_folder_cannot_be_written_what_is_printed_stays_where_it_went(tmp_path: Path) -> None:
    (tmp_path / "logs").write_text("a file")
    assert "said by print" in run(str(tmp_path / "logs")).stdout


def test_without_a_folder_the_class_is_the_class() -> None:
    assert logged(Path, None, "x") is Path
