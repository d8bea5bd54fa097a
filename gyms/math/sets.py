r"""Sets of real numbers as unions of intervals: what intervals, inequalities, finite sets and their unions mean.

`x < 1`, `(-\infty, 1)` and `1 > x` become the same list of pieces. Ends are compared exactly; for sorting them their
values are enough. A piece is closed or open at each end; pieces that touch are joined.
"""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction
from functools import cmp_to_key, lru_cache
from typing import NamedTuple

from gyms.math import numeric
from gyms.math.exact import rational
from gyms.math.scalars import Rules, is_closed, same_scalar, same_value
from gyms.math.tree import CONSTANTS, Node, Unreadable, infinite, num

__all__ = ["NotReal", "Piece", "pieces_of", "same_pieces"]

_INF, _MINUS_INF = Node("inf"), Node("neg", (Node("inf"),))
_MIRRORED = {"<": ">", "<=": ">=", ">": "<", ">=": "<="}


class NotReal(Exception):
    """The node is no set of real numbers that this file can write as intervals."""


class Piece(NamedTuple):
    """An interval, or a point where both ends are the same."""

    low: Node
    high: Node
    is_low_closed: bool
    is_high_closed: bool


def pieces_of(node: Node, *, is_pair_interval: bool = True) -> list[Piece]:
    """The joined pieces of a set, in order; NotReal where the node is none. `(a, b)` counts as an open interval."""
    return _joined(_pieces(node, is_pair_interval))


def same_pieces(gold: Sequence[Piece], answer: Sequence[Piece], rules: Rules) -> bool:
    """True where all ends agree, in value and in being closed."""
    return len(gold) == len(answer) and all(
        g[2:] == a[2:] and same_scalar(g.low, a.low, rules) and same_scalar(g.high, a.high, rules)
        for g, a in zip(gold, answer, strict=True)
    )


def _pieces(node: Node, is_pair: bool) -> list[Piece]:
    if node.op == "empty":
        return []
    if node.op == "reals":
        return [Piece(_MINUS_INF, _INF, False, False)]
    if node.op == "set":
        return [Piece(item, item, True, True) for item in node.args]
    if node.op == "tuple" and len(node.args) == 2 and node.value in ("()", "[]", "(]", "[)"):
        return _interval(node)
    if node.op == "list" and node.value == "," and all(part.op == "rel" for part in node.args):
        return _all_of([_joined(_pieces(part, is_pair)) for part in node.args])
    if node.op == "union" or (node.op == "list" and node.args[0].op in ("rel", "union", "tuple")):
        return [piece for part in node.args for piece in _pieces(part, is_pair)]
    if node.op == "diff":
        return _difference(_joined(_pieces(node.args[0], is_pair)), _joined(_pieces(node.args[1], is_pair)))
    if node.op == "inter":
        first, second = (_joined(_pieces(part, is_pair)) for part in node.args)
        return _difference(first, _difference(pieces_of(Node("reals")), second))
    if node.op == "rel":
        return _relation(node)
    raise NotReal


def _all_of(conditions: list[list[Piece]]) -> list[Piece]:
    """`x > 1, x < 3` is both; conditions that exclude each other (`x < 1, x > 3`) are meant as either."""
    common = conditions[0]
    for condition in conditions[1:]:
        common = _difference(common, _difference(pieces_of(Node("reals")), condition))
    return common or [piece for condition in conditions for piece in condition]


def _interval(node: Node) -> list[Piece]:
    low, high = node.args
    is_low, is_high = node.value[0] == "[", node.value[1] == "]"
    if (infinite(low) and is_low) or (infinite(high) and is_high):
        raise Unreadable("an interval is closed at infinity")
    order = _compare(low, high)
    if order > 0:
        raise NotReal
    if order == 0 and not (is_low and is_high):
        return []
    return [Piece(low, high, is_low, is_high)]


def _relation(node: Node) -> list[Piece]:
    """`x < a`, `a < x \\le b`, `x \\ne a`, `x \\in S`, and bounds on |x|; x is anything but a number."""
    sides, signs = node.args, node.value
    if signs == ("in",):
        return _pieces(sides[1], True)
    if signs == ("notin",):
        return _difference(pieces_of(Node("reals")), _joined(_pieces(sides[1], True)))
    if signs == ("!=",) and _is_number(sides[1]):
        return [Piece(_MINUS_INF, sides[1], False, False), Piece(sides[1], _INF, False, False)]
    if (len(sides) == 3 and set(signs) <= {"<", "<="}) or (len(sides) == 3 and set(signs) <= {">", ">="}):
        if signs[0].startswith(">"):
            sides, signs = sides[::-1], tuple(_MIRRORED[sign] for sign in reversed(signs))
        low, middle, high = sides
        if not (_is_number(low) and _is_number(high)):
            raise NotReal
        return _bounded(middle, Piece(low, high, signs[0] == "<=", signs[1] == "<="))
    if len(sides) == 2 and signs[0] in _MIRRORED:
        left, right, sign = sides[0], sides[1], signs[0]
        if _is_number(left) and not _is_number(right):
            left, right, sign = right, left, _MIRRORED[sign]
        if not _is_number(right) or _is_number(left):
            raise NotReal
        if sign.startswith("<"):
            return _bounded(left, Piece(_MINUS_INF, right, False, sign == "<="))
        return _bounded(left, Piece(right, _INF, sign == ">=", False))
    raise NotReal


