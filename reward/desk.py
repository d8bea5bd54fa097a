"""The scorer's desk: tickets go to workers, and what comes back is told apart into scores and faults.

A fault of the gym is tried again in a fresh worker. Where it repeats, a control sample (reward/control.py) says whether
the response is to blame. A batch is judged one by one then; of a group of siblings, those that break the gym alone are
found and the others scored without them. Where there is no control sample, because the gym has scored nothing yet, the
ticket is held with its faults until it has; where the gym comes to rest before, the fault is ours.
"""

from __future__ import annotations

import contextlib
import io
import logging
import pickle
import threading
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any, Literal

from gyms.api import Score, Status
from gyms.load import GymSpec
from reward.control import CONTROL_FLAG, NO_CONTROL, Controls, blamed, is_suspect, not_blamed
from reward.episode_control import EpisodeControls
from reward.leases import Leases
from reward.pool import WorkerPool
from reward.process import NOT_THE_RESPONSE, Refused, Request, Stopped, WorkerFault, WorkerProcess
from reward.seat import Floor
from reward.waiting import FairQueue, Ticket
from reward.wire import BuiltGym, GarbageReply

__all__ = ["Desk", "cancelled", "canonical_pickle", "close_desk"]

_RETRIED = frozenset({Status.VERIFIER_ERROR, Status.JUDGE_FAILED})
_CLOSE_SECONDS = 30.0
_log = logging.getLogger(__name__)


class Desk:
    """What the scorer's threads share: the queue, the workers, the counts."""

    def __init__(self, pool: WorkerPool, *, num_workers: int) -> None:
        self.pool = pool
        self.controls = Controls(pool)
        self.queue = FairQueue()
        self.specs: dict[str, GymSpec] = {}
        self.built: dict[str, BuiltGym] = {}
        self.tally: dict[str, Counter[str]] = {}
        self.closing = threading.Event()
        self._lock = threading.Lock()
        self._undecided: dict[str, list[tuple[Ticket, list[Score]]]] = {}
        """Tickets of each gym whose fault had no control sample, and the scores that they get where none comes."""
        floor = Floor(
            pool=pool,
            specs=self.specs,
            built=self.built,
            closing=self.closing,
            slots=threading.Semaphore(num_workers),
            controls=EpisodeControls(pool),
            count=self.count,
        )
        self.leases = Leases(floor, max_seats=num_workers)

    def count(self, gym: str, scores: Sequence[Score]) -> None:
        """Take scores into the tally."""
        with self._lock:
            counts = self.tally.setdefault(gym, Counter())
            counts.update(str(score.status) for score in scores)
            if num_blamed := sum(CONTROL_FLAG in score.flags for score in scores):
                counts[CONTROL_FLAG] += num_blamed

    def serve(self) -> None:
        """A thread's life: one ticket after the other."""
        while (ticket := self.queue.pop()) is not None:
            self._serve_one(ticket)

    def _serve_one(self, ticket: Ticket) -> None:
        def is_stopped() -> bool:
            return ticket.is_given_up or self.closing.is_set()

        scores = cancelled(ticket)
        try:
            if not is_stopped():
                scores = self._judge(ticket, is_stopped)
        finally:
            is_undecided = not is_stopped() and any(
                score.status is Status.VERIFIER_ERROR and NO_CONTROL in score.flags for score in scores
            )
            if is_undecided:
                with self._lock:
                    self._undecided.setdefault(ticket.gym, []).append((ticket, scores))
            self.queue.finished(ticket)
            if not is_undecided:
                self._answer(ticket, scores)
            self._settle(ticket.gym)  # behind `finished`: whoever comes to rest last, settles

    def _answer(self, ticket: Ticket, scores: list[Score]) -> None:
        self.count(ticket.gym, scores)
        ticket.future.set_result(scores)

    def _settle(self, gym: str) -> None:
        """Serve what is undecided again once there is a control sample, and answer it where none can come any more."""
        has_control = self.controls.has_earlier(gym)
        if not has_control and self.queue.is_busy(gym):
            return
        with self._lock:
            held = self._undecided.pop(gym, [])
        for ticket, scores in held:
            if not (has_control and self.queue.push(ticket)):
                self._answer(ticket, cancelled(ticket) if self.closing.is_set() else scores)

    def _judge(self, ticket: Ticket, is_stopped: Callable[[], bool]) -> list[Score]:
        scores = ticket.faults or self._attempts(ticket, is_stopped)
        suspects = [score for score in scores if is_suspect(score)]
        if not suspects or is_stopped():
            if all(score.status is Status.OK for score in scores):
                self.controls.remember(ticket.gym, ticket.request)
            return scores
        ticket.faults = scores
        try:
            return self._told_apart(ticket, scores, is_stopped)
        except Stopped:
            return cancelled(ticket)
        except Exception:  # a task that cannot be unpickled or hashed here: the fault stays the gym's
            _log.exception("request %s: no control sample could be asked for", ticket.request_id)
            return scores

    def _attempts(self, ticket: Ticket, is_stopped: Callable[[], bool]) -> list[Score]:
        """The scores of a first attempt, or of a second one in a fresh worker, where nothing was spoilt before."""
        worker = self.pool.take(self.specs[ticket.gym])
        try:
            scores = self._attempt_in(worker, ticket, is_stopped)
            if not _has_fault(scores):
                return scores
            fresh = self.pool.take_fresh(self.specs[ticket.gym])
            try:
                scores = self._attempt_in(fresh, ticket, is_stopped)
                (fresh if _has_fault(scores) else worker).kill()  # one of them is enough; never that which works
            finally:
                self.pool.put_back(fresh)
            return scores
        finally:
            self.pool.put_back(worker)

    def _attempt_in(self, worker: WorkerProcess, ticket: Ticket, is_stopped: Callable[[], bool]) -> list[Score]:
        scores = _attempt(worker, ticket, is_stopped)
        if worker.built is not None:
            self.built[ticket.gym] = worker.built
        if _has_fault(scores):
            _log.warning("request %s: %s", ticket.request_id, next(s.detail for s in scores if s.status in _RETRIED))
        return scores

    def _told_apart(self, ticket: Ticket, scores: list[Score], is_stopped: Callable[[], bool]) -> list[Score]:
        """Faults of the gym, and of the responses that broke it, told apart by control samples."""
        request = ticket.request
        if request.kind == "batch":
            tasks, responses = pickle.loads(request.payload)
            parts = zip(scores, tasks, responses, strict=True)
            return [
                self._judge(_alone(ticket, "one", task, response), is_stopped)[0] if is_suspect(score) else score
                for score, task, response in parts
            ]
        same_task = all(score.status is not Status.VERIFIER_ERROR for score in scores if is_suspect(score))
        control = self.controls.ask(self.specs[ticket.gym], request, is_stopped, same_task=same_task)
        if control is None or not control.works:
            return [not_blamed(score, control) if is_suspect(score) else score for score in scores]
        if len(scores) > 1 and all(score.status is Status.VERIFIER_ERROR for score in scores):
            return self._without_culprits(ticket, scores, is_stopped)
        return [blamed(score, control) if is_suspect(score) else score for score in scores]

    def _without_culprits(self, ticket: Ticket, faults: list[Score], is_stopped: Callable[[], bool]) -> list[Score]:
        """A group of siblings: those that break the gym alone are to blame, the others are scored without them."""
        task, responses = pickle.loads(ticket.request.payload)
        alone = [self._judge(_alone(ticket, "group", task, response), is_stopped)[0] for response in responses]
        innocent = [place for place, score in enumerate(alone) if CONTROL_FLAG not in score.flags]
        if len(innocent) == len(alone):
            return faults  # only together do they break it: nobody can be told apart
        rest = iter(())
        if innocent:
            payload = canonical_pickle((task, [responses[place] for place in innocent]))
            request = Request(kind="group", payload=payload, num_responses=len(innocent))
            rest = iter(self._attempts(Ticket(ticket.request_id, ticket.gym, request), is_stopped))
        return [next(rest) if place in innocent else alone[place] for place in range(len(alone))]


