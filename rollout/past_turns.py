"""Which thoughts of earlier turns a chat template leaves out, so that an episode is sampled as the model is served.

Many models that think are served without the thoughts of turns that are past, and their templates say which those are:

| template | shows the thoughts |
|---|---|
| Qwen 3 | of turns behind the last message of a user: a loop of tool calls keeps them |
| Kimi K2 Thinking | of turns behind the last one that called no tool |
| DeepSeek R1 | of no earlier turn |
| one without a rule (ChatML) | of all turns |

*A template is asked, not known by name*: the conversation is rendered with stand-ins for its thoughts and answers, and
a thought that does not appear is left out. Thoughts are handed over as `reasoning_content` where the template speaks
of it, else between the model's marks; turns that were answered by tools are shown with calls, since K2 Thinking looks
at those. What opens a turn may differ, too: where a prompt ends with `<think>`, a past turn begins without it.

Templates that refuse such a conversation (Mistral's want ids of their own form, gpt-oss' a channel) count as templates
that keep all thoughts. Left out: rules that depend on what was thought or said.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import Any, Protocol

from gyms.api import Call, Message, Tool, message, tool_result
from rollout.thoughts import Thoughts

__all__ = ["FIELD", "Openings", "PastTurns"]

FIELD = "reasoning_content"
"""Of a message, in which some templates read its thoughts."""

_THOUGHT, _ANSWER = "K2RL-THINKS-{}-", "K2RL-ANSWERS-{}-"
_ASKED = message("user", "What is 1 + 1?")
_RESULT = tool_result(Call(id="call_0_0", tool="probe", arguments={}), "K2RL-OBSERVED")


class Template(Protocol):
    """A chat template. May raise anything."""

    def __call__(self, messages: Sequence[Mapping[str, Any]], tools: Sequence[Tool], *, opens: bool = True) -> str: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Openings:
    """What a template puts in front of what the model writes."""

    next: str
    """In front of the turn that it is to write."""
    past: str
    """In front of an earlier turn whose thoughts are left out."""


class PastTurns:
    """Asks one template.

    Args:
        template: renders messages, with the opening of the next turn behind them unless it is told otherwise.
        thoughts: of the model, which has some.
        in_field: the template reads thoughts in `reasoning_content`.
    """

    def __init__(self, template: Template, thoughts: Thoughts, *, in_field: bool) -> None:
        self._template = template
        self._thoughts = thoughts
        self._in_field = in_field
        self.answer_ids = lru_cache(maxsize=4096)(self._answer_ids)

    @cached_property
    def openings(self) -> Openings | None:
        """None where the template leaves no thoughts out.

        Raises:
            ValueError: it leaves thoughts out, and writes a past turn in no way that can be followed.
        """
        for reply in ([message("user", "Go on.")], [_RESULT]):
            try:
                shown = self._template([_ASKED, self._turn(0, reply), *reply], ())
                before, opened = self._template([_ASKED], (), opens=False), self._template([_ASKED], ())
            except Exception:  # the template is the model's code, and may raise anything
                continue
            if _THOUGHT.format(0) in shown or _ANSWER.format(0) not in shown:
                continue
            past = shown[: shown.index(_ANSWER.format(0))]
            if not (past.startswith(before) and opened.startswith(before)):
                raise ValueError(
                    "the chat template of model.path leaves the thoughts of earlier turns out, and writes anew what "
                    'stands before them; set model.earlier_thoughts = "keep"'
                )
            return Openings(next=opened[len(before) :], past=past[len(before) :])
        return None

    def opened(self, rendered: str) -> str:
        """What was rendered up to the next turn, as it stands in front of a past one without thoughts."""
        return rendered.removesuffix(self.openings.next) + self.openings.past if self.openings else rendered

    def left_out(
        self, messages: Sequence[Message], replies: Sequence[Sequence[Message]], tools: Sequence[Tool]
    ) -> frozenset[int]:
        """The numbers of the turns whose thoughts the template leaves out, had they any.

        Args:
            messages: the prompt of the episode.
            replies: to each turn so far.
            tools: that the template shows.
        """
        told: list[Mapping[str, Any]] = list(messages)
        for number, reply in enumerate(replies):
            told += [self._turn(number, reply), *reply]
        try:
            shown = self._template(told, tools)
        except Exception:  # as above
            return frozenset()
        return frozenset(
            number
            for number in range(len(replies))
            if _THOUGHT.format(number) not in shown and _ANSWER.format(number) in shown
        )

    def _answer_ids(self, turn_ids: tuple[int, ...]) -> tuple[int, ...] | None:
        """What stays of a turn without its thoughts; None where it has none."""
        opening = self.openings.next if self.openings else ""
        return self._thoughts.answer_ids(turn_ids, begins_inside=self._thoughts.opened_by(opening) is not None)

    def _turn(self, number: int, reply: Sequence[Message]) -> dict[str, Any]:
        """The stand-in for a turn that was answered so."""
        thought, answer = _THOUGHT.format(number), _ANSWER.format(number)
        opening, closing = self._thoughts.marks[0]
        turn: dict[str, Any] = {"role": "assistant", "content": f"{opening}{thought}{closing}{answer}"}
        if self._in_field:
            turn |= {"content": answer, FIELD: thought}
        calls = [
            {"id": m["tool_call_id"], "type": "function", "function": {"name": m["name"], "arguments": {}}}
            for m in reply
            if m["role"] == "tool"
        ]
        return turn | {"tool_calls": calls} if calls else turn
