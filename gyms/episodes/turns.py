"""Turns as plain JSON: as a scoring worker says them, and as a stored episode holds them.

    {"text": "", "calls": [{"id": "call_0", "tool": "add", "arguments": {"a": 17, "b": 25}}]}
    {"text": "The sum is 42.", "is_truncated": true}

What is as by default is left out, but for the text. `arguments` is null where the call could not be read, with the
reason as `problem`; what a model said that answered it is `heard`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from gyms.episodes.episode import Call, Turn

__all__ = ["turn_as_json", "turn_of_json"]


def turn_as_json(turn: Turn) -> dict[str, Any]:
    """A turn as plain JSON data.

    Example:
        turn_as_json(Turn(text="42")) == {"text": "42"}
    """
    fields: dict[str, Any] = {"text": turn.text}
    if turn.calls:
        fields["calls"] = [_call_as_json(call) for call in turn.calls]
    if turn.is_truncated:
        fields["is_truncated"] = True
    return fields


def turn_of_json(fields: Any) -> Turn:
    """The turn that such data says; ValueError where it says none."""
    _demand(isinstance(fields, Mapping) and set(fields) <= {"text", "calls", "is_truncated"}, "a turn", fields)
    text, calls, is_truncated = fields.get("text"), fields.get("calls", []), fields.get("is_truncated", False)
    _demand(isinstance(text, str), "a turn's text", text)
    _demand(isinstance(calls, list), "a list of a turn's calls", calls)
    _demand(isinstance(is_truncated, bool), "true or false for is_truncated", is_truncated)
    turn = Turn(text=text, calls=tuple(_call_of_json(call) for call in calls), is_truncated=is_truncated)
    ids = [call.id for call in turn.calls]
    _demand(len(set(ids)) == len(ids), "an id of its own for each call of a turn", ids)
    return turn


def _call_as_json(call: Call) -> dict[str, Any]:
    arguments = None if call.arguments is None else dict(call.arguments)
    fields: dict[str, Any] = {"id": call.id, "tool": call.tool, "arguments": arguments}
    if call.problem:
        fields["problem"] = call.problem
    if call.heard is not None:
        fields["heard"] = call.heard
    return fields


def _call_of_json(fields: Any) -> Call:
    is_call = isinstance(fields, Mapping) and {"id", "tool", "arguments"} <= set(fields) <= {
        "id",
        "tool",
        "arguments",
        "problem",
        "heard",
    }
    _demand(is_call, "a call of id, tool and arguments", fields)
    arguments = fields["arguments"]
    are_texts = all(isinstance(value, str) for name, value in fields.items() if name != "arguments")
    _demand(are_texts, "texts in a call", fields)
    _demand(arguments is None or isinstance(arguments, dict), "an object or null as arguments", arguments)
    return Call(**fields)


def _demand(is_kept: bool, wanted: str, given: Any) -> None:
    if not is_kept:
        raise ValueError(f"turns: expected {wanted}, got {given!r:.100}")
