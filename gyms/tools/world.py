"""What a tool world is: a pure simulator of a domain, and the errands that can be run in it.

A state is plain JSON data. `call(state, tool, arguments)` gives the next state and what the tool says; it changes
nothing in place, asks no clock and draws nothing. So an episode is a function of its turns by construction.

*Facts* are how two states are compared: a multiset of sentences without generated names, so that what was created in
another order, or under another number, is the same. The distance of two states is the number of facts that only one of
them has.

*Errands* are made backwards: a world draws a change that is possible in a state and says it in words that determine the
final state; the calls that make it are known, too. *Gaps* are other words for the same errand which leave one thing
out, with the sentence that tells it: for a user who must be asked (gyms/tools/user.py).
"""

from __future__ import annotations

import json
import random
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

from gyms.api import Tool

__all__ = ["Errand", "Gap", "Result", "State", "World", "as_text", "distance", "tool"]

State = Mapping[str, Any]
"""Plain JSON data."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """What a call does and says."""

    state: State
    """The state behind the call; the same object where it changed nothing."""
    text: str
    """What the model is told; errors begin with "Error: "."""


@dataclass(frozen=True, slots=True)
class Gap:
    """One thing that can be left out of a wish: at least two answers are possible in the state, and no tool tells which
    is meant."""

    topic: str
    """What is left out, one of `gyms.tools.user.TOPICS`."""
    wish: str
    """The wish without it, one sentence."""
    told: str
    """What is said when it is asked for. With `wish`, the final state follows."""
    shown_by: tuple[str, ...] = ()
    """Another wish that holds all of these tells it; none where no other wish can."""

    def is_told_by(self, wish: str) -> bool:
        """Whether another wish of the task tells what this one leaves out."""
        return bool(self.shown_by) and all(text in wish for text in self.shown_by)


@dataclass(frozen=True, slots=True, kw_only=True)
class Errand:
    """One change that somebody wants."""

    subject: str
    """What it is about; a task's errands have different subjects."""
    wish: str
    """The change in words, one sentence, from which the final state follows."""
    calls: tuple[tuple[str, Mapping[str, Any]], ...]
    """Tools and arguments that look up what must be known, and make the change."""
    gaps: tuple[Gap, ...] = ()
    """Things of which one can be left out of the wish; none where all of it can be found out, or nothing is left."""


class World(ABC):
    """One domain. Stateless: a state goes in and comes out."""

    name: ClassVar[str]
    about: ClassVar[str]
    """What the model is told of its place, one sentence."""
    tools: ClassVar[tuple[Tool, ...]]
    max_errands: ClassVar[int] = 8
    """Most errands of a task; no more than there are subjects."""
    topics: ClassVar[tuple[str, ...]]
    """What can be left out of its errands, of `gyms.tools.user.TOPICS`."""

    @abstractmethod
    def begin(self, draw: random.Random) -> State:
        """A first state."""

    @abstractmethod
    def errand(self, draw: random.Random, state: State) -> Errand | None:
        """A change that is possible in this state; None where the draw was of no use."""

    @abstractmethod
    def facts(self, state: State) -> Counter[str]:
        """What is true in a state, without generated names."""

    def call(self, state: State, name: str, arguments: Mapping[str, Any]) -> Result:
        """What a tool does, by its own name, with arguments that fit its schema."""
        return getattr(self, f"do_{name}")(state, **arguments)


def distance(one: Counter[str], other: Counter[str]) -> int:
    """Facts that only one of two states has."""
    return (one - other).total() + (other - one).total()


def tool(name: str, description: str, **properties: Mapping[str, Any]) -> Tool:
    """A tool that wants exactly these properties."""
    parameters = {
        "type": "object",
        "properties": dict(properties),
        "required": list(properties),
        "additionalProperties": False,
    }
    return Tool(name=name, description=description, parameters=parameters)


def as_text(data: Sequence[Any] | Mapping[str, Any]) -> str:
    """What a tool says of its data."""
    return json.dumps(data)
