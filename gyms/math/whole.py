r"""Identities of whole numbers: \cos n\pi is (-1)^n, and \lceil n/2\rceil is \lfloor (n+1)/2\rfloor, but for n alone.

A letter stands for whole numbers where custom says so (n, m, k, ...) *and* the gold answer has no sense, or no use,
otherwise: there the letter stands in a power of a negative number, in a remainder, or in the whole part of a fraction.
An answer says so only of a letter that turns in the gold answer, as in \cos n\pi: else it could make any two functions
equal that meet at the whole numbers, n and n + \sin n\pi. `\lfloor n\rfloor` on either side says the opposite: there n
is real. All other letters are real, and drawn at random.

What such expressions do repeats with a period that the denominators tell (times a polynomial), so one letter is tried
at all whole numbers of some periods, and at far ones; two or more are drawn. Values are compared exactly where they
can be.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from fractions import Fraction
from random import Random

from gyms.math.exact import rational
from gyms.math.tree import Node, Unreadable, free_names, size, walk, with_values

__all__ = ["WHOLE_LETTERS", "agree_on_integers", "whole_letters"]

WHOLE_LETTERS = frozenset("nmkjlNMK")
"""Letters that stand for whole numbers by custom."""
_FROM_ONE = frozenset(["root", "fact", "binom"])
"""What may have no value at 0 or below."""
_TRIGONOMETRIC = frozenset(["sin", "cos", "tan", "cot", "sec", "csc"])
MAX_PERIOD = 120
MAX_PARTS = 60
"""Most nodes of one side: every point costs two exact forms."""
NUM_DRAWN = 160
MIN_POINTS = 20
MAX_FAILED = 8
"""Points without a value that there may be more than points with one."""
MAX_FACTORIAL_TRIED = 200
"""Largest factorial that a point may take: it is computed on both sides, to its last digit, point after point."""
FAR = (10**5 + 3, 10**9 + 7)
"""The second is beyond the arguments that functions are evaluated at."""
SEED = 20_261_127
Points = Iterator[dict[str, Fraction]]


def agree_on_integers(gold: Node, answer: Node, *, same: Callable[[Node, Node], bool]) -> bool:
    """True where two expressions agree at all whole numbers that were tried; False where no letter stands for such.

    Args:
        same: whether two expressions without letters have the same value.
    """
    nodes = [*walk(gold), *walk(answer)]
    names = free_names(gold) | free_names(answer)
    whole = whole_letters(gold, answer)
    if not whole or max(size(gold), size(answer)) > MAX_PARTS or any(node.op in ("call", "big") for node in nodes):
        return False
    period = math.lcm(_period(gold), _period(answer))
    if period > MAX_PERIOD:
        return False
    tried = failed = 0
    for point in _points(sorted(whole), sorted(names - whole), period, is_from_one=any(map(_is_from_one, nodes))):
        try:
            left, right = with_values(gold, point), with_values(answer, point)
            if not (_is_long(left) or _is_long(right)):
                if not same(left, right):
                    return False
                tried += 1
                continue
        except Unreadable:  # no value there, such as a division by zero, or one over a cap
            pass
        failed += 1
        if failed > tried + MAX_FAILED:
            return False
    return tried >= MIN_POINTS


def whole_letters(gold: Node, answer: Node) -> frozenset[str]:
    """The letters that stand for whole numbers here."""
    (found, real), (found_by_answer, real_by_answer) = _letters_of(gold), _letters_of(answer)
    turning = {name for node in walk(gold) if _turns(node) for name in free_names(node)}
    return ((found | (found_by_answer & turning)) - real - real_by_answer) & WHOLE_LETTERS


def _letters_of(side: Node) -> tuple[frozenset[str], frozenset[str]]:
    """The letters of one side that can be but whole numbers, and those that are real."""
    found: set[str] = set()
    real: set[str] = set()
    for node in walk(side):
        if node.op == "pow" and _is_negative(node.args[0]):
            found |= free_names(node.args[1])
        elif node.op == "mod" or (node.op == "fact" and node.value == 2):
            found |= free_names(node)
        elif node.op in ("floor", "ceil") or (node.op == "fn" and node.value in ("floor", "ceil")):
            (found if any(map(_makes_fractions, walk(node))) else real).update(free_names(node))
    return frozenset(found), frozenset(real)


def _turns(node: Node) -> bool:
    """True for a sine of a multiple of pi or of degrees, and for e^{i ...}: custom has whole numbers there."""
    if node.op == "fn" and node.value in _TRIGONOMETRIC:
        return any(part == Node("sym", (), "pi") or part.op == "deg" for part in walk(node))
    return node.op == "pow" and any(part == Node("sym", (), "i") for part in walk(node.args[1]))


def _is_long(node: Node) -> bool:
    """True where a factorial of more than MAX_FACTORIAL_TRIED is to be computed, innermost first."""
    if any(map(_is_long, node.args)):
        return True
    if node.op != "fact" and not (node.op == "fn" and node.value == "perm"):
        return False
    number = rational(node.args[0])
    return number is not None and number > MAX_FACTORIAL_TRIED


def _is_negative(base: Node) -> bool:
    if base.op == "neg":
        return base.args[0].op == "num" or base.args[0] == Node("sym", (), "i")
    return (base.op == "num" and base.value < 0) or base == Node("sym", (), "i")


def _makes_fractions(node: Node) -> bool:
    return node.op in ("div", "root", "percent", "mixed", "fn") or (node.op == "num" and node.value.denominator > 1)


def _is_from_one(node: Node) -> bool:
    if node.op == "div":
        return bool(free_names(node.args[1]) & WHOLE_LETTERS)
    return node.op in _FROM_ONE or (node.op == "fn" and node.value in ("ln", "log", "logb", "perm"))


def _period(node: Node) -> int:
    """The product of all numbers that are divided by, twice: for the turns of pi in a sine, the signs of (-1)^n."""
    period = 2
    for part in walk(node):
        if part.op in ("div", "mod") and part.args[1].op == "num" and part.args[1].value.denominator == 1:
            period *= max(1, abs(int(part.args[1].value)))
        elif part.op == "num":
            period *= part.value.denominator
        if period > MAX_PERIOD:
            break
    return period


def _points(whole: list[str], others: list[str], period: int, *, is_from_one: bool) -> Points:
    random = Random(SEED)
    reach = max(period, 12)
    low = 1 if is_from_one else -reach
    near = range(low, 2 * reach + 1)
    far = [base + random.randrange(-reach, reach) for base in (FAR[:1] if is_from_one else FAR)]
    squares = [root * root + step for root in (9, 12, 40) for step in (-1, 0, 1)]
    doubles = [2**power + step for power in (7, 10) for step in (-1, 0, 1)]
    lone = [*near, *squares, *doubles, *far]
    for draw in range(len(lone) if len(whole) == 1 else NUM_DRAWN):
        values = {whole[0]: lone[draw]} if len(whole) == 1 else {name: random.choice(near) for name in whole}
        reals = {name: Fraction(random.randrange(-(3 * 2**16), 3 * 2**16), 2**16) for name in others}
        yield {name: Fraction(value) for name, value in values.items()} | reals
