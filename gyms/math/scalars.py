r"""When one number or expression answers for another: exact first, then the rules for decimals, units and form.

In order: equal exact forms (or, where those prove nothing, equal values to 40 digits and at random points, or at whole
ones where the letters stand for whole numbers); a decimal of enough digits for a gold value that has no finite decimal;
the task's own tolerance. Then the form: an answer that is right but only restates the work (`17 \cdot 23`) is refused,
with the flag `unevaluated`.

*Form*: whether a number was evaluated. `17 \cdot 23` is 391, and the question in other words. Where the gold answer is
a plain number, only a plain number is an answer; where it holds surds or pi, an answer may be built of the same
operations, but two rational numbers that stand side by side must have been put together. A gold answer that is itself
written with an operation (`5!`, `2^{10}`) permits that operation.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from fractions import Fraction

from gyms.math import numeric
from gyms.math.exact import NotScalar, TooBig, exact
from gyms.math.tree import CONSTANTS, Node, Unreadable, infinite, walk
from gyms.math.units import Unit
from gyms.math.whole import agree_on_integers

__all__ = [
    "Rules",
    "is_closed",
    "is_plain_number",
    "same_quantity",
    "same_scalar",
    "same_value",
    "undone",
]

_DEGREE = (("angle", 1),)
_RADIAN = (("radian", 1),)


@dataclass(frozen=True, slots=True, kw_only=True)
class Rules:
    """What one comparison may forgive; `flags` collects what it did."""

    tolerance: Fraction | None = None
    """Largest absolute difference of numbers; None: the policy by type of docs/math.md."""
    significant_digits: int = 6
    """Digits that a decimal needs in order to stand for a gold value that has no finite decimal."""
    require_unit: bool = False
    """True: a gold unit must be in the answer."""
    is_percent_question: bool = False
    """True where the question asks for a percentage: 20 and 20 % are then the same."""
    flags: set[str] = field(default_factory=set)


def same_scalar(gold: Node, answer: Node, rules: Rules) -> bool:
    """True where the answer is the gold value in an acceptable form. Both are scalar expressions or infinity."""
    if infinite(gold) or infinite(answer):
        return infinite(gold) == infinite(answer)
    is_done = _is_evaluated(gold, answer)
    if not is_done:
        rules.flags.add("unevaluated")
    return _is_right(gold, answer, rules) and is_done


def same_value(left: Node, right: Node) -> bool:
    """True where two expressions are equal, whatever their form.

    The left one is the gold answer's where one is: it tells which letters stand for whole numbers.
    """
    try:
        a, b = exact(left), exact(right)
        if a.top == b.top and a.bottom == b.bottom:
            return True
        difference = exact(Node("add", (left, Node("neg", (right,)))))
        if not difference.top:
            return True
        if not difference.is_opaque:
            return False
    except TooBig:
        pass
    except NotScalar:
        return False
    if any(node.op == "big" for side in (left, right) for node in walk(side)):
        return False
    try:
        if numeric.identical(left, right):
            return True
    except numeric.Undecided:
        pass
    return agree_on_integers(left, right, same=same_value)


def same_quantity(gold: Node, answer: Node, rules: Rules) -> bool:
    """Numbers with units: dimensions must agree, sizes are converted; a missing unit is forgiven, with a flag."""
    gold_unit, answer_unit = (node.value if node.op == "quantity" else None for node in (gold, answer))
    if gold_unit is None or answer_unit is None:
        return _one_unit_missing(gold, answer, rules)
    (gold_number,), (answer_number,) = gold.args, answer.args
    if gold_unit.dimensions == answer_unit.dimensions:
        if gold_unit.factor == answer_unit.factor:
            return same_scalar(gold_number, answer_number, rules)
        scale = answer_unit.factor / gold_unit.factor
        rules.flags.add("unit_converted")
        return _is_evaluated(gold_number, answer_number) and _is_right(
            gold_number, Node("mul", (answer_number, Node("num", (), scale, None))), rules
        )
    if {gold_unit.dimensions, answer_unit.dimensions} == {_DEGREE, _RADIAN}:
        rules.flags.add("unit_converted")
        return same_value(_in_radians(gold), _in_radians(answer))
    rules.flags.add("unit_mismatch")
    return False


def _one_unit_missing(gold: Node, answer: Node, rules: Rules) -> bool:
    has_gold = gold.op == "quantity"
    if has_gold and rules.require_unit:
        rules.flags.add("unit_missing")
        return False
    bare = [node.args[0] if node.op == "quantity" else node for node in (gold, answer)]
    if same_scalar(bare[0], bare[1], rules):
        rules.flags.add("unit_missing" if has_gold else "unit_ignored")
        return True
    unit: Unit = gold.value if has_gold else answer.value
    # An angle in degrees may answer for its radians: 90 degrees is pi/2.
    has_pi = any(node == Node("sym", (), "pi") for side in bare for node in walk(side))
    if unit.dimensions in (_DEGREE, _RADIAN) and has_pi and same_value(_in_radians(gold), _in_radians(answer)):
        rules.flags.discard("unevaluated")
        rules.flags.add("unit_converted")
        return True
    return False


def _in_radians(angle: Node) -> Node:
    if angle.op != "quantity":
        return angle
    return Node("deg", angle.args) if angle.value.dimensions == _DEGREE else angle.args[0]


def _is_right(gold: Node, answer: Node, rules: Rules) -> bool:
    if _percent_agrees(gold, answer, rules):
        return True
    if same_value(gold, answer):
        return _same_base(gold, answer, rules)
    if not is_closed(gold) or not is_closed(answer):
        return False
    if rules.tolerance is not None and _within(gold, answer, rules.tolerance):
        rules.flags.add("tolerance")
        return True
    return _is_rounded(gold, answer, rules)


def _percent_agrees(gold: Node, answer: Node, rules: Rules) -> bool:
    """Where the question asks for percent, the sign may be left out on either side."""
    if not rules.is_percent_question or (gold.op == "percent") == (answer.op == "percent"):
        return False
    bare = [node.args[0] if node.op == "percent" else node for node in (gold, answer)]
    if not same_value(*bare):
        return False
    rules.flags.add("percent_sign")
    return True


def _same_base(gold: Node, answer: Node, rules: Rules) -> bool:
    """A number in base 8 is asked for in base 8: 42 is the value of 52_8, not the answer."""
    bare = [node.args[0] if node.op == "neg" else node for node in (gold, answer)]
    bases = [node.value if node.op == "based" else 10 for node in bare]
    if bases[0] == bases[1]:
        return True
    rules.flags.add("other_base")
    return bases[0] == 10


def _is_evaluated(gold: Node, answer: Node) -> bool:
    left = undone(answer) - undone(gold)
    if not is_closed(gold):
        return not left & {"big", "mod"}
    return not left and (is_plain_number(answer) or not is_plain_number(gold))


def _within(gold: Node, answer: Node, tolerance: Fraction) -> bool:
    difference = _difference(gold, answer)
    return difference is not None and abs(difference) <= tolerance


def _is_rounded(gold: Node, answer: Node, rules: Rules) -> bool:
    """True where the answer is a decimal of enough digits for a gold value without a finite one."""
    written = _literal_number(answer) or _mantissa(answer)
    if written is None or written.note is None or written.note.form not in ("dec", "sci"):
        return False
    if written.note.significant < rules.significant_digits or _has_finite_decimal(gold):
        return False
    difference = _difference(gold, answer)
    size = _difference(Node("num", (), Fraction(0), None), answer)
    if difference is None or not size:
        return False
    # One unit of the last digit that was written: the value may be rounded, or cut off.
    last = abs(size) / abs(written.value) * Fraction(1, 10**written.note.places) if written.value else Fraction(0)
    if written.note.form == "sci":
        last = abs(size) * Fraction(1, 10 ** (written.note.significant - 1))
    is_cut = abs(difference) < last and (size > 0) == (difference < 0)
    if abs(difference) > last / 2 and not is_cut:
        return False
    rules.flags.add("rounded")
    return True


def _mantissa(node: Node) -> Node | None:
    """The decimal of `1.26 \\times 10^{30}`."""
    inner = node.args[0] if node.op == "neg" else node
    if inner.op != "mul" or len(inner.args) != 2 or not is_plain_number(inner):
        return None
    return _literal_number(inner.args[0])


def _has_finite_decimal(node: Node) -> bool:
    """True for what is written, or can be written, as a decimal: then nothing needs rounding."""
    try:
        value = exact(node).as_rational()
    except (NotScalar, TooBig, Unreadable):
        return False
    # A long power (2^{100}) may be answered in scientific notation; 3 as \sqrt{9} may not.
    return value is not None and _is_decimal(value) and (is_plain_number(node) or abs(value) < 10**15)


def _is_decimal(value: Fraction) -> bool:
    bottom = value.denominator
    for prime in (2, 5):
        while bottom % prime == 0:
            bottom //= prime
    return bottom == 1


def _difference(gold: Node, answer: Node) -> Fraction | None:
    """answer - gold as a rational number, exact or to 60 digits; None where it is not real or not known."""
    difference = Node("add", (answer, Node("neg", (gold,))))
    try:
        found = exact(difference).as_rational()
        if found is not None:
            return found
    except (NotScalar, TooBig):
        pass
    return numeric.real(difference)


# --- form

MAX_SURVEYED_BITS = 4_096
"""Longest numbers of which `undone` keeps the value."""
MIN_BARE_EXPONENT = 5
"""10^5 and larger count as numbers; 10^2 is work."""
_ALWAYS_WORK = frozenset(["fact", "binom", "big", "mod", "floor", "ceil", "abs"])


def is_closed(node: Node) -> bool:
    """True where no variable and no unknown function occurs."""
    return not any((n.op == "sym" and n.value not in CONSTANTS) or n.op == "call" for n in walk(node))


def is_plain_number(node: Node) -> bool:
    """True for a number as one writes it down: 12, -3/4, 2.5, 1 1/2, 12 %, 6.02 x 10^23, 11 in base 2."""
    if node.op in ("neg", "percent", "deg"):
        return is_plain_number(node.args[0]) and node.args[0].op not in ("neg", "percent", "deg")
    if node.op == "div":
        return all(_is_integer(part) for part in node.args)
    return node.op in ("num", "mixed", "based") or _is_scientific(node)


def _literal_number(node: Node) -> Node | None:
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
    if sum(value.numerator.bit_length() + value.denominator.bit_length() for value in numbers) > MAX_SURVEYED_BITS:
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
