"""The user of a task who has left something out, and is asked: a script, without a model.

What is left out of a wish is one of its *gaps* (gyms/tools/world.py). The user tells what a question names and nothing
else; what stands in the prompt is not told again. The answer is a function of what was left out and the question: an
episode stays a function of its turns.

A question names a topic by any of a few words. That is all the script understands: it is no test of good questions, and
one that names every topic is told everything. Where a task has several wishes, the answer says the wish's number.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from gyms.tools.world import tool

__all__ = ["ASK_USER", "MAX_QUESTION_CHARS", "NOTHING", "TOPICS", "answer", "question"]

MAX_QUESTION_CHARS = 200
"""Longest question."""
NOTHING = "I have nothing to add to that. Ask for one thing that you need to know, or do what I asked for."
"""What is said to a question about nothing that was left out."""
ASK_USER = tool(
    "ask_user",
    "Asks the user for something that was left out.",
    question={"type": "string", "minLength": 1, "maxLength": MAX_QUESTION_CHARS},
)

TOPICS: Mapping[str, tuple[str, frozenset[str]]] = {
    "account": ("From which account?", frozenset({"account", "accounts"})),
    "address": ("To which address?", frozenset({"address", "where"})),
    "amount": ("How much money?", frozenset({"amount", "balance", "cents", "money", "much", "sum"})),
    "colour": ("Which colour?", frozenset({"color", "colour"})),
    "day": ("On which day?", frozenset({"date", "day", "when"})),
    "folder": ("Into which folder?", frozenset({"folder", "where"})),
    "guests": ("Which guests?", frozenset({"guest", "guests", "who", "whom"})),
    "length": ("How long does it take, in minutes?", frozenset({"duration", "length", "long", "minutes"})),
    "line": ("Which line?", frozenset({"line", "text"})),
    "name": ("What is the new name?", frozenset({"call", "called", "name"})),
    "nights": ("For how many nights?", frozenset({"long", "nights"})),
    "purpose": ("For what purpose?", frozenset({"purpose", "reason"})),
    "quantity": ("How many?", frozenset({"many", "number", "quantity"})),
    "stars": ("How many stars?", frozenset({"stars"})),
    "time": ("At what time?", frozenset({"begin", "clock", "hour", "start", "time", "when"})),
}
"""What can be left out -> the question that asks for it, and the words of which one must be in a question."""


def question(topic: str) -> str:
    """A question that is understood as one for this topic."""
    return TOPICS[topic][0]


def answer(withheld: Sequence[Mapping[str, Any]], asked: str) -> str:
    """What the user says to a question.

    Args:
        withheld: what was left out, each with a `topic` and what is `told` of it.

    Example:
        answer([{"topic": "time", "told": "It is at 10:00."}], "When should it start?") == "It is at 10:00."
    """
    words = set(re.findall(r"[a-z]+", asked.casefold()))
    return " ".join(gap["told"] for gap in withheld if words & TOPICS[gap["topic"]][1]) or NOTHING
