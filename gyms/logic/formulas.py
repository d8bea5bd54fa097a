"""Formulas in answers to reasoning-gym's algebra: read without `eval`, and computed with numbers that cannot explode.

sympy's parser evaluates Python, its `simplify` may run for ever, and its `evalf` does on `exp(exp(exp(x)))`, so it is
not used. A formula is parsed to a syntax tree of known names, numbers and operators. An integral is right where its
derivative is the integrand at fixed points: value and derivative are computed together (forward differentiation) in 30
digits, and each step looks at its operands before it computes, so that a tower of powers has no value rather than no
end. A polynomial is added up exactly, monomial by monomial.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Callable, Mapping
from fractions import Fraction
from functools import lru_cache
from typing import Any

import mpmath

__all__ = ["NoValue", "is_antiderivative", "is_expanded_product", "jet", "parsed"]

MAX_CHARS = 1000
MAX_NUMBER_DIGITS = 40
MAX_LOG = 500.0
"""Greatest |real part| of what is put into exp: e**500 has 218 digits."""
MAX_ANGLE = 1e12
"""Greatest |argument| of sin, cos and tan: 30 digits less those of the angle must be left."""
MAX_DEGREE = 999
DIGITS = 30
TOLERANCE = 1e-9
"""Relative difference of two values that are the same; the answer's decimals may be rounded."""
POINTS = (0.37, 0.83, 1.21, 1.79, 2.45, -0.41, -1.13, -2.07)
MIN_COMPARED = 3

_FORMULA = re.compile(rf"[A-Za-z0-9+\-*/(). ^]{{1,{MAX_CHARS}}}")
_TOO_LONG = re.compile(rf"[0-9]{{{MAX_NUMBER_DIGITS + 1}}}|\.[A-Za-z.]")
_NODES = (ast.BinOp, ast.UnaryOp, ast.Call, ast.Name, ast.Constant, ast.operator, ast.unaryop, ast.expr_context)

Jet = tuple[Any, Any]
"""Value and derivative of an expression at a point, as numbers of mpmath."""


class NoValue(ArithmeticError):
    """An expression has no value at a point, or one that is too large to be looked at."""


def parsed(text: str, variables: set[str]) -> ast.expr | None:
    """The syntax tree of a formula over `variables`; None where it holds anything that a formula does not."""
    plain = text.strip().replace("^", "**")
    if len(plain) > MAX_CHARS or _FORMULA.fullmatch(plain) is None or _TOO_LONG.search(plain):
        return None
    if not set(re.findall(r"[A-Za-z]+[0-9]*", plain)) <= variables | set(_FUNCTIONS) | {"C", "E", "pi"}:
        return None
    try:
        tree = ast.parse(plain, mode="eval").body
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return None
    return tree if all(_is_formula(node, variables) for node in ast.walk(tree)) else None


def _is_formula(node: ast.AST, variables: set[str]) -> bool:
    match node:
        case ast.Constant(value=number):
            return isinstance(number, int | float) and not isinstance(number, bool)
        case ast.Name(id=name):
            return name in variables or name in ("C", "E", "pi") or name in _FUNCTIONS
        case ast.UnaryOp(op=op):
            return isinstance(op, ast.USub | ast.UAdd)
        case ast.BinOp(op=op):
            return isinstance(op, ast.Add | ast.Sub | ast.Mult | ast.Div | ast.Pow)
        case ast.Call(func=ast.Name(id=name), args=[inner], keywords=[]):
            return name in _FUNCTIONS and not isinstance(inner, ast.Starred)
    return isinstance(node, _NODES) and not isinstance(node, ast.Call)


# -- values and derivatives -------------------------------------------------------------------------------------------


@lru_cache(maxsize=1)
def _context() -> Any:
    """mpmath with its own precision: whoever else uses the library keeps theirs."""
    context = mpmath.mp.clone()
    context.dps = DIGITS
    return context


