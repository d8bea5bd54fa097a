"""Somebody in an environment whom a model plays: what it is asked, where its words go, whose fault its silence is."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from configs.schema import Config, TinyModelConfig
from gyms.api import Call, Services, Status, Task, Tool, Turn, message
from gyms.episodes.checks import play as played
from gyms.episodes.turns import turn_of_json
from gyms.mixture import EpisodeLimits, GymEntry
from gyms.tools.gym import Tools, ToolsSettings
from gyms.tools.user import question
from reward.judges.api import NoReply
from reward.rules import TruncationRule
from rl.collect import collect, sample_seed
from rl.partial import PartialGroup
from rl.personas import (
    MAX_ANSWER_CHARS,
    MAX_HEARD,
    MAX_QUESTION_CHARS,
    Personas,
    Question,
    check_endpoint,
    hear,
    longest_persona,
)
from rl.sample_rows import sample_rows
from rl.tiny_model import build_tiny_model
from rollout.chat import ChatFormat
from rollout.tool_calls import written
from rollout.types import FinishReason, Sample, SampleRequest, Segment
from tests.answering import Answering as Server
from tests.answering import answering
from tests.answering import said as says
from tests.unit.rl.test_episodes import InProcess, Scripted, said

ASK = Tool(
    name="ask",
    description="Asks.",
    parameters={"type": "object", "properties": {"question": {"type": "string"}}, "required": ["question"]},
    persona="You want a red bag.",
)
LOOK = replace(ASK, name="look", persona="")


class Answering:
    """Who plays personas, and what was asked of him."""

    def __init__(self, answer: Callable[[Question], str]) -> None:
        self.says, self.asked = answer, list[Question]()

    async def answer(self, question: Question) -> str:
        self.asked.append(question)
        return self.says(question)


def call(number: int, tool: str, text: str | None) -> Call:
    return Call(id=f"call_{number}", tool=tool, arguments=None if text is None else {"question": text})


def test_the_well_formed_calls_of_a_tool_with_a_persona_are_answered_and_no_others() -> None:
    calls = (call(0, "ask", "Which colour?"), call(1, "look", "?"), call(2, "ask", None), call(3, "ask", "x" * 9999))
    user = Answering(lambda asked: f"to {asked.id}")
    turn = Turn(text="Let me ask.", calls=calls)
    heard = asyncio.run(hear(user, turn, [ASK, LOOK], name="t", seed=lambda place: 10 + place))
    assert [one.heard for one in heard.calls] == ["to t/0", None, None, "to t/3"]
    assert replace(heard, calls=tuple(replace(one, heard=None) for one in heard.calls)) == turn
    assert user.asked[0] == Question(id="t/0", persona=ASK.persona, text="Which colour?", seed=10)
    assert user.asked[1].seed == 13 and len(user.asked[1].text) == MAX_QUESTION_CHARS
    assert asyncio.run(hear(user, turn, [LOOK], name="t", seed=int)) == turn and len(user.asked) == 2


def test_a_turns_questions_are_asked_at_once_and_those_behind_its_first_calls_hear_nothing() -> None:
    class AtOnce(Answering):
        async def answer(self, question: Question) -> str:
            await super().answer(question)
            await asyncio.sleep(0)  # the others ask
            return str(len(self.asked))

    user = AtOnce(lambda asked: "")
    calls = tuple(call(number, "look" if number == 1 else "ask", "?") for number in range(64))
    heard = asyncio.run(hear(user, Turn(text="", calls=calls), [ASK, LOOK], name="t", seed=int))
    said = [one.heard for one in heard.calls]
    assert MAX_HEARD == 8 and said[:8] == ["7", None, *["7"] * 6]
    assert said[8:] == [""] * 56, "and not None, which has the environment answer by itself"


# -- in episodes -------------------------------------------------------------------------------------------------------


class Asking(Scripted, Answering):
    """A policy that takes the gold turns of a task of the tool worlds, its questions twice, and plays the user."""

    def __init__(self, gym: Tools, answer: Callable[[Question], str]) -> None:
        Scripted.__init__(self, lambda k, turn: lines[turn])
        Answering.__init__(self, answer)
        task = open_task(gym)
        asks, *rest = gym.gold_turns(task)
        turns = [Turn(text="", calls=(*asks.calls, *asks.calls)), *rest]
        lines = [written(turn, gym.tools(task), tool_format="pythonic") for turn in turns]


def open_task(gym: Tools) -> Task:
    return next(task for task in gym.tasks("train") if len(task.data["withheld"]) == 1)


def told(gym: Tools, asked: Question) -> str:
    """What an honest user says, and how it was drawn."""
    return f"{open_task(gym).data['withheld'][0]['told']} ({asked.seed})"


@pytest.fixture
def gym() -> Tools:
    settings = ToolsSettings(user="model", dialects=False, fault_rate=0.0, num_train=100, num_heldout=20)
    return Tools(settings, Services())


def steps(gym: Tools, answer: Callable[[Question], str], *, segment_tokens: int | None = None):
    """Steps until nothing is carried any more, through JSON as in a checkpoint: the group, and who was asked what."""
    limits = EpisodeLimits(max_turns=20, max_tokens=20_000)
    entry = GymEntry(name="tools", gym=gym, share=1.0, budget=400, limits=limits)
    task, host, carried, asked = open_task(gym), InProcess(gym), (), []  # type: ignore[arg-type]
    draw = entry.draw(7, task, place=int(task.id.partition("/")[2]))
    for step in range(5, 30):
        policy = Asking(gym, answer)
        found = asyncio.run(
            collect(
                policy, host, [draw] if step == 5 else [], samples_per_prompt=2, temperature=0.9, seed=3, key=step,
                truncation=TruncationRule(), minimum=lambda gym: 0.0, carried=carried, segment_tokens=segment_tokens,
            )  # type: ignore[arg-type]
        )  # fmt: skip
        assert not host.open, "an episode was left open"
        asked += policy.asked
        if not found.carried:
            return found.groups[0], asked, step - 5
        carried = (PartialGroup.from_state(json.loads(json.dumps(found.carried[0].state_dict())), [entry]),)
    raise AssertionError("the episode never ends")


def test_what_the_user_said_is_observed_recorded_and_outside_of_the_loss(gym: Tools) -> None:
    group, asked, _ = steps(gym, lambda one: told(gym, one))
    assert [s.score.value for s in group.samples] == [1.0, 1.0]
    assert [one.id for one in asked if one.id.startswith("5/7/1")] == ["5/7/1/0/0", "5/7/1/0/1"]
    assert [one.seed for one in asked if one.id.startswith("5/7/1")] == [
        sample_seed(3, 5, 7, 1, 0, "persona", place) for place in (0, 1)
    ]
    gap = open_task(gym).data["withheld"][0]
    assert {one.text for one in asked} == {question(gap["topic"])} and gap["told"] in asked[0].persona
    first, observed, *_ = group.samples[0].sample.segments
    assert first.is_sampled and not observed.is_sampled
    words = [told(gym, one) for one in asked if one.id.startswith("5/7/0")]
    assert said(observed.token_ids) == "".join(f"{text}\n" for text in words)
    row = json.loads(json.dumps(sample_rows(5, [group])[0]))
    assert [one["heard"] for one in row["episode"]["turns"][0]["calls"]] == words
    assert all(f"<- {text}" in row["response"].splitlines() for text in words)


def test_a_stored_episode_is_replayed_with_what_was_said_and_asks_nobody(gym: Tools) -> None:
    group, _, _ = steps(gym, lambda one: told(gym, one))
    row = json.loads(json.dumps(sample_rows(5, [group])[1]))
    turns = [turn_of_json(turn) for turn in row["episode"]["turns"]]
    again = played(gym, open_task(gym), turns, seed=row["episode"]["seed"])
    assert [list(map(dict, reply.messages)) for reply in again.replies] == row["episode"]["replies"]
    assert again.score == group.samples[1].score


def test_an_episode_that_goes_on_in_later_steps_asks_nobody_again(gym: Tools) -> None:
    whole, asked, _ = steps(gym, lambda one: told(gym, one))
    group, again, num_pauses = steps(gym, lambda one: told(gym, one), segment_tokens=1)
    assert num_pauses > 0
    assert [s.sample for s in group.samples] == [s.sample for s in whole.samples]
    assert sorted(again, key=str) == sorted(asked, key=str)


@pytest.mark.parametrize("text", ["", " ", "ask_user(question='?')", "<|im_end|>\x00", "no " * 40, "It is at"])
def test_whatever_the_model_says_is_a_text_like_any_other(gym: Tools, text: str) -> None:
    group, asked, _ = steps(gym, lambda one: text)
    assert all(s.score.status is Status.OK for s in group.samples) and len(asked) == 4
    assert said(group.samples[0].sample.segments[1].token_ids) == f"{text}\n{text}\n"


def test_a_model_that_cannot_be_asked_masks_the_episode_and_says_why(gym: Tools) -> None:
    def away(asked: Question) -> str:
        if asked.id.startswith("5/7/0"):
            raise NoReply("unavailable", "no answer within 60 s")
        return told(gym, asked)

    group, _, _ = steps(gym, away)
    lost, other = group.samples
    assert lost.score.status is Status.VERIFIER_ERROR and lost.reward.is_masked
    assert "'tools'" in lost.score.detail and "no answer within 60 s" in lost.score.detail
    assert len(lost.sample.turns) == 1 and lost.sample.finish_reason is FinishReason.STOP
    assert other.score.value == 1.0, "its sibling goes on"
    (row, _) = sample_rows(5, [group])
    assert row["is_masked"] and row["detail"] == lost.score.detail


# -- who plays them ----------------------------------------------------------------------------------------------------


class Engine:
    """Says "red", is cut off there, and notes what it was asked."""

    def __init__(self) -> None:
        self.requests: list[SampleRequest] = []

    async def sample(self, request: SampleRequest, *, group: str) -> Sample:
        self.requests.append(request)
        segment = Segment(token_ids=(2, 0), logprobs=(-0.1, -0.1), weight_version=0, temperature=request.temperature)
        return Sample(
            id=request.id, prompt_ids=request.prompt_ids, segments=(segment,), finish_reason=FinishReason.LENGTH,
            text="red",
        )  # fmt: skip


@pytest.fixture(scope="module")
def chat(tmp_path_factory: pytest.TempPathFactory) -> ChatFormat:
    folder: Path = tmp_path_factory.mktemp("personas") / "model"
    alphabet = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ.,?\n "
    shape = TinyModelConfig(hidden_size=32, num_layers=1, num_heads=1, intermediate_size=32, alphabet=alphabet)
    build_tiny_model(folder, shape, context_length=32, seed=0)
    return ChatFormat(folder, use_template=False)


def config_of(*, context_length: int = 512, **persona: object) -> Config:
    return Config.model_validate(
        {
            "model": {"source": "tiny", "context_length": context_length},
            "rollout": {"max_prompt_tokens": 50},
            "gyms": [{"name": "arithmetic", "budget": 50}],
            "persona": persona,
        }
    )


ASKED = Question(id="5/7/0/1/0", persona="You want a red bag.", text="Which colour?", seed=11)


def test_the_policy_is_asked_with_the_personas_budget_and_temperature(chat: ChatFormat) -> None:
    engine, personas = Engine(), Personas(config_of(max_tokens=9, temperature=0.5))
    assert asyncio.run(personas.answer(ASKED, engine, chat)) == "red", "cut off at its budget, and said all the same"
    (request,) = engine.requests
    assert chat.decode(request.prompt_ids) == "You want a red bag.\n\nWhich colour?"
    assert (request.budget, request.temperature, request.seed) == (9, 0.5, 11)
    assert request.id == "persona/5/7/0/1/0"


def test_a_persona_may_be_as_long_as_leaves_room_for_its_answer_where_the_context_is_known() -> None:
    assert longest_persona(config_of(context_length=120, max_tokens=100)) == 20
    where = {"base_url": "http://127.0.0.1:9/v1", "model": "m"}
    assert longest_persona(config_of(source="endpoint", endpoint=where)) is None


def test_a_question_that_leaves_no_room_for_an_answer_hears_nothing(chat: ChatFormat) -> None:
    engine, tight = Engine(), Personas(config_of(context_length=121, max_tokens=100))
    assert asyncio.run(tight.answer(ASKED, engine, chat)) == "" and not engine.requests


def test_the_policy_plays_somebody_without_the_runs_system_prompt(
    chat: ChatFormat, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(chat, "use_template", True)
    monkeypatch.setattr(chat.tokenizer, "chat_template", "{% for m in messages %}{{ m.content }}.{% endfor %}")
    monkeypatch.setattr(chat, "system_prompt", "Think.")
    engine = Engine()
    asyncio.run(Personas(config_of()).answer(ASKED, engine, chat))
    (request,) = engine.requests
    assert chat.decode(request.prompt_ids) == "You want a red bag.\n\nWhich colour?."
    assert chat.decode(chat.prompt_ids([message("user", "Hi")])) == "Think..Hi.", "which it has else"


def completion(content: str | None, **choice: object) -> dict[str, object]:
    return {"choices": [{"message": {"content": content}, "finish_reason": "stop", **choice}]}


def asked_of(server: AbstractContextManager[Server], **where: object) -> tuple[str, list[tuple[str, Any]]]:
    """What an endpoint's model says, and what the server was asked."""

    async def scenario(url: str) -> str:
        endpoint = {"base_url": url, "model": "m", "try_seconds": 30.0, "num_tries": 1, **where}
        personas = Personas(config_of(source="endpoint", endpoint=endpoint, max_tokens=9))
        try:
            return await personas.answer(ASKED, Engine(), None)  # type: ignore[arg-type]
        finally:
            await personas.aclose()

    with server as found:
        return asyncio.run(scenario(found.url)), found.asked


