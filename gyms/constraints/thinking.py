"""The part of a response that counts: what stands behind the model's thinking."""

from __future__ import annotations

import re

__all__ = ["final_text"]

_OPEN = re.compile(r"<think(?:ing)?>", re.IGNORECASE)
_CLOSE = re.compile(r"</think(?:ing)?>", re.IGNORECASE)


def final_text(response: str) -> str | None:
    """The text behind the last closed thinking segment, or None where thinking was opened and not closed.

    A lone closing tag counts as well: chat templates often open the segment in the prompt.
    """
    end = 0
    for found in _CLOSE.finditer(response):
        end = found.end()
    rest = response[end:]
    return None if _OPEN.search(rest) else rest
