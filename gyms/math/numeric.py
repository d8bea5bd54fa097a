r"""Numbers to 60 digits: the value of a closed expression, and identity of two expressions at random points.

What the exact form cannot decide (`\sin^2 x + \cos^2 x = 1`, nested roots) is decided here: both sides are evaluated at
points drawn from a fixed seed, to 60 digits and more where long numbers are written. Different values at one point
prove a difference; equal ones at all points are taken as identity, which no expression within the caps of `tree`
fakes: its coefficients are no smaller than the precision resolves. Analytic expressions that agree on an interval agree
everywhere, so points of one size are enough for them; where absolute values, roots, logarithms, floors or ceilings
occur, points of all sizes, between the constants that occur, and whole ones are drawn as well: `|x-10|` is `10-x` only
up to 10, and `\lfloor x\rfloor` is `\lceil x\rceil-1` but at the integers. The tree is evaluated node by node with
the arithmetic of mpmath; magnitudes are bounded before each function is called, so nothing is slow.

*Domains.* Two real expressions are compared where both are real, so `2\ln x` is `\ln x^2`. An absolute value of the
gold answer is there for the points where it would not be real without: an answer that left it out and is not real
there is another one (`\ln x` for `\ln|x|`). The other way round the answer says the same, and more.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping, Sequence
from fractions import Fraction
from itertools import pairwise
from random import Random
from typing import Any

import mpmath  # type: ignore[import-untyped]

from gyms.math.exact import key_of, rational
from gyms.math.tree import CONSTANTS, Node, num, size, walk
from gyms.math.whole import whole_letters

__all__ = ["Undecided", "identical", "is_narrower", "real", "value"]

DIGITS = 60
AGREEING_DIGITS = 40
NUM_POINTS = 6
NUM_POSITIVE = 3
MIN_POINTS = 3
MAX_POINT = 10**12
MAX_GROWING = 60
"""Farthest point where exponentials occur: their values must still cancel within CLOSE_DIGITS."""
MAGNITUDES = (Fraction(1, 20), 8, MAX_GROWING, 10**3, 10**6)
"""Cut the line where no constant does."""
MAXCONSTANTS = 6
MAX_CELLS = 16
WHOLE_POINTS = tuple(map(Fraction, ("0", "1", "-2", "12", "-60", "0.5", "-1.5")))
"""Where floor and ceiling turn: whole and half numbers, and multiples of small ones."""
CLOSE_DIGITS = 400
ONE_SIDED = "one-sided"
MAX_MAGNITUDE = 10**6
"""Largest argument of a function of which the result or its period must be resolved."""
MAX_WHOLE = 10**30
"""Largest number of which the whole part is taken: DIGITS leave as many behind the point."""
MAX_GAMMA = 1_000
"""Largest argument of a factorial between the whole numbers."""
MAX_BINARY_EXPONENT = 20_000
MAX_EVALUATED = 150
"""Most nodes of one side."""
SEED = 20_240_229
_GROWING = frozenset(["sinh", "cosh", "tanh", "coth", "exp"])
_ENTIRE = frozenset(["sin", "cos", "tan", "cot", "sec", "csc", "sinh", "cosh", "tanh", "coth", "exp"])
_EXTREMES = {"max": max, "min": min}
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
    nodes = [*walk(left), *walk(right)]
    names = sorted({_name(node) for node in nodes if _is_free(node)})
    is_real = IMAGINARY not in nodes
    if is_narrower(left, right):
        return False
    random = Random(SEED)
    agreed = 0
    points = NUM_POINTS if names else 1
    for point in range(points):
        # The first points are positive; the others are mixed, so that \sqrt{x^2} is not taken for x.
        drawn = {name: Fraction(_draw(random, is_positive=point < NUM_POSITIVE), 2**32) for name in names}
        found = _compare_at(left, right, drawn, is_real=is_real)
        if found is False or found is ONE_SIDED:
            return False
        agreed += found is True
    if agreed < min(MIN_POINTS, points):
        raise Undecided("too few points")
    if not names or not any(map(_is_piecewise, nodes)):
        return True
    return all(
        _compare_at(left, right, drawn, is_real=is_real) is not False or _agree_closely(left, right, drawn, context)
        for drawn in _far_points(nodes, names, random)
    )


def is_narrower(gold: Node, answer: Node) -> bool:
    """Whether an answer left out absolute values and is not real where the gold answer is: ln x for ln |x|."""
    nodes = [*walk(gold), *walk(answer)]
    if (
        not any("abs" in (node.op, node.value) for node in walk(gold))
        or IMAGINARY in nodes
        or len(nodes) > 2 * MAX_EVALUATED
    ):
        return False
    names, random, context = sorted({_name(node) for node in nodes if _is_free(node)}), Random(SEED), _context()
    sides = [_with_real_roots(node) for node in (gold, answer)]
    points = list(_far_points(nodes, names, random)) if names else []
    whole = whole_letters(gold, answer)
    if whole:  # (-1)^n is real for whole n alone
        points += [
            {
                name: Fraction(random.randrange(1, MAX_GROWING)) if name in whole else value
                for name, value in drawn.items()
            }
            for drawn in points
        ]
    for drawn in points:
        values = {name: context.mpf(value.numerator) / value.denominator for name, value in drawn.items()}
        a = _try(sides[0], values, context)
        b = _try(sides[1], values, context) if a is not None and context.im(a) == 0 else None
        if b is not None and context.im(b) != 0:
            return True
    return False


def _with_real_roots(node: Node) -> Node:
    """Even powers of odd roots as custom reads them: x^{2/3} is |x|^{2/3}, but x^{1/3} is not |x|^{1/3}."""
    node = node._replace(args=tuple(map(_with_real_roots, node.args))) if node.args else node
    exponent = rational(node.args[1]) if node.op == "pow" else None
    if exponent is None or exponent.denominator == 1 or exponent.numerator % 2 == 1:
        return node
    root = Node("root", (node.args[0], num(exponent.denominator)))
    return Node("pow", (root, num(exponent.numerator)))


def _compare_at(left: Node, right: Node, drawn: Mapping[str, Fraction], *, is_real: bool) -> bool | str | None:
    """Whether two expressions agree at a point; ONE_SIDED where only one has a value; None where it proves nothing."""
    context = _context()
    values = {name: context.mpf(value.numerator) / value.denominator for name, value in drawn.items()}
    a, b = _try(left, values, context), _try(right, values, context)
    if a is None or b is None:
        return None if a is b else ONE_SIDED
    if _agree(a, b, context):
        return True
    # Elsewhere a real expression left its domain, where branches may differ.
    return False if not is_real or (context.im(a) == 0 and context.im(b) == 0) else None


def _agree_closely(left: Node, right: Node, drawn: Mapping[str, Fraction], context: Any) -> bool:
    """Whether two values that differ to 60 digits agree to more: large terms may have cancelled."""
    with context.workdps(CLOSE_DIGITS):
        return _compare_at(left, right, drawn, is_real=False) is not False


def _is_piecewise(node: Node) -> bool:
    """True for what two expressions may agree on here and not there: analytic ones agree everywhere."""
    if node.op == "pow":
        return node.args[1].op != "num" or node.args[1].value.denominator != 1
    return node.op in ("abs", "floor", "ceil", "root") or (node.op == "fn" and node.value not in _ENTIRE)


def _far_points(nodes: Sequence[Node], names: Sequence[str], random: Random) -> Iterator[dict[str, Fraction]]:
    """Points in and between all orders of magnitude, on both sides of each constant; whole ones where it matters.

    The constants that occur, their quotients and powers of ten cut the line; one point is drawn from each cell.
    """
    grows = any(
        node.value in _GROWING if node.op == "fn" else node.op == "pow" and node.args[1].op != "num" for node in nodes
    )
    limit = MAX_GROWING if grows else MAX_POINT
    written = {abs(node.value) for node in nodes if node.op == "num" and node.value.numerator.bit_length() < 64}
    constants = sorted(value for value in written if Fraction(1, 10**4) < value <= limit)[:MAXCONSTANTS]
    quotients = {one / other for one in constants for other in constants}
    cuts = {value for value in (*constants, *quotients, *map(Fraction, MAGNITUDES)) if value <= limit}
    if constants:
        cuts.add(2 * constants[-1])
    ends = sorted({Fraction(0), *cuts, *(-value for value in cuts)})
    cells = list(pairwise(ends))
    if len(cells) > MAX_CELLS:
        # Cells at the constants themselves first: there an absolute value or a root turns.
        near = [cell for cell in cells if any(abs(end) in written for end in cell)]
        cells = random.sample(near, min(len(near), MAX_CELLS)) + random.sample(cells, MAX_CELLS // 2)
    for cell in cells:
        yield {
            name: _between(cell if place == 0 else random.choice(cells), random)
            for place, name in enumerate(random.sample(names, len(names)))
        }
    if any(node.op in ("floor", "ceil") or node.value in ("floor", "ceil") for node in nodes):
        for whole in WHOLE_POINTS:
            yield {name: whole + place for place, name in enumerate(names)}


def _between(cell: tuple[Fraction, Fraction], random: Random) -> Fraction:
    return cell[0] + (cell[1] - cell[0]) * Fraction(random.randrange(1, 2**16), 2**16)


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
    return (node.op == "sym" and node.value not in CONSTANTS) or node.op == "call"


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
        if op == "sym" and node.value in CONSTANTS:
            return {"pi": +context.pi, "e": +context.e, "i": context.mpc(0, 1)}[node.value]
        name = _name(node)
        if name not in values:
            raise Undecided(f"{name} is a variable")
        return values[name]
    if op == "fn" and len(node.args) > 2 and node.value not in _EXTREMES:
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
        return _function(op, parts, context)
    if op == "fact":
        argument = _bounded(parts[0], MAX_GAMMA)
        return context.fac2(argument) if node.value == 2 else context.gamma(argument + 1)
    if op == "binom":
        return context.binomial(*(_bounded(part, MAX_GAMMA) for part in parts))
    if op == "fn":
        return _function(node.value, parts, context)
    raise Undecided(op)


def _bounded(number: Any, cap: int = MAX_MAGNITUDE) -> Any:
    if abs(number) > cap:
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
    if name in ("floor", "ceil") and len(parts) == 1:
        argument = _bounded(parts[0], MAX_WHOLE)
        nearest = context.nint(argument)
        # What is a whole number but for the last digits, as 3 * (1/3) may be, is one.
        return (
            nearest
            if abs(argument - nearest) < context.mpf(10) ** -AGREEING_DIGITS
            else getattr(context, name)(argument)
        )
    if name in _EXTREMES and len(parts) > 1:
        if any(context.im(part) != 0 for part in parts):
            raise Undecided(f"{name} of numbers that have no order")
        return _EXTREMES[name](map(context.re, parts))
    argument = _bounded(parts[0])
    if name in ("ln", "log", "logb"):
        if argument == 0:
            raise Undecided("log of 0")
        logarithm = context.log(argument)
        if name == "ln":
            return logarithm
        # \log without a base is read as the decimal one on both sides; `compare` lets a gold \log be either.
        return logarithm / context.log(10 if name == "log" else _bounded(parts[1]))
    if name == "perm" and len(parts) == 2:
        top, taken = (_bounded(part, MAX_GAMMA) for part in parts)
        return context.gamma(top + 1) / context.gamma(top - taken + 1)
    if len(parts) != 1:
        raise Undecided(name)
    if name in ("sin", "cos", "tan", "cot", "sec", "csc", "sinh", "cosh", "tanh", "coth", "exp"):
        return getattr(context, name)(argument)
    if name in ("asinh", "acosh", "atanh"):
        return getattr(context, name)(argument)
    if name in ("arcsin", "arccos", "arctan", "arccot", "arcsec", "arccsc"):
        return getattr(context, "a" + name[3:])(argument)
    if name == "abs":
        return context.fabs(argument)
    if name == "cbrt":
        return _root(argument, context.mpf(3), context)
    raise Undecided(name)
