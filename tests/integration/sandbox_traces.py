"""What a sandbox may leave on the machine: processes, zombies, descriptors, mounts, files."""

from __future__ import annotations

import os
import time
from pathlib import Path

from gyms.sandbox.places import working_place

__all__ = ["Traces", "descendants", "everything", "folders", "is_zombie", "settled", "traces"]

Traces = tuple[frozenset[int], int, frozenset[str], frozenset[str]]
"""Processes below this one, its number of descriptors, its mounts, files of sandboxes."""


def settled() -> Traces:
    """The traces, once they have not changed for a tenth of a second: what ran before may still be being reaped."""
    seen = [traces()]
    while len(seen) < 6 or (len(set(seen[-6:])) > 1 and len(seen) < 250):
        time.sleep(0.02)
        seen.append(traces())
    return seen[-1]


def descendants(root: int | None = None) -> set[int]:
    """A process, this one by default, and all below it, zombies included."""
    parents = {}
    for folder in Path("/proc").iterdir():
        if folder.name.isdigit():
            try:
                parents[int(folder.name)] = int((folder / "stat").read_text().rpartition(")")[2].split()[1])
            except OSError:
                continue
    below = {root or os.getpid()}
    while new := {pid for pid, parent in parents.items() if parent in below and pid not in below}:
        below |= new
    return below


def traces() -> Traces:
    descriptors = len(list(Path("/proc/self/fd").iterdir()))
    mounts = frozenset(Path("/proc/self/mounts").read_text().splitlines())
    files = frozenset(str(path) for path in _place().glob("sandbox-*/*"))
    return frozenset(descendants()), descriptors, mounts, files


def folders() -> set[str]:
    return {str(path) for path in _place().glob("sandbox-*")}


def _place() -> Path:
    """Where programs work; a TMPDIR of mode 1777 keeps the traces of other runs apart."""
    return Path(working_place(60_500 if os.geteuid() == 0 else 0))


def everything() -> set[int]:
    return {int(folder.name) for folder in Path("/proc").iterdir() if folder.name.isdigit()}


def is_zombie(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] in ("Z", "X")
    except OSError:
        return True
