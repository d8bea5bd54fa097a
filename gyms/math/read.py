r"""From the text of one answer to its tree: words, choices, currencies, units, lists; the rest goes to the parser.

read("\\frac{1}{2}")      div(1, 2)
read("3 \\text{ cm}^2")   quantity(3, cm^2)
read("\\text{Evelyn}")    text "evelyn"
read("no solution")       empty
read("(1, 2)")            tuple(1, 2)

*Dates*: "July 4", "4 July", "the 4th of July", "Friday, July 4", "July 4, 2025", 2025-07-04. A date is a month and a
day, with the year and the day of the week where they are written. All-digit forms are read only as year-month-day: 3/4
is a fraction, and 4-3 a difference.
"""

from __future__ import annotations

import re
from fractions import Fraction
from functools import lru_cache
from itertools import pairwise

from gyms.math.atoms import MAX_LETTERS, read_number
from gyms.math.brackets import has_dots, with_dots
from gyms.math.normal import literal, normalise
from gyms.math.parse import parse
from gyms.math.remarks import split_qualifier, without_remarks
from gyms.math.tokens import Token, tokenise
from gyms.math.tree import (
    ENGLISH,
    FUNCTIONS,
    MAX_DIGITS,
    MAX_ITEMS,
    Node,
    TooComplex,
    Unreadable,
    check_text,
    num,
    sym,
    words,
)
from gyms.math.units import CURRENCIES, Unit, currency, known, parse_unit, read_compound

__all__ = ["read", "read_labelled", "read_plain"]

_SPECIAL_WORDS = {
    "empty": (
        "no solution|no solutions|no real solution|no real solutions|there is no solution|there are no solutions|none|"
        "empty set|the empty set|no real roots|no roots|no solution exists|no solutions exist|"
        "no real solution exists|no real solutions exist|"
        "there is no real solution|there are no real solutions|no real values|no values|no such value|"
        "no such number|no such numbers|no answer exists"
    ),
    "dne": "dne|does not exist|undefined|not defined|limit does not exist|the limit does not exist|d.n.e|do not exist",
    "many": "infinitely many|infinitely many solutions|infinite solutions|infinite number of solutions",
    "reals": "all real numbers|all reals|all real number|every real number|all real values|r",
    "inf": "infinity|positive infinity|+infinity|inf",
    "-inf": "negative infinity|-infinity|minus infinity|-inf",
}
_SPECIAL = {word: op for op, words in _SPECIAL_WORDS.items() for word in words.split("|") if word != "r"}
_LETTER = re.compile(r"[(\[]?[ ]*(?:\\text[ ]*\{[ ]*)?[(\[]?([A-Z])[)\]]?[ .:]*\}?[ ]*[)\].:]*")
_WORDS = re.compile(r"[A-Za-z][A-Za-z '.,\-]*")
_LONG_WORD = re.compile(r"[A-Za-z]{3,}")
_TEXT = re.compile(r"\\text[ ]*\{([^{}]*)\}")
_LABEL = re.compile(
    r"(?:\\text[ ]*\{[ ]*)?[A-Za-z][A-Za-z' ]{1,39}(?:[ ]*\}[ ]*[:=]|[:=][ ]*\}|\bis[ ]*\}|[:=]|\bis[ ])[ ]*(?=\S)"
)
_DENIAL = re.compile(
    r"\b(?:not|no|or|and|wrong|incorrect|neither|never|except|but|false|if|maybe|guess|lambda)\b|n't", re.I
)
_LETTERS = re.compile(
    r"\\text[ ]*\{[ ]*(\(?[A-Z]\)?(?:(?:[ ]*,[ ]*(?:and[ ]+|or[ ]+)?|[ ]+and[ ]+|[ ]+or[ ]+)\(?[A-Z]\)?){1,25})[ .]*\}"
)
_COUNTED = re.compile(r"(-?\d[\d.,/]{0,30}) ((?:[a-z]{2,20} ){1,4}[a-z]{2,20})")
"""A number and plain words, which `units.label` takes or refuses as a whole."""
_REMAINDER = re.compile(
    r"(\d{1,30})[ ]*,?[ ]*(?:\\text[ ]*\{[ ]*(?:with a |with )?(?:R|r|rem|remainder)[ ]*(?:of)?[ ]*\}"
    r"|R|r|rem|(?:with a |with )?remainder(?: of)?)[ ]*(\d{1,30})"
)
_SEPARATORS = {"and", "or", "AND", "OR"}
_MULTIPLIERS = {
    "hundred": 100, "thousand": 1000, "million": 10**6, "billion": 10**9, "trillion": 10**12, "dozen": 12,
}  # fmt: skip
_CURRENCY = frozenset(f"\\{name}" for name in CURRENCIES)
_UNIT_KINDS = frozenset(["text", "word", "/", "^", "{", "}", "*"])
_VALUE_ENDS = frozenset(["num", "}", ")", "]", "!", "%"])
MAX_UNIT_TOKENS = 14


