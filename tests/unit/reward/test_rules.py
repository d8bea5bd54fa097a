"""From score to reward: our faults mask, the model's faults score, truncation has its own rule."""

from __future__ import annotations

import pytest

from gyms.api import Score, Status
from reward.rules import Reward, TooManyFaults, TruncationRule, check_masked_rate, reward_of

RULE = TruncationRule(rule="penalty", reward=-0.5)
OURS = (Status.BAD_TASK, Status.VERIFIER_ERROR, Status.JUDGE_FAILED, Status.CANCELLED)
MODELS = (Status.NO_ANSWER, Status.INVALID_ANSWER, Status.TOO_COMPLEX, Status.TIMEOUT, Status.CRASHED)


def test_every_status_has_its_rule() -> None:
    assert {*OURS, *MODELS, Status.OK, Status.TRUNCATED} == set(Status)


def test_a_verified_response_gets_its_value() -> None:
    score = Score(status=Status.OK, value=0.25)
    assert reward_of(score, minimum=0.1, truncation=RULE) == Reward(value=0.25, is_masked=False)


@pytest.mark.parametrize("status", MODELS)
def test_a_fault_of_the_model_gets_the_gyms_minimum(status: Status) -> None:
    assert reward_of(Score(status=status), minimum=0.1, truncation=RULE) == Reward(value=0.1, is_masked=False)


@pytest.mark.parametrize("status", OURS)
def test_a_fault_of_ours_is_masked(status: Status) -> None:
    assert reward_of(Score(status=status), minimum=0.1, truncation=RULE).is_masked


def test_truncation_follows_its_own_rule() -> None:
    score = Score(status=Status.TRUNCATED)
    assert reward_of(score, minimum=0.1, truncation=RULE) == Reward(value=-0.5, is_masked=False)
    assert reward_of(score, minimum=0.1, truncation=TruncationRule(rule="mask")).is_masked


def test_too_many_faults_name_the_most_frequent_cause_and_the_key() -> None:
    causes = ["gym 'a': hung", "gym 'b': crashed", "gym 'b': crashed"]
    with pytest.raises(
        TooManyFaults, match=r"3 of 10 .*max_masked_frac = 0\.2 .*\(2 samples\): gym 'b': crashed"
    ) as hit:
        check_masked_rate(3, 10, 0.2, causes)
    assert isinstance(hit.value, RuntimeError)


def test_a_tolerated_rate_and_an_empty_step_pass() -> None:
    check_masked_rate(2, 10, 0.2, ["x", "x"])
    check_masked_rate(0, 0, 0.0, [])


def test_faults_without_a_cause_still_stop_the_run() -> None:
    with pytest.raises(TooManyFaults, match="no cause was recorded"):
        check_masked_rate(1, 1, 0.0, [])
