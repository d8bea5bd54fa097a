"""Turns, replies, calls: read from hostile text, checked, answered; and one-turn gyms as environments."""

from __future__ import annotations

import json
import pickle
import subprocess
import sys
from collections.abc import Mapping
from typing import Any

import pytest

from gyms.api import Call, Reply, Score, Services, Status, Tool, Turn, message, refusal, tool_result
from gyms.arithmetic.gym import Arithmetic, ArithmeticSettings, make_task
from gyms.episodes.arguments import MAX_DEPTH, check_tools, read_call
from gyms.episodes.episode import unanswered
from gyms.load import load_gym
from gyms.one_turn import load_one_turn
from gyms.response import Response

ADD = Tool(
    name="add",
    description="Adds two whole numbers.",
    parameters={
        "type": "object",
        "properties": {"a": {"type": "integer"}, "b": {"type": "integer"}},
        "required": ["a", "b"],
        "additionalProperties": False,
    },
)
FREE = Tool(name="note", description="Keeps anything.", parameters={"type": "object"})


def read(arguments: str | Mapping[str, Any], tool: str = "add") -> Call:
    return read_call([ADD, FREE], call_id="call_0", tool=tool, arguments=arguments)


@pytest.mark.parametrize("arguments", ['{"a": 17, "b": 25}', {"a": 17, "b": 25}])
def test_arguments_that_fit_the_schema_arrive_as_they_are(arguments: str | Mapping[str, Any]) -> None:
    assert read(arguments) == Call(id="call_0", tool="add", arguments={"a": 17, "b": 25})


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        ("", "not JSON"),
        ("17, 25", "not JSON"),
        ("null", "None is not of type 'object'"),
        ("[17, 25]", "[17, 25] is not of type 'object'"),
        ('{"a": 17}', "'b' is a required property"),
        ('{"a": 17, "b": "25"}', "arguments['b']: '25' is not of type 'integer'"),
        ('{"a": 17, "b": 2.5}', "arguments['b']: 2.5 is not of type 'integer'"),
        ('{"a": 17, "b": 25, "c": 1}', "'c' was unexpected"),
        ('{"a": 17, "b": NaN}', "NaN is not a number"),
        ('{"a": 17, "b": 1e999}', "too large"),
        ('{"a": 17, "b": ' + "9" * 5000 + "}", "not JSON"),
        ("[" * 100_000, "not JSON"),
        ({"a": {1, 2}, "b": 25}, "not JSON"),
        ({"a": float("nan"), "b": 25}, "not JSON"),
    ],
)
def test_arguments_that_do_not_fit_are_none_with_the_reason(arguments: Any, problem: str) -> None:
    call = read(arguments)
    assert call.arguments is None
    assert problem in call.problem
    assert len(call.problem) <= 300 and "\n" not in call.problem


def test_a_call_of_a_tool_that_there_is_not_names_those_that_there_are() -> None:
    call = read("{}", tool="ad\nd")
    assert call.arguments is None
    assert call.problem == r"there is no tool 'ad\nd'; tools: add, note"
    assert refusal(call, [ADD, FREE])["content"] == r"Error: there is no tool 'ad\nd'. Tools: add, note."


def test_a_call_that_names_no_tool_is_told_what_was_wrong_with_it() -> None:
    call = Call(id="call_0", tool="", arguments=None, problem="the call cannot be read; write it like this: add(1, 2)")
    assert refusal(call, [ADD])["content"] == f"Error: {call.problem}."


def test_a_whole_number_that_no_float_holds_does_not_break_a_schema_that_divides() -> None:
    halves = {"type": "object", "properties": {"n": {"type": "number", "multipleOf": 0.5}}}
    tool = Tool(name="t", description="", parameters=halves)
    assert read_call([tool], call_id="c", tool="t", arguments='{"n": 2.5}').arguments == {"n": 2.5}
    huge = read_call([tool], call_id="c", tool="t", arguments='{"n": 1' + "0" * 400 + "}")
    assert huge.arguments is None and "too large" in huge.problem


def test_a_long_name_of_a_tool_is_cut_before_anybody_repeats_it() -> None:
    call = read("{}", tool="x" * 1_000_000)
    assert call.tool == "x" * 100
    assert len(refusal(call, [ADD])["content"]) < 200


def test_nesting_is_read_to_its_limit_and_no_deeper() -> None:
    def nested(depth: int) -> str:
        return '{"x":' * depth + "1" + "}" * depth

    assert read(nested(MAX_DEPTH), tool="note").arguments is not None
    assert "deep" in read(nested(MAX_DEPTH + 1), tool="note").problem


def test_a_default_of_the_schema_is_not_filled_in() -> None:
    tool = Tool(name="t", description="", parameters={"type": "object", "properties": {"n": {"default": 3}}})
    assert read_call([tool], call_id="c", tool="t", arguments="{}").arguments == {}


def test_a_refusal_says_what_was_wrong_and_what_the_tool_takes() -> None:
    call = read('{"a": 17}')
    assert refusal(call, [ADD]) == {
        "role": "tool",
        "tool_call_id": "call_0",
        "name": "add",
        "content": "Error: 'b' is a required property. add takes a (integer), b (integer).",
    }


