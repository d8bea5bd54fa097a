r"""Exact values: every scalar expression as a quotient of polynomials over the rational numbers.

The indeterminates ("atoms") are variables, pi, e, i, and primes with fractional exponents: \sqrt{12} is 2 times the
atom 3 to the power 1/2. Roots of different primes are linearly independent over the rationals (Besicovitch, 1940), so
for these atoms two values are equal exactly if the polynomials are. All else (nested roots, functions, powers with
unknown exponents) becomes an *opaque* atom, named by its own exact form: equal polynomials are still equal values, but
different ones prove nothing; `numeric` then decides.
"""

from __future__ import annotations

import hashlib
import math
import threading
from collections.abc import Mapping
from fractions import Fraction
from typing import NamedTuple

from gyms.math.caps import MAX_BITS, MAX_FACTORIAL, TooComplex, Unreadable, power_bits
from gyms.math.tree import Node

__all__ = ["NotScalar", "Ratio", "TooBig", "exact", "key_of", "rational"]

Power = int | Fraction
Monomial = tuple[tuple[str, Power], ...]
Poly = Mapping[Monomial, Fraction]

MAX_PRODUCTS = 1_000
"""Most products of terms in one exact form: what bounds its time."""
MAX_POWER = 40
"""Highest power of a sum that is multiplied out."""
MAX_EXPANDED = 8
"""Largest lower argument of a binomial coefficient that is a polynomial in its upper one."""
MAX_RADICAND_BITS = 1024
"""Longest number under a root."""
MAX_KEY_CHARS = 200
"""Longest name of an atom; longer ones are hashed."""
_OF_INTEGERS = {"gcd": math.gcd, "lcm": math.lcm, "max": max, "min": min, "perm": math.perm}
"""Functions of two or more integers."""
_local = threading.local()
_SMALL_PRIMES = [p for p in range(2, 1000) if all(p % q for q in range(2, math.isqrt(p) + 1))]


class TooBig(Exception):
    """The exact form is too large to be written out; `numeric` decides instead."""


class NotScalar(Exception):
    """The node is no scalar expression: a set, a relation, words, infinity."""


class Ratio(NamedTuple):
    """A quotient of polynomials."""

    top: Poly
    bottom: Poly

    @property
    def is_opaque(self) -> bool:
        """True where an atom's value is not known to be independent of the others."""
        return any(atom.startswith("o:") for poly in self for mono in poly for atom, _ in mono)

    def as_rational(self) -> Fraction | None:
        """The value where it is a rational number, else None."""
        if set(self.bottom) != {()} or not set(self.top) <= {()}:
            return None
        return self.top.get((), Fraction(0)) / self.bottom[()]


_ONE: Poly = {(): Fraction(1)}


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
    _local.products = 0
    return _exact(node)


def key_of(node: Node) -> str:
    """A name for a node that is the same for nodes of the same exact form."""
    _local.products = 0
    return _key_of(node)


def _exact(node: Node) -> Ratio:
    op = node.op
    if op == "num":
        return _constant(node.value)
    if op == "sym":
        return _symbol(node.value)
    if op in ("call", "big"):
        return _atom(("s:" if op == "call" else "o:") + _key_of(node))
    if op in ("neg", "add", "mul", "div", "mixed", "percent", "deg", "based"):
        return _arithmetic(op, [_exact(part) for part in node.args])
    if op == "pow":
        return _power(_exact(node.args[0]), _exact(node.args[1]), node)
    if op == "root":
        return _root(_exact(node.args[0]), _exact(node.args[1]), node)
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
    polys = ("+".join(f"{_hex(value)}*{mono}" for mono, value in sorted(poly.items())) for poly in _reduced(ratio))
    return _short("/".join(polys))


def _hex(value: Fraction) -> str:
    """Hexadecimal: Python refuses decimal strings of over 4300 digits."""
    return f"{value.numerator:x}|{value.denominator:x}"


def _short(key: str) -> str:
    """Keys stand in keys: without a bound they would grow with the power of the nesting."""
    return key if len(key) <= MAX_KEY_CHARS else hashlib.blake2b(key.encode(), digest_size=20).hexdigest()


