"""An answer that no judge takes is worth 0, and nobody else pays for it; what is not the answer's fault masks."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler
from typing import Any

import pytest

from gyms.api import Score, Status, Task, message
from gyms.chat.checks import CHECKS
from gyms.critic.verdict import Outcome
from reward.critic import CriticSettings, GroupCritic, SelfCritic
from reward.critic_schedule import pairs_to_compare
from reward.judges.api import JudgeFailed, JudgeReply, JudgeRequest, Pair
from reward.judges.endpoint import Endpoint, EndpointSettings
from reward.judges.prompted import PromptSettings
from reward.provoked import HARMLESS
from reward.rubric import Criterion, Rubric, load_rubric
from tests.answering import answering, said
from tests.unit.reward.judged import judged
from tests.unit.reward.scripted_judges import Scripted, Table, answers_in, prefers, verdict

TASK = Task(id="t", prompt=(message("user", "Why is the sky blue?"),))
MASKED = (Status.JUDGE_FAILED, None)


def longer(pair: Pair) -> Outcome:
    return Outcome.FIRST if len(pair.first) > len(pair.second) else Outcome.SECOND


def judged_by(say: Callable[[Pair], Outcome | JudgeFailed], *responses: str) -> tuple[list[Score], dict[str, float]]:
    critic = GroupCritic(Table(say), CriticSettings())
    scores = asyncio.run(critic.judge_group("g", TASK, responses, load_rubric("core")))
    return scores, critic.take_report().metrics()


def refuses(word: str) -> Callable[[Pair], Outcome | JudgeFailed]:
    def say(pair: Pair) -> Outcome | JudgeFailed:
        return JudgeFailed("refused", "filtered") if word in pair.question + pair.first + pair.second else longer(pair)

    return say


@pytest.mark.parametrize("well", [(), ("a",), ("a", "bb")])
def test_answers_that_are_refused_beside_any_other_are_worth_0_and_the_others_are_ranked_without_them(
    well: tuple[str, ...],
) -> None:
    """Also where every sibling is one, or all but one: no verdict of the group tells then, but the control does."""
    scores, metrics = judged_by(refuses("bomb"), "a bomb", *well, "another bomb")
    for score in (scores[0], scores[-1]):
        assert (score.status, score.value, score.flags) == (Status.OK, 0.0, {"barred"})
        assert score.detail == "refused: filtered"
    found = [(score.status, score.value) for score in scores[1:-1]]
    assert found == [(Status.OK, score.value) for score in judged_by(longer, *well)[0]]
    assert metrics["judge/barred"] == 2 and metrics["judge/masked"] == 0


def test_an_answer_whose_opponents_are_all_barred_is_masked_where_others_were_compared() -> None:
    """Among eight, each meets three. What is known of it is nothing, and one half would be more than losers have."""
    schedule = pairs_to_compare(8, num_opponents=3, key="0/g")
    bombs = {i + j for i, j in schedule if 0 in (i, j)}
    responses = [f"a bomb {i}" if i in bombs else "x" * (i + 1) for i in range(8)]
    scores, metrics = judged_by(refuses("bomb"), *responses)
    assert (scores[0].status, scores[0].value, scores[0].detail) == (*MASKED, "its opponents were barred")
    assert all(scores[i].value == 0.0 for i in bombs) and len(bombs) == metrics["judge/barred"] == 3
    assert all(scores[i].status is Status.OK and scores[i].value for i in range(1, 8) if i not in bombs)


def test_an_answer_that_is_refused_is_worth_0_where_code_decides_one_of_its_pairs_and_one_call_fails() -> None:
    """A pair that code decides says nothing of what the judge takes, nor does a server that is busy for once."""
    busy_for: list[str] = []

    def say(request: JudgeRequest) -> str | Exception:
        a, b = answers_in(request)
        if "bomb" not in a + b:
            return verdict(request, "A" if len(a) > len(b) else "B")
        busy_for.append(request.id)
        return JudgeFailed("unavailable", "busy") if len(busy_for) == 1 else JudgeFailed("refused", "filtered")

    no_list = Criterion(id="prose", text="No list.", check="no_list", mandatory=True)
    rubric = Rubric(label="r@1", criteria=(*load_rubric("core").criteria, no_list))
    critic = SelfCritic(Scripted(say), CriticSettings(), prompt=PromptSettings(num_retries=0))
    answers = ["a bomb", "- a list\n- of two", "air", "dust in the air"]
    scores = asyncio.run(critic.judge_group("g", TASK, answers, rubric))
    assert (scores[0].status, scores[0].value, scores[0].flags) == (Status.OK, 0.0, {"barred"})
    assert (scores[1].value or 0) < (scores[2].value or 0) < (scores[3].value or 0)


@pytest.mark.parametrize("check", CHECKS)
def test_harmless_answers_pass_every_check_so_that_code_decides_no_control(check: str) -> None:
    assert all(map(CHECKS[check], HARMLESS))


def test_a_question_that_is_refused_is_nobodys_fault() -> None:
    scores, metrics = judged_by(refuses("sky"), "a", "bb", "ccc")
    assert [(score.status, score.value) for score in scores] == [MASKED] * 3
    assert metrics["judge/barred"] == 0


def test_a_question_that_is_refused_costs_one_control() -> None:
    judge = Scripted(lambda request: JudgeFailed("refused", "filtered"))
    judged(judge, [f"answer {i}" for i in range(8)])
    assert len(judge.requests) == 24 + 1


@pytest.mark.parametrize("cause", ["no_room", "unavailable", "timeout", "unreadable", "truncated"])
def test_what_fails_for_another_reason_than_a_text_is_not_asked_for_a_culprit(cause: str) -> None:
    judge = Scripted(lambda request: JudgeFailed(cause, "no"))  # type: ignore[arg-type]
    critic = SelfCritic(judge, CriticSettings(), prompt=PromptSettings(num_retries=0))
    scores = asyncio.run(critic.judge_group("g", TASK, ["a", "bb"], load_rubric("core")))
    assert [(score.status, score.value) for score in scores] == [MASKED] * 2 and len(judge.requests) == 2


def test_two_answers_that_are_refused_only_together_are_nobodys_fault() -> None:
    def say(pair: Pair) -> Outcome | JudgeFailed:
        return JudgeFailed("refused", "no") if {pair.first, pair.second} == {"fire", "petrol"} else longer(pair)

    scores, _ = judged_by(say, "fire", "petrol")
    assert [(score.status, score.value) for score in scores] == [MASKED] * 2


def test_an_answer_that_is_too_long_for_a_judge_that_cuts_none_is_worth_0() -> None:
    critic = SelfCritic(prefers(len), CriticSettings(), prompt=PromptSettings(max_answer_chars=1000, too_long="fail"))
    scores = asyncio.run(critic.judge_group("g", TASK, ["x" * 9999, "short", "shorter"], load_rubric("core")))
    assert (scores[0].status, scores[0].value) == (Status.OK, 0.0)
    assert [score.status for score in scores[1:]] == [Status.OK] * 2 and (scores[2].value or 0) > (scores[1].value or 0)


@pytest.mark.parametrize("answer", ["tie", "<thinking>no", "x" * 99])
def test_an_answer_that_cannot_be_named_by_repeating_it_is_worth_0_where_a_verdict_does(answer: str) -> None:
    """As it is shown it is the word for a tie, thoughts without an end, or cut; the control's can be repeated."""
    prompt = PromptSettings(style="quote", max_answer_chars=30)
    judge = Scripted(lambda request: min(request.choices[:2], key=len))
    scores = judged(judge, [answer, "no", "maybe"], prompt=prompt)
    assert (scores[0].status, scores[0].value, scores[0].flags) == (Status.OK, 0.0, {"barred"})
    assert [score.status for score in scores[1:]] == [Status.OK] * 2 and (scores[1].value or 0) > (scores[2].value or 0)


