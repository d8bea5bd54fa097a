"""Whose fault is it that a gym broke on a response? A control sample tells.

A response that hangs or crashes its verifier must not be masked: a mask is better than a reward of 0, so a policy would
learn to break verifiers. A verifier that is broken must not be held against the policy. Both look alike from outside.
So once a gym has broken twice on a response, the host asks it, in a fresh worker and under the same limits, for the
score of a response that is known to be harmless (after `bad_task` in any worker, for nothing broke):

1. the task's own `gold`, which must score 1.0;
2. where the task has none, the request of that gym that was scored without a fault last, on the same task if there is
   one among the last few, and otherwise (not for `bad_task`) on any.

Works it, the verifier, the task and the machine are fine, and the response is to blame: `timeout` where it hung, else
`crashed`, with the gym's minimum as reward and the flag `CONTROL_FLAG`. Fails it, the fault is ours. Is there none yet,
nobody can tell (flag `NO_CONTROL`): the desk holds the request until the gym has scored anything, and the fault is ours
where the gym comes to rest before.

Nothing is paid where nothing faults. A control that works says that nothing else is broken *now*: it serves responses
that broke the gym before it began, and no later one, which an outage may have broken. Under a storm the faulting
responses of one task wait for the control that runs, and share the next. One that fails is kept for a while. The first
rule is a function of task and gym alone, so a
resumed run comes to the same verdict; the second needs a request that this process has scored before, so there a
resumed run may come to another.

Left out: faults that are ours whatever the response (the gym cannot be built, does what its `needs` do not declare,
says that its service failed).
"""

from __future__ import annotations

import hashlib
import logging
import pickle
import threading
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal, NamedTuple

from gyms.api import Score, Status
from gyms.load import GymSpec
from reward.kept import Kept
from reward.pool import WorkerPool
from reward.process import (
    HUNG,
    NOT_THE_RESPONSE,
    IsStopped,
    Refused,
    Request,
    Stopped,
    WorkerFault,
    WorkerProcess,
)
from reward.wire import GarbageReply

__all__ = [
    "CONTROL_FLAG",
    "KEPT_SECONDS",
    "NO_CONTROL",
    "Control",
    "Controls",
    "Trial",
    "blamed",
    "control_of",
    "is_suspect",
    "lasts",
    "not_blamed",
]

CONTROL_FLAG = "broke_verifier"
"""On a score whose response broke the verifier, while the control sample did not."""
NO_CONTROL = "no_control"
"""On a fault of which nobody could tell whose it is."""
KEPT_SECONDS = 300.0
"""How long a control that did not work serves the next faults of the same task."""
_MAX_EARLIER = 16
"""Requests scored without a fault that are remembered for each gym."""
_SUSPECT = frozenset({Status.VERIFIER_ERROR, Status.BAD_TASK})
_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Control:
    """What became of a control sample."""

    works: bool
    told: str
    """Which sample it was and how it ended, in one line."""


def lasts(control: Control | None) -> bool:
    """Whether a control speaks of what happens after it, too: one that works does not."""
    return control is None or not control.works


def is_suspect(score: Score) -> bool:
    """Whether a control sample can tell whose fault a score is: not what is our fault whatever the response."""
    return score.status in _SUSPECT and NOT_THE_RESPONSE not in score.flags


def blamed(fault: Score, control: Control) -> Score:
    """The score of a response that broke its verifier."""
    return Score(
        status=Status.TIMEOUT if HUNG in fault.flags else Status.CRASHED,
        flags=frozenset({CONTROL_FLAG}),
        detail=f"{fault.detail[:3000]}; the response is to blame: {control.told}",
    )


def not_blamed(fault: Score, control: Control | None) -> Score:
    """The same fault, with what became of its control sample."""
    told = control.told if control is not None else "there is no control sample: no gold, and nothing scored earlier"
    flags = fault.flags if control is not None else fault.flags | {NO_CONTROL}
    return replace(fault, flags=flags, detail=f"{fault.detail}; {told}"[:4000])


class Trial(NamedTuple):
    """One way to a harmless sample."""

    what: str
    """What it is, for people."""
    ask: Callable[[WorkerProcess], Sequence[Score]]
    """Its scores; none where there is no such sample."""
    wanted: float | None = None
    """The value that it must have; None: any, as long as it is `ok`."""


