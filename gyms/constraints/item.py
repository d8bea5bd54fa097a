"""Reads an item, a prompt with its instructions: all is checked before anything is scored.

The published form of IFEval is two lists of equal length, `instruction_id_list` and `kwargs`, where the arguments of an
instruction are a dict whose nulls stand for "not given"; either list may be JSON text. `read_item` turns it into bound
instructions or raises ItemError: unknown ids, missing, unknown or ill-typed arguments, lists of different lengths, and
instructions that no response can satisfy together (gyms/constraints/conflicts.py).
"""

from __future__ import annotations

import difflib
from collections.abc import Mapping, Sequence
from typing import Any, Literal

from pydantic import ValidationError

from gyms.constraints.conflicts import contradiction
from gyms.constraints.registry import find, known_ids
from gyms.constraints.rule import Constraint, Instruction, Item
from gyms.row_formats.form import read_json

__all__ = ["Contradiction", "ItemError", "read_item"]

MAX_INSTRUCTIONS = 100


class ItemError(ValueError):
    """An item is malformed or asks for what cannot be; the message names the instruction and what is wrong with it."""


class Contradiction(ItemError):
    """The instructions of a well-formed item exclude each other."""


def read_item(data: Mapping[str, Any], *, mode: Literal["strict", "loose"] = "strict") -> Item:
    """The item of a row in IFEval's form; the row's own `mode` wins over the default given here.

    Raises ItemError where the row is malformed, Contradiction where no response can satisfy it.
    """
    prompt = data.get("prompt", "")
    if not isinstance(prompt, str):
        raise ItemError(f"'prompt' must be a string, got {type(prompt).__name__}")
    own = data.get("mode")
    if own not in (None, "strict", "loose"):
        raise ItemError(f"'mode' must be 'strict' or 'loose', got {own!r:.60}")
    if data.get("compat"):
        raise ItemError("'compat' asks for the flaws of the published checkers, which are not offered; remove it")
    instructions = _instructions(data.get("instruction_id_list"), data.get("kwargs"))
    item = Item(prompt=prompt, instructions=instructions, mode=own or mode)
    if found := contradiction(item):
        raise Contradiction(f"the instructions contradict each other: {found}")
    return item


def _instructions(ids: Any, kwargs: Any) -> tuple[Instruction, ...]:
    ids, kwargs = (read_json(given) or given if isinstance(given, str) else given for given in (ids, kwargs))
    if not isinstance(ids, Sequence) or isinstance(ids, str) or not ids:
        raise ItemError(f"'instruction_id_list' must be a list of at least one id, got {ids!r:.60}")
    if kwargs is None:
        raise ItemError("'kwargs' is missing; give one dict of arguments for each instruction")
    if not isinstance(kwargs, Sequence) or isinstance(kwargs, str):
        raise ItemError(f"'kwargs' must be a list of dicts, got {kwargs!r:.60}")
    if len(ids) != len(kwargs):
        raise ItemError(f"'instruction_id_list' has {len(ids)} entries and 'kwargs' has {len(kwargs)}; they must match")
    if len(ids) > MAX_INSTRUCTIONS:
        raise ItemError(f"an item may have {MAX_INSTRUCTIONS} instructions, got {len(ids)}")
    return tuple(_bound(name, given) for name, given in zip(ids, kwargs, strict=True))


def _bound(name: Any, given: Any) -> Instruction:
    constraint = find(name) if isinstance(name, str) else None
    if constraint is None:
        near = difflib.get_close_matches(str(name)[:100], known_ids(), n=1)
        hint = f"; did you mean {near[0]!r}?" if near else "; docs/constraints.md lists all ids"
        raise ItemError(f"unknown instruction id {name!r:.80}{hint}")
    if given is None:
        given = {}
    if not isinstance(given, Mapping):
        raise ItemError(f"{name}: the arguments must be a dict, got {given!r:.60}")
    try:
        args = constraint.args.model_validate({key: value for key, value in given.items() if value is not None})
    except ValidationError as error:
        raise ItemError(f"{name}: {'; '.join(_problem(constraint, problem) for problem in error.errors())}") from None
    return Instruction(constraint=constraint, args=args)


def _problem(constraint: Constraint, problem: Mapping[str, Any]) -> str:
    key = ".".join(map(str, problem["loc"]))
    known = ", ".join(constraint.args.model_fields) or "none"
    if problem["type"] == "missing":
        return f"the argument {key!r} is missing (arguments: {known})"
    if problem["type"] == "extra_forbidden":
        return f"there is no argument {key!r} (arguments: {known})"
    text = str(problem["msg"]).removeprefix("Value error, ")
    return f"{key}: {text}, got {problem['input']!r:.60}" if key else text
