"""What a published form of rows is, and the ways into a row."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

__all__ = ["Kind", "RowFormat", "at", "read_json", "text_of"]

Kind = Literal["answer", "code", "instructions", "chat", "conversations"]
"""What rows are for: questions with answers, programs with tests, verifiable instructions, open prompts, and curated
conversations."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RowFormat:
    """One published form: how it is told, and how a row of it becomes one that a gym reads."""

    name: str
    kind: Kind
    published: str
    """Where the columns are from: data sets or libraries whose rows have them."""
    needs: tuple[str, ...]
    """Paths that a row of it has, with a value."""
    lacks: tuple[str, ...] = ()
    """Columns that tell other formats, which a row of this one has not."""
    convert: Callable[[Mapping[str, Any]], Mapping[str, Any]]
    """Raises ValueError, KeyError or TypeError where a row is malformed."""

    def fits(self, row: Mapping[str, Any]) -> bool:
        """Whether a row has the columns."""
        return all(_has(row, path) for path in self.needs) and not any(row.get(name) is not None for name in self.lacks)


def _has(row: Mapping[str, Any], path: str) -> bool:
    try:
        return at(row, path) is not None
    except KeyError:
        return False


def at(row: Any, path: str) -> Any:
    """What a path leads to; KeyError where it leads nowhere.

    Example:
        at({"prompt": [{"content": "Hi"}]}, "prompt.-1.content") == "Hi"
    """
    if isinstance(row, Mapping) and path in row:
        return row[path]
    first, _, rest = path.partition(".")
    if isinstance(row, str):
        row = read_json(row)
    if isinstance(row, Mapping) and first in row:
        found = row[first]
    elif isinstance(row, Sequence) and not isinstance(row, str) and first.lstrip("-").isdecimal():
        try:
            found = row[int(first)]
        except IndexError:
            raise KeyError(path) from None
    else:
        raise KeyError(path)
    return at(found, rest) if rest else found


def read_json(text: str) -> Any:
    """The object or list that a text holds as JSON; None for other texts."""
    if text.lstrip()[:1] not in ("{", "["):
        return None
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return None


def text_of(value: Any) -> str:
    """A question as text: itself, or the user's message of a conversation that has one.

    A system message is left out. ValueError for a conversation of several turns, which one text cannot stand for.
    """
    if isinstance(value, str):
        return value
    if isinstance(value, Sequence) and value and all(isinstance(m, Mapping) for m in value):
        said = [m for m in value if m.get("role") != "system"]
        if len(said) > 1 and said[-1].get("role") == "assistant":
            said = said[:-1]  # the answer comes with the conversation
        if len(said) == 1 and isinstance(said[0].get("content"), str):
            return said[0]["content"]
        raise ValueError(f"a conversation of {len(said)} turns; expected one message of the user")
    raise ValueError(f"a question must be text, or messages of role and content; got {value!r:.80}")
