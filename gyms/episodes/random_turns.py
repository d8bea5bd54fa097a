"""Turns that no author thought of: calls with arguments drawn from the tools' schemas, broken ones, odd texts.

What is drawn from a schema fits it mostly, so that the draw gets past the check of arguments and reaches the
environment's own code; `read_call` has the last word, as it has in a run. A drawn sequence is a function of the
generator's seed.

Left out: `$ref`, `pattern` and combined schemas are not solved; arguments for them seldom fit.
"""

from __future__ import annotations

import json
import random
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from gyms.api import Call, Tool, Turn
from gyms.episodes.arguments import read_call

__all__ = ["fitting_call", "random_turns"]

_TEXTS = (
    "",
    " ",
    "42",
    "I do not know.",
    "The answer is 7.",
    "\ud800",
    "\x00\n\t",
    "\u202e\U0001f600",
    "'; DROP TABLE tasks; --",
    "../../etc/passwd",
    "x" * 5000,
    "-1e999",
    "null",
)
_NUMBERS = (0, 1, -1, 2, 3, 7, 10, 99, 2**31, -(2**63), 10**30)
_BROKEN = ("", "{", "[]", "null", '{"a": NaN}', "[" * 2000, '{"a": 1}')
_MAX_DEPTH = 4
_MAX_TRIES = 20
"""Draws of arguments that do not fit, before a call stays ill-formed."""


def random_turns(
    draw: random.Random, tools: Sequence[Tool], known: Sequence[Turn] = (), *, max_turns: int = 8
) -> list[Turn]:
    """A sequence of 0 to `max_turns` turns; `known` are turns that make sense, from which some are built."""
    turns: list[Turn] = []
    num_calls = 0
    for _ in range(draw.randint(0, max_turns)):
        calls = [
            _heard(draw, tools, _random_call(draw, tools, known, call_id=f"call_{num_calls + place}"))
            for place in range(draw.choice((0, 0, 1, 1, 1, 2, 5)))
        ]
        num_calls += len(calls)
        texts = (*_TEXTS, *(turn.text for turn in known))
        turns.append(Turn(text=draw.choice(texts), calls=tuple(calls), is_truncated=draw.random() < 0.05))
    return turns


def fitting_call(draw: random.Random, tool: Tool, *, call_id: str) -> Call:
    """A call whose arguments mostly fit the schema of this tool, and mean nothing."""
    for _ in range(_MAX_TRIES):
        arguments = json.dumps(_random_value(draw, tool.parameters, depth=0))
        call = read_call([tool], call_id=call_id, tool=tool.name, arguments=arguments)
        if call.arguments is not None:
            break
    return call


def _random_call(draw: random.Random, tools: Sequence[Tool], known: Sequence[Turn], *, call_id: str) -> Call:
    sensible = [call for turn in known for call in turn.calls if call.arguments is not None]
    kind = draw.random()
    if not tools or kind < 0.08:
        return read_call(tools, call_id=call_id, tool=draw.choice(("no_such_tool", "", "\ud800")), arguments="{}")
    tool = draw.choice(tools)
    if kind < 0.16:
        return read_call(tools, call_id=call_id, tool=tool.name, arguments=draw.choice(_BROKEN))
    arguments = _random_value(draw, tool.parameters, depth=0)
    if sensible and kind < 0.6:
        like = draw.choice(sensible)
        tool = next((known for known in tools if known.name == like.tool), tool)
        arguments = dict(like.arguments or {})
        for name in list(arguments):
            if draw.random() < 0.3:
                schema = tool.parameters.get("properties", {}).get(name, {})
                arguments[name] = _random_value(draw, schema, depth=1)
    return read_call(tools, call_id=call_id, tool=tool.name, arguments=json.dumps(arguments))


def _heard(draw: random.Random, tools: Sequence[Tool], call: Call) -> Call:
    """The call, answered by a model now and then, where one may be asked."""
    if call.arguments is None or not any(tool.persona for tool in tools if tool.name == call.tool):
        return call
    return replace(call, heard=draw.choice((None, *_TEXTS)))


def _random_value(draw: random.Random, schema: Any, *, depth: int) -> Any:
    schema = schema if isinstance(schema, Mapping) else {}
    if "const" in schema:
        return schema["const"]
    if schema.get("enum"):
        return draw.choice(list(schema["enum"]))
    for key in ("anyOf", "oneOf"):
        if schema.get(key):
            return _random_value(draw, draw.choice(list(schema[key])), depth=depth)
    kind = schema.get("type", "object" if "properties" in schema else None)
    kinds = [kind] if isinstance(kind, str) else list(kind or ("integer", "string", "boolean", "null", "array"))
    kind = draw.choice(kinds)
    if kind == "integer":
        low, high = schema.get("minimum"), schema.get("maximum")
        near = [int(edge) + step for edge in (low, high) if edge is not None for step in (-1, 0, 1)]
        return draw.choice((*_NUMBERS, *near))
    if kind == "number":
        return draw.choice((*_NUMBERS, 0.5, -2.25, 1e300, 5e-324))
    if kind == "string":
        return draw.choice(_TEXTS)
    if kind == "boolean":
        return draw.random() < 0.5
    if kind == "array" and depth < _MAX_DEPTH:
        length = draw.randint(int(schema.get("minItems", 0)), int(schema.get("minItems", 0)) + 3)
        return [_random_value(draw, schema.get("items", {}), depth=depth + 1) for _ in range(length)]
    if kind == "object":
        required = schema.get("required", ())
        return {
            name: _random_value(draw, part, depth=depth + 1)
            for name, part in schema.get("properties", {}).items()
            if name in required or draw.random() < 0.5
        }
    return None