def _bounded(variable: Node, piece: Piece) -> list[Piece]:
    """The values of x where x, -x or |x| lies in the piece."""
    if variable.op == "neg" and _is_name(variable.args[0]):
        return [_mirrored(piece)]
    if variable.op == "abs" and _is_name(variable.args[0]):
        positive = _difference([piece], [Piece(_MINUS_INF, num(0), False, False)])
        return [*positive, *map(_mirrored, positive)]
    if not _is_name(variable):
        raise NotReal
    return [piece]


def _mirrored(piece: Piece) -> Piece:
    return Piece(_negated(piece.high), _negated(piece.low), piece.is_high_closed, piece.is_low_closed)


def _negated(node: Node) -> Node:
    if node.op == "neg":
        return node.args[0]
    return num(-node.value, node.note) if node.op == "num" else Node("neg", (node,))


def _is_name(node: Node) -> bool:
    return node.op == "call" or (node.op == "sym" and node.value not in CONSTANTS)


def _is_number(node: Node) -> bool:
    if infinite(node):
        return True
    return is_closed(node) and _approximate(node) is not None


def _compare(left: Node, right: Node) -> int:
    """-1, 0 or 1; NotReal where the ends have no order (variables)."""
    for node, other, result in ((left, right, -1), (right, left, 1)):
        if node == _MINUS_INF or other == _INF:
            return 0 if node == other else result
    if infinite(left) or infinite(right):
        return 1 if left == _INF or right == _MINUS_INF else -1
    a, b = rational(left), rational(right)
    if a is not None and b is not None:
        return (a > b) - (a < b)
    if left == right:
        return 0
    low, high = _approximate(left), _approximate(right)
    if low is None or high is None:
        raise NotReal
    if abs(low - high) > abs(low + high) * Fraction(1, 10**30):
        return -1 if low < high else 1
    if same_value(left, right):
        return 0
    raise NotReal


@lru_cache(maxsize=512)
def _approximate(node: Node) -> Fraction | None:
    """The value of a closed real expression to 60 digits; None where it has none."""
    return numeric.real(node)


def _joined(pieces: list[Piece]) -> list[Piece]:
    """In order, with touching and overlapping pieces made one."""
    ordered = sorted(pieces, key=cmp_to_key(_by_low))
    joined: list[Piece] = []
    for piece in ordered:
        if not joined:
            joined.append(piece)
            continue
        last = joined[-1]
        order = _compare(piece.low, last.high)
        if order > 0 or (order == 0 and not (piece.is_low_closed or last.is_high_closed)):
            joined.append(piece)
            continue
        ends = _compare(piece.high, last.high)
        is_closed = last.is_high_closed if ends < 0 else piece.is_high_closed or (ends == 0 and last.is_high_closed)
        joined[-1] = Piece(last.low, piece.high if ends > 0 else last.high, last.is_low_closed, is_closed)
    return joined


def _by_low(left: Piece, right: Piece) -> int:
    return _compare(left.low, right.low) or int(right.is_low_closed) - int(left.is_low_closed)


def _difference(pieces: list[Piece], holes: list[Piece]) -> list[Piece]:
    for hole in holes:
        pieces = [rest for piece in pieces for rest in _without(piece, hole)]
    return pieces


def _without(piece: Piece, hole: Piece) -> list[Piece]:
    """What is left of a piece outside a hole: up to two pieces."""
    found: list[Piece] = []
    low_order = _compare(piece.low, hole.low)
    if low_order < 0 or (low_order == 0 and piece.is_low_closed and not hole.is_low_closed):
        order = _compare(piece.high, hole.low)
        is_before = order < 0 or (order == 0 and not (piece.is_high_closed and hole.is_low_closed))
        high, closed = (piece.high, piece.is_high_closed) if is_before else (hole.low, not hole.is_low_closed)
        found.append(Piece(piece.low, high, piece.is_low_closed, closed))
    high_order = _compare(piece.high, hole.high)
    if high_order > 0 or (high_order == 0 and piece.is_high_closed and not hole.is_high_closed):
        order = _compare(piece.low, hole.high)
        is_after = order > 0 or (order == 0 and not (piece.is_low_closed and hole.is_high_closed))
        low, closed = (piece.low, piece.is_low_closed) if is_after else (hole.high, not hole.is_high_closed)
        rest = Piece(low, piece.high, closed, piece.is_high_closed)
        if rest not in found:
            found.append(rest)
    return found
