"""Relations: which part of `x = 5` is the answer, and when two equations or inequalities say the same.

An equation whose left side is a name (`x`, `f(x)`, `AB`, `|AB|`, `NO/BO`, `(x, y)`) assigns: its right side is the
value. A chain (`x = 5 + 6 = 11`) must be true where both sides are numbers, else it is a false equation and no answer.
Other equations are compared as zero sets up to a constant factor; 0 = 0 equals nothing.
"""

from __future__ import annotations

from fractions import Fraction
from typing import NamedTuple

from gyms.math import numeric
from gyms.math.exact import NotScalar, TooBig, exact, key_of, rational
from gyms.math.scalars import is_closed, same_value
from gyms.math.tree import CONSTANTS, Node, sym, words
from gyms.math.whole import WHOLE_LETTERS

__all__ = [
    "Assigned",
    "FalseEquation",
    "assigned",
    "composed",
    "is_congruence",
    "same_relation",
    "same_residue",
]

_SCALAR = words(
    "num sym add mul neg div pow root fact binom percent deg abs floor ceil mixed based mod fn call big quantity inf "
    "word"
)
_OPERATORS = words("det deg dim gcd lcm max min arg Re Im sgn")
"""Functions that are names where their argument is not known: `\\det A = -2`."""
MAX_ROUNDING = Fraction(1, 20)
"""Largest relative difference that a sign of approximation may hide."""
SYMMETRIC = ("parallel", "perp", "cong", "sim")
"""Relations of geometry, which hold in both directions."""
_FLIPPED = {"<": ">", "<=": ">=", ">": "<", ">=": "<="}


class FalseEquation(Exception):
    """An answer holds an equation of numbers that is not true, such as `4 = 5`."""


class Assigned(NamedTuple):
    """What an equation assigns: a value to a name; without a name it is the value of a true chain."""

    name: Node | None
    value: Node


def assigned(node: Node) -> Assigned | None:
    """The assignment in a chain of equations, or None where it is an equation of another kind."""
    if not set(node.value) <= {"=", "~"}:
        return None
    sides, signs = list(node.args), list(node.value)
    names: list[Node] = []
    while len(sides) > 1 and _is_name(sides[0]) and signs[0] == "=":
        names.append(sides.pop(0))
        signs.pop(0)
    if len(sides) > 1 and not names and len(sides) == 2 and _is_name(sides[1]) and signs == ["="]:
        names, sides, signs = [sides[1]], sides[:1], []
    if len(sides) == 2 and not names and _is_name(sides[0]) and signs == ["~"]:
        return Assigned(sides[0], sides[1])
    if not _is_consistent(sides, signs):
        return None
    last = signs.index("~") if "~" in signs else len(signs)
    value = sides[last]
    return Assigned(names[-1] if names else None, value) if names or len(sides) > 1 else None


def _is_consistent(sides: list[Node], signs: list[str]) -> bool:
    """Whether all sides of a chain are equal; FalseEquation where two numbers are not."""
    for left, right, sign in zip(sides, sides[1:], signs, strict=False):
        if left.op not in _SCALAR or right.op not in _SCALAR:
            return False
        if left.op == "quantity" or right.op == "quantity":
            left, right = (side.args[0] if side.op == "quantity" else side for side in (left, right))
        if sign == "~" and is_closed(left) and is_closed(right) and not _are_near(left, right):
            raise FalseEquation("an approximation that is none")
        if sign == "=" and not same_value(left, right):
            if is_closed(left) and is_closed(right):
                raise FalseEquation("a false equation of numbers")
            return False
    return True


def _are_near(left: Node, right: Node) -> bool:
    """Whether one number may stand for the other behind a sign of approximation."""
    a, b = numeric.real(left), numeric.real(right)
    return a is None or b is None or abs(a - b) <= MAX_ROUNDING * max(abs(a), abs(b))


def composed(node: Node) -> Assigned | None:
    """The value that an answer such as `m + n = 18` or `x^2 + y^2 = 18` gives to what the question asked for.

    Only for an answer to a gold answer that is no equation; `2x = 18` says something else, and is none.
    """
    if node.value != ("=",) or not is_closed(node.args[1]) or is_closed(node.args[0]):
        return None
    parts = [part.args[0] if part.op == "neg" else part for part in node.args[0].args]
    bases = [part.args[0] if part.op == "pow" else part for part in parts]
    is_plain = node.args[0].op in ("add", "mul") and all(base.op == "sym" for base in bases) and len(bases) > 1
    return Assigned(node.args[0], node.args[1]) if is_plain else None


def _is_name(node: Node) -> bool:
    """What an equation may give a value to."""
    if node.op == "sym":
        return node.value not in CONSTANTS
    if node.op == "call" or node.op == "big":
        return True
    if node.op == "fn":
        return node.value in _OPERATORS and rational(node) is None
    if _is_derivative(node) or (node.op == "mul" and _is_derivative(node.args[0])):
        return True
    if node.op in ("union", "inter", "diff"):
        return all(_is_name(part) for part in node.args)
    if node.op == "abs":
        return _is_name(node.args[0])
    if node.op in ("mul", "word"):
        letters = node.args[0].args if node.op == "word" else node.args
        if node.op == "mul" and letters[0] == sym("m") and letters[-1].op == "call":
            letters = letters[1:]  # the measure of an angle
            return all(part.op == "call" for part in letters)
        return all(part.op == "sym" and part.value[0].isupper() for part in letters)
    if node.op in ("div", "ratio", "tuple"):
        return all(_is_name(part) for part in node.args)
    return False


