"""Turns as plain JSON, there and back."""

from __future__ import annotations

import json
import random
from dataclasses import replace
from typing import Any

import pytest

from gyms.adder.gym import ADD
from gyms.api import Call, Turn
from gyms.episodes.random_turns import random_turns
from gyms.episodes.turns import turn_as_json, turn_of_json


def test_any_turn_comes_back_as_it_was() -> None:
    num_heard = 0
    for seed in range(200):
        for turn in random_turns(random.Random(seed), [ADD, replace(ADD, name="ask", persona="You add.")]):
            assert turn_of_json(json.loads(json.dumps(turn_as_json(turn)))) == turn
            num_heard += sum(call.heard is not None for call in turn.calls)
            assert all(call.heard is None for call in turn.calls if call.tool != "ask")
    assert num_heard > 50


def test_what_is_as_by_default_is_left_out() -> None:
    assert turn_as_json(Turn(text="42")) == {"text": "42"}
    call = Call(id="call_0", tool="add", arguments=None, problem="not JSON")
    assert turn_as_json(Turn(text="", calls=(call,), is_truncated=True)) == {
        "text": "",
        "calls": [{"id": "call_0", "tool": "add", "arguments": None, "problem": "not JSON"}],
        "is_truncated": True,
    }


@pytest.mark.parametrize(
    "fields",
    [
        None,
        "42",
        {},
        {"text": 42},
        {"text": "", "tool_calls": []},
        {"text": "", "calls": {}},
        {"text": "", "calls": [{"id": "c", "tool": "t"}]},
        {"text": "", "calls": [{"id": 1, "tool": "t", "arguments": {}}]},
        {"text": "", "calls": [{"id": "c", "tool": "t", "arguments": "{}"}]},
        {"text": "", "calls": [{"id": "c", "tool": "t", "arguments": {}, "heard": None}]},
        {"text": "", "calls": [{"id": "c", "tool": "t", "arguments": {}, "heard": []}]},
        {"text": "", "calls": [{"id": "c", "tool": "t", "arguments": {}}, {"id": "c", "tool": "u", "arguments": {}}]},
        {"text": "", "is_truncated": 1},
    ],
)
def test_what_is_no_turn_is_refused(fields: Any) -> None:
    with pytest.raises(ValueError, match="turns: expected"):
        turn_of_json(fields)
