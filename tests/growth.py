"""How the cost of a call grows with the size of what it is given, measured so that a busy machine changes nothing.

A limit in seconds fails on a slow machine and passes a quadratic on a fast one. Here a call is compared with itself:
CPU time of this thread at one size and at `FACTOR` times that size. Linear work multiplies by `FACTOR` = 16, quadratic
work by 256; the limit is their geometric mean, so that a measurement has to be wrong by a factor of 4 to mislead. A
ratio that is too large is measured again, and only the smallest of `TRIES` counts: what other processes do can but slow
a call down, now and then, while a quadratic is one in every try.

Where the work is done in Python, it is counted instead: `num_calls` is the same number on every machine.
"""

from __future__ import annotations

import gc
import sys
import time
from collections.abc import Callable

__all__ = ["FACTOR", "grows_linearly", "growth", "num_calls"]

FACTOR = 16
LIMIT = FACTOR**1.5
TRIES = 5


def growth(run: Callable[[str], object], unit: str, *, size: int) -> float:
    """CPU time of `run` on `FACTOR * size` characters of repeated `unit`, divided by that on `size` characters."""
    small = unit * (size // len(unit))
    large = small * FACTOR
    run(small)  # what is loaded or compiled once is not of the text
    ratio = float("inf")
    for _ in range(TRIES):
        ratio = min(ratio, _cpu_time(run, large) / _cpu_time(run, small))
        if ratio < LIMIT:
            break
    return ratio


def grows_linearly(run: Callable[[str], object], unit: str, *, size: int) -> bool:
    """False where the cost grows like the square of the size, or faster."""
    return growth(run, unit, size=size) < LIMIT


def num_calls(run: Callable[[], object]) -> int:
    """Calls and returns of Python and C functions in one run."""
    count = 0

    def note(frame: object, event: str, argument: object) -> None:
        nonlocal count
        count += 1

    before = sys.getprofile()
    sys.setprofile(note)
    try:
        run()
    finally:
        sys.setprofile(before)
    return count


def _cpu_time(run: Callable[[str], object], text: str) -> int:
    """Nanoseconds, at least one; the garbage collector, which walks what others left, stays out of it."""
    was_on = gc.isenabled()
    gc.disable()
    try:
        start = time.thread_time_ns()
        run(text)
        return max(1, time.thread_time_ns() - start)
    finally:
        if was_on:
            gc.enable()
