"""Whether an answer is the gold answer, by the type of both; the table is in docs/math.md.

The types that have no order (sets, unions, bare lists, equations) compare symmetrically; points, vectors and matrices
compare part by part. What two notations say of one set of real numbers is compared as intervals (`sets`); numbers and
expressions by `scalars`. No rule looks at the text of an answer: only trees are compared.
"""

from __future__ import annotations

import dataclasses
import math
from collections import Counter
from collections.abc import Sequence

from gyms.math.caps import Unreadable
from gyms.math.dates import same_date
from gyms.math.exact import key_of
from gyms.math.forms import is_closed, undone
from gyms.math.relations import Assigned, assigned, composed, free_names, same_relation
from gyms.math.scalars import Rules, same_quantity, same_scalar, same_value
from gyms.math.sets import NotReal, pieces_of, same_pieces
from gyms.math.tree import NOTHING, Node, num, sym, walk
from gyms.math.vocabulary import words

__all__ = ["equivalent", "share_right"]

_SETS = frozenset(["set", "union", "diff", "inter", "reals", "empty", "rel"])
_NOT_SCALAR = words("set union diff inter reals empty rel list tuple matrix text dne many")
MAX_PAIRS = 200
"""Most comparisons of items of two lists that have no common exact form."""


def equivalent(gold: Node, answer: Node, rules: Rules) -> bool:
    """True where the answer is the gold answer; FalseEquation, Unreadable, TooComplex where it is no answer at all."""
    if gold.op == "where" or answer.op == "where":
        if gold.op == answer.op and gold.value != answer.value:
            return False
        gold, answer = (node.args[0] if node.op == "where" else node for node in (gold, answer))
    gold, answer = _spread(gold), _spread(answer)
    if gold.op == "date" or answer.op == "date":
        return gold.op == answer.op and same_date(gold, answer)
    if gold.op == "sequence" or answer.op == "sequence":
        return _sequences(gold, answer, rules)
    if gold.op == "rel" or answer.op == "rel":
        return _relations(gold, answer, rules)
    if gold.op == "text" or answer.op == "text" or (gold.op == "word" and answer.op == "word"):
        return gold.value == answer.value and isinstance(gold.value, str)
    gold, answer = _plain(gold), _plain(answer)
    if "tuple" in (gold.op, answer.op):
        gold, answer = _point(gold), _point(answer)
    for op in ("dne", "many"):
        if gold.op == op or answer.op == op:
            return gold.op == answer.op
    if _is_list_like(gold) or _is_list_like(answer):
        return _collections(gold, answer, rules)
    if gold.op == "matrix" or answer.op == "matrix":
        return _matrices(gold, answer, rules)
    if gold.op in _SETS or answer.op in _SETS:
        return _sets(gold, answer, rules)
    if gold.op == "tuple" or answer.op == "tuple":
        return _tuples(gold, answer, rules)
    if gold.op == "ratio" or answer.op == "ratio":
        return _ratios(gold, answer, rules)
    if gold.op == answer.op == "quantity" and gold.value == answer.value and gold.args[0].op == "ratio":
        return equivalent(gold.args[0], answer.args[0], rules)
    if gold.op == "quantity" or answer.op == "quantity":
        return same_quantity(gold, answer, rules)
    return same_scalar(gold, answer, rules)


def _spread(node: Node) -> Node:
    """`x = 3, 4` as `x = 3, x = 4`, and `x \\ne 3, 4` likewise."""
    if node.op != "list" or node.args[0].op != "rel" or any(part.op in ("rel", "tuple") for part in node.args[1:]):
        return node
    first = node.args[0]
    if first.value not in (("=",), ("!=",)) or first.args[0].op not in ("sym", "call") or first.args[1].op == "tuple":
        return node
    others = (Node("rel", (first.args[0], part), first.value) for part in node.args[1:])
    return Node("list", (first, *others), node.value)


def _sequences(gold: Node, answer: Node, rules: Rules) -> bool:
    """Lists with dots: by first item, difference and last item where both have one, else as written."""
    if gold.op != answer.op or gold.value != answer.value or len(gold.args) != len(answer.args):
        return False
    return all(
        g == a if "dots" in (g.op, a.op) or NOTHING in (g, a) else equivalent(g, a, rules)
        for g, a in zip(gold.args, answer.args, strict=True)
    )


