"""A seat: one worker process that holds many idle episodes, and the thread that talks to it. The host's side.

*Nothing is lost with a worker.* An episode is a function of (task, seed, turns), and the host keeps them. So before
each of its calls an episode is brought in, where the worker does not hold it: started, and its turns replayed. That is
how it is opened, how it comes back after its worker was killed (for its own fault or a neighbour's), and how it goes on
in a resumed run. A replayed turn must be answered as it was before: an environment that answers otherwise is no
function of its turns, which is a fault of ours (`verifier_error`). Where turns are code that is run (`needs.sandbox`),
they may ask the clock: a mask would pay for that, so what was answered stands, and the episode goes on. Either way its
score has the flag REPLAY_DIFFERS.

*Whose fault?* A call that breaks the environment is tried once more, in an episode that is replayed for it in a fresh
worker, where no neighbour can have spoilt anything. Breaks that too, a control (reward/episode_control.py) says whether
the model is to blame: `timeout` or `crashed`, else `verifier_error`. What breaks while an episode is brought in is
nobody's turn, and a service that fails is no turn's fault: both are tried more often, and ours then. Either way it ends
this episode, with that score, and no other: neighbours that went down with the worker are replayed when they are next
used.

*Limits* are the gym's `needs`, for each call by itself: start, step, score, close. A seat makes one call at a time.
"""

from __future__ import annotations

import logging
import pickle
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from typing import ParamSpec, TypeVar

from gyms.api import Reply, Score, Status, Task, Turn
from gyms.load import GymSpec
from reward import episode_calls
from reward.control import blamed, is_suspect, not_blamed
from reward.episode_control import EpisodeControls
from reward.pool import WorkerPool
from reward.process import NOT_THE_RESPONSE, Refused, Stopped, WorkerFault, WorkerProcess
from reward.wire import BuiltGym, GarbageReply

__all__ = ["REPLAY_DIFFERS", "Floor", "Lease", "Seat", "cannot_travel"]

REPLAY_DIFFERS = "replay_differs"
"""Flag of a score: the same turns were answered differently when they were replayed."""
_NUM_ATTEMPTS = 2
"""Times that one call may break the environment."""
_NUM_RETURNS = 4
"""Times that bringing in an episode may fail for one call."""
_RETRIED = frozenset({Status.VERIFIER_ERROR, Status.JUDGE_FAILED})
_ENDED = Reply(is_done=True)
"""What a turn gets where a fault ended the episode; score() says which."""
_log = logging.getLogger(__name__)

_Call = Callable[[WorkerProcess], Reply | Score]
_Given = ParamSpec("_Given")
_Answer = TypeVar("_Answer")


@dataclass(frozen=True, kw_only=True)
class Floor:
    """What all seats share."""

    pool: WorkerPool
    specs: dict[str, GymSpec]
    built: dict[str, BuiltGym]
    closing: threading.Event
    slots: threading.Semaphore
    """Calls that may run at one time, over all seats."""
    controls: EpisodeControls
    count: Callable[[str, Sequence[Score]], None]
    """Takes the scores of a gym into the tally."""


@dataclass(eq=False, slots=True, kw_only=True)
class Lease:
    """One open episode, as the host knows it; touched by its seat's thread alone once it is open."""

    id: str
    number: int
    """Names it in its worker."""
    gym: str
    task: Task
    seed: int
    history: list[tuple[Turn, Reply]] = field(default_factory=list)
    """Turns and what they were answered."""
    fault: Score | None = None
    """What ended it before its time."""
    flags: frozenset[str] = frozenset()
    """Of its score, beside those that the environment gives."""
    seconds: float = 0.0
    """Wall clock of its calls."""
    is_counted: bool = False


def cannot_travel(gym: str, task: Task) -> Score | None:
    """The fault of an episode whose task no worker can be sent; None where it can."""
    try:
        pickle.dumps(task)
    except Exception as error:  # whatever a task holds
        detail = f"gym {gym!r}: the task cannot be pickled: {type(error).__name__}: {error}"[:4000]
        return Score(status=Status.VERIFIER_ERROR, detail=detail, flags=frozenset({NOT_THE_RESPONSE}))
    return None


