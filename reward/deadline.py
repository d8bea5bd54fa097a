"""Deadlines of a worker, by what the kernel says of its process: the time that it used, and that it was kept waiting.

A wall clock on a busy machine says little of what runs on it: a verifier that needs 2 s of CPU takes 40 s where twenty
others want the same core. So a deadline does not count the time that the worker stood ready to run and had no core
(run delay, `/proc/PID/schedstat`, main thread): what is left is CPU time and sleep, which do not depend on the load.
A gym's own busy children can keep its main thread waiting, so no deadline is stretched beyond `MAX_STRETCH` times.
Kernels without that count (no CONFIG_SCHED_INFO) count the wall clock alone.
"""

from __future__ import annotations

import contextlib
import os
import signal
import time
from pathlib import Path

from gyms.children import children_of

__all__ = ["MAX_STRETCH", "Deadline", "cpu_seconds", "kill_tree", "waited_seconds"]

MAX_STRETCH = 8.0
_CLOCK_TICKS = os.sysconf("SC_CLK_TCK")


class Deadline:
    """So many seconds from now, without those that a process spends waiting for a core."""

    def __init__(self, seconds: float, *, pid: int = 0) -> None:
        """Args:
        pid: the process whose waiting is not counted; 0: none, the wall clock alone.
        """
        self._pid = pid
        self._most = (MAX_STRETCH - 1.0) * seconds
        self._waited = waited_seconds(pid)
        self._end = time.monotonic() + seconds

    def left(self) -> float:
        """Seconds until it passes; 0 or less where it has."""
        left = self._end - time.monotonic()
        if left > 0.0 or not self._pid:
            return left
        return left + min(self._most, max(0.0, waited_seconds(self._pid) - self._waited))


def waited_seconds(pid: int) -> float:
    """Seconds that a process's main thread stood ready without a core, since its start; 0 where that is not known."""
    try:
        return int(Path(f"/proc/{pid}/schedstat").read_text().split()[1]) / 1e9
    except (OSError, ValueError, IndexError):
        return 0.0


def cpu_seconds(pid: int) -> float:
    """CPU seconds of a process and the children that it waited for, as the kernel counts them; 0 where it is gone."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return 0.0
    return sum(int(ticks) for ticks in fields[11:15]) / _CLOCK_TICKS


def kill_tree(keeper: int) -> None:
    """Kill a keeper that does not answer, with what is below it: descendants first, while they still have a parent."""
    for _ in range(1000):
        below = _descendants(keeper)
        for pid in below:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        if not below:
            break
        time.sleep(0.001)
    with contextlib.suppress(ProcessLookupError):
        os.kill(keeper, signal.SIGKILL)


def _descendants(pid: int) -> list[int]:
    """Living processes below one; a zombie is what its parent has yet to reap, not a process."""
    found, queue = [], [pid]
    while queue:
        below = [child for child in children_of(queue.pop()) if not _is_zombie(child)]
        found += below
        queue += below
    return found


def _is_zombie(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except OSError:
        return True
