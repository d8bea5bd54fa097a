"""Advantages against a loop over plain Python lists, and what masks do to them."""

from __future__ import annotations

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
