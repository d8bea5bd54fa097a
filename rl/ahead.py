"""One step off: the engines draw the next step while the learner learns this one (`rollout.steps_ahead = 1`).

    engines   | theta_t in, draw step t+1 . . . . . . | theta_t+1 in, draw step t+2 . . .
    learner   | learn step t, which theta_t-1 drew;    | learn step t+1
              | publish theta_t+1                      |

A step costs the longer of the two in the place of their sum, and is learned from samples that are one update old: their
tokens are stale (`rl.batch`), and what is to be done about that is `learner.mismatch`, as for partial rollouts. The
first step is drawn and learned in turn; nothing is drawn behind the last one.

What was drawn ahead belongs to the run's state, since the weights that drew it are gone when it is learned from: a
checkpoint waits for it and holds it (`as_carried`), so a run that goes on learns from the same samples. For the same
reason a fault of any process rewinds to the newest checkpoint, and Ctrl-C lets the step end.
"""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any, NamedTuple

from rl.collect import Collected
from rl.partial import PartialGroup

__all__ = ["Ahead", "Drawn", "as_carried"]


class Drawn(NamedTuple):
    """A step's rollout."""

    step: int
    collected: Collected
    seconds: float
    """From the first request to the last score."""


class Ahead:
    """The one rollout that goes on outside of the engines' turn, if there is one."""

    def __init__(self) -> None:
        self._task: asyncio.Task[Drawn] | None = None

    def begin(self, draw: Coroutine[Any, Any, Drawn]) -> None:
        """Let it go on."""
        assert self._task is None, "what was drawn ahead was not taken"
        self._task = asyncio.create_task(draw)

    async def settled(self) -> Drawn | None:
        """What was drawn, once it is; it can still be taken. None: nothing was begun.

        Raises:
            Exception: what the drawing came to.
        """
        if self._task is None:
            return None
        await asyncio.wait([self._task])
        return self._task.result()

    async def take(self) -> Drawn | None:
        """As `settled`; afterwards another may begin."""
        drawn = await self.settled()
        self._task = None
        return drawn

    async def forget(self) -> None:
        """End it, whatever it came to."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
            self._task = None


def as_carried(drawn: Drawn) -> tuple[PartialGroup, ...]:
    """Complete groups as those that are carried over to another step: `rl.collect.collect` hands them through."""
    return tuple(
        PartialGroup(draw=group.draw, step=drawn.step, siblings=tuple((s.sample, s.score) for s in group.samples))
        for group in drawn.collected.groups
    )
