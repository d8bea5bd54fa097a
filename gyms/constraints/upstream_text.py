"""Words and sentences as the published checkers see them, flaws included; only `compat` uses this file.

`split_sentences` follows the chain of substitutions that IFBench and open-instruct use, with their two marker strings:
a response that holds the text `<stop>` is split there by them, hence here. `word_tokenize` follows the Penn Treebank
conventions of the tokenizer that they call: punctuation marks are tokens, "don't" is "do" and "n't". `count_sentences`
stands in for a trained splitter, whose data is not available here: it is this project's own splitter.
"""

from __future__ import annotations

import re
import string

from gyms.constraints.text import sentences

__all__ = ["PUNCTUATION", "count_sentences", "split_sentences", "without_punctuation", "word_tokenize"]

PUNCTUATION = string.punctuation
_OUT = str.maketrans("", "", PUNCTUATION)

_DOT, _STOP = "<prd>", "<stop>"
_LETTER = "([A-Za-z])"
_STARTERS = (
    r"(Mr|Mrs|Ms|Dr|Prof|Capt|Cpt|Lt|He\s|She\s|It\s|They\s|Their\s|Our\s|We\s|But\s|However\s|That\s|This\s|Wherever)"
)
_SHORT_FORMS = "(Inc|Ltd|Jr|Sr|Co)"
_BEFORE_DOTS = (
    (re.compile(r"(Mr|St|Mrs|Ms|Dr)[.]"), rf"\1{_DOT}"),
    (re.compile(r"[.](com|net|org|io|gov|edu|me)"), rf"{_DOT}\1"),
    (re.compile(r"([0-9])[.]([0-9])"), rf"\1{_DOT}\2"),
)
_AFTER_DOTS = (
    (re.compile(rf"\s{_LETTER}[.] "), rf" \1{_DOT} "),
    (re.compile(rf"([A-Z][.][A-Z][.](?:[A-Z][.])?) {_STARTERS}"), rf"\1{_STOP} \2"),
    (re.compile(rf"{_LETTER}[.]{_LETTER}[.]{_LETTER}[.]"), rf"\1{_DOT}\2{_DOT}\3{_DOT}"),
    (re.compile(rf"{_LETTER}[.]{_LETTER}[.]"), rf"\1{_DOT}\2{_DOT}"),
    (re.compile(rf" {_SHORT_FORMS}[.] {_STARTERS}"), rf" \1{_STOP} \2"),
    (re.compile(rf" {_SHORT_FORMS}[.]"), rf" \1{_DOT}"),
    (re.compile(rf" {_LETTER}[.]"), rf" \1{_DOT}"),
)
_DOTS = re.compile(r"\.{2,}")
_QUOTED_ENDS = ((".\u201d", "\u201d."), ('."', '".'), ('!"', '"!'), ('?"', '"?'))


def split_sentences(text: str) -> list[str]:
    """Sentences after the chain of substitutions of the published checkers; the last empty one is dropped."""
    text = f" {text}  ".replace("\n", " ")
    for pattern, replacement in _BEFORE_DOTS:
        text = pattern.sub(replacement, text)
    text = _DOTS.sub(lambda dots: _DOT * len(dots.group()) + _STOP, text)
    text = text.replace("Ph.D.", f"Ph{_DOT}D{_DOT}")
    for pattern, replacement in _AFTER_DOTS:
        text = pattern.sub(replacement, text)
    for found, replacement in _QUOTED_ENDS:
        text = text.replace(found, replacement)
    for mark in ".?!":
        text = text.replace(mark, mark + _STOP)
    parts = [part.strip() for part in text.replace(_DOT, ".").split(_STOP)]
    return parts if parts[-1] else parts[:-1]


def count_sentences(text: str) -> int:
    """Number of sentences; see the head of this file."""
    return len(sentences(text))


def without_punctuation(text: str) -> str:
    """The text without ASCII punctuation."""
    return text.translate(_OUT)


_OPENING = (
    (re.compile("([\u00ab\u201c\u2018\u201e]|``)"), r" \1 "),
    (re.compile(r'^"'), "`` "),
    (re.compile(r'(?<=[ (\[{<])("|\'\')'), " `` "),
    (re.compile(r"(?i)(?<!\w)'(?!(?:re|ve|ll|m|t|s|d|n)\b)(?=\w)"), "' "),
)
_MARKS = (
    (re.compile(r"([:,])(?=[^\d])"), r" \1 "),
    (re.compile(r"([:,])$"), r" \1 "),
    (re.compile(r"\.{2,}"), r" \g<0> "),
    (re.compile("[;@#$%&\u2012-\u2015]"), r" \g<0> "),
)
_LATER_MARKS = (
    (re.compile(r"[?!]"), r" \g<0> "),
    (re.compile(r"([^'])' "), r"\1 ' "),
    (re.compile(r"[*\]\[(){}<>]"), r" \g<0> "),
    (re.compile(r"--"), " -- "),
)
_CLOSING = (
    (re.compile("([\u00bb\u201d\u2019])"), r" \1 "),
    (re.compile(r"''|\""), " '' "),
    (re.compile(r"([^' ])('[sS]|'[mM]|'[dD]|') "), r"\1 \2 "),
    (re.compile(r"([^' ])('ll|'LL|'re|'RE|'ve|'VE|n't|N'T) "), r"\1 \2 "),
)
_CONTRACTIONS = re.compile(
    r"(?i)\b(?:(can)(not)|(d)('ye)|(gim)(me)|(gon)(na)|(got)(ta)|(lem)(me)|(more)('n)|(wan)(na)(?=\s)|('t)(is)|('t)(was))\b"
)


def word_tokenize(text: str) -> list[str]:
    """Words and punctuation marks, sentence by sentence."""
    found: list[str] = []
    for sentence in sentences(text):
        found.extend(_treebank(sentence))
    return found


def _treebank(sentence: str) -> list[str]:
    text = _substituted(sentence, _OPENING)
    text = _substituted(_without_last_dot(text), _MARKS)
    text = f" {_substituted(_without_last_dot(text), _LATER_MARKS)} "
    text = _substituted(text, _CLOSING)
    text = _CONTRACTIONS.sub(lambda found: " " + " ".join(part for part in found.groups() if part) + " ", text)
    return text.split()


def _substituted(text: str, steps: tuple[tuple[re.Pattern[str], str], ...]) -> str:
    for pattern, replacement in steps:
        text = pattern.sub(replacement, text)
    return text


def _without_last_dot(text: str) -> str:
    """The dot that ends a sentence as a token of its own; found from the end: a pattern would backtrack."""
    tail = text.rstrip(" \t\n\r\f\v])}>\"'\u00bb\u201d\u2019")
    if not tail.endswith(".") or tail.endswith("..") or len(tail) < 2:
        return text
    return f"{tail[:-1]} . {text[len(tail) :].strip()} "
