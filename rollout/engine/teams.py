"""Threads of OpenMP: why nobody but an engine's own thread may keep any in its process.

A thread that computes gets a team of threads, as many as it may use, which wait for its next product. libgomp counts
the threads of all teams of a process: where there are more than cores, it takes them to be in one another's way, and
lets none spin at a barrier. An engine that decodes meets hundreds of barriers a step, and would sleep at each: beside
one more team, that of a caller who had staged weights, the engine's thread slept 735 times in a step of 128 responses
of SmolLM2-135M, and took 0.190 s for it; without, 5 times, and 0.154 s (2 cores of an AMD EPYC, Zen 5).
"""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

__all__ = ["in_passing"]

T = TypeVar("T")


def in_passing(call: Callable[[], T]) -> T:
    """What a call returns or raises, made on a thread of its own: its team ends with it."""
    with ThreadPoolExecutor(max_workers=1, thread_name_prefix="in-passing") as thread:
        return thread.submit(call).result()
