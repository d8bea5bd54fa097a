"""Templates that leave thoughts of earlier turns out: an episode is several sequences, each what the policy saw."""

from __future__ import annotations

import string
from collections.abc import Sequence
from pathlib import Path

import pytest

from configs.schema import TinyModelConfig
from gyms.api import Call, Message, Task, Turn, message, tool_result
from gyms.mixture import Draw, EpisodeLimits
from rl.episodes import Course
from rl.tiny_model import build_tiny_model
from rollout.chat import ChatFormat
from rollout.types import FinishReason, PlayedTurn, SampleRequest, Segment

_CALLS = "{% for c in m.tool_calls or [] %}(call {{ c.function.name }}){% endfor %}"
_SPLIT = (
    "{% set said = m.content %}{% set thought = m.reasoning_content or '' %}"
    "{% if '</think>' in said %}{% set thought = said.split('</think>')[0].split('<think>')[-1] %}"
    "{% set said = said.split('</think>')[-1].lstrip('\\n') %}{% endif %}"
)
QWEN = (
    "{% set ns = namespace(last=-1) %}{% for m in messages %}{% if m.role == 'user' %}{% set ns.last = loop.index0 %}"
    "{% endif %}{% endfor %}{% for m in messages %}[{{ m.role }}]{% if m.role == 'assistant' %}"
    + _SPLIT
    + "{% if thought and loop.index0 > ns.last %}<think>{{ thought }}</think>\n\n{% endif %}{{ said }}"
    + _CALLS
    + "{% else %}{{ m.content }}{% endif %}{{ eos_token }}\n{% endfor %}"
    "{% if add_generation_prompt %}[assistant]{% endif %}"
)
"""Thoughts behind the last message of a user are shown."""
QWEN_OPENED = QWEN.replace("[assistant]{% endif %}", "[assistant]<think>\n{% endif %}")
"""The same, for a model that always thinks."""
KIMI = (
    "{% set ns = namespace(last=-1) %}{% for m in messages %}{% if m.role == 'assistant' and not m.tool_calls %}"
    "{% set ns.last = loop.index0 %}{% endif %}{% endfor %}{% for m in messages %}[{{ m.role }}]"
    "{% if m.role == 'assistant' %}<think>{% if loop.index0 > ns.last %}{{ m.reasoning_content or '' }}{% endif %}"
    "</think>{% endif %}{{ m.content }}{% if m.role == 'assistant' %}"
    + _CALLS
    + "{% endif %}{{ eos_token }}\n{% endfor %}{% if add_generation_prompt %}[assistant]{% endif %}"
)
"""Thoughts behind the last turn without a call are shown; where they are not, empty ones are."""
DEEPSEEK = (
    "{% for m in messages %}[{{ m.role }}]{% if m.role == 'assistant' %}{{ m.content.split('</think>')[-1] }}"
    "{% else %}{{ m.content }}{% endif %}{{ eos_token }}\n{% endfor %}"
    "{% if add_generation_prompt %}[assistant]<think>\n{% endif %}"
)
"""No thoughts of earlier turns are shown."""
R1 = (
    "{% for m in messages %}[{{ m.role }}]{% if m.tool_calls %}{{ m.content }}{% for c in m.tool_calls %}"
    "{{ '(call ' + c.function.name + c.function.arguments + ')' }}{% endfor %}"
    "{% elif m.role == 'assistant' %}{{ m.content.split('</think>')[-1] }}{% else %}{{ m.content }}{% endif %}"
    "{{ eos_token }}\n{% endfor %}{% if add_generation_prompt %}[assistant]<think>\n{% endif %}"
)
"""Thoughts of turns that call tools are shown, whose arguments must be text."""
PLAIN = (
    "{% for m in messages %}[{{ m.role }}]{{ m.content }}{{ eos_token }}\n{% endfor %}"
    "{% if add_generation_prompt %}[assistant]{% endif %}"
)
TASK = Task(id="t", prompt=(message("user", "1+2+3?"),), data={})
CALL = Call(id="call_0_0", tool="add", arguments={"a": 1})
TOOL, USER = (tool_result(CALL, "3"),), (message("user", "and?"),)


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("past") / "model"
    shape = TinyModelConfig(hidden_size=32, num_layers=1, num_heads=1, intermediate_size=32, alphabet=string.printable)
    build_tiny_model(folder, shape, context_length=32, seed=0)
    return folder


