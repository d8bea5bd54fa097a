"""The control sample of an episode: is the model to blame where its turns broke the environment?

The rule is that of single responses (reward/control.py): a whole episode that is known to be harmless is played in a
fresh worker, under the same limits and with the same seed. That is the task's `gold_turns`, which must score 1.0; where
there are none, an episode of that gym that was scored `ok` lately, on the same task if there is one, and otherwise (not
for `bad_task`) on any. The first depends on nothing but gym, task and seed, so a resumed run comes to the same verdict.
"""

from __future__ import annotations

import hashlib
import logging
import pickle
import threading
from collections import deque
from collections.abc import Sequence

from gyms.api import Score, Status, Task, Turn
from gyms.load import GymSpec
from reward import episode_calls
from reward.control import KEPT_SECONDS, Control
from reward.kept import Kept
from reward.pool import WorkerPool
from reward.process import IsStopped, Refused, Stopped, WorkerFault, WorkerProcess
from reward.wire import GarbageReply

__all__ = ["EpisodeControls"]

_MAX_EARLIER = 4
"""Episodes scored without a fault that are remembered for each gym."""
_log = logging.getLogger(__name__)

_Episode = tuple[Task, int, tuple[Turn, ...]]


class EpisodeControls:
    """Plays control episodes, shares and keeps their results. Thread-safe."""

    def __init__(self, pool: WorkerPool) -> None:
        self._pool = pool
        self._lock = threading.Lock()
        self._earlier: dict[str, deque[_Episode]] = {}
        self._kept: Kept[Control] = Kept(seconds=KEPT_SECONDS)

    def remember(self, gym: str, task: Task, seed: int, turns: Sequence[Turn]) -> None:
        """An episode that was scored without a fault."""
        with self._lock:
            self._earlier.setdefault(gym, deque(maxlen=_MAX_EARLIER)).append((task, seed, tuple(turns)))

    def ask(self, spec: GymSpec, task: Task, seed: int, is_stopped: IsStopped, *, same_task: bool) -> Control:
        """The control of an episode that broke; Stopped where the caller gave up.

        Args:
            same_task: True where an episode of another task says nothing: for `bad_task`.
        """

        def check() -> None:
            if is_stopped():
                raise Stopped

        key = (spec.name, hashlib.blake2b(pickle.dumps((task, seed))).digest(), same_task)
        return self._kept.get(key, lambda: self._run(spec, task, seed, is_stopped, same_task=same_task), check)

    def _run(self, spec: GymSpec, task: Task, seed: int, is_stopped: IsStopped, *, same_task: bool) -> Control:
        worker = self._pool.take_fresh(spec)
        what = "the task's gold episode"
        try:
            gold = episode_calls.gold_turns(worker, task, is_stopped)
            if gold is not None:
                score = episode_calls.play(worker, task, seed, gold, is_stopped)
            else:
                what = "an earlier episode"
                found = self._replayed(worker, spec.name, task, is_stopped, same_task=same_task)
                if found is None:
                    return Control(works=False, told="there is no control: no gold turns, and no earlier episode")
                score = found
        except Stopped:
            worker.kill()
            raise
        except (WorkerFault, GarbageReply, Refused) as error:
            if not getattr(error, "is_alive", False):
                worker.kill()
            _log.info("gym %r: its control episode fails too: %s", spec.name, error)
            return Control(works=False, told=f"{what} fails too: {error}"[:500])
        finally:
            self._pool.put_back(worker)
        if score.status is not Status.OK or (gold is not None and score.value != 1.0):
            told = f"{what} is scored {score.status} {score.value} {score.detail}"[:500]
            _log.info("gym %r: its control episode fails too: %s", spec.name, told)
            return Control(works=False, told=told)
        return Control(works=True, told=f"{what} was scored well in a fresh worker")

    def _replayed(
        self, worker: WorkerProcess, gym: str, task: Task, is_stopped: IsStopped, *, same_task: bool
    ) -> Score | None:
        """The score of the latest earlier episode that may serve, or None where there is none."""
        with self._lock:
            earlier = list(self._earlier.get(gym, ()))[::-1]
        fitting = [episode for episode in earlier if episode[0] == task] or ([] if same_task else earlier)
        return episode_calls.play(worker, *fitting[0], is_stopped) if fitting else None
