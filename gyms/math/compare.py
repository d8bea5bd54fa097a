"""Whether an answer is the gold answer, by the type of both. The first line that fits decides:

    one of the two is       rule                                                 right                     wrong
    congruence              the same modulus, residue and unknown                x = 7 mod 11 ~ 7 + 11k    7
    where (a qualifier)     its number set agrees where both name one, whatever  2n, n in Z ~ 2k, k in Z   ... n in N
                            runs over it is called
    case                    a function by cases: its values, where they hold     x if x > 0 ~ x, 0 < x     x if x < 0
    date, sequence          month and day; first item, difference, last item     July 4 ~ the 4th of July  July 14
    rel                     both give a value to the same name: the values       x = 3 ~ x = 1 + 2 = 3     y = 3
                            both hold for the same: up to a constant factor      y = 2x ~ 2x - y = 0       y = x
                            one gives a value: that value                        f(x) = 2x ~ 2x            3 = 4
                            else the real numbers that it holds for              x < 1 ~ (-oo, 1)          x <= 1
    text, word              the same words, whatever case and articles           Blue ~ the blue           navy
    dne, many               only itself                                          DNE ~ does not exist      oo
    list                    the same items in any order; a set for a list;       1, 2 ~ {2, 1}             1, 2, 3
                            by name or in order where the items are assignments  k = 4, n = 2 ~ 4, 2       2, 4
    matrix                  shape and cells; a column or a row is a vector       [[1, 2]] ~ (1 2)          transposed
    set, union, diff,       the same intervals, ends exact; else the same items  [1, 3) ~ 1 <= x < 3       (1, 3)
      inter, reals, empty
    tuple                   brackets, length, and parts in order                 (1, 2) ~ P(1, 2)          (2, 1)
    time of the day         the same minute, as far as both tell it              4:05 PM ~ 16:05           4:05 AM
    ratio                   cross products; times of the day as written          3:4 ~ 6:8                 4:3
    quantity                dimensions, and sizes converted; a missing unit      100 cm ~ 1 m              100 m
                            is forgiven (flag)
    all else: scalars       `scalars`: exact value, then points, then rounding   1/2 ~ 0.5                 0.5000001

The types that have no order (sets, unions, bare lists, equations) compare symmetrically; points, vectors and matrices
compare part by part. What two notations say of one set of real numbers is compared as intervals (`sets`); numbers and
expressions by `scalars`; `shapes` brings trees that say the same into one shape first. No rule looks at the text of an
answer: only trees are compared. What an accepted answer may look like is in docs/math.md.
"""

from __future__ import annotations

import dataclasses
import math
from collections import Counter
from collections.abc import Sequence

from gyms.math.antiderivatives import is_same_family, with_constant_of
from gyms.math.exact import key_of
from gyms.math.relations import Assigned, assigned, composed, is_congruence, same_relation, same_residue
from gyms.math.scalars import Rules, is_closed, same_quantity, same_scalar, same_value, undone
from gyms.math.sets import NotReal, pieces_of, same_pieces
from gyms.math.shapes import (
    as_list,
    as_options,
    as_point,
    as_whole,
    counted,
    differs_in_case,
    distinct,
    grouping,
    is_closed_at_infinity,
    is_list_like,
    is_time,
    items_of,
    letters_of,
    minutes_of_day,
    plain,
    spread,
    width_of,
)
from gyms.math.tree import NOTHING, Node, Unreadable, free_names, num, renamed, sym, walk, words

__all__ = ["equivalent", "share_right"]

_SETS = frozenset(["set", "union", "diff", "inter", "reals", "empty", "rel"])
_NOT_SCALAR = words("set union diff inter reals empty rel list tuple matrix text dne many")
MAX_PAIRS = 200
"""Most comparisons of items of two lists that have no common exact form."""


