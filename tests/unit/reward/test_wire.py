"""Whatever a worker says is taken apart field by field; what is not a reply is garbage, never a score."""

from __future__ import annotations

import json
import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gyms.api import CaseResult, Score, Status
from reward.wire import HEADER_BYTES, GarbageReply, body_length, pack_frame, parse_reply, parse_score, score_as_json

GIVEN = [status for status in Status if status not in (Status.TRUNCATED, Status.CANCELLED)]
finite = st.floats(allow_nan=False, allow_infinity=False, width=32)
scores = st.builds(
    lambda status, value, components, answer, flags, cases, provenance, detail: Score(
        status=status,
        value=value if status is Status.OK else None,
        components=components,
        answer=answer,
        flags=frozenset(flags),
        cases=tuple(cases),
        provenance=provenance,
        detail=detail,
    ),
    status=st.sampled_from(GIVEN),
    value=st.floats(0, 1),
    components=st.dictionaries(st.text(max_size=20), finite, max_size=5),
    answer=st.none() | st.text(st.characters(), max_size=100),
    flags=st.lists(st.text(max_size=9), max_size=4),
    cases=st.lists(st.builds(CaseResult, id=st.text(max_size=9), passed=st.booleans(), seconds=finite), max_size=3),
    provenance=st.dictionaries(st.text(max_size=9), st.text(max_size=9), max_size=3),
    detail=st.text(max_size=100),
)
json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)


def good() -> dict[str, Any]:
    return score_as_json(Score(status=Status.OK, value=0.5, components={"a": 1.0}, answer="7", flags=frozenset({"f"})))


@given(score=scores)
def test_a_score_survives_the_wire(score: Score) -> None:
    body = json.dumps({"kind": "scored", "serial": 3, "score": score_as_json(score)}).encode("ascii")
    assert parse_score(parse_reply(body, serial=3)["score"]) == score


@given(body=st.binary(max_size=100), serial=st.integers())
def test_random_bytes_are_garbage(body: bytes, serial: int) -> None:
    with pytest.raises(GarbageReply):
        parse_reply(body, serial=serial)


@given(fields=json_values)
def test_random_json_is_no_score(fields: object) -> None:
    with pytest.raises(GarbageReply):
        parse_score(fields)


@given(key=st.sampled_from(sorted(good())), value=json_values)
def test_a_score_with_one_odd_field_is_garbage_or_a_valid_score(key: str, value: object) -> None:
    try:
        score = parse_score({**good(), key: value})
    except GarbageReply:
        return
    assert score.status.is_masked or score.status.is_model_fault or 0.0 <= score.value <= 1.0


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("value", 1.5),
        ("value", -0.1),
        ("value", True),
        ("value", "1"),
        ("value", None),
        ("value", 10**400),
        ("value", math.nan),
        ("status", "great"),
        ("status", ["ok"]),
        ("status", "truncated"),
        ("status", "cancelled"),
        ("components", {"a": math.inf}),
        ("components", {"a": 10**400}),
        ("components", {str(i): 0.0 for i in range(65)}),
        ("answer", "x" * 2001),
        ("flags", "f"),
        ("detail", None),
        ("cases", [{"id": "a"}]),
        ("cases", [{"id": "a", "passed": 1, "reason": "", "seconds": 0.0}]),
        ("cases", None),
        ("provenance", {"tier": 1}),
        ("provenance", []),
    ],
)
def test_fields_out_of_range_are_garbage(key: str, value: object) -> None:
    with pytest.raises(GarbageReply):
        parse_score({**good(), key: value})


def test_missing_and_extra_fields_are_garbage() -> None:
    with pytest.raises(GarbageReply):
        parse_score({**good(), "extra": 1})
    with pytest.raises(GarbageReply):
        parse_score({key: value for key, value in good().items() if key != "flags"})


def test_a_reply_to_another_request_is_garbage() -> None:
    with pytest.raises(GarbageReply, match="a reply to request 2 where 3 was asked"):
        parse_reply(b'{"kind": "scored", "serial": 2}', serial=3)


@pytest.mark.parametrize("body", [b'{"kind": "x", "serial": 1, "v": NaN}', b"[" * 100_000, b'{"serial": 1}', b"1"])
def test_odd_json_is_garbage(body: bytes) -> None:
    with pytest.raises(GarbageReply):
        parse_reply(body, serial=1)


def test_frames_are_recognised_by_their_header() -> None:
    frame = pack_frame(b"body")
    assert body_length(frame[:HEADER_BYTES]) == len(frame) - HEADER_BYTES == 4
    with pytest.raises(GarbageReply, match="no frame"):
        body_length(b"hello wo")
    with pytest.raises(GarbageReply, match="4 bytes, at most 3"):
        body_length(frame[:HEADER_BYTES], max_bytes=3)