def _plain(node: Node) -> Node:
    """A word as the product of its letters; `a \\pm b` as the list of its two values."""
    if node.op == "word":
        return node.args[0]
    if node.op == "quantity" and _has_sign(node.args[0]):
        return Node("list", tuple(Node("quantity", (part,), node.value) for part in _signed(node.args[0])), ",")
    return Node("list", _signed(node), ",") if _has_sign(node) and node.op not in ("list", "set", "tuple") else node


def _point(node: Node) -> Node:
    """`P(1, 2)`, and `x = 1, y = 2` in the order of the alphabet, as the point that they tell."""
    if node.op == "call" and len(node.args) > 1 and str(node.value).isupper():
        return Node("tuple", node.args, "()")
    if node.op == "mul" and len(node.args) == 2 and node.args[1].op == "tuple" and node.args[0].op == "sym":
        return node.args[1] if node.args[0].value.isupper() else node
    if node.op == "list" and all(part.op == "rel" for part in node.args):
        gives = [assigned(part) for part in node.args]
        names = [one.name.value for one in gives if one is not None and one.name is not None and one.name.op == "sym"]
        if len(set(names)) == len(gives) and names == sorted(names) and all(len(name) == 1 for name in names):
            return Node("tuple", tuple(one.value for one in gives if one is not None), "()")
    return node


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


def _is_list_like(node: Node) -> bool:
    return node.op == "list" or (node.op == "set" and any(_has_sign(part) for part in node.args))


def _items(node: Node) -> list[Node]:
    return [item for part in node.args for item in _signed(part)]


def share_right(gold: Node, answer: Node, rules: Rules) -> float:
    """The share of a collection's parts that are right, in [0, 1]; 0 where the two differ in type or in size."""
    if gold.op != answer.op or gold.op not in ("list", "set", "tuple", "matrix") or gold.value != answer.value:
        return 0.0
    golds, answers = _items(gold), _items(answer)
    if len(golds) != len(answers):
        return 0.0
    if gold.op in ("tuple", "matrix"):
        return sum(equivalent(g, a, rules) for g, a in zip(golds, answers, strict=True)) / len(golds)
    common = Counter(map(key_of, golds)) & Counter(map(key_of, answers))
    return sum(common.values()) / len(golds)


# --- relations


def _relations(gold: Node, answer: Node, rules: Rules) -> bool:
    answer_gives = assigned(answer) if answer.op == "rel" else None
    gold_gives = assigned(gold) if gold.op == "rel" else None
    if gold.op == answer.op == "rel":
        if gold_gives is not None and answer_gives is not None and is_closed(gold_gives.value):
            return _same_name(gold_gives, answer_gives, rules) and equivalent(
                gold_gives.value, answer_gives.value, rules
            )
        if gold_gives is not None and answer_gives is not None and _is_function_of(gold_gives, answer_gives):
            return equivalent(gold_gives.value, answer_gives.value, rules)
        if free_names(gold) == free_names(answer) and same_relation(gold, answer):
            return not undone(answer) - undone(gold) - {"mul", "add", "abs"}
        if gold_gives is None and answer_gives is None:
            return _sets(gold, answer, rules)
        parts = [
            node.args[1] if node.value == ("in",) else gives.value if gives is not None else None
            for node, gives in ((gold, gold_gives), (answer, answer_gives))
        ]
        if ("in",) not in (gold.value, answer.value) or parts[0] is None or parts[1] is None:
            return False
        return equivalent(parts[0], parts[1], rules)
    given, other, is_gold = (gold, answer, True) if gold.op == "rel" else (answer, gold, False)
    gives = gold_gives if is_gold else answer_gives or composed(answer)
    if given.value == ("in",):
        inner = given.args[1]
        return equivalent(inner, other, rules) if is_gold else equivalent(other, inner, rules)
    if gives is not None:
        if gives.name is not None and gives.name.op == "sym" and gives.name.value in free_names(gives.value):
            return False
        rules.flags.add("assignment")
        return equivalent(gives.value, other, rules) if is_gold else equivalent(other, gives.value, rules)
    if other.op == "list" and not all(part.op == "rel" for part in other.args):
        return False
    return _sets(gold, answer, rules)