def jet(node: ast.expr, point: Mapping[str, float], variable: str) -> Jet:
    """Value and derivative with respect to `variable` at a point; the constant C is 0.

    Raises NoValue, after work that is bounded by the size of the tree.
    """
    context = _context()
    match node:
        case ast.Constant(value=number):
            return context.mpf(number), context.zero
        case ast.Name(id="C"):
            return context.zero, context.zero
        case ast.Name(id="E" | "pi" as name) if name not in point:
            return (+context.e if name == "E" else +context.pi), context.zero
        case ast.Name(id=name) if name in point:
            return context.mpf(point[name]), context.mpf(int(name == variable))
        case ast.UnaryOp(op=op, operand=inner):
            value, slope = jet(inner, point, variable)
            return (-value, -slope) if isinstance(op, ast.USub) else (value, slope)
        case ast.BinOp(left=left, op=op, right=right):
            return _bounded(_combined(op, jet(left, point, variable), jet(right, point, variable)))
        case ast.Call(func=ast.Name(id=name), args=[inner]):
            value, slope = jet(inner, point, variable)
            return _bounded(_FUNCTIONS[name](value, slope))
    raise NoValue(f"a formula has no {type(node).__name__} here")


def _bounded(found: Jet) -> Jet:
    context = _context()
    if not all(context.isfinite(part) for part in found):
        raise NoValue("not finite")
    return found


def _combined(op: ast.operator, left: Jet, right: Jet) -> Jet:
    (a, da), (b, db) = left, right
    match op:
        case ast.Add():
            return a + b, da + db
        case ast.Sub():
            return a - b, da - db
        case ast.Mult():
            return a * b, da * b + a * db
        case ast.Div():
            if b == 0:
                raise NoValue("divided by 0")
            return a / b, (da * b - a * db) / (b * b)
    return _power(left, right)


def _power(base: Jet, exponent: Jet) -> Jet:
    context = _context()
    (a, da), (b, db) = base, exponent
    if a == 0:
        if db != 0 or context.re(b) < 0 or abs(b) > MAX_DEGREE:
            raise NoValue("a power of 0")
        return context.power(a, b), (da if b == 1 else context.zero)
    log = context.log(a)
    if abs(b * log) > MAX_LOG or abs(b) > 1e6:
        raise NoValue("too large a power")
    value = context.power(a, b)
    return value, value * (db * log + b * da / a)


def _exp(x: Any, dx: Any) -> Jet:
    value = _context().exp(_within(x, MAX_LOG))
    return value, value * dx


def _within(x: Any, most: float) -> Any:
    if abs(x) > most:
        raise NoValue("too large an argument")
    return x


def _angle(x: Any) -> Any:
    """An argument of sin, cos, tan and their like, which grow like exp along one of the axes."""
    context = _context()
    _within(context.im(x), MAX_LOG)
    return _within(x, MAX_ANGLE)


def _log(x: Any, dx: Any) -> Jet:
    if x == 0:
        raise NoValue("the logarithm of 0")
    return _context().log(x), dx / x


def _sqrt(x: Any, dx: Any) -> Jet:
    root = _context().sqrt(x)
    if root == 0:
        raise NoValue("the root of 0 has no derivative")
    return root, dx / (2 * root)


def _tan(x: Any, dx: Any) -> Jet:
    value = _context().tan(_angle(x))
    return value, dx * (1 + value * value)


def _inverse(name: str, slope: Callable[[Any], Any]) -> Callable[[Any, Any], Jet]:
    """An inverse function, whose derivative is 1 / slope."""

    def apply(x: Any, dx: Any) -> Jet:
        below = slope(_within(x, MAX_ANGLE))
        if below == 0:
            raise NoValue("no derivative here")
        return getattr(_context(), name)(x), dx / below

    return apply


def _absolute(x: Any, dx: Any) -> Jet:
    if x == 0:
        raise NoValue("no derivative here")
    context = _context()
    return abs(x), context.re(context.conj(x) * dx) / abs(x)


_FUNCTIONS: Mapping[str, Callable[[Any, Any], Jet]] = {
    "sin": lambda x, dx: (_context().sin(_angle(x)), dx * _context().cos(x)),
    "cos": lambda x, dx: (_context().cos(_angle(x)), -dx * _context().sin(x)),
    "tan": _tan,
    "exp": _exp,
    "log": _log,
    "ln": _log,
    "sqrt": _sqrt,
    "asin": _inverse("asin", lambda x: _context().sqrt(1 - x * x)),
    "acos": _inverse("acos", lambda x: -_context().sqrt(1 - x * x)),
    "atan": _inverse("atan", lambda x: 1 + x * x),
    "sinh": lambda x, dx: (_context().sinh(_within(x, MAX_LOG)), dx * _context().cosh(x)),
    "cosh": lambda x, dx: (_context().cosh(_within(x, MAX_LOG)), dx * _context().sinh(x)),
    "tanh": lambda x, dx: (_context().tanh(_within(x, MAX_LOG)), dx / _context().cosh(x) ** 2),
    "Abs": _absolute,
}


