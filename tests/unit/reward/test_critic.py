"""The critic under scripted judges: fair to good answers, within its bound of calls, and honest in what it reports."""

from __future__ import annotations

import asyncio
import itertools
import json
from typing import Any

import pytest

from gyms.api import Status
from gyms.critic.verdict import Outcome
from reward.critic import CriticSettings, GroupCritic, SelfCritic
from reward.critic_schedule import calls_bound
from reward.judges.api import JudgeFailed, JudgeRequest, Pair
from reward.judges.prompted import PromptSettings
from reward.rubric import Criterion, Rubric, load_rubric
from tests.unit.reward.judged import AIMS, SETTINGS, TASK, judged, run, values
from tests.unit.reward.scripted_judges import (
    Scripted,
    Table,
    always_first,
    answers_in,
    prefers,
    verdict,
)


def test_better_answers_are_worth_more() -> None:
    scores = judged(prefers(len), ["a" * 9, "a" * 30, "a" * 3, "a" * 20])
    found = values(scores)
    assert sorted(range(4), key=lambda i: found[i] or 0.0) == [2, 0, 3, 1]
    assert sum(value or 0.0 for value in found) == pytest.approx(2.0)
    assert scores[1].components == {"judge_wins": 1.0, "judge_ties": 0.0}
    assert scores[0].provenance["rubric"] == "core@1" and "policy/prompt1/" in scores[0].provenance["judge"]


def test_a_score_tells_what_came_of_each_comparison_by_the_siblings_number() -> None:
    def say(pair: Pair) -> Outcome | JudgeFailed:
        if {pair.first, pair.second} == {"a", "ccc"}:
            return JudgeFailed("refused", "no")
        return Outcome.FIRST  # whoever stands there

    scores = run(GroupCritic(Table(say), SETTINGS).judge_group("g", TASK, ["a", "a", "ccc", "dddd"], AIMS))
    told = [[(case.id, case.passed, case.reason) for case in score.cases] for score in scores]
    refused, flip = "no verdict: refused: no; refused: no", "tie: each order has another winner"
    assert told[0] == told[1] == [("against #2", False, refused), ("against #3", False, flip)]
    assert told[2] == [("against #0", False, refused), ("against #3", False, flip)]
    won = judged(prefers(len), ["a", "bb"])
    assert [[(case.passed, case.reason) for case in score.cases] for score in won] == [[(False, "lost")], [(True, "")]]


def test_both_orders_of_every_pair_are_asked_once() -> None:
    judge = prefers(len)
    judged(judge, ["a", "bb", "ccc", "dddd"])
    assert sorted(answers_in(request) for request in judge.requests) == sorted(
        itertools.permutations(["a", "bb", "ccc", "dddd"], 2)
    )


def test_a_position_bias_earns_nothing() -> None:
    """J07: the verdict flips with the order, so it is a tie; the flips are counted."""
    critic = SelfCritic(always_first(), SETTINGS)
    scores = run(critic.judge_group("s0/d0", TASK, ["one", "two", "three"], AIMS))
    assert values(scores) == [0.5, 0.5, 0.5]
    metrics = critic.take_report().metrics()
    assert metrics["judge/flip_frac"] == 1.0 and metrics["judge/position_bias"] == 1.0


def test_a_win_in_one_order_and_a_tie_in_the_other_is_a_tie() -> None:
    judge = Table(lambda pair: Outcome.FIRST if pair.first == "a" else Outcome.TIE)
    scores = run(GroupCritic(judge, SETTINGS).judge_group("g", TASK, ["a", "b"], AIMS))
    assert values(scores) == [0.5, 0.5]


def test_identical_answers_tie_without_a_call() -> None:
    """J08: one player; white space does not make another answer."""
    judge = prefers(len)
    assert values(judged(judge, ["same thing", "same  thing\n", "same thing"])) == [0.5] * 3
    assert values(judged(judge, ["", " ", ":"])) == [0.0] * 3
    assert judge.requests == []
    found = values(judged(judge, ["short", "longer answer", "short"]))
    assert found[0] == found[2] and len(judge.requests) == 2