def read(text: str, *, unit_hint: bool = False) -> Node:
    """The tree of an answer's text. `unit_hint`: a lone letter behind a number is a unit ("5m").

    Raises TooComplex over a cap and Unreadable where the text is not in the language of docs/math.md.
    """
    check_text(text)
    return read_plain(normalise(text), unit_hint=unit_hint)


def read_labelled(text: str, *, unit_hint: bool = False) -> Node:
    """`read`, and where that fails what is left without remarks, or behind a name in words: `Area = 18`."""
    try:
        return read(text, unit_hint=unit_hint)
    except TooComplex:
        raise
    except Unreadable:
        plain = normalise(text)
        bare = without_remarks(plain)
        label = _LABEL.match(bare)
        if label is not None and _LONG_WORD.search(label[0]) and not _DENIAL.search(label[0]):
            return read_plain(bare[label.end() :], unit_hint=unit_hint)
        if bare == plain:
            raise
        return read_plain(bare, unit_hint=unit_hint)


@lru_cache(maxsize=2048)
def read_plain(plain: str, *, unit_hint: bool = False) -> Node:
    """`read` of a text that is normalised already; a pure function, so its answers are kept."""
    if not plain:
        raise Unreadable("the answer is empty")
    if plain.isascii() and plain.isdigit() and len(plain) <= MAX_DIGITS:  # most answers are such, and need no parser
        return read_number(plain)
    core, domain, name = split_qualifier(plain)
    if core != plain:
        node = read_plain(core, unit_hint=unit_hint)
        return Node("where", (node,), domain, name) if domain else node
    special = _read_date(plain) or read_compound(plain) or _remainder(plain) or _words(plain)
    if special is not None:
        return special
    counted = _COUNTED.fullmatch(plain)
    if counted is not None and (" and " in plain or " of " in plain):
        return read_plain(rf"{counted[1]} \text{{{counted[2]}}}")
    listed = _LETTERS.fullmatch(plain)
    if listed is not None:
        return read_plain(listed[1])
    tokens = tokenise(plain)
    if any(_is_prose(first) and _is_prose(second) for first, second in pairwise(tokens)):
        raise Unreadable("the answer is a sentence")
    items = _split(tokens)
    nodes = [_item(tokens, unit_hint=unit_hint) for tokens, _ in items]
    if len(nodes) == 1:
        return nodes[0]
    if has_dots(nodes):
        return with_dots(nodes, like="list")
    return Node("list", tuple(nodes), "or" if any(separator == "or" for _, separator in items) else ",")


def _remainder(plain: str) -> Node | None:
    """`7 R 3`, "7 remainder 3": a quotient and what is left, which is no product of three."""
    match = _REMAINDER.fullmatch(plain)
    return Node("tuple", (num(int(match[1])), num(int(match[2]))), "R") if match is not None else None


def _is_prose(token: Token) -> bool:
    """A word that begins or goes on with a sentence: two in a row are no formula."""
    return (
        token.kind == "word" and len(token.text) > 2 and token.text not in FUNCTIONS and token.text not in _SEPARATORS
        and token.text not in _MULTIPLIERS and parse_unit(token.text) is None
    )  # fmt: skip


def _words(plain: str) -> Node | None:
    """Choices, known phrases and text; None where the answer is a formula."""
    match = _LETTER.fullmatch(plain) if len(plain) < 40 else None
    if match is not None:
        return sym(match[1])
    flat = " ".join(_TEXT.sub(r" \1 ", plain).split())
    special = _SPECIAL.get(flat.casefold().strip(" .,")) if len(flat) < 60 else None
    if special is not None:
        return Node("neg", (Node("inf"),)) if special == "-inf" else Node(special)
    if not _WORDS.fullmatch(flat):
        return None
    words = flat.replace(",", " ").split()
    if len(words) == 1 and len(words[0].strip(".")) < 2:
        return None
    long_words = [word for word in words if _LONG_WORD.search(word) and word not in _SEPARATORS]
    if "\\text" not in plain and (not long_words or (words[0] in FUNCTIONS and len(long_words) == 1)):
        return _word(flat) if len(words) == 1 and flat.isalpha() else None
    if all(len(word) == 1 or word in _SEPARATORS for word in words):
        return None
    if len(words) == 1 and "\\text" not in plain and flat.isalpha() and flat.casefold() not in ("pi", "infinity"):
        return _word(flat)
    return Node("text", (), literal(flat))


