"""Tests as data: what is called, and what must hold of the value. `asserts.py` and `plan.py` make them."""

from __future__ import annotations

import math
import operator
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from gyms.code.compare import values_match
from gyms.sandbox.program import Call

__all__ = ["CallTest", "Check", "InputTest"]

_OPERATORS: dict[str, Callable[[Any, Any], Any]] = {
    "==": operator.eq,
    "!=": operator.ne,
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
    "is": operator.is_,
    "is not": operator.is_not,
    "in": lambda value, expected: value in expected,
    "not in": lambda value, expected: value not in expected,
    "contains": lambda value, expected: expected in value,
    "contains not": lambda value, expected: expected not in value,
    "truth": lambda value, expected: bool(value) is expected,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Check:
    """What must hold of a plain value; made from an assert (`operation`) or from data (`comparator`)."""

    expected: Any
    operation: str = ""
    """An operator of Python's between value and expected; `truth`; `near`, `near or at` for |value - expected| below,
    or at most, `tolerance`; `isclose`; `allclose`: `==`, or numpy's function of that name, on numbers and lists."""
    comparator: str = ""
    tolerance: float = 1e-6
    absolute: float = 0.0
    """`abs_tol` of `isclose`, `atol` of `allclose`; their relative one is `tolerance`."""

    def holds(self, value: Any) -> bool:
        """The verdict on one value: plain decoded data, and operators of this process."""
        if self.comparator:
            return values_match(self.comparator, self.expected, value, self.tolerance)
        try:
            if self.operation in ("near", "near or at"):
                distance = abs(value - self.expected)
                return bool(distance < self.tolerance if self.operation == "near" else distance <= self.tolerance)
            if self.operation == "isclose":
                return math.isclose(value, self.expected, rel_tol=self.tolerance, abs_tol=self.absolute)
            if self.operation == "allclose":
                return bool(value == self.expected) or _all_close(value, self.expected, self.tolerance, self.absolute)
            return bool(_OPERATORS[self.operation](value, self.expected))
        except (ArithmeticError, RecursionError, TypeError, ValueError):
            return False


def _all_close(value: Any, expected: Any, relative: float, absolute: float) -> bool:
    """|value - expected| <= absolute + relative * |expected|, number by number."""
    if isinstance(expected, list | tuple):
        return (
            isinstance(value, list | tuple)
            and len(value) == len(expected)
            and all(_all_close(a, b, relative, absolute) for a, b in zip(value, expected, strict=True))
        )
    if not isinstance(value, int | float) or not isinstance(expected, int | float):
        return False
    if value == expected or math.isinf(expected):  # whose bound is infinite, and would let anything pass
        return bool(value == expected)
    return bool(abs(value - expected) <= absolute + relative * abs(expected))


@dataclass(frozen=True, slots=True, kw_only=True)
class CallTest:
    """One call of the submission and what must hold of its value."""

    id: str
    call: Call
    check: Check


@dataclass(frozen=True, slots=True, kw_only=True)
class InputTest:
    """One run of the program on a standard input, and its expected output."""

    id: str
    stdin: bytes
    stdout: str
    comparator: str
    tolerance: float
