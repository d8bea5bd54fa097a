"""From scored groups to minibatches: who learns, with which advantage, under which denominator, in which shuffle."""

from __future__ import annotations

from fractions import Fraction

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gyms.api import Status
from reward.rules import TruncationRule
from rl.batch import learning_batch
from rl.length_reward import with_length_reward
from rollout.types import Segment
from tests.rounding import rounding

PENALTY, MASK = TruncationRule(rule="penalty", reward=-0.5), TruncationRule(rule="mask")


def deal(groups, *, step=0, seed=0, num_minibatches=1, drop_zero_spread=True):
    return learning_batch(
        groups, step=step, seed=seed, num_minibatches=num_minibatches, drop_zero_spread=drop_zero_spread
    )


def advantages(batch) -> dict[int, float]:
    return {s.number: s.advantage for m in batch.minibatches for s in m.samples}


def test_a_sample_becomes_what_the_learner_needs_and_nothing_else(group, scored):
    (minibatch,) = deal([group(9, scored(1.0, token_ids=(7, 0), logprobs=(-0.1, -0.2)), 0.0)]).minibatches
    first = minibatch.samples[0]
    assert (first.number, first.group, first.prompt_ids, first.token_ids) == (0, 0, (1, 2), (7, 0))
    assert (first.loss_mask, first.engine_logprobs) == ((True, True), (-0.1, -0.2))
    assert (first.temperatures, first.advantage, first.old_logprobs) == ((0.9, 0.9), 0.5, None)
    assert (minibatch.num_samples, minibatch.num_tokens) == (2, 2 + 3)


def test_denominators_count_dropped_groups_but_not_masked_samples(group, scored):
    groups = [
        group(0, 1.0, 0.0, scored(status=Status.VERIFIER_ERROR, token_ids=(1,) * 50)),  # 2 counted
        group(1, 1.0, 1.0, 1.0),  # 3 counted, dropped
        group(2, 1.0, *[scored(status=Status.JUDGE_FAILED)] * 2),  # alone: not counted
    ]
    (minibatch,) = deal(groups).minibatches
    assert (minibatch.num_samples, minibatch.num_tokens) == (5, 5 * 3)
    assert advantages(deal(groups)) == {0: 0.5, 1: -0.5}
    (kept,) = deal(groups, drop_zero_spread=False).minibatches
    assert (kept.num_samples, kept.num_tokens) == (5, 5 * 3)
    assert [s.number for s in kept.samples] == [0, 1, 3, 4, 5]


def test_a_truncated_sample_is_penalised_or_masked_as_its_rule_says(group, scored):
    def of(rule):
        return deal([group(0, 1.0, 0.0, scored(status=Status.TRUNCATED, truncation=rule))])

    assert advantages(of(PENALTY)) == pytest.approx({0: 1 - 1 / 6, 1: -1 / 6, 2: -0.5 - 1 / 6})
    assert of(PENALTY).minibatches[0].num_samples == 3
    assert advantages(of(MASK)) == {0: 0.5, 1: -0.5}
    assert of(MASK).minibatches[0].num_samples == 2


def test_advantages_are_of_the_whole_reward_what_length_earned_included(group, scored):
    groups = [with_length_reward(group(0, scored(1.0, token_ids=(5,)), scored(1.0, token_ids=(5,) * 3)), 0.5)]
    assert advantages(deal(groups)) == {0: 0.25, 1: -0.25}


def test_only_sampled_tokens_count_and_each_token_keeps_its_segments_temperature(group, scored):
    segments = (
        Segment(token_ids=(5, 6), logprobs=(-1.0, -2.0), weight_version=1, temperature=1.0),
        Segment(token_ids=(7,), logprobs=(0.0,), weight_version=1, temperature=1.0, is_sampled=False),
        Segment(token_ids=(8, 0), logprobs=(-3.0, -4.0), weight_version=2, temperature=0.5),
    )
    (minibatch,) = deal([group(0, scored(1.0, segments=segments), 0.0)]).minibatches
    first = minibatch.samples[0]
    assert first.token_ids == (5, 6, 7, 8, 0)
    assert first.loss_mask == (True, True, False, True, True)
    assert first.temperatures == (1.0, 1.0, 1.0, 0.5, 0.5)
    assert first.engine_logprobs == (-1.0, -2.0, 0.0, -3.0, -4.0)
    assert minibatch.num_tokens == 4 + 3


def test_the_gap_of_a_batch_is_over_the_sampled_tokens_that_carry_a_gradient_in_any_minibatch(group, scored):
    segments = (
        Segment(token_ids=(5,), logprobs=(-1.0,), weight_version=1, temperature=1.0),
        Segment(token_ids=(7,), logprobs=(0.0,), weight_version=1, temperature=1.0, is_sampled=False),
    )
    learned = group(0, scored(1.0, segments=segments), scored(0.0, token_ids=(3,), logprobs=(-2.0,)))
    dropped = group(1, 1.0, 1.0)
    batch = deal([learned, dropped], num_minibatches=2)
    found = batch.gap({0: (-1.25, -99.0), 1: (-2.5,)})
    assert found is not None and (found.num, found.mean, found.max) == (2, pytest.approx(0.375), pytest.approx(0.5))
    assert deal([dropped]).gap({}) is None


def test_minibatches_are_the_same_function_of_seed_and_step_every_time(group):
    groups = [group(i, 1.0, 0.0) for i in range(16)]

    def dealt(**key):
        return [tuple(s.group for s in m.samples) for m in deal(groups, num_minibatches=4, **key).minibatches]

    assert dealt(seed=3, step=5) == dealt(seed=3, step=5)
    assert len({str(dealt(seed=seed, step=step)) for seed in range(5) for step in range(5)}) == 25


rewards = st.lists(st.lists(st.sampled_from([None, 0.0, 0.25, 1.0]), min_size=3, max_size=3), min_size=4, max_size=4)


@given(rewards, st.sampled_from([1, 2, 4]), st.booleans(), st.integers(0, 99))
@settings(deadline=None)
def test_minibatches_hold_every_learning_sample_once_and_their_denominators_add_up(
    group, scored, rewards, num_minibatches, drop_zero_spread, step
):
    groups = [
        group(i, *[scored(status=Status.CANCELLED) if value is None else value for value in row])
        for i, row in enumerate(rewards)
    ]
    batch = deal(groups, step=step, num_minibatches=num_minibatches, drop_zero_spread=drop_zero_spread)
    expected, num_counted = {}, 0
    for p, row in enumerate(rewards):
        kept = [Fraction(value) for value in row if value is not None]
        if len(kept) < 2:
            continue
        num_counted += len(kept)
        if drop_zero_spread and len(set(kept)) == 1:
            continue
        mean = sum(kept) / len(kept)
        expected |= {p * 3 + k: float(Fraction(v) - mean) for k, v in enumerate(row) if v is not None}
    assert advantages(batch) == pytest.approx(expected, abs=rounding(16))
    assert sum(len(m.samples) for m in batch.minibatches) == len(expected)
    assert sum(m.num_samples for m in batch.minibatches) == num_counted
    assert sum(m.num_tokens for m in batch.minibatches) == 3 * num_counted
    for minibatch in batch.minibatches:
        assert [s.number for s in minibatch.samples] == sorted(s.number for s in minibatch.samples)
        assert all(s.number // 3 == s.group for s in minibatch.samples)
    assert batch.groups == tuple(groups)
