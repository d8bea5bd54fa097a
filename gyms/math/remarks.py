r"""Words around a value that do not change it: "therefore 6", "75, in total", "6 (six)", "f(x) = ax for all a".

Everything here lists what may be dropped, never what may not: a word that is on no list stays, and the answer is then
unreadable. `without_remarks` is tried only where the whole text cannot be read. A remark that says a number must
say the same one: "6 (six)" is 6, "6 (eight)" is nothing. A qualifier that names a set of numbers is kept, as the
answer's *domain*: `2\pi n, n \in \mathbb{Z}` and `2\pi n, n \in \mathbb{N}` differ.
"""

from __future__ import annotations

import re
from typing import NamedTuple

from gyms.math.tree import words

__all__ = ["Qualified", "adverbs_end", "in_digits", "number_word", "spelled", "split_qualifier", "without_remarks"]

_ADVERBS = re.compile(
    r"[ ,:]{0,4}(?:\b(?:therefore|thus|then|hence|so|simply|just|exactly|precisely|clearly|indeed|actually|really|again"
    r"|also|obviously|finally|of course|in fact|given by|equal to|found to be|now|only|still)\b"
    r"(?! ?(?:not|never)\b)[ ,:]{0,4})+",
    re.I,
)
_LEADING_SIGN = re.compile(
    r"[ ]*(?:=(?![=<>])|\\(?:min|max|sup|inf)[ ]*="
    r"|\\(?:to|approx|therefore|implies|[Rr]ightarrow|Longrightarrow)(?![A-Za-z]))[ ]*(?=\S)"
)
_TRAILING = re.compile(
    r"[ ,;]{0,4}(?:\\text[ ]?\{)?[ ,(]{0,4}\b(?:in total|in all|altogether|overall|in the end|all together|"
    r"is (?:the|our|my) (?:final |correct )?answer|as required|as desired|as needed|as wanted|as asked|exactly"
    r"|precisely|only|combined|total)\b[ ).]*(?:[},][ .,]*)?$"
)
_IN_BRACKETS = re.compile(
    r"(?:\\text[ ]*\{[ ]*)?\([ ]*(?:\\text[ ]*\{)?([A-Za-z][A-Za-z -]{1,60})\}?[ ]*\)[ ]*\}?[ .]*$"
)
_AGAIN = re.compile(
    r"(.*[^ ])[ ]*(?:\\text[ ]*\{[ ]*)?\([ ]*(?:\\text[ ]*\{)?[ ]*"
    r"(\\approx|=|or|i\.e\.|that is|about|approximately|roughly)[ ,]{0,3}\}?[ ]*([^()]+?)[ ]*\)[ ]*\}?"
)
_SAME = ("=", "or", "i.e.", "that is")
_REASON = re.compile(
    r"(?<=[^ ])[ ]*(?:\\text[ ]*\{[ ]*)?\([ ]*(?:\\text[ ]*\{)?[ ]*"
    r"(?:since|because|as|given that|when)\b[^()]*\)[ ]*\}?$"
)
_IMPLIES = re.compile(r"\\(?:Rightarrow|implies|Longrightarrow|therefore)(?![A-Za-z])")
_SPELLED = re.compile(r"(?:\\text[ ]*\{[ ]*)?([A-Za-z][A-Za-z -]{1,80}?)[ ]*\([ ]*(\d{1,7})[ ]*\)[ ]*\}?")
_BRACKET_WORDS = words(
    "exact exactly minimum maximum min max minimal maximal least greatest total overall answer final the a value "
    "result in all simplified reduced form"
)
_NOUNS = words(
    "value answer maximum minimum max min total sum area volume perimeter length width height radius number "
    "probability result solution slope distance speed time cost price average mean median "
    "mode count remainder product difference"
)
_ADJECTIVES = words(
    "the a maximum minimum max min maximal minimal largest smallest greatest least final total is of our x"
)
_NOUN_LABEL = re.compile(r"\\text[ ]*\{([A-Za-z ]{2,60})\}[ ]*(?=[-+\d\\($])")
_QUALIFIER = re.compile(
    r"[ ,;(]{0,4}(?:\\text[ ]?\{[ ,(]{0,4})?(?:\\forall(?![A-Za-z])|\b(?:for|where|with|given|assuming)\b)"
    r"(?P<tail>[^\d<>=+*/^]*)$"
)
_NO_QUALIFIER = re.compile(r".*[\d<>=+*/^]")
"""As far as no qualifier begins: it holds no formula."""
_QUALIFIER_WORDS = words(
    "all any every each some a an arbitrary real complex integer integers natural positive rational number numbers "
    "constant constants value values of is are fixed given text where with and the parameter variable in for mathbb"
)
_MEMBER = re.compile(
    r"(?:[ ]?[,;(][ ]?|[ ](?=\\text|\\forall))(?:\\text[ ]*\{[ ]*(?:where|with|for|and)?[ ]*\}[ ]*)?(?:\\forall[ ]*)?"
    r"([A-Za-z]|\\[a-z]+)(?:[ ]*,[ ]*[A-Za-z]){0,8}[ ]*\\in[ ]*\\mathbb[ ]*\{?[ ]*([NZQRC])[ ]*\}?[ ]*\)?$"
)
_NAME = re.compile(r"\\[a-z]+|[A-Za-z]")
_MEMBER_OF = re.compile(r"\\mathbb[ ]*\{?[ ]*([NZQRC])[ ]*\}?")


