"""One step off: the engines draw the next step while the learner learns this one (`rollout.steps_ahead = 1`).

    engines   | theta_t in, draw step t+1 . . . . . . | theta_t+1 in, draw step t+2 . . .
    learner   | learn step t, which theta_t-1 drew;    | learn step t+1
              | publish theta_t+1                      |

A step costs the longer of the two in the place of their sum, and is learned from samples that are one update old: their
tokens are stale (`rl.batch`), and what is to be done about that is `learner.mismatch`, as for partial rollouts. The
first step is drawn and learned in turn; nothing is drawn behind the last one.

What was drawn ahead belongs to the run's state, since the weights that drew it are gone when it is learned from: a
checkpoint waits for it and holds it (`Held`), so a run that goes on learns from the same samples. For the same reason a
draw that fails rewinds the run to the newest checkpoint; one that is complete outlives the loss of an engine.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
from collections.abc import Coroutine, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from gyms.mixture import GymEntry
from rl.collect import Collected
from rl.partial import PartialGroup
from rl.run_folder import write_atomically

__all__ = ["Ahead", "Drawn", "Held", "read_lines"]

_FILE = "ahead.jsonl"


class Drawn(NamedTuple):
    """A step's rollout."""

    step: int
    collected: Collected
    seconds: float
    """From the first request to the last score."""


class Ahead:
    """The one rollout that goes on outside of the engines' turn, if there is one."""

    def __init__(self) -> None:
        self.step: int | None = None
        """What is drawn, or was and has not been taken."""
        self.taken: int | None = None
        """The last step that was taken."""
        self._task: asyncio.Task[Drawn] | None = None

    @property
    def is_undrawn(self) -> bool:
        """Something was begun and is not complete, for now or for good."""
        task = self._task
        return task is not None and (not task.done() or task.cancelled() or task.exception() is not None)

    def begin(self, step: int, draw: Coroutine[Any, Any, Drawn]) -> None:
        """Let it go on."""
        assert self._task is None, "what was drawn ahead was not taken"
        self.step, self._task = step, asyncio.create_task(draw)

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
        if (drawn := await self.settled()) is not None:
            self.taken = drawn.step
        self.step = self._task = None
        return drawn

    def cancel(self) -> None:
        """End it soon, whatever it comes to: nobody waits for its engines."""
        if (task := self._task) is not None:
            task.add_done_callback(lambda done: done.cancelled() or done.exception())  # somebody has looked
            task.cancel()
        self.step = self.taken = self._task = None

    async def forget(self) -> None:
        """End it, and wait until its engines owe it nothing."""
        task = self._task
        self.cancel()
        if task is not None:
            await asyncio.wait([task])


@dataclass(frozen=True, slots=True, kw_only=True)
class Held:
    """What was drawn ahead, as a checkpoint holds it: in a file of its own, since it is every token of a step."""

    groups: tuple[PartialGroup, ...]
    """Complete: `rl.collect.collect` hands them through."""
    seconds: float
    """It took to draw them."""
    lines: str
    """The file: a group a line."""

    @classmethod
    def of(cls, drawn: Drawn) -> Held:
        """The same groups, as those that are carried over to another step."""
        groups = tuple(
            PartialGroup(draw=group.draw, step=drawn.step, siblings=tuple((s.sample, s.score) for s in group.samples))
            for group in drawn.collected.groups
        )
        lines = "".join(json.dumps(group.state_dict()) + "\n" for group in groups)
        return cls(groups=groups, seconds=drawn.seconds, lines=lines)

    def facts(self) -> dict[str, Any]:
        """For the manifest: what the file must hold."""
        num_dropped = sum(group.draw.num_dropped for group in self.groups)
        return {"digest": _digest(self.lines), "seconds": self.seconds, "num_dropped": num_dropped}

    def write(self, folder: Path) -> None:
        """The file of a checkpoint that is being written."""
        write_atomically(folder / _FILE, self.lines)

    @classmethod
    def read(cls, folder: Path, facts: dict[str, Any], entries: Sequence[GymEntry]) -> Held:
        """What `write` wrote.

        Args:
            facts: what `facts` gave. entries: the gyms of the run.

        Raises:
            OSError, ValueError: the file is missing, or another one.
        """
        lines = read_lines(folder, facts)
        groups = tuple(PartialGroup.from_state(json.loads(line), entries) for line in lines.split("\n")[:-1])
        return cls(groups=groups, seconds=facts["seconds"], lines=lines)


def read_lines(folder: Path, facts: dict[str, Any]) -> str:
    """The file of a checkpoint, with `Held.facts` of it.

    Raises:
        OSError, ValueError: it is missing, or another one.
    """
    lines = (folder / _FILE).read_text(encoding="utf-8")
    if _digest(lines) != facts["digest"]:
        raise ValueError(f"{_FILE} is not what it was written with")
    return lines


def _digest(text: str) -> str:
    return hashlib.blake2b(text.encode(), digest_size=16).hexdigest()
