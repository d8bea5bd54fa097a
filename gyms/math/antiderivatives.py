r"""The constant of integration: what it is called, and the constants that it takes up.

`x^2 + c` answers for `x^2 + C`, and `\frac{(x+1)^2}{2} + C` for `\frac{x^2}{2} + x + C`: what differs but by a constant
is the same family of functions. C is such a constant only as a term of its own that occurs once, beside variables and
no other capital letter: in `A + B + C` it is one letter of three.

Left out: constants that are factors (`C e^x`), and families of two constants.
"""

from __future__ import annotations

from fractions import Fraction

from gyms.math import numeric
from gyms.math.scalars import is_closed, same_value, undone
from gyms.math.tree import Node, free_names, renamed, sym, walk, with_values

__all__ = ["is_same_family", "with_constant_of"]

_C = sym("C")
_CONSTANTS = frozenset(["c", "K", "k", "C_1", "c_1", "C_0"])
"""What C is called elsewhere."""
_POINT = Fraction(1973, 1024)
"""Where the constant is looked at: positive, for logarithms and roots, and in no denominator."""


def with_constant_of(gold: Node, answer: Node) -> Node:
    """The answer with its constant of integration called C, as in the gold answer."""
    names = free_names(gold)
    if not _has_constant(gold) or len(names) < 2:
        return answer
    constants = [term.value for term in _terms(answer) if term.op == "sym" and term.value in _CONSTANTS]
    is_one = len(constants) == 1 and sum(part == sym(constants[0]) for part in walk(answer)) == 1
    is_new = is_one and constants[0] not in names and "C" not in free_names(answer)
    return renamed(answer, constants[0], "C") if is_new else answer


def is_same_family(gold: Node, answer: Node) -> bool:
    """True where both are a function and C, alone or given to one name, and the functions differ by a constant."""
    if not (_has_constant(gold) and _has_constant(answer)) or len(free_names(gold)) < 2:
        return False
    sides = [_side(node) for node in (gold, answer)]
    if gold.op == answer.op == "rel" and gold.args[0] != answer.args[0]:
        return False
    if any(side is None for side in sides):
        return False
    functions = [_without_constant(side) for side in sides if side is not None]
    if {"big", "mod"} & (undone(functions[1]) - undone(functions[0])):
        return False
    if numeric.is_narrower(*functions):
        return False
    difference = Node("add", (functions[0], Node("neg", (functions[1],))))
    names = sorted(free_names(difference))
    if not names:
        return numeric.real(difference) is not None
    value = with_values(difference, {name: _POINT + place for place, name in enumerate(names)})
    return is_closed(value) and numeric.real(value) is not None and same_value(value, difference)


def _has_constant(node: Node) -> bool:
    """Whether C is a term of its own, occurs nowhere else, and is no letter among other capitals."""
    others = free_names(node) - {"C"}
    is_term = _terms(node).count(_C) == 1 and sum(part == _C for part in walk(node)) == 1
    return is_term and not any(len(name) == 1 and name.isupper() for name in others)


def _terms(node: Node) -> list[Node]:
    return [term for side in (node.args if node.op == "rel" else (node,)) if side.op == "add" for term in side.args]


def _side(node: Node) -> Node | None:
    """The function with its constant: itself, or what `y = ...` and `f(x) = ...` give to a name; None for all else."""
    if node.op != "rel":
        return node
    if node.value != ("=",) or node.args[0].op not in ("sym", "call") or node.args[1].op != "add":
        return None
    name, function = node.args
    return None if name.op == "sym" and name.value in free_names(function) else function


def _without_constant(function: Node) -> Node:
    rest = tuple(term for term in function.args if term != _C)
    return rest[0] if len(rest) == 1 else Node("add", rest)
