"""The user of a task who has left something out, and is asked: a script, or what a model is told that plays this user.

What is left out of a wish is one of its *gaps* (gyms/tools/world.py). The user tells what a question names and nothing
else; what stands in the prompt is not told again. The script's answer is a function of what was left out and the
question; a model's is a part of the turn (gyms/episodes/episode.py). Either way an episode is a function of its turns.

The model is told what the user has said and what was left out: that is all that a user knows. What the errands come to
(the calls, the states, what has to be looked up) is not told, so no question gets it out of the user.

To the script a question names a topic by any of a few words, in the singular or the plural. That is all it
understands: it is no test of good questions, and one that names every topic is told everything. A question that names
nothing of what can be left out in this world is answered with all of that, whatever was left out. Where a task has
several wishes, the answer says the wish's number.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from functools import lru_cache
from itertools import pairwise
from typing import Any

from gyms.api import Tool
from gyms.tools.shop import KINDS
from gyms.tools.world import tool

__all__ = [
    "ASK_USER", "MAX_QUESTION_CHARS", "NOTHING", "TOPICS", "answer", "ask_user", "not_understood", "persona", "question"
]  # fmt: skip

MAX_QUESTION_CHARS = 200
"""Longest question."""
NOTHING = "I have nothing to add to that. Ask for one thing that you need to know, or do what I asked for."
"""What is said to a question about something that was not left out."""
ASK_USER = "ask_user"
"""The name of the tool."""

_WHICH_KIND = [f"which {kind}" for kind in KINDS]
TOPICS: Mapping[str, tuple[str, frozenset[str]]] = {
    "account": ("From which account?", frozenset({"account", "from?", "source", "where"})),
    "address": ("To which address?", frozenset({"address", "destination", "street", "where"})),
    "amount": (
        "How much money?",
        frozenset({"amount", "balance", "cent", "hold", "much", "raise", "sum", "total", "value"}),
    ),
    "colour": ("Which colour?", frozenset({"color", "colour", "which one", "which product", *_WHICH_KIND})),
    "day": ("On which day?", frozenset({"date", "day", "weekday", "when"})),
    "folder": ("Into which folder?", frozenset({"destination", "directory", "folder", "where"})),
    "guests": (
        "Which guests?",
        frozenset({"attendee", "guest", "invite", "participant", "people", "person", "who", "whom"}),
    ),
    "length": (
        "How long does it take, in minutes?",
        frozenset({"duration", "end", "hour", "last", "length", "long", "minute", "take", "until"}),
    ),
    "line": ("Which line?", frozenset({"add", "append", "content", "line", "sentence", "text"})),
    "name": ("What is the new name?", frozenset({"call", "called", "filename", "name", "rename", "title"})),
    "nights": ("For how many nights?", frozenset({"duration", "length", "long", "night", "stay", "until"})),
    "purpose": ("For what purpose?", frozenset({"for?", "purpose", "reason", "reference", "why"})),
    "quantity": ("How many?", frozenset({"amount", "count", "many", "much", "number", "quantity"})),
    "stars": ("How many stars?", frozenset({"class", "good", "quality", "rating", "star"})),
    "time": ("At what time?", frozenset({"begin", "clock", "hour", "start", "time", "when"})),
}
"""What can be left out -> the question that asks for it, and the words, or pairs of them, in the singular, of which one
must be in a question; `for?` is the last word."""


@lru_cache
def ask_user(topics: tuple[str, ...]) -> Tool:
    """The tool, for a world in which these can be left out."""
    return tool(
        ASK_USER,
        f"Asks the user for something that was left out: {_listed(topics)}.",
        question={"type": "string", "minLength": 1, "maxLength": MAX_QUESTION_CHARS},
    )


def not_understood(topics: Sequence[str]) -> str:
    """What is said, while something was left out, to a question that names nothing that could be."""
    return f"I did not understand that; name the one thing you need: {_listed(topics)}."


def question(topic: str) -> str:
    """A question that is understood as one for this topic."""
    return TOPICS[topic][0]


def answer(withheld: Sequence[Mapping[str, Any]], asked: str, topics: Sequence[str] = tuple(TOPICS)) -> str:
    """What the user says to a question.

    Args:
        withheld: what was left out, each with a `topic` and what is `told` of it.
        topics: what can be left out in this world.

    Example:
        answer([{"topic": "time", "told": "It is at 10:00."}], "When should it start?") == "It is at 10:00."
    """
    named = _named(asked, {*topics, *(gap["topic"] for gap in withheld)})
    told = " ".join(gap["told"] for gap in withheld if gap["topic"] in named)
    return told or (not_understood(topics) if withheld and not named else NOTHING)


def persona(said: str, withheld: Sequence[Mapping[str, Any]]) -> str:
    """What a model is told that plays the user.

    Args:
        said: what the user asked for.
        withheld: as of `answer`.
    """
    told = "\n".join(f"- {gap['told']}" for gap in withheld) or "- nothing"
    return (
        f"You are a user who said this to an assistant:\n\n{said}\n\nYou left out, and know:\n{told}\n\n"
        "The assistant asks you the question below. Answer it in one short sentence, as the user, with what you know. "
        "Tell only what the question asks for. Where you do not know it, say so, and make nothing up."
    )


def _named(asked: str, topics: set[str]) -> set[str]:
    """The topics that a question names."""
    words = re.findall(r"[a-z]+", asked.casefold())
    said = [*words, *map(" ".join, pairwise(words)), *(f"{word}?" for word in words[-1:])]
    singular = {*said, *(text.removesuffix("s") for text in said)}
    return {topic for topic in topics if singular & TOPICS[topic][1]}


def _listed(topics: Sequence[str]) -> str:
    return " or ".join([", ".join(topics[:-1]), topics[-1]] if len(topics) > 1 else topics)
