"""From an answer's normalised text to tokens, with the caps on their number and on nesting.

A run of digits with commas ("1,234,567") is one number outside brackets and items within them; `{,}` and thin spaces
group everywhere. `6.02e23` is one number. A run of letters is one WORD: the parser decides whether it is a function,
a unit, a word or a product of letters. Linear time: one regular expression without backtracking alternatives.

`Cursor` walks over them for the parser, which is in three layers: `brackets`, `atoms`, `parse`.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from fractions import Fraction
from typing import Any, NamedTuple

from gyms.math.alphabets import LETTER
from gyms.math.normal import GROUP
from gyms.math.tree import MAX_EXPONENT, MAX_NESTING, MAX_NODES, Node, TooComplex, Unreadable, Written, num

__all__ = ["Cursor", "Token", "read_number", "tokenise"]


class Token(NamedTuple):
    """One token: `kind` is num, word, command, text, row (matrix row end) or the sign itself."""

    kind: str
    text: str
    spaced: bool = False
    """True where white space stands before it."""


_NUMBER = rf"\d{{1,3}}(?:{GROUP}\d{{3}})+(?:\.\d+)?|\d+\.\d+|\.\d+|\d+"
_PLAIN = re.compile(_NUMBER)
_GROUPED = re.compile(r"([1-9]\d{0,2}(?:,\d{3}){1,140}|[1-9]\d{0,2}(?: \d{3}){1,140})(?![\d,]|[ ]\d)(\.\d+)?(?![\d])")
_REPEATING = re.compile(r"(\d*)\.(\d*)(?:\\overline|\\bar)[ ]?\{(\d+)\}")
_SCIENCE = re.compile(r"[eE]([+-]?\d+)(?![\d.])")
_TOKEN = re.compile(
    rf"(?P<space>[ ]+)|(?P<num>{_NUMBER})|\\text[ ]*\{{(?P<text>[^{{}}]*)\}}|(?P<row>\\\\(?:\[[^\]]{{0,40}}\])?)"
    r"|(?P<command>\\(?:[A-Za-z]+|[{}|]))"
    rf"|(?P<word>[{LETTER}]+)"
    r"|(?P<sign>\*\*|<=|>=|(?<!\d)!=|==|=<|=>|<>|[-+*/^_{}()\[\]|=<>,;:!%&'])"
)
_OPEN = frozenset(["(", "[", "{", "\\{"])
_CLOSE = frozenset([")", "]", "}", "\\}"])


def tokenise(text: str) -> list[Token]:
    """The tokens; Unreadable where a character belongs to none, TooComplex over a cap."""
    tokens: list[Token] = []
    place, depth, nesting, spaced = 0, 0, 0, False
    while place < len(text):
        if text[place].isdigit() or text[place] == ".":
            number, end = _number(text, place, is_outside=depth == 0)
            if number is not None:
                tokens.append(Token("num", number, spaced))
                place, spaced = end, False
                continue
        match = _TOKEN.match(text, place)
        if match is None:
            raise Unreadable(f"cannot read {text[place : place + 12]!r}")
        kind, found = str(match.lastgroup), match.group(str(match.lastgroup))
        place = match.end()
        if kind == "space":
            spaced = True
            continue
        sign = found if kind in ("sign", "command") else ""
        if sign in _OPEN:
            nesting += 1
            depth += sign != "{"
        elif sign in _CLOSE:
            nesting -= 1
            depth -= sign != "}"
        if nesting > MAX_NESTING:
            raise TooComplex(f"brackets are nested over {MAX_NESTING} deep")
        if len(tokens) > 3 * MAX_NODES:
            raise TooComplex(f"the answer has over {3 * MAX_NODES} signs")
        tokens.append(Token(found if kind == "sign" else kind, found, spaced))
        spaced = False
    return tokens


def _number(text: str, place: int, *, is_outside: bool) -> tuple[str | None, int]:
    """The number that begins here, in the form that `parse.read_number` knows, and where it ends."""
    repeating = _REPEATING.match(text, place)
    if repeating is not None:
        return f"{repeating[1] or 0}.{repeating[2]}({repeating[3]})", repeating.end()
    match = _GROUPED.match(text, place) if is_outside else None
    if match is None:
        match = _PLAIN.match(text, place)
        if match is None:
            return None, place
    end = match.end()
    science = _SCIENCE.match(text, end)
    if science is not None:
        return f"{match.group()}e{science[1]}", science.end()
    return match.group(), end


def read_number(text: str) -> Node:
    """A number token's value: digits with groups, a decimal point, a power of ten, or a repeating part in brackets."""
    grouped = text if "," in text else ""
    plain = text.replace(GROUP, "").replace(",", "").replace(" ", "")
    if plain.isdigit():
        return num(int(plain), Written(0, len(plain.lstrip("0")), "int", len(plain), grouped))
    if plain.endswith(")"):
        start, _, repeat = plain[:-1].partition("(")
        places = len(start.partition(".")[2])
        tail = Fraction(int(repeat), (10 ** len(repeat) - 1) * 10**places)
        return num(Fraction(start.rstrip(".") or 0) + tail, Written(form="rep"))
    mantissa, _, exponent = plain.partition("e")
    if exponent and (len(exponent) > 6 or abs(int(exponent)) > MAX_EXPONENT):
        raise TooComplex(f"the exponent {exponent[:12]} is over {MAX_EXPONENT}")
    places = len(mantissa.partition(".")[2])
    significant = len(mantissa.replace(".", "").lstrip("0"))
    form = "sci" if exponent else ("dec" if "." in mantissa else "int")
    length = sum(map(str.isdigit, mantissa))
    written = Written(places, significant, form, length, grouped)
    return num(Fraction(mantissa) * Fraction(10) ** int(exponent or 0), written)


class Cursor:
    """A cursor over tokens, with the caps on nodes and depth."""

    def __init__(self, tokens: list[Token]) -> None:
        self.tokens = tokens
        self.place = 0
        self.num_nodes = 0
        self.depth = 0
        self.fences: list[str] = []

    def peek(self) -> Token | None:
        """The next token, or None at the end."""
        return self.tokens[self.place] if self.place < len(self.tokens) else None

    def skip(self) -> None:
        """Past the next token."""
        self.place += 1

    def at(self, text: str | None) -> bool:
        """True where the next token is this sign or command."""
        token = self.peek()
        return token is not None and token.text == text and token.kind not in ("text", "word")

    def expect(self, text: str) -> None:
        """Past this sign; Unreadable where another stands there."""
        if not self.at(text):
            raise Unreadable(f"expected {text!r} before {self.rest()!r}")
        self.skip()

    def rest(self) -> str:
        """The start of what is left, for messages."""
        return " ".join(token.text for token in self.tokens[self.place : self.place + 5])

    def node(self, op: str, args: tuple[Node, ...] = (), value: Any = None, note: Any = None) -> Node:
        """A new node, counted."""
        self.num_nodes += 1
        if self.num_nodes > MAX_NODES:
            raise TooComplex(f"the answer has over {MAX_NODES} parts")
        return Node(op, args, value, note)

    @contextmanager
    def nested(self) -> Iterator[None]:
        """One level deeper."""
        self.depth += 1
        if self.depth > MAX_NESTING:
            raise TooComplex(f"the answer is nested over {MAX_NESTING} deep")
        yield
        self.depth -= 1
