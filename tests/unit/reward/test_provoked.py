"""An answer that no judge takes is worth 0, and nobody else pays for it; what is not the answer's fault masks."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler
from typing import Any

import pytest

from gyms.api import Score, Status, Task, message
from gyms.critic.verdict import Outcome
from reward.critic import CriticSettings, GroupCritic, SelfCritic
from reward.judges.api import JudgeFailed, Pair
from reward.judges.endpoint import Endpoint, EndpointSettings
from reward.judges.prompted import PromptSettings
from reward.rubric import load_rubric
from tests.answering import answering, said
from tests.unit.reward.scripted_judges import Scripted, Table, prefers

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
    found = [(score.status, score.value) for score in scores[1:-1]]
    assert found == [(Status.OK, score.value) for score in judged_by(longer, *well)[0]]
    assert metrics["judge/barred"] == 2 and metrics["judge/masked"] == 0


def test_a_question_that_is_refused_is_nobodys_fault() -> None:
    scores, metrics = judged_by(refuses("sky"), "a", "bb", "ccc")
    assert [(score.status, score.value) for score in scores] == [MASKED] * 3
    assert metrics["judge/barred"] == 0


@pytest.mark.parametrize("cause", ["unavailable", "timeout", "unreadable", "truncated"])
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
