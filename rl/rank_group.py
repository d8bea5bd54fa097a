"""A learner of several ranks as one process: what is called is called on all of them, and the first one answers.

Ranks wait for one another in collectives. So where one has failed, the others may answer with a broken connection, or
not at all: they are given `GRACE_SECONDS`, in which a rank whose process died is known to have died, and then the
gravest fault is raised. Nobody uses the others again: whoever starts a learner anew starts all of its ranks.
"""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine, Sequence
from typing import Any

from configs.sections import ClusterConfig
from rl.bundles import Spot
from rl.handover import gravest
from rl.learner import Learner, LearnerSettings
from rl.processes import Process, StartsProcesses
from rl.ranks import Seat, open_store

__all__ = ["RankGroup", "start_learner"]

GRACE_SECONDS = 20.0
"""Ray tells within a second or two that a process died; a busy machine may take longer."""


def start_learner(
    processes: StartsProcesses, settings: LearnerSettings, *, spots: Sequence[Spot], limits: ClusterConfig
) -> Process:
    """A learner in one process, or in one for each rank, each on a device of a bundle."""
    environment, num_ranks = processes.device.learner_environment, len(spots)
    if num_ranks == 1:
        bundle, device = spots[0]
        return processes.start(Learner, settings, name="learner", bundle=bundle, device=device, environment=environment)
    seconds = max(limits.start_seconds, limits.update_seconds, limits.swap_seconds, limits.save_seconds)
    store = open_store(processes.host, seconds)
    seats = [
        Seat(rank=i, num_ranks=num_ranks, host=processes.host, port=store.port, seconds=seconds)
        for i in range(num_ranks)
    ]
    started = [
        processes.start(
            Learner,
            settings,
            seat,
            name=f"learner rank {seat.rank}",
            bundle=bundle,
            device=device,
            environment=environment,
        )
        for seat, (bundle, device) in zip(seats, spots, strict=True)
    ]
    return RankGroup(started, store)


class RankGroup:
    """All ranks of a learner: a `rl.processes.Process`.

    Args:
        ranks: in their order.
        store: where they find one another; lives as long as they do.
        grace_seconds: how long the other ranks' answers are waited for after the first fault.
    """

    name = "learner"

    def __init__(self, ranks: Sequence[Process], store: object = None, *, grace_seconds: float = GRACE_SECONDS) -> None:
        self.ranks = tuple(ranks)
        self._store = store
        self._grace_seconds = grace_seconds

    @property
    def failure(self) -> Exception | None:
        """Why all ranks must be started anew: the first one's failure that has one."""
        return next((rank.failure for rank in self.ranks if rank.failure is not None), None)

    @failure.setter
    def failure(self, error: Exception | None) -> None:
        self.ranks[0].failure = error

    async def ask(self, method: str, *args: Any, setting: str, **kwargs: Any) -> Any:
        calls = [rank.ask(method, *args, setting=setting, **kwargs) for rank in self.ranks]
        return await self._first_of(calls)

    async def ask_shared(self, method: str, *args: Any, setting: str, **kwargs: Any) -> tuple[Any, Any]:
        first, *others = self.ranks
        calls = [
            first.ask_shared(method, *args, setting=setting, **kwargs),
            *(rank.ask(method, *args, setting=setting) for rank in others),
        ]
        return await self._first_of(calls)

    async def _first_of(self, calls: Sequence[Coroutine[Any, Any, Any]]) -> Any:
        """The first one's answer, when all have answered; or the gravest fault."""
        tasks = [asyncio.ensure_future(call) for call in calls]
        try:
            _, waiting = await asyncio.wait(tasks, return_when=asyncio.FIRST_EXCEPTION)
            if waiting:
                await asyncio.wait(waiting, timeout=self._grace_seconds)
            faults = [fault for task in tasks if task.done() and (fault := task.exception()) is not None]
            if faults:
                raise gravest(faults)
            return tasks[0].result()
        finally:
            for task in tasks:
                task.cancel()