def is_antiderivative(answer: str, integrand: str, variable: str) -> bool:
    """Whether the derivative of the answer is the integrand, wherever the integrand has a value among fixed points.

    Raises ValueError where the integrand, which is the puzzle's, cannot be read.
    """
    wanted = parsed(integrand, {variable})
    if wanted is None:
        raise ValueError(f"the integrand {integrand!r:.100} cannot be read")
    found = parsed(answer, {variable})
    if found is None:
        return False
    num_compared = 0
    for point in POINTS:
        try:
            value = jet(wanted, {variable: point}, variable)[0]
        except (ArithmeticError, ValueError, RecursionError):
            continue
        try:
            slope = jet(found, {variable: point}, variable)[1]
        except (ArithmeticError, ValueError, RecursionError):
            return False
        if abs(value - slope) > TOLERANCE * max(1, abs(value), abs(slope)):
            return False
        num_compared += 1
    return num_compared >= MIN_COMPARED


# -- polynomials ------------------------------------------------------------------------------------------------------


def is_expanded_product(answer: str, gold: str) -> bool:
    """Whether an answer is the polynomial `gold`, multiplied out: it holds no bracket."""
    variables = set(re.findall(r"[A-Za-z]", gold))
    if "(" in answer:
        return False
    found, wanted = (_polynomial(text, variables) for text in (answer, gold))
    return found is not None and found == wanted


def _polynomial(text: str, variables: set[str]) -> dict[tuple[tuple[str, int], ...], Fraction] | None:
    """Monomial -> coefficient, without zeros; None where the text is no sum of monomials."""
    tree = parsed(text, variables)
    if tree is None or "(" in text:
        return None
    found: dict[tuple[tuple[str, int], ...], Fraction] = {}
    try:
        for coefficient, powers in _terms(tree):
            key = tuple(sorted((name, power) for name, power in powers.items() if power))
            found[key] = found.get(key, Fraction(0)) + coefficient
    except (NoValue, ZeroDivisionError, RecursionError):
        return None
    return {key: coefficient for key, coefficient in found.items() if coefficient}


Term = tuple[Fraction, dict[str, int]]


def _terms(node: ast.expr) -> list[Term]:
    match node:
        case ast.BinOp(left=left, op=ast.Add() | ast.Sub() as op, right=right):
            sign = -1 if isinstance(op, ast.Sub) else 1
            return [*_terms(left), *((sign * number, powers) for number, powers in _terms(right))]
        case ast.UnaryOp(op=op, operand=inner):
            sign = -1 if isinstance(op, ast.USub) else 1
            return [(sign * number, powers) for number, powers in _terms(inner)]
    return [_monomial(node)]


def _monomial(node: ast.expr) -> Term:
    match node:
        case ast.Constant(value=int() | float() as number):
            return Fraction(str(number)), {}
        case ast.Name(id=name) if name not in _FUNCTIONS:
            return Fraction(1), {name: 1}
        case ast.UnaryOp(op=ast.USub(), operand=inner):
            number, powers = _monomial(inner)
            return -number, powers
        case ast.BinOp(left=left, op=ast.Mult() | ast.Div() as op, right=right):
            (a, one), (b, other) = _monomial(left), _monomial(right)
            sign = 1 if isinstance(op, ast.Mult) else -1
            powers = {name: one.get(name, 0) + sign * other.get(name, 0) for name in one | other}
            return a * b**sign, powers
        case ast.BinOp(left=left, op=ast.Pow(), right=ast.Constant(value=int() as degree)) if degree <= MAX_DEGREE:
            number, powers = _monomial(left)
            return number**degree, {name: power * degree for name, power in powers.items()}
    raise NoValue(f"a monomial has no {type(node).__name__}")