@pytest.mark.parametrize(
    ("tools", "complaint"),
    [
        ([ADD, ADD], "two tools have the name 'add'"),
        ([Tool(name="a b", description="", parameters={"type": "object"})], "the tool name 'a b'"),
        ([Tool(name="a", description="", parameters={"type": "string"})], "the type 'string'"),
        ([Tool(name="a", description="", parameters={"type": "objekt"})], "no JSON schema"),
        ([Tool(name="a", description="", parameters={"type": "object", "x": {1}})], "not plain JSON data"),
        ([Tool(name="a", description="", parameters={"type": "object", "$ref": "#/$defs/b"})], "not in them"),
        ([Tool(name="a", description="", parameters={"type": "object", "$ref": "http://x.invalid/s"})], "not in them"),
        ([Tool(name="a", description="", parameters={"type": "object", "$dynamicRef": "#nowhere"})], "not in them"),
    ],
)
def test_tools_that_no_host_can_show_or_check_are_refused(tools: list[Tool], complaint: str) -> None:
    with pytest.raises(ValueError, match=complaint.replace("$", r"\$")):
        check_tools(tools)


def test_references_within_a_schema_are_followed() -> None:
    schema = {"type": "object", "properties": {"n": {"$ref": "#/$defs/n"}}, "$defs": {"n": {"type": "integer"}}}
    tool = Tool(name="t", description="", parameters=schema)
    check_tools([tool])
    assert read_call([tool], call_id="c", tool="t", arguments='{"n": 1}').arguments == {"n": 1}
    assert read_call([tool], call_id="c", tool="t", arguments='{"n": "1"}').arguments is None
    tree = {"type": "object", "$dynamicAnchor": "node", "properties": {"of": {"$dynamicRef": "#node"}}}
    check_tools([Tool(name="t", description="", parameters=tree)])


@pytest.mark.parametrize(
    "said",
    [
        message("assistant", "I am the policy."),
        {"role": "tool", "content": "42"},
        {"role": "user", "content": 42},
        {"role": "user", "content": "42", "tool_call_id": "call_0"},
        "42",
    ],
)
def test_a_reply_that_no_environment_may_give_is_found_where_it_is_built(said: Any) -> None:
    with pytest.raises(ValueError, match=r"Reply\.messages holds"):
        Reply(messages=(said,))


def test_every_call_wants_one_answer_unless_the_episode_is_done() -> None:
    calls = tuple(Call(id=f"call_{i}", tool="add", arguments=None) for i in range(2))
    turn, first, second = Turn(text="", calls=calls), tool_result(calls[0], "1"), tool_result(calls[1], "2")
    assert unanswered(turn, Reply(messages=(second, first))) == ""
    assert unanswered(turn, Reply(is_done=True)) == ""
    assert "leaves the call 'call_1'" in unanswered(turn, Reply(messages=(first,)))
    assert "more than once" in unanswered(turn, Reply(messages=(first, first, second)))
    assert "has not made" in unanswered(Turn(text=""), Reply(messages=(first,)))


def test_turns_and_replies_travel_between_processes() -> None:
    turn = Turn(text="17 + 25?", calls=(read('{"a": 17, "b": 25}'), read("?")))
    reply = Reply(messages=(tool_result(turn.calls[0], "42"), refusal(turn.calls[1], [ADD])))
    assert pickle.loads(pickle.dumps((turn, reply))) == (turn, reply)
    json.dumps([dict(said) for said in reply.messages])


def test_a_gym_of_one_turn_is_an_environment_whose_first_turn_is_its_last() -> None:
    gym = load_gym("sums", "arithmetic", {})
    assert isinstance(gym, Arithmetic)
    task = gym.tasks("train")[7]
    for response in (gym.gold(task), "no number", "-1"):
        episode = gym.start(task, seed=3)
        assert episode.score() == Score(status=Status.NO_ANSWER, detail="there is no whole response")
        assert episode.step(Turn(text=response)) == Reply(is_done=True)
        assert episode.score() == gym.score(task, response)
        episode.close()


def test_the_response_of_a_gym_of_one_turn_is_not_judged_where_it_was_cut_off() -> None:
    gym = load_gym("sums", "arithmetic", {})
    task = gym.tasks("train")[0]
    episode = gym.start(task, seed=0)
    episode.step(Turn(text=gym.gold(task) or "", is_truncated=True))
    assert episode.score().status is Status.NO_ANSWER


@pytest.mark.parametrize(
    ("response", "value"),
    [("<think>41 or 42?</think>42", 1.0), ("<think>it is 42", None), (Response("<think> is a mark; 42"), 1.0)],
)
def test_a_response_to_an_environment_is_a_turn_without_thoughts(response: str, value: float | None) -> None:
    gym = load_gym("python", "gyms.python_tool.gym:PythonTool", {"gym": "arithmetic", "args": {"difficulty": 1}})
    task = make_task((42, 0), ArithmeticSettings())
    score = gym.score(task, response)
    assert score.value == value and (value is not None or score.status is Status.NO_ANSWER)


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("adder", "is an environment of many turns itself"),
        ("chat", "needs a judge"),
        ("code", "runs code in a sandbox, which this environment is not given"),
    ],
)
def test_a_gym_that_cannot_be_asked_for_the_last_turn_alone_is_refused(name: str, reason: str) -> None:
    with pytest.raises(ValueError, match=f"gym = '{name}': that gym {reason}"):
        load_one_turn(name, {}, Services(), has_sandbox=False)
    if "sandbox" in reason:
        assert load_one_turn(name, {}, Services(), has_sandbox=True).needs.sandbox


def test_the_contract_imports_no_checker_until_a_call_is_read() -> None:
    code = "import gyms.api, gyms.episodes.arguments, sys; print({'jsonschema', 'referencing'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.stdout.strip() == "set()", done.stderr


@pytest.mark.parametrize(
    ("said", "kept"),
    [("a\ud800b", "a\ufffdb"), ("\udc00", "\ufffd"), ("\ufeff\u00e9\U0001f600", "\ufeff\u00e9\U0001f600"), ("", "")],
)
def test_a_reply_holds_no_half_of_a_surrogate_pair(said: str, kept: str) -> None:
    assert Reply(messages=(message("user", said),)).messages[0]["content"] == kept
