r"""One reading of a response: which of its text counts, whatever gym asks. Pure, linear in the response's length.

*Thoughts are cut once, before any gym, by whoever knows the model.* In a run that is the host: it takes the marks of
`model.thoughts`, or those that the model's chat template shows (`marks_of_template`), sees whether the prompt has
opened a thought already, and hands the gym a `Response`: a string that is the answer part, with `whole` beside it.
Thoughts that never end are no answer, whatever they hold; the host then scores `no_answer` and asks no gym. A gym's own
`after_thoughts` or `final_text` leaves a `Response` as it is, so an answer may speak of `<think>` where that is no mark
of this model.

*Where nobody knows the model* (a test, `python -m gyms score`, an adapter) a plain string comes, and `after_thoughts`
cuts it by every pair of marks in use. The rule is the same: what stands before the last mark that ends thinking is no
part of the answer; neither is anything where thinking was begun behind it and never ended: then there is no answer
(None), however right it looks. So `<think>#### 17</think> #### 18` says 18, and `<think>so #### 18` says nothing. A
closing mark alone ends thoughts that the prompt opened.

*Dress.* Characters that nobody sees (gyms/invisible.py) and the many ends of a line (CRLF, CR, NEL, U+2028, U+2029,
form feed) say nothing: `plain` drops the former and makes `\n` of the latter. It is for gyms that read values; a gym
that judges how a text is written, or that runs it, takes `after_thoughts` alone, and `plain_starts` where it looks for
fences.
*Fences.* `without_fences` takes fenced code out, for gyms whose answers stand in prose.

Left out: quotes and comments around a mark. A model that quotes `<think>` in its answer opens thoughts, as it would
for the chat template. Channels of gpt-oss but analysis and final: an answer is what stands behind the final one.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import lru_cache
from typing import Any

from gyms.invisible import INVISIBLE, visible

__all__ = [
    "THOUGHT_MARKS",
    "Marks",
    "Response",
    "after_thoughts",
    "final_text",
    "marks_of_template",
    "plain",
    "plain_starts",
    "whole_of",
    "without_fences",
]

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

_LINE_START = re.compile(f"^[{INVISIBLE}]+", re.M)
_LINE_END = re.compile("\r\n?|[\u0085\u2028\u2029\x0b\x0c]")
_FENCE = re.compile(r"^([ \t]*)(```+|~~~+)", re.M)
_MOST_INDENT = 3
"""A line that is so much deeper than the fence before it does not close it."""


class Response(str):
    """What counts of a response, as the host read it: for a gym a text like any other, with all of it beside.

    Example:
        Response("18", "<think>17?</think>18").whole == "<think>17?</think>18"
    """

    whole: str
    """All that the model wrote, thoughts and their marks included."""
    is_closed: bool
    """False where its thoughts never end: then nothing counts, and the text is empty."""

    def __new__(cls, answer: str | None, whole: str | None = None) -> Response:
        """Args:
        answer: what counts; None where nothing does.
        whole: default: the answer, where nothing was thought.
        """
        made = super().__new__(cls, answer or "")
        made.whole = str(made) if whole is None else str(whole)
        made.is_closed = answer is not None
        return made

    def __reduce__(self) -> tuple[Any, ...]:
        answer = str(self) if self.is_closed else None
        return type(self), ((answer,) if self.whole == answer else (answer, self.whole))


def final_text(response: str, *, marks: Sequence[Marks] = THOUGHT_MARKS) -> str | None:
    """What counts of a response, in plain dress; None where its thoughts are never closed.

    Example:
        final_text("<think>17?</think>\\r\\n18") == "\\n18"
    """
    if isinstance(response, Response):
        return plain(response) if response.is_closed else None
    return after_thoughts(plain(response), marks=marks)


def after_thoughts(response: str, *, marks: Sequence[Marks] = THOUGHT_MARKS, begins_inside: bool = False) -> str | None:
    """The text behind the last mark that closes thoughts; None where thoughts are opened behind it and never closed.

    Args:
        marks: none: nothing is cut.
        begins_inside: whether the prompt has opened thoughts, so that only a closing mark ends them.
    """
    if isinstance(response, Response):
        return str(response) if response.is_closed else None
    opening, closing, beginnings = _patterns(tuple(marks))
    if not any(character in response for character in beginnings):  # nearly all responses: quicker than a search
        return None if begins_inside else response
    end = 0
    for match in closing.finditer(response):
        end = match.end()
    text = response[end:]
    is_open = opening.search(text) is not None or (begins_inside and not end)
    return None if is_open else text


def whole_of(response: str) -> str:
    """All that the model wrote, for a gym that judges thoughts too."""
    return response.whole if isinstance(response, Response) else response


def marks_of_template(template: str | None) -> tuple[Marks, ...]:
    """The marks that a chat template shows; every pair in use where it shows none, or where there is no template."""
    shown = tuple(pair for pair in THOUGHT_MARKS if template and (pair[0] in template or pair[1] in template))
    return shown or THOUGHT_MARKS


def plain(text: str) -> str:
    """The text without characters that nobody sees, its lines ended by `\\n`."""
    if text.isascii() and not any(end in text for end in "\r\x0b\x0c"):
        return text
    return _LINE_END.sub("\n", visible(text))


def plain_starts(text: str) -> str:
    """The text without invisible characters at the beginning of its lines, where they would hide a fence."""
    return text if text.isascii() else _LINE_START.sub("", text)


def without_fences(text: str, *, gap: str = "\n") -> str:
    """The text with fenced code blocks taken out, however they are indented; an unclosed one reaches to the end.

    Args:
        gap: what stands in the place of each.
    """
    kept: list[str] = []
    place, fence, indent = 0, "", 0
    for match in _FENCE.finditer(text):
        if not fence:
            kept.append(text[place : match.start()])
            fence, indent = match[2], len(match[1].expandtabs(4))
        elif match[2].startswith(fence) and len(match[1].expandtabs(4)) <= indent + _MOST_INDENT:
            place, fence = match.end(), ""
    if not fence:
        kept.append(text[place:])
    return gap.join(kept)


@lru_cache(maxsize=32)
def _patterns(marks: tuple[Marks, ...]) -> tuple[re.Pattern[str], re.Pattern[str], str]:
    """One pattern for what opens, one for what closes, and the characters that marks begin with; none match nothing."""
    if not all(len(pair) == 2 and all(pair) for pair in marks):
        raise ValueError(f"marks = {list(marks)!r}; expected pairs of texts, such as [('<think>', '</think>')]")
    opening, closing = ("|".join(re.escape(pair[side]) for pair in marks) or "(?!)" for side in (0, 1))
    firsts = {mark[0] for pair in marks for mark in pair}
    beginnings = "".join(sorted({cased for first in firsts for cased in (first.lower(), first.upper())}))
    return re.compile(opening, re.I), re.compile(closing, re.I), beginnings