def _is_function_of(gold: Assigned, answer: Assigned) -> bool:
    """Whether both name one function: `y = ...` and `f(x) = ...`, of the names in its value."""
    names = [gold.name, answer.name]
    called = [name for name in names if name is not None and name.op == "call" and name.args[0].op == "sym"]
    if len(called) != 1 or sym("y") not in names or sym("y") == called[0].args[0]:
        return False
    return free_names(gold.value) == free_names(answer.value) == free_names(called[0])


def _same_name(gold: Assigned, answer: Assigned, rules: Rules) -> bool:
    if gold.name is None or answer.name is None or gold.name == answer.name or key_of(gold.name) == key_of(answer.name):
        return True
    rules.flags.add("other_name")
    return False


# --- sets and lists


def _sets(gold: Node, answer: Node, rules: Rules) -> bool:
    """Sets of real numbers by their intervals; finite sets of other things by their items."""
    if gold.op == answer.op == "set":
        return _unordered(_distinct(_items(gold)), _distinct(_items(answer)), rules)
    if gold.op == answer.op == "empty":
        return True
    if {gold.op, answer.op} == {"rel"} and free_names(gold) != free_names(answer):
        return False
    for scalar, other in ((gold, answer), (answer, gold)):
        if scalar.op not in _NOT_SCALAR and other.op == "set" and len(other.args) == 1:
            return (
                equivalent(gold, other.args[0], rules) if other is answer else equivalent(other.args[0], answer, rules)
            )
    try:
        exact_rules = dataclasses.replace(rules, significant_digits=10**9)
        return same_pieces(pieces_of(gold), pieces_of(answer), exact_rules)
    except NotReal:
        return gold.op == answer.op and gold.op in ("union", "diff", "inter") and _same_parts(gold, answer, rules)


def _same_parts(gold: Node, answer: Node, rules: Rules) -> bool:
    """Unions of sets with symbolic ends: part by part, in any order where the operation has none."""
    if gold.op == "diff":
        return all(equivalent(g, a, rules) for g, a in zip(gold.args, answer.args, strict=True))
    return _unordered(_flat(gold), _flat(answer), rules)


def _flat(node: Node) -> list[Node]:
    return [leaf for part in node.args for leaf in (_flat(part) if part.op == node.op else [part])]


def _collections(gold: Node, answer: Node, rules: Rules) -> bool:
    """A bare list on one side at least."""
    if gold.op == "list" and answer.op == "list" and "rel" in {part.op for part in (*gold.args, *answer.args)}:
        return _listed_relations(gold, answer, rules)
    for node, other in ((gold, answer), (answer, gold)):
        if node.op == "list" and other.op != "list" and node.args[0].op in ("rel", "tuple", "union"):
            if other.op in ("union", "diff", "reals") or (node.args[0].op == "rel" and other.op in ("tuple", "empty")):
                return _sets(gold, answer, rules)
            break
    for node, other in ((gold, answer), (answer, gold)):
        if other.op == "tuple" and len(other.args) == len(node.args) and other.value in ("()", "<>", "[]"):
            is_same = all(equivalent(g, a, rules) for g, a in zip(gold.args, answer.args, strict=True))
            return is_same and (other.value != "[]" or len(other.args) != 2)
    if _is_decimal_comma(gold, answer) or _is_decimal_comma(answer, gold):
        rules.flags.add("decimal_comma")
        return True
    if "set" in (gold.op, answer.op):
        return _unordered(_distinct(_items(_as_list(gold))), _distinct(_items(_as_list(answer))), rules)
    if (
        not _is_list_like(gold)
        and answer.op == "list"
        and gold.op not in ("tuple", "set")
        and "," not in _grouping(gold)
    ):
        # The same value said twice: "3/2 or 1.5".
        return all(equivalent(gold, item, rules) for item in answer.args)
    gold, answer = _as_list(gold), _as_list(answer)
    golds, answers = _items(gold), _items(answer)
    if len(answers) != len(golds) and len(_distinct(golds)) == len(golds):
        answers = _distinct(answers)  # an item that is said twice is said once
    return _unordered(golds, answers, rules)


