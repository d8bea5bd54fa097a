r"""What stands behind a claim and changes it: a guess, or a correction.

"The answer is 17. Or maybe 18." claims two values, "The answer is 17. Wait, no: 18." claims 18.

The claim ends with its sentence, its box or its line; this looks at what follows, across a few empty lines at most. A
guess begins with "or", "maybe", "it could", ... (or follows a question mark at once), has but a few known words before
its value, and ends with it: "Perhaps $x=3$ looked right at first" is talk.

A guess that says the claim's value anew changes nothing: "[1, 2], or 1 <= x <= 2", "18, or 3 * 6", "1/3, or 0.33", "2
hours, or 120 minutes". Which of the two is evaluated, and which is rounded, does not matter here.
"""

from __future__ import annotations

import re
from fractions import Fraction
from typing import NamedTuple

from gyms.math.compare import equivalent
from gyms.math.normal import normalise
from gyms.math.read import read_labelled
from gyms.math.relations import FalseEquation
from gyms.math.remarks import in_digits, spelled
from gyms.math.scalars import Rules, same_scalar, same_value
from gyms.math.tree import Node, Unreadable, num
from gyms.math.units import parse_unit, scaled, sizes_like

__all__ = ["Guess", "guess_behind", "is_taken_back", "otherwise_said", "restates"]