def equivalent(gold: Node, answer: Node, rules: Rules) -> bool:
    """True where the answer is the gold answer; FalseEquation, Unreadable, TooComplex where it is no answer at all."""
    if {gold.op, answer.op} & {"where", "inter"}:
        whole = as_whole(gold), as_whole(answer)
        if all(node.op in ("set", "list") for node in whole):
            gold, answer = whole
    if is_congruence(gold) or is_congruence(answer):
        return same_residue(gold, answer)
    if gold.op == "where" or answer.op == "where":
        if gold.op == answer.op and gold.value != answer.value:
            return False
        gold, answer = _named_alike(gold, answer)
    gold, answer = spread(gold), spread(answer)
    if gold.op == "case" or answer.op == "case":  # a branch of a function: its value, and where it holds
        return gold.op == answer.op and _part_by_part(gold, answer, rules)
    if gold.op in ("add", "rel"):
        answer = with_constant_of(gold, answer)
        if is_same_family(gold, answer):
            return True
    if gold.op == "date" or answer.op == "date":
        return gold.op == answer.op and _same_date(gold, answer)
    if gold.op == "sequence" or answer.op == "sequence":
        return _sequences(gold, answer, rules)
    if gold.op == "rel" or answer.op == "rel":
        return _relations(gold, answer, rules)
    if gold.op == "text" or answer.op == "text" or (gold.op == "word" and answer.op == "word"):
        if gold.op == answer.op == "word" and differs_in_case(_written(gold), _written(answer)):
            return False
        return gold.value == answer.value and isinstance(gold.value, str)
    gold, answer = plain(gold), plain(answer)
    if "list" in (gold.op, answer.op):
        gold, answer = as_options(gold, answer), as_options(answer, gold)
    if "tuple" in (gold.op, answer.op):
        gold, answer = as_point(gold), as_point(answer)
    if {gold.op, answer.op} & {"dne", "many"}:
        return gold.op == answer.op
    if is_list_like(gold) or is_list_like(answer):
        return _collections(gold, answer, rules)
    if gold.op == "matrix" or answer.op == "matrix":
        return _matrices(gold, answer, rules)
    if gold.op in _SETS or answer.op in _SETS:
        return _sets(gold, answer, rules)
    if gold.op == "tuple" or answer.op == "tuple":
        return _tuples(gold, answer, rules)
    if "quantity" in (gold.op, answer.op) and (wanted := minutes_of_day(gold)) and (said := minutes_of_day(answer)):
        return bool(wanted & said)
    if gold.op == "ratio" or answer.op == "ratio":
        return _ratios(gold, answer, rules)
    if gold.op == answer.op == "quantity" and gold.value == answer.value and gold.args[0].op == "ratio":
        return equivalent(gold.args[0], answer.args[0], rules)
    if gold.op == "quantity" or answer.op == "quantity":
        return same_quantity(gold, answer, rules)
    if gold == answer and gold.op in ("pow", "mul") and _is_of_sets(gold):
        return True
    return same_scalar(counted(gold, answer), counted(answer, gold), rules)


def _written(word: Node) -> str:
    """The letters of a word as they were written: its value has no capitals."""
    return "".join(part.value for part in word.args[0].args if part.op == "sym")


def _named_alike(gold: Node, answer: Node) -> tuple[Node, Node]:
    """Both without their qualifiers; what runs over the same numbers has one name: k in Z, n in Z."""
    inner = [node.args[0] if node.op == "where" else node for node in (gold, answer)]
    if gold.op == answer.op and gold.note and answer.note and gold.note != answer.note:
        taken = {part.value for part in walk(inner[1]) if part.op == "sym"}
        if gold.note not in taken:
            inner[1] = renamed(inner[1], answer.note, gold.note)
    return inner[0], inner[1]


def _is_of_sets(node: Node) -> bool:
    """True for a power or product of sets, such as the plane: it has no value, and equals only itself."""
    return all(
        part.op in ("reals", "tuple", "set") or (part.op == "sym" and "mathbb" in part.value) for part in node.args[:1]
    )


def _same_date(gold: Node, answer: Node) -> bool:
    """True where month and day agree, and year and weekday where both dates give them."""
    return gold.value[1:3] == answer.value[1:3] and all(
        not one or not other or one == other for one, other in zip(gold.value, answer.value, strict=True)
    )