def _word(run: str) -> Node:
    """A run of letters: a word, and where it is short or a name, the product or constant it may be."""
    if run.casefold() in ENGLISH or (len(run) > MAX_LETTERS and run.casefold() not in ("infinity", "infty")):
        return Node("text", (), literal(run))
    return Node("word", (parse(tokenise(run)),), literal(run))


def _split(tokens: list[Token]) -> list[tuple[list[Token], str]]:
    """Items at the outermost level, each with the separator before it."""
    items: list[tuple[list[Token], str]] = [([], "")]
    depth = 0
    for token in tokens:
        if token.kind in ("(", "[", "{") or token.text == "\\{" or token.text == "\\langle":
            depth += 1
        elif token.kind in (")", "]", "}") or token.text == "\\}" or token.text == "\\rangle":
            depth -= 1
        elif token.text == "\\begin":
            depth += 1
        elif token.text == "\\end":
            depth -= 1
        separator = _separator(token) if depth == 0 else None
        if separator is None:
            items[-1][0].append(token)
        elif items[-1][0]:
            items.append(([], separator))
            if len(items) > MAX_ITEMS:
                raise TooComplex(f"a list has over {MAX_ITEMS} items")
        elif len(items) == 1:
            raise Unreadable("the answer begins with a separator")
        elif separator == "or":
            items[-1] = ([], "or")
    if not items[-1][0]:
        raise Unreadable("the answer ends in a separator" if len(items) > 1 else "the answer is empty")
    return items


def _separator(token: Token) -> str | None:
    if token.kind in (",", ";", "row"):
        return ","
    word = token.text.strip(" ,;")
    if token.kind in ("text", "word") and word in _SEPARATORS:
        return "or" if word.lower() == "or" else ","
    if token.kind == "text" and not word.strip("."):
        return ","
    if token.kind == "command" and token.text in ("\\land", "\\lor", "\\wedge", "\\vee"):
        return "or" if token.text in ("\\lor", "\\vee") else ","
    return None


def _item(tokens: list[Token], *, unit_hint: bool) -> Node:
    """One item: perhaps a sign and a currency before it, a unit or a multiplier behind it."""
    tokens, unit = _without_currency(tokens)
    node: Node | None = None
    if unit is None:
        found = _unit_suffix(tokens, unit_hint=unit_hint)
        if found is not None:
            start, unit = found
            tokens = tokens[:start]
    elif tokens and tokens[-1].text in ("each", "dollars", "USD", "usd", "euros"):
        tokens = tokens[:-1]
    else:
        start, unit = _rate_suffix(tokens, unit)
        tokens = tokens[:start]
    factor = Fraction(1)
    if len(tokens) > 1 and tokens[-1].kind in ("word", "text") and tokens[-1].text.strip() in _MULTIPLIERS:
        factor = Fraction(_MULTIPLIERS[tokens[-1].text.strip()])
        tokens = tokens[:-1]
    node = parse(list(tokens))
    if factor != 1:
        node = _multiplied(node, factor)
    return _with_unit(node, unit)


def _multiplied(node: Node, factor: Fraction) -> Node:
    if node.op == "neg":
        return Node("neg", (_multiplied(node.args[0], factor),))
    if node.op != "num":
        raise Unreadable("only a number stands before hundred, thousand, million, ...")
    return num(node.value * factor)


def _with_unit(node: Node, unit: Unit | None) -> Node:
    """The quantity; in a relation, the unit belongs to the last side."""
    if node.op == "rel" and (unit is not None or node.args[-1].op in ("deg", "neg")):
        return Node("rel", (*node.args[:-1], _with_unit(node.args[-1], unit)), node.value)
    if unit is None and node.op == "deg":
        return Node("quantity", node.args, parse_unit("degrees"))
    if unit is None and node.op == "neg" and node.args[0].op == "deg":
        return Node("quantity", (Node("neg", node.args[0].args),), parse_unit("degrees"))
    return node if unit is None else Node("quantity", (node,), unit)


def _without_currency(tokens: list[Token]) -> tuple[list[Token], Unit | None]:
    places = [place for place, token in enumerate(tokens) if token.kind == "command" and token.text in _CURRENCY]
    if not places:
        return tokens, None
    place = places[0]
    before = [token.kind for token in tokens[:place]]
    is_first = not before or before == ["-"] or before[-1] == "="
    if len(places) > 1 or not (is_first or place == len(tokens) - 1):
        raise Unreadable("a currency sign stands neither first nor last")
    return tokens[:place] + tokens[place + 1 :], currency(tokens[place].text[1:])


