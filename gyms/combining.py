r"""Combining marks, for regular expressions: accents, vowel signs, tone marks.

Python's `\w` takes none of them, so that a pattern of words cuts Hindi, Tamil or Thai at each vowel, or loses it.
"""

from __future__ import annotations

import re
import unicodedata

from gyms.invisible import INVISIBLE

__all__ = ["MARKS"]


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