def _sequences(gold: Node, answer: Node, rules: Rules) -> bool:
    """Lists with dots: by first item, difference and last item where both have one, else as written."""
    if gold.op != answer.op or gold.value != answer.value or len(gold.args) != len(answer.args):
        return False
    return all(
        g == a if "dots" in (g.op, a.op) or NOTHING in (g, a) else equivalent(g, a, rules)
        for g, a in zip(gold.args, answer.args, strict=True)
    )


def _part_by_part(gold: Node, answer: Node, rules: Rules) -> bool:
    """Whether the parts of two nodes of one length are equivalent, in order."""
    return all(equivalent(g, a, rules) for g, a in zip(gold.args, answer.args, strict=True))


def share_right(gold: Node, answer: Node, rules: Rules) -> float:
    """The share of a collection's parts that are right, in [0, 1]; 0 where the two differ in type or in size."""
    if gold.op != answer.op or gold.op not in ("list", "set", "tuple", "matrix") or gold.value != answer.value:
        return 0.0
    golds, answers = items_of(gold), items_of(answer)
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
    if answer.op == "rel":  # C_7^3 = 35
        answer = answer._replace(args=tuple(counted(side, gold) for side in answer.args))
        answer_gives = assigned(answer)
    given, other, is_gold = (gold, answer, True) if gold.op == "rel" else (answer, gold, False)
    gives = gold_gives if is_gold else answer_gives or composed(answer)
    if given.value == ("in",):
        inner = given.args[1]
        return _in_order(inner, other, rules, is_gold=is_gold)
    if gives is not None:
        if gives.name is not None and gives.name.op == "sym" and gives.name.value in free_names(gives.value):
            return False
        rules.flags.add("assignment")
        return _in_order(gives.value, other, rules, is_gold=is_gold)
    if other.op == "list" and not all(part.op == "rel" for part in other.args):
        return False
    return _sets(gold, answer, rules)


def _in_order(one: Node, other: Node, rules: Rules, *, is_gold: bool) -> bool:
    """Whether two are equivalent, of which one is the gold answer's."""
    return equivalent(one, other, rules) if is_gold else equivalent(other, one, rules)


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
        return _unordered(distinct(items_of(gold)), distinct(items_of(answer)), rules)
    if gold.op == answer.op == "empty" or (gold.op == "empty" and answer == sym("\\phi")):
        return True  # the letter is often set for the sign
    if gold.op == answer.op == "rel" and free_names(gold) != free_names(answer):
        return False
    for scalar, other in ((gold, answer), (answer, gold)):
        if scalar.op not in _NOT_SCALAR and other.op == "set" and len(other.args) == 1:
            return _in_order(other.args[0], scalar, rules, is_gold=other is gold)
    try:
        exact_rules = dataclasses.replace(rules, significant_digits=10**9)
        return same_pieces(pieces_of(gold), pieces_of(answer), exact_rules)
    except NotReal:
        return gold.op == answer.op and gold.op in ("union", "diff", "inter") and _same_parts(gold, answer, rules)


def _same_parts(gold: Node, answer: Node, rules: Rules) -> bool:
    """Unions of sets with symbolic ends: part by part, in any order where the operation has none."""
    if gold.op == "diff":
        return _part_by_part(gold, answer, rules)
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
            is_same = _part_by_part(gold, answer, rules)
            return is_same and (other.value != "[]" or len(other.args) != 2)
    if _is_decimal_comma(gold, answer) or _is_decimal_comma(answer, gold):
        rules.flags.add("decimal_comma")
        return True
    if "set" in (gold.op, answer.op):
        return _unordered(distinct(items_of(as_list(gold))), distinct(items_of(as_list(answer))), rules)
    if not is_list_like(gold) and answer.op == "list" and gold.op not in ("tuple", "set") and "," not in grouping(gold):
        # The same value said twice: "3/2 or 1.5".
        return all(equivalent(gold, item, rules) for item in answer.args)
    gold, answer = as_list(gold), as_list(answer)
    golds, answers = items_of(gold), items_of(answer)
    if len(answers) != len(golds) and len(distinct(golds)) == len(golds):
        answers = distinct(answers)  # an item that is said twice is said once
    return _unordered(golds, answers, rules)


