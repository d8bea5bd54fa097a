"""What tests of scoring workers look at: children of this process, and conditions that come true."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

__all__ = ["children", "wait_until"]


def children() -> set[int]:
    """Processes that this one started, zombies included."""
    return {int(pid) for path in Path("/proc/self/task").glob("*/children") for pid in path.read_text().split()}


def wait_until(condition: Callable[[], bool], seconds: float = 120.0) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "the condition did not come true in time"
        time.sleep(0.02)