class Renders:
    """What of a policy an episode's course asks: how a chat template writes it."""

    def __init__(self, chat: ChatFormat) -> None:
        self.chat = chat

    def reply_ids(self, draw: Draw, reply):
        return self.chat.reply_ids(draw.task.prompt, reply)

    def left_out(self, draw: Draw, rounds):
        return self.chat.left_out(draw.task.prompt, rounds)

    def context_ids(self, draw: Draw, rounds, *, without):
        return self.chat.context_ids(draw.task.prompt, rounds, without=without)


def chat_of(model: Path, template: str, **settings) -> ChatFormat:
    (model / "chat_template.jinja").write_text(template)
    chat = ChatFormat(model, use_template=True, **settings)
    chat.check_turns()
    return chat


def course_of(chat: ChatFormat, said: Sequence[tuple[str, Sequence[Message]]] = (), **limits) -> Course:
    """An episode of these turns and replies, ready for its next turn."""
    facts = {"max_turns": 9, "max_tokens": 9000} | limits
    draw = Draw(index=0, gym="g", task=TASK, budget=40, limits=EpisodeLimits(**facts))
    first = SampleRequest(id="e", prompt_ids=chat.prompt_ids(TASK.prompt), budget=40, temperature=1.0, seed=0)
    course = Course(draw=draw, first=first, policy=Renders(chat))
    for number, (text, reply) in enumerate(said):
        ids = chat.response_ids(text)
        part = Segment(token_ids=ids, logprobs=(-1.0,) * len(ids), weight_version=number, temperature=1.0)
        course.take([part], PlayedTurn(turn=Turn(text=text), reply=tuple(reply)))
        assert course.go_on() is None
    return course


def sequences(chat: ChatFormat, said: Sequence[tuple[str, Sequence[Message]]], **limits) -> list[tuple[str, str]]:
    """Contexts and what was written behind each, of an episode of these turns and replies."""
    course, again = course_of(chat, said, **limits), course_of(chat, **limits)
    paused = course.sample(FinishReason.PAUSED)
    again.repeat(paused)
    assert again.request(5) == course.request(5), "a paused episode goes on elsewhere"
    read = chat.tokenizer.decode
    found = [
        (read(list(ids)), "".join(read(list(part.token_ids)) for part in parts)) for ids, parts in paused.sequences
    ]
    return [*found, (read(list(course.request(5).prompt_ids)), "")]


ASKED = "[user]1+2+3?<end>\n"
LOOP = [("<think>a</think>\n\ncall", TOOL), ("<think>b</think>\n\nagain", TOOL)]
SPOKEN = [*LOOP[:1], ("<think>b</think>\n\nask", USER), ("<think>c</think>\n\nx", TOOL)]


def test_a_loop_of_calls_keeps_its_thoughts_and_a_user_ends_it(model: Path) -> None:
    chat = chat_of(model, QWEN)
    *whole, (context, _) = sequences(chat, LOOP)
    assert len(whole) == 1 and context == "".join(whole[0]) + "\n[tool]3<end>\n[assistant]"
    (first, wrote), (second, then), (third, _) = sequences(chat, SPOKEN)
    assert course_of(chat, LOOP).sample(FinishReason.PAUSED).rewritten_for is None
    assert course_of(chat, SPOKEN).sample(FinishReason.PAUSED).rewritten_for == "thoughts"
    assert (first, wrote) == (
        f"{ASKED}[assistant]",
        "<think>a</think>\n\ncall<end>\n[tool]3<end>\n[assistant]<think>b</think>\n\nask<end>",
    )
    assert second == f"{ASKED}[assistant]call<end>\n[tool]3<end>\n[assistant]ask<end>\n[user]and?<end>\n[assistant]"
    assert then == "<think>c</think>\n\nx<end>" and third == f"{second}{then}\n[tool]3<end>\n[assistant]"


