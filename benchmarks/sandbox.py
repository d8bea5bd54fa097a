"""How fast sandboxed Python runs: runs per second with two workers, against a bare interpreter in the same run.

    bare       `python3 -I -S -c ...` by subprocess: no isolation at all
    sandbox    the tier that `auto` chooses here
    bwrap      bubblewrap and a fresh interpreter for each run, where bwrap is present

Rounds of the three alternate, so that what else the machine does weighs on all alike; figures are medians of rounds.
`--leak-check N` then makes N runs and compares memory, descriptors, processes and mounts before and after.
`--sessions N` opens N sessions instead and gives the median time, in ms, of opening one, of its first cell (which
starts the interpreter), of each of ten further cells, of a program, and of closing it.

    python -m benchmarks.sandbox [--runs 200] [--rounds 5] [--leak-check 10000] [--sessions 0] [--json]
"""

from __future__ import annotations

import argparse
import itertools
import json
import os
import statistics
import subprocess
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from benchmarks.machine import machine
from gyms.sandbox import Program, Sandbox, SandboxError, open_sandbox
from gyms.sandbox.view import interpreters

__all__ = ["check_leaks", "measure", "measure_sessions"]

SOURCE = "print(sum(i * i for i in range(1000)))"
EXPECTED = b"332833500\n"
NUM_WORKERS = 2
_NUM_CELLS = 10


def measure(num_runs: int, num_rounds: int) -> dict[str, Any]:
    """Runs per second and median latency in ms of each way, and their ratios to the bare interpreter."""
    ways: dict[str, list[Callable[[], bytes]]] = {"bare": [_bare] * NUM_WORKERS}
    boxes: list[Sandbox] = [open_sandbox() for _ in range(NUM_WORKERS)]
    ways["sandbox"] = [_runner(box) for box in boxes]
    tier = boxes[0].tier
    try:
        extra = [open_sandbox("bwrap") for _ in range(NUM_WORKERS)] if tier != "bwrap" else []
        boxes += extra
        if extra:
            ways["bwrap"] = [_runner(box) for box in extra]
    except SandboxError as error:
        print(f"without bubblewrap: {error}")
    rates: dict[str, list[float]] = {name: [] for name in ways}
    latencies: dict[str, list[float]] = {name: [] for name in ways}
    try:
        for _ in range(num_rounds):
            for name, workers in ways.items():
                seconds, each = _round(workers, num_runs)
                rates[name].append(num_runs / seconds)
                latencies[name] += each
    finally:
        for box in boxes:
            box.close()
    found: dict[str, Any] = {"tier": tier, "workers": NUM_WORKERS}
    for name in ways:
        found[f"{name}_runs_per_second"] = round(statistics.median(rates[name]), 1)
        found[f"{name}_median_ms"] = round(1000 * statistics.median(latencies[name]), 2)
    found["sandbox_to_bare"] = round(statistics.median(_ratios(rates["sandbox"], rates["bare"])), 2)
    if "bwrap" in rates:
        found["sandbox_to_bwrap"] = round(statistics.median(_ratios(rates["sandbox"], rates["bwrap"])), 2)
    return found


def measure_sessions(num_sessions: int) -> dict[str, Any]:
    """Median milliseconds of what a session does."""
    taken: dict[str, list[float]] = {name: [] for name in ("open", "first_cell", "next_cell", "program", "close")}

    def timed(name: str, act: Callable[[], Any]) -> Any:
        start = time.perf_counter()
        given = act()
        taken[name].append(1000 * (time.perf_counter() - start))
        return given

    box = open_sandbox()
    for _ in range(num_sessions):
        session = timed("open", box.open)
        timed("first_cell", lambda s=session: s.python("x = 0"))
        for _ in range(_NUM_CELLS):
            cell = timed("next_cell", lambda s=session: s.python("x += 1\nx"))
        if cell.output != f"{_NUM_CELLS}\n":
            raise RuntimeError(f"a session gave {cell}")
        timed("program", lambda s=session: s.run(["true"]))
        timed("close", session.close)
    tier = box.tier
    box.close()
    medians = {f"session_{name}_ms": round(statistics.median(each), 2) for name, each in taken.items()}
    return {"tier": tier, "sessions": num_sessions, **medians}


def check_leaks(num_runs: int) -> dict[str, Any]:
    """What `num_runs` runs leave: growth of memory in KiB, of descriptors, processes and mounts."""
    box = open_sandbox()
    program = Program(source=SOURCE)
    for _ in range(50):
        box.run(program)
    before = _state()
    for _ in range(num_runs):
        if box.run(program).stdout != EXPECTED:
            raise RuntimeError("a run gave another output")
    after = _state()
    box.close()
    return {"leak_check_runs": num_runs, **{f"grown_{name}": after[name] - before[name] for name in before}}


def _round(workers: list[Callable[[], bytes]], num_runs: int) -> tuple[float, list[float]]:
    """Seconds of `num_runs` runs by all workers together, and of each run."""

    def work(run: Callable[[], bytes], num: int) -> list[float]:
        latencies = []
        for _ in range(num):
            start = time.perf_counter()
            if run() != EXPECTED:
                raise RuntimeError("a run gave another output")
            latencies.append(time.perf_counter() - start)
        return latencies

    shares = [len(range(number, num_runs, len(workers))) for number in range(len(workers))]
    with ThreadPoolExecutor(len(workers)) as pool:
        start = time.perf_counter()
        found = list(pool.map(work, workers, shares))
        return time.perf_counter() - start, list(itertools.chain(*found))


def _bare() -> bytes:
    command = [interpreters()[0].executable, "-I", "-S", "-c", SOURCE]
    return subprocess.run(command, capture_output=True, check=True).stdout


def _runner(box: Sandbox) -> Callable[[], bytes]:
    program = Program(source=SOURCE)
    return lambda: box.run(program).stdout


def _ratios(some: list[float], others: list[float]) -> list[float]:
    return [a / b for a, b in zip(some, others, strict=True)]


def _state() -> dict[str, int]:
    """Of this process and all below it."""
    parents = {}
    for folder in Path("/proc").iterdir():
        if folder.name.isdigit():
            try:
                fields = (folder / "stat").read_text().rpartition(")")[2].split()
            except OSError:
                continue
            parents[int(folder.name)] = (int(fields[1]), int(fields[21]) * os.sysconf("SC_PAGE_SIZE") // 1024)
    below = {os.getpid()}
    while new := {pid for pid, (parent, _) in parents.items() if parent in below and pid not in below}:
        below |= new
    return {
        "memory_kib": sum(parents[pid][1] for pid in below if pid in parents),
        "descriptors": len(list(Path("/proc/self/fd").iterdir())),
        "processes": len(below),
        "mounts": len(Path("/proc/self/mounts").read_text().splitlines()),
    }


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=200, help="runs of each way in a round")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--leak-check", type=int, default=0, metavar="N", help="runs of the leak check")
    parser.add_argument("--sessions", type=int, default=0, metavar="N", help="measure N sessions, and nothing else")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    found = measure_sessions(options.sessions) if options.sessions else measure(options.runs, options.rounds)
    if options.leak_check:
        found |= check_leaks(options.leak_check)
    if options.json:
        print(json.dumps({"machine": machine(), **found}))
    else:
        for name, value in {**machine(), **found}.items():
            print(f"{name:28} {value}")


if __name__ == "__main__":
    main()
