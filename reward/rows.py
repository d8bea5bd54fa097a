"""One line of a file to be scored, and one line of scores: what may stand in them, and what becomes of the rest.

A line that is no row (no JSON, no object, keys missing or of the wrong type) becomes a `bad_task` with whatever id it
had: nothing that a line holds stops the lines after it. See docs/gyms.md for the two formats.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from gyms.api import Message, Score, Status, Task, Turn, message
from gyms.episodes.turns import turn_of_json

__all__ = ["MAX_ROW_BYTES", "Row", "parse_row", "result_of"]

MAX_ROW_BYTES = 64 << 20
"""Longest line that is read."""
_MAX_ID_CHARS = 1000
_MAX_DIGITS = 4300
"""Longest whole number that Python reads; longer ones stay text."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One line of the input. `fault` says why it cannot be scored; empty where it can."""

    id: Any = None
    """The line's own id, whatever JSON value it is; None where it has none."""
    gym: str = ""
    """Reference of the gym: entry point, module:Class, file or adapter."""
    args: Mapping[str, Any] = field(default_factory=dict)
    """The gym's settings."""
    task: Task | None = None
    response: str = ""
    turns: tuple[Turn, ...] | None = None
    """A stored episode in place of a response; None where the line holds a response."""
    seed: int = 0
    """The episode's seed."""
    fault: str = ""


def parse_row(line: bytes, *, number: int) -> Row:
    """The row of line `number`, counted from 1; never raises.

    Example:
        parse_row(b'{"id": 1, "gym": "math", "task": {"answer": "4"}, "response": "4"}', number=1).gym == "math"
    """
    if len(line) > MAX_ROW_BYTES:
        return Row(fault=f"line {number}: over {MAX_ROW_BYTES} bytes, longer lines are not read")
    try:
        fields = json.loads(line.decode("utf-8-sig"), parse_int=_to_int)
    except (ValueError, RecursionError) as error:
        return Row(fault=f"line {number}: not a line of JSON ({type(error).__name__}: {error!s:.200})")
    if not isinstance(fields, dict):
        return Row(fault=f"line {number}: expected a JSON object, got {type(fields).__name__}")
    row_id = _plain(fields.get("id"))
    is_episode = "turns" in fields and "response" not in fields
    wanted: dict[str, type] = {"gym": str, "task": dict, **({"turns": list} if is_episode else {"response": str})}
    for key, kind in wanted.items():
        if not isinstance(fields.get(key), kind):
            given = f"{type(fields[key]).__name__}" if key in fields else "nothing"
            return Row(id=row_id, fault=f"line {number}: {key!r} must be a {_NAMES[kind]}, got {given}")
    args = fields.get("args")
    if args is not None and not isinstance(args, dict):
        return Row(id=row_id, fault=f"line {number}: 'args' must be an object, got {type(args).__name__}")
    task = Task(id=str(row_id), prompt=_prompt_of(fields["task"]), data=fields["task"])
    row = Row(id=row_id, gym=fields["gym"], args=args or {}, task=task)
    if not is_episode:
        return replace(row, response=fields["response"])
    seed = fields.get("seed", 0)
    if type(seed) is not int:
        return Row(id=row_id, fault=f"line {number}: 'seed' must be a whole number, got {seed!r:.40}")
    try:
        return replace(row, turns=tuple(turn_of_json(turn) for turn in fields["turns"]), seed=seed)
    except ValueError as error:
        return Row(id=row_id, fault=f"line {number}: {error}")


def result_of(row_id: Any, score: Score, *, minimum: float) -> dict[str, Any]:
    """The line of a score, strict JSON; `minimum` is the gym's reward for faults of the model.

    `value` is the fraction of what was asked that holds, `reward` what is learned from; both are of no use where
    `masked` is true.
    """
    fraction = score.components.get("fraction")
    if score.status.is_masked:
        value, reward = None, 0.0
    elif score.status is Status.OK:
        value, reward = (score.value if fraction is None else fraction), score.value
    else:
        value, reward = (0.0 if fraction is None else fraction), minimum
    return {
        "id": row_id,
        "status": str(score.status),
        "value": value,
        "reward": reward,
        "masked": score.status.is_masked,
        "components": dict(score.components),
        "answer": score.answer,
        "flags": sorted(score.flags),
        "seconds": round(score.seconds, 6),
        "cases": [{"id": case.id, "passed": case.passed, "reason": case.reason} for case in score.cases],
        "provenance": dict(score.provenance),
        "detail": score.detail,
    }


_NAMES = {str: "string", dict: "JSON object", list: "list"}


def _prompt_of(task: Mapping[str, Any]) -> tuple[Message, ...]:
    """What was asked, where the task says it: `prompt` or `question`, a text or chat messages."""
    for key in ("prompt", "question"):
        asked = task.get(key)
        if isinstance(asked, str):
            return (message("user", asked),)
        if isinstance(asked, list):
            whole = [m for m in asked if isinstance(m, dict) and isinstance(m.get("content"), str)]
            if whole and len(whole) == len(asked):
                return tuple({"role": str(m.get("role", "user")), "content": m["content"]} for m in whole)
    return ()


def _plain(row_id: Any) -> Any:
    """An id that strict JSON can say again; None in place of NaN, infinity, and what is too long to be a name."""
    if isinstance(row_id, float):
        return row_id if math.isfinite(row_id) else None
    if isinstance(row_id, dict | list):
        try:
            text = json.dumps(row_id, allow_nan=False)
        except (ValueError, RecursionError):
            return None
        return row_id if len(text) <= _MAX_ID_CHARS else None
    return row_id


def _to_int(digits: str) -> int | str:
    return int(digits) if len(digits) <= _MAX_DIGITS else digits
