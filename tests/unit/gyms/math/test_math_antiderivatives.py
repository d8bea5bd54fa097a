"""Families of functions that differ by a constant, and sums in which C is a letter like others."""

from __future__ import annotations

import pytest

from tests.unit.gyms.math.boxed import verdicts

FAMILIES = [  # gold, the same family, other answers
    ("x^2 + C", ["x^2 + c", "x^2 + K", "x^2 + C_1", "C + x^2", "x^2 + 1 + C", "x^2 - \\pi + c"],
     ["x^2", "x^2 + x", "x^2 + 2c", "x^2 + c + k", "x^2 + 1", "x^2 + x + C", "2x^2 + C", "x^2 + y + C", "x^2 + a + C"]),
    ("y = x^2 + C", ["y = x^2 + c", "y = x^2 + 3 + c", "x^2 + 1 + C"],
     ["y = x^2 - x + c", "z = x^2 + 1 + C", "x = x^2 + 1 + C"]),
    ("F(x) = x^2 + C", ["F(x) = x^2 - 5 + C", "x^2 + c"], ["G(x) = x^2 - 5 + C", "F(x) = x^2 - 5"]),
    (r"\frac{(x+1)^2}{2}+C", [r"\frac{x^2}{2}+x+C", r"\frac{x^2}{2}+x+k"],
     [r"\frac{x^2}{2}+2x+C", r"\frac{x^2}{2}+x"]),
    (r"\sin^2 x+C", [r"-\cos^2 x+C", r"-\frac12\cos 2x+C"], [r"\cos^2 x+C", r"-\cos 2x+C"]),
    (r"\ln|x|+C", [r"\ln|2x|+C"], [r"\ln|x+1|+C"]),
    (r"\ln x+C", [r"\ln(3x)+C"], [r"\ln(-x)+C"]),
    (r"\arctan x+C", [r"C-\arctan(-x)"], [r"-\arctan\frac1x+C"]),
    (r"|x|+C", [r"|x|+1+C"], [r"x+C"]),
    ("e^x+C", ["e^x+5+C"], ["e^x+e^{-x}+C", r"e^x+\frac{x}{10^{50}}+C"]),
    (r"\frac{x^2}{2}+C", [], [r"\int x\,dx+C"]),
    # one letter of several
    ("a + c", [], ["a + k"]),
    ("A + B + C", ["A + C + B"], ["A + B + k", "A + B + c", "A + B + C + 1", "A + B"]),
    ("AB + C", ["C + AB"], ["AB + k", "AB + C + 1"]),
    ("S = A + C", [], ["S = A + c", "S = A + C + 2"]),
    ("5 + C", ["C + 5"], ["5 + k", "6 + C"]),
]  # fmt: skip


@pytest.mark.parametrize(("gold", "right", "wrong"), FAMILIES)
def test_a_constant_of_integration_takes_up_constants_and_no_other_letter_does(
    gold: str, right: list[str], wrong: list[str]
) -> None:
    assert verdicts(gold, right) == dict.fromkeys(right, True)
    assert verdicts(gold, wrong) == dict.fromkeys(wrong, False)
