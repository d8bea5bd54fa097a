r"""One reading of a response: which of its text counts, whatever gym asks. Pure, linear in the response's length.

*Thoughts.* What stands before the last mark that ends thinking is no part of the answer; neither is anything where
thinking was begun behind it and never ended: then there is no answer (None), however right it looks. So
`<think>#### 17</think> #### 18` says 18, and `<think>so #### 18` says nothing. A closing mark alone ends thoughts that
the prompt's template opened. Thoughts are cut once: what is left is not searched for others by another rule.
*Dress.* A byte order mark, zero-width characters and the many ends of a line (CRLF, CR, NEL, U+2028, U+2029, form feed)
say nothing: `plain` drops the first two and makes `\n` of the last. It is for gyms that read values; a gym that judges
how a text is written, or that runs it, takes `after_thoughts` alone.
*Fences.* `without_fences` takes fenced code out, for gyms whose answers stand in prose.

Left out: quotes and comments around a mark. A model that quotes `<think>` in its answer opens thoughts, as it would
for the chat template.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import lru_cache

__all__ = ["THOUGHT_MARKS", "Marks", "after_thoughts", "final_text", "plain", "without_fences"]

Marks = tuple[str, str]
"""What opens and what closes thoughts."""

THOUGHT_MARKS: tuple[Marks, ...] = (
    ("<think>", "</think>"),
    ("<thinking>", "</thinking>"),
    ("<thought>", "</thought>"),
    ("<thoughts>", "</thoughts>"),
    ("<reasoning>", "</reasoning>"),
    ("<seed:think>", "</seed:think>"),
    ("[THINK]", "[/THINK]"),
    ("\u25c1think\u25b7", "\u25c1/think\u25b7"),
    ("<|begin_of_thought|>", "<|end_of_thought|>"),
    ("<|channel|>analysis<|message|>", "<|channel|>final<|message|>"),
)
"""The marks in use, upper or lower case; `<think>` first, which most models write."""

_INVISIBLE = re.compile("[\u00ad\u180e\u200b-\u200f\u202a-\u202e\u2060-\u2064\u2066-\u2069\ufeff]")
_LINE_END = re.compile("\r\n?|[\u0085\u2028\u2029\x0b\x0c]")
_FENCE = re.compile(r"^[ ]{0,3}(```+|~~~+)", re.M)


def final_text(response: str, *, marks: Sequence[Marks] = THOUGHT_MARKS) -> str | None:
    """What counts of a response, in plain dress; None where its thoughts are never closed.

    Example:
        final_text("<think>17?</think>\\r\\n18") == "\\n18"
    """
    return after_thoughts(plain(response), marks=marks)


def after_thoughts(response: str, *, marks: Sequence[Marks] = THOUGHT_MARKS) -> str | None:
    """The text behind the last mark that closes thoughts; None where thoughts are opened behind it and never closed."""
    opening, closing = _patterns(tuple(marks))
    end = 0
    for match in closing.finditer(response):
        end = match.end()
    text = response[end:]
    return None if opening.search(text) else text


def plain(text: str) -> str:
    """The text without byte order marks and zero-width characters, its lines ended by `\\n`."""
    if text.isascii() and not _LINE_END.search(text):
        return text
    return _LINE_END.sub("\n", _INVISIBLE.sub("", text))


def without_fences(text: str) -> str:
    """The text with fenced code blocks taken out; an unclosed one reaches to the end."""
    kept: list[str] = []
    place, fence = 0, ""
    for match in _FENCE.finditer(text):
        if not fence:
            kept.append(text[place : match.start()])
            fence = match[1]
        elif match[1].startswith(fence):
            place, fence = match.end(), ""
    if not fence:
        kept.append(text[place:])
    return "\n".join(kept)


@lru_cache(maxsize=32)
def _patterns(marks: tuple[Marks, ...]) -> tuple[re.Pattern[str], re.Pattern[str]]:
    """One pattern for what opens, one for what closes; no marks match nothing."""
    if not marks or not all(len(pair) == 2 and all(pair) for pair in marks):
        raise ValueError(f"marks = {list(marks)!r}; expected pairs of texts, such as [('<think>', '</think>')]")
    opening, closing = ("|".join(re.escape(pair[side]) for pair in marks) for side in (0, 1))
    return re.compile(opening, re.I), re.compile(closing, re.I)
