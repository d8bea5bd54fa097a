r"""How a response is read: words, sentences, lines and paragraphs, without any downloaded model.

*Preparing.* `prepared` removes what a reader cannot see (gyms/invisible.py) and writes all line ends as `\n`, so that
"c<zero width space>at" is the word "cat". Latin look-alikes of Cyrillic and Greek inside a word that also has Latin
letters are read as Latin for the same reason, and so are Latin letters and digits in fancy dress: full-width,
mathematical, circled, bracketed, squared, raised, small capitals (docs/constraints.md has them all). A letter and its
accent are one character. A rule about what a program reads (JSON, CSV, HTML) gets the response as it was written, but
for line ends: no parser takes dressed letters for plain ones (`Constraint.is_parsed`).

*Sentences.* A sentence ends at `.`, `!`, `?` or their relatives in other scripts, with closing quotes and an emoji that
follow, and at an empty line. Abbreviations, initials, numbers (`3.14`) and the number of a list's item do not end one.
What holds no word is no sentence of its own. Left out: a trained splitter; it needs data files, and differs from this
mostly in abbreviations.

Every function takes time linear in the text: the patterns have one quantifier between two different anchors, or the
scan is written as a loop.
"""

from __future__ import annotations

import re
import string
import unicodedata
from collections.abc import Sequence
from functools import lru_cache
from itertools import pairwise

import emoji

from gyms.combining import MARKS, composed
from gyms.constraints import marks
from gyms.constraints.wordlists import ABBREVIATIONS, NEVER_LAST, SENTENCE_STARTERS
from gyms.invisible import visible

__all__ = [
    "NO_SPACES",
    "blank_line_paragraphs",
    "compares",
    "has_paragraphs",
    "has_word",
    "increases",
    "is_emoji_char",
    "lines_of",
    "low_words",
    "plain_words",
    "prepared",
    "sentences",
    "stripped",
    "times",
    "tokens",
    "whole_word",
    "with_line_ends",
    "without_accents",
    "without_punctuation",
    "word_tokens",
]

_OTHER_ALPHABET = re.compile("[\u0370-\u03ff\u0400-\u04ff]")
_LATIN = re.compile("[A-Za-z]")
_LOOK_ALIKES = str.maketrans(
    "\u0430\u0435\u043e\u0440\u0441\u0443\u0445\u0456\u0458\u0455\u0501\u0410\u0412\u0415\u041a\u041c\u041d\u041e\u0420"
    "\u0421\u0422\u0425\u0406\u03bf\u03b1\u03bd\u0391\u0392\u0395\u0397\u0399\u039a\u039c\u039d\u039f\u03a1\u03a4\u03a7",
    "aeopcyxijsdABEKMHOPCTXIoavABEHIKMNOPTX",
)
_DRESSES = (
    *(range(0x02B0, 0x02B9), range(0x02E1, 0x02E4), range(0x1D2C, 0x1D6B), range(0x1D9C, 0x1DC0)),
    *(range(0x2071, 0x2072), range(0x207F, 0x2080), range(0x2090, 0x209D), range(0x2C7C, 0x2C7E)),
    *(range(0xA7F2, 0xA7F5), range(0x2102, 0x2135), range(0x2145, 0x214A), range(0x2460, 0x2469)),
    *(range(0x24B6, 0x24EB), range(0xFF10, 0xFF5B), range(0x1D400, 0x1D800), range(0x1F130, 0x1F14A)),
)
"""What Unicode says a plain letter or digit of: raised, lowered, double-struck, circled, wide, mathematical, ..."""
_ROMAN = range(0x2160, 0x2180)
"""Roman numerals, of one letter or of several."""
_ALPHABETS = {0x249C: "abcdefghijklmnopqrstuvwxyz", 0x1F150: string.ascii_uppercase, 0x1F170: string.ascii_uppercase}
"""First of 26 in a row, of which Unicode says nothing of use: in brackets, white on a black circle or square."""
_SMALL_CAPITALS = dict(
    zip(
        map(ord, "\u1d00\u0299\u1d04\u1d05\u1d07\ua730\u0262\u029c\u026a\u1d0a\u1d0b\u029f\u1d0d\u0274"
            "\u1d0f\u1d18\ua7af\u0280\ua731\u1d1b\u1d1c\u1d20\u1d21\u028f\u1d22"),
        "abcdefghijklmnopqrstuvwyz", strict=True,
    )
)  # fmt: skip
_SQUARES = re.compile("[\U0001f170-\U0001f189]+")
_SQUARED_EMOJI = frozenset("\U0001f170\U0001f171\U0001f17e\U0001f17f")
"""Blood groups and the parking sign: emoji where they stand alone, letters among others of their kind."""


