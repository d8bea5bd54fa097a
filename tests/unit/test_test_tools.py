"""What runs the tests: the order of files names files that exist, and loops that make a machine busy end."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.scheduling import FIRST, ROOT
from tests.under_load import busy, main


def test_everything_that_is_run_first_is_there() -> None:
    assert [place for place in FIRST if not (ROOT / place).exists()] == []


def test_a_round_that_fails_is_shown_with_its_output_and_fails_the_whole(capsys: pytest.CaptureFixture[str]) -> None:
    program = "import os; print('cores:', len(os.sched_getaffinity(0))); raise SystemExit(os.getppid() < 0)"
    assert main(["--rounds=1", "--loops=1", "--", sys.executable, "-c", program]) == 0
    assert main(["--rounds=0", "--", sys.executable, "-c", program.replace("os.getppid() < 0", "3")]) == 1
    lines = capsys.readouterr().out.splitlines()
    assert "1 busy loops: passed" in lines[0] and "alone, 1 cores, 0 busy loops: passed" in lines[1]
    assert "FAILED with status 3" in lines[2] and lines[3].strip() == "cores: 1"


def test_a_round_that_is_terminated_ends_its_command(tmp_path: Path) -> None:
    program = f"import os, time; open({str(tmp_path / 'pid')!r}, 'w').write(f'{{os.getpid()}}\\n'); time.sleep(600)"
    command = [sys.executable, "tests/under_load.py", "--rounds=1", "--loops=1", "--", sys.executable, "-c", program]
    tool = subprocess.Popen(command, cwd=ROOT.parent, stdout=subprocess.DEVNULL)
    while not (tmp_path / "pid").is_file() or not (pid := (tmp_path / "pid").read_text()).endswith("\n"):
        assert tool.poll() is None
        time.sleep(0.01)
    tool.terminate()
    assert tool.wait() == 128 + signal.SIGTERM
    assert not Path("/proc", pid.strip()).exists()


def test_busy_loops_run_while_asked_for_and_end_with_the_block() -> None:
    before = children()
    with busy(2):
        assert len(children() - before) == 2
    assert children() <= before


def children() -> set[str]:
    """Processes that this one started."""
    return {pid for path in Path("/proc/self/task").glob("*/children") for pid in path.read_text().split()}
