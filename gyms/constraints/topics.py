"""What the procedural prompts are about: topics with the words that belong to them and sentences to build gold from.

They stand in topics.txt: a paragraph each, its name and words in the first line, then a sentence a line. Every sentence
names its topic, stands by itself, and has neither comma, digit nor exclamation mark, so that any choice
and order of sentences is a text on the topic which most instructions can be laid over.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

__all__ = ["TOPICS", "Topic"]


@dataclass(frozen=True, slots=True)
class Topic:
    """One topic."""

    name: str
    """As prompts name it, e.g. "a river"."""
    words: tuple[str, ...]
    """Words of which an honest response has at least one (or a form of it)."""
    sentences: tuple[str, ...]
    """Sentences for gold responses."""


def _topic(paragraph: str) -> Topic:
    head, *sentences = paragraph.splitlines()
    name, _, words = head.partition(": ")
    return Topic(name=name, words=tuple(words.split()), sentences=tuple(sentences))


_TEXT = Path(__file__).with_name("topics.txt").read_text(encoding="utf-8")
TOPICS: tuple[Topic, ...] = tuple(map(_topic, _TEXT.strip().split("\n\n")))
