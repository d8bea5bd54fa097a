"""Which characters count as a comma, a dot, an exclamation mark, a quotation mark, a hyphen: decided here, once.

The rule is what a reader sees: the mark of any script and width, a character that shows the mark beside something else
(an ellipsis, a number with its full stop), a symbol or emoji of it, and a letter that looks like nothing else. So no
forbidden mark comes back in another dress, and no asked-for one is missed for being typographic. Not counted is what
only borrows the name (modifier letters that say "comma", a prime, a soft hyphen) and what is another mark to a reader:
a danda and a middle dot are no dots, an interrobang is no exclamation mark, a dash is no hyphen.

What a program reads keeps its ASCII: bullets and dividers are markdown's, the commas of CSV are U+002C.
"""

from __future__ import annotations

import string
import unicodedata

__all__ = ["APOSTROPHES", "COMMAS", "DOTS", "DOUBLE_QUOTES", "DOUBLE_QUOTE_PAIRS", "END_MARKS", "EXCLAMATIONS"]
__all__ += ["HYPHENS", "LOW_QUOTE", "PUNCTUATION", "SINGLE_QUOTES", "WIDE_ENDS"]


def _span(first: int, last: int) -> str:
    return "".join(map(chr, range(first, last + 1)))


COMMAS = (
    ",\u055d\u060c\u07f8\u1363\u1802\u1808\u2e32\u2e34\u2e41\u2e49\u2e4c\u3001\ua4fe\ua60d\ua6f5"  # scripts, old forms
    "\ufe10\ufe11\ufe50\ufe51\uff0c\uff64" + _span(0x1F101, 0x1F10A)  # widths, and a digit with its comma
)
LOW_QUOTE = "\u201a"
"""A comma behind a word, for there it looks like one; anywhere else a quotation mark, within others too."""
DOTS = (
    ".\u0589\u06d4\u0701\u0702\u1362\u166e\u1803\u1809\u2cf9\u2cfe\u2e3c\u3002\ua4ff\ua60e\ua6f3"
    "\u2024\u2025\u2026\ufe12\ufe19\ufe30\ufe52\uff0e\uff61" + _span(0x2488, 0x249B) + "\U0001f100"
)
"""Full stops, leaders and ellipses, and numbers with their full stop."""
EXCLAMATIONS = (
    "!\u00a1\u055c\u07f9\u1944\u203c\u2048\u2049\u2e53\ua71d\ua71e\ua71f\ufe15\ufe57\uff01"
    "\u2755\u2757\u01c3"  # emoji, and the click letter, which looks like nothing else; hearts are hearts
)
DOUBLE_QUOTES = '"\u00ab\u00bb\u201c\u201d\u201e\u201f\u275d\u275e\u2760\u2e42\u301d\u301e\u301f\uff02'
DOUBLE_QUOTE_PAIRS = (
    *('""', "\u201c\u201d", "\u201e\u201c", "\u201e\u201d", "\u201d\u201d", "\u00ab\u00bb", "\u00bb\u00ab"),
    *("\u301d\u301e", "\u301d\u301f", "\uff02\uff02"),
)
"""What wraps a text in double quotation marks: of English, German, Polish, Swedish, French, Danish; then wide ones."""
SINGLE_QUOTES = "'\u2018\u2019\u201a\u201b\u2039\u203a\u275b\u275c\u275f\uff07"
APOSTROPHES = "'\u2019\u02bc\uff07"
HYPHENS = "-\u2010\u2011\ufe63\uff0d"
_ENDS = {
    ".": ".\u2026\u3002\uff0e\uff61\ufe52\u0589\u06d4\u0964\u1362",
    "?": "?\uff1f\ufe56\u061f\u1367\u2047\u2048",
    "!": "!\uff01\ufe57\u203c\u2049",
    "": "\u203d",
}
END_MARKS: dict[str, str] = {mark: kind for kind, marks in _ENDS.items() for mark in marks}
"""What ends a sentence, and of which kind it then is; an interrobang leaves that open."""
WIDE_ENDS = "\u3002\uff01\uff1f\uff61"
"""End marks behind which no space stands."""
PUNCTUATION = string.punctuation + "".join(
    chr(code) for code in range(0x80, 0x10000) if unicodedata.category(chr(code)).startswith("P")
)
"""What is stripped off a word: all that Unicode calls punctuation."""
