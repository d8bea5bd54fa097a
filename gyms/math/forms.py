r"""How an answer is written: whether a number was evaluated, or only restated as work to be done.

`17 \cdot 23` is 391, and the question in other words. Where the gold answer is a plain number, only a plain number is
an answer; where it holds surds or pi, an answer may be built of the same operations, but two rational numbers that
stand side by side must have been put together. A gold answer that is itself written with an operation (`5!`, `2^{10}`)
permits that operation.
"""

from __future__ import annotations

import math
from fractions import Fraction

from gyms.math.tree import Node, walk

__all__ = ["is_closed", "is_plain_number", "literal_number", "undone"]

_CONSTANTS = frozenset(["pi", "e", "i"])
MAX_BITS = 4_096
"""Longest numbers of which `undone` keeps the value."""
MIN_BARE_EXPONENT = 5
"""10^5 and larger count as numbers; 10^2 is work."""
_ALWAYS_WORK = frozenset(["fact", "binom", "big", "mod", "floor", "ceil", "abs"])


def is_closed(node: Node) -> bool:
    """True where no variable and no unknown function occurs."""
    return not any((n.op == "sym" and n.value not in _CONSTANTS) or n.op == "call" for n in walk(node))


def is_plain_number(node: Node) -> bool:
    """True for a number as one writes it down: 12, -3/4, 2.5, 1 1/2, 12 %, 6.02 x 10^23, 11 in base 2."""
    if node.op in ("neg", "percent", "deg"):
        return is_plain_number(node.args[0]) and node.args[0].op not in ("neg", "percent", "deg")
    if node.op == "div":
        return all(_is_integer(part) for part in node.args)
    return node.op in ("num", "mixed", "based") or _is_scientific(node)


def literal_number(node: Node) -> Node | None:
    """The `num` node of a number that was written as digits, sign and dress set aside."""
    while node.op in ("neg", "percent", "deg"):
        node = node.args[0]
    return node if node.op == "num" else None


def undone(node: Node) -> frozenset[str]:
    """The operations in an expression that were left to be carried out."""
    found: set[str] = set()
    _survey(node, found)
    return frozenset(found)


def _survey(node: Node, found: set[str]) -> Fraction | None:
    """The value where it is a rational number that simple arithmetic gives; adds what was left undone to `found`."""
    if node.op == "num":
        return node.value
    if _is_scientific(node):
        return node.args[-1].value if node.op == "pow" else Fraction(1)
    values = [_survey(part, found) for part in node.args]
    numbers = [value for value in values if value is not None]
    is_rational = len(numbers) == len(values) and bool(values)
    if node.op == "fn" and node.value == "exp":
        return None  # as e with that exponent
    if node.op in _ALWAYS_WORK or node.op == "fn":
        found.add(_family(node.value) if node.op == "fn" else node.op)
        return Fraction(1) if is_rational and node.op != "fn" else None
    if node.op in ("add", "mul"):
        if len(numbers) > 1:
            found.add(node.op)
    elif node.op in ("pow", "root") and is_rational and (node.op == "root" or numbers[1].denominator == 1):
        if node.op == "pow" or _is_perfect(numbers[0], numbers[1]):
            found.add(node.op)
            return Fraction(1)
        return None
    elif node.op == "div" and is_rational:
        return _quotient(node, numbers, found)
    elif node.op == "neg":
        return -numbers[0] if is_rational else None
    elif node.op in ("percent", "mixed", "based"):
        scale = Fraction(1, 100) if node.op == "percent" else 1
        return sum(numbers, Fraction(0)) * scale if is_rational else None
    if not is_rational or node.op not in ("add", "mul"):
        return None
    if sum(value.numerator.bit_length() + value.denominator.bit_length() for value in numbers) > MAX_BITS:
        return Fraction(1)  # it is work already; its value decides nothing
    return sum(numbers, Fraction(0)) if node.op == "add" else Fraction(math.prod(numbers))


def _family(function: str) -> str:
    """Functions that may answer for each other: logarithms of any base, the trigonometric ones."""
    if function in ("ln", "log", "logb"):
        return "log"
    return "trigonometric" if function in ("sin", "cos", "tan", "cot", "sec", "csc") else function


def _quotient(node: Node, numbers: list[Fraction], found: set[str]) -> Fraction:
    """A fraction of integers is a number unless it is an integer; a fraction of fractions is work."""
    top, bottom = numbers
    if not all(_is_integer(part) for part in node.args) or (bottom and abs(bottom) != 1 and top % bottom == 0):
        found.add("div")
    return top / bottom if bottom else Fraction(1)


def _is_perfect(radicand: Fraction, index: Fraction) -> bool:
    """True where a square or cube root is rational; higher roots are seldom written."""
    if index not in (2, 3) or radicand == -1:
        return False
    return all(_is_power(abs(part), int(index)) for part in (radicand.numerator, radicand.denominator))


def _is_power(number: int, index: int) -> bool:
    if number.bit_length() > 512:
        return False
    root = math.isqrt(number) if index == 2 else round(number ** (1 / 3)) if number < 10**15 else -1
    return root >= 0 and root**index == number


def _is_integer(node: Node) -> bool:
    """An integer as digits, perhaps with a sign."""
    inner = node.args[0] if node.op == "neg" else node
    return inner.op == "num" and inner.value.denominator == 1


def _is_scientific(node: Node) -> bool:
    """`6.02 \\times 10^{23}`, or a power of ten that is too long to be written out."""
    if node.op == "mul" and len(node.args) == 2:
        first = node.args[0].args[0] if node.args[0].op == "neg" else node.args[0]
        return first.op == "num" and 1 <= abs(first.value) < 10 and _is_power_of_ten(node.args[1], 1)
    return _is_power_of_ten(node, MIN_BARE_EXPONENT)


def _is_power_of_ten(node: Node, least: int) -> bool:
    if node.op != "pow" or node.args[0].op != "num" or node.args[0].value != 10 or not _is_integer(node.args[1]):
        return False
    exponent = node.args[1].args[0] if node.args[1].op == "neg" else node.args[1]
    return exponent.value >= least
