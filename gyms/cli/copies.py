"""Hacks that copy: a fixed place of the prompt as the answer, in the dress that the gym's gold responses wear.

"The second line", "the last number", "what stands in the first quotation marks", "what the example answers": each is a
policy that a model learns in a few steps, so each is a probe of its own, whose hit rate over many tasks tells a leak
from luck.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence

from gyms.api import Task
from gyms.cli.probes import prompt_of

__all__ = ["copies", "dressed"]

MAX_PROMPT_CHARS = 20_000
"""Longest part of a prompt that is cut into places."""
MAX_DRESS_CHARS = 60
"""Longest text around the answer of a gold response that is kept: more of it would be its reasoning."""

_MARK = re.compile(r"[.\s]*(?:[-*\u2022]|\(?(?:\d{1,3}|[A-Za-z])[.):])\s+(?=\S)")
_NUMBER = re.compile(r"(?<![\w.])-?\d{1,30}(?:[.,/]\d{1,30})*")
_QUOTED = re.compile(r"\"([^\"\n]{1,500})\"|'([^'\n]{1,500})'|`([^`\n]{1,500})`|\u201c([^\u201d\n]{1,500})\u201d")
_BRACKETED = re.compile(r"\[[^\[\]\n]{0,500}\]|\([^()\n]{1,500}\)|\{[^{}\n]{0,500}\}")
_LABELLED = re.compile(
    r"^[ \t]*(?:the )?(?:final )?(?:output|answer|result|solution|response|a)\b[^\n:]{0,40}:[ \t]*(\S[^\n]*)",
    re.IGNORECASE | re.MULTILINE,
)
_BLANK = re.compile(r"\n[ \t]*\n\s*")
_SENTENCE = re.compile(r"(?<=[.!?])\s+|\n+")
_ENDS = " \t\n.,;:!?\"'`*()[]{}<>"


def copies(task: Task) -> dict[str, str]:
    """Name of a place -> what stands there in the prompt of a task."""
    text = prompt_of(task)[-MAX_PROMPT_CHARS:]
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    items = [_MARK.sub("", line, count=1).strip() for line in lines if _MARK.match(line)]
    numbers = [found.rstrip(".,/") for found in _NUMBER.findall(text)]
    quoted = [next(filter(None, groups)) for groups in _QUOTED.findall(text)]
    found: dict[str, str] = {}
    for what, parts, most in (
        ("line", lines, 12),
        ("list item", items, 8),
        ("number", numbers, 8),
        ("quoted text", quoted, 6),
        ("bracketed text", _BRACKETED.findall(text), 6),
        ("labelled answer", [answer.strip() for answer in _LABELLED.findall(text)], 4),
        ("paragraph", [part.strip() for part in _BLANK.split(text) if part.strip()], 6),
        ("sentence", [part.strip() for part in _SENTENCE.split(text) if part.strip()], 3),
        ("word", [word for word in (part.strip(_ENDS) for part in text.split()) if word], 3),
    ):
        found.update(_placed(what, parts, most))
    ends = [line.rpartition(":")[2].strip() for line in lines if ":" in line]
    found.update(_placed("end of a line after a colon", [end for end in ends if end], 4))
    if numbers:
        by_value = sorted(numbers, key=_value)
        found["the least number"], found["the greatest number"] = by_value[0], by_value[-1]
    if quoted:
        found["the longest quoted text"] = max(quoted, key=len)
    return found


def _placed(what: str, parts: Sequence[str], most: int) -> Iterator[tuple[str, str]]:
    """The first and the last parts, named by their place."""
    for place, part in enumerate(parts[:most]):
        yield f"{what} {place + 1}", part
    for place, part in enumerate(parts[::-1][:most]):
        yield f"{what} {place + 1} from the end", part


def _value(number: str) -> float:
    try:
        return float(number.replace(",", "").partition("/")[0])
    except ValueError:  # a version, an address
        return 0.0


def dressed(task: Task, golds: Mapping[str, str], text: str) -> str:
    """A text in the place where the task's gold response has the answer, without what leads to it."""
    gold, answer = golds.get(task.id), task.data.get("answer")
    if gold is None or not isinstance(answer, str | int | float) or not str(answer):
        return text
    before, found, after = gold.rpartition(str(answer))
    if not found or len(after) > MAX_DRESS_CHARS:
        return text
    if len(before) > MAX_DRESS_CHARS:
        before = before.rpartition("\n")[2][-MAX_DRESS_CHARS:]
    return f"{before}{text}{after}"
