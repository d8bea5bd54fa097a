r"""A guess behind a claim: "The answer is 17. Or maybe 18." claims two values.

The claim ends with its sentence, its box or its line; this looks at what follows, across a few empty lines at most. A
guess begins with "or", "maybe", "it could", ... (or follows a question mark at once), has but a few known words before
its value, and ends with it: "Perhaps $x=3$ looked right at first" is talk.

A guess that says the claim's value anew is none: "[1, 2], or 1 <= x <= 2", "18, or 3 * 6", "1/3, or 0.33", "2 hours, or
120 minutes". Which of the two is evaluated, and which is rounded, does not matter here.
"""

from __future__ import annotations

import re

from gyms.math.compare import equivalent
from gyms.math.read import read_labelled
from gyms.math.relations import FalseEquation
from gyms.math.remarks import spelled
from gyms.math.scalars import Rules, same_value
from gyms.math.tree import Node, Unreadable, num
from gyms.math.units import parse_unit, scaled, sizes_like

__all__ = ["guess_behind", "restates"]

_HEDGE = r"(?i:or|maybe|perhaps|possibly|alternatively|(?:it|that|this|the answer) (?:could|might|may))\b"
_FILLER = (
    r"(?i:or|maybe|perhaps|possibly|alternatively|it|is|it's|its|that|the|answer|could|might|may|can|would|be|even"
    r"|rather|just|actually|also|equals)\b|[A-Za-z][ ]?=|[=:]"
)
_VALUE = (
    r"(?P<value>\$[^$\n]{1,80}\$|\\\([^\n]{1,80}?\\\)|(?:[-\u2212+][ ]?)?[$\\\d.(][^\s*]{0,80}?"
    r"|[A-H](?![A-Za-z])\)?|(?i:minus[ ]|negative[ ])?[A-Za-z]{3,9}(?:[- ][A-Za-z]{3,9}){0,2})"
)
MAX_LINES = 6
"""Ends of lines between a claim and its guess."""
GUESS_DIGITS = 2
"""Significant digits of a decimal that restates an exact value."""
_END = (
    r"[*_\"')]{0,4}(?:[ ](?P<noun>[a-z]{1,12}))?"
    r"(?:[.!?]{1,3}(?=[\s*\"']|$)|[ *]{0,4}(?:\n|<\||$)|,?[ ](?i:or|maybe|perhaps)\b)"
)
_GUESS = re.compile(
    rf"[$*_\"')}}\]\\]{{0,4}}(?:(?P<asked>[.!]{{0,2}}\?)|[.!?,;]{{0,3}})[*_\"']{{0,4}}"
    rf"(?:[ \t]{{0,9}}\n){{0,{MAX_LINES}}}[ \t]{{0,9}}[*_\"'(]{{0,4}}"
    rf"(?:(?P<hedge>{_HEDGE})[,:]?[ ]{{0,3}}|(?(asked)|(?!)))"
    rf"(?:(?:{_FILLER}),?[ ]{{0,3}}){{0,6}}[*_(]{{0,4}}{_VALUE}{_END}"
)


def guess_behind(text: str, end: int, *, is_claim: bool = True) -> str:
    """The value that is guessed behind a sentence, which ends at `end`; empty where none is.

    Where it is not told to be a claim, a value behind its question mark is the answer: "What is 9 + 9? 18."
    """
    match = _GUESS.match(text, end) if len(text) > end + 2 else None  # nearly all boxes end the text
    if match is None or not (is_claim or match["hedge"]):
        return ""
    value = match["value"].replace(r"\approx", "")
    if value[:2].isalpha() and len(value) > 1:
        number = spelled(value)
        return "" if number is None else str(number)
    noun = match["noun"] or ""
    unit = parse_unit(noun)
    is_part = noun == "percent" or scaled(noun, 0) or (unit is not None and not unit.is_label)
    return f"{value} {noun}" if is_part else value


def restates(guess: str, answer: str) -> bool:
    """Whether a guess says the value of an answer anew."""
    rules = Rules(significant_digits=GUESS_DIGITS)
    try:
        said, claimed = read_labelled(guess, unit_hint=True), read_labelled(answer)
        return equivalent(claimed, said, rules) or equivalent(said, claimed, rules) or _in_a_unit(said, claimed)
    except (Unreadable, FalseEquation):
        return False


def _in_a_unit(said: Node, claimed: Node) -> bool:
    """Whether a bare number, in some unit, is a measure: 1500 is 1.5 kg, in grams."""
    if said.op != "quantity" or claimed.op == "quantity":
        return False
    unit = said.value
    scales = (num(unit.factor / size) for size in sizes_like(unit))
    return any(same_value(Node("mul", (said.args[0], scale)), claimed) for scale in scales)
