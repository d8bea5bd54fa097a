r"""A small set of problems that needs no data: templates filled with small numbers, each with its worked answer.

They exercise every type of answer that the verifier reads, so that the gym can be tried and checked at once; they are
no training set. A problem is held out where its number within the template is a multiple of five.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from fractions import Fraction
from functools import cache

from gyms.api import Split

__all__ = ["problems"]

Template = Callable[[int, int], tuple[str, str]]
NUM_PER_TEMPLATE = 30


def _fraction(value: Fraction) -> str:
    sign = "-" if value < 0 else ""
    if value.denominator == 1:
        return str(value)
    return rf"{sign}\frac{{{abs(value.numerator)}}}{{{value.denominator}}}"


def _sum_of_fractions(a: int, b: int) -> tuple[str, str]:
    total = Fraction(a, b + 7) + Fraction(b, a + 9)
    return rf"Compute $\frac{{{a}}}{{{b + 7}}} + \frac{{{b}}}{{{a + 9}}}$ in lowest terms.", _fraction(total)


def _linear(a: int, b: int) -> tuple[str, str]:
    return f"Solve ${a + 1}x - {b} = {(a + 1) * (b + 23) - b}$ for $x$.", f"x = {b + 23}"


def _quadratic(a: int, b: int) -> tuple[str, str]:
    first, second = a + 20, -(b + 21)
    return (
        f"Find all solutions of $x^2 {-(first + second):+d}x {first * second:+d} = 0$. List them, separated by commas.",
        f"{first}, {second}",
    )


def _inequality(a: int, b: int) -> tuple[str, str]:
    return f"Solve ${a}x > {a * (b + 22)}$. Answer with an interval.", rf"({b + 22}, \infty)"


def _surd(a: int, b: int) -> tuple[str, str]:
    square, rest = a + 1, (2, 3, 5, 6, 7)[b % 5]
    return rf"Simplify $\sqrt{{{square * square * rest}}}$.", rf"{square}\sqrt{{{rest}}}"


def _circle(a: int, b: int) -> tuple[str, str]:
    return f"What is the area of a circle of radius {a + b}? Leave it in terms of pi.", rf"{(a + b) ** 2}\pi"


def _percent(a: int, b: int) -> tuple[str, str]:
    return f"What percentage of {100 * a} is {a * (b + 24)}?", rf"{b + 24}\%"


def _vector(a: int, b: int) -> tuple[str, str]:
    return f"Add the vectors $({a}, {b})$ and $({b + 30}, {a + 40})$.", f"({a + b + 30}, {a + b + 40})"


def _matrix(a: int, b: int) -> tuple[str, str]:
    return (
        rf"Compute $2\begin{{pmatrix}} {a} & {b} \\ 1 & {a + b} \end{{pmatrix}}$.",
        rf"\begin{{pmatrix}} {2 * a} & {2 * b} \\ 2 & {2 * (a + b)} \end{{pmatrix}}",
    )


def _base(a: int, b: int) -> tuple[str, str]:
    number = 8 * (a + 30) + b % 8
    return f"Write {number} in base 8, with the base as a subscript.", f"{number:o}_8"


def _polynomial(a: int, b: int) -> tuple[str, str]:
    return f"Expand $(x + {a})(x - {b + 10})$.", f"x^2 {a - b - 10:+d}x - {a * (b + 10)}".replace("+0x", "+ 0x")


def _speed(a: int, b: int) -> tuple[str, str]:
    return (
        f"A train goes {18 * (a + b) * 2} km in 2 hours. What is its speed in metres per second?",
        rf"{5 * (a + b)}\text{{ m/s}}",
    )


def _common_divisors(a: int, b: int) -> tuple[str, str]:
    number = 2 * (a + 10) * (b + 3)
    found = [d for d in range(1, number + 1) if number % d == 0]
    return f"Give the set of the positive divisors of {number}.", rf"\{{{', '.join(map(str, found))}\}}"


def _complex(a: int, b: int) -> tuple[str, str]:
    real, imaginary = a * b - 6, 3 * a + 2 * b
    return f"Compute $({a} + 2i)({b} + 3i)$.", f"{real} + {imaginary}i"


_TEMPLATES: tuple[Template, ...] = (
    _sum_of_fractions, _linear, _quadratic, _inequality, _surd, _circle, _percent, _vector, _matrix, _base, _polynomial,
    _speed, _common_divisors, _complex,
)  # fmt: skip


@cache
def problems(split: Split) -> tuple[tuple[str, str], ...]:
    """Question and answer of each built-in problem of a split."""
    return tuple(_all(split))


def _all(split: Split) -> Iterator[tuple[str, str]]:
    seen: set[str] = set()
    for template in _TEMPLATES:
        for number in range(NUM_PER_TEMPLATE):
            a, b = number % 6 + 2, number // 6 + math.isqrt(number) + 1
            question, answer = template(a, b)
            if question not in seen and (number % 5 == 0) == (split == "heldout"):
                yield question, answer
            seen.add(question)
