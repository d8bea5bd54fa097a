"""Toggle: budgets of tasks, from their right responses, in every other phase."""

from __future__ import annotations

import pytest

from configs.load import ConfigError, load_config
from gyms.api import Status
from rl.shaping import Shaping
from rl.toggle import is_budgeted, quantile, right_lengths, toggled, with_budgets
from tests.unit.rl.listed import task


def test_phases_take_turns_and_the_first_has_budgets():
    assert [is_budgeted(step, period=2, from_step=1) for step in range(8)] == [
        False, True, True, False, False, True, True, False
    ]  # fmt: skip
    assert not any(is_budgeted(step, period=None, from_step=0) for step in range(8))


def test_a_quantile_is_a_length_that_was_seen():
    lengths = [9, 3, 5, 7]
    assert [quantile(lengths, share) for share in (0.01, 0.25, 0.26, 0.5, 0.75, 0.76, 1.0)] == [3, 3, 5, 5, 7, 9, 9]


def long(scored, value: float, length: int, **more):
    return scored(value, token_ids=(5,) * length, **more)


def test_a_budget_is_made_by_the_first_right_responses_and_then_fixed(group, scored):
    first = group(0, long(scored, 1.0, 4), long(scored, 1.0, 8), long(scored, 0.5, 2), long(scored, 0.0, 1))
    assert right_lengths(first) == [4, 8]
    budgets = with_budgets({}, [first, group(1, 0.0, 0.0, task=task("t"))], share=0.5)
    assert budgets == {"sums": {"sums/1": 4}}
    assert with_budgets(budgets, [group(0, long(scored, 1.0, 2), 0.0)], share=0.5) == budgets
    masked = scored(status=Status.VERIFIER_ERROR)
    assert with_budgets({}, [group(0, masked, 0.0)], share=0.5) == {"sums": {}}


def totals(group) -> list[float]:
    return [s.reward.total for s in group.samples]


def test_right_answers_over_the_budget_are_not_paid_once_the_task_is_solved_often_enough(group, scored):
    one = group(0, long(scored, 1.0, 5), long(scored, 1.0, 6), long(scored, 1.0, 2), long(scored, 0.0, 9))
    assert totals(toggled(one, 5, min_mean=0.75)) == [1.0, 0.0, 1.0, 0.0]  # r = 3/4: not below lambda
    assert totals(toggled(one, 5, min_mean=0.76)) == [1.0, 1.0, 1.0, 0.0]
    assert toggled(one, None, min_mean=0.0) == one
    assert [s.reward.is_over_budget for s in toggled(one, 5, min_mean=0.0).samples] == [False, True, False, False]


def test_masked_samples_are_no_siblings_and_penalties_stay(group, scored):
    from reward.rules import TruncationRule

    rule = TruncationRule(reward=-0.5)
    cut = scored(status=Status.TRUNCATED, token_ids=(5,) * 9, truncation=rule)
    one = group(0, long(scored, 1.0, 9), scored(status=Status.VERIFIER_ERROR), cut)
    assert totals(toggled(one, 5, min_mean=0.25)) == [0.0, 0.0, -0.5]  # r = (1 - .5) / 2
    assert totals(toggled(one, 5, min_mean=0.26)) == [1.0, 0.0, -0.5]


GIVEN = (
    'model={source="tiny"}',
    'gyms=[{name="sums",gym="arithmetic",budget=8}]',
    "learner.max_microbatch_tokens=4096",
)


def test_toggle_goes_with_the_step_and_tells_what_it_did(group, scored):
    config = load_config([], (*GIVEN, "reward.toggle={period=1,min_mean=0.5,quantile=0.5}"))
    shaping = Shaping(config, judged=frozenset())
    one = group(0, long(scored, 1.0, 5), long(scored, 1.0, 3))
    assert shaping.apply(one, 0, {}) == one  # nothing is known of the task
    budgets = shaping.budgets_after({}, [one])
    assert budgets == {"sums": {"sums/1": 3}}
    assert totals(shaping.apply(one, 1, budgets)) == [1.0, 1.0]
    cut = shaping.apply(one, 2, budgets)
    assert totals(cut) == [0.0, 1.0]
    assert shaping.metrics(2, [cut]) == {"reward/is_budgeted": 1.0, "reward/over_budget_frac": 0.5}
    assert shaping.metrics(1, [one])["reward/is_budgeted"] == 0.0
    known = Shaping(config, judged=frozenset(), known={"sums": {"sums/1": 4}})
    assert totals(known.apply(one, 0, {})) == [0.0, 1.0] and known.budgets_after({}, [one]) == {}
    judged = Shaping(config, judged=frozenset({"sums"}))
    assert judged.apply(one, 2, budgets) == one and judged.budgets_after({}, [one]) == {}
    off = Shaping(load_config([], GIVEN), judged=frozenset())
    assert off.apply(one, 2, budgets) == one and off.budgets_after({}, [one]) == {} and off.metrics(2, [one]) == {}


def test_ranges_are_checked():
    for wrong in ("reward.toggle.period=0", "reward.toggle.quantile=0.0", "reward.toggle.min_mean=1.5"):
        with pytest.raises(ConfigError, match=wrong.partition("=")[0]):
            load_config([], (*GIVEN, wrong))
