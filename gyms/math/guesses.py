r"""A guess behind a claim: "The answer is 17. Or maybe 18." claims two values.

The claim ends with its sentence, its box or its line; this looks at what follows, across a few empty lines at most. A
guess begins with "or", "maybe", "it could", ... (or follows a question mark at once), has but a few known words before
its value, and ends with it: "Perhaps $x=3$ looked right at first" is talk. Whether both values are the same is for the
comparison to say: "0.5. Or 1/2." What is said "about" a value, or in another unit without a doubt ("2 hours, or 120
minutes"), is the same value in other words.
"""

from __future__ import annotations

import re

from gyms.math.remarks import spelled
from gyms.math.units import known

__all__ = ["guess_behind"]

_HEDGE = r"(?i:or|maybe|perhaps|possibly|alternatively|(?:it|that|this|the answer) (?:could|might|may))\b"
_FILLER = (
    r"(?i:or|maybe|perhaps|possibly|alternatively|it|is|it's|its|that|the|answer|could|might|may|can|would|be|even"
    r"|rather|just|actually|also|equals)\b|[A-Za-z][ ]?=|[=:]"
)
_VALUE = (
    r"(?P<value>\$[^$\n]{1,80}\$|\\\([^\n]{1,80}?\\\)|(?:[-\u2212+][ ]?)?[$\\\d.(][^\s*]{0,80}?"
    r"|[A-H](?![A-Za-z])\)?|(?i:minus[ ]|negative[ ])?[A-Za-z]{3,9}(?:[- ][A-Za-z]{3,9}){0,2})"
)
_DOUBT = re.compile(r"\b(?:maybe|perhaps|possibly|could|might|may)\b", re.I)
MAX_LINES = 6
"""Ends of lines between a claim and its guess."""
_END = (
    r"[*_\"')]{0,4}(?:[ ](?P<noun>[a-z]{1,12}))?"
    r"(?:[.!?]{1,3}(?=[\s*\"']|$)|[ *]{0,4}(?:\n|<\||$)|,?[ ](?i:or|maybe|perhaps)\b)"
)
_GUESS = re.compile(
    rf"[$*_\"')}}\]\\]{{0,4}}(?:(?P<asked>[.!]{{0,2}}\?)|[.!?,;]{{0,3}})[*_\"']{{0,4}}"
    rf"(?:[ \t]{{0,9}}\n){{0,{MAX_LINES}}}[ \t]{{0,9}}[*_\"'(]{{0,4}}"
    rf"(?:{_HEDGE}[,:]?[ ]{{0,3}}|(?(asked)|(?!)))(?:(?:{_FILLER}),?[ ]{{0,3}}){{0,6}}[*_(]{{0,4}}{_VALUE}{_END}"
)


def guess_behind(text: str, end: int) -> str:
    """The value that is guessed behind a sentence, which ends at `end`; empty where none is."""
    match = _GUESS.match(text, end) if len(text) > end + 2 else None  # nearly all boxes end the text
    if match is None or (match["noun"] and known(match["noun"]) and not _DOUBT.search(match.group())):
        return ""
    value = match["value"]
    if not value[0].isalpha() or not value[1:2].isalpha():
        return value
    number = spelled(value)
    return "" if number is None else str(number)
