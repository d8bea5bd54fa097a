"""Accuracy and its standard error, by hand. How tasks are asked is tested in test_collect.py."""

from __future__ import annotations

import json
import math

import pytest

from gyms.api import Status
from rl.accuracy import accuracy, eval_metrics, gym_results
from rl.intervals import bootstrap, wilson


def test_accuracy_is_the_mean_value_with_its_standard_error(scored):
    found = accuracy([(scored(v),) for v in (1.0, 1.0, 0.0, 0.5)])
    assert found.mean == pytest.approx(0.625)
    # variance = mean of squares - square of mean = 2.25 / 4 - 0.390625 = 0.171875
    assert found.stderr == pytest.approx(math.sqrt(0.171875 / 4))
    assert found.num == 4
    assert (found.low, found.high) == bootstrap([1.0, 1.0, 0.0, 0.5])


def test_faults_of_the_model_and_truncated_responses_count_zero_and_our_own_faults_do_not_count(scored):
    statuses = (Status.NO_ANSWER, Status.TIMEOUT, Status.TRUNCATED, Status.VERIFIER_ERROR, Status.BAD_TASK)
    found = accuracy([(scored(1.0),), *[(scored(status=status),) for status in statuses]])
    assert (found.mean, found.num) == (0.25, 4)
    assert (found.low, found.high) == wilson(1 / 4, 4)


def test_nothing_counted_is_not_a_number(scored):
    found = accuracy([(scored(status=Status.CANCELLED),)])
    assert math.isnan(found.mean) and math.isnan(found.stderr) and found.num == 0


def test_what_could_not_be_scored_at_all_is_null_in_files(group, scored):
    broken = scored(status=Status.VERIFIER_ERROR)
    row = gym_results([group(0, broken)], [group(0, broken, broken)], [group(0, broken)])["sums"].row()
    assert json.loads(json.dumps(row, allow_nan=False))["greedy"] == {
        "mean": None, "stderr": None, "num": 0, "low": None, "high": None
    }  # fmt: skip
    assert row["best"]["mean"] is row["heavy"]["mean"] is None and row["masked_frac"] == 1.0
    assert eval_metrics({"gyms": {"sums": row}})["eval/sums/greedy_accuracy"] is None


def test_each_gym_has_its_own_results(group, scored):
    truncated, broken = scored(status=Status.TRUNCATED), scored(status=Status.JUDGE_FAILED)
    greedy = [group(0, 1.0), group(1, truncated), group(2, 0.5, gym="words"), group(3, broken, gym="words")]
    sampled = [group(0, 0.0), group(1, 1.0), group(2, 0.0, gym="words"), group(3, truncated, gym="words")]
    found = gym_results(greedy, sampled)
    assert list(found) == ["sums", "words"]
    assert (found["sums"].greedy.mean, found["sums"].sampled.mean) == (0.5, 0.5)
    assert (found["sums"].truncated_frac, found["sums"].masked_frac) == (0.5, 0.0)
    assert (found["words"].greedy.mean, found["words"].greedy.num, found["words"].sampled.num) == (0.5, 1, 2)
    assert (found["words"].truncated_frac, found["words"].masked_frac) == (0.0, 0.25)
    low, high = wilson(1 / 2, 2)
    half = {"mean": 0.5, "stderr": pytest.approx(math.sqrt(0.25 / 2)), "num": 2, "low": low, "high": high}
    assert found["sums"].greedy_values == {"sums/1": 0.0}  # both draws are of one task here; the last one counts
    assert found["words"].greedy_values == {"sums/1": 0.5}  # what was not scored is left out
    assert found["sums"].row() == {
        "greedy": half,
        "sampled": half,
        "best": None,
        "heavy": None,
        "length_mean": 3.0,
        "truncated_frac": 0.5,
        "masked_frac": 0.0,
    }


def test_of_several_samples_a_task_counts_once_with_their_mean_and_with_the_best(group, scored):
    broken, truncated = scored(status=Status.JUDGE_FAILED), scored(status=Status.TRUNCATED)
    sampled = [
        group(0, 1.0, 0.0, 0.0, 0.0), group(1, broken, 0.5, 0.5, truncated), group(2, broken, broken, broken, broken)
    ]  # fmt: skip
    found = gym_results([group(0, 1.0), group(1, 0.0), group(2, 0.0)], sampled)["sums"]
    # task means 1/4 and (1/2 + 1/2 + 0) / 3; the third was never scored
    assert (found.sampled.mean, found.sampled.num) == (pytest.approx((1 / 4 + 1 / 3) / 2), 2)
    assert found.sampled.stderr == pytest.approx((1 / 3 - 1 / 4) / 2 / math.sqrt(2))
    assert found.best is not None and (found.best.mean, found.best.num) == (1.0, 1)  # of the first task alone
    assert found.masked_frac == pytest.approx(5 / 15)


def test_pass_at_k_takes_no_task_of_which_fewer_than_k_samples_count(group, scored):
    broken = scored(status=Status.VERIFIER_ERROR)
    sampled = [group(0, 1.0, 0.0), group(1, 0.0, broken), group(2, broken, 1.0), group(3, 0.0, 0.0)]
    found = gym_results([group(i, 0.0) for i in range(4)], sampled)["sums"]
    assert found.best is not None and (found.best.mean, found.best.num) == (0.5, 2)
    assert (found.sampled.mean, found.sampled.num) == (pytest.approx((0.5 + 0.0 + 1.0 + 0.0) / 4), 4)
    nothing = gym_results([group(0, 0.0)], [group(0, 1.0, broken)])["sums"].best
    assert nothing is not None and math.isnan(nothing.mean) and nothing.num == 0