def test_a_mandatory_violation_loses_however_good_the_rest_is() -> None:
    def say(request: JudgeRequest) -> str:
        a, b = answers_in(request)
        broken = (
            "both" if "Great" in a and "Great" in b else "A" if "Great" in a else "B" if "Great" in b else "neither"
        )
        return verdict(request, "A" if len(a) > len(b) else "B", broken=broken)

    rubric = load_rubric("core+prescriptive")
    scores = judged(Scripted(say), ["Great question! " + "x" * 99, "It scatters.", "It scatters more."], rubric=rubric)
    found = [value or 0.0 for value in values(scores)]
    assert found[0] < found[1] < found[2] and "mandatory" in scores[0].flags
    both = judged(Scripted(say), ["Great question!", "Great question, really!"], rubric=rubric)
    assert values(both) == [0.5, 0.5]


def test_weights_decide_between_criteria() -> None:
    def say(request: JudgeRequest) -> str:
        a, _ = answers_in(request)
        mine, other = ("A", "B") if a == "x" else ("B", "A")
        return json.dumps({"heavy": mine, "light": other, "slight": other})

    lines = {"heavy": 3.0, "light": 1.0, "slight": 1.0}
    rubric = Rubric(label="r@1", criteria=tuple(Criterion(id=i, text=f"Is {i}.", weight=w) for i, w in lines.items()))
    found = values(judged(Scripted(say), ["x", "y"], rubric=rubric))
    assert (found[0] or 0) > (found[1] or 0)
    light = Rubric(label="r@2", criteria=tuple(Criterion(id=i, text=f"Is {i}.") for i in lines))
    found = values(judged(Scripted(say), ["x", "y"], rubric=light))
    assert (found[0] or 0) < (found[1] or 0)


def test_a_criterion_with_a_check_is_decided_by_code() -> None:
    short = Criterion(id="short", text="Under 15 words.", check="under_15_words")
    praise = Criterion(id="praise", text="No praise.", check="no_opening_praise", mandatory=True)
    judge = prefers(lambda text: 0.0)
    rubric = Rubric(label="r@1", criteria=(short, praise))
    found = values(judged(judge, ["word " * 20, "Brief.", "Great question! Brief."], rubric=rubric))
    assert judge.requests == [] and (found[1] or 0) > (found[0] or 0) > (found[2] or 0)


@pytest.mark.parametrize("num", [1, 2, 4, 5, 8, 16, 33])
def test_calls_stay_within_the_bound(num: int) -> None:
    broken = Scripted(lambda request: "no verdict")
    scores = judged(broken, [f"answer {i}" for i in range(num)])
    assert len(broken.requests) <= calls_bound(num, num_opponents=3)
    assert num < 5 or len(broken.requests) <= 2 * 2 * num * 3 // 2
    assert all(score.status is (Status.JUDGE_FAILED if num > 1 else Status.OK) for score in scores)


def test_the_same_group_is_judged_the_same_and_another_step_otherwise() -> None:
    def requests(request_id: str, seed: int = 0) -> list[JudgeRequest]:
        judge = prefers(len)
        critic = SelfCritic(judge, CriticSettings(seed=seed))
        run(critic.judge_group(request_id, TASK, [f"it is {'x' * i}" for i in range(8)], AIMS))
        return sorted(judge.requests, key=lambda request: request.id)

    assert requests("s0/d0") == requests("s0/d0")
    assert requests("s0/d0") != requests("s1/d0")
    assert {r.seed for r in requests("s0/d0")}.isdisjoint({r.seed for r in requests("s0/d0", seed=1)})
    assert len({r.id for r in requests("s0/d0")}) == 24


def test_calls_in_flight_are_bounded_over_all_groups() -> None:
    judge = prefers(len)

    async def scenario() -> None:
        critic = SelfCritic(judge, SETTINGS, prompt=PromptSettings(max_in_flight=5))
        await asyncio.gather(*(critic.judge_group(f"g{i}", TASK, ["a", "bb", "ccc"], AIMS) for i in range(10)))

    run(scenario())
    assert len(judge.requests) == 60 and judge.most_in_flight == 5