def _plain_letters() -> dict[int, str]:
    plain = {code: unicodedata.normalize("NFKC", chr(code)) for dress in (*_DRESSES, _ROMAN) for code in dress}
    letters = {code: to for code, to in plain.items() if to.isascii() and to.isalnum()}
    plain = {code: to for code, to in letters.items() if len(to) == 1 or code in _ROMAN}
    rows = {first + n: letter for first, letters in _ALPHABETS.items() for n, letter in enumerate(letters)}
    return plain | rows | _SMALL_CAPITALS


_PLAIN_LETTERS = _plain_letters()
_PLAIN_BUT_SQUARES = {code: to for code, to in _PLAIN_LETTERS.items() if chr(code) not in _SQUARED_EMOJI}
_WORD_RUN = re.compile(r"\w+")
NO_SPACES = "\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff"
"""Thai, Lao, Burmese, Khmer, Japanese and Chinese, as ranges of a regular expression: no spaces between words."""

_VOWEL_SIGNS = re.compile("[\u0590-\U0010ffff]")
"""Of scripts whose letters go on in marks; in Latin, Greek and Cyrillic, an accent at its edge hides no word."""
_PUNCTUATION_OUT = str.maketrans("", "", marks.PUNCTUATION)
_TOKEN_EDGE = marks.PUNCTUATION + " \t\u00a0\ufe0f"

_WORD = re.compile(rf"\w[\w{MARKS}]*(?:[{marks.APOSTROPHES}{re.escape(marks.HYPHENS)}]\w[\w{MARKS}]*)*")
_LIST_NUMBER = re.compile(r"^[^\S\n]*\d{1,3}(?=\.[^\S\n])", re.M)
_BLANK_LINES = re.compile(r"\n[^\S\n]*\n\s*")
_STOP = re.compile(f"[{''.join(marks.END_MARKS)}]+")
_CLOSERS = frozenset(marks.DOUBLE_QUOTES + marks.SINGLE_QUOTES + ")]}*_\u300d\u300f")
_WIDE_STOPS_OUT = dict.fromkeys(map(ord, marks.WIDE_ENDS + "\u300d\u300f"), " ")
"""A wide mark, and a wide quote that closes behind it, ends a sentence, and so a word, without any space."""


def prepared(text: str) -> str:
    r"""The text as a reader sees it: nothing invisible, `\n` line ends, plain letters for look-alikes, NFC."""
    text = visible(with_line_ends(text))
    if text.isascii():
        return text
    text = _SQUARES.sub(_unsquared, text).translate(_PLAIN_BUT_SQUARES)
    if _OTHER_ALPHABET.search(text):
        text = _WORD_RUN.sub(_as_latin, text)
    return composed(text)


def with_line_ends(text: str) -> str:
    r"""The text with `\n` at the end of its lines."""
    return text.replace("\r\n", "\n").replace("\r", "\n")


def _unsquared(match: re.Match[str]) -> str:
    letters = match.group()
    return letters if len(letters) == 1 else letters.translate(_PLAIN_LETTERS)


def _as_latin(match: re.Match[str]) -> str:
    word = match.group()
    return word.translate(_LOOK_ALIKES) if _LATIN.search(word) and _OTHER_ALPHABET.search(word) else word


def plain_words(text: str) -> list[str]:
    r"""Runs of `\w`: how IFEval counts words ("don't" is two)."""
    return _WORD_RUN.findall(text)


def tokens(text: str) -> list[str]:
    """Words with their inner hyphens and apostrophes ("don't", "well-known"), without punctuation."""
    return _WORD.findall(text)


def word_tokens(text: str) -> list[str]:
    """What stands between white space or wide end marks, stripped of punctuation; without letter or digit, no word."""
    return [word for word in map(stripped, text.translate(_WIDE_STOPS_OUT).split()) if has_word(word)]


def low_words(text: str) -> list[str]:
    """`word_tokens` in lower case."""
    return [word.lower() for word in word_tokens(text)]


def has_word(text: str) -> bool:
    """Is there a letter, a digit or an underscore."""
    return _WORD_RUN.search(text) is not None


@lru_cache(maxsize=4096)
def whole_word(word: str, *, ends: bool = True) -> re.Pattern[str]:
    """A word or phrase by itself, whatever its case; works for `C++` too, where `\\b` does not.

    An underscore that hugs it is emphasis (_cat_), between letters it joins them (snake_cat). A script without spaces
    has no edges to look for: such a word is found wherever it stands. A vowel sign is a letter.

    Args:
        ends: False also takes a longer word that starts with it (cats for cat).
    """
    word = word.strip()
    letter = rf"(?-i:[^\W_{NO_SPACES}])"  # has no case; told so, it is compiled in a third of the time
    if _VOWEL_SIGNS.search(word):
        letter = rf"(?-i:[^\W_{NO_SPACES}]|(?![{NO_SPACES}])[{MARKS}])"
    before = "" if re.match(f"[{NO_SPACES}]", word) else f"(?<!{letter})(?<!{letter}_)"
    after = "" if not ends or re.search(f"[{NO_SPACES}]\\Z", word) else f"(?!_?{letter})"
    return re.compile(f"{before}{re.escape(word)}{after}", re.IGNORECASE)