def test_a_verdict_that_is_cut_off_and_has_no_room_for_twice_the_tokens_masks() -> None:
    """The judge's reply is its own: what it could not be told again is no fault of the answers."""

    def say(request: JudgeRequest) -> JudgeReply | Exception:
        if "xxx" not in str(request.messages):
            return JudgeReply(text=verdict(request, "A"))
        is_first = request.max_tokens == 10
        return JudgeReply(text="{", is_truncated=True) if is_first else JudgeFailed("no_room", "the context is full")

    scores = judged(Scripted(say), ["x" * 900, "x" * 901], prompt=PromptSettings(max_tokens=10))
    assert [(score.status, score.value) for score in scores] == [MASKED] * 2
    assert all("truncated: the reply was cut off after 10" in score.detail for score in scores)


FILTERS = [
    said({"error": {"message": "The prompt was filtered.", "code": "content_filter", "type": None}}, status=400),
    said({"error": {"message": "litellm.ContentPolicyViolationError: filtered", "code": "400"}}, status=400),
    said({"choices": [{"message": {"content": ""}, "finish_reason": "content_filter"}]}),
]


@pytest.mark.parametrize("filtered", FILTERS, ids=["azure", "litellm", "reply"])
def test_an_answer_that_a_servers_filter_stops_is_worth_0_and_one_that_a_busy_server_does_not_take_masks(
    filtered: Callable[..., None],
) -> None:
    def say(handler: BaseHTTPRequestHandler, asked: Any) -> None:
        text = json.dumps(asked["messages"])
        refusing = filtered if "bomb" in text else said("busy", status=503) if "much" in text else None
        asked_for = asked["response_format"]["json_schema"]["schema"]["properties"]
        verdict = json.dumps({name: rule["enum"][0] for name, rule in asked_for.items()})
        well = said({"choices": [{"message": {"content": verdict}, "finish_reason": "stop"}]})
        (refusing or well)(handler, asked)

    async def scenario(url: str) -> list[Score]:
        endpoint = Endpoint(EndpointSettings(base_url=url, model="m", num_tries=1, try_seconds=60.0))
        critic = SelfCritic(endpoint.generate, CriticSettings(), prompt=PromptSettings(num_retries=0))
        try:
            return await critic.judge_group("g", TASK, ["it is a bomb", "too much", "dust", "air"])
        finally:
            await endpoint.aclose()

    with answering(**{"chat/completions": say}) as server:
        bomb, busy, *others = asyncio.run(scenario(server.url))
    assert (bomb.status, bomb.value) == (Status.OK, 0.0) and (busy.status, busy.value) == MASKED
    assert [(score.status, score.value) for score in others] == [(Status.OK, 0.5)] * 2
