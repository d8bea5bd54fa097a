"""Reads the result channel: lines that a hostile program may have written, as outcomes of its calls.

Line by line and strictly in order. What is not exactly what the runner writes ends the reading, and every call that
has no outcome then failed. Nothing here raises on any bytes.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

from gyms.sandbox.inside import values
from gyms.sandbox.program import Outcome

__all__ = ["Loaded", "has_begun", "read_last_line", "read_results", "told"]


@dataclass(frozen=True, slots=True)
class Loaded:
    """What a program reported: whether it could be loaded, and the outcomes of its calls, perhaps fewer than asked."""

    is_loaded: bool
    failure: str = ""
    """Why it could not be loaded; empty where it was, and where it ended without a word."""
    is_syntax: bool = False
    """The failure is that the source is not valid."""
    outcomes: tuple[Outcome, ...] = ()


def read_results(results: bytes, num_calls: int) -> Loaded:
    """The outcomes of up to `num_calls` calls."""
    lines = results.split(b"\n")[:-1]  # a line that was cut off is none
    if not lines:
        return Loaded(False)
    first = _line(lines[0])
    if first is None or first.get("n") != -1:
        return Loaded(False)
    if first.get("v") is not True:
        return Loaded(False, told(first.get("e")) or "it could not be loaded", first.get("k") == "syntax")
    outcomes: list[Outcome] = []
    for line in lines[1 : num_calls + 1]:
        reply = _line(line)
        if reply is None or reply.get("n") != len(outcomes) or isinstance(reply["n"], bool):
            break
        outcomes.append(_outcome(reply))
    return Loaded(True, outcomes=tuple(outcomes))


def read_last_line(results: bytes) -> dict[str, Any] | None:
    """The report of trusted test code, behind the line that says it began; None where it did not come to its end."""
    lines = results.split(b"\n")
    return _line(lines[-2]) if len(lines) >= 3 and not lines[-1] else None


def has_begun(results: bytes) -> bool:
    """Whether trusted test code came up, before it read anything of the submission."""
    first = _line(results.partition(b"\n")[0])
    return first is not None and first.get("begun") is True


def _line(data: bytes) -> dict[str, Any] | None:
    try:
        found = json.loads(data)
    except (ValueError, RecursionError):
        return None
    return found if isinstance(found, dict) else None


def told(error: object) -> str:
    """What a program says of an error, fit to be written down: a short text, without halves of surrogate pairs."""
    return error[:300].encode("utf-8", "replace").decode() if isinstance(error, str) else ""


def _outcome(reply: dict[str, Any]) -> Outcome:
    if "v" not in reply:
        return Outcome(error=told(reply.get("e")) or "raised")
    try:
        return Outcome(value=values.decode(reply["v"]))
    except (ValueError, OverflowError, RecursionError) as error:
        return Outcome(error=f"reported no plain value: {error}"[:300])
