"""What a judge may say about two answers, as data: the form of a verdict, its JSON schema, and its strict reader.

A judge reads text that the policy wrote, and the policy would like to write the verdict itself. So a verdict is read
from one place only: what is left of the reply after thinking must be *exactly* the verdict, one JSON object with
exactly the asked keys (or one bare label). Prose around it, a second object, a doubled key, a markdown fence, NaN or a
mis-spelt choice make it unreadable; nothing is searched for, nothing repaired. That costs a retry now and then, and
none at all where the engine decodes under the schema, which is what `schema()` is for.

Two kinds of questions can be asked of a pair: which answer is *better* by a criterion, and which of them *break* a
mandatory one. Left out: scores on a scale, because judges agree with themselves far less on numbers than on choices.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, NoReturn

from gyms.response import after_thoughts

__all__ = ["Outcome", "UnreadableVerdict", "Verdict", "VerdictForm", "final_segment"]

MAX_REPLY_CHARS = 20_000
"""Longest reply that is read."""
TIE = "tie"
NEITHER, BOTH = "neither", "both"
REASON_KEY = "reason"


class Outcome(StrEnum):
    """Which of two answers is better, in the order in which they were given."""

    FIRST = "first"
    SECOND = "second"
    TIE = "tie"

    @property
    def swapped(self) -> Outcome:
        """The same outcome, told of the pair in the other order."""
        return {Outcome.FIRST: Outcome.SECOND, Outcome.SECOND: Outcome.FIRST}.get(self, Outcome.TIE)


class UnreadableVerdict(ValueError):
    """A judge's reply is not a verdict of the asked form; the message says what is wrong with it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """What one reply said.

    Example:
        Verdict(better={"clarity": Outcome.FIRST}, broken_by={"initial_praise": frozenset({Outcome.SECOND})})
    """

    better: Mapping[str, Outcome]
    """For each compared criterion, the better answer."""
    broken_by: Mapping[str, frozenset[Outcome]] = field(default_factory=dict)
    """For each mandatory criterion, the answers that break it: a subset of {FIRST, SECOND}."""


@dataclass(frozen=True, slots=True, kw_only=True)
class VerdictForm:
    """Which questions a verdict answers, and how it is written.

    Example:
        VerdictForm(compared=("winner",)).parse('{"winner": "A"}').better == {"winner": Outcome.FIRST}
    """

    compared: tuple[str, ...] = ("winner",)
    """Keys whose value names the better answer."""
    mandatory: tuple[str, ...] = ()
    """Keys whose value names the answers that break a mandatory criterion."""
    labels: tuple[str, str] = ("A", "B")
    """What the first and the second answer are called."""
    allow_tie: bool = True
    """Whether "tie" may be said of a comparison."""
    is_json: bool = True
    """True: a JSON object. False: the label of the better answer and nothing else; needs exactly one comparison."""
    max_reason_chars: int = 0
    """With more than 0 the object starts with a string "reason" of at most this many characters; it is not read."""

    def __post_init__(self) -> None:
        keys = [*self.compared, *self.mandatory]
        if not keys or len(set(keys)) < len(keys) or REASON_KEY in keys:
            raise ValueError(f"a verdict needs different keys, none of them {REASON_KEY!r}; got {keys}")
        if not self.is_json and (len(self.compared) != 1 or self.mandatory):
            raise ValueError("a bare verdict answers one comparison and nothing else")
        said = (*self.choices, *((NEITHER, BOTH) if self.mandatory else ()))
        if len(set(said)) < len(said) or not all(self.labels):
            raise ValueError(f"labels must be two different words, none of them of {said[2:]}; got {self.labels}")

    @property
    def choices(self) -> tuple[str, ...]:
        """What may be said of a comparison."""
        return (*self.labels, TIE) if self.allow_tie else self.labels

    def schema(self) -> dict[str, Any] | None:
        """JSON schema for guided decoding; None for a bare verdict, whose `choices` are the whole grammar."""
        if not self.is_json:
            return None
        properties: dict[str, Any] = {}
        if self.max_reason_chars:
            properties[REASON_KEY] = {"type": "string", "maxLength": self.max_reason_chars}
        for key in self.mandatory:
            properties[key] = {"type": "string", "enum": [NEITHER, *self.labels, BOTH]}
        for key in self.compared:
            properties[key] = {"type": "string", "enum": list(self.choices)}
        return {
            "type": "object",
            "properties": properties,
            "required": list(properties),
            "additionalProperties": False,
        }

    def example(self) -> str:
        """A JSON verdict as it is shown to a judge: with all choices in place of one, so that it leads nowhere."""
        parts = [f'"{REASON_KEY}": "..."'] if self.max_reason_chars else []
        parts += [f'"{key}": "{NEITHER}|{self.labels[0]}|{self.labels[1]}|{BOTH}"' for key in self.mandatory]
        parts += [f'"{key}": "{"|".join(self.choices)}"' for key in self.compared]
        return "{" + ", ".join(parts) + "}"

    def render(self, verdict: Verdict) -> str:
        """The reply that says this verdict: what `parse` turns back into it."""
        said = {key: self._word(verdict.better[key]) for key in self.compared}
        if not self.is_json:
            return said[self.compared[0]]
        broken = {key: self._breakers(verdict.broken_by.get(key, frozenset())) for key in self.mandatory}
        reason = {REASON_KEY: ""} if self.max_reason_chars else {}
        return json.dumps({**reason, **broken, **said})

    def parse(self, reply: str) -> Verdict:
        """The verdict of a reply; UnreadableVerdict where its final segment is anything but one of this form."""
        text = final_segment(reply)
        if not self.is_json:
            return Verdict(better={self.compared[0]: self._outcome(text, "the reply")})
        fields = _one_object(text)
        wanted = [*([REASON_KEY] if self.max_reason_chars else []), *self.mandatory, *self.compared]
        missing = [key for key in wanted if key not in fields]
        extra = sorted(set(fields) - set(wanted))
        if missing or extra:
            raise UnreadableVerdict(f"the verdict lacks {missing} and has the unknown {extra!r:.200}")
        if self.max_reason_chars and not isinstance(fields[REASON_KEY], str):
            raise UnreadableVerdict("the reason is not a string")
        better = {key: self._outcome(fields[key], key) for key in self.compared}
        broken = {key: self._broken(fields[key], key) for key in self.mandatory}
        return Verdict(better=better, broken_by=broken)

    def _outcome(self, said: object, key: str) -> Outcome:
        if not isinstance(said, str) or said not in self.choices:
            raise UnreadableVerdict(f"{key} must be one of {list(self.choices)}, got {said!r:.60}")
        return {self.labels[0]: Outcome.FIRST, self.labels[1]: Outcome.SECOND}.get(said, Outcome.TIE)

    def _broken(self, said: object, key: str) -> frozenset[Outcome]:
        first, second = self.labels
        table = {
            NEITHER: frozenset[Outcome](),
            first: frozenset({Outcome.FIRST}),
            second: frozenset({Outcome.SECOND}),
            BOTH: frozenset({Outcome.FIRST, Outcome.SECOND}),
        }
        if not isinstance(said, str) or said not in table:
            raise UnreadableVerdict(f"{key} must be one of {list(table)}, got {said!r:.60}")
        return table[said]

    def _word(self, outcome: Outcome) -> str:
        return {Outcome.FIRST: self.labels[0], Outcome.SECOND: self.labels[1]}.get(outcome, TIE)

    def _breakers(self, broken_by: frozenset[Outcome]) -> str:
        if len(broken_by) == 2:
            return BOTH
        return self._word(next(iter(broken_by))) if broken_by else NEITHER


def final_segment(reply: str) -> str:
    """What a reply says after thinking, stripped; UnreadableVerdict where thinking never ends or nothing follows it."""
    if len(reply) > MAX_REPLY_CHARS:
        raise UnreadableVerdict(f"the reply has {len(reply)} characters, at most {MAX_REPLY_CHARS} are read")
    tail = after_thoughts(reply)
    if tail is None:
        raise UnreadableVerdict("the reply's thinking never ends")
    if not tail.strip():
        raise UnreadableVerdict("the reply says nothing" + (" after its thinking" if tail != reply else ""))
    return tail.strip()


def _one_object(text: str) -> dict[str, Any]:
    try:
        fields = json.loads(text, object_pairs_hook=_unique, parse_constant=_refuse)
    except UnreadableVerdict:
        raise
    except (ValueError, RecursionError) as error:
        raise UnreadableVerdict(f"the reply is not one JSON object ({error}): {text!r:.80}") from None
    if not isinstance(fields, dict):
        raise UnreadableVerdict(f"the reply is not a JSON object: {text!r:.80}")
    return fields


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    fields = dict(pairs)
    if len(fields) < len(pairs):
        raise UnreadableVerdict("the verdict has a key twice")
    return fields


def _refuse(name: str) -> NoReturn:
    raise UnreadableVerdict(f"{name} is no value of a verdict")
