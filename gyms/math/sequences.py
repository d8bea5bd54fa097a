r"""Lists with dots: `3, 6, 9, \ldots`, `5, 6, \ldots, n`, `\{1, 2, \ldots, 8\}`.

Where what stands before the dots has one difference, the sequence is its first item, that difference, and its last item
(or none); it may then be begun with any number of items. With whole numbers at both ends it is the list itself. Others
are compared as they are written, item by item and in order.
"""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction
from itertools import pairwise

from gyms.math.caps import MAX_ITEMS, Unreadable
from gyms.math.exact import rational
from gyms.math.tree import NOTHING, Node, num, walk

__all__ = ["DOTS", "has_dots", "with_dots"]

DOTS = Node("dots")
MIN_BEGUN = 2
"""Items that show a difference."""


def has_dots(items: Sequence[Node]) -> bool:
    """True where dots stand for items of a list."""
    return any(item == DOTS for item in items)


def with_dots(items: Sequence[Node], *, like: str) -> Node:
    """The list (`like` "list" or "set") that items with dots among them mean; Unreadable where it means none."""
    if any(node == DOTS for item in items if item != DOTS for node in walk(item)):
        raise Unreadable("dots stand inside an item")
    place = items.index(DOTS)
    begun, rest = list(items[:place]), list(items[place + 1 :])
    step = _step(begun)
    if not begun or has_dots(rest) or step is None or len(rest) > 1:
        return Node("sequence", tuple(items), "written")
    first = rational(begun[0])
    last = rational(rest[0]) if rest and rest[0].op in ("num", "neg") else None
    if first is None or last is None:
        return Node("sequence", (begun[0], num(step), *(rest or [NOTHING])), "steps")
    count, odd = divmod(last - first, step)
    if odd or not len(begun) <= count + 1 <= MAX_ITEMS:
        raise Unreadable("the dots do not lead to the last item")
    found = tuple(num(first + step * number) for number in range(int(count) + 1))
    return Node("set", found) if like == "set" else Node("list", found, ",")


def _step(begun: Sequence[Node]) -> Fraction | None:
    """The common difference of the items before the dots; None where there is none."""
    values = [rational(item) if item.op in ("num", "neg", "div") else None for item in begun]
    known = [value for value in values if value is not None]
    if len(known) < MIN_BEGUN or len(known) < len(values):
        return None
    steps = {after - before for before, after in pairwise(known)}
    step = steps.pop()
    return None if steps or not step else step
