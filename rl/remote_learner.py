"""The learner as the loop holds it: its methods, each with its deadline, over a process that may be lost."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from rl.batch import Minibatch
from rl.checkpoint import PublishedWeights
from rl.faults import ActorLost, DeadlineExceeded
from rl.processes import Process
from rl.ptx import PtxSample
from rl.update import UpdateMetrics
from rollout.weights.device_copy import DeviceCopy

__all__ = ["RemoteLearner"]


class RemoteLearner:
    """Methods of `rl.learner.Learner`.

    Args:
        process: the learner's.
        lends: whether it is to keep a copy of what it publishes on its device, for an engine there, until `take_back`.
    """

    def __init__(self, process: Process, *, lends: bool = False) -> None:
        self.process = process
        self.lends = lends
        self.copy: DeviceCopy | None = None
        """Of what it published last; None: it keeps none."""
        self.has_moved = False
        """It was updated since the step began: it no longer holds the state of its start."""
        self._published: Any = None
        self._saving: asyncio.Task[None] | None = None

    @property
    def is_lost(self) -> bool:
        """The process died, or did not answer in time."""
        return self.process.failure is not None

    async def look(self) -> None:
        """See to it that `is_lost` is true now, also where nobody has asked it anything since it died.

        One that writes a checkpoint answers when that is written.
        """
        with contextlib.suppress(ActorLost, DeadlineExceeded):
            await self.process.ask("__ray_ready__", setting="save_seconds")

    async def add_old_logprobs(self, minibatches: Sequence[Minibatch]) -> tuple[Minibatch, ...]:
        """log pi_old of every sample, before the first update."""
        return await self._ask("add_old_logprobs", minibatches, setting="update_seconds")

    async def update(self, minibatch: Minibatch, ptx: Sequence[PtxSample], *, lr: float) -> UpdateMetrics:
        """One optimiser update."""
        self.has_moved = True
        return await self._ask("update", minibatch, ptx, lr=lr, setting="update_seconds")

    async def warm_up(self, batches: Sequence[Sequence[PtxSample]], *, lrs: Sequence[float]) -> list[UpdateMetrics]:
        """Supervised updates, one for each batch."""
        return await self._ask("warm_up", batches, lrs=lrs, setting="update_seconds")

    async def forget_optimizer(self) -> None:
        """Start the optimiser's moments anew."""
        await self._ask("forget_optimizer", setting="update_seconds")

    async def publish(self, version: int) -> PublishedWeights:
        """Packed weights for the engines: an immutable artefact in the object store, one copy a node, and none here."""
        await self.saved()
        self.copy = None  # the one before is freed
        started = time.perf_counter()
        handle, found = await self.process.ask_shared(
            "publish_shared", version, before=self._published, lends=self.lends, setting="swap_seconds"
        )
        self._published, self.copy = handle, found.copy
        return PublishedWeights(
            version=version,
            handle=handle,
            num_bytes=found.num_bytes,
            pack_seconds=time.perf_counter() - started,
            code_flip_frac=found.code_flip_frac,
        )

    async def take_back(self) -> None:
        """Free the copy on its device; no engine reads it any more."""
        if self.copy is not None:
            self.copy = None
            await self._ask("take_back", setting="swap_seconds")

    async def save(self, folder: Path) -> None:
        """Masters and optimiser into a checkpoint's folder."""
        await self._ask("save", folder, setting="save_seconds")

    def save_meanwhile(self, folder: Path, *, then: Callable[[], None]) -> None:
        """Begin to write masters and optimiser, and call `then` when they are written.

        Nothing is copied: what the learner is asked next waits until then. While engines sample, it is asked nothing.
        """
        assert self._saving is None, "one after the other"
        self._saving = asyncio.create_task(self._save(folder, then))
        self._saving.add_done_callback(_look_at)

    async def _save(self, folder: Path, then: Callable[[], None]) -> None:
        await self.process.ask("save", folder, setting="save_seconds")
        then()

    async def saved(self) -> None:
        """Wait for what `save_meanwhile` began, if it began anything.

        Raises:
            Exception: what became of it; the checkpoint does not exist then, and the one before does.
        """
        saving, self._saving = self._saving, None
        if saving is not None:
            await saving

    async def _ask(self, method: str, *args: Any, setting: str, **kwargs: Any) -> Any:
        await self.saved()
        return await self.process.ask(method, *args, setting=setting, **kwargs)

    async def load(self, folder: Path) -> None:
        """Masters and optimiser from a checkpoint's folder."""
        await self._ask("load", folder, setting="save_seconds")

    async def export(self, folder: Path) -> None:
        """The current policy as an INT4 folder."""
        await self._ask("export", folder, setting="save_seconds")


def _look_at(saving: asyncio.Task[None]) -> None:
    """A fault is raised where the next one waits; a learner that was lost meanwhile is asked nothing more."""
    if not saving.cancelled():
        saving.exception()
