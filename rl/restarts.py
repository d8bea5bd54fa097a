"""How often lost actors were rebuilt lately: a long run outlives a fault now and then, and one that cannot go on stops.

Counted over the last steps, not over the run: a machine that fails once a day is no reason to end a run of a week. A
step that fails whenever it is done is within any window, so it ends the run after `max_restarts` tries.
"""

from __future__ import annotations

__all__ = ["Restarts"]


class Restarts:
    """Counts rebuilds by the step in which they came.

    Args:
        max_restarts: most of them within a window.
        window_steps: length of the window in steps.
    """

    def __init__(self, *, max_restarts: int, window_steps: int) -> None:
        self._max_restarts = max_restarts
        self._window_steps = window_steps
        self._steps: list[int] = []

    def add(self, step: int) -> int | None:
        """One more, in `step`; how many there were within the window that ends there. None: too many."""
        self._steps.append(step)
        self._steps = [other for other in self._steps if other > step - self._window_steps]
        return len(self._steps) if len(self._steps) <= self._max_restarts else None
