"""Scores responses in worker processes that can be killed, so that no gym can harm the run or its neighbours.

`await scorer.score(...)` always answers with a Score, within the gym's own deadline: a gym that hangs, crashes, exits,
raises or answers garbage costs its sample (`verifier_error`, masked) after one retry in a fresh worker, and nothing
else. Each worker does one request at a time; requests wait first in, first out, and the caller's own await is the
back-pressure. Cancelling the await kills the worker that was busy with it.

Threads, not the event loop, talk to the workers: a scorer then works from any loop, or from several one after another,
and a busy loop cannot make a verifier miss its deadline. Truncated responses are the caller's to judge
(reward/rules.py) and never come here.
"""

from __future__ import annotations

import asyncio
import logging
import queue
import threading
import weakref
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from types import TracebackType
from typing import Self

from gyms.api import Score, Status, Task
from gyms.load import GymSpec
from reward.process import Stopped, WorkerFault, WorkerProcess
from reward.wire import GarbageReply

__all__ = ["Scorer"]

_NUM_ATTEMPTS = 2
_RETRIED = frozenset({Status.VERIFIER_ERROR, Status.JUDGE_FAILED})
_log = logging.getLogger(__name__)


class Scorer:
    """A fixed number of scoring workers, started on first use; use it as a context manager or close() it.

    Example:
        with Scorer([GymSpec(name="sums", reference="arithmetic")], num_workers=2) as scorer:
            score = asyncio.run(scorer.score("s3/d12/k5", "sums", task, "42"))
    """

    def __init__(self, specs: Sequence[GymSpec], *, num_workers: int = 1, start_seconds: float = 60.0) -> None:
        if num_workers < 1:
            raise ValueError(f"reward.num_workers must be at least 1, got {num_workers}")
        self._specs = {spec.name: spec for spec in specs}
        if len(self._specs) < len(specs):
            raise ValueError(f"two gyms have the same name among {[spec.name for spec in specs]}; rename one")
        self._workers = [WorkerProcess(self._specs, start_seconds=start_seconds) for _ in range(num_workers)]
        self._idle: queue.SimpleQueue[WorkerProcess] = queue.SimpleQueue()
        for worker in self._workers:
            self._idle.put(worker)
        self._threads = ThreadPoolExecutor(num_workers, thread_name_prefix="scorer")
        self._closing = threading.Event()
        self._finalizer = weakref.finalize(self, _kill_all, self._workers)

    async def score(self, request_id: str, gym_name: str, task: Task, response: str) -> Score:
        """The gym's score of a complete response; faults are scores too. `request_id` names the sample in logs."""
        if self._closing.is_set():
            raise RuntimeError("the scorer is closed")
        if gym_name not in self._specs:
            raise ValueError(f"the scorer has no gym {gym_name!r}; it was built with {sorted(self._specs)}")
        given_up = threading.Event()
        future = self._threads.submit(self._judge, request_id, gym_name, task, response, given_up)
        try:
            return await asyncio.wrap_future(future)
        except asyncio.CancelledError:
            given_up.set()
            raise

    def close(self) -> None:
        """Stop what runs (it is scored `cancelled`), kill all workers; returns when no process is left."""
        self._closing.set()
        self._threads.shutdown(wait=True)
        self._finalizer()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _judge(self, request_id: str, gym_name: str, task: Task, response: str, given_up: threading.Event) -> Score:
        """In a thread: one request on one worker, with its retry."""

        def is_stopped() -> bool:
            return given_up.is_set() or self._closing.is_set()

        worker = self._idle.get()
        try:
            for _ in range(_NUM_ATTEMPTS):
                score = _attempt(worker, gym_name, task, response, is_stopped)
                if score.status not in _RETRIED:
                    break
                _log.warning("request %s: %s", request_id, score.detail)
            return score
        finally:
            self._idle.put(worker)


def _attempt(worker: WorkerProcess, gym_name: str, task: Task, response: str, is_stopped: Callable[[], bool]) -> Score:
    """Around one sample's judging: whatever goes wrong is recorded in the score, and masks the sample."""
    try:
        return worker.score(gym_name, task, response, is_stopped)
    except Stopped:
        worker.kill()
        return Score(status=Status.CANCELLED, detail=f"gym {gym_name!r}: scoring was stopped")
    except WorkerFault as fault:
        if not fault.is_alive:
            worker.kill()
        cause = str(fault)
    except GarbageReply as garbage:
        worker.kill()
        cause = f"its worker sent {garbage}"
    except Exception as error:
        worker.kill()
        cause = f"{type(error).__name__}: {error}"
    return Score(status=Status.VERIFIER_ERROR, detail=f"gym {gym_name!r}: {cause}")


def _kill_all(workers: Sequence[WorkerProcess]) -> None:
    for worker in workers:
        worker.kill()