def _listed_relations(gold: Node, answer: Node, rules: Rules) -> bool:
    """`k = 45, n = 2` and `45, 2`: by name where both have names, else in the order given."""
    if not all(part.op == "rel" and set(part.value) <= {"=", "~"} for part in gold.args if part.op == "rel"):
        return _sets(gold, answer, rules)
    if len(gold.args) != len(answer.args):
        return False
    sides = [
        [assigned(part) if part.op == "rel" else Assigned(None, part) for part in node.args] for node in (gold, answer)
    ]
    if any(part is None for side in sides for part in side):
        return _unordered(list(gold.args), list(answer.args), rules)
    golds, answers = ([part for part in side if part is not None] for side in sides)
    names = [_letters(part.name) for part in golds]
    answer_names = [_letters(part.name) for part in answers]
    if len(set(names)) == 1 or (len(set(answer_names)) == 1 and answer_names[0] and not any(names)):
        # Solutions of one unknown (x_1, x_2): their numbering means nothing.
        return _unordered([part.value for part in golds], [part.value for part in answers], rules)
    if all(names) and all(answer_names):
        return _unordered(list(gold.args), list(answer.args), rules)
    rules.flags.add("assignment")
    return all(equivalent(g.value, a.value, rules) for g, a in zip(golds, answers, strict=True))


def _letters(name: Node | None) -> str:
    if name is None:
        return ""
    return name.value.partition("_")[0] if name.op == "sym" else key_of(name)


def _as_list(node: Node) -> Node:
    """A number whose digits were grouped by commas may be a list of numbers: "100,200"."""
    grouping = _grouping(node)
    if grouping and "." not in grouping:
        return Node("list", tuple(num(int(part)) for part in grouping.split(",")), ",")
    return node if node.op in ("list", "set") else Node("list", (node,), ",")


def _grouping(node: Node) -> str:
    return node.note.groups if node.op == "num" and node.note is not None else ""


def _is_decimal_comma(listed: Node, number: Node) -> bool:
    """`1000,99` read as 1000.99, where the other side is that decimal: the comma cannot group two digits."""
    if listed.op == "list" and len(listed.args) == 2 and number.op in ("num", "quantity", "neg"):
        whole, rest = listed.args
        unit = rest.value if rest.op == "quantity" else None
        rest = rest.args[0] if rest.op == "quantity" else rest
        plain = number.args[0] if number.op == "quantity" else number
        if number.op == "quantity" and unit is not None and unit != number.value:
            return False
        if plain.op != "num" or plain.note is None or plain.note.form != "dec" or whole.op != "num" or rest.op != "num":
            return False
        if whole.note.form != "int" or rest.note.form != "int" or rest.note.groups or whole.note.groups:
            return False
        # The number of decimal places must match: 1000,99 and 1000.99, never 1000,9 and 1000.90 of another value.
        return plain.value == whole.value + rest.value / 10**plain.note.places and rest.note.length == plain.note.places
    return False


def _distinct(items: Sequence[Node]) -> list[Node]:
    return list({key_of(item): item for item in items}.values())


def _unordered(gold: Sequence[Node], answer: Sequence[Node], rules: Rules) -> bool:
    """The same items in any order: first by exact form, then the rest pair by pair."""
    if len(gold) != len(answer):
        return False
    gold_keys, answer_keys = [key_of(item) for item in gold], [key_of(item) for item in answer]
    common = Counter(gold_keys) & Counter(answer_keys)
    rest_gold = _beyond(gold, gold_keys, Counter(common))
    rest_answer = _beyond(answer, answer_keys, Counter(common))
    forms = dict(zip(gold_keys, gold, strict=True))
    if not all(
        equivalent(forms[key], item, rules) for key, item in zip(answer_keys, answer, strict=True) if key in common
    ):
        return False
    if len(rest_gold) ** 2 > MAX_PAIRS:
        return False
    for item in rest_gold:
        match = next((place for place, other in enumerate(rest_answer) if equivalent(item, other, rules)), None)
        if match is None:
            return False
        rest_answer.pop(match)
    return True


def _beyond(items: Sequence[Node], keys: Sequence[str], common: Counter[str]) -> list[Node]:
    rest = []
    for item, key in zip(items, keys, strict=True):
        if common[key]:
            common[key] -= 1
        else:
            rest.append(item)
    return rest


