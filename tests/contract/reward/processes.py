"""What tests of scoring workers look at: children of this process, and conditions that come true."""

from __future__ import annotations

import os
import time
from collections.abc import Callable

from gyms.children import children_of

__all__ = ["children", "wait_until"]


def children() -> set[int]:
    """Processes that this one started, zombies included."""
    return set(children_of(os.getpid()))


def wait_until(condition: Callable[[], bool], seconds: float = 120.0) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "the condition did not come true in time"
        time.sleep(0.02)