class Qualified(NamedTuple):
    """An answer without its qualifier, and the set of numbers that the qualifier names, else empty."""

    core: str
    domain: str = ""
    name: str = ""
    """What runs over that set; empty where that is not one name."""


def adverbs_end(text: str) -> int:
    """Where a text begins behind its leading adverbs: 0 where there are none."""
    match = _ADVERBS.match(text)
    return match.end() if match is not None else 0


def split_qualifier(plain: str) -> Qualified:
    """An answer and its qualifier ("for all n", `, k \\in \\mathbb{Z}`); one that sets a condition is left in place."""
    member = _MEMBER.search(plain) if "\\mathbb" in plain else None
    core = plain[: member.start()].strip(" ,;") if member is not None else ""
    if member is not None and "\\{" not in plain and member[1] in _NAME.findall(core):
        return Qualified(core, member[2].replace("R", "").replace("C", ""), member[1])
    formula = _NO_QUALIFIER.match(plain)
    start = formula.end() if formula is not None else 0
    match = _QUALIFIER.search(plain, start) if "for" in plain or "where" in plain or "with" in plain else None
    if match is None or not plain[: match.start()].strip():
        return Qualified(plain)
    named = re.findall(r"[A-Za-z]+", match["tail"])
    if not named or any(len(word) > 1 and word not in _QUALIFIER_WORDS for word in named if word != "in"):
        return Qualified(plain)
    inner = _MEMBER_OF.search(match["tail"])
    domain = inner[1] if inner is not None else "Z" if {"integer", "integers"} & set(named) else ""
    if "natural" in named or ("positive" in named and domain == "Z"):
        domain = "N"
    core = plain[: match.start()].strip(" ,;")
    names = {word for word in named if len(word) == 1 and word != "a"} & set(_NAME.findall(core))
    return Qualified(core, "Q" if "rational" in named else domain.strip("RC"), names.pop() if len(names) == 1 else "")


def without_remarks(plain: str) -> str:
    """The text without the adverbs, signs, labels and remarks around its value; the same text where there are none."""
    text = plain[adverbs_end(plain) :]
    steps = _IMPLIES.split(text)
    text = steps[-1].strip() if len(steps) > 1 and "=" in steps[0] and "=" in steps[-1] else text
    again = _AGAIN.fullmatch(text)
    if again is not None:  # whether it says the same is for the comparison to say: "5 (or 6)" is a false equation
        text = rf"{again[1]} {'=' if again[2] in _SAME else chr(92) + 'approx'} {again[3]}"
    text = _REASON.sub("", text)
    sign = _LEADING_SIGN.match(text)
    text = text[sign.end() :] if sign is not None else text
    text = _TRAILING.sub("", text) if not _TRAILING.fullmatch(text) else text
    label = _NOUN_LABEL.match(text)
    if label is not None:
        names = label[1].casefold().split()
        if names and names[-1] in _NOUNS and all(name in _NOUNS | _ADJECTIVES for name in names):
            text = text[label.end() :]
    bracket = _IN_BRACKETS.search(text)
    if bracket is not None and text[: bracket.start()].strip():
        said, core = bracket[1].casefold(), text[: bracket.start()].strip()
        number = number_word(said)
        is_free = all(word in _BRACKET_WORDS for word in said.split())
        if is_free or (number is not None and core.strip("$ ") == str(number)):
            text = core
    spelled = _SPELLED.fullmatch(text)
    if spelled is not None and number_word(spelled[1].casefold()) == int(spelled[2]):
        text = spelled[2]
    return text.strip(" ,;")


