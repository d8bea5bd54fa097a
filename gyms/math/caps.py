"""Limits that are checked before anything is computed, so that no answer can cost more than some milliseconds.

Every cap is on the written form (length, digits, nesting) or on a size that is known before the work is done: the bits
of a power are its exponent times the bits of its base, so `9^{9^{9^9}}` is refused without being evaluated.
"""

from __future__ import annotations

import re

__all__ = [
    "MAX_ANSWER_CHARS",
    "MAX_BITS",
    "MAX_DIGITS",
    "MAX_EXPONENT",
    "MAX_FACTORIAL",
    "MAX_ITEMS",
    "MAX_NESTING",
    "MAX_NODES",
    "MAX_RESPONSE_CHARS",
    "TooComplex",
    "Unreadable",
    "check_text",
    "power_bits",
]

MAX_RESPONSE_CHARS = 200_000
"""Longest response that is looked at."""
MAX_ANSWER_CHARS = 2_000
"""Longest extracted answer."""
MAX_DIGITS = 400
"""Longest run of digits."""
MAX_NESTING = 24
"""Deepest nesting of brackets, fractions, roots, exponents."""
MAX_NODES = 400
"""Nodes of the expression tree."""
MAX_ITEMS = 100
"""Items of a list, set or tuple; cells of a matrix."""
MAX_BITS = 1 << 15
"""Bits of an exact integer, of numerator and of denominator."""
MAX_EXPONENT = 4_000
"""Largest exponent in scientific notation."""
MAX_FACTORIAL = 3_000
"""Largest argument of a factorial or a binomial coefficient."""

_LONG_DIGITS = re.compile(rf"\d{{{MAX_DIGITS + 1}}}")


class Unreadable(ValueError):
    """An answer is not in the language of docs/math.md; the message says why."""


class TooComplex(Unreadable):
    """An answer exceeds a cap."""


def check_text(text: str) -> None:
    """Raise TooComplex where an answer's text is over a cap."""
    if len(text) > MAX_ANSWER_CHARS:
        raise TooComplex(f"the answer has {len(text)} characters, at most {MAX_ANSWER_CHARS} are read")
    if _LONG_DIGITS.search(text):
        raise TooComplex(f"the answer has a run of over {MAX_DIGITS} digits")


def power_bits(base_bits: int, exponent: int) -> None:
    """Raise TooComplex where a base of that many bits to that power would exceed MAX_BITS."""
    if base_bits * abs(exponent) > MAX_BITS:
        raise TooComplex(f"a power has over {MAX_BITS} bits")
