"""The wire between the scorer and its worker processes: frames, and what a reply may say.

A frame is a magic word, a length and a body. The host's bodies are pickles, because tasks are Python objects and the
host is trusted. The worker's bodies are JSON that the host takes apart field by field: a worker runs foreign gym code
that shares its memory and file descriptors, so nothing it says is unpickled, and whatever does not parse is a fault of
the gym. The serial number ties a reply to its request: a late or doubled reply is noticed.
"""

from __future__ import annotations

import json
import math
import struct
from collections.abc import Mapping
from typing import Any, NoReturn

from gyms.api import CaseResult, Score, Status

__all__ = [
    "HEADER_BYTES",
    "MAX_REPLY_BYTES",
    "GarbageReply",
    "body_length",
    "pack_frame",
    "parse_reply",
    "parse_score",
    "parse_scores",
    "score_as_json",
]

_MAGIC = b"GYM1"
_HEADER = struct.Struct(">4sI")
HEADER_BYTES = _HEADER.size
MAX_REPLY_BYTES = 8 << 20
"""Longest body that the host reads from a worker for one score."""
MAX_COMPONENTS = 64
MAX_NAME_CHARS = 100
MAX_TEXT_CHARS = 2000
"""Longest `answer` and `detail`; the worker cuts longer ones."""
MAX_CASES = 1000
"""Most cases of a score; the worker leaves out what follows."""
MAX_CASE_CHARS = 200
"""Longest name and reason of a case; the worker cuts longer ones."""

_GIVEN_BY_THE_PIPELINE = frozenset({Status.TRUNCATED, Status.CANCELLED})
_SCORE_KEYS = {"status", "value", "components", "answer", "flags", "cases", "provenance", "detail"}
_CASE_KEYS = {"id", "passed", "reason", "seconds"}


class GarbageReply(ValueError):
    """A worker's bytes are not a reply to the request that it was sent."""


def pack_frame(body: bytes) -> bytes:
    """Header and body."""
    return _HEADER.pack(_MAGIC, len(body)) + body


def body_length(header: bytes, *, max_bytes: int | None = None) -> int:
    """Length of the body behind a header; GarbageReply where it is not a header or the body too long."""
    magic, length = _HEADER.unpack(header)
    if magic != _MAGIC:
        raise GarbageReply(f"bytes on the reply channel that are no frame ({header!r})")
    if max_bytes is not None and length > max_bytes:
        raise GarbageReply(f"a reply of {length} bytes, at most {max_bytes} are read")
    return length


def score_as_json(score: Score) -> dict[str, Any]:
    """A score as the worker sends it; long texts are cut."""
    return {
        "status": str(score.status),
        "value": None if score.value is None else float(score.value),
        "components": {str(name): float(value) for name, value in score.components.items()},
        "answer": None if score.answer is None else str(score.answer)[:MAX_TEXT_CHARS],
        "flags": sorted(str(flag) for flag in score.flags),
        "cases": [_case_as_json(case) for case in score.cases[:MAX_CASES]],
        "provenance": {str(name): str(text)[:MAX_TEXT_CHARS] for name, text in score.provenance.items()},
        "detail": str(score.detail)[:MAX_TEXT_CHARS],
    }


def parse_reply(body: bytes, *, serial: int) -> dict[str, Any]:
    """The reply to request `serial` as a dict with a string `kind`; GarbageReply otherwise."""
    try:
        reply = json.loads(body.decode("ascii"), parse_constant=_refuse_constant)
    except (ValueError, RecursionError) as error:
        raise GarbageReply(f"a reply that is not JSON ({error})") from None
    if not isinstance(reply, dict) or not isinstance(reply.get("kind"), str):
        raise GarbageReply("a reply that is not an object with a kind")
    if type(reply.get("serial")) is not int or reply["serial"] != serial:
        raise GarbageReply(f"a reply to request {reply.get('serial')!r:.40} where {serial} was asked")
    return reply