# --- points, vectors, matrices, ratios


def _tuples(gold: Node, answer: Node, rules: Rules) -> bool:
    if gold.op != answer.op or len(gold.args) != len(answer.args):
        return False
    if len(gold.args) == 2:
        brackets = ["()" if node.value == "<>" else node.value for node in (gold, answer)]
        if brackets[0] != brackets[1]:
            return False
        if brackets[0] != "()" or any(part.op == "inf" for part in gold.args):
            rules = dataclasses.replace(rules, significant_digits=10**9)
    for node in (gold, answer):
        if node.value in ("[]", "[)", "(]") and len(node.args) == 2 and _closed_at_infinity(node):
            raise Unreadable("an interval is closed at infinity")
    return all(equivalent(g, a, rules) for g, a in zip(gold.args, answer.args, strict=True))


def _closed_at_infinity(node: Node) -> bool:
    ends = [part.op == "inf" or (part.op == "neg" and part.args[0].op == "inf") for part in node.args]
    return (ends[0] and node.value[0] == "[") or (ends[1] and node.value[1] == "]")


def _matrices(gold: Node, answer: Node, rules: Rules) -> bool:
    """The same shape and the same cells; a column or row is also the vector of its cells."""
    if gold.op == answer.op:
        if gold.value != answer.value:
            return False
    else:
        matrix, other = (gold, answer) if gold.op == "matrix" else (answer, gold)
        if any(node.op == "matrix" for node in walk(other)):
            rules.flags.add("unevaluated")
            return False
        if other.op == "tuple" and matrix.value == (len(other.args), _width(other)) and 1 not in matrix.value:
            # Rows in brackets, as programs print them: [[1, 2], [3, 4]].
            cells = Node("matrix", tuple(cell for row in other.args for cell in row.args), matrix.value)
            return _matrices(matrix, cells, rules) if matrix is gold else _matrices(cells, matrix, rules)
        if other.op != "tuple" or 1 not in matrix.value or len(other.args) != len(matrix.args):
            return False
        if other.value not in ("()", "<>"):
            return False
        rules.flags.add("vector_form")
    return all(equivalent(g, a, rules) for g, a in zip(gold.args, answer.args, strict=True))


def _width(rows: Node) -> int:
    """The common length of rows that are tuples; 0 where they have none."""
    widths = {len(row.args) if row.op == "tuple" and row.value == "[]" else 0 for row in rows.args}
    return widths.pop() if len(widths) == 1 and rows.value == "[]" else 0


def _ratios(gold: Node, answer: Node, rules: Rules) -> bool:
    """`3:4` is 3/4; but 1:15 and 2:30 are times of the day, which are compared as written."""
    if gold.op == "ratio" and _is_time(gold.note) and math.gcd(*(int(part.value) for part in gold.args)) > 1:
        return gold.args == answer.args and answer.op == "ratio"  # no ratio would be written so
    if gold.op == answer.op:
        if len(gold.args) != len(answer.args):
            return False
        if _is_time(gold.note) and _is_time(answer.note):
            return all(same_value(g, a) for g, a in zip(gold.args, answer.args, strict=True))
        first_gold, first_answer = gold.args[0], answer.args[0]
        return all(
            same_value(Node("mul", (g, first_answer)), Node("mul", (a, first_gold))) and not same_value(a, num(0))
            for g, a in zip(gold.args[1:], answer.args[1:], strict=True)
        )
    ratio, other = (gold, answer) if gold.op == "ratio" else (answer, gold)
    if len(ratio.args) != 2 or other.op in _NOT_SCALAR or same_value(ratio.args[1], num(0)):
        return False
    rules.flags.add("ratio")
    quotient = Node("div", ratio.args)
    return same_scalar(other, quotient, rules) if ratio is answer else same_scalar(quotient, other, rules)


def _is_time(written: str) -> bool:
    hours, _, minutes = written.partition(":")
    return (
        hours.isdigit() and minutes.isdigit() and len(minutes) == 2 and len(hours) <= 2 and int(hours) <= 24
        and int(minutes) < 60
    )  # fmt: skip
