"""Characters that nobody sees, so that a text with them reads as the text without: one list for all gyms.

Joiners of Indic and Persian words, direction marks and the selectors of a glyph are among them: a reader takes a word
with and without them for the same, and so does whoever compares two texts without them. Kept is what makes one emoji of
several characters.
"""

from __future__ import annotations

import re

__all__ = ["INVISIBLE", "visible"]

INVISIBLE = (
    "\u00ad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180b-\u180f\u200b-\u200f\u202a-\u202e\u2060-\u206f\u3164\ufe00-\ufe0f"
    "\ufeff\uffa0\ufff0-\ufff8\U0001bca0-\U0001bca3\U0001d173-\U0001d17a\U000e0000-\U000e0fff"
)
"""What Unicode lets a program draw as nothing (Default_Ignorable_Code_Point), as ranges of a regular expression."""

_EMOJI = (
    "\u00a9\u00ae\u203c\u2049\u2122\u2139\u2190-\u245f\u2500-\u2bff\u3030\u303d\u3297\u3299"
    "\U0001f000-\U0001f0ff\U0001f1e6-\U0001faff"
)
"""Symbols that may be emoji, without letters in circles and squares."""
_SQUARES = "\U0001f170-\U0001f189"
"""Letters on black squares; some are emoji where no other letter stands behind them."""
_UNSEEN = re.compile(
    rf"([{_EMOJI}](?:\ufe0f(?:\u200d(?=[{_EMOJI}]))?|\u200d(?=[{_EMOJI}]))|[{_SQUARES}]\ufe0f(?![\w{_SQUARES}])"
    rf"|[0-9#*]\ufe0f(?=\u20e3))|[{INVISIBLE}]+"
)
"""Group 1 is of an emoji, and stays."""


def visible(text: str) -> str:
    """The text without what cannot be seen."""
    return text if text.isascii() else _UNSEEN.sub(r"\1", text)
