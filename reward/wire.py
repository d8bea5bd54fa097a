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
from dataclasses import dataclass
from typing import Any, NoReturn

from gyms.api import CaseResult, Reply, Score, Status, Turn
from gyms.episodes.turns import turn_of_json
from gyms.load import MAX_WALL_SECONDS

__all__ = [
    "HEADER_BYTES",
    "MAX_OBSERVED_CHARS",
    "MAX_REPLY_BYTES",
    "BuiltGym",
    "GarbageReply",
    "body_length",
    "pack_frame",
    "parse_built",
    "parse_gold_turns",
    "parse_reply",
    "parse_score",
    "parse_scores",
    "parse_stepped",
    "score_as_json",
    "stored_score",
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
MAX_OBSERVED_CHARS = 1_000_000
"""Most characters that an environment may answer to one turn."""
MAX_CASES = 1000
"""Most cases of a score; the worker leaves out what follows."""
MAX_CASE_CHARS = 200
"""Longest name and reason of a case; the worker cuts longer ones."""

_GIVEN_BY_THE_PIPELINE = frozenset({Status.TRUNCATED, Status.CANCELLED})
_SCORE_KEYS = {"status", "value", "components", "answer", "flags", "cases", "provenance", "detail"}
_CASE_KEYS = {"id", "passed", "reason", "seconds"}


class GarbageReply(ValueError):
    """A worker's bytes are not a reply to the request that it was sent."""


@dataclass(frozen=True, slots=True, kw_only=True)
class BuiltGym:
    """What the host needs to know of the gym in a worker."""

    wall_seconds: float
    """Longest that one score may take, in seconds of wall clock."""
    cpu_seconds: float | None
    """Longest CPU time of one score, in seconds; None: not limited."""
    has_sandbox: bool
    """True: the worker gets time to close its sandbox."""
    needs_judge: bool
    """True: its scores are only what can be checked without the judge."""
    minimum: float
    """Reward of a fault of the model."""
    components: frozenset[str]
    """Names that scores may carry; empty: any."""


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


def parse_stepped(reply: Mapping[str, Any], turn: Turn) -> Reply:
    """What a worker says that an environment answered to a turn; GarbageReply where no environment may say it."""
    messages, is_done = reply.get("messages"), reply.get("is_done")
    _demand(reply["kind"] == "stepped", f"a reply of the kind {reply['kind']!r:.40} to a turn")
    _demand(isinstance(messages, list) and isinstance(is_done, bool), "a turn's reply without messages or is_done")
    assert isinstance(messages, list) and isinstance(is_done, bool)
    try:
        answer = Reply(messages=tuple(messages), is_done=is_done)
    except ValueError as error:
        raise GarbageReply(str(error)) from None
    num_chars = sum(len(text) for said in answer.messages for text in said.values())
    _demand(num_chars <= MAX_OBSERVED_CHARS, f"{num_chars} characters in answer to a turn")
    return answer


def parse_gold_turns(reply: Mapping[str, Any]) -> list[Turn] | None:
    """The turns that a worker says are a task's gold, or None where it says that there are none."""
    turns = reply.get("turns")
    _demand(reply["kind"] == "gold_turns", f"a reply of the kind {reply['kind']!r:.40} where gold turns were asked for")
    _demand(turns is None or isinstance(turns, list), "gold turns that are no list")
    try:
        return None if turns is None else [turn_of_json(turn) for turn in turns]
    except ValueError as error:
        raise GarbageReply(str(error)) from None


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


def parse_built(reply: dict[str, Any]) -> BuiltGym:
    """The facts of a gym, every field checked; GarbageReply where they are not what a gym may declare."""
    wall, cpu, minimum, names = (reply.get(key) for key in ("wall_seconds", "cpu_seconds", "minimum", "components"))
    if reply["kind"] != "built" or not isinstance(wall, int | float) or not 0.0 < wall <= MAX_WALL_SECONDS:
        raise GarbageReply(f"needs.wall_seconds = {wall!r:.40}, expected above 0 and at most {MAX_WALL_SECONDS}")
    if cpu is not None and (not isinstance(cpu, int | float) or not cpu > 0.0):
        raise GarbageReply(f"needs.cpu_seconds = {cpu!r:.40}, expected None or a number above 0")
    if not isinstance(minimum, int | float) or not 0.0 <= minimum <= 1.0:
        raise GarbageReply(f"minimum = {minimum!r:.40}, expected a number in [0, 1]")
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        raise GarbageReply("components that are no list of names")
    return BuiltGym(
        wall_seconds=float(wall),
        cpu_seconds=None if cpu is None else float(cpu),
        has_sandbox=reply.get("has_sandbox") is True,
        needs_judge=reply.get("needs_judge") is True,
        minimum=float(minimum),
        components=frozenset(names),
    )


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
    score = stored_score(fields)
    if score.status in _GIVEN_BY_THE_PIPELINE:
        raise GarbageReply(f"the status {score.status}, which only the pipeline may give")
    return score


def stored_score(fields: object) -> Score:
    """What `score_as_json` made of a score, whoever gave it, every field checked; GarbageReply where it is none."""
    if not isinstance(fields, Mapping) or set(fields) != _SCORE_KEYS:
        raise GarbageReply("a score with missing or unknown fields")
    try:
        status = Status(fields["status"])
    except ValueError:
        raise GarbageReply(f"the unknown status {fields['status']!r:.40}") from None
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