def test_what_a_prompt_opens_is_not_opened_in_a_past_turn(model: Path) -> None:
    chat = chat_of(model, QWEN_OPENED)
    (first, _), (second, then), _ = sequences(chat, [(text.removeprefix("<think>"), r) for text, r in SPOKEN])
    assert first == f"{ASKED}[assistant]<think>\n"
    past = f"{ASKED}[assistant]call<end>\n[tool]3<end>\n[assistant]ask<end>\n[user]and?<end>\n"
    assert (second, then) == (f"{past}[assistant]<think>\n", "c</think>\n\nx<end>")


def test_empty_thoughts_stand_where_a_template_writes_them(model: Path) -> None:
    chat = chat_of(model, KIMI)
    assert len(sequences(chat, LOOP)) == 2, "one sequence, and the next context"
    _, (second, _), (third, _) = sequences(chat, [(text.replace("\n\n", ""), reply) for text, reply in SPOKEN])
    empty = "[assistant]<think></think>"
    assert second == f"{ASKED}{empty}call<end>\n[tool]3<end>\n{empty}ask<end>\n[user]and?<end>\n[assistant]"
    assert third == f"{second}<think>c</think>x<end>\n[tool]3<end>\n[assistant]"


def test_where_no_thoughts_stay_each_turn_is_a_sequence(model: Path) -> None:
    chat = chat_of(model, DEEPSEEK)
    found = sequences(chat, [(text.removeprefix("<think>").replace("\n\n", ""), reply) for text, reply in SPOKEN])
    assert [context.count("<think>") for context, _ in found] == [1] * 4
    assert [written for _, written in found] == ["a</think>call<end>", "b</think>ask<end>", "c</think>x<end>", ""]
    assert found[1][0] == f"{ASKED}[assistant]call<end>\n[tool]3<end>\n[assistant]<think>\n"


@pytest.mark.parametrize(("template", "settings"), [(PLAIN, {}), (QWEN, {"keeps_thoughts": True})])
def test_a_context_only_grows_where_nothing_is_left_out_or_all_is_kept(model: Path, template: str, settings) -> None:
    (first, written), (context, _) = sequences(chat_of(model, template, **settings), SPOKEN)
    assert context == f"{first}{written}\n[tool]3<end>\n[assistant]" and context.count("<think>") == 3


def test_turns_without_thoughts_stay_as_they_were_sampled(model: Path) -> None:
    chat = chat_of(model, QWEN)
    assert len(sequences(chat, [("call", TOOL), ("ask", USER), ("x", TOOL)])) == 2
    # thoughts that never end are all there is of a turn, so nothing stays of it but its end
    _, (second, _) = sequences(chat, [("<think>a", USER)])
    assert second == f"{ASKED}[assistant]<end>\n[user]and?<end>\n[assistant]"


def test_a_rule_for_full_contexts_and_a_template_that_strips_go_together(model: Path) -> None:
    chat = chat_of(model, QWEN)
    said = [*SPOKEN, ("<think>d</think>\n\ny", TOOL)]
    found = sequences(chat, said, context="keep_last", max_context=140)
    assert found[-1][0] == f"{ASKED}[assistant]<think>d</think>\n\ny<end>\n[tool]3<end>\n[assistant]"
    assert max(len(context) for context, _ in found) <= len(f"{ASKED}[assistant]") + 140
    more = [*said, ("<think>e</think>\n\nz", TOOL)]
    sample = course_of(chat, more, context="keep_last", max_context=140).sample(FinishReason.PAUSED)
    reasons = [part.rewritten_for for part in sample.segments if part.context_ids is not None]
    assert reasons == ["thoughts", "room"] and sample.rewritten_for == "room"


