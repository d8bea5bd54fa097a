"""Which processes a process started, as the kernel tells it; threads and processes may end while it is read."""

from __future__ import annotations

import contextlib
from pathlib import Path

__all__ = ["children_of"]


def children_of(pid: int) -> list[int]:
    """Direct children of a process, zombies included; empty where the process is gone."""
    found: list[int] = []
    with contextlib.suppress(OSError):
        for thread in Path(f"/proc/{pid}/task").iterdir():
            with contextlib.suppress(OSError):
                found += [int(child) for child in (thread / "children").read_text().split()]
    return found
