"""Scores responses in worker processes that can be killed, so that no gym can harm the run or its neighbours.

`await scorer.score(...)` always answers with a Score, and each attempt ends within the gym's own deadline: a gym that
hangs, crashes, exits, raises or answers garbage costs its sample after one retry in a fresh worker, and nothing else. A
control sample (reward/control.py) then tells whose fault it was: the response's (`timeout`, `crashed`), or the gym's
(`verifier_error`, masked); where there is none yet, the answer waits for the gym's other requests. Each worker serves
one gym and one request at a time. Who is next is fair over gyms and first in, first out within one (reward/waiting.py);
the caller's own await is the back-pressure. Cancelling the await kills the worker that was busy with it, with all its
children.

*Asking again is safe.* A request with an id, gym and content that is under way, or was answered lately, gets that
answer; it is not verified twice. Faults of ours are not kept: asking again is then a new attempt.

*Episodes* of many turns are leased (reward/leases.py): opened by name, asked turn by turn, closed. Many live in a
worker, and come back by replay where it dies.

Threads, not the event loop, talk to the workers: a scorer then works from any loop and any thread, and a busy loop
cannot make a verifier miss its deadline. Truncated responses are the caller's to judge (reward/rules.py) and never come
here.
"""

from __future__ import annotations

import asyncio
import hashlib
import threading
import weakref
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from concurrent.futures import Future
from functools import partial
from types import TracebackType
from typing import Any, Literal, Self

from gyms.api import Reply, Score, Status, Task, Turn
from gyms.load import GymSpec
from reward.desk import Desk, cancelled, canonical_pickle, close_desk
from reward.leases import History
from reward.pool import WorkerPool
from reward.process import Request
from reward.waiting import Gate, Ticket

__all__ = ["Scorer"]

_MAX_REMEMBERED = 1024
"""Answers that are kept for a request which comes again."""
_IDLE_PER_WORKER = 8

_Key = tuple[str, str, bytes]


