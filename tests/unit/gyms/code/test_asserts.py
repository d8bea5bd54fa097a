"""Asserts as data: what is called, what is compared, and that no expected value goes in with the call."""

from __future__ import annotations

import ast
import math

import pytest

from gyms.code.asserts import NotPlain, convert_asserts, parse, parse_call
from gyms.code.checks import CallTest, Check
from gyms.code.plan import make_plan
from gyms.sandbox.program import Call, Limits


def converted(source: str) -> CallTest:
    (test,) = convert_asserts(parse(source).body, {"candidate": "f"})
    return test


@pytest.mark.parametrize(
    ("source", "call", "right", "wrong"),
    [
        ("assert f(1, x=2) == 3", Call(function="f", arguments=(1,), keywords={"x": 2}), 3, 4),
        ("assert candidate([1, -2]) == (3 + 5, 2 * 4)", Call(function="f", arguments=([1, -2],)), (8, 8), [8, 8]),
        ("assert 3 == f()", Call(function="f"), 3.0, 4),
        ("assert f() is True", Call(function="f"), True, 1),
        ("assert f() is None", Call(function="f"), None, 0),
        ("assert f() != 3", Call(function="f"), 4, 3),
        ("assert f()", Call(function="f"), [0], []),
        ("assert not f()", Call(function="f"), "", "x"),
        ("assert f() in (1, 2)", Call(function="f"), 2, 3),
        ("assert 3 in f()", Call(function="f"), [3], [4]),
        ("assert f() < 3", Call(function="f"), 2, 3),
        ("assert 3 < f()", Call(function="f"), 4, 3),
        ("assert abs(f(1.5) - 0.5) < 1e-6", Call(function="f", arguments=(1.5,)), 0.5 + 1e-7, 0.6),
        ("assert abs(2.0 / 3 - f()) <= 1e-6", Call(function="f"), 2 / 3, 0.6),
        ("assert math.isclose(f(), 0.5, rel_tol=0.01)", Call(function="f"), 0.501, 0.51),
        ("assert sorted(f()) == [1, 2]", Call(expression="sorted(f())"), [1, 2], [2, 1]),
        ("assert set(f()) == set([1, 2])", Call(expression="set(f())"), {2, 1}, {1}),
        ("assert round(f(2), 2) == 1.41", Call(expression="round(f(2), 2)"), 1.41, 1.42),
        ("assert f(int) == 1", Call(expression="f(int)"), 1, 2),
        ("assert f(2)[0] == 1", Call(expression="f(2)[0]"), 1, 2),
        ("assert Solution().add(1, 2) == 3", Call(expression="Solution().add(1, 2)"), 3, 4),
    ],
)
def test_an_assert_is_a_call_and_a_check(source: str, call: Call, right: object, wrong: object) -> None:
    test = converted(source)
    assert test.call == call
    assert test.check.holds(right)
    assert not test.check.holds(wrong)


@pytest.mark.parametrize(
    "source",
    [
        "assert (f(3) == 5) == True",
        "assert f(3) - 5 == 0",
        "assert (f(3) in [5]) is True",
        "assert bool(f(3) == 5)",
        "assert all(f(i) == i for i in range(3))",
        "assert isinstance(f(3), int)",
        "assert f(3) == g(3)",
        "assert f(3) == 5 or f(3) == 6",
        "assert 1 < f(3) < 5",
        "assert f(lambda x: x == 5) == 5",
        "assert f(g(3) == 5) == True",
        "assert (lambda v: v == 5)(f(3)) == True",
        "assert eval('f(3) == 5') == True",
        "for i in range(3):\n    assert f(i) == i",
    ],
)
def test_what_would_carry_the_expected_value_inside_is_left_to_the_exam(source: str) -> None:
    with pytest.raises(NotPlain):
        convert_asserts(parse(source).body, {})


def test_trivial_asserts_are_no_tests() -> None:
    assert convert_asserts(parse("assert True, 'x'\nassert 1").body, {}) == []


@pytest.mark.parametrize("source", ["", "1 + 2", "add(1", "a = 1", "add(1); add(2)", "[1, 2]", "len('x')", "x" * 10**6])
def test_a_call_test_must_be_one_call(source: str) -> None:
    with pytest.raises(ValueError):
        parse_call(source)


def test_huge_arithmetic_and_deep_nesting_in_tests_are_refused() -> None:
    with pytest.raises(NotPlain):
        converted("assert f() == 9**9**9**9")
    with pytest.raises(ValueError):
        parse("(" * 100_000)


def test_expected_values_are_nowhere_in_what_goes_into_the_sandbox() -> None:
    data = {"tests": [{"call": "f(1)", "expected": "SECRET-1"}, "assert f(2) == 'SECRET-2'"]}
    plan = make_plan(data, Limits())
    assert plan.exams == ()
    assert "SECRET" not in repr([test.call for test in plan.calls])
    assert "SECRET" not in repr(plan.setup)


def test_a_test_that_cannot_be_split_makes_the_row_an_exam_with_proxies() -> None:
    plan = make_plan({"tests": ["assert f(1) == g(1)", "assert f(2) == 4"]}, Limits())
    (exam,) = plan.exams
    assert exam.proxies == {"f": "f", "g": "g"}
    assert ast.parse(exam.tests)


@pytest.mark.parametrize(
    ("expected", "value", "holds"),
    [
        (math.inf, math.inf, True),
        (math.inf, 5.0, False),
        (math.inf, -math.inf, False),
        ([1.0, -math.inf], [1.0, 3], False),
        (1.0, math.inf, False),
        (1.0, math.nan, False),
        (100.0, 100.1, True),
        (100.0, 101.0, False),
    ],
)
def test_nothing_but_infinity_is_close_to_infinity(expected: object, value: object, holds: bool) -> None:
    """As numpy.allclose, whose bound is absolute + relative * |expected|: 0.001 + 0.001 * 100 = 0.101."""
    check = Check(operation="allclose", expected=expected, tolerance=1e-3, absolute=1e-3)
    assert check.holds(value) is holds
