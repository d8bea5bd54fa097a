"""The control sample of an episode: is the model to blame where its turns broke the environment?

The rule is that of single responses (reward/control.py): a whole episode that is known to be harmless is played in a
fresh worker, under the same limits and with the same seed. That is the task's `gold_turns`, which must score 1.0; where
there are none, an episode of that gym that was scored `ok` lately, on the same task if there is one, and otherwise (not
for `bad_task`) on any. The first depends on nothing but gym, task and seed, so a resumed run comes to the same verdict.
"""

from __future__ import annotations

import hashlib
import pickle
import threading
from collections import deque
from collections.abc import Sequence

from gyms.api import Score, Task, Turn
from gyms.load import GymSpec
from reward import episode_calls
from reward.control import KEPT_SECONDS, Control, Trial, control_of, lasts
from reward.kept import Kept
from reward.pool import WorkerPool
from reward.process import IsStopped, Stopped, WorkerProcess

__all__ = ["EpisodeControls"]

_MAX_EARLIER = 4
"""Episodes scored without a fault that are remembered for each gym."""

_Episode = tuple[Task, int, tuple[Turn, ...]]


class EpisodeControls:
    """Plays control episodes, shares and keeps their results. Thread-safe."""

    def __init__(self, pool: WorkerPool) -> None:
        self._pool = pool
        self._lock = threading.Lock()
        self._earlier: dict[str, deque[_Episode]] = {}
        self._kept: Kept[Control | None] = Kept(seconds=KEPT_SECONDS, lasts=lasts)

    def remember(self, gym: str, task: Task, seed: int, turns: Sequence[Turn]) -> None:
        """An episode that was scored without a fault."""
        with self._lock:
            self._earlier.setdefault(gym, deque(maxlen=_MAX_EARLIER)).append((task, seed, tuple(turns)))

    def ask(self, spec: GymSpec, task: Task, seed: int, is_stopped: IsStopped, *, same_task: bool) -> Control | None:
        """The control of an episode that broke, None where there is no sample; Stopped where the caller gave up.

        Args:
            same_task: True where an episode of another task says nothing: for `bad_task`.
        """

        def check() -> None:
            if is_stopped():
                raise Stopped

        with self._lock:
            has_earlier = bool(self._earlier.get(spec.name))  # that there is no sample holds until then
        key = (spec.name, hashlib.blake2b(pickle.dumps((task, seed))).digest(), same_task, has_earlier)
        return self._kept.get(key, lambda: self._run(spec, task, seed, is_stopped, same_task=same_task), check)

    def _run(self, spec: GymSpec, task: Task, seed: int, is_stopped: IsStopped, *, same_task: bool) -> Control | None:
        def gold(worker: WorkerProcess) -> Sequence[Score]:
            turns = episode_calls.gold_turns(worker, task, is_stopped)
            return () if turns is None else (episode_calls.play(worker, task, seed, turns, is_stopped),)

        def earlier(worker: WorkerProcess) -> Sequence[Score]:
            found = self._earlier_episode(spec.name, task, same_task=same_task)
            return () if found is None else (episode_calls.play(worker, *found, is_stopped),)

        trials = [Trial("the task's gold episode", gold, wanted=1.0), Trial("an earlier episode", earlier)]
        return control_of(self._pool, self._pool.take_fresh(spec), spec.name, trials)

    def _earlier_episode(self, gym: str, task: Task, *, same_task: bool) -> _Episode | None:
        """The latest earlier episode that may serve, or None where there is none."""
        with self._lock:
            earlier = list(self._earlier.get(gym, ()))[::-1]
        fitting = [episode for episode in earlier if episode[0] == task] or ([] if same_task else earlier)
        return fitting[0] if fitting else None
