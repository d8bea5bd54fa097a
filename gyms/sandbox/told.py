"""What a model is told of output that came out of a sandbox: cut to a length, and without what differs by chance.

An episode is a function of its turns, and a replay must be answered alike; so addresses are taken out of what is shown.
"""

from __future__ import annotations

import re

__all__ = ["shortened", "without_addresses"]

_ADDRESS = re.compile(r"\bat 0x[0-9a-fA-F]{6,16}\b")


def without_addresses(text: str) -> str:
    """`<object at 0x...>`, wherever the object lies."""
    return _ADDRESS.sub("at 0x...", text)


def shortened(text: str, max_chars: int) -> str:
    """The first and the last of it: results stand at the end, and so do exceptions."""
    if len(text) <= max_chars:
        return text
    head = max_chars // 2
    tail = max_chars - head
    return f"{text[:head]}\n... ({len(text) - max_chars} characters left out) ...\n{text[-tail:]}"
