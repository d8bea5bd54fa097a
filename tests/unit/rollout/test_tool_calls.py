"""Tool calls: each format reads what it writes, refuses what it cannot read, and survives any text in linear time."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gyms.api import Call, Tool, Turn
from rollout.tool_calls import FORMATS, MAX_CALLS, format_of_template, read_turn, tools_as_text, written
from tests.growth import grows_linearly

NUMBER = {"type": "integer"}
ADD = Tool(
    name="add",
    description="Adds two whole numbers.",
    parameters={"type": "object", "properties": {"a": NUMBER, "b": NUMBER}, "required": ["a", "b"]},
)
SAY = Tool(
    name="add_note",
    description="Keeps a text.",
    parameters={"type": "object", "properties": {"text": {"type": "string"}}, "required": ["text"]},
)
TOOLS = (ADD, SAY)


def read(text: str, tool_format: str, *, number: int = 0) -> Turn:
    return read_turn(text, TOOLS, tool_format=tool_format, number=number)


@pytest.mark.parametrize(
    ("tool_format", "said"),
    [(name, said) for name in FORMATS for said in ("", "I add.") if not (said and name == "llama3_json")],
)
def test_every_format_reads_what_it_writes(tool_format: str, said: str) -> None:
    calls = (
        Call(id="call_3_0", tool="add", arguments={"a": 17, "b": -25}),
        Call(id="call_3_1", tool="add_note", arguments={"text": 'it\'s ("8")\n</tool_call >'}),
    )
    turn = Turn(text=said, calls=calls)
    assert read(written(turn, TOOLS, tool_format=tool_format), tool_format, number=3) == turn


@pytest.mark.parametrize(
    ("tool_format", "text"),
    [
        ("hermes", '<tool_call>{"name": "add", "arguments": {"a": 1, "b": 2}}</tool_call>'),
        ("hermes", 'so\n<tool_call>\n{"name": "add", "arguments": "{\\"a\\": 1, \\"b\\": 2}"}\n</tool_call>\nok'),
        ("hermes", '<tool_call>{"name": "add", "arguments": {"a": 1, "b": 2}}'),
        ("hermes", '<think><tool_call>{"name": "add_note"}</tool_call></think><tool_call>{"name": "add", "arguments": '
         '{"a": 1, "b": 2}}</tool_call>'),
        ("kimi_k2", '<|tool_calls_section_begin|><|tool_call_begin|>functions.add:7<|tool_call_argument_begin|>'
         '{"a": 1, "b": 2}<|tool_call_end|><|tool_calls_section_end|>'),
        ("llama3_json", '<|python_tag|>{"name": "add", "parameters": {"a": 1, "b": 2}}'),
        ("pythonic", "add(1,2)"),
        ("pythonic", "I call [add(a=1, b=2)]"),
        ("pythonic", "add(1, b=2"
         ")"),
    ],
)  # fmt: skip
def test_a_call_is_read(tool_format: str, text: str) -> None:
    (call,) = read(text, tool_format).calls
    assert (call.tool, call.arguments, call.problem) == ("add", {"a": 1, "b": 2}, "")


@pytest.mark.parametrize(
    ("tool_format", "text", "tool"),
    [
        ("hermes", "<tool_call>add 1 and 2</tool_call>", ""),
        ("hermes", '<tool_call>{"name": "add", "arguments": [1, 2]}</tool_call>', ""),
        ("hermes", '<tool_call>{"name": "add", "arguments": {"a": 1}}</tool_call>', "add"),
        ("hermes", '<tool_call>{"name": "sub", "arguments": {"a": 1, "b": 2}}</tool_call>', "sub"),
        ("hermes", "<tool_call>" + '{"a":' * 100_000, ""),
        ("kimi_k2", '<|tool_call_begin|>add{"a": 1}<|tool_call_end|>', ""),
        ("kimi_k2", "<|tool_call_begin|>functions.add:0<|tool_call_argument_begin|>{", "add"),
        ("llama3_json", '{"name": "add", "parameters": {"a": 1, "b": ', ""),
        ("hermes", '<tool_call>{"name": "add_note", "arguments": {"text": "\\ud800"}}</tool_call>', "add_note"),
        ("hermes", '<tool_call>{"name": "\\ud800", "arguments": {}}</tool_call>', ""),
        ("pythonic", "add_note('\\ud800 \u00e9')", "add_note"),
        ("pythonic", "add(1, 2", ""),
        ("pythonic", "add(1, 2, 3)", ""),
        ("pythonic", "add(1, a=1)", ""),
        ("pythonic", "add(a, b)", ""),
        ("pythonic", "add(*[1, 2])", ""),
        ("pythonic", "add(1, 'x')", "add"),
        ("pythonic", "add(" + "[" * 4000 + ")", ""),
    ],
    ids=str,
)
def test_a_call_that_cannot_be_read_is_one_without_arguments_and_says_why(
    tool_format: str, text: str, tool: str
) -> None:
    (call,) = read(text, tool_format).calls
    assert (call.tool, call.arguments) == (tool, None) and call.problem


def test_what_is_no_call_is_text() -> None:
    assert read("badd(1,2) and f(x)", "pythonic") == Turn(text="badd(1,2) and f(x)")
    assert read("17 + 25 = 42", "llama3_json") == Turn(text="17 + 25 = 42")
    assert read("<think>never closed <tool_call>", "hermes") == Turn(text="")
    assert read_turn("add(1,2)", (), tool_format="pythonic", number=0) == Turn(text="add(1,2)")


@pytest.mark.parametrize("tool_format", ["hermes", "kimi_k2", "pythonic"])
def test_a_turn_has_a_limited_number_of_calls(tool_format: str) -> None:
    one = written(
        Turn(text="", calls=(Call(id="", tool="add", arguments={"a": 1, "b": 2}),)), TOOLS, tool_format=tool_format
    )
    calls = read(one * (MAX_CALLS + 9), tool_format).calls
    assert len(calls) == MAX_CALLS + 1 and "at most" in calls[-1].problem
    assert all(call.arguments for call in calls[:-1])


@pytest.mark.parametrize("tool_format", FORMATS)
@given(text=st.text() | st.lists(st.sampled_from(
    ["<tool_call>", "</tool_call>", '{"name": "add", ', '"arguments": {', "}", "add(", "1,", ")", "'", '"', "\\", "\n",
     "<|tool_call_begin|>", "<|tool_call_argument_begin|>", "<|tool_call_end|>", ";", "\ud800", "\x00"]
)).map("".join))  # fmt: skip
def test_no_text_raises(tool_format: str, text: str) -> None:
    turn = read(text, tool_format)
    assert len({call.id for call in turn.calls}) == len(turn.calls)
    assert all((call.arguments is None) == bool(call.problem) for call in turn.calls)


@pytest.mark.parametrize("tool_format", FORMATS)
@pytest.mark.parametrize(
    "unit", ["<tool_call>", "<|tool_call_begin|>", "add(", "add('", "add(\" add(' ", '{"name":', "{};", "a", "<think>"]
)
def test_reading_takes_linear_time(tool_format: str, unit: str) -> None:
    assert grows_linearly(lambda text: read(text, tool_format), unit, size=4_000)


@pytest.mark.parametrize(
    ("template", "tool_format"),
    [
        (None, "pythonic"),
        ("{% for m in messages %}{{ m.content }}{% endfor %}", "hermes"),
        ("... <tool_call>\\n{{ call }} ...", "hermes"),
        ("... <|tool_call_begin|>{{ id }} ...", "kimi_k2"),
        ("... <|python_tag|> ...", "llama3_json"),
    ],
)
def test_the_format_is_found_in_the_template(template: str | None, tool_format: str) -> None:
    assert format_of_template(template) == tool_format


@pytest.mark.parametrize("tool_format", FORMATS)
def test_the_text_that_shows_tools_names_each_and_gives_an_example_in_the_format(tool_format: str) -> None:
    text = tools_as_text(TOOLS, tool_format=tool_format)
    assert '"add"' in text and '"add_note"' in text and "Adds two whole numbers." in text
    example = text.partition("A call is written like this: ")[2].partition(" The result comes")[0]
    (call,) = read(example, tool_format).calls
    assert call.tool == "add"