def _reduced(ratio: Ratio) -> Ratio:
    """The same quotient with a bottom whose first coefficient is one."""
    lead = ratio.bottom[min(ratio.bottom)]
    return ratio if lead == 1 else Ratio(_scaled(ratio.top, 1 / lead), _scaled(ratio.bottom, 1 / lead))


def _constant(value: Fraction) -> Ratio:
    return Ratio({(): value} if value else {}, _ONE)


def _atom(name: str, exponent: Fraction | int = 1) -> Ratio:
    return Ratio({((name, exponent),): Fraction(1)}, _ONE)


def _symbol(name: str) -> Ratio:
    if name == "i":
        return _atom("i")
    return _atom(f"k:{name}" if name in ("pi", "e") else f"s:{name}")


def _arithmetic(op: str, parts: list[Ratio]) -> Ratio:
    if op == "neg":
        return Ratio(_scaled(parts[0].top, Fraction(-1)), parts[0].bottom)
    if op in ("add", "mixed"):
        total = parts[0]
        for part in parts[1:]:
            total = _sum(total, part)
        return total
    if op == "mul":
        total = parts[0]
        for part in parts[1:]:
            total = Ratio(_product(total.top, part.top), _product(total.bottom, part.bottom))
        return total
    if op == "div":
        return _quotient(parts[0], parts[1])
    if op == "percent":
        return Ratio(_scaled(parts[0].top, Fraction(1, 100)), parts[0].bottom)
    if op == "deg":
        return Ratio(_product(parts[0].top, {(("k:pi", 1),): Fraction(1, 180)}), parts[0].bottom)
    return parts[0]


def _sum(left: Ratio, right: Ratio) -> Ratio:
    if left.bottom == right.bottom:
        return Ratio(_added(left.top, right.top), left.bottom)
    top = _added(_product(left.top, right.bottom), _product(right.top, left.bottom))
    return Ratio(top, _product(left.bottom, right.bottom))


def _quotient(left: Ratio, right: Ratio) -> Ratio:
    if not right.top:
        raise Unreadable("a division by zero")
    if len(right.top) == 1:
        # One term is divided out at once, so that 1/\sqrt{2} is a polynomial.
        ((mono, value),) = right.top.items()
        scale, merged = _merged(tuple((atom, -power) for atom, power in mono), ())
        return Ratio(_product(_product(left.top, right.bottom), {merged: scale / value}), left.bottom)
    return Ratio(_product(left.top, right.bottom), _product(left.bottom, right.top))


def _added(left: Poly, right: Poly) -> Poly:
    total = dict(left)
    for mono, value in right.items():
        total[mono] = total.get(mono, Fraction(0)) + value
        if not total[mono]:
            del total[mono]
    return total


def _scaled(poly: Poly, factor: Fraction) -> Poly:
    return {mono: _capped(value * factor) for mono, value in poly.items()}


def _product(left: Poly, right: Poly) -> Poly:
    if left is _ONE:
        return right
    if right is _ONE:
        return left
    _local.products += len(left) * len(right)
    if _local.products > MAX_PRODUCTS:
        raise TooBig
    total: dict[Monomial, Fraction] = {}
    for mono, value in left.items():
        for other, factor in right.items():
            scale, merged = _merged(mono, other)
            term = value * factor if scale == 1 else value * factor * scale
            total[merged] = _capped(total[merged] + term if merged in total else term)
    return {mono: value for mono, value in total.items() if value}


def _capped(value: Fraction) -> Fraction:
    if value.numerator.bit_length() > MAX_BITS or value.denominator.bit_length() > MAX_BITS:
        raise TooComplex(f"a number has over {MAX_BITS} bits")
    return value


def _merged(left: Monomial, right: Monomial) -> tuple[int | Fraction, Monomial]:
    """Product of two monomials: a rational factor, and a monomial whose prime powers are in [0, 1)."""
    powers = dict(left)
    for atom, power in right:
        powers[atom] = powers.get(atom, 0) + power
    scale: int | Fraction = 1
    for atom, power in powers.items():
        if atom[0] == "p":
            whole = math.floor(power)
            if whole:
                prime = int(atom[2:])
                power_bits(prime.bit_length(), whole)
                scale *= Fraction(prime) ** whole
            powers[atom] = power - whole
        elif atom == "i":
            quarter = int(power % 4)
            scale *= -1 if quarter >= 2 else 1
            powers[atom] = quarter % 2
        elif not -(10**6) < power < 10**6:
            raise TooBig
    return scale, tuple(sorted((atom, _tidy(power)) for atom, power in powers.items() if power))


