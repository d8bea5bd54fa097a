"""What the loop holds during a turn: the learner's methods while it learns, the served policy while engines generate.

Neither knows Ray. Both speak through `Cluster.ask`, which gives every call its deadline and names what was lost.
"""

from __future__ import annotations

import asyncio
import contextlib
import math
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from gyms.api import Message, Task, Tool, Turn
from gyms.mixture import Draw
from gyms.response import Response
from rl.batch import Minibatch
from rl.checkpoint import PublishedWeights
from rl.faults import ActorLost, DeadlineExceeded
from rl.ptx import PtxSample
from rl.update import UpdateMetrics
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

    async def add_old_logprobs(self, minibatches: Sequence[Minibatch]) -> tuple[Minibatch, ...]:
        """log pi_old of every sample, before the first update."""
        return await self._ask("add_old_logprobs", minibatches)

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

    Two tasks per engine. One sends: requests that are asked for in one turn of the event loop travel in one call, and
    those whose caller gave up (a judge's deadline) are aborted, or the next swap would find them in flight. The other
    polls for finished samples, and only while that engine owes some: a poll that outlived its phase would swallow
    samples of the next. Leaving the context early aborts what is in flight.
    """

    def __init__(self, cluster: Cluster, engines: Sequence[Any]) -> None:
        self._cluster = cluster
        self._lanes = [_Lane(name=f"engine {i}", engine=engine) for i, engine in enumerate(engines)]
        self._tasks: list[asyncio.Task[None]] = []
        self._is_closing = False

    def prompt_ids(self, task: Task, tools: Sequence[Tool] = ()) -> tuple[int, ...]:
        """A task's prompt as token ids.

        Raises:
            ValueError: longer than rollout.max_prompt_tokens; names the task.
        """
        ids = self._cluster.chat.prompt_ids(task.prompt, tools)
        limit = self._cluster.config.rollout.max_prompt_tokens
        if len(ids) > limit:
            raise ValueError(
                f"task {task.id!r} has a prompt of {len(ids)} tokens, more than rollout.max_prompt_tokens = {limit}; "
                "raise the limit or leave the task out of its gym"
            )
        return ids

    def text(self, token_ids: Sequence[int]) -> str:
        """What tokens say, special ones left out."""
        return self._cluster.chat.decode(token_ids)

    def read_response(self, sample: Sample) -> Response:
        """What counts of a sampled response."""
        return self._cluster.chat.read_response(sample)

    def read_turn(self, sample: Sample, tools: Sequence[Tool], *, number: int) -> Turn:
        """The turn of an episode that a sampled response is."""
        return self._cluster.chat.read_turn(sample, tools, number=number)

    def reply_ids(self, draw: Draw, reply: Sequence[Message]) -> tuple[int, ...]:
        """Token ids between the policy's turn and its next one."""
        return self._cluster.chat.reply_ids(draw.task.prompt, reply, draw.tools)

    async def sample(self, request: SampleRequest, *, lane: int) -> Sample:
        """Draw one response on engine `lane` modulo their number.

        Raises:
            ActorLost, DeadlineExceeded, EngineBroken: of this engine; at once where it failed before.
        """
        chosen = self._lanes[lane % len(self._lanes)]
        if chosen.failure is not None:
            raise chosen.failure
        future: asyncio.Future[Sample] = asyncio.get_running_loop().create_future()
        chosen.ask_for(request, future)
        try:
            return await future
        except asyncio.CancelledError:
            chosen.give_up(request)
            raise
        finally:
            chosen.owed.pop(request.id, None)

    async def __aenter__(self) -> ServedPolicy:
        for lane in self._lanes:
            for work in (self._send(lane), self._receive(lane)):
                task = asyncio.create_task(work)
                task.add_done_callback(lane.on_task_done)
                self._tasks.append(task)
        return self

    async def __aexit__(self, kind: type[BaseException] | None, *rest: object) -> None:
        self._is_closing = True
        for lane in self._lanes:
            lane.wake()
        await asyncio.gather(*self._tasks, return_exceptions=True)  # a poll in flight ends within POLL_SECONDS
        if kind is None:
            for lane in self._lanes:
                if lane.failure is not None:  # nobody waited for it; the swap to come must not find out
                    raise lane.failure
        else:  # something is in flight only where the body was left early
            for lane in self._lanes:
                with contextlib.suppress(ActorLost, DeadlineExceeded, EngineBroken):
                    await self._ask(lane, "abort", None, setting="swap_seconds")
                    await self._ask(lane, "finished", wait_seconds=0.0, setting="swap_seconds")

    async def _send(self, lane: _Lane) -> None:
        """Submit what is new and abort what nobody waits for any more, as soon as there is some."""
        while lane.failure is None:
            if not (lane.unsent or lane.given_up):
                if self._is_closing:
                    return
                lane.to_send.clear()
                await lane.to_send.wait()
                await asyncio.sleep(0)  # let the callers of this turn of the loop add theirs
            if lane.given_up:  # first: the same id may be asked for again
                ids, lane.given_up = lane.given_up, []
                await self._ask(lane, "abort", ids, setting="swap_seconds")
            if lane.unsent:
                requests, lane.unsent = lane.unsent, []
                lane.deadline = time.monotonic() + self._cluster.config.cluster.generate_seconds
                await self._ask(lane, "submit", requests, setting="swap_seconds")

    async def _receive(self, lane: _Lane) -> None:
        """Poll, for as long as the engine owes samples."""
        while not self._is_closing and lane.failure is None:
            if not lane.owed:
                lane.to_receive.clear()
                await lane.to_receive.wait()
                continue
            for sample in await self._ask(lane, "finished", wait_seconds=POLL_SECONDS, setting="generate_seconds"):
                if (future := lane.owed.pop(sample.id, None)) and not future.done():
                    future.set_result(sample)
            if lane.owed and time.monotonic() > lane.deadline:
                seconds = self._cluster.config.cluster.generate_seconds
                raise DeadlineExceeded(
                    f"{lane.name} owes {len(lane.owed)} samples after {seconds:g} s in phase 'generate' of step "
                    f"{self._cluster.step}; if that is too short, raise cluster.generate_seconds",
                    actor=lane.name,
                )

    async def _ask(self, lane: _Lane, method: str, *args: Any, setting: str, **kwargs: Any) -> Any:
        return await self._cluster.ask(lane.name, method, *args, setting=setting, handle=lane.engine, **kwargs)


@dataclass(slots=True, kw_only=True)
class _Lane:
    """One engine's side of a phase."""

    name: str
    engine: Any
    owed: dict[str, asyncio.Future[Sample]] = field(default_factory=dict)
    """Samples that were asked for and have not come, by request id."""
    unsent: list[SampleRequest] = field(default_factory=list)
    given_up: list[str] = field(default_factory=list)
    """Ids of requests that were sent and that nobody waits for any more."""
    to_send: asyncio.Event = field(default_factory=asyncio.Event)
    to_receive: asyncio.Event = field(default_factory=asyncio.Event)
    deadline: float = math.inf
    """When the last samples must have come, on the monotonic clock."""
    failure: BaseException | None = None
    """What ended the lane, if something did: nothing more comes from it in this phase."""

    def ask_for(self, request: SampleRequest, future: asyncio.Future[Sample]) -> None:
        """Owe a sample."""
        self.owed[request.id] = future
        self.unsent.append(request)
        self.wake()

    def give_up(self, request: SampleRequest) -> None:
        """Forget a request, and have the engine forget it too where it knows it."""
        if request in self.unsent:
            self.unsent.remove(request)
        else:
            self.given_up.append(request.id)
            self.wake()

    def wake(self) -> None:
        """Have both tasks look again."""
        self.to_send.set()
        self.to_receive.set()

    def on_task_done(self, task: asyncio.Task[None]) -> None:
        """A lane that fails fails everyone who waits for a sample of it, now or later."""
        if task.cancelled() or (error := task.exception()) is None:
            return
        self.failure = self.failure or error
        self.wake()
        for future in self.owed.values():
            if not future.done():
                future.set_exception(error)