class Scorer:
    """A fixed number of requests at a time, workers started on first use; a context manager, or close() it.

    Example:
        with Scorer([GymSpec(name="sums", reference="arithmetic")], num_workers=2) as scorer:
            score = asyncio.run(scorer.score("s3/d12/k5", "sums", task, "42"))
    """

    def __init__(
        self,
        specs: Sequence[GymSpec],
        *,
        num_workers: int = 1,
        start_seconds: float = 60.0,
        max_pending: int = 1024,
    ) -> None:
        """Args:
        num_workers: requests that are verified at one time.
        start_seconds: longest that starting a worker, and building a gym in it, may take each.
        max_pending: requests of one gym that may wait or run at one time; a caller beyond it waits for room.
        """
        if num_workers < 1:
            raise ValueError(f"reward.num_workers must be at least 1, got {num_workers}")
        if max_pending < 1:
            raise ValueError(f"max_pending must be at least 1, got {max_pending}")
        names = [spec.name for spec in specs]
        if len(set(names)) < len(names):
            raise ValueError(f"two gyms have the same name among {names}; rename one")
        self._max_pending = max_pending
        self._gates: dict[str, Gate] = {}
        self._lock = threading.Lock()
        self._under_way: dict[_Key, Ticket] = {}
        self._answered: OrderedDict[_Key, list[Score]] = OrderedDict()
        self._desk = Desk(
            WorkerPool(start_seconds=start_seconds, max_idle=_IDLE_PER_WORKER * num_workers), num_workers=num_workers
        )
        for spec in specs:
            self.add_gym(spec)
        # The threads know the desk, not the scorer: a scorer that was forgotten is collected, and ends them.
        self._threads = [
            threading.Thread(target=self._desk.serve, name=f"scorer-{i}", daemon=True) for i in range(num_workers)
        ]
        for thread in self._threads:
            thread.start()
        self._finalizer = weakref.finalize(self, close_desk, self._desk, self._threads)

    def add_gym(self, spec: GymSpec) -> None:
        """Score this gym's tasks too."""
        self._desk.specs[spec.name] = spec
        self._gates[spec.name] = Gate(self._max_pending)

    async def score(self, request_id: str, gym_name: str, task: Task, response: str) -> Score:
        """The gym's score of a complete response; faults are scores too. `request_id` names the sample in logs."""
        return (await self._ask(request_id, gym_name, "one", task, [response]))[0]

    async def score_group(self, request_id: str, gym_name: str, task: Task, responses: Sequence[str]) -> list[Score]:
        """Scores of all siblings of one task, in order, by the gym's `score_group`.

        Responses that break the gym are found one by one and scored `timeout` or `crashed`, the others without them;
        any other fault masks the whole group.
        """
        return await self._ask(request_id, gym_name, "group", task, responses)

    async def score_batch(self, request_id: str, gym_name: str, pairs: Sequence[tuple[Task, str]]) -> list[Score]:
        """Scores of several pairs, in order, by the gym's `score_batch`; after a fault, by `score` one by one."""
        tasks, responses = [task for task, _ in pairs], [response for _, response in pairs]
        return await self._ask(request_id, gym_name, "batch", tasks, responses)

    def submit(self, request_id: str, gym_name: str, task: Task, response: str) -> Future[list[Score]]:
        """For threads: a future of a list with the one score; waits while `max_pending` requests are ahead."""
        gate = self._gate(gym_name)
        gate.enter().result()
        ticket, _ = self._enter(gate, request_id, gym_name, "one", task, [response])
        return ticket.future

    async def open_episode(
        self, episode_id: str, gym_name: str, task: Task, *, seed: int, history: History = ()
    ) -> None:
        """Begin an episode, which lives until it is closed; with a history go on with one, by replay.

        The caller owes a close_episode, on every way out. ValueError where another episode has that name.
        """
        self._gate(gym_name)
        self._desk.leases.open(episode_id, gym_name, task, seed, history)

    async def step(self, episode_id: str, place: int, turn: Turn) -> Reply:
        """The answer to the episode's turn at `place`, counted from 0.

        A turn that was answered before gets the same answer. Faults are no exceptions: where one ends the episode, the
        reply is done, and score_episode says what it was.
        """
        return await asyncio.wrap_future(self._desk.leases.step(episode_id, place, turn))

    async def score_episode(self, episode_id: str) -> Score:
        """The episode's score so far, or the fault that ended it."""
        return await asyncio.wrap_future(self._desk.leases.score(episode_id))

    async def close_episode(self, episode_id: str) -> None:
        """End an episode; it may be closed already. Goes on where the await is cancelled."""
        await asyncio.shield(asyncio.wrap_future(self._desk.leases.close(episode_id)))

    def submit_episode(
        self, request_id: str, gym_name: str, task: Task, turns: Sequence[Turn], *, seed: int
    ) -> Future[Score]:
        """For threads: a future of the score of a whole episode, which is replayed and closed."""
        self._gate(gym_name)
        return self._desk.leases.play(request_id, gym_name, task, seed, turns)

    def minimum(self, gym_name: str) -> float:
        """The gym's reward for faults of the model; 0 until the gym was first built."""
        built = self._desk.built.get(gym_name)
        return 0.0 if built is None else built.minimum

    def needs_judge(self, gym_name: str) -> bool:
        """Whether the gym's scores are only what can be checked without its judge; False until it was first built."""
        built = self._desk.built.get(gym_name)
        return built is not None and built.needs_judge

    @property
    def tally(self) -> Mapping[str, Mapping[str, int]]:
        """Gym -> status -> number of scores so far: which gym hangs, crashes or is misused.

        `broke_verifier` counts those of `timeout` and `crashed` whose response broke the verifier itself.
        """
        return {gym: dict(counts) for gym, counts in list(self._desk.tally.items())}

    def close(self) -> None:
        """Stop what runs (it is scored `cancelled`), kill all workers; returns when no process is left."""
        self._finalizer()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    async def _ask(
        self,
        request_id: str,
        gym_name: str,
        kind: Literal["one", "batch", "group"],
        task: Any,
        responses: Sequence[str],
    ) -> list[Score]:
        gate = self._gate(gym_name)
        if not responses:
            return []
        turn = gate.enter()
        try:
            await asyncio.wrap_future(turn)
        except asyncio.CancelledError:
            gate.give_up(turn)
            raise
        ticket, key = self._enter(gate, request_id, gym_name, kind, task, responses)
        try:
            return list(await asyncio.wrap_future(ticket.future))
        except asyncio.CancelledError:
            self._give_up(ticket, key)
            raise

    def _gate(self, gym_name: str) -> Gate:
        if self._desk.closing.is_set():
            raise RuntimeError("the scorer is closed")
        if gym_name not in self._gates:
            raise ValueError(f"the scorer has no gym {gym_name!r}; it was built with {sorted(self._gates)}")
        return self._gates[gym_name]

    def _enter(
        self,
        gate: Gate,
        request_id: str,
        gym_name: str,
        kind: Literal["one", "batch", "group"],
        task: Any,
        responses: Sequence[str],
    ) -> tuple[Ticket, _Key]:
        """The ticket of this request, new or known; the gate is left when it is done."""
        count = len(responses)
        try:
            payload = canonical_pickle((task, list(responses)))
        except Exception as error:  # whatever a task holds that cannot travel
            fault = f"gym {gym_name!r}: the task cannot be pickled: {type(error).__name__}: {error}"[:4000]
            answer: list[Score] | None = [Score(status=Status.VERIFIER_ERROR, detail=fault)] * count
            payload = b""
        else:
            answer = None
        ticket = Ticket(request_id, gym_name, Request(kind=kind, payload=payload, num_responses=count))
        key = (request_id, gym_name, hashlib.blake2b(kind.encode() + payload).digest())
        with self._lock:
            known = self._under_way.get(key)
            answer = answer or self._answered.get(key)
            if known is not None:
                known.num_waiting += 1
            elif answer is None:
                self._under_way[key] = ticket
        if known is not None:
            ticket = known
        elif answer is not None:
            ticket.future.set_result(answer)
        else:
            ticket.future.add_done_callback(partial(_remember, weakref.ref(self), key, ticket))
            if not self._desk.queue.push(ticket):  # closed meanwhile
                ticket.future.set_result(cancelled(ticket))
        ticket.future.add_done_callback(lambda _: gate.leave())
        return ticket, key

    def _give_up(self, ticket: Ticket, key: _Key) -> None:
        """One caller less; the last one takes the ticket with him."""
        with self._lock:
            ticket.num_waiting -= 1
            if ticket.num_waiting <= 0:
                ticket.is_given_up = True
                if self._under_way.get(key) is ticket:
                    del self._under_way[key]

    def _keep(self, key: _Key, ticket: Ticket, scores: list[Score]) -> None:
        with self._lock:
            if self._under_way.get(key) is ticket:
                del self._under_way[key]
            if not any(score.status.is_masked for score in scores):
                self._answered[key] = scores
                while len(self._answered) > _MAX_REMEMBERED:
                    self._answered.popitem(last=False)


def _remember(reference: weakref.ref[Scorer], key: _Key, ticket: Ticket, done: Future[list[Score]]) -> None:
    scorer = reference()
    if scorer is not None:
        scorer._keep(key, ticket, done.result())