def test_one_critic_serves_several_event_loops() -> None:
    critic = SelfCritic(prefers(len), SETTINGS, prompt=PromptSettings(max_in_flight=1))
    for _ in range(2):
        assert len(run(critic.judge_group("g", TASK, ["a", "bb", "ccc"], AIMS))) == 3


def test_the_report_counts_a_step_and_starts_anew() -> None:
    critic = SelfCritic(prefers(len), SETTINGS)
    run(critic.judge_group("g", TASK, ["a", "bb", "cc"], AIMS))
    report = critic.take_report()
    metrics = report.metrics()
    assert (metrics["judge/pairs"], metrics["judge/calls"], metrics["judge/tokens"]) == (3, 6, 18)
    assert metrics["judge/prompt_tokens"] == 60 and metrics["judge/longer_wins_frac"] == 1.0
    assert metrics["judge/tie_frac"] == pytest.approx(1 / 3)
    assert critic.take_report().metrics()["judge/calls"] == 0


@pytest.mark.parametrize("style", ["short", "bare"])
def test_small_models_answer_with_a_label(style: Any) -> None:
    def say(request: JudgeRequest) -> str:
        text = request.messages[0]["content"]
        assert request.schema is None and request.choices == ("1", "2")
        return "1" if text.index("good") < text.index("bad") else "2"

    prompt = PromptSettings(style=style, labels=("1", "2"), allow_tie=False, max_tokens=2)
    found = values(judged(Scripted(say), ["good", "bad"], prompt=prompt))
    assert (found[0] or 0) > 0.8 > (found[1] or 0)


def test_a_very_small_model_repeats_the_better_answer() -> None:
    def say(request: JudgeRequest) -> str:
        assert request.schema is None and set(request.choices) == {"good", "bad"}
        return "good"

    found = values(judged(Scripted(say), ["good", "bad"], prompt=PromptSettings(style="quote", allow_tie=False)))
    assert (found[0] or 0) > 0.8 > (found[1] or 0)


@pytest.mark.parametrize("word", ["tie", "both", "neither"])
def test_where_no_tie_is_said_the_words_of_a_verdict_are_answers_like_others_to_who_quotes(word: str) -> None:
    prompt = PromptSettings(style="quote", allow_tie=False)
    scores = judged(Scripted(lambda request: min(request.choices, key=len)), [word, "You are kind."], prompt=prompt)
    assert [score.status for score in scores] == [Status.OK] * 2 and (scores[0].value or 0) > (scores[1].value or 0)


def test_answers_that_look_alike_to_who_quotes_are_a_tie() -> None:
    prompt = PromptSettings(style="quote", allow_tie=False)
    scores = judged(Scripted(lambda request: JudgeFailed("refused", "not asked")), ["same", "same?"], prompt=prompt)
    assert [(score.status, score.value) for score in scores] == [(Status.OK, 0.5)] * 2


def test_a_judge_may_weigh_the_criteria_itself() -> None:
    def say(request: JudgeRequest) -> str:
        assert request.schema is not None
        keys = list(request.schema["properties"])
        assert keys == ["reason", "initial_praise", "self_justification", "winner"]
        first, _ = answers_in(request)
        said = {"initial_praise": "neither", "self_justification": "neither", "winner": "A" if first == "x" else "B"}
        return json.dumps({"reason": "because", **said})

    prompt = PromptSettings(decides="judge", max_reason_chars=50)
    found = values(judged(Scripted(say), ["x", "y"], rubric=load_rubric("core+prescriptive"), prompt=prompt))
    assert (found[0] or 0) > (found[1] or 0)


@pytest.mark.parametrize("bad", [{"num_opponents": 1}, {"min_decided_frac": 2.0}, {"group_seconds": 0.0}])
def test_settings_that_cannot_be_are_refused(bad: dict[str, Any]) -> None:
    with pytest.raises(ValueError):
        CriticSettings(**bad)
    with pytest.raises(ValueError):
        PromptSettings(max_tokens=0)