_OPENER = (
    r"(?i:but|however|though|although|and|yet|h+m+|well|then again|on second thought"
    r"|i (?:think|guess|suppose)(?: that)?|i(?:'m| am) not (?:so |quite |entirely |completely )?(?:sure|certain))\b"
    r"[,.;:]?[ ]{1,3}"
)
"""What talk may stand before a guess."""
_ANSWER = r"(?:the|my) (?:correct |right |final |real |true |actual )?(?:answer|value|result)"
_RIVAL = (
    r"(?:another|(?:my|a|the) (?:second|other|next)) (?:possible |plausible |likely )?"
    r"(?:answer|value|result|guess|possibility|option|candidate)"
)
_HEDGE = (
    r"(?i:or|maybe|perhaps|possibly|alternatively|otherwise|if not|"
    rf"(?:it|that|this|{_ANSWER}) (?:could|might|may)|{_RIVAL}(?= (?:is|could|would|might|may)\b))\b"
)
_CORRECTION = r"(?i:no|wait|hold on|sorry|oops|actually|correction|scratch that|on second thought)\b"
_FILLER = (
    r"(?i:or|maybe|perhaps|possibly|alternatively|it|is|it's|its|that|then|the|answer|value|could|might|may|can|would"
    r"|should|be|even|rather|just|actually|also|well|equals|real|right|correct|true|actual)\b|[A-Za-z][ ]?=|[=:]"
)
_NUMERAL = r"\$[^$\n]{1,80}\$|\\\([^\n]{1,80}?\\\)|(?:[-\u2212+][ ]?)?[$\\\d.(][^\s*]{0,80}?|[A-H](?![A-Za-z])\)?"
_WORDS = r"(?i:minus[ ]|negative[ ])?[A-Za-z]{3,9}(?:[- ][A-Za-z]{3,9}){0,2}"
MAX_LINES = 6
"""Ends of lines between a claim and its guess."""
MAX_CORRECTION_CHARS = 2_000
"""A correction begins so near behind what it takes back."""
MAX_NOUN_CHARS = 40
"""Before the end of a claim: where its noun stands."""
GUESS_DIGITS = 2
"""Significant digits of a decimal that restates an exact value."""
_STOP = r"(?:[.!?]{1,3}(?=[\s*\"']|$)|[ *]{0,4}(?:\n|<\||$)|,?[ ](?i:or|maybe|perhaps|possibly)\b)"
_END = rf"[*_\"')]{{0,4}}(?:[ ](?P<noun>[a-z]{{1,12}}))?(?:,?[ ](?i:too|instead|as well))?{_STOP}"
_LIKELY = r"(?i:possible|plausible|right|correct|valid|an option|a possibility|the answer)"
_RIVALS = (
    r"(?:[ ](?i:(?:could|might|may)(?: also| well| equally)? be(?: also| just as| equally)?|is also)[ ]"
    rf"{_LIKELY}(?:,?[ ](?i:too|instead|as well))?|[ ](?i:is)[ ]{_LIKELY},?[ ](?i:too|as well))"
)
"""What is said of a value that is no less a guess for standing first: "18 is also possible"."""
_GAP = (
    r"[$*_\"')}\]\\]{0,4}(?:(?P<counted>(?:[ ][a-z]{1,12}){1,2})(?=[.,;!?\n]))?"
    r"(?:(?P<asked>[.!]{0,2}\?)|[.!?,;]{0,3})[*_\"']{0,4}"
    rf"(?:[ \t]{{0,9}}\n){{0,{MAX_LINES}}}[ \t]{{0,9}}[*_\"'(]{{0,4}}"
)
_GUESS = re.compile(
    rf"{_GAP}(?:{_OPENER}){{0,3}}(?:(?P<hedge>{_HEDGE})[,:]?[ ]{{0,3}}|(?(asked)|(?!)))"
    rf"(?:(?:{_FILLER}),?[ ]{{0,3}}){{0,6}}[*_(]{{0,4}}(?P<value>{_NUMERAL}|{_WORDS}){_END}"
)
_RIVAL_FIRST = re.compile(rf"{_GAP}(?:{_OPENER}){{0,3}}[*_(]{{0,4}}(?P<value>{_NUMERAL}){_RIVALS}{_STOP}")
_MENDED = re.compile(
    rf"{_GAP}(?:(?i:and|but|h+m+|oh)[,.]?[ ])?{_CORRECTION}(?:[,.:;!]{{0,3}}[ ]{{1,3}}{_CORRECTION}){{0,3}}"
    r"[,.:;!-]{0,3}[ ]{1,3}"
    rf"(?:(?i:(?:it|that)(?:'s| is| should be)|{_ANSWER} (?:is|should be)|make (?:it|that))[ ]{{1,3}})?"
    r"[*_(]{0,4}(?!\S{1,80}(?:[ ][a-z]{1,12})?\?)"  # "Wait, 17? No, 18." is a check
    rf"(?P<value>{_NUMERAL}){_END}"
)
_IS_MEANT = re.compile(r"\b(?:no|correction|scratch that|is|should be|make)\b|'s\b", re.I)
"""Without one of these a correction has the last word, or is talk: "Wait, 9. That is the number of eggs"."""
_TAKEN_BACK = re.compile(
    rf"(?:[.!?;]|\n)[\s*_]{{0,9}}(?:(?i:and|but|h+m+|oh)[,.]?[ ])?{_CORRECTION}[,.:;!]{{0,3}}[ \n]", re.I
)
_OTHERWISE_SAID = re.compile(
    r"(?P<first>.{0,200}?[^,( ])(?:,|(?P<opened>[ ]\()|)(?(opened)|[ ])(?:or|i\.e\.|that is)[ ,]{1,2}"
    r"(?:(?:about|approximately|roughly|simply|also|equivalently)[ ])?(?P<said>.{1,200}?)(?(opened)\))"
)
_CALCULATION = re.compile(r"[^=]*[^=A-Za-z\s(\[$][^=]*=|[^=]*=[^=]*=|\\(?:\[|begin|end)")
"""An equation that does not only name its value ("Wait, 3 * 6 = 18" is a check), or the beginning of a display."""
_TIMES = re.compile(r"(?<=\d) times (?=\d)")


class Guess(NamedTuple):
    """What stands behind a claim."""

    text: str
    is_correction: bool = False
    """It takes the claim's place: "17. Wait, no: 18."."""


def guess_behind(text: str, end: int, *, is_claim: bool = True) -> Guess | None:
    """What is guessed, or put right, behind a sentence, which ends at `end`.

    Where it is not told to be a claim, a value behind its question mark is the answer: "What is 9 + 9? 18."
    """
    if len(text) <= end + 2:  # nearly all boxes end the text
        return None
    mended = _MENDED.match(text, end)
    if mended is not None and _corrects(mended) and (value := _value(mended, mended["noun"] or "")):
        is_sure = not any(more.match(text, mended.end("value")) for more in (_MENDED, _GUESS, _RIVAL_FIRST))
        return Guess(value, is_correction=is_sure)
    match = _GUESS.match(text, end)
    if match is not None and not _counts_other_things(match) and (is_claim or match["hedge"]):
        value = _value(match, match["noun"] or "")
        return Guess(value) if value else None
    rival = _RIVAL_FIRST.match(text, end) if is_claim else None
    return Guess(value) if rival is not None and (value := _value(rival, "")) else None


