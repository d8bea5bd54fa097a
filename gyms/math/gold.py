"""Gold answers: read once, with what the task says of them; what cannot be used is named.

A gold answer is read like an answer. One that is a letter is an option, perhaps with the option's text (`choices`); one
that holds words and cannot be read as mathematics is taken as a sentence, which the same words answer.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from fractions import Fraction
from functools import lru_cache
from typing import Any

from gyms.math.choices import LETTERS, choice_of, is_letter, option_of
from gyms.math.compare import equivalent
from gyms.math.extract import extract
from gyms.math.normal import literal, normalise
from gyms.math.read import read_labelled
from gyms.math.relations import FalseEquation
from gyms.math.scalars import Rules
from gyms.math.tree import Node, TooComplex, Unreadable, check_text, walk, words
from gyms.math.units import parse_unit, scaled

__all__ = ["ANSWER_TYPES", "BadGold", "Gold", "read_gold"]

ANSWER_TYPES = words(
    "auto number expression set list tuple interval matrix equation inequality text choice quantity ratio"
)
"""What a task may say its answer is; `auto`: as the gold answer is written."""
_COMMAND = re.compile(r"\\(?!text|mbox|mathrm)[A-Za-z]+|\\(?:text|mbox|mathrm)[a-z]*")
_DIGIT = re.compile(r"\d")
_WORDS = re.compile(r"[A-Za-z]{3}|[^\W\d_\x00-\x7f]")


class BadGold(ValueError):
    """The gold answer or what the task says of it cannot be used; the message says why."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Gold:
    """A gold answer that was read, with what the task says of it."""

    text: str
    node: Node
    is_choice: bool = False
    """True where the gold answer is an option's letter, perhaps with the option's text (`option`)."""
    is_variable: bool = False
    """True where that letter may be a variable as well: it is bare."""
    option: str = ""
    question: str = ""
    tolerance: Fraction | None = None
    significant_digits: int = 6
    require_unit: bool = False
    finals: str = "last"
    """`last`: a box may be taken back by a later one, once; `agree`: finals that differ score 0."""

    @property
    def has_unit(self) -> bool:
        """True where the gold answer is a quantity."""
        return any(node.op == "quantity" for node in walk(self.node))


def read_gold(
    gold: Any,
    *,
    question: str = "",
    answer_type: str = "auto",
    tolerance: Any = None,
    units: Any = None,
    significant_digits: int = 6,
    finals: str = "last",
) -> Gold:
    """Read a gold answer; BadGold where it, or what the task says of it, cannot be used."""
    if isinstance(gold, float) and not math.isfinite(gold):
        raise BadGold(f"the gold answer is {gold}")
    if isinstance(gold, bool) or not isinstance(gold, str | int | float):
        raise BadGold(f"the gold answer must be a string or a number, got {type(gold).__name__}")
    if not isinstance(answer_type, str) or answer_type not in ANSWER_TYPES:
        raise BadGold(f"type = {answer_type!r} is not known; expected one of {sorted(ANSWER_TYPES)}")
    text = _gold_text(str(gold))
    option = option_of(text) if answer_type in ("auto", "choice") else None
    try:
        node = _read_answer(option[0] if option else text, answer_type, unit_hint=isinstance(units, str))
    except (Unreadable, FalseEquation) as error:
        raise BadGold(f"the gold answer {text[:60]!r} cannot be read: {error}") from None
    return Gold(
        text=text,
        node=_with_units(node, units),
        is_choice=answer_type == "choice" or option is not None or is_letter(text),
        is_variable=answer_type == "auto" and text.strip("$ ") in LETTERS,
        option=option[1] if option else "",
        question=question,
        tolerance=_tolerance(tolerance),
        significant_digits=significant_digits,
        require_unit=units is True,
        finals=finals,
    )


def _gold_text(text: str) -> str:
    if text.strip().casefold() in ("", "nan", "null"):
        raise BadGold(f"the gold answer is {text!r}")
    if "boxed" in text or "####" in text:
        found = extract(text)
        if found.problem or not found.finals:
            raise BadGold(f"the gold answer holds no readable final answer: {found.problem or 'no box'}")
        return found.finals[-1].strip()
    return text.strip()


@lru_cache(maxsize=1024)
def _read_answer(text: str, answer_type: str, *, unit_hint: bool) -> Node:
    check_text(text)
    if answer_type == "text":
        return Node("text", (), literal(text))
    if answer_type == "choice":
        letter = choice_of(text)
        if letter is None:
            raise Unreadable(f"{text[:40]!r} is no choice")
        return Node("sym", (), letter)
    try:
        node = read_labelled(text, unit_hint=unit_hint)
    except TooComplex:
        raise
    except Unreadable:
        if not _WORDS.search(_COMMAND.sub(" ", text)) or (not text.isascii() and _is_scaled(text)):
            raise
        return Node("text", (), literal(text))  # a sentence: the same words answer it
    if not equivalent(node, node, Rules()):
        raise Unreadable("it does not equal itself: it mixes what cannot be compared")
    return node


def _is_scaled(text: str) -> bool:
    """True for `18万`: to answer a number that cannot be read by the same words alone would refuse 180000."""
    return any(scaled(text, digit.end()) for digit in _DIGIT.finditer(text))


def _with_units(node: Node, units: Any) -> Node:
    if units is None or isinstance(units, bool):
        if units is True and not any(part.op == "quantity" for part in walk(node)):
            raise BadGold("units = true needs a unit in the gold answer")
        return node
    unit = parse_unit(normalise(units)) if isinstance(units, str) else None
    if unit is None:
        raise BadGold(f"units = {units!r} is no unit; expected a name such as 'km/h', or true")
    if node.op == "quantity":
        if node.value.dimensions != unit.dimensions:
            raise BadGold(f"units = {units!r} contradicts the unit of the gold answer")
        return node
    return Node("quantity", (node,), unit)


def _tolerance(tolerance: Any) -> Fraction | None:
    if tolerance is None:
        return None
    try:
        if isinstance(tolerance, bool):
            raise ValueError
        found = Fraction(str(tolerance)) if not isinstance(tolerance, Fraction) else tolerance
    except (ValueError, ZeroDivisionError):
        raise BadGold(f"tolerance = {tolerance!r} is no number; expected an absolute difference such as 0.01") from None
    if found < 0:
        raise BadGold(f"tolerance = {tolerance!r} is negative")
    return found
