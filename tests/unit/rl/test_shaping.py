"""The ramp before a budget, rules of single gyms, and the order in which lengths shape a reward."""

from __future__ import annotations

import pytest

from configs.load import ConfigError, load_config
from gyms.api import Status
from reward.rules import TruncationRule
from rl.shaping import Shaping, ramp, truncation_rules, with_ramp

RULE = TruncationRule(rule="ramp", reward=-0.5, ramp_tokens=4)
GIVEN = ('model={source="tiny"}', "learner.max_microbatch_tokens=4096")
SUMS = 'gyms=[{name="sums",gym="arithmetic",budget=8}]'


def test_the_ramp_rises_over_the_last_tokens_of_the_budget():
    lost = [ramp(length, budget=8, ramp_tokens=4, reward=-0.5) for length in (1, 4, 5, 6, 8, 9)]
    assert lost == [0.0, 0.0, -0.125, -0.25, -0.5, -0.5]


def test_finished_responses_lose_by_the_ramp_and_truncated_ones_by_their_rule(group, scored):
    one = group(
        0, scored(1.0, token_ids=(5,) * 6), scored(0.0, token_ids=(5,) * 7), scored(1.0),
        scored(status=Status.TRUNCATED, token_ids=(5,) * 8, truncation=RULE),
        scored(status=Status.VERIFIER_ERROR, token_ids=(5,) * 8),
    )  # fmt: skip
    assert [s.reward.total for s in with_ramp(one, RULE).samples] == [0.75, -0.375, 1.0, -0.5, 0.0]


def test_a_gym_may_have_a_rule_of_its_own():
    two = 'gyms=[{name="sums",gym="arithmetic"},{name="more",gym="arithmetic",truncation={rule="mask"}}]'
    config = load_config([], (*GIVEN, two, "reward.truncation.reward=-0.25"))
    assert truncation_rules(config) == {"sums": TruncationRule(reward=-0.25), "more": TruncationRule(rule="mask")}


def test_ramp_and_brevity_add_up(group, scored):
    config = load_config(
        [], (*GIVEN, SUMS, 'reward.truncation={rule="ramp",reward=-0.5,ramp_tokens=4}', "reward.length.coef=0.5")
    )
    one = group(0, scored(1.0, token_ids=(5,) * 6), scored(1.0, token_ids=(5,) * 2))
    found = Shaping(config, judged=frozenset()).apply(one, 0, {})
    assert [s.reward.total for s in found.samples] == [1 - 0.25 - 0.25, 1 + 0.25]
    judged = Shaping(config, judged=frozenset({"sums"})).apply(one, 0, {})
    assert [s.reward.total for s in judged.samples] == [0.75, 1.0]


@pytest.mark.parametrize(
    ("wrong", "told"),
    [
        ('reward.truncation={rule="ramp",reward=-0.5}', "needs truncation.ramp_tokens, got None"),
        ('reward.truncation={rule="ramp",ramp_tokens=4}', "a truncation.reward below 0, got 0.0"),
        ("reward.truncation.ramp_tokens=4", "has no meaning for truncation.rule"),
        ('reward.truncation={rule="ramp",reward=-1.0,ramp_tokens=9}', "ramp_tokens = 9 is more than the budget"),
    ],
)
def test_a_ramp_that_says_nothing_is_refused(wrong, told):
    with pytest.raises(ConfigError, match=told):
        load_config([], (*GIVEN, SUMS, wrong))