def _unit_suffix(tokens: list[Token], *, unit_hint: bool) -> tuple[int, Unit] | None:
    """Where the longest unit at the end begins, and the unit."""
    for start in range(max(1, len(tokens) - MAX_UNIT_TOKENS), len(tokens)):
        token = tokens[start]
        if token.kind not in ("text", "word") or not _ends_value(tokens[start - 1]):
            continue
        tail = tokens[start:]
        if not all(_may_be_unit(tail, place) for place in range(len(tail))):
            continue
        unit = parse_unit(" ".join(part.text if part.kind != "text" else f" {part.text} " for part in tail))
        if unit is None or not _is_unit_here(tokens, start, unit, unit_hint=unit_hint):
            continue
        return start, unit
    return None


def _rate_suffix(tokens: list[Token], of: Unit) -> tuple[int, Unit]:
    """Where "per week", "a day" or "/hour" begins behind an amount of money, and the unit with it."""
    for start in range(max(1, len(tokens) - MAX_UNIT_TOKENS), len(tokens)):
        tail = tokens[start:]
        words = " ".join(part.text for part in tail).split()
        if words[:1] not in (["per"], ["a"], ["an"], ["/"]) or not all(word.isalpha() for word in words[1:]):
            continue
        below = parse_unit(" ".join(words[1:])) if _is_number(tokens[:start]) else None
        if below is not None:
            return start, of.times(below, -1)
    return len(tokens), of


def _ends_value(token: Token) -> bool:
    return (
        token.kind in _VALUE_ENDS
        or token.text in ("\\pi", "\\}", "\\infty", *_MULTIPLIERS)
        or (token.kind == "word" and (len(token.text) == 1 or token.text == "pi"))
    )


def _may_be_unit(tail: list[Token], place: int) -> bool:
    token = tail[place]
    if token.kind == "command":
        return token.text in ("\\cdot", "\\times")
    if token.kind in ("num", "-"):
        return place > 0 and token.text in ("1", "2", "3", "4", "-") and tail[place - 1].kind in ("^", "{", "-")
    return token.kind in _UNIT_KINDS


def _is_unit_here(tokens: list[Token], start: int, unit: Unit, *, unit_hint: bool) -> bool:
    token = tokens[start]
    if token.kind == "text":
        return True
    if unit.is_label:
        is_word = (token.spaced and len(token.text) > 2) or not token.text.isascii()
        return is_word and _is_number(tokens[:start])
    if token.text.lower() in ("square", "sq", "cubic", "cu") or known(token.text):
        return True
    is_compound = any(part.kind in ("/", "word") for part in tokens[start + 1 :])
    return _is_number(tokens[:start]) and (unit_hint or token.spaced or is_compound)


def _is_number(tokens: list[Token]) -> bool:
    return all(token.kind in ("num", "-", "/", "{", "}") or token.text in ("\\frac", *_MULTIPLIERS) for token in tokens)


# --- dates

_MONTHS = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")
_NAMES = words("january february march april may june july august september october november december sept")
_WEEKDAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
_WEEKDAY_NAMES = words("monday tuesday wednesday thursday friday saturday sunday")
_ISO = re.compile(r"(\d{4})-(\d{2})-(\d{2})")
_DAY = re.compile(r"(\d{1,2})(?:st|nd|rd|th)?")
_YEAR = re.compile(r"\d{4}")
_DATE_MARKS = re.compile(r"\\text|[{},.]")
MAX_DATE_CHARS = 60


def _read_date(plain: str) -> Node | None:
    """The date that a whole answer is, as a node with value (year, month, day, weekday), what is absent 0; or None."""
    if len(plain) > MAX_DATE_CHARS:
        return None
    iso = _ISO.fullmatch(plain)
    if iso is not None:
        return _date(int(iso[1]), int(iso[2]), int(iso[3]), 0)
    year = month = day = weekday = 0
    for word in _DATE_MARKS.sub(" ", plain).casefold().split():
        if (word in _NAMES or word in _MONTHS) and not month:
            month = _MONTHS.index(word[:3]) + 1
        elif (word in _WEEKDAY_NAMES or word in _WEEKDAYS) and not weekday:
            weekday = _WEEKDAYS.index(word[:3]) + 1
        elif (match := _DAY.fullmatch(word)) is not None and not day:
            day = int(match[1])
        elif _YEAR.fullmatch(word) and not year and month:
            year = int(word)
        elif word not in ("the", "of", "on"):
            return None
    return _date(year, month, day, weekday)


def _date(year: int, month: int, day: int, weekday: int) -> Node | None:
    is_date = 1 <= month <= 12 and 1 <= day <= 31
    return Node("date", (), (year, month, day, weekday)) if is_date else None
