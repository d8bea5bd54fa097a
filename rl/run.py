"""The parts of a step, of the warm-up and of an evaluation: what `rl/train.py` calls, line by line.

This is what keeps the loop down to the algorithm. It knows when things are due and where they are written, and computes
nothing. How a run is restored, and what becomes of a step that fails, is in `rl/recovery.py`.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Sequence
from statistics import fmean
from typing import Any

from gyms.mixture import Draw, heldout
from reward.rules import TruncationRule, check_masked_rate
from rl.accuracy import eval_metrics, evaluate
from rl.ahead import Drawn, Held
from rl.alarms import WATCHED
from rl.batch import Group, LearningBatch, learning_batch
from rl.checkpoint import PublishedWeights
from rl.metrics import fault_causes, step_metrics
from rl.own_advantage import advantage_of
from rl.page.stored import AVERAGED
from rl.partial import PartialGroup
from rl.policy import ServedPolicy
from rl.preflight import Checked
from rl.processes import StartsProcesses
from rl.ptx import WARMUP_STREAM
from rl.recovery import Recoverable
from rl.refill import Refill, collect_filled
from rl.remote_learner import RemoteLearner
from rl.report import Report
from rl.run_folder import write_atomically
from rl.sample_rows import sample_rows
from rl.sampling import with_groups
from rl.schedule import temperature_at, warmup_learning_rate_at
from rl.settings import learning_rate, ptx_batch
from rl.shaping import Shaping, repetition_rule, truncation_rules
from rl.update import UpdateMetrics

__all__ = ["Run"]

WARMUP_CHUNK = 10
"""Warm-up updates per remote call: few enough for live progress."""


class Run(Recoverable):
    """One run, from its folder's last checkpoint on; arguments as `Recoverable`."""

    def __init__(self, checked: Checked, report: Report, *, processes: StartsProcesses | None = None) -> None:
        super().__init__(checked, report, processes=processes)
        self.shaping = Shaping(self.config, judged=self.judging.judged, known=checked.token_budgets)
        self._grouped = frozenset(entry.name for entry in checked.gyms if entry.gym.scores_groups)
        self._minimum = {entry.name: entry.gym.minimum for entry in checked.gyms}
        wanted, fits = self.config.eval, checked.fits
        self._heldout: tuple[Draw, ...] = heldout(checked.gyms, wanted.num_tasks, self.config.seed, fits=fits)
        num_untrained = wanted.num_untrained_tasks or wanted.num_tasks
        self._heldout_untrained = heldout(checked.gyms, num_untrained, self.config.seed, fits=fits)
        self._carried: tuple[PartialGroup, ...] = ()
        self._last_eval: dict[str, Any] | None = None

    def forget_step(self) -> None:
        super().forget_step()
        self._last_eval = None

    # -- the parts of a step ------------------------------------------------------------------------------------------

    async def calibrate_if_due(self, policy: ServedPolicy) -> None:
        """Ask the judge about pairs with a known winner; below its threshold rubric rewards are masked."""
        if not self.judging.is_due(self.state.step):
            return
        with self.times.span("calibrate"):
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
        step = self.state.step
        self.judging.serve(policy)
        drawn = await self.cluster.ahead.take()
        assert drawn is None or drawn.step == step, f"step {drawn.step} was drawn, and step {step} is to be done"
        if drawn is None and self.state.ahead is not None:
            drawn = await self._draw(policy, step, temperature=temperature, held=self.state.ahead)
        if drawn is not None:
            self.times.add("ahead", drawn.seconds)
        else:
            what, num = f"step {step + 1}: rollout", self.config.rollout.prompts_per_step
            with self.times.span("rollout"), self.report.progress(what, num, "groups") as advance:
                drawn = await self._draw(policy, step, temperature=temperature, on_group=lambda group: advance(1))
        if self.config.rollout.steps_ahead and step + 1 < self.config.num_steps:
            after = temperature_at(step + 1, *self.config.temperature_schedule)
            self.cluster.draw_ahead(step + 1, lambda own: self._draw(own, step + 1, temperature=after))
        self._carried = drawn.collected.carried
        return list(drawn.collected.groups)

    async def _draw(
        self,
        policy: ServedPolicy,
        step: int,
        *,
        temperature: float,
        held: Held | None = None,
        on_group: Callable[[Group], None] = lambda group: None,
    ) -> Drawn:
        """The samples of a step; of those that a checkpoint held, none is drawn again."""
        wanted, sampler, started = self.config.rollout, self.checked.sampler, time.perf_counter()
        rates, budgets = self.state.rates, self.state.budgets
        refill = Refill(
            max_draws=0 if held else wanted.prompts.max_refills,
            draw=lambda asked, replaced: sampler.refill(step, rates, asked, replaced),
            finish=lambda group: self.shaping.apply(group, step, budgets),
        )
        collected = await collect_filled(
            refill,
            policy,
            self.scorer,
            () if held else sampler.draws(step, rates),
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
            on_group=on_group,
            carried=held.groups if held else self.state.carried,
            segment_tokens=wanted.segment_tokens,
            repetition=repetition_rule(self.config),
        )
        groups, seconds = collected.groups, held.seconds if held else time.perf_counter() - started
        self.folder.write_rollouts(step, sample_rows(step, groups))
        causes, num = fault_causes(groups), sum(len(group.samples) for group in groups)
        check_masked_rate(len(causes), num, self.config.reward.max_masked_frac, causes)
        return Drawn(step=step, collected=collected, seconds=seconds)

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

    async def add_old_logprobs(self, learner: RemoteLearner, batch: LearningBatch) -> LearningBatch:
        """log pi_old, recomputed by the learner before the first update.

        The first minibatch is left out: it is updated from theta_old itself, so that its update computes them anyway.
        """
        first, *later = batch.minibatches
        if not later:
            return batch
        with self.times.span("old_logprobs"):
            return batch.with_minibatches((first, *await learner.add_old_logprobs(later)))

    async def update(self, learner: RemoteLearner, batch: LearningBatch) -> list[UpdateMetrics]:
        """One optimiser update per minibatch: policy loss + ptx_coef * NLL, through the grid."""
        step, num = self.state.step, len(batch.minibatches)
        lr = learning_rate(self.config, step)
        what = f"step {step + 1}: update"
        with self.times.span("update"), self.report.progress(what, num, "minibatches") as advance:
            updates = []
            for minibatch in batch.minibatches:
                ptx = ptx_batch(self.config, self.checked.ptx, step=step, minibatch=minibatch.index)
                updates.append(await learner.update(minibatch, ptx, lr=lr))
                advance(1)
        return updates

    async def warm_up_updates(self, learner: RemoteLearner) -> None:
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

    async def publish(self, learner: RemoteLearner) -> PublishedWeights:
        """The next version of the weights."""
        with self.times.span("pack"):
            return await learner.publish(self.state.weights.version + 1)

    def step_done(
        self, batch: LearningBatch, updates: Sequence[UpdateMetrics], weights: PublishedWeights, *, temperature: float
    ) -> None:
        """Record the step, and make its weights the policy."""
        served = self.state.weights
        old_logprobs = {number: old for update in updates for number, old in update.old_logprobs.items()}
        sync = self.cluster.handover.take_times()
        row = step_metrics(
            step=self.state.step,
            temperature=temperature,
            weight_version=served.version,
            batch=batch,
            carried=self._carried,
            updates=updates,
            gap=batch.gap(old_logprobs),
            stale_gap=batch.gap(old_logprobs, of_stale=True),
            phases=self.times.take(),
            sync_seconds=None if sync is None else served.pack_seconds + sync.seconds,
            stall_seconds=None if sync is None else sync.stall_seconds,
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
        self.watched.append({key: row[key] for key in WATCHED})
        self.report.step(self.state.step, row, batch.groups)
        self.state.advance(weights, self._carried)
        self.cluster.place.step = self.state.step
        self.cluster.learner.has_moved = False

    # -- evaluation ---------------------------------------------------------------------------------------------------

    async def evaluate(self, policy: ServedPolicy, stage: str, *, weights: str = "INT4") -> None:
        """Greedy and sampled held-out accuracy of what `policy` serves, recorded under the name `stage`."""
        chosen = self._heldout if self.state.is_warm else self._heldout_untrained
        num = (1 + self.config.eval.samples_per_task + bool(self.config.eval.heavy)) * len(chosen)
        with self.times.span("eval"), self.report.progress(f"evaluate {stage}", num, "responses") as advance:
            results = await evaluate(
                policy,
                self.scorer,
                chosen,
                temperature=self.config.eval.temperature,
                seed=self.config.seed,
                samples_per_task=self.config.eval.samples_per_task,
                heavy=self.config.eval.heavy,
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

    def _take_eval_metrics(self) -> dict[str, float | None]:
        row, self._last_eval = self._last_eval, None
        return {} if row is None else eval_metrics(row)

    async def export(self) -> None:
        """Write the final INT4 model, and the average of the weights where there is one, which is evaluated too."""
        await self.cluster.export(self.folder.export)
        if self.config.learner.ema_decay is not None and self.folder.export_ema.is_dir():  # none without an update
            async with self.cluster.serving(self.folder.export_ema, quantised=True) as policy:
                await self.evaluate(policy, AVERAGED)

    def final_table(self) -> None:
        """Show the table and write final.json, which says that the run is done."""
        evals, metrics = self.folder.rows(self.folder.evals), self.folder.rows(self.folder.metrics)
        text = json.dumps({"num_steps": self.config.num_steps, "evals": evals}, indent=2) + "\n"
        write_atomically(self.folder.final, text)
        self.report.final(evals, metrics)
