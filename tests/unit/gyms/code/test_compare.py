"""Comparators, against hand-made tables."""

from __future__ import annotations

import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gyms.code.compare import VALUE_COMPARATORS, outputs_match, values_match

NAN = math.nan


@pytest.mark.parametrize(
    ("comparator", "expected", "value", "matches"),
    [
        ("json", 3, 3, True),
        ("json", 3, 3.0, True),
        ("json", 1, True, False),
        ("json", True, 1, False),
        ("json", [1, 2], (1, 2), True),
        ("json", (1, 2), [1, 2], False),
        ("json", [1, 2], [2, 1], False),
        ("json", {"1": [2]}, {1: (2,)}, True),
        ("json", {"true": 1}, {True: 1}, True),
        ("json", [1], {1}, False),
        ("json", NAN, NAN, True),
        ("json", 0.0, -0.0, True),
        ("json", 0.1, 0.1 + 1e-7, False),
        ("json", None, None, True),
        ("json", None, 0, False),
        ("json", "a", b"a", False),
        ("json", 10**400, 10**400, True),
        ("json", 1e308, 10**400, False),
        ("exact", [1, 2], (1, 2), False),
        ("exact", {1, 2}, {2, 1}, True),
        ("exact", {"a": 1, "b": 2}, {"b": 2, "a": 1}, True),
        ("exact", {"1": 2}, {1: 2}, False),
        ("exact", {1, (2, 3)}, {1, (2, 3)}, True),
        ("exact", {1}, {True}, False),
        ("exact", {True, "a"}, {1, "a"}, False),
        ("exact", {(1, 0)}, {(True, 0)}, False),
        ("exact", {frozenset({1})}, {frozenset({True})}, False),
        ("exact", {1: "a"}, {True: "a"}, False),
        ("exact", {1: "a"}, {1.0: "a"}, True),
        ("json", {"1": 2}, {1: 3, "1": 2}, False),
        ("json", {"true": 1}, {True: 2, "true": 1}, False),
        ("json", {1: "a"}, {True: "a"}, False),
        ("unordered", {"1": [2]}, {1: [3], "1": [2]}, False),
        ("exact", b"a", b"a", True),
        ("python", 1, True, True),
        ("python", NAN, NAN, False),
        ("python", [1.0], [1], True),
        ("tolerance", 0.1, 0.1 + 1e-7, True),
        ("tolerance", [1.0, {"x": 2.0}], [1.0 + 1e-8, {"x": 2.0 - 1e-8}], True),
        ("tolerance", 1.0, 1.1, False),
        ("tolerance", 1.0, NAN, False),
        ("tolerance", math.inf, math.inf, True),
        ("tolerance", 1e308, 10**400, False),
        ("tolerance", 1, True, False),
        ("unordered", [3, 1, 2], [1, 2, 3], True),
        ("unordered", [[1, 2], [3]], [[3], [2, 1]], True),
        ("unordered", [1, 1, 2], [1, 2, 2], False),
        ("unordered", [1, 2], [1, 2, 2], False),
        ("multiset", [3, 1, 1], (1, 3, 1), True),
        ("multiset", [[1, 2]], [[2, 1]], False),
        ("multiset", [1, 2], [1, 2, 2], False),
        ("set", [1, 2], [2, 1, 1], True),
        ("set", [1, 2], {1, 2}, True),
        ("set", [1, 2], [1, 2, 3], False),
        ("set", [1, 2, 3], [1, 2], False),
    ],
)
def test_values(comparator: str, expected: Any, value: Any, matches: bool) -> None:
    assert values_match(comparator, expected, value) is matches


HUGE = 10**5000
"""More digits than Python writes: `repr` and `str` of it raise."""


@pytest.mark.parametrize("comparator", [name for name in VALUE_COMPARATORS if name != "python"])
def test_integers_that_cannot_be_written_are_compared(comparator: str) -> None:
    assert values_match(comparator, [1, [HUGE], {"a": HUGE}], [1, [HUGE], {"a": HUGE}])
    assert not values_match(comparator, [1, HUGE], [1, HUGE + 1])
    assert not values_match(comparator, [1, 2], [1, HUGE])
    assert not values_match(comparator, {"1": 2}, {HUGE: 2})


def test_an_unknown_comparator_is_an_error_of_ours() -> None:
    with pytest.raises(ValueError, match="comparator"):
        values_match("nearly", 1, 1)


PLAIN = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.integers(0, 2).map(lambda n: HUGE + n)
    | st.floats()
    | st.text()
    | st.binary(),
    lambda part: st.lists(part, max_size=4) | st.tuples(part) | st.dictionaries(st.text(max_size=3), part, max_size=3),
    max_leaves=8,
)


@given(PLAIN, PLAIN)
def test_every_value_matches_itself_and_no_comparison_raises(a: Any, b: Any) -> None:
    for comparator in VALUE_COMPARATORS:
        if comparator != "python":
            assert values_match(comparator, a, a)
        values_match(comparator, a, b)


@pytest.mark.parametrize(
    ("comparator", "expected", "output", "matches"),
    [
        ("lines", "3\n", b"3", True),
        ("lines", "3", b"3  \r\n\n", True),
        ("lines", "3", b"3\n4", False),
        ("lines", "a b", b"a  b", False),
        ("lines", "3", b" 3", False),
        ("lines", "3", b"", False),
        ("lines", "3", b"\xff", False),
        ("exact", "3", b"3\n", True),
        ("exact", "3", b"3 ", False),
        ("tokens", "a b\nc", b" a  b c ", True),
        ("tokens", "a b", b"a b c", False),
        ("tolerance", "x 0.3333333", b"x 0.3333334", True),
        ("tolerance", "x 0.3", b"y 0.3", False),
        ("tolerance", "1 2", b"1 2 3", False),
        ("tolerance", "1. -.5 +2 1e3", b"1 -0.5 2.0 1000", True),
        ("tolerance", "inf -Infinity nan", b"Infinity -inf NaN", True),
        ("tolerance", "10", b"1_0", False),
        ("tolerance", "10", "\uff11\uff10".encode(), False),
        ("tolerance", "1e400", b"inf", False),
        ("tolerance", "inf", b"1e400", False),
        ("tolerance", "9" * 399, b"8" * 399, False),
        ("unordered", "a\nb\nb", b"b\na\nb\n", True),
        ("multiset", "a\nb", b"a\nb\nb", False),
        ("set", "a\nb", b"a\nb\nb", True),
    ],
)
def test_outputs(comparator: str, expected: str, output: bytes, matches: bool) -> None:
    assert outputs_match(comparator, expected, output) is matches
