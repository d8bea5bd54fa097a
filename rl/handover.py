"""The hand-over of weights: afterwards all engines serve one version, or it has raised. Two phases; no Ray here.

    stage     every engine checks the artefact and touches nothing; a refusal ends the hand-over with all as they were
    commit    every engine swaps it in, or has put its old version back
    once more, from the start, where a swap failed: some engines have taken the version, others have not
    then      EngineBroken: whoever owns the engines rebuilds them

Everyone's answer is waited for, also after the first fault: who asks again must not meet an engine that still swaps.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Sequence
from typing import Any, NamedTuple

from rl.checkpoint import PublishedWeights
from rl.faults import ActorLost, DeadlineExceeded
from rl.processes import Process
from rollout.engine.engine import EngineBroken, SwapTiming
from rollout.weights.device_copy import DeviceCopy

__all__ = ["HandOver", "SyncTimes", "ask_all", "gravest", "settled"]

_NOT_RETRIED = (ActorLost, DeadlineExceeded, EngineBroken, ValueError)
"""The gravest first: of several faults, the one that is told. Any other is a swap that failed, and is tried again."""


class SyncTimes(NamedTuple):
    """What a hand-over took."""

    seconds: float
    stall_seconds: float
    """The longest time in which an engine could not decode."""


async def ask_all(engines: Sequence[Process], method: str, *args: Any, setting: str, **kwargs: Any) -> list[Any]:
    """The answers of all engines. Waits for all of them; then raises the gravest fault, if there was one."""
    return await settled([engine.ask(method, *args, setting=setting, **kwargs) for engine in engines])


async def settled(calls: Sequence[Awaitable[Any]]) -> list[Any]:
    """What calls come to, once all of them have; raises the gravest fault, if there was one."""
    answers = await asyncio.gather(*calls, return_exceptions=True)
    faults = [answer for answer in answers if isinstance(answer, BaseException)]
    if faults:
        raise gravest(faults)
    return answers


def gravest(faults: Sequence[BaseException]) -> BaseException:
    """Of several faults, the one that says most about what must be done."""
    return min(faults, key=_place)


def _place(fault: BaseException) -> int:
    return next((place for place, kind in enumerate(_NOT_RETRIED) if isinstance(fault, kind)), len(_NOT_RETRIED))


class HandOver:
    """Which version all engines serve, and how they come to serve another."""

    def __init__(self) -> None:
        self.served_version: int | None = None
        """What all engines serve for certain; None: unknown, or not the same."""
        self._is_repeat = False  # what comes next, some engine may serve already, or a newer one
        self._times: SyncTimes | None = None

    async def sync_weights(
        self, engines: Sequence[Process], weights: PublishedWeights, *, copy: DeviceCopy | None = None
    ) -> None:
        """Have all engines serve `weights`; nothing to do where they do.

        Args:
            engines: those of the run.
            weights: in the object store.
            copy: of them, on the learner's device, for an engine that is there too; what is tried again does without.

        Raises:
            ValueError: an engine refused the artefact; none was touched.
            EngineBroken: an engine could neither swap nor go back, or the swap failed twice.
            ActorLost, DeadlineExceeded: of an engine.
        """
        if self.served_version == weights.version:
            return
        started = time.perf_counter()
        try:
            timings = await self._stage_and_commit(engines, weights, copy)
        except _NOT_RETRIED:
            raise
        except RuntimeError:
            timings = await self._once_more(engines, weights)
        self.served_version, self._is_repeat = weights.version, False
        stall_seconds = max(timing.stall_seconds for timing in timings)
        self._times = SyncTimes(seconds=time.perf_counter() - started, stall_seconds=stall_seconds)

    async def _once_more(self, engines: Sequence[Process], weights: PublishedWeights) -> list[SwapTiming]:
        try:
            return await self._stage_and_commit(engines, weights, None)
        except _NOT_RETRIED:
            raise
        except RuntimeError as error:
            raise EngineBroken(f"version {weights.version} could not be swapped in twice: {error}") from error

    async def _stage_and_commit(
        self, engines: Sequence[Process], weights: PublishedWeights, copy: DeviceCopy | None
    ) -> list[SwapTiming]:
        is_reswap = self._is_repeat
        await ask_all(engines, "stage_weights", weights.handle, copy=copy, is_reswap=is_reswap, setting="swap_seconds")
        self.forget()  # until all have answered
        return await ask_all(engines, "commit_weights", weights.version, setting="swap_seconds")

    def forget(self) -> None:
        """Engines were exchanged, or the run rewound: what comes next may be served by some already, or be older."""
        self.served_version, self._is_repeat = None, True

    def take_times(self) -> SyncTimes | None:
        """Of the last hand-over, once; None if there was none since."""
        taken, self._times = self._times, None
        return taken