def _corrects(mended: re.Match[str]) -> bool:
    """Whether a value behind "wait" and the like takes the claim's place, and is no check of it."""
    text, start, noun = mended.string, mended.start(), mended["noun"]
    before = text[max(0, start - MAX_NOUN_CHARS) : start]
    if _counts_other_things(mended) or (mended["counted"] is None and _is_new(noun, before)):
        return False
    is_last = not text[mended.end() :].strip(" .!*\n")
    return is_last or _IS_MEANT.search(text, start, mended.start("value")) is not None


def _counts_other_things(match: re.Match[str]) -> bool:
    """Whether a value has another noun than the claim: "or 5 days" behind "40 hours"."""
    noun, counted = match["noun"], match["counted"]
    if not noun or not counted or noun == "percent" or scaled(noun, 0):
        return False
    return _stem(noun) not in map(_stem, counted.split())


def _is_new(noun: str | None, before: str) -> bool:
    """Whether a noun is no unit and not that of a sentence: "Wait, 9 eggs." behind "The answer is 18 dollars."."""
    unit = parse_unit(noun or "")
    if not noun or scaled(noun, 0) or (unit is not None and not unit.is_label):
        return False
    return _stem(noun) not in map(_stem, before.split())


def _stem(word: str) -> str:
    return word.strip(".,;:!*").removesuffix("s")


def _value(match: re.Match[str], noun: str) -> str:
    """The value that was matched, with its unit; empty for words that are no number, and for a calculation."""
    value = match["value"].replace(r"\approx", "")
    if _CALCULATION.match(value):
        return ""
    if value[:2].isalpha() and len(value) > 1:
        number = spelled(value)
        return "" if number is None else str(number)
    unit = parse_unit(noun)
    is_part = noun == "percent" or scaled(noun, 0) or (unit is not None and not unit.is_label)
    return f"{value} {noun}" if is_part else value


def is_taken_back(text: str, end: int, start: int) -> bool:
    """Whether a correction begins a sentence between two claims: "The answer is 17. Wait, the answer is 18."."""
    return _TAKEN_BACK.search(text, end, min(start, end + MAX_CORRECTION_CHARS)) is not None


def otherwise_said(claim: str) -> tuple[str, str] | None:
    """The two parts of a claim that is said in two ways: "18, or 36/2", "0.5 (that is, 1/2)"; None for any other."""
    match = _OTHERWISE_SAID.fullmatch(claim)
    if match is None:
        return None
    said = _TIMES.sub(r" \\cdot ", match["said"])
    return match["first"], in_digits(normalise(said)) or said


def restates(guess: str, answer: str) -> bool:
    """Whether a guess says the value of an answer anew."""
    rules = Rules(significant_digits=GUESS_DIGITS)
    try:
        said, claimed = read_labelled(guess, unit_hint=True), read_labelled(answer)
        if equivalent(claimed, said, rules) or equivalent(said, claimed, rules) or _in_a_unit(said, claimed):
            return True
        return said.op == claimed.op == "quantity" and _is_rounded(said, claimed)
    except (Unreadable, FalseEquation):
        return False


def _in_a_unit(said: Node, claimed: Node) -> bool:
    """Whether a bare number, in some unit, is a measure: 1500 is 1.5 kg, in grams."""
    if said.op != "quantity" or claimed.op == "quantity":
        return False
    unit = said.value
    scales = (num(unit.factor / size) for size in sizes_like(unit))
    return any(same_value(Node("mul", (said.args[0], scale)), claimed) for scale in scales)


def _is_rounded(said: Node, claimed: Node) -> bool:
    """Whether a measure is another one in a unit of its own, rounded to enough digits: 8.05 km is 5 miles."""
    written, unit = said.args[0].note, said.value
    if unit.dimensions != claimed.value.dimensions or written is None or written.significant < GUESS_DIGITS:
        return False
    converted = Node("mul", (claimed.args[0], num(claimed.value.factor / unit.factor)))
    rounding = Rules(tolerance=Fraction(1, 2 * 10**written.places))
    return written.form == "dec" and same_scalar(converted, said.args[0], rounding)
