r"""Numbers to 60 digits: the value of a closed expression, and identity of two expressions at random points.

What the exact form cannot decide (`\sin^2 x + \cos^2 x = 1`, nested roots) is decided here: both sides are evaluated at
points drawn from a fixed seed, to 60 digits and more where long numbers are written. Different values at one point
prove a difference; equal ones at all points are taken as identity, which no expression within the caps of `caps`
fakes: its coefficients are no smaller than the precision resolves. The tree is evaluated node by node with mpmath's
arithmetic; magnitudes are bounded before each function is called, so nothing is slow.
"""

from __future__ import annotations

import threading
from collections.abc import Mapping
from fractions import Fraction
from random import Random
from typing import Any

import mpmath  # type: ignore[import-untyped]

from gyms.math.exact import key_of
from gyms.math.tree import Node, size, walk

__all__ = ["Undecided", "identical", "real", "value"]

DIGITS = 60
AGREEING_DIGITS = 40
NUM_POINTS = 6
NUM_POSITIVE = 3
MIN_POINTS = 3
MAX_MAGNITUDE = 10**6
"""Largest argument of a function of which the result or its period must be resolved."""
MAX_BINARY_EXPONENT = 20_000
MAX_EVALUATED = 150
"""Most nodes of one side."""
SEED = 20_240_229
_CONSTANTS = frozenset(["pi", "e", "i"])
IMAGINARY = Node("sym", (), "i")
_local = threading.local()


class Undecided(Exception):
    """The expression cannot be evaluated: an unknown function, a pole, a magnitude over the cap."""


def value(node: Node) -> Any:
    """The value of a closed expression as an mpmath number; Undecided where it has none."""
    if size(node) > MAX_EVALUATED:
        raise Undecided("too many parts")
    return _evaluate(node, {}, _context())


def real(node: Node) -> Fraction | None:
    """The value of a closed real expression to 60 digits as a rational number; None where it has none."""
    try:
        found = value(node)
    except Undecided:
        return None
    if getattr(found, "imag", 0) != 0:
        return None
    sign, mantissa, exponent, _ = found.real._mpf_
    if abs(exponent) > MAX_BINARY_EXPONENT:
        return None
    size = Fraction(int(mantissa)) * Fraction(2) ** int(exponent)
    return -size if sign else size


def identical(left: Node, right: Node) -> bool:
    """True where two expressions agree at all random points; Undecided where too few points can be evaluated."""
    if max(size(left), size(right)) > MAX_EVALUATED:
        raise Undecided("too many parts")
    context = _context()
    names = sorted({_name(node) for side in (left, right) for node in walk(side) if _is_free(node)})
    random = Random(SEED)
    is_real = not any(node == IMAGINARY for side in (left, right) for node in walk(side))
    agreed = 0
    points = NUM_POINTS if names else 1
    for point in range(points):
        # The first points are positive; the others are mixed, so that \sqrt{x^2} is not taken for x.
        values = {name: context.mpf(_draw(random, is_positive=point < NUM_POSITIVE)) / 2**32 for name in names}
        a, b = _try(left, values, context), _try(right, values, context)
        if a is None and b is None:
            continue
        if a is None or b is None:
            return False
        if _agree(a, b, context):
            agreed += 1
        elif not is_real or (context.im(a) == 0 and context.im(b) == 0):
            return False  # elsewhere a real expression left its domain, where branches may differ
    if agreed < min(MIN_POINTS, points):
        raise Undecided("too few points")
    return True


def _draw(random: Random, *, is_positive: bool) -> int:
    """A numerator over 2**32: of a number in (0.5, 3), with either sign."""
    size = random.randrange(2**31, 3 * 2**32)
    return size if is_positive or random.random() < 0.4 else -size


def _context() -> Any:
    """mpmath's precision is state: every thread has its own."""
    if not hasattr(_local, "context"):
        _local.context = mpmath.mp.clone()
        _local.context.dps = DIGITS
    return _local.context


def _is_free(node: Node) -> bool:
    return (node.op == "sym" and node.value not in _CONSTANTS) or node.op == "call"


def _name(node: Node) -> str:
    return node.value if node.op == "sym" else key_of(node)


