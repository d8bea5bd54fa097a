"""Who may write a run folder."""

from __future__ import annotations

import errno
import fcntl
import subprocess
import sys
from pathlib import Path

import pytest

from rl.run_lock import only_run_in

HOLD = """
import sys, time
from pathlib import Path
from rl.run_lock import only_run_in
with only_run_in(Path(sys.argv[1])):
    print("held", flush=True)
    time.sleep(600)
"""


def test_a_folder_is_one_process_at_a_time_and_free_when_that_is_killed(tmp_path: Path) -> None:
    command = [sys.executable, "-c", HOLD, str(tmp_path / "run")]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as other:
        try:
            assert other.stdout is not None and other.stdout.readline() == "held\n"
            with pytest.raises(ValueError, match=rf"a run is going on in .*/run \(process {other.pid} on "):
                only_run_in(tmp_path / "run").__enter__()
        finally:
            other.kill()
    assert (tmp_path / "run" / ".lock").is_file()
    with only_run_in(tmp_path / "run"):
        pass


def test_what_a_run_starts_does_not_hold_its_lock(tmp_path: Path) -> None:
    with only_run_in(tmp_path):
        (tmp_path / "config.json").touch()
        child = subprocess.Popen(["sleep", "600"], close_fds=False)
        file = tmp_path / ".lock"
        kept = tmp_path.parent / "kept"
        kept.hardlink_to(file)  # the end deletes the name alone
    try:
        with kept.open() as lock:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    finally:
        child.kill()
        child.wait()


def test_the_end_leaves_what_the_run_wrote_and_no_empty_folder(tmp_path: Path) -> None:
    with only_run_in(tmp_path / "refused"):
        pass
    with only_run_in(tmp_path / "run"):
        (tmp_path / "run" / "config.json").touch()
    assert [str(path.relative_to(tmp_path)) for path in sorted(tmp_path.rglob("*"))] == ["run", "run/config.json"]


def test_a_file_system_without_locks_keeps_no_run_from_starting(tmp_path: Path, monkeypatch) -> None:
    def flock(*_: object) -> None:
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(fcntl, "flock", flock)
    with only_run_in(tmp_path):
        assert (tmp_path / ".lock").is_file()


def test_a_place_where_no_folder_can_be_is_told_by_its_setting(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(ValueError, match=rf"^run_dir = {tmp_path}/file: no run can be written there: File exists"):
        only_run_in(tmp_path / "file").__enter__()
