"""What the loop holds during a turn: the learner's methods while it learns, the served policy while engines generate.

Neither knows Ray. Both speak through `Cluster.ask`, which gives every call its deadline and names what was lost.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from gyms.api import Task
from rl.batch import LearningBatch, Minibatch
from rl.checkpoint import PublishedWeights
from rl.faults import ActorLost, DeadlineExceeded
from rl.learner import UpdateMetrics
from rl.ptx import PtxSample
from rollout.engine.engine import EngineBroken
from rollout.types import Sample, SampleRequest

if TYPE_CHECKING:
    from rl.cluster import Cluster

__all__ = ["LearnerHandle", "ServedPolicy"]

POLL_SECONDS = 0.5
"""How long one poll of an engine waits for a finished sample."""


class LearnerHandle:
    """The learner's methods, each with its deadline. Exists during `learning` only."""

    def __init__(self, cluster: Cluster) -> None:
        self._cluster = cluster

    async def add_old_logprobs(self, batch: LearningBatch) -> LearningBatch:
        """log pi_old of every sample, before the first update."""
        minibatches = await self._ask("add_old_logprobs", batch.minibatches)
        return batch.with_minibatches(minibatches)

    async def update(self, minibatch: Minibatch, ptx: Sequence[PtxSample], *, lr: float) -> UpdateMetrics:
        """One optimiser update."""
        self._cluster.learner_has_moved = True
        return await self._ask("update", minibatch, ptx, lr=lr)

    async def warm_up(self, batches: Sequence[Sequence[PtxSample]], *, lrs: Sequence[float]) -> list[UpdateMetrics]:
        """Supervised updates, one for each batch."""
        return await self._ask("warm_up", batches, lrs=lrs)

    async def forget_optimizer(self) -> None:
        """Start the optimiser's moments anew."""
        await self._ask("forget_optimizer")

    async def publish(self, version: int) -> PublishedWeights:
        """Packed weights for the engines."""
        return await self._cluster.publish(version)

    async def _ask(self, method: str, *args: Any, **kwargs: Any) -> Any:
        return await self._cluster.ask("learner", method, *args, setting="update_seconds", **kwargs)


class ServedPolicy:
    """The engines as the loop sees them: `sample` returns when that one response is finished.

    Requests that are asked for in one turn of the event loop travel in one call per engine; one task per engine polls
    for finished samples. Leaving the context aborts what is in flight.
    """

    def __init__(self, cluster: Cluster, engines: Sequence[Any]) -> None:
        self._cluster = cluster
        self._engines = engines
        self._waiting: dict[str, asyncio.Future[Sample]] = {}
        self._unsent: list[list[SampleRequest]] = [[] for _ in engines]
        self._tasks: list[asyncio.Task[None]] = []
        self._wake = asyncio.Event()
        self._deadline = time.monotonic() + cluster.config.cluster.generate_seconds

    def prompt_ids(self, task: Task) -> tuple[int, ...]:
        """A task's prompt as token ids.

        Raises:
            ValueError: longer than rollout.max_prompt_tokens; names the task.
        """
        ids = self._cluster.chat.prompt_ids(task.prompt)
        limit = self._cluster.config.rollout.max_prompt_tokens
        if len(ids) > limit:
            raise ValueError(
                f"task {task.id!r} has a prompt of {len(ids)} tokens, more than rollout.max_prompt_tokens = {limit}; "
                "raise the limit or leave the task out of its gym"
            )
        return ids

    async def sample(self, request: SampleRequest, *, lane: int) -> Sample:
        """Draw one response on engine `lane` modulo their number."""
        future: asyncio.Future[Sample] = asyncio.get_running_loop().create_future()
        self._waiting[request.id] = future
        self._unsent[lane % len(self._engines)].append(request)
        self._wake.set()
        try:
            return await future
        finally:
            self._waiting.pop(request.id, None)

    async def __aenter__(self) -> ServedPolicy:
        loops = [self._submit_loop(), *(self._poll_loop(i, engine) for i, engine in enumerate(self._engines))]
        self._tasks = [asyncio.create_task(loop) for loop in loops]
        for task in self._tasks:
            task.add_done_callback(self._on_task_done)
        return self

    async def __aexit__(self, kind: type[BaseException] | None, *rest: object) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        if kind is not None:  # in flight only where the body was left early
            with contextlib.suppress(ActorLost, DeadlineExceeded, EngineBroken):
                for i, engine in enumerate(self._engines):
                    await self._cluster.ask(f"engine {i}", "abort", None, setting="swap_seconds", handle=engine)
                    await self._cluster.ask(
                        f"engine {i}", "finished", wait_seconds=0.0, setting="swap_seconds", handle=engine
                    )

    async def _submit_loop(self) -> None:
        while True:
            await self._wake.wait()
            self._wake.clear()
            for i, engine in enumerate(self._engines):
                if requests := self._unsent[i]:
                    self._unsent[i] = []
                    self._deadline = time.monotonic() + self._cluster.config.cluster.generate_seconds
                    await self._cluster.ask(f"engine {i}", "submit", requests, setting="swap_seconds", handle=engine)

    async def _poll_loop(self, i: int, engine: Any) -> None:
        while True:
            if not self._waiting:
                await asyncio.sleep(0.01)
                continue
            samples = await self._cluster.ask(
                f"engine {i}", "finished", wait_seconds=POLL_SECONDS, setting="generate_seconds", handle=engine
            )
            for sample in samples:
                if (future := self._waiting.get(sample.id)) and not future.done():
                    future.set_result(sample)
            if time.monotonic() > self._deadline:
                seconds = self._cluster.config.cluster.generate_seconds
                raise DeadlineExceeded(
                    f"engine {i} has {len(self._waiting)} samples unfinished after {seconds:g} s in phase 'generate' "
                    f"of step {self._cluster.step}; if that is too short, raise cluster.generate_seconds",
                    actor=f"engine {i}",
                )

    def _on_task_done(self, task: asyncio.Task[None]) -> None:
        """A loop that fails fails everyone who waits for a sample."""
        if task.cancelled() or (error := task.exception()) is None:
            return
        for future in self._waiting.values():
            if not future.done():
                future.set_exception(error)
