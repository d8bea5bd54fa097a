"""A run in progress: the cluster, the gyms, the scorer and the report, tied to one run folder and one `RunState`.

This is what keeps `rl/train.py` down to the algorithm. It knows when things are due, where they are written, how a run
is restored, and what becomes of a step whose actor was lost or whose user pressed Ctrl-C. It computes nothing.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import shutil
import signal
import time
from collections.abc import AsyncIterator, Sequence
from statistics import fmean
from typing import Any

from configs.load import to_json
from gyms.mixture import Draw, heldout
from reward.rules import TruncationRule, check_masked_rate
from reward.scorer import Scorer
from rl.accuracy import evaluate
from rl.alarms import WATCHED, alarm_of
from rl.batch import Group, LearningBatch, learning_batch
from rl.checkpoint import (
    Checkpoint,
    PublishedWeights,
    RunState,
    latest_checkpoint,
    prune,
    staging_folder,
    write_manifest,
)
from rl.cluster import Cluster
from rl.faults import ActorLost, DeadlineExceeded, RunStopped
from rl.judging import Judging
from rl.metrics import fault_causes, step_metrics
from rl.own_advantage import advantage_of
from rl.partial import PartialGroup
from rl.preflight import Checked
from rl.ptx import WARMUP_STREAM
from rl.refill import Refill, collect_filled
from rl.report import Report
from rl.run_folder import write_atomically
from rl.sample_rows import sample_rows
from rl.sampling import with_groups
from rl.schedule import temperature_at, warmup_learning_rate_at
from rl.settings import learning_rate, ptx_batch
from rl.shaping import Shaping, truncation_rules
from rl.turns import LearnerHandle, ServedPolicy
from rl.update import UpdateMetrics
from rollout.engine.engine import EngineBroken

__all__ = ["Run"]

WARMUP_CHUNK = 10
"""Warm-up updates per remote call: few enough for live progress."""


class Run:
    """One run, from its folder's last checkpoint on.

    Args:
        checked: what `rl.preflight.check` returned.
        report: what people see.
    """

    def __init__(self, checked: Checked, report: Report) -> None:
        self.config = checked.config
        self.checked = checked
        self.folder = checked.folder
        self.report = report
        self.state: RunState
        self._is_stopping = False
        self._is_stepping = False
        self.cluster = Cluster(
            self.config,
            model_folder=checked.model_folder,
            initial_int4=self.folder.initial_int4,
            chat=checked.chat,
            on_phase=self._on_phase,
        )
        self.scorer = Scorer(checked.specs, num_workers=self.config.reward.num_workers)
        self.judging = Judging(self.config, checked.gyms, checked.chat)
        self.shaping = Shaping(self.config, judged=self.judging.judged, known=checked.token_budgets)
        self._grouped = frozenset(entry.name for entry in checked.gyms if entry.gym.scores_groups)
        self._minimum = {entry.name: entry.gym.minimum for entry in checked.gyms}
        wanted, fits = self.config.eval, checked.askable.fits
        self._heldout: tuple[Draw, ...] = heldout(checked.gyms, wanted.num_tasks, self.config.seed, fits=fits)
        num_untrained = wanted.num_untrained_tasks or wanted.num_tasks
        self._heldout_untrained = heldout(checked.gyms, num_untrained, self.config.seed, fits=fits)
        self._carried: tuple[PartialGroup, ...] = ()
        self._phases: dict[str, float] = {}
        self._num_restarts = 0
        self._task: asyncio.Task[Any] | None = None
        self._last_eval: dict[str, Any] | None = None
        self._watched: list[dict[str, Any]] = []

    # -- start, restore, stop -----------------------------------------------------------------------------------------

    async def __aenter__(self) -> Run:
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
        self.scorer.close()
        await self.cluster.__aexit__(*error)

    async def _restore(self, checkpoint: Checkpoint | None) -> None:
        if checkpoint is None:
            self.folder.drop_from(0, num_evals=0)
            self.state = RunState(num_steps=self.config.num_steps, weights=await self.cluster.publish(0))
            return
        await self.cluster.load_learner(checkpoint.learner_file)
        weights = await self.cluster.publish(checkpoint.run["weight_version"])
        self.state = RunState(num_steps=self.config.num_steps, weights=weights)
        self.judging.load_state_dict(
            checkpoint.run["judging"]
        )  # the critic's tasks, before groups that go on with them
        self.state.load_state_dict(checkpoint.run, weights, self.checked.gyms)
        self.state.is_stopping = self._is_stopping
        self.cluster.step = self.state.step
        self.folder.drop_from(self.state.step, num_evals=self.state.num_evals)
        self._watched = [{key: row.get(key) for key in WATCHED} for row in self.folder.rows(self.folder.metrics)]
        self.report.say(f"going on from {checkpoint.folder} at step {self.state.step}")

    def request_stop(self) -> None:
        """Ctrl-C: stop at the next boundary; at once while sampling, whose step is simply done again. Twice: now."""
        assert self._task is not None
        if self._is_stopping or not self._is_stepping:
            self.report.say("stopping; the last checkpoint stays")
            self._task.cancel()
            return
        self._is_stopping = self.state.is_stopping = True
        self.report.say("stopping with a checkpoint (Ctrl-C again: stop without)")
        if self.cluster.is_generating:
            self._task.cancel()

    @contextlib.asynccontextmanager
    async def recovering(self) -> AsyncIterator[None]:
        """Own the faults of actors during a step: rebuild what was lost, rewind, and let the loop do the step again."""
        self._is_stepping, num_evals = True, self.state.num_evals
        try:
            yield
        except (ActorLost, DeadlineExceeded, EngineBroken) as error:
            self._num_restarts += 1
            if self._num_restarts > self.config.cluster.max_restarts:
                raise
            self.report.say(f"{error}; rebuilding (restart {self._num_restarts})")
            self._forget_step(num_evals)
            await self._rebuild(learner=getattr(error, "actor", "engine") == "learner")
        except asyncio.CancelledError:
            if not self._is_stopping or self._task is None or self._task.uncancel() != 0:
                raise
            self._forget_step(num_evals)
        finally:
            self._is_stepping = False

    def _forget_step(self, num_evals: int) -> None:
        """Drop what an abandoned step has written: it will be done again from its start."""
        self.state.num_evals, self._last_eval, self._phases = num_evals, None, {}
        self.judging.forget_counts()
        self.folder.drop_from(self.state.step, num_evals=num_evals)

    async def _rebuild(self, *, learner: bool) -> None:
        """Engines only while the learner still holds the step's start; all, from the checkpoint, if it was lost."""
        await self.cluster.rebuild_engines()
        if learner or self.cluster.learner_has_moved:
            await self.cluster.rebuild_learner()
            await self._restore(latest_checkpoint(self.folder.checkpoints))  # there is one since the warm-up
            self.cluster.learner_has_moved = False

    async def save_if_due(self) -> None:
        """A checkpoint every `checkpoint.every` steps, and before an alarm ends the run.

        Raises:
            RunStopped: the step that was done rang an alarm.
        """
        every, alarm = self.config.checkpoint.every, alarm_of(self._watched, self.config.alarm)
        if alarm or (every and self.state.step % every == 0):
            await self.save()
        if alarm:
            saved = self.folder.checkpoints / f"step_{self.state.step:06d}"
            raise RunStopped(f"{alarm}. Saved {saved}; to go on all the same, change or unset (=none) that setting")

    async def save(self) -> None:
        """Write a checkpoint, unless it is there: learner first, manifest last, one rename."""
        facts = {**self.state.state_dict(), "judging": self.judging.state_dict()}
        latest = latest_checkpoint(self.folder.checkpoints)
        if latest is not None and latest.holds(facts, self.checked.fingerprint):
            return
        with self._span("save"):
            staging = staging_folder(self.folder.checkpoints, self.state.step)
            await self.cluster.save_learner(staging / "learner.pt")
            write_manifest(staging, self.folder.checkpoints, run=facts, fingerprint=self.checked.fingerprint)
            prune(self.folder.checkpoints, self.config.checkpoint.keep)

    # -- the parts of a step ------------------------------------------------------------------------------------------

    async def calibrate_if_due(self, policy: ServedPolicy) -> None:
        """Ask the judge about pairs with a known winner; below its threshold rubric rewards are masked."""
        if not self.judging.is_due(self.state.step):
            return
        with self._span("calibrate"):
            found = await self.judging.calibrate(policy, self.state.step)
        told = (
            "none decided" if found.accuracy is None else f"accuracy {found.accuracy:.3f}, flips {found.flip_rate:.2f}"
        )
        self.report.say(
            f"judge on {found.num_pairs} held-out pairs: {told}; {self.judging.gate.reason or 'its verdicts count'}"
        )

    async def rollout(self, policy: ServedPolicy, *, temperature: float) -> list[Group]:
        """K scored samples for every draw of this step, or of earlier ones, that is complete.

        Raises:
            TooManyFaults: more samples were masked for faults of ours than reward.max_masked_frac.
        """
        step, wanted = self.state.step, self.config.rollout
        self.judging.serve(policy)
        sampler, rates = self.checked.sampler, self.state.rates
        chosen = sampler.draws(step, rates)
        refill = Refill(
            max_draws=wanted.prompts.max_refills,
            draw=lambda asked, replaced: sampler.refill(step, rates, asked, replaced),
            finish=lambda group: self.shaping.apply(group, step, self.state.budgets),
        )
        with self._span("rollout"), self.report.progress(f"step {step + 1}: rollout", len(chosen), "groups") as advance:
            collected = await collect_filled(
                refill,
                policy,
                self.scorer,
                chosen,
                samples_per_prompt=wanted.samples_per_prompt,
                temperature=temperature,
                temperatures={
                    name: temperature_at(step, *of) for name, of in self.config.gym_temperature_schedules.items()
                },
                seed=self.config.seed,
                key=step,
                truncation=TruncationRule(),
                truncations=truncation_rules(self.config),
                minimum=self._minimum.__getitem__,
                judge=self.judging,
                grouped=self._grouped,
                on_group=lambda group: advance(1),
                carried=self.state.carried,
                segment_tokens=wanted.segment_tokens,
            )
        groups, self._carried = list(collected.groups), collected.carried
        self.folder.write_rollouts(step, sample_rows(step, groups))
        causes, num = fault_causes(groups), sum(len(group.samples) for group in groups)
        check_masked_rate(len(causes), num, self.config.reward.max_masked_frac, causes)
        return groups

    def learning_batch(self, groups: Sequence[Group]) -> LearningBatch:
        """Rewards become advantages, draws become minibatches."""
        return learning_batch(
            groups,
            step=self.state.step,
            seed=self.config.seed,
            weight_version=self.state.weights.version,
            stale_tokens=self.config.rollout.stale_tokens,
            num_minibatches=self.config.learner.num_minibatches,
            drop_zero_spread=self.config.learner.drop_zero_spread,
            count_zero_spread=not self.config.rollout.prompts.max_refills,
            baseline=self.config.learner.baseline,
            tau=self.config.learner.tau,
            scale_by_std=self.config.learner.scale_by_std,
            own=None if (own := self.config.learner.advantage) is None else advantage_of(own),
        )

    async def add_old_logprobs(self, learner: LearnerHandle, batch: LearningBatch) -> LearningBatch:
        """log pi_old, recomputed by the learner before the first update.

        The first minibatch is left out: it is updated from theta_old itself, so that its update computes them anyway.
        """
        first, *later = batch.minibatches
        if not later:
            return batch
        with self._span("old_logprobs"):
            return batch.with_minibatches((first, *await learner.add_old_logprobs(later)))

    async def update(self, learner: LearnerHandle, batch: LearningBatch) -> list[UpdateMetrics]:
        """One optimiser update per minibatch: policy loss + ptx_coef * NLL, through the grid."""
        step, num = self.state.step, len(batch.minibatches)
        lr = learning_rate(self.config, step)
        what = f"step {step + 1}: update"
        with self._span("update"), self.report.progress(what, num, "minibatches") as advance:
            updates = []
            for minibatch in batch.minibatches:
                ptx = ptx_batch(self.config, self.checked.ptx, step=step, minibatch=minibatch.index)
                updates.append(await learner.update(minibatch, ptx, lr=lr))
                advance(1)
        return updates

    async def warm_up_updates(self, learner: LearnerHandle) -> None:
        """The supervised phase: PTX loss alone, through the grid; then the optimiser starts anew."""
        warmup, data = self.config.warmup, self.checked.ptx
        assert data is not None
        numbers = range(warmup.num_steps)
        with self.report.progress("warm-up", warmup.num_steps, "updates") as advance:
            for first in range(0, warmup.num_steps, WARMUP_CHUNK):
                chunk = numbers[first : first + WARMUP_CHUNK]
                metrics = await learner.warm_up(
                    [
                        data.batch(n, seed=self.config.seed, stream=WARMUP_STREAM, batch_size=warmup.batch_size)
                        for n in chunk
                    ],
                    lrs=[warmup_learning_rate_at(n, lr=warmup.lr, num_updates=warmup.num_steps) for n in chunk],
                )
                advance(len(chunk))
                loss = fmean(update.ptx_loss for update in metrics)
                if loss < warmup.until_loss:
                    break
        self.report.say(f"warm-up: {chunk[-1] + 1} updates, loss {loss:.3f} nats per token")
        await learner.forget_optimizer()

    async def publish(self, learner: LearnerHandle) -> PublishedWeights:
        """The next version of the weights."""
        with self._span("pack"):
            return await learner.publish(self.state.weights.version + 1)

    def step_done(
        self, batch: LearningBatch, updates: Sequence[UpdateMetrics], weights: PublishedWeights, *, temperature: float
    ) -> None:
        """Record the step, and make its weights the policy."""
        served = self.state.weights
        old_logprobs = {number: old for update in updates for number, old in update.old_logprobs.items()}
        swap, stall = self.cluster.take_swap_times()
        row = step_metrics(
            step=self.state.step,
            temperature=temperature,
            weight_version=served.version,
            batch=batch,
            carried=self._carried,
            updates=updates,
            gap=batch.gap(old_logprobs),
            phases=self._take_phases(),
            sync_seconds=None if swap is None else served.pack_seconds + swap,
            stall_seconds=stall,
            num_weight_bytes=served.num_bytes,
            code_flip_frac=weights.code_flip_frac,
        )
        row |= self._take_eval_metrics() | self.judging.take_metrics()
        row |= self.shaping.metrics(self.state.step, batch.groups) | self.checked.thinking.metrics(batch.groups)
        self.judging.learn_from(batch.groups)
        if (prompts := self.config.rollout.prompts).uses_rates:
            self.state.rates = with_groups(self.state.rates, batch.groups, memory=prompts.memory)
        self.state.budgets = self.shaping.budgets_after(self.state.budgets, batch.groups)
        rows = sample_rows(self.state.step, batch.groups, batch=batch, old_logprobs=old_logprobs)
        self.folder.write_rollouts(self.state.step, rows)
        self.folder.append(self.folder.metrics, row)
        self._watched.append({key: row[key] for key in WATCHED})
        self.report.step(self.state.step, row, batch.groups)
        self.state.advance(weights, self._carried)
        self.cluster.step = self.state.step
        self.cluster.learner_has_moved = False

    # -- evaluation ---------------------------------------------------------------------------------------------------

    async def evaluate(self, policy: ServedPolicy, stage: str, *, weights: str = "INT4") -> None:
        """Greedy and sampled held-out accuracy of what `policy` serves, recorded under the name `stage`."""
        chosen = self._heldout if self.state.is_warm else self._heldout_untrained
        num = (1 + self.config.eval.samples_per_task) * len(chosen)
        with self._span("eval"), self.report.progress(f"evaluate {stage}", num, "responses") as advance:
            results = await evaluate(
                policy,
                self.scorer,
                chosen,
                temperature=self.config.eval.temperature,
                seed=self.config.seed,
                samples_per_task=self.config.eval.samples_per_task,
                on_group=lambda group: advance(len(group.samples)),
            )
        row = {
            "stage": stage,
            "step": self.state.step,
            "weights": weights,
            "weight_version": self.state.weights.version,
            "gyms": {name: result.row() for name, result in results.items()},
        }
        self.folder.append(self.folder.evals, row)
        self.state.num_evals += 1
        self._last_eval = row
        self.report.evaluation(row)

    async def evaluate_if_due(self, policy: ServedPolicy) -> None:
        """Before step 0 what the warm-up made of the model, then every `eval.every` steps."""
        step, every = self.state.step, self.config.eval.every
        if step == 0 and self.config.warmup.num_steps:
            await self.evaluate(policy, "after the warm-up")
        elif step and every and step % every == 0:
            await self.evaluate(policy, f"step {step}")

    def _take_eval_metrics(self) -> dict[str, float]:
        row, self._last_eval = self._last_eval, None
        if row is None:
            return {}
        return {
            f"eval/{name}/{key}_accuracy": result[key]["mean"]
            for name, result in row["gyms"].items()
            for key in ("greedy", "sampled")
        }

    async def export(self) -> None:
        """Write the final INT4 model, and the average of the weights where there is one, which is evaluated too."""
        await self.cluster.export(self.folder.export)
        if self.config.learner.ema_decay is not None:
            async with self.cluster.serving(self.folder.export_ema, quantised=True) as policy:
                await self.evaluate(policy, "after RL, averaged")

    def final_table(self) -> None:
        """Show the table and write final.json, which says that the run is done."""
        evals, metrics = self.folder.rows(self.folder.evals), self.folder.rows(self.folder.metrics)
        text = json.dumps({"num_steps": self.config.num_steps, "evals": evals}, indent=2) + "\n"
        write_atomically(self.folder.final, text)
        self.report.final(evals, metrics)

    # -- times --------------------------------------------------------------------------------------------------------

    @contextlib.contextmanager
    def _span(self, name: str):
        started = time.perf_counter()
        yield
        self._on_phase(name, time.perf_counter() - started)

    def _on_phase(self, name: str, seconds: float) -> None:
        self._phases[name] = self._phases.get(name, 0.0) + seconds

    def _take_phases(self) -> dict[str, float]:
        taken, self._phases = self._phases, {}
        return taken
