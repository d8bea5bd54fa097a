"""What keeps a run alive: checkpoints, and what becomes of a step whose actor was lost or whose user pressed Ctrl-C.

A step is a function of (config, step), so an abandoned one is forgotten and done again. Where the learner still holds
the state of its start that is all; else the newest checkpoint is loaded, and the run rewound to it.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import shutil
import signal
from collections.abc import AsyncIterator
from functools import partial
from pathlib import Path
from typing import Any, Self

from configs.load import to_json
from reward.scorer import Scorer
from rl.ahead import Held
from rl.alarms import WATCHED, alarm_of
from rl.checkpoint import Checkpoint, RunState, latest_checkpoint, prune, staging_folder, write_manifest
from rl.cluster import Cluster
from rl.faults import ActorLost, DeadlineExceeded, RunStopped
from rl.judging import Judging
from rl.preflight import Checked
from rl.processes import StartsProcesses
from rl.report import Report
from rl.restarts import Restarts
from rl.run_folder import write_atomically
from rl.times import Times
from rollout.engine.engine import EngineBroken

__all__ = ["Recoverable"]

_LOSSES = (ActorLost, DeadlineExceeded, EngineBroken)
"""Faults of processes, which are started anew; any other ends the run."""


class Recoverable:
    """A run that may be stopped, killed and brought back: cluster, scorer and folder, tied to one `RunState`.

    Args:
        checked: what `rl.preflight.check` returned.
        report: what people see.
        processes: where learner and engines are started; None: on Ray.
    """

    state: RunState

    def __init__(self, checked: Checked, report: Report, *, processes: StartsProcesses | None = None) -> None:
        self.config = checked.config
        self.checked = checked
        self.folder = checked.folder
        self.report = report
        self.times = Times()
        self.cluster = Cluster(
            self.config,
            model_folder=checked.model_folder,
            initial_int4=self.folder.initial_int4,
            chat=checked.chat,
            on_phase=self.times.add,
            processes=processes,
        )
        self.scorer = Scorer(checked.specs, num_workers=self.config.reward.num_workers)
        self.judging = Judging(self.config, checked.gyms, checked.chat)
        self.watched: list[dict[str, Any]] = []
        """What alarms look at, a row a step."""
        cluster = self.config.cluster
        self._restarts = Restarts(max_restarts=cluster.max_restarts, window_steps=cluster.restart_window_steps)
        self._is_stopping = False
        self._is_abandoning = False
        self._is_stepping = False
        self._task: asyncio.Task[Any] | None = None

    # -- start, restore, stop -----------------------------------------------------------------------------------------

    async def __aenter__(self) -> Self:
        self._task = asyncio.current_task()
        self.folder.create()
        if self.checked.checkpoint is None:  # what is there may be of another config, or half written
            shutil.rmtree(self.folder.initial_int4, ignore_errors=True)
        write_atomically(self.folder.config, to_json(self.config))
        asyncio.get_running_loop().add_signal_handler(signal.SIGINT, self.request_stop)
        with self.report.progress("start Ray and the learner", 1, "cluster") as advance:
            await self.cluster.__aenter__()
            advance(1)
        try:
            await self._restore(self.checked.checkpoint)
        except BaseException:
            await self.__aexit__(None, None, None)
            raise
        return self

    async def __aexit__(self, *error: object) -> None:
        asyncio.get_running_loop().remove_signal_handler(signal.SIGINT)
        self.cluster.ahead.cancel()  # its engines are about to end
        self.scorer.close()
        try:
            if not any(error):
                await self.cluster.learner.saved()
        finally:
            await self.cluster.__aexit__(*error)

    async def _restore(self, checkpoint: Checkpoint | None) -> None:
        async with self.cluster.keeping() as learner:
            if checkpoint is not None:
                await learner.load(checkpoint.folder)
            weights = await learner.publish(checkpoint.run["weight_version"] if checkpoint else 0)
        self.state = RunState(num_steps=self.config.num_steps, weights=weights)
        if checkpoint is None:
            self.folder.drop_from(0, num_evals=0)
            return
        self.judging.load_state_dict(checkpoint.run["judging"])  # the critic's tasks: groups may go on with them
        self.state.load_state_dict(checkpoint.run, weights, self.checked.gyms)
        if facts := checkpoint.run.get("ahead"):
            self.state.ahead = Held.read(checkpoint.folder, facts, self.checked.gyms)
        self.state.is_stopping = self._is_stopping
        self.cluster.place.step = self.state.step
        self.folder.drop_from(self.state.step, num_evals=self.state.num_evals)
        self.watched = [{key: row.get(key) for key in WATCHED} for row in self.folder.rows(self.folder.metrics)]
        self.report.say(f"going on from {checkpoint.folder} at step {self.state.step}")

    def request_stop(self) -> None:
        """Ctrl-C: stop at the next boundary; at once while sampling, whose step is simply done again. Twice: now.

        What is drawn ahead could not be drawn again: a step for which it was taken ends first.
        """
        assert self._task is not None
        if self._is_stopping or not self._is_stepping:
            self.report.say("stopping; the last checkpoint stays")
            self._task.cancel()
            return
        self._is_stopping = self.state.is_stopping = True
        self.report.say("stopping with a checkpoint (Ctrl-C again: stop without)")
        ahead, step = self.cluster.ahead, self.state.step
        if self.cluster.is_generating and ahead.step in (None, step) and ahead.taken != step:
            self._is_abandoning = True
            self._task.cancel()

    @contextlib.asynccontextmanager
    async def recovering(self) -> AsyncIterator[None]:
        """Own the faults of actors during a step: rebuild what was lost, rewind, and let the loop do the step again."""
        self._is_stepping, num_evals = True, self.state.num_evals
        try:
            yield
        except _LOSSES as error:
            await self._rebuild(error, num_evals)
        except asyncio.CancelledError:
            if not self._is_abandoning or self._task is None or self._task.uncancel() != 0:
                raise  # a learner that was in the middle of an update is in no state to be saved
            self._abandon_step(num_evals)
        finally:
            self._is_stepping = False

    async def _rebuild(self, error: Exception, num_evals: int) -> None:
        """Start anew who was lost, and rewind where that must be.

        What is started may be lost as well, as where Ray has yet to find out that a node died and puts it there: that
        counts as one more loss.

        Raises:
            Exception: the last loss, when there were more than may be.
        """
        is_rewound = False
        while True:
            if (number := self._restarts.add(self.state.step)) is None:
                raise error
            self.report.say(f"{error}; rebuilding (restart {number} of {self.config.cluster.max_restarts})")
            self._abandon_step(num_evals)
            try:
                is_rewound = await self.cluster.start_anew() or is_rewound
                if is_rewound:
                    checkpoint = latest_checkpoint(self.folder.checkpoints)
                    assert checkpoint is not None, "there is one since the warm-up"
                    await self._restore(checkpoint)
                    self.cluster.learner.has_moved = False
                return
            except _LOSSES as another:
                error = another

    def _abandon_step(self, num_evals: int) -> None:
        """As if it had not begun: it will be done again from its start."""
        self.state.num_evals = num_evals
        self.forget_step()
        self.folder.drop_from(self.state.step, num_evals=num_evals)

    def forget_step(self) -> None:
        """Drop what an abandoned step has left in memory."""
        self.times.take()
        self.judging.forget_counts()

    # -- checkpoints --------------------------------------------------------------------------------------------------

    async def save_if_due(self) -> None:
        """A checkpoint every `checkpoint.every` steps, and before an alarm ends the run.

        Raises:
            RunStopped: the step that was done rang an alarm.
        """
        every, alarm = self.config.checkpoint.every, alarm_of(self.watched, self.config.alarm)
        if alarm or (every and self.state.step % every == 0):
            await self.save(is_leaving=alarm is not None)
        if alarm:
            await self.cluster.learner.saved()
            saved = self.folder.checkpoints / f"step_{self.state.step:06d}"
            raise RunStopped(f"{alarm}. Saved {saved}; to go on all the same, change or unset (=none) that setting")

    async def save(self, *, is_leaving: bool = False) -> None:
        """Write a checkpoint, unless it is there: learner first, manifest last, one rename.

        Where there is memory for it, the learner writes while engines sample; what it would be asked next waits. A kill
        before its end leaves the checkpoint before. The first one is waited for: there is none to rewind to yet.

        Args:
            is_leaving: the run ends, as it does after Ctrl-C.

        Raises:
            Exception: what the drawing of the next step came to, of a run that goes on.
        """
        await self.cluster.learner.saved()
        await self._hold_what_is_drawn_ahead(is_leaving=is_leaving or self._is_stopping)
        facts = {**self.state.state_dict(self.checked.gyms), "judging": self.judging.state_dict()}
        latest = latest_checkpoint(self.folder.checkpoints)
        if latest is not None and latest.holds(facts, self.checked.fingerprint):
            return
        facts = json.loads(json.dumps(facts))  # of now, whatever the run does until they are written
        staging = staging_folder(self.folder.checkpoints, self.state.step)
        if self.config.checkpoint.meanwhile and not self.cluster.is_tight and latest is not None:
            then = partial(self._complete, staging, facts, self.state.ahead)
            self.cluster.learner.save_meanwhile(staging, then=then)
            return
        with self.times.span("save"):
            async with self.cluster.keeping() as learner:
                await learner.save(staging)
            self._complete(staging, facts, self.state.ahead)

    async def _hold_what_is_drawn_ahead(self, *, is_leaving: bool) -> None:
        """A checkpoint has it. For a run that ends, one without it is better than none."""
        if self.cluster.ahead.step is None or self.state.ahead is not None:
            return
        try:
            with self.times.span("save"):
                drawn = await self.cluster.ahead.settled()
        except Exception as error:  # whatever ended it: the step that was learned is well
            if not is_leaving:
                raise
            self.cluster.ahead.cancel()
            self.report.say(f"{error}; the next step will be drawn anew, by the weights of this one")
            return
        assert drawn is not None
        self.state.ahead = Held.of(drawn)

    def _complete(self, staging: Path, facts: dict[str, Any], ahead: Held | None) -> None:
        """The learner's part of a checkpoint is written; now it exists."""
        if ahead is not None:
            ahead.write(staging)
        write_manifest(staging, self.folder.checkpoints, run=facts, fingerprint=self.checked.fingerprint)
        prune(self.folder.checkpoints, self.config.checkpoint.keep)
