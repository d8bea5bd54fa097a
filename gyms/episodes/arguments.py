"""A tool call as the model wrote it, checked against the tool's JSON schema: the one place where a `Call` is made.

What the model wrote is hostile: JSON of any depth, numbers of a million digits, NaN, names that no tool has. None of it
raises; it becomes a call without arguments that says why. The check is jsonschema's (draft 2020-12), so a schema means
what its standard says. Two things are narrower than there: nothing is fetched from the network for a `$ref`, and
`format` is a remark, not a rule.

A default in a schema is not filled in: the environment reads what the model wrote. `pattern` is the author's regular
expression over the model's text: where it can run for ever, it will be made to. jsonschema is imported on first use,
because a gym of one turn needs none.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from functools import lru_cache
from typing import Any, NoReturn

from gyms.episodes.episode import Call, Tool

__all__ = ["MAX_ARGUMENT_CHARS", "MAX_DEPTH", "check_tools", "read_call"]

MAX_ARGUMENT_CHARS = 1_000_000
"""Longest arguments that are read."""
MAX_DEPTH = 64
"""Deepest nesting of arguments that is read: an environment may walk through them without fear."""
MAX_NAME_CHARS = 100
"""Longest name that is kept of a tool which there is not; those that there are have at most 64."""
MAX_PROBLEM_CHARS = 300

_NAME = re.compile(r"[A-Za-z0-9_-]{1,64}")


def read_call(tools: Sequence[Tool], *, call_id: str, tool: str, arguments: str | Mapping[str, Any]) -> Call:
    """The call of a tool by name, its arguments as JSON text or as parsed by somebody else; never raises on either.

    Example:
        read_call([adder], call_id="call_0", tool="add", arguments='{"a": 17, "b": 25}').arguments == {"a": 17, "b": 25}
    """
    called = next((known for known in tools if known.name == tool), None)
    if called is None:
        names = ", ".join(known.name for known in tools) or "none"
        name = tool[:MAX_NAME_CHARS]
        return Call(id=call_id, tool=name, arguments=None, problem=f"there is no tool {name!r}; tools: {names}")
    try:
        given = _parsed(arguments)
        problem = _problem(json.dumps(called.parameters, sort_keys=True), given)
    except (ValueError, TypeError, RecursionError) as error:
        given, problem = None, f"the arguments are not JSON: {error}"
    except OverflowError:  # a whole number that no float holds, where the schema divides by one (`multipleOf`)
        given, problem = None, "a number in the arguments is too large"
    if problem:
        return Call(id=call_id, tool=tool, arguments=None, problem=" ".join(problem.split())[:MAX_PROBLEM_CHARS])
    return Call(id=call_id, tool=tool, arguments=given)


def check_tools(tools: Sequence[Tool]) -> None:
    """ValueError where tools are not what a host can show and check."""
    names = [tool.name for tool in tools]
    for tool in tools:
        if not _NAME.fullmatch(tool.name):
            raise ValueError(f"the tool name {tool.name!r:.100} is not 1 to 64 ASCII letters, digits, '_' and '-'")
        if names.count(tool.name) > 1:
            raise ValueError(f"two tools have the name {tool.name!r}")
        try:
            schema = json.dumps(tool.parameters, allow_nan=False)
        except (TypeError, ValueError, RecursionError) as error:
            raise ValueError(f"tool {tool.name!r}: its parameters are not plain JSON data: {error}") from None
        try:
            _check_schema(schema)
        except ValueError as error:
            raise ValueError(f"tool {tool.name!r}: {error}") from None


def _parsed(arguments: str | Mapping[str, Any]) -> Any:
    """Plain JSON data of the depth that is read; ValueError otherwise."""
    text = arguments if isinstance(arguments, str) else json.dumps(dict(arguments), allow_nan=False)
    if len(text) > MAX_ARGUMENT_CHARS:
        raise ValueError(f"they have {len(text)} characters, at most {MAX_ARGUMENT_CHARS} are read")
    parsed = json.loads(text, parse_constant=_refuse_constant, parse_float=_finite)
    level = [parsed]
    for _ in range(MAX_DEPTH + 1):
        level = [part for whole in level for part in _parts(whole)]
    if level:
        raise ValueError(f"they are nested more than {MAX_DEPTH} deep")
    try:
        json.dumps(parsed, ensure_ascii=False).encode()
    except UnicodeEncodeError:
        raise ValueError("they hold half a surrogate pair, which is no text") from None
    return parsed


def _problem(schema: str, given: Any) -> str:
    """What the schema has against the arguments, most relevant first; empty where nothing."""
    from jsonschema.exceptions import best_match

    error = best_match(_validator(schema).iter_errors(given))
    if error is None:
        return "" if isinstance(given, dict) else "the arguments are not an object"
    place = "".join(f"[{part!r}]" for part in error.absolute_path)
    return f"arguments{place}: {error.message}" if place else str(error.message)


@lru_cache(maxsize=256)
def _validator(schema: str) -> Any:
    """The validator of a schema, given as text; it resolves references within the schema only."""
    from jsonschema import Draft202012Validator
    from referencing import Registry

    return Draft202012Validator(json.loads(schema), registry=Registry())


@lru_cache(maxsize=256)
def _check_schema(text: str) -> None:
    """ValueError where a schema, given as text, is none for a tool's parameters; tasks share theirs, so it is kept."""
    from jsonschema import Draft202012Validator
    from jsonschema.exceptions import SchemaError

    try:
        schema = json.loads(text)
        Draft202012Validator.check_schema(schema)
    except RecursionError as error:
        raise ValueError(f"its parameters are not plain JSON data: {error}") from None
    except SchemaError as error:
        raise ValueError(f"its parameters are no JSON schema: {error.message}") from None
    if schema.get("type") != "object":
        raise ValueError(f"its parameters have the type {schema.get('type')!r}, not 'object'")
    _check_references(schema)


def _check_references(schema: Mapping[str, Any]) -> None:
    """ValueError where a reference leads out of the schema, or nowhere."""
    from referencing import Registry
    from referencing.exceptions import Unresolvable
    from referencing.jsonschema import DRAFT202012

    resolver = Registry().with_resource("", DRAFT202012.create_resource(schema)).resolver()
    level: list[Any] = [schema]
    while level:
        refs = [part.get(key) for part in level if isinstance(part, dict) for key in ("$ref", "$dynamicRef")]
        for ref in (ref for ref in refs if isinstance(ref, str)):
            try:
                resolver.lookup(ref)
            except Unresolvable:
                raise ValueError(f"its parameters refer to {ref!r}, which is not in them; nothing is fetched") from None
        level = [part for whole in level for part in _parts(whole)]


def _parts(data: Any) -> Iterable[Any]:
    return data.values() if isinstance(data, dict) else data if isinstance(data, list) else ()


def _finite(digits: str) -> float:
    number = float(digits)
    if number in (float("inf"), float("-inf")):
        raise ValueError(f"the number {digits[:40]} is too large")
    return number


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not a number")
