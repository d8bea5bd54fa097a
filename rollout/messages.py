"""What a message of a prompt must be: a role that templates know, and text that a tokenizer takes."""

from __future__ import annotations

from collections.abc import Mapping

from gyms.api import Message

__all__ = ["check_message", "check_text"]

ROLES = ("system", "user", "assistant")


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
