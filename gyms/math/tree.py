"""The expression tree that answers are read into: one small immutable node, built by our own parser alone.

`op` says what a node is; `args` are its parts; `value` is what is not a node (a number, a name, a list of signs);
`note` is how it was written, which decides no value: the decimal places of a number, its grouping.

    num       value = Fraction; note = Written
    sym       value = name ("x", "x_1", "\\alpha"); constants are the names "pi", "e", "i"
    add mul   args = two or more terms or factors
    neg div pow root fact percent deg abs floor ceil mixed based plusminus mod
              root(radicand, index); plusminus(left, right), value "+-" or "-+"; based(number), value = base
    fn        value = name, args = arguments; `call` is an unknown function (f(x))
    big       value = "sum" | "prod" | "int" | "lim" | ..., args = (lower, upper, body), absent ones are `NOTHING`
    tuple     ordered, value = its brackets ("()", "[]", "(]", "[)", "<>"); set, list: without order
    rel       args = sides, value = tuple of signs ("=", "<", "<=", ">", ">=", "!=", "in", "~")
    ratio     args = parts of a : b : c; note = the text, for times of the day
    union inter diff; matrix: args = cells row by row, value = (rows, columns)
    date      value = (year, month, day, weekday), what is absent 0
    sequence  args = (first, difference, last or NOTHING), value "steps"; or its items as written, value "written"
    where     args = (answer,), value = the set of numbers that its qualifier names ("Z", "N", "Q"); note = what runs
              over it, or ""
    quantity  args = (number,), value = units.Unit
    text      value = its words; word: the same for one run of letters that may be a product, args = (product,)
    inf empty reals dne many  (the words and signs of docs/math.md's table)
"""

from __future__ import annotations

from collections.abc import Iterator
from fractions import Fraction
from typing import Any, NamedTuple

__all__ = ["NOTHING", "Node", "Written", "num", "renamed", "size", "sym", "walk"]


class Written(NamedTuple):
    """How a number was written."""

    places: int = 0
    """Digits after the decimal point."""
    significant: int = 0
    """Digits from the first that is not 0."""
    form: str = "int"
    """`int`, `dec`, `sci`, `rep` (repeating decimal)."""
    length: int = 0
    """Digits in all, leading zeros included."""
    groups: str = ""
    """The text where commas group its digits ("1,234"), else empty."""


class Node(NamedTuple):
    """One node; see the head of this file."""

    op: str
    args: tuple[Node, ...] = ()
    value: Any = None
    note: Any = None


NOTHING = Node("nothing")


def num(value: int | Fraction, note: Written | None = None) -> Node:
    """A number."""
    return Node("num", (), Fraction(value), note or Written())


def sym(name: str) -> Node:
    """A variable or named constant."""
    return Node("sym", (), name)


def walk(node: Node) -> Iterator[Node]:
    """The node and all below it."""
    stack = [node]
    while stack:
        top = stack.pop()
        yield top
        stack.extend(top.args)


def renamed(node: Node, old: str, new: str) -> Node:
    """The tree with another name in the place of one."""
    if node == sym(old):
        return sym(new)
    return node._replace(args=tuple(renamed(part, old, new) for part in node.args))


def size(node: Node) -> int:
    """Number of nodes."""
    return sum(1 for _ in walk(node))