class Seat:
    """Its methods block, in the seat's own thread: call them by `submit`."""

    def __init__(self, gym: str, floor: Floor, *, name: str) -> None:
        self.num_leases = 0
        """Open episodes, kept by who hands them out."""
        self._gym = gym
        self._floor = floor
        self._worker: WorkerProcess | None = None
        self._inside: set[Lease] = set()
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix=name)

    def submit(self, method: Callable[_Given, _Answer], *args: _Given.args, **kwargs: _Given.kwargs) -> Future[_Answer]:
        """Have the seat's thread call one of the methods below, behind what was asked before."""
        return self._thread.submit(method, *args, **kwargs)

    def leave(self) -> None:
        """Take no further work; what was submitted is still done."""
        self._thread.shutdown(wait=False)

    def end(self) -> None:
        """Return when nothing runs any more; what still waited has answered that it was stopped."""
        self._thread.shutdown(wait=True)

    def step(self, lease: Lease, place: int, turn: Turn) -> Reply:
        """The answer to the turn at `place`, counted from 0; a turn that was answered before gets the same answer.

        Raises ValueError where that is not the episode's next turn.
        """
        if place < len(lease.history):
            known, reply = lease.history[place]
            if known != turn:
                raise ValueError(f"episode {lease.id!r}: its turn {place} was another one, and cannot be taken back")
            return reply
        if lease.fault is not None:
            return _ENDED
        if place > len(lease.history) or (lease.history and lease.history[-1][1].is_done):
            raise ValueError(f"episode {lease.id!r}: turn {place} is not its next, after {len(lease.history)} turns")
        reply = self._answer(
            lease, lambda worker: episode_calls.step(worker, lease.number, turn, self._floor.closing.is_set)
        )
        if not isinstance(reply, Reply):
            return _ENDED
        lease.history.append((turn, reply))
        return reply

    def score(self, lease: Lease) -> Score:
        """The episode's score so far, or what ended it."""
        score = lease.fault or self._answer(
            lease, lambda worker: episode_calls.assess(worker, lease.number, self._floor.closing.is_set)
        )
        assert isinstance(score, Score)
        if score.status is Status.OK:
            turns = [turn for turn, _ in lease.history]
            self._floor.controls.remember(self._gym, lease.task, lease.seed, turns)
        if not lease.is_counted:
            lease.is_counted = True
            self._floor.count(self._gym, [score])
        return replace(score, seconds=lease.seconds, flags=score.flags | lease.flags)

    def close(self, lease: Lease, *, is_last: bool) -> None:
        """End the episode; with the last one the worker goes back to rest."""
        self._drop(lease)
        if is_last and self._worker is not None:
            self._floor.pool.put_back(self._worker)
            self._worker = None

    def _answer(self, lease: Lease, ask: _Call) -> Reply | Score:
        """What a call gives; a score that is a fault where it gives nothing usable, and then the episode has ended."""
        num_broken = num_returns = 0
        while True:
            answer = self._apart(lease, ask) if num_broken or num_returns else self._attempt(lease, ask)
            if not _is_fault(answer):
                return answer
            assert isinstance(answer, Score)
            is_innocent = NOT_THE_RESPONSE in answer.flags
            num_broken, num_returns = num_broken + (not is_innocent), num_returns + is_innocent
            is_final = answer.status not in _RETRIED or REPLAY_DIFFERS in answer.flags
            if is_final or num_broken == _NUM_ATTEMPTS or num_returns == _NUM_RETURNS:
                lease.fault = self._told_apart(lease, answer)
                return lease.fault
            _log.warning("episode %s: %s", lease.id, answer.detail)

    def _apart(self, lease: Lease, ask: _Call) -> Reply | Score:
        """As _attempt, in a fresh worker; it takes the place of the seat's, which broke what works there."""
        worker, inside = self._worker, self._inside
        self._worker, self._inside = self._floor.pool.take_fresh(self._floor.specs[self._gym]), set()
        answer = self._attempt(lease, ask)
        if _is_fault(answer):
            self._kill()  # one worker is enough
            self._floor.pool.put_back(self._worker)
            self._worker, self._inside = worker, inside
        elif worker is not None:
            worker.kill()
            self._floor.pool.put_back(worker)
        return answer

    def _attempt(self, lease: Lease, ask: _Call) -> Reply | Score:
        """Around one call of an environment: whatever goes wrong is recorded in a score, and the episode leaves."""
        with self._floor.slots:
            answer = self._recorded(lease, ask)
        if _is_fault(answer):
            self._drop(lease)
        return answer

    def _recorded(self, lease: Lease, ask: _Call) -> Reply | Score:
        status, flags = Status.VERIFIER_ERROR, frozenset[str]()
        started, is_there = time.monotonic(), False
        try:
            worker = self._with(lease)
            is_there = True
            answer = ask(worker)
            lease.seconds += time.monotonic() - started
            return answer
        except Stopped:
            self._kill()
            status, cause = Status.CANCELLED, "the episode was stopped"
        except Refused as error:
            status, cause, flags = Status.BAD_TASK, str(error), frozenset({NOT_THE_RESPONSE})
        except WorkerFault as error:
            if not error.is_alive:
                self._kill()
            cause, flags = str(error), error.flags
        except GarbageReply as garbage:
            self._kill()
            cause = f"its worker sent {garbage}"
        except Exception as error:  # ours: no worker could be started, ...
            self._kill()
            cause, flags = f"{type(error).__name__}: {error}", frozenset({NOT_THE_RESPONSE})
        if not is_there:
            flags |= {NOT_THE_RESPONSE}
        return Score(status=status, detail=f"gym {self._gym!r}: {cause}"[:4000], flags=flags)

    def _with(self, lease: Lease) -> WorkerProcess:
        """The worker, with the episode in it."""
        stopped = self._floor.closing.is_set
        if stopped():
            raise Stopped
        if self._worker is None:
            self._worker = self._floor.pool.take(self._floor.specs[self._gym])
        worker = self._worker
        if worker.has_died():
            self._kill()
        if lease not in self._inside:
            self._inside.add(lease)  # before it is: what an attempt leaves behind is closed, too
            episode_calls.start(worker, lease.number, lease.task, lease.seed, stopped)
            for place, (turn, known) in enumerate(lease.history):
                again = episode_calls.step(worker, lease.number, turn, stopped)
                if again == known:
                    continue
                assert worker.built is not None  # a call builds first
                if worker.built.has_sandbox and again.is_done == known.is_done:
                    lease.flags |= {REPLAY_DIFFERS}
                else:
                    raise WorkerFault(
                        f"turn {place} was answered differently when it was replayed, {again!r:.300} instead of "
                        f"{known!r:.300}; an episode must be a function of (task, seed, turns)",
                        is_alive=True,
                        flags=frozenset({NOT_THE_RESPONSE, REPLAY_DIFFERS}),
                    )
        if worker.built is not None:
            self._floor.built[self._gym] = worker.built
        return worker

    def _told_apart(self, lease: Lease, fault: Score) -> Score:
        """A fault of the environment, or of the turns that broke it."""
        stopped = self._floor.closing.is_set
        if not is_suspect(fault) or stopped():
            return fault
        spec, same_task = self._floor.specs[self._gym], fault.status is Status.BAD_TASK
        try:
            control = self._floor.controls.ask(spec, lease.task, lease.seed, stopped, same_task=same_task)
        except Stopped:
            return Score(status=Status.CANCELLED, detail=f"gym {self._gym!r}: the episode was stopped")
        return blamed(fault, control) if control is not None and control.works else not_blamed(fault, control)

    def _drop(self, lease: Lease) -> None:
        """Close the episode in the worker, if it is there; a worker that cannot even do that is killed."""
        if lease not in self._inside or self._worker is None:
            return
        self._inside.discard(lease)
        try:
            with self._floor.slots:
                episode_calls.close(self._worker, lease.number, self._floor.closing.is_set)
        except Stopped:
            return  # the pool ends the worker, which closes what lives in it
        except (WorkerFault, GarbageReply, Refused) as error:
            _log.warning("episode %s: gym %r: it cannot be closed: %s", lease.id, self._gym, error)
            if not getattr(error, "is_alive", False):
                self._kill()

    def _kill(self) -> None:
        """The worker and all that lives in it; whoever is used next is replayed."""
        if self._worker is not None:
            self._worker.kill()
        self._inside.clear()


def _is_fault(answer: Reply | Score) -> bool:
    """Whether a call gave nothing usable."""
    return isinstance(answer, Score) and answer.status.is_masked
