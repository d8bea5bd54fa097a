"""How long a host waits for what runs in its sandbox, and what several runs may take together.

A wall limit does not count what a program waits for a core: a busy machine must not end what a quiet one lets finish.
Whoever waits for the sandbox sees real time, though: a scoring worker's main thread sleeps meanwhile, and does not wait
for a core. So a gym that runs programs declares as `needs.wall_seconds` at least what its limits can come to in real
time (`longest_seconds` of each run, START_SECONDS for each answer of what is started), or a busy machine would fail
what the limits themselves allow.
"""

from __future__ import annotations

import time

from gyms.sandbox.inside.job import MAX_STRETCH

__all__ = ["BACKSTOP_SECONDS", "END_SECONDS", "MAX_STRETCH", "START_SECONDS", "SharedTime", "longest_seconds"]

START_SECONDS = 60.0
"""How long a zygote, a bubblewrap or a session's supervisor gets for each answer while something is started."""
BACKSTOP_SECONDS = 3.0
"""The job's own init ends it at its wall limit, stretched at most; this much later the host does."""
END_SECONDS = 60.0
"""How long the host then waits. A bomb of forks keeps the cores from whoever kills it, on a busy machine for many
seconds: that is the program's doing, and must not be taken for a fault of the sandbox."""


def longest_seconds(wall_seconds: float) -> float:
    """Real time, in seconds, that a run of this wall limit takes at most once it is started."""
    return MAX_STRETCH * wall_seconds + BACKSTOP_SECONDS + END_SECONDS


class SharedTime:
    """Wall clock of several runs together, counted as that of one: without waiting, at most MAX_STRETCH times in all.

    Example:
        shared = SharedTime(120.0)
        shared.use(run.wall_seconds)
        shared.is_spent
    """

    def __init__(self, seconds: float) -> None:
        self._left = seconds
        self._end = time.monotonic() + MAX_STRETCH * seconds

    def use(self, seconds: float) -> None:
        """Count a run, by its `wall_seconds`."""
        self._left -= seconds

    @property
    def is_spent(self) -> bool:
        """Whether nothing more may be run."""
        return self._left < 0.0 or time.monotonic() > self._end