def times(text: str, keyword: str) -> int:
    """How often a keyword stands in a text as a whole word or phrase; "art" is not in "start"."""
    return len(whole_word(keyword).findall(text)) if keyword.strip() else 0


def compares(actual: int, relation: str, wanted: int) -> bool:
    """`less than` or `at least`."""
    return actual < wanted if relation == "less than" else actual >= wanted


def increases(numbers: Sequence[int]) -> bool:
    """Is each number above the one before it."""
    return all(earlier < later for earlier, later in pairwise(numbers))


def stripped(token: str) -> str:
    """A token without punctuation at its two ends."""
    return token.strip(_TOKEN_EDGE)


def without_punctuation(text: str) -> str:
    """The text with every punctuation character removed, typographic ones included."""
    return text.translate(_PUNCTUATION_OUT)


def without_accents(text: str) -> str:
    """Letters without their marks: `Chișinău` becomes `Chisinau`.

    Decomposed character by character: for a whole text `normalize` also sorts the marks behind each letter, which takes
    quadratic time where a letter has very many, and they are dropped here whatever their order.
    """
    return text if text.isascii() else "".join(map(_without_marks, text))


@lru_cache(maxsize=4096)
def _without_marks(character: str) -> str:
    return "".join(c for c in unicodedata.normalize("NFKD", character) if not unicodedata.combining(c))


def has_paragraphs(parts: list[str], wanted: int) -> bool:
    """As many filled parts as wanted; only the first and the last part may be empty."""
    filled = [bool(part.strip()) for part in parts]
    return sum(filled) == wanted and all(filled[1:-1])


def lines_of(text: str) -> list[str]:
    """The lines that hold more than white space."""
    return [line for line in text.split("\n") if line.strip()]


def blank_line_paragraphs(text: str) -> list[str]:
    """Paragraphs separated by at least one empty line."""
    return [part for part in _BLANK_LINES.split(text.strip()) if part.strip()]


def is_emoji_char(character: str) -> bool:
    """True for an emoji and for what only occurs inside of one: joiners, skin tones, flags, keycaps."""
    code = ord(character)
    return (
        code in (0x200D, 0xFE0F, 0x20E3)
        or 0x1F1E6 <= code <= 0x1F1FF
        or 0x1F3FB <= code <= 0x1F3FF
        or emoji.is_emoji(character)
    )


def sentences(text: str) -> list[str]:
    """The sentences of a text, stripped; what follows the last end mark is a sentence if it holds a word."""
    found: list[str] = []
    for paragraph in _BLANK_LINES.split(text.strip()):
        found.extend(_sentences_of(paragraph))
    return found


def _sentences_of(paragraph: str) -> list[str]:
    found: list[list[str]] = []
    start = 0
    list_dots = {number.end() for number in _LIST_NUMBER.finditer(paragraph)}
    for stop in _STOP.finditer(paragraph):
        end = None if stop.start() in list_dots else _end_of_sentence(paragraph, stop)
        if end is None or end <= start:
            continue
        part = paragraph[start:end].strip()
        start = end
        _append(found, part)
    _append(found, paragraph[start:].strip())
    return [" ".join(parts) for parts in found]


def _append(found: list[list[str]], part: str) -> None:
    """Add a sentence; what holds no word (a lone "..." or an emoji) belongs to the one before, as a part of it."""
    if not part:
        return
    if has_word(part):
        found.append([part])
    elif found:
        found[-1].append(part)


def _end_of_sentence(paragraph: str, stop: re.Match[str]) -> int | None:
    """Where the sentence that this end mark may close ends, or None where the mark closes none."""
    end = stop.end()
    while end < len(paragraph) and paragraph[end] in _CLOSERS:
        end += 1
    is_wide = stop.group()[-1] in marks.WIDE_ENDS
    after = end
    while after < len(paragraph) and (paragraph[after].isspace() or is_emoji_char(paragraph[after])):
        after += 1
        if not paragraph[after - 1].isspace():
            end = after
    if after == end and after < len(paragraph) and not is_wide:
        return None  # no space after it: a number, an address, an abbreviation
    if stop.group() == "." and after < len(paragraph) and _is_abbreviation(paragraph, stop.start(), after):
        return None
    return end


def _is_abbreviation(paragraph: str, dot: int, after: int) -> bool:
    """True where the word before a dot is short for something, and the sentence goes on behind it."""
    start = dot
    while start > 0 and dot - start < 8 and (paragraph[start - 1].isalpha() or paragraph[start - 1] == "."):
        start -= 1
    word = paragraph[start:dot]
    if len(word) == 1 and word.isalpha():
        follows = _WORD_RUN.match(paragraph, after)
        is_name = follows is not None and follows.group().lower() not in SENTENCE_STARTERS
        return word.isupper() and word != "I" and is_name and paragraph[after].isupper()
    low = word.lower()
    return low in NEVER_LAST or (low in ABBREVIATIONS and not paragraph[after].isupper())
