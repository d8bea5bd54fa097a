"""Run a command several times beside busy loops, and once on one core: do its tests depend on a quiet machine?

    python tests/under_load.py --rounds=3 --loops=2 -- make test TESTS=tests/unit

The loops run at the command's own priority and on its cores, and end with this process whatever ends it. The command
ends with it too, with its process group, unless this process is killed. Prints a line a round; its output goes to a
file, and the end of that to the console if it failed. Exit status 1 if any round did.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import IO

LOOP = "import os\nparent = os.getppid()\nwhile os.getppid() == parent:\n    sum(range(100_000))"
LINES_SHOWN = 30
"""Of the output of a round that failed."""


@contextmanager
def busy(num_loops: int) -> Iterator[None]:
    """That many processes that compute without end."""
    loops = [subprocess.Popen([sys.executable, "-S", "-c", LOOP]) for _ in range(num_loops)]
    try:
        yield
    finally:
        for loop in loops:
            loop.kill()
            loop.wait()


def run_group(command: Sequence[str], output: IO[str]) -> int:
    """Exit status of a command in a process group of its own, which ends with it or with this process."""
    started = subprocess.Popen(command, stdout=output, stderr=subprocess.STDOUT, process_group=0)
    try:
        return started.wait()
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(started.pid, signal.SIGKILL)
        started.wait()


def run_round(name: str, command: Sequence[str], log: Path, *, num_loops: int, cores: set[int]) -> bool:
    """Whether the command succeeded, on these cores and beside so many loops."""
    all_cores = os.sched_getaffinity(0)
    os.sched_setaffinity(0, cores)  # children inherit it
    started = time.monotonic()
    try:
        with busy(num_loops), log.open("w") as output:
            status = run_group(command, output)
    finally:
        os.sched_setaffinity(0, all_cores)
    minutes = (time.monotonic() - started) / 60
    said = "passed" if status == 0 else f"FAILED with status {status}"
    print(f"{name}, {len(cores)} cores, {num_loops} busy loops: {said} in {minutes:.1f} min ({log})", flush=True)
    if status:
        print(
            "".join(f"    {line}\n" for line in log.read_text(errors="replace").splitlines()[-LINES_SHOWN:]), flush=True
        )
    return status == 0


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter, prog="python tests/under_load.py"
    )
    parser.add_argument("--rounds", type=int, default=3, help="rounds beside the loops; 0 for none (default: 3)")
    parser.add_argument("--loops", type=int, default=2, help="busy loops beside them (default: 2)")
    parser.add_argument("--no-single-core", action="store_true", help="leave out the last round, on one core")
    parser.add_argument("command", nargs="+", help="what to run, after --")
    given = parser.parse_args(arguments)
    cores = os.sched_getaffinity(0)
    rounds = [(f"round {n + 1} of {given.rounds}", given.loops, cores) for n in range(given.rounds)]
    if not given.no_single_core:
        rounds.append(("alone", 0, {min(cores)}))
    logs = Path(tempfile.mkdtemp(prefix="under-load-"))
    passed = [
        run_round(name, given.command, logs / f"{i}.log", num_loops=num_loops, cores=on)
        for i, (name, num_loops, on) in enumerate(rounds)
    ]
    return 0 if all(passed) else 1


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(128 + number))  # so that what runs is ended
    sys.exit(main())
