"""A critic whose judge fails, is late or says nothing readable: what it does not know is masked."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest

from gyms.api import Score, Status
from gyms.critic.verdict import Outcome
from reward.calibration import Calibration, CriticGate
from reward.critic import CriticSettings, GroupCritic, SelfCritic
from reward.judges.api import JudgeFailed, JudgeReply, JudgeRequest, Pair
from reward.judges.prompted import PromptSettings
from reward.rubric import load_rubric
from tests.unit.reward.judged import AIMS, SETTINGS, TASK, judged, run, values
from tests.unit.reward.scripted_judges import (
    Scripted,
    Table,
    answers_in,
    prefers,
    verdict,
)


@pytest.mark.parametrize(
    "reply",
    ['{"clarity": "A"}', "Sure! A is better.", '{"clarity": "A", "fluency": "A", "grounding": "A", "x": "A"}',
     '<think>{"clarity": "A", "fluency": "A", "grounding": "A"}', "", "11/10", "[" * 50_000],
)  # fmt: skip
def test_an_unreadable_verdict_is_asked_for_once_more_and_then_masked(reply: str) -> None:
    """J04, J05."""
    judge = Scripted(lambda request: reply)
    critic = SelfCritic(judge, SETTINGS)
    scores = run(critic.judge_group("g", TASK, ["a", "b"], AIMS))
    assert [score.status for score in scores] == [Status.JUDGE_FAILED] * 2 and len(judge.requests) == 4
    assert len({request.id for request in judge.requests}) == 4 and len({r.seed for r in judge.requests}) == 4
    assert "unreadable" in scores[0].detail
    cost = critic.take_report().cost
    assert (cost.num_calls, cost.num_retries, dict(cost.failures)) == (4, 2, {"unreadable": 2})


def test_a_second_try_that_reads_well_counts() -> None:
    seen: set[str] = set()

    def say(request: JudgeRequest) -> str:
        name = request.id.rpartition("/")[0]
        first, _ = answers_in(request)
        again = name in seen or seen.add(name)
        return verdict(request, "A" if first == "good" else "B") if again else "hm"

    found = values(judged(Scripted(say), ["good", "bad"]))
    assert (found[0] or 0) > (found[1] or 0)


def test_a_verdict_that_was_cut_off_gets_twice_the_tokens() -> None:
    judge = Scripted(lambda request: JudgeReply(text=verdict(request, "A"), is_truncated=request.max_tokens < 20))
    scores = judged(judge, ["a", "b"], prompt=PromptSettings(max_tokens=10))
    assert sorted(request.max_tokens for request in judge.requests) == [10, 10, 20, 20]
    assert values(scores) == [0.5, 0.5]


@pytest.mark.parametrize(("cause", "num_controls"), [("refused", 1), ("no_room", 0)])
def test_a_refusal_is_not_asked_again(cause: Any, num_controls: int) -> None:
    judge = Scripted(lambda request: JudgeFailed(cause, "no"))
    scores = judged(judge, ["a", "b"])
    assert len(judge.requests) == 2 + num_controls
    assert all(cause in score.detail for score in scores)


def test_a_late_verdict_is_masked() -> None:
    async def never(requests: Sequence[JudgeRequest]) -> list[JudgeReply]:
        await asyncio.sleep(60)
        return []

    scores = judged(never, ["a", "b"], prompt=PromptSettings(deadline_seconds=0.01))
    assert all(score.status is Status.JUDGE_FAILED and "timeout" in score.detail for score in scores)
    scores = judged(never, ["a", "b"], group_seconds=0.02)
    assert all("group_seconds" in score.detail for score in scores)


@pytest.mark.parametrize("error", [RuntimeError("the engine is gone"), TimeoutError("an actor's own deadline")])
def test_a_broken_engine_is_not_a_judges_opinion(error: Exception) -> None:
    with pytest.raises(type(error), match=str(error)):
        judged(Scripted(lambda request: error), ["a", "b", "c"])


def test_cancelling_leaves_no_call_behind() -> None:
    async def scenario() -> int:
        running = 0

        async def slow(requests: Sequence[JudgeRequest]) -> list[JudgeReply]:
            nonlocal running
            running += 1
            try:
                await asyncio.sleep(60)
            finally:
                running -= 1
            return []

        job = asyncio.create_task(SelfCritic(slow, SETTINGS).judge_group("g", TASK, ["a", "b", "c"], AIMS))
        while running < 6:
            await asyncio.sleep(0)
        job.cancel()
        await asyncio.gather(job, return_exceptions=True)
        return running + len(asyncio.all_tasks()) - 1

    assert run(scenario()) == 0


@pytest.mark.parametrize("seed", range(20))
def test_with_30_percent_of_calls_failing_only_samples_without_verdicts_are_masked(seed: int) -> None:
    def flaky(request: JudgeRequest) -> str | Exception:
        if (request.seed + seed) % 10 < 3:
            return JudgeFailed("unavailable", "busy")
        a, b = answers_in(request)
        return verdict(request, "A" if len(a) > len(b) else "B")

    judge = Scripted(flaky)
    critic = SelfCritic(judge, CriticSettings(seed=seed), prompt=PromptSettings(seed=seed, num_retries=0))
    scores = run(critic.judge_group("g", TASK, ["x" * (i + 1) for i in range(8)], AIMS))
    report = critic.take_report()
    assert 0 < report.num_undecided < report.num_pairs
    for score in scores:
        if score.status is Status.OK:
            assert score.value is not None and math.isfinite(score.value) and 0 < score.value < 1
        else:
            assert score.status is Status.JUDGE_FAILED and score.value is None and "unavailable" in score.detail
    assert sum(score.status is Status.OK for score in scores) >= 4
    assert report.metrics()["judge/masked"] == sum(score.status is Status.JUDGE_FAILED for score in scores)


def test_one_answer_that_cannot_be_judged_leaves_the_others_their_ranking() -> None:
    def say(pair: Pair) -> Outcome | JudgeFailed:
        if "bomb" in pair.first + pair.second:
            return JudgeFailed("timeout", "late")
        return Outcome.FIRST if len(pair.first) > len(pair.second) else Outcome.SECOND

    def group(*responses: str) -> list[Score]:
        return run(GroupCritic(Table(say), SETTINGS).judge_group("g", TASK, responses, AIMS))

    scores = group("a", "bb", "ccc", "bomb")
    assert [score.status for score in scores] == [Status.OK] * 3 + [Status.JUDGE_FAILED]
    found = [value or 0.0 for value in values(scores)[:3]]
    assert found == sorted(found) and found[0] < found[2]


def test_a_sibling_that_never_finished_does_not_hold_the_others_up() -> None:
    """J17."""
    scores = judged(prefers(len), ["a", None, "bbb"])
    assert scores[1].status is Status.CANCELLED and (scores[2].value or 0) > (scores[0].value or 0)
    assert [score.status for score in judged(prefers(len), [None, None])] == [Status.CANCELLED] * 2
    assert judged(prefers(len), []) == []


def test_a_bad_rubric_is_a_bad_task() -> None:
    critic = SelfCritic(prefers(len), SETTINGS)
    scores = run(critic.judge_group("g", replace(TASK, data={"rubric": "no_such"}), ["a", "b"]))
    assert [score.status for score in scores] == [Status.BAD_TASK] * 2 and "no_such" in scores[0].detail


def test_a_closed_gate_masks_and_asks_nothing() -> None:
    """J11."""
    gate = CriticGate(min_accuracy=0.6, min_pairs=2)
    judge = prefers(len)
    critic = SelfCritic(judge, SETTINGS, gate=gate)
    scores = run(critic.judge_group("g", TASK, ["a", "bb", ""], AIMS))
    assert [score.status for score in scores] == [Status.JUDGE_FAILED] * 2 + [Status.OK]
    assert "not calibrated" in scores[0].detail and "gate_closed" in scores[0].flags and not judge.requests
    metrics = critic.take_report().metrics()
    assert metrics["judge/gated"] == 2 and metrics["judge/masked"] == 0
    gate.update(7, Calibration(num_pairs=10, num_failed=0, accuracy=0.9))
    assert run(critic.judge_group("g", TASK, ["a", "bb"], AIMS))[0].status is Status.OK
    gate.update(9, Calibration(num_pairs=10, num_failed=0, accuracy=0.5))
    (closed, _) = run(critic.judge_group("g", TASK, ["a", "bb"], AIMS))
    assert "step 9: accuracy 0.500 is below 0.6" in closed.detail


def test_a_closed_gate_does_not_matter_where_code_decides_alone() -> None:
    judge = Scripted(lambda request: JudgeFailed("refused", "must not be asked"))
    gate = CriticGate(min_accuracy=0.6, min_pairs=2)
    critic = SelfCritic(judge, CriticSettings(seed=0), gate=gate)
    answers = ["word " * 12, "word " * 45, "word " * 90]
    scores = asyncio.run(critic.judge_group("g", TASK, answers, load_rubric("counted")))
    found = values(scores)
    assert all(score.status is Status.OK for score in scores) and not judge.requests
    assert (found[0] or 0) > (found[1] or 0) > (found[2] or 0)
