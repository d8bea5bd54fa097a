r"""One shape for trees that say the same: what `compare` rewrites before it compares.

`x = 3, 4` becomes two assignments, `a \pm b` a list of two, `P(1, 2)` and `y = 2, x = 1` the point (1, 2), and a number
with groups of digits the list that its commas may mean; `C_7^3` beside a number is a number of combinations.
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from fractions import Fraction
from itertools import pairwise

from gyms.math.choices import LETTERS
from gyms.math.exact import key_of, rational
from gyms.math.relations import assigned
from gyms.math.scalars import is_closed
from gyms.math.sets import NotReal, pieces_of
from gyms.math.tree import COUNTS, MAX_ITEMS, Node, count_of, infinite, num, sym, walk, words
from gyms.math.units import parse_unit

__all__ = [
    "as_list",
    "as_options",
    "as_point",
    "as_whole",
    "counted",
    "differs_in_case",
    "distinct",
    "grouping",
    "is_closed_at_infinity",
    "is_list_like",
    "is_time",
    "items_of",
    "letters_of",
    "minutes_of_day",
    "plain",
    "spread",
    "width_of",
]

_CASELESS = words("yes no")
"""Words that are no product, however they are written."""
_RUN = re.compile(r"[$ ]*(?:\\(?:text|mathrm|textbf|mathbf)[ ]*\{[ ]*)?([A-Za-z]{2,3})[ }$.]*")
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


def differs_in_case(left: str, right: str) -> bool:
    """Whether one short run of letters is all small and the other all capitals: `AB` is no `ab`, points no product."""
    runs = [_RUN.fullmatch(text.strip()) for text in (left, right)]
    letters = [run[1] for run in runs if run is not None]
    if len(letters) < 2 or letters[0].casefold() in _CASELESS:
        return False
    return any(one.islower() and other.isupper() for one, other in (letters, letters[::-1]))


def plain(node: Node) -> Node:
    """A word as the product of its letters; `a \\pm b` as the list of its two values."""
    if node.op == "word":
        return node.args[0]
    if node.op == "quantity" and _has_sign(node.args[0]):
        return Node("list", tuple(Node("quantity", (part,), node.value) for part in _signed(node.args[0])), ",")
    return Node("list", _signed(node), ",") if _has_sign(node) and node.op not in ("list", "set", "tuple") else node


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


def as_options(node: Node, other: Node) -> Node:
    """`ABD` as the options that it names together, beside a list of options."""
    letters = node.args if node.op == "mul" and node.value == "letters" else ()
    named = [part.value for part in letters if part.op == "sym"]
    is_list = other.op == "list" and all(part.op == "sym" and part.value in LETTERS for part in other.args)
    is_in_order = named == sorted(set(named)) and all(name in LETTERS for name in named)
    return Node("list", letters, ",") if is_list and named and is_in_order else node


def counted(node: Node, other: Node) -> Node:
    """`C_7^3` and `C(7, 3)` as numbers of combinations, `A_7^3` of arrangements, where the letter can be nothing else.

    So it is where the other side counts with binomial coefficients or factorials, or where no letter is left then: a
    constant `C_1`, squared, stands among variables, and a point `C(7, 3)` beside a point.
    """
    if not node.args or other.op in ("tuple", "list", "set", "matrix", "rel"):
        return node
    if not any(map(_is_count, walk(node))):
        return node
    is_sure = any(part.op in ("binom", "fact") or (part.op == "fn" and part.value == "perm") for part in walk(other))
    made = _counted(node)
    is_usual = all(_is_below(part) for part in walk(node) if part.op == "pow")
    return made if is_sure or (is_usual and is_closed(made)) else node


def _is_count(node: Node) -> bool:
    return _count_of_power(node) is not None or (
        node.op == "mul" and any(_is_letter(left) and _is_pair(right) for left, right in pairwise(node.args))
    )


def _is_letter(node: Node) -> bool:
    return node.op == "sym" and node.value in COUNTS


def _is_pair(node: Node) -> bool:
    return node.op == "tuple" and node.value == "()" and len(node.args) == 2


def _count_of_power(node: Node) -> Node | None:
    """`C_7^3`: the larger number is what is chosen from."""
    if node.op != "pow" or node.args[0].op != "sym" or node.args[1].op not in ("num", "sym"):
        return None
    letter, _, index = node.args[0].value.partition("_")
    if letter not in COUNTS or not index or len(index) > 6:
        return None
    if index.isdigit() and node.args[1].op == "num":
        low, high = sorted((Fraction(int(index)), node.args[1].value))
        return count_of(letter, num(high), num(low)) if high > 1 and low.denominator == 1 else None
    is_letters = node.args[1].op == "sym" and len(index) == 1 and index.isalpha()
    return count_of(letter, sym(index), node.args[1]) if is_letters else None


def _is_below(power: Node) -> bool:
    """False for `C_1^2`, a constant squared: what is chosen from is written below, what is chosen above."""
    index = power.args[0].value.partition("_")[2] if power.args[0].op == "sym" else ""
    return not index.isdigit() or power.args[1].op != "num" or int(index[:6]) > power.args[1].value


def _counted(node: Node) -> Node:
    power = _count_of_power(node)
    if power is not None:
        return power
    args = [_counted(part) for part in node.args]
    if node.op == "mul":
        for place, (left, right) in enumerate(pairwise(args)):
            if _is_letter(left) and _is_pair(right):
                args[place : place + 2] = [count_of(left.value, *right.args)]
                break
        if len(args) == 1:
            return args[0]
    return node._replace(args=tuple(args))


def _has_sign(node: Node) -> bool:
    return node.op == "plusminus" or any(_has_sign(part) for part in node.args)


def _signed(node: Node) -> tuple[Node, ...]:
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
    return [item for part in node.args for item in _signed(part)]


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
    low, high = map(infinite, node.args)
    return bool((low and node.value[0] == "[") or (high and node.value[1] == "]"))


def width_of(rows: Node) -> int:
    """The common length of rows that are tuples; 0 where they have none."""
    widths = {len(row.args) if row.op == "tuple" and row.value == "[]" else 0 for row in rows.args}
    return widths.pop() if len(widths) == 1 and rows.value == "[]" else 0


def minutes_of_day(node: Node) -> set[int] | None:
    """The minutes after midnight that a time may mean: two where no half of the day is told; None for other values."""
    time = node.args[0] if node.op == "quantity" else node
    half = next((half for half in ("am", "pm") if node.op == "quantity" and node.value == parse_unit(half)), "")
    if node.op == "quantity" and not half:
        return None
    if time.op == "ratio" and is_time(time.note):
        hours, minutes = (int(part.value) for part in time.args)
    elif half and time.op == "num" and time.value.denominator == 1 and 0 < time.value <= 12:
        hours, minutes = int(time.value), 0
    else:
        return None
    if hours > 12 or (hours == 0 and not half):
        return {hours * 60 + minutes}
    at = {"am": hours % 12, "pm": hours % 12 + 12}
    return {60 * at[one] + minutes for one in at if half in ("", one)}


def is_time(written: str) -> bool:
    hours, _, minutes = written.partition(":")
    return (
        hours.isdigit() and minutes.isdigit() and len(minutes) == 2 and len(hours) <= 2 and int(hours) <= 24
        and int(minutes) < 60
    )  # fmt: skip
