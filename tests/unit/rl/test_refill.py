"""Refills: groups that teach nothing are replaced, up to a bound, alike in every repetition."""

from __future__ import annotations

import asyncio
from dataclasses import replace

import pytest

from configs.load import ConfigError, load_config
from configs.prompts import PromptsConfig
from gyms.api import Score, Status
from gyms.response import Response
from reward.rules import TruncationRule
from rl.batch import learning_batch
from rl.length_reward import with_length_reward
from rl.metrics import step_metrics
from rl.refill import Refill, collect_filled, has_spread
from rl.sampling import PromptSampler
from rollout.types import FinishReason, Sample, Segment
from tests.unit.rl.listed import entry, task

TASKS = [task(f"t{i}") for i in range(20)]
MIXED = {"t1", "t4", "t7", "t8", "t12", "t15"}
"""Tasks whose siblings differ; the others are all wrong."""


class Policy:
    """A response of k + 1 tokens says which sibling it is."""

    def prompt_ids(self, task, tools=()):
        return (1,)

    def text(self, token_ids):
        return str(len(token_ids))

    def read_response(self, sample):
        return Response(sample.text, sample.text)

    async def sample(self, request, *, group):
        k = int(request.id.split("/")[2])
        part = Segment(token_ids=(5,) * (k + 1), logprobs=(-0.1,) * (k + 1), weight_version=0, temperature=1.0)
        return Sample(
            id=request.id, prompt_ids=(1,), segments=(part,), finish_reason=FinishReason.STOP, text=self.text((5,) * k)
        )


class Scorer:
    """The second sibling of a mixed task is right."""

    async def score(self, request_id, gym_name, task, response):
        return Score(status=Status.OK, value=float(task.id in MIXED and response == "1"))


def run(max_draws: int, *, num: int = 4, finish=lambda group: group, step: int = 0):
    settings = PromptsConfig(max_refills=max_draws)
    sampler = PromptSampler(settings, [entry("a", TASKS)], seed=1, num=num, fits=lambda gym, task: True, known={})
    refill = Refill(
        max_draws=max_draws, draw=lambda asked, old: sampler.refill(step, {}, asked, old), finish=finish
    )  # fmt: skip
    filled = collect_filled(
        refill, Policy(), Scorer(), sampler.draws(step, {}), samples_per_prompt=2, temperature=1.0, seed=1, key=step,
        truncation=TruncationRule(), minimum=lambda gym: 0.0,
    )  # fmt: skip
    return asyncio.run(filled)


def test_a_step_draws_until_every_place_has_spread():
    groups = run(16).groups
    with_spread = [group for group in groups if has_spread(group)]
    assert len(with_spread) == 4 and {g.draw.task.id for g in with_spread} <= MIXED
    assert len(groups) - 4 == len(groups) - len(with_spread) == sum(g.draw.index < 0 for g in groups)
    assert len({g.draw.task.id for g in groups}) == len(groups)
    assert run(16).groups == groups


def test_the_bound_holds_and_nothing_is_drawn_without_need():
    assert len(run(0).groups) == 4
    assert len(run(3).groups) == 7
    flat = run(0).groups
    assert run(3).groups[:4] == flat  # a refill changes nothing of what was drawn before
    assert len(run(16, finish=lambda group: with_length_reward(all_right(group), 0.5)).groups) == 4  # length: spread


def all_right(group):
    return replace(
        group, samples=tuple(replace(s, score=Score(status=Status.OK, value=1.0)) for s in group.samples)
    )  # fmt: skip


def test_replaced_groups_leave_the_loss_and_its_denominators_but_no_mean_of_rewards():
    groups = run(16).groups
    batch = learning_batch(
        groups, step=0, seed=0, num_minibatches=2, drop_zero_spread=True, count_zero_spread=False
    )  # fmt: skip
    assert [(m.num_samples, m.num_tokens, len(m.samples)) for m in batch.minibatches] == [(4, 6, 4)] * 2
    learned = {p for p, group in enumerate(groups) if has_spread(group)}
    assert {s.group for m in batch.minibatches for s in m.samples} == learned
    assert {number // 2 for number in batch.advantages} == learned
    row = step_metrics(
        step=0, temperature=1.0, weight_version=0, batch=batch, updates=[], gap=None, phases={}, sync_seconds=None,
        stall_seconds=None, num_weight_bytes=0, code_flip_frac=None,
    )  # fmt: skip
    num = len(groups)
    assert row["reward/mean"] == pytest.approx(4 / (2 * num)) and row["reward/spread_frac"] == pytest.approx(4 / num)
    assert row["rollout/num_refills"] == num - 4
    assert row["rollout/refill_tokens_frac"] == pytest.approx((num - 4) / num)


def test_a_step_of_which_nothing_has_spread_has_empty_minibatches(group):
    batch = learning_batch(
        [group(0, 1.0, 1.0), group(-1, 0.0, 0.0)], step=0, seed=0, num_minibatches=1, drop_zero_spread=True,
        count_zero_spread=False,
    )  # fmt: skip
    assert [(m.samples, m.num_samples, m.num_tokens) for m in batch.minibatches] == [((), 0, 0)]


def test_refills_and_learning_from_groups_without_spread_exclude_each_other():
    given = ('model={source="tiny"}', 'gyms=[{name="arithmetic"}]', "learner.max_microbatch_tokens=4096")
    with pytest.raises(ConfigError, match=r"rollout.prompts.max_refills = 4 .* learner.drop_zero_spread"):
        load_config([], (*given, "rollout.prompts.max_refills=4", "learner.drop_zero_spread=false"))


def test_rewards_that_differ_by_the_rounding_of_a_sum_have_no_spread(group):
    equal, other = group(0, 0.1 + 0.2, 0.3), group(1, 0.3, 0.3 + 1e-6)
    assert 0.1 + 0.2 != 0.3 and not has_spread(equal) and has_spread(other)
    batch = learning_batch([equal, other], step=0, seed=0, num_minibatches=1, drop_zero_spread=True, scale_by_std=True)
    assert {sample.group for minibatch in batch.minibatches for sample in minibatch.samples} == {1}