def parse_scores(fields: object, *, num_wanted: int, components: frozenset[str] = frozenset()) -> list[Score]:
    """The scores in a reply, as many as were asked for, with no component but the declared ones (all, where empty)."""
    if not isinstance(fields, list) or len(fields) != num_wanted:
        raise GarbageReply(f"a reply without the {num_wanted} scores that were asked for")
    scores = [parse_score(score) for score in fields]
    for score in scores:
        undeclared = sorted(set(score.components) - components) if components else []
        _demand(not undeclared, f"the undeclared component {undeclared[:1]}; the gym declares {sorted(components)}")
    return scores


def parse_score(fields: object) -> Score:
    """The score in a reply, every field checked; GarbageReply where it is not one that a gym may give."""
    if not isinstance(fields, Mapping) or set(fields) != _SCORE_KEYS:
        raise GarbageReply("a score with missing or unknown fields")
    try:
        status = Status(fields["status"])
    except ValueError:
        raise GarbageReply(f"the unknown status {fields['status']!r:.40}") from None
    if status in _GIVEN_BY_THE_PIPELINE:
        raise GarbageReply(f"the status {status}, which only the pipeline may give")
    value, components, flags = fields["value"], fields["components"], fields["flags"]
    _demand(value is None or _is_finite(value), f"the value {value!r:.40}")
    _demand(isinstance(components, dict) and len(components) <= MAX_COMPONENTS, "components that are no small dict")
    _demand(
        all(_is_text(name, MAX_NAME_CHARS) and _is_finite(part) for name, part in components.items()),
        "a component that is not a short name with a finite number",
    )
    _demand(isinstance(flags, list) and len(flags) <= MAX_COMPONENTS, "flags that are no short list")
    _demand(all(_is_text(flag, MAX_NAME_CHARS) for flag in flags), "a flag that is no short string")
    _demand(fields["answer"] is None or _is_text(fields["answer"], MAX_TEXT_CHARS), "an answer that is no short string")
    cases, provenance = fields["cases"], fields["provenance"]
    _demand(isinstance(cases, list) and len(cases) <= MAX_CASES, "cases that are no short list")
    _demand(isinstance(provenance, dict) and len(provenance) <= MAX_COMPONENTS, "a provenance that is no small dict")
    _demand(
        all(_is_text(name, MAX_NAME_CHARS) and _is_text(text, MAX_TEXT_CHARS) for name, text in provenance.items()),
        "a provenance that is not of short strings",
    )
    _demand(_is_text(fields["detail"], MAX_TEXT_CHARS), "a detail that is no short string")
    try:
        return Score(
            status=status,
            value=value,
            components={name: float(part) for name, part in components.items()},
            answer=fields["answer"],
            flags=frozenset(flags),
            cases=tuple(_parse_case(case) for case in cases),
            provenance=provenance,
            detail=fields["detail"],
        )
    except ValueError as error:
        raise GarbageReply(str(error)) from None


def _case_as_json(case: CaseResult) -> dict[str, Any]:
    return {
        "id": str(case.id)[:MAX_CASE_CHARS],
        "passed": bool(case.passed),
        "reason": str(case.reason)[:MAX_CASE_CHARS],
        "seconds": float(case.seconds),
    }


def _parse_case(fields: object) -> CaseResult:
    _demand(isinstance(fields, dict) and set(fields) == _CASE_KEYS, "a case with missing or unknown fields")
    assert isinstance(fields, dict)
    is_whole = (
        _is_text(fields["id"], MAX_CASE_CHARS)
        and isinstance(fields["passed"], bool)
        and _is_text(fields["reason"], MAX_CASE_CHARS)
        and _is_finite(fields["seconds"])
    )
    _demand(is_whole, "a case that is not a short name, a verdict, a short reason and a finite time")
    return CaseResult(**fields)


def _is_finite(value: object) -> bool:
    return (type(value) is float and math.isfinite(value)) or (type(value) is int and abs(value) < 2**53)


def _is_text(value: object, max_chars: int) -> bool:
    return isinstance(value, str) and len(value) <= max_chars


def _demand(is_kept: bool, what: str) -> None:
    if not is_kept:
        raise GarbageReply(what)


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not a number")
