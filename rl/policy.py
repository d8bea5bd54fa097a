"""The served policy, as the loop holds it while engines generate: `sample` returns when that one response is there."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import math
import time
from collections.abc import Sequence
from dataclasses import dataclass, field

from gyms.api import Message, Task, Tool, Turn
from gyms.mixture import Draw
from gyms.response import Response
from rl.dispatch import Dispatch, Given
from rl.faults import ActorLost, DeadlineExceeded
from rl.personas import Personas, Question
from rl.processes import Place, Process
from rollout.chat import ChatFormat
from rollout.context import Round
from rollout.engine.engine import EngineBroken
from rollout.types import Sample, SampleRequest

__all__ = ["ServedPolicy"]

POLL_SECONDS = 0.5
"""How long one poll of an engine waits for a finished sample."""
OVERBOOKING = 1.25
"""Samples that an engine may owe before it takes another group, as a share of those that decode at the same time: some
wait in the engine, so that a seat is taken in the very step in which it falls free."""


class ServedPolicy:
    """The engines of a phase.

    Two tasks per engine. One sends: requests that are asked for in one turn of the event loop travel in one call, and
    those whose caller gave up (a judge's deadline) are aborted, or the next swap would find them in flight. The other
    polls for finished samples, and only while that engine owes some: a poll that outlived its phase would swallow
    samples of the next. Leaving the context early aborts what is in flight.

    Args:
        engines: all serve the same weights.
        chat: the policy's template and tokenizer.
        max_prompt_tokens: longest prompt of a task.
        max_num_seqs: responses that decode at the same time on one engine.
        generate_seconds: how long an engine may owe samples, from the last requests that were sent to it.
        place: where the run is.
        personas: play somebody in an environment, with these engines where the policy does.
    """

    def __init__(
        self,
        engines: Sequence[Process],
        *,
        chat: ChatFormat,
        max_prompt_tokens: int,
        max_num_seqs: int,
        generate_seconds: float,
        place: Place,
        personas: Personas,
    ) -> None:
        self.chat = chat
        self._personas = personas
        self._max_prompt_tokens = max_prompt_tokens
        self._generate_seconds = generate_seconds
        self._place = place
        self._links = [_Link(engine=engine) for engine in engines]
        # the only engine gets all at once: there is nobody to leave a group for, and calls cost time
        room = OVERBOOKING * max_num_seqs if len(engines) > 1 else math.inf
        self._dispatch = Dispatch(len(engines), max_requests=room)
        self._futures: dict[str, asyncio.Future[Sample]] = {}
        self._tasks: list[asyncio.Task[None]] = []
        self._is_closing = False

    def prompt_ids(self, task: Task, tools: Sequence[Tool] = ()) -> tuple[int, ...]:
        """A task's prompt as token ids.

        Raises:
            ValueError: longer than rollout.max_prompt_tokens; names the task.
        """
        ids, limit = self.chat.prompt_ids(task.prompt, tools), self._max_prompt_tokens
        if len(ids) > limit:
            raise ValueError(
                f"task {task.id!r} has a prompt of {len(ids)} tokens, more than rollout.max_prompt_tokens = {limit}; "
                "raise the limit or leave the task out of its gym"
            )
        return ids

    def text(self, token_ids: Sequence[int]) -> str:
        """What tokens say, special ones left out."""
        return self.chat.decode(token_ids)

    def read_response(self, sample: Sample) -> Response:
        """What counts of a sampled response."""
        return self.chat.read_response(sample)

    def read_turn(self, sample: Sample, tools: Sequence[Tool], *, number: int) -> Turn:
        """The turn of an episode that a sampled response is."""
        return self.chat.read_turn(sample, tools, number=number)

    def reply_ids(self, draw: Draw, reply: Sequence[Message]) -> tuple[int, ...]:
        """Token ids between the policy's turn and its next one."""
        return self.chat.reply_ids(draw.task.prompt, reply, draw.tools)

    def left_out(self, draw: Draw, rounds: Sequence[Round]) -> frozenset[int]:
        """The numbers of the rounds whose thoughts the next turn is not to see."""
        return self.chat.left_out(draw.task.prompt, rounds, draw.tools)

    def context_ids(self, draw: Draw, rounds: Sequence[Round], *, without: frozenset[int]) -> tuple[int, ...]:
        """Token ids in front of the next turn, behind these rounds, some of them without their thoughts."""
        return self.chat.context_ids(draw.task.prompt, rounds, draw.tools, without=without)

    async def answer(self, question: Question) -> str:
        """What somebody says whom a model plays; NoReply where that model could not be asked."""
        return await self._personas.answer(question, self, self.chat)

    async def sample(self, request: SampleRequest, *, group: str) -> Sample:
        """Draw one response.

        Args:
            group: name of what shares its prompt: one engine draws all of it (rl/dispatch.py).

        Raises:
            ActorLost, DeadlineExceeded, EngineBroken: of the engine that draws it, or of any that failed before: the
                phase is over then, and nothing more is sent.
        """
        for link in self._links:
            if link.failure is not None:
                raise link.failure
        future = self._futures[request.id] = asyncio.get_running_loop().create_future()
        self._send_out(self._dispatch.ask(group, request))
        try:
            return await future
        except asyncio.CancelledError:
            if (begun := self._dispatch.engine_of.get(group)) is not None:
                self._links[begun].give_up(request)
            raise
        finally:
            del self._futures[request.id]
            self._send_out(self._dispatch.end(group, request))

    def _send_out(self, given: Sequence[Given]) -> None:
        if any(link.failure for link in self._links):
            return  # the phase is over: who waits has heard so
        for engine, request in given:
            self._links[engine].ask_for(request, self._futures[request.id])

    async def __aenter__(self) -> ServedPolicy:
        for link in self._links:
            for work in (self._send(link), self._receive(link)):
                task = asyncio.create_task(work)
                task.add_done_callback(functools.partial(self._on_task_done, link))
                self._tasks.append(task)
        return self

    async def __aexit__(self, kind: type[BaseException] | None, *rest: object) -> None:
        self._is_closing = True
        for link in self._links:
            link.wake()
        await asyncio.gather(*self._tasks, return_exceptions=True)  # a poll in flight ends within POLL_SECONDS
        if kind is None:
            for link in self._links:
                if link.failure is not None:  # nobody waited for it; the swap to come must not find out
                    raise link.failure
        else:  # something is in flight only where the body was left early
            for link in self._links:
                with contextlib.suppress(ActorLost, DeadlineExceeded, EngineBroken):
                    await link.engine.ask("abort", None, setting="swap_seconds")
                    await link.engine.ask("finished", wait_seconds=0.0, setting="swap_seconds")

    def _on_task_done(self, link: _Link, task: asyncio.Task[None]) -> None:
        """An engine that fails fails everyone who waits for a sample of it, and those who wait for any engine."""
        if task.cancelled() or (error := task.exception()) is None:
            return
        assert isinstance(error, Exception)
        link.failure = link.failure or error
        link.engine.failure = link.engine.failure or error  # also one that owes samples for too long
        link.wake()
        begun = {name for other in self._links if other is not link for name in other.owed}
        for name, future in self._futures.items():
            if name not in begun and not future.done():
                future.set_exception(error)

    async def _send(self, link: _Link) -> None:
        """Submit what is new and abort what nobody waits for any more, as soon as there is some."""
        while link.failure is None:
            if not (link.unsent or link.given_up):
                if self._is_closing:
                    return
                link.to_send.clear()
                await link.to_send.wait()
                await asyncio.sleep(0)  # let the callers of this turn of the loop add theirs
            if link.given_up:  # first: the same id may be asked for again
                ids, link.given_up = link.given_up, []
                await link.engine.ask("abort", ids, setting="swap_seconds")
            if link.unsent:
                requests, link.unsent = link.unsent, []
                link.deadline = time.monotonic() + self._generate_seconds
                await link.engine.ask("submit", requests, setting="swap_seconds")

    async def _receive(self, link: _Link) -> None:
        """Poll, for as long as the engine owes samples."""
        while not self._is_closing and link.failure is None:
            if not link.owed:
                link.to_receive.clear()
                await link.to_receive.wait()
                continue
            for sample in await link.engine.ask("finished", wait_seconds=POLL_SECONDS, setting="generate_seconds"):
                if (future := link.owed.pop(sample.id, None)) and not future.done():
                    future.set_result(sample)
            if link.owed and time.monotonic() > link.deadline:
                raise DeadlineExceeded(
                    f"{link.engine.name} owes {len(link.owed)} samples after {self._generate_seconds:g} s in phase "
                    f"{self._place.phase!r} of step {self._place.step}; if that is too short, raise "
                    "cluster.generate_seconds"
                )


@dataclass(slots=True, kw_only=True)
class _Link:
    """One engine in a phase: what it was asked for and owes."""

    engine: Process
    owed: dict[str, asyncio.Future[Sample]] = field(default_factory=dict)
    """Samples that were asked for and have not come, by request id."""
    unsent: list[SampleRequest] = field(default_factory=list)
    given_up: list[str] = field(default_factory=list)
    """Ids of requests that were sent and that nobody waits for any more."""
    to_send: asyncio.Event = field(default_factory=asyncio.Event)
    to_receive: asyncio.Event = field(default_factory=asyncio.Event)
    deadline: float = math.inf
    """When the last samples must have come, on the monotonic clock."""
    failure: Exception | None = None
    """What ended the link, if something did: nothing more comes from this engine in this phase."""

    def ask_for(self, request: SampleRequest, future: asyncio.Future[Sample]) -> None:
        """Owe a sample."""
        self.owed[request.id] = future
        self.unsent.append(request)
        self.wake()

    def give_up(self, request: SampleRequest) -> None:
        """Forget a request, and have the engine forget it too where it knows it."""
        self.owed.pop(request.id, None)
        if request in self.unsent:
            self.unsent.remove(request)
        else:
            self.given_up.append(request.id)
            self.wake()

    def wake(self) -> None:
        """Have both tasks look again."""
        self.to_send.set()
        self.to_receive.set()