def _try(node: Node, values: Mapping[str, Any], context: Any) -> Any:
    try:
        return _evaluate(node, values, context)
    except Undecided:
        return None


def _agree(a: Any, b: Any, context: Any) -> bool:
    scale = max(abs(a), abs(b))
    return bool(abs(a - b) <= scale * context.mpf(10) ** -AGREEING_DIGITS) or scale == 0


def _evaluate(node: Node, values: Mapping[str, Any], context: Any) -> Any:
    try:
        found = _node_value(node, values, context)
    except (ZeroDivisionError, ValueError, OverflowError, ArithmeticError) as error:
        raise Undecided(str(error)) from error
    if not context.isfinite(found):
        raise Undecided("not finite")
    return found


def _node_value(node: Node, values: Mapping[str, Any], context: Any) -> Any:
    op = node.op
    if op == "num":
        return context.mpf(node.value.numerator) / node.value.denominator
    if op in ("sym", "call"):
        if op == "sym" and node.value in _CONSTANTS:
            return {"pi": +context.pi, "e": +context.e, "i": context.mpc(0, 1)}[node.value]
        name = _name(node)
        if name not in values:
            raise Undecided(f"{name} is a variable")
        return values[name]
    if op == "fn" and len(node.args) > 2:
        raise Undecided(node.value)
    parts = [_evaluate(part, values, context) for part in node.args] if op != "big" else []
    if op in ("add", "mixed"):
        return sum(parts[1:], parts[0])
    if op == "mul":
        product = parts[0]
        for part in parts[1:]:
            product = product * part
        return product
    if op in ("neg", "div", "percent", "deg", "based"):
        return {
            "neg": lambda: -parts[0],
            "div": lambda: parts[0] / parts[1],
            "percent": lambda: parts[0] / 100,
            "deg": lambda: parts[0] * context.pi / 180,
            "based": lambda: parts[0],
        }[op]()
    if op == "pow":
        return _power(parts[0], parts[1], context)
    if op == "root":
        return _root(parts[0], parts[1], context)
    if op in ("abs", "floor", "ceil"):
        return getattr(context, {"abs": "fabs"}.get(op, op))(_bounded(parts[0]))
    if op == "fn":
        return _function(node.value, parts, context)
    raise Undecided(op)


def _bounded(number: Any) -> Any:
    if abs(number) > MAX_MAGNITUDE:
        raise Undecided("a magnitude is over the cap")
    return number


def _power(base: Any, exponent: Any, context: Any) -> Any:
    if base == 0:
        return context.mpf(0) ** exponent
    if abs(exponent) * (1 + abs(context.log(abs(base)))) > MAX_MAGNITUDE:
        raise Undecided("a power is over the cap")
    return base**exponent


def _root(radicand: Any, index: Any, context: Any) -> Any:
    """The real root where there is one: an odd root of a negative number is negative."""
    is_odd = index == int(context.re(index)) and int(context.re(index)) % 2 == 1
    if is_odd and context.im(radicand) == 0 and context.re(radicand) < 0:
        return -(context.power(-radicand, 1 / context.mpf(index)))
    return _power(radicand, 1 / index, context)


def _function(name: str, parts: list[Any], context: Any) -> Any:
    argument = _bounded(parts[0])
    if name in ("ln", "log", "logb"):
        if argument == 0:
            raise Undecided("log of 0")
        logarithm = context.log(argument)
        if name == "ln":
            return logarithm
        # \log without a base is read as the decimal one on both sides; `compare` lets a gold \log be either.
        return logarithm / context.log(10 if name == "log" else _bounded(parts[1]))
    if len(parts) != 1:
        raise Undecided(name)
    if name in ("sin", "cos", "tan", "cot", "sec", "csc", "sinh", "cosh", "tanh", "coth", "exp"):
        return getattr(context, name)(argument)
    if name in ("arcsin", "arccos", "arctan", "arccot", "arcsec", "arccsc"):
        return getattr(context, "a" + name[3:])(argument)
    if name in ("abs", "floor", "ceil"):
        return getattr(context, {"abs": "fabs"}.get(name, name))(argument)
    if name == "cbrt":
        return _root(argument, context.mpf(3), context)
    raise Undecided(name)
