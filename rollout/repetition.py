"""When a response is in a loop: its last tokens are one pattern, so many times in a row.

    ... a b c a b c a b c      pattern "a b c", 3 times: min_count = 3 and max_pattern_tokens >= 3 end it here

A loop seldom ends by itself; what it writes up to its budget costs time and teaches nothing. vLLM looks after each
token that it draws (`RepetitionDetectionParams`); it looks at the tokens of its request alone, so of a response that is
drawn in segments (rl/partial.py) the whole is looked at again here, by the same rule. Where a response is stopped is
thus a function of its tokens, wherever a segment begins.

Left out: loops that vary (a counter that goes up), which are no exact repetition.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

__all__ = ["Repetition", "first_repetition"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Repetition:
    """What is a loop.

    Example:
        Repetition(min_count=4, min_pattern_tokens=1, max_pattern_tokens=32)
    """

    min_count: int
    """Times in a row that a pattern stands at the end, >= 2."""
    min_pattern_tokens: int
    """Tokens of the shortest pattern, >= 1."""
    max_pattern_tokens: int
    """Tokens of the longest pattern."""


def first_repetition(token_ids: Sequence[int], wanted: Repetition, *, begin: int = 0) -> int | None:
    """How many tokens there are when a loop is first seen, looking after each token from place `begin` on; or None.

    Example:
        first_repetition([5, 1, 2, 1, 2, 9], Repetition(min_count=2, min_pattern_tokens=1, max_pattern_tokens=8)) is 5
    """
    sizes = range(wanted.min_pattern_tokens, wanted.max_pattern_tokens + 1)
    for end in range(begin + 1, len(token_ids) + 1):
        for size in sizes:
            start = end - size * wanted.min_count
            if start < 0:
                break
            if token_ids[end - 1] == token_ids[end - 1 - size] and (
                token_ids[start : end - size] == token_ids[start + size : end]  # it equals itself, a pattern later
            ):
                return end
    return None