def _tidy(power: Power) -> Power:
    """An integer where it is one: integers are faster to add and to hash."""
    return power if type(power) is int or power.denominator != 1 else int(power)


def _power(base: Ratio, exponent: Ratio, node: Node) -> Ratio:
    power = exponent.as_rational()
    if power is None:
        return _atom(f"o:pow({_ratio_key(base)};{_ratio_key(exponent)})")
    if power.denominator == 1:
        return _whole_power(base, int(power))
    return _fractional_power(base, power)


def _whole_power(base: Ratio, power: int) -> Ratio:
    if power < 0:
        return _quotient(Ratio(_ONE, _ONE), _whole_power(base, -power))
    value = base.as_rational()
    if value is not None:
        if value not in (0, 1, -1):
            power_bits(max(value.numerator.bit_length(), value.denominator.bit_length()), power)
        elif power > 1:
            power = 2 - power % 2
        if not value and not power:
            raise Unreadable("0 to the power 0")
        return _constant(value**power)
    if len(base.top) > 1 or len(base.bottom) > 1:
        if power > MAX_POWER:
            raise TooBig
        total = Ratio(_ONE, _ONE)
        for _ in range(power):
            total = Ratio(_product(total.top, base.top), _product(total.bottom, base.bottom))
        return total
    ((mono, value),) = base.top.items()
    power_bits(max(value.numerator.bit_length(), value.denominator.bit_length()) - (abs(value) == 1), power)
    scale, merged = _merged(tuple((atom, exponent * power) for atom, exponent in mono), ())
    bottom = base.bottom.get(())
    if bottom is None:
        raise TooBig
    return Ratio({merged: _capped(scale * value**power / bottom**power)}, _ONE)


def _root(base: Ratio, index: Ratio, node: Node) -> Ratio:
    degree = index.as_rational()
    if degree is None or degree.denominator != 1 or not 2 <= degree <= 100:
        raise TooBig
    return _fractional_power(base, 1 / degree)


def _fractional_power(base: Ratio, power: Fraction) -> Ratio:
    value = base.as_rational()
    if value is not None:
        return _rational_root(value, power)
    if base.bottom == _ONE and len(base.top) == 1:
        ((mono, scale),) = base.top.items()
        if all(atom.startswith(("p:", "k:")) for atom, _ in mono) and scale > 0:
            rest, merged = _merged(tuple((atom, exponent * power) for atom, exponent in mono), ())
            return _arithmetic("mul", [_rational_root(scale, power), Ratio({merged: Fraction(rest)}, _ONE)])
        if scale == 1 and len(mono) == 1 and mono[0][1] == 1 and mono[0][0].startswith("s:"):
            return _atom(mono[0][0], power)
    return _atom(f"o:({_ratio_key(base)})", power)


def _rational_root(value: Fraction, power: Fraction) -> Ratio:
    """A rational number to a fractional power: its primes to that power; real for odd roots, i for square roots."""
    if not value:
        if power < 0:
            raise Unreadable("a division by zero")
        return _constant(Fraction(0))
    sign = Ratio(_ONE, _ONE)
    if value < 0:
        if power.denominator % 2:
            sign = _constant(Fraction(-1 if power.numerator % 2 else 1))
        elif power.denominator == 2:
            sign = _whole_power(_atom("i"), power.numerator % 4)
        else:
            return _atom(f"o:({_hex(value)})", power)
    powers: dict[str, Fraction] = {}
    for part, direction in ((abs(value.numerator), 1), (value.denominator, -1)):
        for prime, count in _factors(part).items():
            powers[prime] = powers.get(prime, Fraction(0)) + direction * count * power
    scale, merged = _merged(tuple(powers.items()), ())
    is_prime = all(int(atom[2:]) < 1_000_000 for atom in powers)
    root = Ratio({merged: _capped(Fraction(scale))}, _ONE)
    if not is_prime:
        # A large factor of unknown kind: its root is exact, but not known to be independent.
        root = Ratio({tuple(("o:" + a if int(a[2:]) >= 1_000_000 else a, e) for a, e in merged): Fraction(scale)}, _ONE)
    return _arithmetic("mul", [sign, root])