def _is_derivative(node: Node) -> bool:
    """`dy/dx`, `d^2 y/dx^2`, and the operator `d/dx`: a quotient of two products that begin with d."""
    if node.op != "div" or node.args[1].op not in ("mul", "word"):
        return False
    firsts = [part.args[0] if part.op == "word" else part for part in node.args]
    firsts = [part.args[0] if part.op == "mul" else part for part in firsts]
    return all((part.args[0] if part.op == "pow" else part) == sym("d") for part in firsts)


def same_relation(left: Node, right: Node) -> bool:
    """True where two relations of two sides hold for the same values, up to a constant factor."""
    if len(left.args) != 2 or len(right.args) != 2:
        return (
            left.value == right.value
            and len(left.args) == len(right.args)
            and all(same_value(a, b) for a, b in zip(left.args, right.args, strict=True))
        )
    a, b = _zero_form(left), _zero_form(right)
    factor = _constant_factor(a, b)
    if factor is None:
        return False
    sign_a, sign_b = left.value[0], right.value[0]
    if sign_a in ("=", "!=", *SYMMETRIC):
        return sign_a == sign_b
    return sign_b == (sign_a if factor > 0 else _FLIPPED.get(sign_a))


def is_congruence(node: Node) -> bool:
    """True for `7 \\pmod{11}`, alone or as the last side of a relation, with a qualifier or without."""
    return _last_side(node).op == "mod" and _last_side(node).value == "pmod"


def same_residue(gold: Node, answer: Node) -> bool:
    """True where both name one class of residues, of one unknown where both name one; one of them is a congruence.

    The form `7 + 11k` counts for an answer where k is a letter for whole numbers, and for a gold answer where it says
    so. A gold number answers to its own congruence where it is the least residue: 7 to 7 modulo 11, not modulo 3.
    A congruence of another kind (`x^2 \\equiv 1 \\pmod{8}`, or modulo 2 pi) equals itself alone.
    """
    if gold == answer:
        return True
    if gold.op == answer.op == "where" and gold.value != answer.value:
        return False
    said = _congruence(answer) or _progression(answer, WHOLE_LETTERS | {"t"})
    if said is None:
        return False
    if gold.op == "num":
        return gold.value == said.residue and 0 <= gold.value < said.modulus
    wanted = _congruence(gold) or _progression(gold, frozenset())
    if wanted is None or wanted.modulus != said.modulus or (wanted.residue - said.residue) % wanted.modulus:
        return False
    return wanted.name is None or said.name is None or key_of(wanted.name) == key_of(said.name)


class _Class(NamedTuple):
    name: Node | None
    """The unknown, where one is named."""
    residue: Fraction
    modulus: Fraction
    """A whole number over 1."""


def _last_side(node: Node) -> Node:
    core = node.args[0] if node.op == "where" else node
    return core.args[-1] if core.op == "rel" else core


def _congruence(node: Node) -> _Class | None:
    """`7 \\pmod{11}`, `x \\equiv 7 \\pmod{11}`; in a chain of several sides, all must agree."""
    core = node.args[0] if node.op == "where" else node
    sides = core.args if core.op == "rel" else (core,)
    if not is_congruence(core) or (core.op == "rel" and (set(core.value) != {"="} or not _is_name(sides[0]))):
        return None
    residue, modulus = (rational(part) for part in sides[-1].args)
    if residue is None or modulus is None or modulus.denominator != 1 or modulus < 2:
        return None
    for side in sides[1:-1]:
        other = rational(side)
        if other is None or (other - residue) % modulus:
            return None
    return _Class(sides[0] if core.op == "rel" else None, residue, modulus)


def _progression(node: Node, letters: frozenset[str]) -> _Class | None:
    """`7 + 11k`, `x = 7 + 11k`, where k is one of the letters or a qualifier says that it runs over the integers."""
    core, domain, over = (node.args[0], node.value, node.note) if node.op == "where" else (node, "", "")
    name: Node | None = None
    if core.op == "rel":
        if core.value != ("=",) or not _is_name(core.args[0]):
            return None
        name, core = core.args
    try:
        top, bottom = exact(core)
    except (NotScalar, TooBig):
        return None
    steps = [mono for mono in top if mono]
    if set(bottom) != {()} or len(steps) != 1 or len(steps[0]) != 1:
        return None
    ((atom, power),) = steps[0]
    letter = atom.removeprefix("s:")
    is_whole = letter == over if domain == "Z" and over else letter in letters and domain in ("", "Z")
    step = abs(top[steps[0]] / bottom[()])
    if letter == atom or power != 1 or not is_whole or name == sym(letter) or step.denominator != 1 or step < 2:
        return None
    return _Class(name, top.get((), Fraction(0)) / bottom[()], step)


def _zero_form(node: Node) -> Node:
    return Node("add", (node.args[0], Node("neg", (node.args[1],))))


def _constant_factor(left: Node, right: Node) -> Fraction | None:
    """c where left = c * right as functions and neither is 0, else None."""
    try:
        a, b = exact(left), exact(right)
        if not a.top or not b.top:
            return None
        quotient = exact(Node("div", (left, right)))
        first = min(quotient.top)
        factor = quotient.top[first] / quotient.bottom[first] if first in quotient.bottom else Fraction(0)
        is_same = (
            factor != 0
            and quotient.top.keys() == quotient.bottom.keys()
            and all(value == factor * quotient.bottom[mono] for mono, value in quotient.top.items())
        )
        if is_same:
            return factor
        if not (a.is_opaque or b.is_opaque):
            return None
    except TooBig:
        pass
    except NotScalar:
        return None
    for factor in (Fraction(1), Fraction(-1)):
        if same_value(left, right if factor == 1 else Node("neg", (right,))):
            return factor
    return None
