"""What an actor's process prints: by Python, past it, and by its children."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from rl import actor_logs

CODE = """
import contextlib, os, subprocess, sys, time
from pathlib import Path
from rl.actor_logs import redirect
from rl.folders import Folders, Shelf

class Unseen(Folders):
    def __init__(self):
        super().__init__(lambda method, *args: getattr(Shelf(), method)(*args))
    def sees(self, folder):
        return False

file = Path(sys.argv[1])
before = file.read_text() if file.exists() else ""
held = contextlib.ExitStack()
redirect(file, Unseen() if sys.argv[2:] else Folders(), held)
print("said by print", flush=True)
os.write(2, b"past Python\\n")
subprocess.run(["sh", "-c", "echo by a child"])
while sys.argv[2:] and file.read_text().count("by a child") == before.count("by a child"):  # sent by a thread
    time.sleep(0.01)
held.close()
"""


def run(file: Path, *how: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-c", CODE, str(file), *how], capture_output=True, text=True, check=True)


def test_all_that_a_process_prints_is_in_its_file_and_a_process_elsewhere_goes_on_there(tmp_path: Path) -> None:
    file = tmp_path / "logs" / "engine_0.log"
    for how in ([], ["unseen"]):
        done = run(file, *how)
        assert (done.stdout, done.stderr) == ("", "")
    lines = file.read_text().splitlines()
    assert [line for line in lines if not line.startswith("--- process")] == [
        "said by print", "past Python", "by a child",
    ] * 2  # fmt: skip
    assert len(lines) == 8


def test_where_the_folder_cannot_be_written_what_is_printed_stays_where_it_went(tmp_path: Path) -> None:
    (tmp_path / "logs").write_text("a file")
    assert "said by print" in run(tmp_path / "logs" / "engine_0.log").stdout


def test_what_could_not_be_sent_for_a_while_is_sent_once_it_can_be(tmp_path: Path, monkeypatch, capsys) -> None:
    class Full:
        """A disk that is full at first; the process ends when it has written."""

        failures, written = 2, b""

        def append(self, file: Path, text: bytes) -> None:
            if self.failures:
                self.failures -= 1
                raise OSError("no space")
            self.written += text
            raise SystemExit

    monkeypatch.setattr(actor_logs, "SEND_SECONDS", 0.0)
    (tmp_path / "local.log").write_bytes(b"said by print\n")
    disk = Full()
    with pytest.raises(SystemExit):
        actor_logs._send(tmp_path / "local.log", Path("/run/logs/engine_0.log"), disk)  # type: ignore[arg-type]
    assert disk.written == b"said by print\n"
    assert capsys.readouterr().out == "/run/logs/engine_0.log could not be written for a while: no space\n"
