r"""Exact values: every scalar expression as a quotient of polynomials over the rational numbers.

The arithmetic is in `poly`. The indeterminates ("atoms") are variables, pi, e, i, and primes with fractional exponents:
\sqrt{12} is 2 times the atom 3 to the power 1/2. Roots of different primes are linearly independent over the rationals
(Besicovitch, 1940), so for these atoms two values are equal exactly if the polynomials are. All else (nested roots,
functions, powers with unknown exponents) becomes an *opaque* atom, named by its own exact form: equal polynomials are
still equal values, but different ones prove nothing; `numeric` then decides.
"""

from __future__ import annotations

import hashlib
import math
from fractions import Fraction
from functools import reduce

from gyms.math.poly import (
    ONE,
    Ratio,
    TooBig,
    atom_of,
    begin,
    constant,
    divided,
    in_hex,
    monomial,
    rational_root,
    scaled,
    sum_of,
    times,
    whole_power,
)
from gyms.math.tree import MAX_FACTORIAL, Node, TooComplex

__all__ = ["NotScalar", "Ratio", "TooBig", "exact", "key_of", "rational"]

MAX_EXPANDED = 8
"""Largest lower argument of a binomial coefficient that is a polynomial in its upper one."""
MAX_KEY_CHARS = 200
"""Longest name of an atom; longer ones are hashed."""
_OF_INTEGERS = {"gcd": math.gcd, "lcm": math.lcm, "max": max, "min": min, "perm": math.perm}
"""Functions of two or more integers."""


class NotScalar(Exception):
    """The node is no scalar expression: a set, a relation, words, infinity."""


def rational(node: Node) -> Fraction | None:
    """The value of a node that is a rational number, or None. Raises TooComplex over a cap."""
    if node.op == "num":
        return node.value
    if node.op == "neg":
        inner = rational(node.args[0])
        return None if inner is None else -inner
    try:
        return exact(node).as_rational()
    except (NotScalar, TooBig):
        return None


def exact(node: Node) -> Ratio:
    """The exact form. Raises NotScalar, TooBig, TooComplex (a cap), Unreadable (a division by zero)."""
    begin()
    return _exact(node)


def key_of(node: Node) -> str:
    """A name for a node that is the same for nodes of the same exact form."""
    begin()
    return _key_of(node)


def _exact(node: Node) -> Ratio:
    op = node.op
    if op == "num":
        return constant(node.value)
    if op == "sym":
        return _symbol(node.value)
    if op in ("call", "big"):
        return atom_of(("s:" if op == "call" else "o:") + _key_of(node))
    if op in ("neg", "add", "mul", "div", "mixed", "percent", "deg", "based"):
        return _arithmetic(op, [_exact(part) for part in node.args])
    if op == "pow":
        return _power(_exact(node.args[0]), _exact(node.args[1]))
    if op == "root":
        return _root(_exact(node.args[0]), _exact(node.args[1]))
    if op in ("fact", "binom", "abs", "floor", "ceil", "mod"):
        return _integer_operation(op, node)
    if op == "fn":
        return _function(node)
    raise NotScalar(op)


def _key_of(node: Node) -> str:
    try:
        if node.op not in ("call", "big"):
            return _ratio_key(_exact(node))
    except (NotScalar, TooBig):
        pass
    return _short(f"{node.op}[{node.value}]({','.join(_key_of(part) for part in node.args)})")


def _ratio_key(ratio: Ratio) -> str:
    polys = ("+".join(f"{in_hex(value)}*{mono}" for mono, value in sorted(poly.items())) for poly in _reduced(ratio))
    return _short("/".join(polys))


def _short(key: str) -> str:
    """Keys stand in keys: without a bound they would grow with the power of the nesting."""
    return key if len(key) <= MAX_KEY_CHARS else hashlib.blake2b(key.encode(), digest_size=20).hexdigest()


def _reduced(ratio: Ratio) -> Ratio:
    """The same quotient with a bottom whose first coefficient is one."""
    lead = ratio.bottom[min(ratio.bottom)]
    return ratio if lead == 1 else Ratio(scaled(ratio.top, 1 / lead), scaled(ratio.bottom, 1 / lead))


def _symbol(name: str) -> Ratio:
    if name == "i":
        return atom_of("i")
    return atom_of(f"k:{name}" if name in ("pi", "e") else f"s:{name}")


def _arithmetic(op: str, parts: list[Ratio]) -> Ratio:
    if op == "neg":
        return Ratio(scaled(parts[0].top, Fraction(-1)), parts[0].bottom)
    if op in ("add", "mixed", "mul"):
        return reduce(times if op == "mul" else sum_of, parts)
    if op == "div":
        return divided(parts[0], parts[1])
    if op == "percent":
        return Ratio(scaled(parts[0].top, Fraction(1, 100)), parts[0].bottom)
    if op == "deg":
        return times(parts[0], Ratio({(("k:pi", 1),): Fraction(1, 180)}, ONE))
    return parts[0]


def _power(base: Ratio, exponent: Ratio) -> Ratio:
    power = exponent.as_rational()
    if power is None:
        return atom_of(f"o:pow({_ratio_key(base)};{_ratio_key(exponent)})")
    if power.denominator == 1:
        return whole_power(base, int(power))
    return _fractional_power(base, power)


def _root(base: Ratio, index: Ratio) -> Ratio:
    degree = index.as_rational()
    if degree is None or degree.denominator != 1 or not 2 <= degree <= 100:
        raise TooBig
    return _fractional_power(base, 1 / degree)


