"""The reader of formulas in reasoning-gym answers: it builds what sympy's parser would, and evaluates nothing."""

from __future__ import annotations

import pytest
import sympy

from gyms.logic_verify import _expression

X = sympy.Symbol("x")
RIGHT = [
    "x**2/2 + 3*x + C", "-x^3 + 2", "sin(2*x)*exp(-x)", "sqrt(x)/(1 + x)", "ln(x) + log(3)", "0.5*x + 1.25", "E**2*pi",
    "x**(1/2)", "+x - -x", "Abs(x)*tan(x)",
]  # fmt: skip
WRONG = [
    "x.real", "x()", "(1)(2)", "open(x)", "x if x else x", "lambda", "[x]", "sin(x, x)", "sin", "2 3", "9**9**9",
    "x**9999", "sin(*x)", "x==x", "x and x", "True", "1j", "x_", "__import__", "sin(x=x)", "", "x +", "1e5",
    "print(x)", "C(x)",
]  # fmt: skip


@pytest.mark.parametrize("text", RIGHT)
def test_a_formula_is_read_as_sympy_reads_it(text: str) -> None:
    scope = {"x": X, "C": sympy.Symbol("C"), "ln": sympy.log}
    wanted = sympy.parse_expr(text.replace("^", "**"), local_dict=scope)
    found = _expression(text, {"x"})
    assert found is not None and sympy.simplify(found - wanted) == 0


@pytest.mark.parametrize("text", WRONG)
def test_what_is_no_formula_is_nothing(text: str) -> None:
    assert _expression(text, {"x"}) is None