def _factors(number: int) -> dict[str, int]:
    """Prime factors below 1000; what is left (a prime below a million, or a number of unknown kind) as one factor."""
    if number.bit_length() > MAX_RADICAND_BITS:
        raise TooComplex(f"a number under a root has over {MAX_RADICAND_BITS} bits")
    found: dict[str, int] = {}
    for prime in _SMALL_PRIMES:
        while number % prime == 0:
            number //= prime
            found[f"p:{prime}"] = found.get(f"p:{prime}", 0) + 1
        if prime * prime > number:
            break
    if number > 1:
        root = math.isqrt(number)
        if root * root == number:
            found[f"p:{root}"] = 2
        else:
            found[f"p:{number}"] = 1
    return found


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
            return _constant(abs(first))
        if op in ("floor", "ceil"):
            return _constant(Fraction(math.floor(first) if op == "floor" else math.ceil(first)))
        if op == "mod" and numbers[1] > 0 and node.value != "pmod":
            return _constant(first % numbers[1])
        if all(value.denominator == 1 and value >= 0 for value in numbers):
            if max(numbers) > MAX_FACTORIAL:
                raise TooComplex(f"the argument of a factorial or binomial is over {MAX_FACTORIAL}")
            if op == "fact":
                step = 2 if node.value == 2 else 1  # 7!! = 7 * 5 * 3
                return _constant(Fraction(math.prod(range(int(first), 0, -step))))
            if op == "binom":
                return _constant(Fraction(math.comb(int(first), int(numbers[1]))))
    if op == "binom" and values[0] is None and values[1] in range(MAX_EXPANDED + 1):
        top, falling = _exact(node.args[0]), Ratio(_ONE, _ONE)
        for step in range(int(values[1])):  # n(n-1)(n-2)/6
            falling = _arithmetic(
                "mul", [falling, _sum(top, _constant(Fraction(-step))), _constant(Fraction(1, step + 1))]
            )
        return falling
    return _atom(f"o:{op}{node.value or ''}({','.join(_key_of(part) for part in node.args)})")


def _function(node: Node) -> Ratio:
    if node.value == "exp" and len(node.args) == 1:
        return _power(_symbol("e"), _exact(node.args[0]), node)
    if node.value == "abs" and len(node.args) == 1:
        return _integer_operation("abs", Node("abs", node.args))
    if node.value in _OF_INTEGERS and len(node.args) > 1:
        values = [_rational(part) for part in node.args]
        numbers = [int(value) for value in values if value is not None and value.denominator == 1]
        if node.value == "perm" and (max(numbers, default=0) > MAX_FACTORIAL or min(numbers, default=0) < 0):
            raise TooComplex(f"the argument of a number of arrangements is negative or over {MAX_FACTORIAL}")
        if len(numbers) == len(values):
            return _constant(Fraction(_OF_INTEGERS[node.value](*numbers)))
    if node.value in ("sin", "cos", "tan", "cot", "sec", "csc") and len(node.args) == 1:
        turned = _at_special_angle(node.value, _exact(node.args[0]))
        if turned is not None:
            return turned
    if node.value == "cbrt" and len(node.args) == 1:
        return _fractional_power(_exact(node.args[0]), Fraction(1, 3))
    return _atom(f"o:{node.value}({','.join(_key_of(part) for part in node.args)})")


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
    if angle.bottom != _ONE or not set(angle.top) <= {(("k:pi", 1),)}:
        return None
    turns = angle.top.get((("k:pi", 1),), Fraction(0))
    sine, cosine = _cosine(turns - Fraction(1, 2)), _cosine(turns)
    if sine is None or cosine is None:
        return None
    one = _constant(Fraction(1))
    top, bottom = {
        "sin": (sine, one), "cos": (cosine, one), "tan": (sine, cosine), "cot": (cosine, sine), "sec": (one, cosine),
        "csc": (one, sine),
    }[name]  # fmt: skip
    return _quotient(top, bottom)


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
        return _constant(Fraction(0))
    root = _rational_root(Fraction(radicand), Fraction(1, 2)) if radicand else _constant(Fraction(1))
    return Ratio(_scaled(root.top, Fraction(sign, divisor)), root.bottom)