def _has_fault(scores: Sequence[Score]) -> bool:
    return any(score.status in _RETRIED for score in scores)


def _attempt(worker: WorkerProcess, ticket: Ticket, is_stopped: Callable[[], bool]) -> list[Score]:
    """Around one sample's judging: whatever goes wrong is recorded in the score."""
    flags: frozenset[str] = frozenset()
    try:
        return worker.score(ticket.request, is_stopped)
    except Stopped:
        worker.kill()
        return cancelled(ticket)
    except Refused as error:
        cause, flags = f"gym {ticket.gym!r}: {error}"[:4000], frozenset({NOT_THE_RESPONSE})
        return [Score(status=Status.BAD_TASK, detail=cause, flags=flags)] * ticket.request.num_responses
    except WorkerFault as error:
        if not error.is_alive:
            worker.kill()
        cause, flags = str(error), error.flags
    except GarbageReply as garbage:
        worker.kill()
        cause = f"its worker sent {garbage}"
    except Exception as error:  # ours: no worker could be started, ...
        worker.kill()
        cause, flags = f"{type(error).__name__}: {error}", frozenset({NOT_THE_RESPONSE})
    fault = Score(status=Status.VERIFIER_ERROR, detail=f"gym {ticket.gym!r}: {cause}"[:4000], flags=flags)
    return [fault] * ticket.request.num_responses


def cancelled(ticket: Ticket) -> list[Score]:
    fault = Score(status=Status.CANCELLED, detail=f"gym {ticket.gym!r}: scoring was stopped")
    return [fault] * ticket.request.num_responses


def _alone(ticket: Ticket, kind: Literal["one", "group"], task: Any, response: str) -> Ticket:
    """One response of a ticket's, as a ticket."""
    request = Request(kind=kind, payload=canonical_pickle((task, [response])), num_responses=1)
    return Ticket(ticket.request_id, ticket.gym, request)


def canonical_pickle(content: object) -> bytes:
    """A pickle that is the same for equal content: without the memo, which tells shared objects from equal ones."""
    buffer = io.BytesIO()
    pickler = pickle.Pickler(buffer)
    with contextlib.suppress(ValueError, RecursionError):  # content that holds itself needs the memo
        pickler.fast = True
        pickler.dump(content)
        return buffer.getvalue()
    return pickle.dumps(content)


def close_desk(desk: Desk, threads: Sequence[threading.Thread]) -> None:
    desk.closing.set()
    desk.queue.close()
    for thread in threads:
        if thread is not threading.current_thread():
            thread.join(_CLOSE_SECONDS)
    desk.leases.end()
    desk.pool.close()