def _listed_relations(gold: Node, answer: Node, rules: Rules) -> bool:
    """`k = 45, n = 2` and `45, 2`: by name where both have names, else in the order given."""
    if not all(part.op == "rel" and set(part.value) <= {"=", "~"} for part in gold.args if part.op == "rel"):
        return _sets(gold, answer, rules) or _unordered(gold.args, answer.args, rules)
    if len(gold.args) != len(answer.args):
        return False
    sides = [
        [assigned(part) if part.op == "rel" else Assigned(None, part) for part in node.args] for node in (gold, answer)
    ]
    if any(part is None for side in sides for part in side):
        return _unordered(list(gold.args), list(answer.args), rules)
    golds, answers = ([part for part in side if part is not None] for side in sides)
    names = [letters_of(part.name) for part in golds]
    answer_names = [letters_of(part.name) for part in answers]
    if len(set(names)) == 1 or (len(set(answer_names)) == 1 and answer_names[0] and not any(names)):
        # Solutions of one unknown (x_1, x_2): their numbering means nothing.
        return _unordered([part.value for part in golds], [part.value for part in answers], rules)
    if all(names) and all(answer_names):
        return _unordered(list(gold.args), list(answer.args), rules)
    rules.flags.add("assignment")
    return all(equivalent(g.value, a.value, rules) for g, a in zip(golds, answers, strict=True))


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
        if node.value in ("[]", "[)", "(]") and len(node.args) == 2 and is_closed_at_infinity(node):
            raise Unreadable("an interval is closed at infinity")
    return _part_by_part(gold, answer, rules)


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
        if other.op == "tuple" and matrix.value == (len(other.args), width_of(other)) and 1 not in matrix.value:
            # Rows in brackets, as programs print them: [[1, 2], [3, 4]].
            cells = Node("matrix", tuple(cell for row in other.args for cell in row.args), matrix.value)
            return _matrices(matrix, cells, rules) if matrix is gold else _matrices(cells, matrix, rules)
        if other.op != "tuple" or 1 not in matrix.value or len(other.args) != len(matrix.args):
            return False
        if other.value not in ("()", "<>"):
            return False
        rules.flags.add("vector_form")
    return _part_by_part(gold, answer, rules)


def _ratios(gold: Node, answer: Node, rules: Rules) -> bool:
    """`3:4` is 3/4; but 1:15 and 2:30 are times of the day, which are compared as written."""
    if gold.op == "ratio" and is_time(gold.note) and math.gcd(*(int(part.value) for part in gold.args)) > 1:
        return gold.args == answer.args and answer.op == "ratio"  # no ratio would be written so
    if gold.op == answer.op:
        if len(gold.args) != len(answer.args):
            return False
        if is_time(gold.note) and is_time(answer.note):
            return all(same_value(g, a) for g, a in zip(gold.args, answer.args, strict=True))
        is_number = is_closed(gold) and is_closed(answer)
        (first_gold, *golds), (first_answer, *answers) = gold.args, answer.args
        for g, a in zip(golds, answers, strict=True):
            # With letters both sides are kept apart: what an answer says of a letter is not the gold answer's word.
            crossed = Node("mul", (g, first_answer)), Node("mul", (a, first_gold))
            divided = Node("div", (first_gold, g)), Node("div", (first_answer, a))
            if not same_value(*(crossed if is_number else divided)) or same_value(a, num(0)):
                return False
        return True
    ratio, other = (gold, answer) if gold.op == "ratio" else (answer, gold)
    if len(ratio.args) != 2 or other.op in _NOT_SCALAR or same_value(ratio.args[1], num(0)):
        return False
    rules.flags.add("ratio")
    quotient = Node("div", ratio.args)
    return same_scalar(other, quotient, rules) if ratio is answer else same_scalar(quotient, other, rules)
