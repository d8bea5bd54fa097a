r"""Combining marks: accents, vowel signs, tone marks.

A letter and its mark may be written as one character or as two (`composed`). In regular expressions `\w` takes no mark,
so that a pattern of words cuts Hindi, Tamil or Thai at each vowel, or loses it (`MARKS`).
"""

from __future__ import annotations

import re
import unicodedata

from gyms.invisible import INVISIBLE

__all__ = ["MARKS", "composed"]


def _ranges() -> str:
    unseen = re.compile(f"[{INVISIBLE}]")
    found: list[list[str]] = []
    for character in map(chr, range(0x300, 0x1F000)):
        if unicodedata.category(character).startswith("M") and not unseen.match(character):
            if found and ord(found[-1][1]) == ord(character) - 1:
                found[-1][1] = character
            else:
                found.append([character, character])
    return "".join(f"{first}-{last}" for first, last in found)


MARKS = _ranges()
"""All that Unicode calls a mark and that is seen, as ranges of a regular expression."""

_MOST = 30
"""Marks in a row that are read, as in Unicode's stream-safe texts: sorting more would take quadratic time."""
_TOO_MANY = re.compile(f"([{MARKS}]{{{_MOST}}})[{MARKS}]+")


def composed(text: str) -> str:
    """The text with each letter and its marks as one character, where there is one (NFC)."""
    return text if text.isascii() else unicodedata.normalize("NFC", _TOO_MANY.sub(r"\1", text))
