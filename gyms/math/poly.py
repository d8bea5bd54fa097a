r"""Quotients of polynomials over the rational numbers, in atoms: the arithmetic under `exact`.

An atom is a name with a kind before it: `s:` a variable, `k:` pi or e, `i`, `p:` a prime, whose power lies in [0, 1),
and `o:` what is *opaque*, of which nothing is known. Products are counted, and numbers measured before they are made,
so that no form costs more than the caps allow.
"""

from __future__ import annotations

import math
import threading
from collections.abc import Mapping
from fractions import Fraction
from typing import NamedTuple

from gyms.math.tree import MAX_BITS, TooComplex, Unreadable, power_bits

__all__ = [
    "ONE",
    "Ratio",
    "TooBig",
    "atom_of",
    "begin",
    "constant",
    "divided",
    "in_hex",
    "monomial",
    "rational_root",
    "scaled",
    "sum_of",
    "times",
    "whole_power",
]

Power = int | Fraction
Monomial = tuple[tuple[str, Power], ...]
Poly = Mapping[Monomial, Fraction]

MAX_PRODUCTS = 1_000
"""Most products of terms in one exact form: what bounds its time."""
MAX_POWER = 40
"""Highest power of a sum that is multiplied out."""
MAX_RADICAND_BITS = 1024
"""Longest number under a root."""
_local = threading.local()
_SMALL_PRIMES = [p for p in range(2, 1000) if all(p % q for q in range(2, math.isqrt(p) + 1))]


class TooBig(Exception):
    """The exact form is too large to be written out; `numeric` decides instead."""


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


ONE: Poly = {(): Fraction(1)}


def begin() -> None:
    """Count the products of a new form."""
    _local.products = 0


def constant(value: Fraction) -> Ratio:
    """A rational number."""
    return Ratio({(): value} if value else {}, ONE)


def atom_of(name: str, exponent: Fraction | int = 1) -> Ratio:
    """A power of one atom."""
    return Ratio({((name, exponent),): Fraction(1)}, ONE)


def sum_of(left: Ratio, right: Ratio) -> Ratio:
    """left + right."""
    if left.bottom == right.bottom:
        return Ratio(_added(left.top, right.top), left.bottom)
    top = _added(_product(left.top, right.bottom), _product(right.top, left.bottom))
    return Ratio(top, _product(left.bottom, right.bottom))


def times(left: Ratio, right: Ratio) -> Ratio:
    """left * right."""
    return Ratio(_product(left.top, right.top), _product(left.bottom, right.bottom))


def divided(left: Ratio, right: Ratio) -> Ratio:
    """left / right; Unreadable where that is by zero."""
    if not right.top:
        raise Unreadable("a division by zero")
    if len(right.top) == 1:
        # One term is divided out at once, so that 1/\sqrt{2} is a polynomial.
        ((mono, value),) = right.top.items()
        scale, merged = monomial(tuple((atom, -power) for atom, power in mono), ())
        return Ratio(_product(_product(left.top, right.bottom), {merged: scale / value}), left.bottom)
    return Ratio(_product(left.top, right.bottom), _product(left.bottom, right.top))


def _added(left: Poly, right: Poly) -> Poly:
    total = dict(left)
    for mono, value in right.items():
        total[mono] = total.get(mono, Fraction(0)) + value
        if not total[mono]:
            del total[mono]
    return total


def scaled(poly: Poly, factor: Fraction) -> Poly:
    """A polynomial times a number."""
    return {mono: _capped(value * factor) for mono, value in poly.items()}


def _product(left: Poly, right: Poly) -> Poly:
    if left is ONE:
        return right
    if right is ONE:
        return left
    _local.products += len(left) * len(right)
    if _local.products > MAX_PRODUCTS:
        raise TooBig
    total: dict[Monomial, Fraction] = {}
    for mono, value in left.items():
        for other, factor in right.items():
            scale, merged = monomial(mono, other)
            term = value * factor if scale == 1 else value * factor * scale
            total[merged] = _capped(total[merged] + term if merged in total else term)
    return {mono: value for mono, value in total.items() if value}


def _capped(value: Fraction) -> Fraction:
    if value.numerator.bit_length() > MAX_BITS or value.denominator.bit_length() > MAX_BITS:
        raise TooComplex(f"a number has over {MAX_BITS} bits")
    return value


def monomial(left: Monomial, right: Monomial) -> tuple[int | Fraction, Monomial]:
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


def in_hex(value: Fraction) -> str:
    """A number as a name: Python refuses decimal strings of over 4300 digits."""
    return f"{value.numerator:x}|{value.denominator:x}"


def _tidy(power: Power) -> Power:
    """An integer where it is one: integers are faster to add and to hash."""
    return power if type(power) is int or power.denominator != 1 else int(power)


def whole_power(base: Ratio, power: int) -> Ratio:
    """A whole power, multiplied out up to MAX_POWER."""
    if power < 0:
        return divided(Ratio(ONE, ONE), whole_power(base, -power))
    value = base.as_rational()
    if value is not None:
        if value not in (0, 1, -1):
            power_bits(max(value.numerator.bit_length(), value.denominator.bit_length()), power)
        elif power > 1:
            power = 2 - power % 2
        if not value and not power:
            raise Unreadable("0 to the power 0")
        return constant(value**power)
    if len(base.top) > 1 or len(base.bottom) > 1:
        if power > MAX_POWER:
            raise TooBig
        total = Ratio(ONE, ONE)
        for _ in range(power):
            total = times(total, base)
        return total
    ((mono, value),) = base.top.items()
    power_bits(max(value.numerator.bit_length(), value.denominator.bit_length()) - (abs(value) == 1), power)
    scale, merged = monomial(tuple((atom, exponent * power) for atom, exponent in mono), ())
    bottom = base.bottom.get(())
    if bottom is None:
        raise TooBig
    return Ratio({merged: _capped(scale * value**power / bottom**power)}, ONE)


def rational_root(value: Fraction, power: Fraction) -> Ratio:
    """A rational number to a fractional power: its primes to that power; real for odd roots, i for square roots."""
    if not value:
        if power < 0:
            raise Unreadable("a division by zero")
        return constant(Fraction(0))
    sign = Ratio(ONE, ONE)
    if value < 0:
        if power.denominator % 2:
            sign = constant(Fraction(-1 if power.numerator % 2 else 1))
        elif power.denominator == 2:
            sign = whole_power(atom_of("i"), power.numerator % 4)
        else:
            return atom_of(f"o:({in_hex(value)})", power)
    powers: dict[str, Fraction] = {}
    for part, direction in ((abs(value.numerator), 1), (value.denominator, -1)):
        for prime, count in _factors(part).items():
            powers[prime] = powers.get(prime, Fraction(0)) + direction * count * power
    scale, merged = monomial(tuple(powers.items()), ())
    is_prime = all(int(atom[2:]) < 1_000_000 for atom in powers)
    root = Ratio({merged: _capped(Fraction(scale))}, ONE)
    if not is_prime:
        # A large factor of unknown kind: its root is exact, but not known to be independent.
        root = Ratio({tuple(("o:" + a if int(a[2:]) >= 1_000_000 else a, e) for a, e in merged): Fraction(scale)}, ONE)
    return times(sign, root)


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
