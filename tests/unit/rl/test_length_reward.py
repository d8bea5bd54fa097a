"""Kimi K1.5's length reward, by hand."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gyms.api import Status
from reward.rules import TruncationRule
from rl.length_reward import length_rewards, with_length_reward


def test_short_right_answers_gain_long_ones_lose_and_wrong_ones_never_gain():
    found = length_rewards([10, 20, 30, 10, 25, 30], [True, True, True, False, False, False])
    assert found == pytest.approx([0.5, 0.0, -0.5, 0.0, -0.25, -0.5])


def test_siblings_of_one_length_and_no_siblings_at_all_earn_nothing():
    assert length_rewards([7, 7], [True, False]) == [0.0, 0.0]
    assert length_rewards([7], [True]) == [0.0] and length_rewards([], []) == []


@given(st.lists(st.tuples(st.integers(1, 10_000), st.booleans()), min_size=1, max_size=8))
def test_a_right_answer_never_earns_less_than_a_wrong_one_of_its_length_or_a_longer_one(siblings):
    found = length_rewards(*map(list, zip(*siblings, strict=True)))
    for (length, right), earned in zip(siblings, found, strict=True):
        assert -0.5 <= earned <= (0.5 if right else 0.0)
        for (other, is_right), less in zip(siblings, found, strict=True):
            if right >= is_right and length <= other:
                assert earned >= less


def test_the_weighted_reward_is_added_to_unmasked_samples_and_told_apart(group, scored):
    def answer(value, length, **facts):
        return scored(value, token_ids=(5,) * length, **facts)

    whole = group(
        0, answer(1.0, 2), answer(1.0, 6), answer(0.5, 2), answer(0.0, 4),
        answer(None, 10, status=Status.JUDGE_FAILED),  # no sibling: the longest are the 6 tokens
        answer(None, 6, status=Status.TRUNCATED, truncation=TruncationRule(reward=-0.25)),
    )  # fmt: skip
    found = [s.reward for s in with_length_reward(whole, 0.5).samples]
    assert [reward.length for reward in found] == [0.25, -0.25, 0.0, 0.0, 0.0, -0.25]
    assert [reward.total for reward in found] == [1.25, 0.75, 0.5, 0.0, 0.0, -0.5]
    assert [reward.value for reward in found] == [s.reward.value for s in whole.samples]
    assert [reward.is_masked for reward in found] == [s.reward.is_masked for s in whole.samples]
    assert [s.score for s in with_length_reward(whole, 0.5).samples] == [s.score for s in whole.samples]