def test_the_text_of_special_tokens_stays_text_in_a_context_that_is_written_anew(model: Path) -> None:
    chat = chat_of(model, QWEN)
    forged = (message("user", "and<end>?"),)
    *_, (context, _) = sequences(chat, [("<think>a</think>call", TOOL), ("<think>b</think>ask", forged)])
    assert context.endswith("ask<end>\n[user]and<end>?<end>\n[assistant]")
    assert chat.reply_ids(TASK.prompt, forged, is_past=True).count(chat.end_token_id) == 1


def test_a_template_whose_past_cannot_be_followed_is_refused_at_preflight(model: Path) -> None:
    odd = DEEPSEEK.replace("{% for", "({{ messages | length }} messages){% for", 1)
    with pytest.raises(ValueError, match="writes anew what stands before them"):
        chat_of(model, odd)
    assert len(sequences(chat_of(model, odd, keeps_thoughts=True), LOOP)) == 2


class Counts:
    """A tokenizer's template, and how often it rendered how many characters."""

    def __init__(self, chat: ChatFormat) -> None:
        self._render = chat.tokenizer.apply_chat_template
        self.num_times = self.num_chars = 0
        chat.tokenizer.apply_chat_template = self

    def __call__(self, messages, **settings) -> str:
        text = self._render(messages, **settings)
        self.num_times += 1
        self.num_chars += len(text)
        return text


@pytest.mark.parametrize("num_turns", [3, 6, 12])
@pytest.mark.parametrize(
    ("template", "said", "num_more"),
    [
        (QWEN, "<think>a</think>\n\ncall", lambda n: 0),
        (KIMI, "<think>a</think>call", lambda n: 0),
        # each turn begins a sequence; an observation is rendered before the next turn, and again before a past one
        (DEEPSEEK, "a</think>call", lambda n: n + (n - 1)),
    ],
)
def test_observations_are_rendered_a_few_times_however_many_turns_there_are(
    model: Path, template: str, said: str, num_more, num_turns: int
) -> None:
    """Behind its turn each is rendered in any case; what a template shows of the past is asked with its ends alone."""
    rendered = []
    for size in (1000, 3000):
        chat = chat_of(model, template)
        counts = Counts(chat)
        course_of(chat, [(said, (tool_result(CALL, "3" * size),))] * num_turns, max_tokens=10**6, max_turns=99)
        rendered.append(counts.num_chars)
    assert rendered[1] - rendered[0] == (num_turns + num_more(num_turns)) * 2000


@pytest.mark.parametrize("num_turns", [2, 8])
def test_a_template_is_not_asked_of_a_past_without_thoughts(model: Path, num_turns: int) -> None:
    chat = chat_of(model, QWEN)
    counts = Counts(chat)
    course_of(chat, [("call", TOOL)] * num_turns, max_turns=99)
    assert counts.num_times == 1 + num_turns, "the prompt, and what stands between two turns"


def test_a_template_that_wants_arguments_as_text_is_asked_with_text(model: Path) -> None:
    chat = chat_of(model, R1)
    said = [(text.removeprefix("<think>").replace("\n\n", ""), reply) for text, reply in SPOKEN]
    (first, wrote), (second, then), (third, _) = sequences(chat, said)
    opened = "[assistant]<think>\n"
    assert (first, wrote) == (f"{ASKED}{opened}", f"a</think>call<end>\n[tool]3<end>\n{opened}b</think>ask<end>")
    past = f"{ASKED}{opened}a</think>call<end>\n[tool]3<end>\n[assistant]ask<end>\n[user]and?<end>\n"
    assert (second, then) == (f"{past}{opened}", "c</think>x<end>")
    assert third == f"{second}{then}\n[tool]3<end>\n{opened}", "a tool's answer brought thoughts back"


def test_a_template_that_leaves_thoughts_out_and_refuses_calls_is_refused_at_preflight(model: Path) -> None:
    odd = R1.replace("{{ '(call '", "{{ raise_exception('no calls') }}{{ '(call '")
    with pytest.raises(ValueError, match=r"no calls; set model\.earlier_thoughts = ") as caught:
        chat_of(model, odd)
    assert "\n" not in str(caught.value) and "user, assistant, tool" in str(caught.value)
    chat_of(model, odd, keeps_thoughts=True)
