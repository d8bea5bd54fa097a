"""How many tests run at a time: `python tests/workers.py [--memory]`. Standard library alone, as make asks first.

Unit tests hardly wait: a worker for each core that this process may use, 4 at most, as each collects all tests. With
`--memory`, for all tests, one more, of 4 GB each: half of a worker's time passes in waiting, for processes that start
and for limits that are met, and integration tests hold an engine and a learner.
A container's limits count (its share of cores and its memory), where the kernel shows them.
"""

from __future__ import annotations

import math
import os
import sys
from pathlib import Path

__all__ = ["num_workers"]

MOST, BYTES = 4, 4_000_000_000


def num_workers(*, with_memory: bool, cores: int, root: Path = Path("/")) -> int:
    """Workers for so many cores.

    Args:
        cores: that this process may use.
        root: of `proc` and `sys`.
    """
    group = root / "sys/fs/cgroup"
    quota = _words(group / "cpu.max")
    if len(quota) == 2 and quota[0].isdigit():
        cores = min(cores, math.ceil(int(quota[0]) / int(quota[1])))
    if not with_memory:
        return min(cores, MOST)
    most = min(cores + 1, MOST)
    words = _words(root / "proc/meminfo")
    rooms = [1024 * int(words[words.index("MemAvailable:") + 1])] if "MemAvailable:" in words else []
    limit, used, stat = (_words(group / f"memory.{name}") for name in ("max", "current", "stat"))
    if limit and used and limit[0].isdigit():
        cached = int(stat[stat.index("inactive_file") + 1]) if "inactive_file" in stat else 0  # is given back
        rooms.append(int(limit[0]) - int(used[0]) + cached)
    return max(1, min([most, *(room // BYTES for room in rooms)]))


def _words(file: Path) -> list[str]:
    try:
        return file.read_text(encoding="ascii").split()
    except OSError:
        return []


if __name__ == "__main__":
    affinity = getattr(os, "sched_getaffinity", lambda pid: range(os.cpu_count() or 1))
    print(num_workers(with_memory="--memory" in sys.argv, cores=len(affinity(0))))
