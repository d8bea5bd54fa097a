r"""Measures in several units: "2 hours and 15 minutes", `5 \text{ ft } 6 \text{ in}`, "3 dollars 20 cents".

They are one measure where the units fall, and every later amount is less than one of the unit before: 70 minutes behind
an hour are another measure. With "and" between them only times and money are one: "2 m and 50 cm" may be two lengths.
"""

from __future__ import annotations

import re
from fractions import Fraction
from itertools import pairwise

from gyms.math.tree import Node, num
from gyms.math.units import known, parse_unit

__all__ = ["read_compound"]

_PART = r"(\d{1,12}(?:\.\d{1,6})?)[ ]*(?:\\text[ ]*\{[ ]*)?([A-Za-z]{2,12})[ ]*\}?"
_AND = r"[ ]*(and[ ]+|\\text[ ]*\{[ ]*and[ ]*\}[ ]*)?"
_COMPOUND = re.compile(rf"{_PART}{_AND}{_PART}(?:{_AND}{_PART})?")
_ANGLE = re.compile(
    r"(\d{1,6})[ ]*\\deg[ ]*(\d{1,2}(?:\.\d{1,6})?)[ ]*(?:'|\^[ ]*\{?[ ]*\\prime[ ]*\}?)"
    r"(?:[ ]*(\d{1,2}(?:\.\d{1,6})?)[ ]*(?:''|\"|\^[ ]*\{?[ ]*\\prime[ ]*\\prime[ ]*\}?))?"
)
"""Degrees, minutes and seconds."""
_MONEY = frozenset(["dollar", "euro", "gbp"])
_JOINED = _MONEY | {"time"}


def read_compound(plain: str) -> Node | None:
    """The quantity in the smallest of its units, money in the largest, or None where the text is no such measure.

    The unit tells where the other side has none: 90 for an hour and a half in minutes, but 2.5 for $2 and 50 cents.
    """
    angle = _ANGLE.fullmatch(plain) if "\\deg" in plain else None
    if angle is not None:
        parts = [Fraction(part or 0) for part in angle.groups()]
        is_part = parts[1] < 60 and parts[2] < 60
        total = parts[0] + parts[1] / 60 + parts[2] / 3600
        return Node("quantity", (num(total),), parse_unit("degrees")) if is_part else None
    match = _COMPOUND.fullmatch(plain)
    if match is None:
        return None
    amounts = [Fraction(text) for text in (match[1], match[4], match[7]) if text]
    names = [name for name in (match[2], match[5], match[8]) if name]
    found = [parse_unit(name) for name in names if known(name)]
    units = [unit for unit in found if unit is not None]
    if len(units) < len(names) or len({unit.dimensions for unit in units}) != 1:
        return None
    if (match[3] or match[6]) and units[0].dimensions[0][0] not in _JOINED:
        return None
    parts = list(zip(amounts, units, strict=True))
    if any(amount * unit.factor >= before.factor for (_, before), (amount, unit) in pairwise(parts)):
        return None
    told = units[0] if units[0].dimensions[0][0] in _MONEY else units[-1]
    total = sum((amount * unit.factor for amount, unit in parts), Fraction(0)) / told.factor
    return Node("quantity", (num(total),), told)
