r"""From an answer's normalised text to tokens, with the caps on their number and on nesting.

A run of digits with commas ("1,234,567") is one number outside brackets and items within them; `{,}` and thin spaces
group everywhere. `6.02e23` is one number. A run of letters is one WORD: the parser decides whether it is a function,
a unit, a word or a product of letters. Linear time: one regular expression without backtracking alternatives.
"""

from __future__ import annotations

import re
from typing import NamedTuple

from gyms.math.caps import MAX_NESTING, MAX_NODES, TooComplex, Unreadable
from gyms.math.normal import GROUP

__all__ = ["Token", "tokenise"]


class Token(NamedTuple):
    """One token: `kind` is num, word, command, text, row (matrix row end) or the sign itself."""

    kind: str
    text: str
    spaced: bool = False
    """True where white space stands before it."""


_NUMBER = rf"\d{{1,3}}(?:{GROUP}\d{{3}})+(?:\.\d+)?|\d+\.\d+|\.\d+|\d+"
_PLAIN = re.compile(_NUMBER)
_GROUPED = re.compile(r"([1-9]\d{0,2}(?:,\d{3})+|[1-9]\d{0,2}(?: \d{3})+)(?![\d,]|[ ]\d)(\.\d+)?(?![\d])")
_REPEATING = re.compile(r"(\d*)\.(\d*)(?:\\overline|\\bar)[ ]?\{(\d+)\}")
_SCIENCE = re.compile(r"[eE]([+-]?\d+)(?![\d.])")
_TOKEN = re.compile(
    rf"(?P<space>[ ]+)|(?P<num>{_NUMBER})|\\text[ ]*\{{(?P<text>[^{{}}]*)\}}|(?P<row>\\\\(?:\[[^\]]*\])?)"
    r"|(?P<command>\\(?:[A-Za-z]+|[{}|]))|(?P<word>[A-Za-z]+)"
    r"|(?P<sign>\*\*|<=|>=|!=|==|=<|=>|<>|[-+*/^_{}()\[\]|=<>,;:!%&'])"
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