def _fractional_power(base: Ratio, power: Fraction) -> Ratio:
    value = base.as_rational()
    if value is not None:
        return rational_root(value, power)
    if base.bottom == ONE and len(base.top) == 1:
        ((mono, scale),) = base.top.items()
        if all(atom.startswith(("p:", "k:")) for atom, _ in mono) and scale > 0:
            rest, merged = monomial(tuple((atom, exponent * power) for atom, exponent in mono), ())
            return times(rational_root(scale, power), Ratio({merged: Fraction(rest)}, ONE))
        if scale == 1 and len(mono) == 1 and mono[0][1] == 1 and mono[0][0].startswith("s:"):
            return atom_of(mono[0][0], power)
    return atom_of(f"o:({_ratio_key(base)})", power)


def _rational(node: Node) -> Fraction | None:
    try:
        return _exact(node).as_rational()
    except NotScalar:
        return None


def _integer_operation(op: str, node: Node) -> Ratio:
    values = [_rational(part) for part in node.args]
    numbers = [value for value in values if value is not None]
    if len(numbers) == len(values):
        first = numbers[0]
        if op == "abs":
            return constant(abs(first))
        if op in ("floor", "ceil"):
            return constant(Fraction(math.floor(first) if op == "floor" else math.ceil(first)))
        if op == "mod" and numbers[1] > 0 and node.value != "pmod":
            return constant(first % numbers[1])
        if all(value.denominator == 1 and value >= 0 for value in numbers):
            if max(numbers) > MAX_FACTORIAL:
                raise TooComplex(f"the argument of a factorial or binomial is over {MAX_FACTORIAL}")
            if op == "fact":
                step = 2 if node.value == 2 else 1  # 7!! = 7 * 5 * 3
                return constant(Fraction(math.prod(range(int(first), 0, -step))))
            if op == "binom":
                return constant(Fraction(math.comb(int(first), int(numbers[1]))))
    chosen = values[1] if op == "binom" else None
    if chosen is not None and chosen in range(MAX_EXPANDED + 1):
        top, falling = _exact(node.args[0]), Ratio(ONE, ONE)
        for step in range(int(chosen)):  # n(n-1)(n-2)/6
            falling = times(times(falling, sum_of(top, constant(Fraction(-step)))), constant(Fraction(1, step + 1)))
        return falling
    return atom_of(f"o:{op}{node.value or ''}({','.join(_key_of(part) for part in node.args)})")


def _function(node: Node) -> Ratio:
    if node.value == "exp" and len(node.args) == 1:
        return _power(_symbol("e"), _exact(node.args[0]))
    if node.value == "abs" and len(node.args) == 1:
        return _integer_operation("abs", Node("abs", node.args))
    if node.value in _OF_INTEGERS and len(node.args) > 1:
        values = [_rational(part) for part in node.args]
        numbers = [int(value) for value in values if value is not None and value.denominator == 1]
        if node.value == "perm" and (max(numbers, default=0) > MAX_FACTORIAL or min(numbers, default=0) < 0):
            raise TooComplex(f"the argument of a number of arrangements is negative or over {MAX_FACTORIAL}")
        if len(numbers) == len(values):
            return constant(Fraction(_OF_INTEGERS[node.value](*numbers)))
    if node.value in ("sin", "cos", "tan", "cot", "sec", "csc") and len(node.args) == 1:
        turned = _at_special_angle(node.value, _exact(node.args[0]))
        if turned is not None:
            return turned
    if node.value == "cbrt" and len(node.args) == 1:
        return _fractional_power(_exact(node.args[0]), Fraction(1, 3))
    return atom_of(f"o:{node.value}({','.join(_key_of(part) for part in node.args)})")


_COSINES = {
    Fraction(0): (1, 0),
    Fraction(1, 6): (2, 3),
    Fraction(1, 4): (2, 2),
    Fraction(1, 3): (2, 1),
    Fraction(1, 2): (0, 0),
}
"""Multiples of pi between 0 and 1/2 -> the cosine there, as (divisor, radicand): sqrt(radicand) / divisor."""


def _at_special_angle(name: str, angle: Ratio) -> Ratio | None:
    """The value of a trigonometric function at a multiple of pi/4 or pi/6; None at other arguments."""
    if angle.bottom != ONE or not set(angle.top) <= {(("k:pi", 1),)}:
        return None
    turns = angle.top.get((("k:pi", 1),), Fraction(0))
    sine, cosine = _cosine(turns - Fraction(1, 2)), _cosine(turns)
    if sine is None or cosine is None:
        return None
    one = constant(Fraction(1))
    top, bottom = {
        "sin": (sine, one), "cos": (cosine, one), "tan": (sine, cosine), "cot": (cosine, sine), "sec": (one, cosine),
        "csc": (one, sine),
    }[name]  # fmt: skip
    return divided(top, bottom)


def _cosine(turns: Fraction) -> Ratio | None:
    """cos(turns * pi), even, of period 2, and of the other sign behind 1/2."""
    place = abs(turns) % 2
    place = min(place, 2 - place)
    sign = -1 if place > Fraction(1, 2) else 1
    found = _COSINES.get(min(place, 1 - place))
    if found is None:
        return None
    divisor, radicand = found
    if not divisor:
        return constant(Fraction(0))
    root = rational_root(Fraction(radicand), Fraction(1, 2)) if radicand else constant(Fraction(1))
    return Ratio(scaled(root.top, Fraction(sign, divisor)), root.bottom)
