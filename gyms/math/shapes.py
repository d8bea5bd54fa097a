r"""One shape for trees that say the same: what `compare` rewrites before it compares.

`x = 3, 4` becomes two assignments, `a \pm b` a list of two, `P(1, 2)` and `y = 2, x = 1` the point (1, 2), and a number
with groups of digits the list that its commas may mean.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from gyms.math.caps import MAX_ITEMS
from gyms.math.exact import key_of, rational
from gyms.math.relations import assigned
from gyms.math.sets import NotReal, pieces_of
from gyms.math.tree import Node, num, sym

__all__ = [
    "as_list",
    "as_point",
    "as_whole",
    "distinct",
    "grouping",
    "is_closed_at_infinity",
    "is_list_like",
    "is_time",
    "items_of",
    "letters_of",
    "plain",
    "signed",
    "spread",
    "width_of",
]

_INTEGERS, _NATURALS = sym("\\mathbb{Z}"), sym("\\mathbb{N}")


def spread(node: Node) -> Node:
    """`x = 3, 4` as `x = 3, x = 4`, and `x \\ne 3, 4` likewise."""
    if node.op != "list" or node.args[0].op != "rel" or any(part.op in ("rel", "tuple") for part in node.args[1:]):
        return node
    first = node.args[0]
    if first.value not in (("=",), ("!=",)) or first.args[0].op not in ("sym", "call") or first.args[1].op == "tuple":
        return node
    others = (Node("rel", (first.args[0], part), first.value) for part in node.args[1:])
    return Node("list", (first, *others), node.value)


def plain(node: Node) -> Node:
    """A word as the product of its letters; `a \\pm b` as the list of its two values."""
    if node.op == "word":
        return node.args[0]
    if node.op == "quantity" and _has_sign(node.args[0]):
        return Node("list", tuple(Node("quantity", (part,), node.value) for part in signed(node.args[0])), ",")
    return Node("list", signed(node), ",") if _has_sign(node) and node.op not in ("list", "set", "tuple") else node


def as_point(node: Node) -> Node:
    """`P(1, 2)`, and `y = 2, x = 1` in the order of the alphabet, as the point that they tell."""
    if node.op == "call" and len(node.args) > 1 and str(node.value).isupper():
        return Node("tuple", node.args, "()")
    if node.op == "mul" and len(node.args) == 2 and node.args[1].op == "tuple" and node.args[0].op == "sym":
        return node.args[1] if node.args[0].value.isupper() else node
    if node.op == "list" and node.value == "," and all(part.op == "rel" for part in node.args):
        gives = [assigned(part) for part in node.args]
        names = [one.name.value for one in gives if one is not None and one.name is not None and one.name.op == "sym"]
        if len(set(names)) == len(gives) and all(len(name) == 1 for name in names):
            values = {name: one.value for name, one in zip(names, gives, strict=True) if one is not None}
            return Node("tuple", tuple(values[name] for name in sorted(names)), "()")
    return node


def _has_sign(node: Node) -> bool:
    return node.op == "plusminus" or any(_has_sign(part) for part in node.args)


def signed(node: Node) -> tuple[Node, ...]:
    """The one or two values of an expression with plus-or-minus signs, all of which are read together."""
    return (_with_sign(node, 1), _with_sign(node, -1)) if _has_sign(node) else (node,)


def _with_sign(node: Node, sign: int) -> Node:
    args = tuple(_with_sign(part, sign) for part in node.args)
    if node.op != "plusminus":
        return Node(node.op, args, node.value, node.note)
    is_plus = (sign > 0) == (node.value == "+-")
    right = args[1] if is_plus else Node("neg", (args[1],))
    return right if args[0] == num(0) else Node("add", (args[0], right))


def is_list_like(node: Node) -> bool:
    return node.op == "list" or (node.op == "set" and any(_has_sign(part) for part in node.args))


def items_of(node: Node) -> list[Node]:
    return [item for part in node.args for item in signed(part)]


def letters_of(name: Node | None) -> str:
    if name is None:
        return ""
    return name.value.partition("_")[0] if name.op == "sym" else key_of(name)


def as_whole(node: Node) -> Node:
    """The whole numbers of a bounded interval as a set: `[1, 5] \\cap \\mathbb{Z}`, `1 < n < 6, n \\in \\mathbb{Z}`."""
    if node.op == "where" and node.value in ("Z", "N"):
        inner, of_naturals = node.args[0], node.value == "N"
    elif node.op == "inter" and node.args[1] in (_INTEGERS, _NATURALS):
        inner, of_naturals = node.args[0], node.args[1] == _NATURALS
    else:
        return node
    try:
        pieces = pieces_of(inner)
    except NotReal:
        return node
    low, high = (rational(pieces[0].low), rational(pieces[0].high)) if len(pieces) == 1 else (None, None)
    if low is None or high is None:
        return node
    first = math.ceil(low) + (low.denominator == 1 and not pieces[0].is_low_closed)
    last = math.floor(high) - (high.denominator == 1 and not pieces[0].is_high_closed)
    if last < first or last - first >= MAX_ITEMS or (of_naturals and first < 1):
        return node  # whether 0 is a natural number is not for us to say
    return Node("set", tuple(num(number) for number in range(first, last + 1)))


def as_list(node: Node) -> Node:
    """A number whose digits were grouped by commas may be a list of numbers: "100,200"."""
    groups = grouping(node)
    if groups and "." not in groups:
        return Node("list", tuple(num(int(part)) for part in groups.split(",")), ",")
    return node if node.op in ("list", "set") else Node("list", (node,), ",")


def grouping(node: Node) -> str:
    return node.note.groups if node.op == "num" and node.note is not None else ""


def distinct(items: Sequence[Node]) -> list[Node]:
    return list({key_of(item): item for item in items}.values())


def is_closed_at_infinity(node: Node) -> bool:
    ends = [part.op == "inf" or (part.op == "neg" and part.args[0].op == "inf") for part in node.args]
    return (ends[0] and node.value[0] == "[") or (ends[1] and node.value[1] == "]")


def width_of(rows: Node) -> int:
    """The common length of rows that are tuples; 0 where they have none."""
    widths = {len(row.args) if row.op == "tuple" and row.value == "[]" else 0 for row in rows.args}
    return widths.pop() if len(widths) == 1 and rows.value == "[]" else 0


def is_time(written: str) -> bool:
    hours, _, minutes = written.partition(":")
    return (
        hours.isdigit() and minutes.isdigit() and len(minutes) == 2 and len(hours) <= 2 and int(hours) <= 24
        and int(minutes) < 60
    )  # fmt: skip