_SMALL = re.findall(
    "[a-z]+",
    "zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen seventeen "
    "eighteen nineteen",
)
_TENS = {
    "twenty": 20, "thirty": 30, "forty": 40, "fifty": 50, "sixty": 60, "seventy": 70, "eighty": 80, "ninety": 90,
}  # fmt: skip


_BELOW_100 = rf"(?:(?:{'|'.join(_TENS)})(?:[ -](?:{'|'.join(_SMALL[1:10])}))?|{'|'.join(reversed(_SMALL))})"
_BELOW_1000 = rf"(?:(?:{'|'.join(_SMALL[1:10])})[ -]hundred(?:[ -](?:and[ -])?{_BELOW_100})?|{_BELOW_100})"
_NUMBER_WORDS = re.compile(rf"{_BELOW_1000}(?:[ -]thousand(?:[ -](?:and[ -])?{_BELOW_1000})?)?")
"""Number words as English puts them together: "twenty one", but neither "one twenty" nor "six seven"."""
_SPELLED_ALONE = re.compile(r"(?:\\text[ ]*\{[ ]*)?((?:minus |negative )?)([A-Za-z][A-Za-z -]{2,80}?)[ .]*\}?[ .]*")


def spelled(plain: str) -> int | None:
    """The whole number that a normalised answer says in words and nothing else, or None."""
    match = _SPELLED_ALONE.fullmatch(plain)
    number = number_word(match[2].casefold()) if match is not None else None
    return -number if number is not None and match is not None and match[1] else number


_PARTS = {"half": 2, "halves": 2} | {
    name + plural: size
    for size, name in enumerate(["third", "fourth", "fifth", "sixth", "seventh", "eighth", "ninth", "tenth"], start=3)
    for plural in ("", "s")
} | {"quarter": 4, "quarters": 4}  # fmt: skip
_IN_WORDS = re.compile(
    rf"(?:\\text[ ]*\{{[ ]*)?(minus |negative )?(?:({_NUMBER_WORDS.pattern})(?![a-z])"
    rf"|an?(?=[ -](?:{'|'.join(_PARTS)}|hundred|thousand|million|dozen)\b)|(?=half\b))"
    rf"(?:[ -]?({'|'.join(sorted(_PARTS, reverse=True))})\b)?((?:[ -][a-z][a-z -]{{1,80}}?)?)[ .]*\}}?[ .]*",
    re.I,
)


def in_digits(plain: str) -> str | None:
    """A normalised answer with the number words that it begins with in digits, or None where it begins with none.

    Example:
        in_digits("two thirds cups") == "2/3 \\\\text{cups}"
    """
    match = _IN_WORDS.fullmatch(plain) if plain[:1].isalpha() or plain[:1] == "\\" else None
    if match is None:
        return None
    sign, said, part, rest = match.groups()
    number = 1 if said is None else number_word(said.casefold())
    if number is None or (part and part.casefold().endswith("s") != (number != 1)):
        return None  # "twenty-fifth" is a place in a row
    digits = f"{'-' if sign else ''}{number}" + (f"/{_PARTS[part.casefold()]}" if part else "")
    return rf"{digits} \text{{{rest.strip(' -')}}}" if rest.strip(" -") else digits


def number_word(text: str) -> int | None:
    """The whole number below a million that number words say ("two hundred and five"), or None."""
    total = part = 0
    said = [word for word in re.split(r"[ -]+", text.strip()) if word != "and"]
    if len(said) > 12 or _NUMBER_WORDS.fullmatch(" ".join(text.split())) is None:
        return None
    for word in said:
        if word in _SMALL:
            part += _SMALL.index(word)
        elif word in _TENS:
            part += _TENS[word]
        elif word == "hundred" and 0 < part < 10:
            part *= 100
        elif word == "thousand" and part and not total:
            total, part = 1000 * part, 0
        else:
            return None
    return total + part
