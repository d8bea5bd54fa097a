r"""Which option an answer names: `D`, `(D)`, `\textbf{(D)}\ 45`, "option D", "D. the median".

The letter stands first, alone or set off by a bracket, a full stop or a colon; what follows is the option's own text,
and must not name another option: `A) B C D` lists them all. A short sentence may name one option anywhere ("I choose
B"). A letter without brackets may be a variable, so a bare `B` as the gold answer is both: `verify` asks here first,
then compares as mathematics.
"""

from __future__ import annotations

import re

__all__ = ["LETTERS", "choice_and_rest", "choice_of", "is_letter", "option_of"]

LETTERS = "ABCDEFGHIJ"
MAX_WORDS = 8
"""A longer sentence may name an option for any reason."""
MAX_CHARS = 400

_WRAPPERS = re.compile(
    r"\\(?:text(?:bf|it|rm|sf|normal|up)?|math(?:rm|bf|sf|it)|mbox|hbox|underline|q?quad)(?![A-Za-z])"
)
_MARKS = re.compile(r"[{}$*]|\\[ ,;:!]|\\(?=\s|$)")
_DRESSED = re.compile(
    r"[\s$]*(?:\\(?:text(?:bf|it|rm)?|math(?:rm|bf)|mbox)[ ]?\{[ ]?)?\([ ]?[A-J][ ]?\)"
    r"(?:[ ]?\}|[ ]|\\[ ,;:]|~|\\q?quad)"
)
_FIRST = re.compile(
    r"(?:(?:the|my)[ ])?(?:(?:correct|right|best|final)[ ])?(?:(?:option|choice|answer|letter)(?:[ ]is|[ ]?:)?[ ]?)?"
    r"(?:[(\[][ ]?([A-J])[ ]?[)\]][ ]?[.:]?|([A-J])(?:[ ]?[).:]+|(?=$)))[ ]?(.*)",
    re.I,
)
_OTHER = re.compile(
    r"^(?:or|and|,|/|&|\|)|(?<![A-Za-z\\'])(?:[B-HJ]|A(?![ ][a-z]))(?![A-Za-z'])"
    r"|[(\[][ ]?[A-Ja-j][ ]?[)\]]|(?<!\w)I[).:]"
)
_REASON = re.compile(r"^(?:because|since|as|for the reason)\b.*", re.I)
_VERB = re.compile(r"(?:is|was|are|seems|looks|does|can|could|may|might|would|cannot|isn't|wasn't|doesn't)\b(.*)", re.I)
_PRAISE = re.compile(r"[ ](?:the[ ])?(?:correct|right|answer|true)\b", re.I)
_NAMED = re.compile(r"\(([A-J])\)|(?<![\w'(])([B-HJ]|A(?!\s+(?!and\b|or\b|nor\b)[a-z]))(?![\w'])")
_DENIAL = re.compile(
    r"\b(?:not|cannot|wrong|incorrect|false|except|neither|never|isn|but|excluded?|impossible"
    r"|or|either|another|else|maybe|perhaps|guess)\b|n't\b",
    re.I,
)


def choice_of(text: str) -> str | None:
    """The letter of the only option that an answer names, in upper case, or None."""
    first = choice_and_rest(text)
    return first[0] if first is not None else _only_letter(text)


def choice_and_rest(text: str) -> tuple[str, str] | None:
    """The letter that an answer begins with, and the option's text behind it; None where it begins with none."""
    if len(text) > MAX_CHARS:
        return None
    plain = _plain(text)
    match = _FIRST.fullmatch(plain)
    if match is None:
        return None
    rest = _REASON.sub("", match[3]).strip(" .,")
    if _OTHER.search(rest):
        return None
    verb = _VERB.match(rest)
    if verb is not None and not _PRAISE.match(verb[1]):
        return None
    return (match[1] or match[2]).upper(), rest


def option_of(gold: str) -> tuple[str, str] | None:
    r"""The letter and the text of a gold answer that gives both, such as `\textbf{(B)}\ 30`; None for others."""
    return choice_and_rest(gold) if _DRESSED.match(gold) and not is_letter(gold) else None


def is_letter(text: str) -> bool:
    """True for a gold answer that is one letter from A to J: bare, in brackets, or in upright letters."""
    return re.fullmatch(rf"[(\[]?[ ]?[{LETTERS}][ ]?[)\]]?[ ]?[.:]?", _plain(text)) is not None


def _only_letter(text: str) -> str | None:
    """The only option that a sentence names, as in "I choose B."; "A" and "I" are words unless in brackets."""
    plain = _plain(text)
    if len(plain.split()) > MAX_WORDS or _DENIAL.search(plain) or re.search(r"[=<>+]", plain):
        return None
    named = {one or other for one, other in _NAMED.findall(plain)}
    return named.pop() if len(named) == 1 else None


def _plain(text: str) -> str:
    return " ".join(_MARKS.sub(" ", _WRAPPERS.sub(" ", text)).split())
