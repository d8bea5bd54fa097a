"""What a message of a prompt must be: a role that templates know, and text that a tokenizer takes.

Beside it stands which texts of messages and tools are data: what is written there a template must not take for its own.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace

from gyms.api import Message, Tool, message

__all__ = ["as_user", "check_message", "check_text", "joined", "texts_of", "with_texts"]

ROLES = ("system", "user", "assistant")
WRITTEN = ("content", "name")
"""Parts of a message that are data: what was said, and the tool that was called, as the model has written it."""


def check_message(number: int, given: Message) -> None:
    """A message has a role that a template knows, and its content is text."""
    if not isinstance(given, Mapping) or given.keys() != {"role", "content"}:
        raise ValueError(f"message {number} is {given!r:.80}, expected a role and a content, and no more")
    if given["role"] not in ROLES:
        raise ValueError(f"message {number} has the role {given['role']!r:.40}, expected one of {', '.join(ROLES)}")
    if not isinstance(given["content"], str):
        raise ValueError(f"message {number} has a content of type {type(given['content']).__name__}, expected text")


def check_text(text: str) -> None:
    """A lone surrogate is no character: no tokenizer takes it, and no file of UTF-8 can hold it."""
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise ValueError(f"half a surrogate pair (U+{ord(text[error.start]):04X}) is no text") from None


def as_user(result: Message) -> Message:
    """The answer to a tool call for a template that has no role for it."""
    return message("user", f"<tool_response>\n{result['content']}\n</tool_response>")


def joined(messages: Sequence[Message]) -> list[Message]:
    """The messages, those of a user that follow one another as one."""
    found: list[Message] = []
    for m in messages:
        if found and found[-1]["role"] == m["role"] == "user":
            m = message("user", f"{found.pop()['content']}\n{m['content']}")
        found.append(m)
    return found


def texts_of(messages: Sequence[Message], tools: Sequence[Tool]) -> list[str]:
    """All that data says in messages and tools; a tool is one text."""
    said = [m[part] for m in messages for part in WRITTEN if part in m]
    return [*said, *(json.dumps([t.name, t.description, t.parameters], ensure_ascii=False) for t in tools)]


def with_texts(
    messages: Sequence[Message], tools: Sequence[Tool], texts: Sequence[str]
) -> tuple[list[Message], list[Tool]]:
    """The same messages and tools, saying other texts: as many as `texts_of` gives, in its order."""
    left = iter(texts)
    told: list[Message] = [{**m, **{part: next(left) for part in WRITTEN if part in m}} for m in messages]
    shown = []
    for tool in tools:
        name, description, parameters = json.loads(next(left))
        shown.append(replace(tool, name=name, description=description, parameters=parameters))
    return told, shown