@pytest.mark.parametrize(
    ("reply", "text"),
    [
        (completion("A red one."), "A red one."),
        (completion("A red", finish_reason="length"), "A red"),
        (completion("half \ud83d pair"), "half ? pair"),
        (completion("x" * 99_999), "x" * MAX_ANSWER_CHARS),
        (completion(None), ""),
        (completion("", finish_reason="content_filter"), ""),
    ],
)
def test_an_endpoints_words_are_a_text_and_where_it_refuses_it_says_nothing(reply: object, text: str) -> None:
    heard, asked = asked_of(answering(**{"chat/completions": says(reply)}))
    assert heard == text
    ((_, body),) = asked
    assert body["messages"] == [{"role": "user", "content": "You want a red bag.\n\nWhich colour?"}]
    assert (body["max_tokens"], body["temperature"], body["seed"]) == (9, 1.0, 11)


@pytest.mark.parametrize(
    "error", [{"message": "filtered", "code": "content_filter"}, {"message": "maximum context length is 4096 tokens"}]
)
def test_a_question_that_an_endpoint_will_not_take_hears_nothing(error: object) -> None:
    heard, asked = asked_of(answering(**{"chat/completions": says({"error": error}, status=400)}))
    assert heard == "" and len(asked) == 1


def test_an_endpoint_that_is_busy_is_ours() -> None:
    with pytest.raises(NoReply, match="unavailable: 1 tries, the last: HTTP 503"):
        asked_of(answering(**{"chat/completions": says("busy", status=503)}))


def test_an_endpoint_without_an_address_or_a_key_is_refused_before_anything_starts(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with pytest.raises(ValueError, match=r"needs persona\.endpoint\.base_url and persona\.endpoint\.model"):
        config_of(source="endpoint")
    monkeypatch.delenv("NO_SUCH_KEY", raising=False)
    where = {"base_url": "http://127.0.0.1:9/v1", "model": "m", "key_env": "NO_SUCH_KEY"}
    with pytest.raises(ValueError, match="NO_SUCH_KEY is not set"):
        check_endpoint(config_of(source="endpoint", endpoint=where))
    check_endpoint(config_of(endpoint=where))  # the policy plays
