"""Candidates for the answer of a response that marks none, best first.

They are the whole text where it is short, then, of its last sentence with a number or a formula: the sentence, its last
formula (or formulas, as a list), else what stands behind its last "is" or "=", and its last number. A column of
different values is a list of guesses, and has no candidate.
"""

from __future__ import annotations

import re

from gyms.math.normal import normalise
from gyms.math.remarks import spelled
from gyms.math.units import scaled
from gyms.response import without_fences

__all__ = ["CLAIM", "MATH", "MAX_UNMARKED_CHARS", "is_number_word", "unmarked"]

MAX_UNMARKED_CHARS = 400
MAX_LINES = 64
"""Most lines of a column of values."""
CLAIM = re.compile(r"[\d\\$]")
MATH = re.compile(r"\$\$?([^$]+)\$\$?|\\\(((?:[^\\]|\\(?!\)))*)\\\)|\\\[((?:[^\\]|\\(?!\]))*)\\\]")
_NUMBER = (
    r"(?:[-\u2212+]?[ ]?(?:\\?\$|\u20ac|\u00a3)?[-\u2212]?(?:\d{1,3}(?:,(?:\\!)?[ ]?\d{3})+|\d+)?"
    r"(?:(?<=\d)[.,]\d+|\.\d+|(?<=\d))"
    r"(?:/\d+)?(?:[ ]?(?:%|\\%|percent\b))?)"
)
_NUMBERS = re.compile(rf"(?<![\w.\\^_]){_NUMBER}")
_LEAD_IN = re.compile(
    r"(?:\b(?:is|are|equals|be|get|gives|have|that|answer|thus|so|therefore|hence)\b|[:=\u2248]|\\approx|答案[是为])",
    re.I,
)
_ANSWER_LABEL = re.compile(r"^\**(?:A|[Aa]ns\.?|ANS)\**[ ]{0,9}:[ ]{0,9}\**[ ]{0,9}(?=[-\d$\\])")
_BARE_NUMBER = re.compile(rf"[\s*$]{{0,9}}(?:{_NUMBER})?[\s*$.]{{0,9}}")
_MONEY = re.compile(
    r"=[ ]*\\?\$[ ]?(\d{1,3}(?:,\d{3})+(?:\.\d\d)?|\d+(?:\.\d\d)?)(?![\d.,]*\d|[ ]?[-+*/=^$\\])(?=[^$\d=]*$)"
)
"""What a sum of money comes to, at the end of a sentence: the signs before it are no formula's."""
_LISTED = re.compile(r"[\s,.]*(?:and|or|,)[\s,]*")
_DISPLAY = re.compile(r"\\\[[^\[\]]{0,300}\\\]|\$\$[^$]{0,300}\$\$")
_HEDGE = re.compile(
    r"(?:[\d)}$]|\bor\b|\bor maybe\b|\band\b|\bnot\b|n't\b|\b\u043d\u0435\b|[不非]是?|[,/;])[ $]*$", re.I
)


def unmarked(segment: str) -> tuple[str, ...]:
    """The candidates of a segment, see the head of this file."""
    text = without_fences(segment).strip()
    if not text:
        text = segment.strip()
    text = _ANSWER_LABEL.sub("", text)
    numbers = text.split("\n", MAX_LINES)
    if len(set(filter(None, map(str.strip, numbers)))) > 1 and all(map(_is_bare_number, numbers)):
        return ()  # a column of guesses
    found: list[str] = []
    if len(text) <= MAX_UNMARKED_CHARS:
        found.append(text)
    tail = _DISPLAY.sub(lambda formula: " ".join(formula.group().split()), text[-5 * MAX_UNMARKED_CHARS :])
    lines = [line.strip() for line in tail.splitlines() if line.strip()]
    sentences = [sentence for line in reversed(lines[-4:]) for sentence in _sentences(line)]
    for sentence in (*filter(CLAIM.search, sentences), *sentences[:1]):
        candidates = _sentence_candidates(sentence)
        if candidates:
            return tuple(dict.fromkeys([*found, *candidates]))
    return tuple(dict.fromkeys(found))


def is_number_word(text: str) -> bool:
    """Whether a short text is one number in words."""
    return len(text) <= MAX_UNMARKED_CHARS and spelled(normalise(text)) is not None


def _is_bare_number(line: str) -> bool:
    return _BARE_NUMBER.fullmatch(line) is not None or is_number_word(line.strip(" *$.?!"))


def _sentences(line: str) -> list[str]:
    """The last sentences of a line, last one first, without the chat template's marks."""
    plain = re.sub(r"<\|[^|>]{1,30}\|>.*", "", line).strip()
    parts = re.split(r"(?<=[.!?])[ ]+(?=[A-Z])", plain[-2 * MAX_UNMARKED_CHARS :])
    return [part for part in reversed(parts[-3:]) if part.strip()]


def _sentence_candidates(sentence: str) -> list[str]:
    """The sentence, its last formula (or formulas, as a list), else what stands behind "is" or "=", its last number."""
    formulas = list(MATH.finditer(sentence))
    numbers = list(_NUMBERS.finditer(sentence))
    leads = list(_LEAD_IN.finditer(sentence))
    found = [sentence]
    money = _MONEY.findall(sentence)
    if money and "$" in sentence.partition("=")[0] + sentence.rpartition("=")[0]:
        return [rf"\${money[-1]}"]
    if formulas and not (numbers and numbers[-1].start() >= formulas[-1].end()):
        last = len(formulas) - 1
        while last > 0 and _LISTED.fullmatch(sentence[formulas[last - 1].end() : formulas[last].start()]):
            last -= 1
        found.append(sentence[formulas[last].start() : formulas[-1].end()])
        return found
    if leads:
        found.append(sentence[leads[-1].end() :].strip(" .,*"))
    if numbers:
        last_number = numbers[-1]
        if not _HEDGE.search(sentence[: last_number.start()]) and not scaled(sentence, last_number.end()):
            found.append(last_number.group().strip(" .,"))
    elif not leads and len(sentence.split()) > 3:
        return []
    return found
