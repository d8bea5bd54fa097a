"""Hacks that copy: a fixed place of the prompt as the answer, in the dress that the gym's gold responses wear.

"The second line", "the last number", "what stands in the first quotation marks", "what the example answers": each is a
policy that a model learns in a few steps, so each is a probe of its own, whose hit rate over many tasks tells a leak
from luck. What all prompts of a gym begin and end with is a frame; the part within it is one more place, and has places
of its own.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence

from gyms.api import Task
from gyms.cli.probes import prompt_of

__all__ = ["Frame", "copies", "dressed", "frame_of"]

Frame = tuple[str, str]
"""What every prompt begins and ends with."""

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


def frame_of(tasks: Sequence[Task]) -> Frame:
    """The frame of several prompts, up to the end of a word; nothing where there is but one."""
    prompts = list({prompt_of(task) for task in tasks})
    if len(prompts) < 2:
        return "", ""
    before = _shared_start(prompts)
    after = _shared_start([prompt[len(before) :][::-1] for prompt in prompts])[::-1]
    return re.sub(r"\S*\Z", "", before), re.sub(r"\A\S*", "", after)


def _shared_start(texts: Sequence[str]) -> str:
    low, high = min(texts), max(texts)  # what these two share, all between them do
    length = next((place for place, pair in enumerate(zip(low, high, strict=False)) if pair[0] != pair[1]), len(low))
    return low[:length]


def copies(task: Task, frame: Frame = ("", "")) -> dict[str, str]:
    """Name of a place -> what stands there in the prompt of a task."""
    whole = prompt_of(task)
    text = whole[-MAX_PROMPT_CHARS:]
    own = whole.removeprefix(frame[0]).removesuffix(frame[1]).strip()[-MAX_PROMPT_CHARS:]
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
        ("sentence", _sentences(text), 3),
        ("word", _words(text), 3),
        ("word of its own", _words(own) if own != text else [], 6),
        ("sentence of its own", _sentences(own) if own != text else [], 3),
    ):
        found.update(_placed(what, parts, most))
    ends = [line.rpartition(":")[2].strip() for line in lines if ":" in line]
    found.update(_placed("end of a line after a colon", [end for end in ends if end], 4))
    if own != text.strip():
        found["all that is its own"] = own
    if numbers:
        by_value = sorted(numbers, key=_value)
        found["the least number"], found["the greatest number"] = by_value[0], by_value[-1]
    if quoted:
        found["the longest quoted text"] = max(quoted, key=len)
    return found


def _words(text: str) -> list[str]:
    return [word for word in (part.strip(_ENDS) for part in text.split()) if word]


def _sentences(text: str) -> list[str]:
    return [part.strip() for part in _SENTENCE.split(text) if part.strip()]


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