def control_of(pool: WorkerPool, worker: WorkerProcess, gym: str, trials: Sequence[Trial]) -> Control | None:
    """What the first trial tells that there is a sample for, or None without any; the worker goes back to its pool,
    which keeps it where it has no other.

    Raises:
        Stopped: the caller gave up.
    """
    what = ""
    try:
        for what, ask, wanted in trials:
            if scores := ask(worker):
                return _told_by(gym, what, scores, wanted)
        return None
    except Stopped:
        worker.kill()
        raise
    except (WorkerFault, GarbageReply, Refused) as error:
        if not getattr(error, "is_alive", False):
            worker.kill()
        _log.info("gym %r: its control sample fails too: %s", gym, error)
        return Control(works=False, told=f"{what} fails too: {error}"[:500])
    finally:
        pool.put_back(worker, is_spare=True)


def _told_by(gym: str, what: str, scores: Sequence[Score], wanted: float | None) -> Control:
    bad = [s for s in scores if s.status is not Status.OK or (wanted is not None and s.value != wanted)]
    if not bad:
        return Control(works=True, told=f"{what} was scored well in a fresh worker")
    told = f"{what} is scored {bad[0].status} {bad[0].value} {bad[0].detail}"[:500]
    _log.info("gym %r: its control sample fails too: %s", gym, told)
    return Control(works=False, told=told)


class Controls:
    """Runs control samples, shares and keeps their results. Thread-safe."""

    def __init__(self, pool: WorkerPool) -> None:
        self._pool = pool
        self._lock = threading.Lock()
        self._earlier: dict[str, deque[Request]] = {}
        self._kept: Kept[Control | None] = Kept(seconds=KEPT_SECONDS, lasts=lasts)

    def remember(self, gym: str, request: Request) -> None:
        """A request that was scored without a fault."""
        with self._lock:
            self._earlier.setdefault(gym, deque(maxlen=_MAX_EARLIER)).append(request)

    def ask(
        self,
        spec: GymSpec,
        request: Request,
        is_stopped: IsStopped,
        *,
        same_task: bool = False,
    ) -> Control | None:
        """The control of a faulting request of the kind `one` or `group`, None where there is no sample for one yet.

        Stopped where the caller gave up.

        Args:
            same_task: True where a request on another task says nothing: for `bad_task`. As nothing broke then, any
            worker of the gym will do.
        """
        task, _ = pickle.loads(request.payload)
        # that there is no sample holds until the gym has scored one
        has_earlier = self.has_earlier(spec.name)
        key = (spec.name, request.kind, hashlib.blake2b(pickle.dumps(task)).digest(), same_task, has_earlier)

        def check() -> None:
            if is_stopped():
                raise Stopped

        return self._kept.get(key, lambda: self._run(spec, request, task, is_stopped, same_task=same_task), check)

    def has_earlier(self, gym: str) -> bool:
        """Whether the gym has scored anything without a fault."""
        with self._lock:
            return bool(self._earlier.get(gym))

    def _run(
        self, spec: GymSpec, request: Request, task: Any, is_stopped: IsStopped, *, same_task: bool
    ) -> Control | None:
        kind: Literal["one", "group"] = "group" if request.kind == "group" else "one"
        count = request.num_responses

        def gold(worker: WorkerProcess) -> Sequence[Score]:
            asked = Request(kind="gold", payload=pickle.dumps((task, (kind, count))), num_responses=count)
            return worker.score(asked, is_stopped)

        def earlier(worker: WorkerProcess) -> Sequence[Score]:
            found = self._earlier_request(spec.name, pickle.dumps(task), same_task=same_task)
            return worker.score(found, is_stopped) if found is not None else ()

        worker = self._pool.take(spec) if same_task else self._pool.take_fresh(spec)
        trials = [
            Trial("the task's gold response", gold, wanted=1.0 if kind == "one" else None),
            Trial("an earlier response", earlier),
        ]
        return control_of(self._pool, worker, spec.name, trials)

    def _earlier_request(self, gym: str, body: bytes, *, same_task: bool) -> Request | None:
        with self._lock:
            earlier = list(self._earlier.get(gym, ()))[::-1]
        for request in earlier:
            asked, _ = pickle.loads(request.payload)
            tasks = asked if request.kind == "batch" else [asked]
            if all(pickle.dumps(one) == body for one in tasks):
                return request
        return earlier[0] if earlier and not same_task else None
