"""Advantages against a loop over plain Python lists, and what masks do to them."""

from __future__ import annotations

import math
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rl.advantage import group_advantages
from tests.rounding import rounding


def test_an_advantage_is_the_reward_minus_the_mean_of_the_group():
    found = group_advantages(np.array([[1.0, 0.0, 0.0, 1.0], [0.5, 0.25, 0.0, 0.25]]), np.zeros((2, 4), bool))
    assert found.advantages_PK.tolist() == [[0.5, -0.5, -0.5, 0.5], [0.25, 0.0, -0.25, 0.0]]
    assert found.is_counted_PK.all() and found.has_spread_P.all()


@pytest.mark.parametrize("garbage", [0.0, 1e9, float("nan"), float("inf"), -float("inf")])
def test_a_masked_sample_leaves_mean_and_spread_untouched_whatever_its_value(garbage):
    found = group_advantages(np.array([[1.0, garbage, 0.0]]), np.array([[False, True, False]]))
    assert found.advantages_PK.tolist() == [[0.5, 0.0, -0.5]]
    assert found.is_counted_PK.tolist() == [[True, False, True]]
    assert found.has_spread_P.tolist() == [True]
    flat = group_advantages(np.array([[1.0, garbage, 1.0]]), np.array([[False, True, False]]))
    assert flat.has_spread_P.tolist() == [False]


def test_a_sample_without_an_unmasked_sibling_is_not_counted():
    found = group_advantages(np.array([[1.0, 0.0, 0.0], [1.0, 0.0, 0.0]]), np.array([[False, True, True], [True] * 3]))
    assert found.advantages_PK.tolist() == [[0.0] * 3] * 2
    assert not found.is_counted_PK.any() and not found.has_spread_P.any()


def test_a_group_of_equal_rewards_is_counted_and_has_no_spread():
    found = group_advantages(np.full((1, 8), 0.1), np.zeros((1, 8), bool))
    assert found.has_spread_P.tolist() == [False]
    assert found.is_counted_PK.all()
    assert np.abs(found.advantages_PK).max() <= rounding(8 + 1, size=0.1)  # a sum of 8 and a difference


group = st.integers(2, 6).flatmap(
    lambda k: st.lists(st.lists(st.tuples(st.integers(-4, 4), st.booleans()), min_size=k, max_size=k), min_size=1)
)


@given(group)
def test_advantages_equal_exact_fractions_worked_out_group_by_group(groups):
    rewards = np.array([[value / 4 for value, _ in row] for row in groups])
    masks = np.array([[is_masked for _, is_masked in row] for row in groups])
    found = group_advantages(rewards, masks)
    for p, row in enumerate(groups):
        kept = [Fraction(value, 4) for value, is_masked in row if not is_masked]
        for k, (value, is_masked) in enumerate(row):
            counted = not is_masked and len(kept) > 1
            expected = Fraction(value, 4) - sum(kept) / len(kept) if counted else 0
            assert found.is_counted_PK[p, k] == counted
            assert found.advantages_PK[p, k] == pytest.approx(float(expected), abs=rounding(6 + 1, size=1.0))
        assert found.has_spread_P[p] == (len(set(kept)) > 1)


def test_every_baseline_equals_its_sum_worked_out_by_hand():
    rewards, none_masked = np.array([[1.0, 0.0, 0.5, 0.5]]), np.zeros((1, 4), bool)

    def found(**settings) -> list[float]:
        return group_advantages(rewards, none_masked, **settings).advantages_PK[0].tolist()

    assert found() == [0.5, -0.5, 0.0, 0.0]
    # the others' means: 1/3, 2/3, 1/2, 1/2
    assert found(baseline="leave_one_out") == pytest.approx([2 / 3, -2 / 3, 0.0, 0.0])
    soft = 0.25 * math.log((math.exp(4) + 1 + 2 * math.exp(2)) / 4)
    assert found(baseline="log_mean_exp", tau=0.25) == pytest.approx([r - soft for r in rewards[0]])
    # variance: (1/4 + 1/4) / 3
    assert found(scale_by_std=True) == pytest.approx([math.sqrt(1.5), -math.sqrt(1.5), 0.0, 0.0])


def test_the_soft_baseline_goes_to_the_mean_for_large_tau_and_overflows_for_no_small_one():
    rewards, none_masked = np.array([[1.0, 0.0, 0.0, 0.25]]), np.zeros((1, 4), bool)
    soft = group_advantages(rewards, none_masked, baseline="log_mean_exp", tau=1e4).advantages_PK
    # log mean exp(r / tau) * tau = mean + variance / (2 tau) + ..., variance at most 1/4
    assert soft == pytest.approx(group_advantages(rewards, none_masked).advantages_PK, abs=1 / 8 / 1e4 * 2)
    hard = group_advantages(rewards, none_masked, baseline="log_mean_exp", tau=1e-6).advantages_PK
    assert hard == pytest.approx(rewards - 1.0, abs=1e-6 * math.log(4) * 1.01)  # the highest reward, up to tau log K


@pytest.mark.parametrize("baseline", ["mean", "leave_one_out", "log_mean_exp"])
@pytest.mark.parametrize("scale_by_std", [False, True])
def test_masks_and_flat_groups_mean_the_same_under_every_baseline(baseline, scale_by_std):
    rewards = np.array([[1.0, np.nan, 0.0], [0.1, 0.1, 0.1], [1.0, np.inf, 0.0]])
    masked = np.array([[False, True, False], [False] * 3, [False, True, True]])
    found = group_advantages(rewards, masked, baseline=baseline, tau=0.5, scale_by_std=scale_by_std)
    kept = group_advantages(
        np.array([[1.0, 0.0]]), np.zeros((1, 2), bool), baseline=baseline, tau=0.5, scale_by_std=scale_by_std
    )
    assert found.advantages_PK[0, [0, 2]].tolist() == kept.advantages_PK[0].tolist()
    assert found.advantages_PK[0, 1] == 0 and (found.advantages_PK[2] == 0).all()
    assert np.abs(found.advantages_PK[1]).max() <= rounding(8 + 1, size=0.2)
    assert found.is_counted_PK.tolist() == [[True, False, True], [True] * 3, [False] * 3]
