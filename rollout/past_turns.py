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

It is asked after each reply, while other episodes wait. So where no turn has thoughts it is not asked at all, it is
shown no more of an observation than its ends, which some look at (`<tool_response>`), and what stays of a turn is found
once (`rollout.chat` keeps what stands between turns likewise): over n turns n^2 stand-ins are rendered, and every
observation a few times, however long it is.

Templates that refuse such a conversation (Mistral's want ids of their own form, gpt-oss' a channel) count as templates
that keep all thoughts. One that leaves some out must take turns in any order, which is seen before a run starts: where
it kept all thoughts of some episodes, their contexts would be none that it writes. Left out: rules that depend on what
was thought or said.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Protocol
from weakref import WeakKeyDictionary

from gyms.api import Call, Message, Tool, message, tool_result
from rollout.context import Round
from rollout.thoughts import Thoughts

__all__ = ["FIELD", "RESULT", "Openings", "PastTurns"]

FIELD = "reasoning_content"
"""Of a message, in which some templates read its thoughts."""

RESULT = tool_result(Call(id="call_0_0", tool="probe", arguments={}), "K2RL-OBSERVED")
"""Of a tool, to see what a template makes of one."""

_THOUGHT, _ANSWER = "K2RL-THINKS-{}-", "K2RL-ANSWERS-{}-"
_ASKED = message("user", "What is 1 + 1?")
_SAID = message("user", "Go on.")
_END_CHARS = 64
"""Characters at either end of an observation that a template is shown."""


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
        self._answers: WeakKeyDictionary[Round, tuple[int, ...] | None] = WeakKeyDictionary()

    @cached_property
    def openings(self) -> Openings | None:
        """None where the template leaves no thoughts out.

        Raises:
            ValueError: it leaves thoughts out, and writes a past turn in no way that can be followed.
        """
        for reply in ([_SAID], [RESULT]):
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

    def check(self, result: Message) -> None:
        """Render an episode in which tools and a user answer in turn.

        Args:
            result: of a tool, in the role that the template has for it.

        Raises:
            ValueError: the template leaves thoughts out, and cannot; or it writes the past in no way to be followed.
        """
        if self.openings is not None:
            self.left_out([_ASKED], [[result], [_SAID], [result], [result], [_SAID], [_SAID]], ())

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

        Raises:
            ValueError: the template refuses such a conversation.
        """
        told: list[Mapping[str, Any]] = list(messages)
        for number, reply in enumerate(replies):
            told += [self._turn(number, reply), *map(_ends_of, reply)]
        try:
            shown = self._template(told, tools)
        except Exception as error:  # as above
            roles = ", ".join(dict.fromkeys(m["role"] for m in told))
            raise ValueError(
                "the chat template of model.path leaves the thoughts of earlier turns out, but refuses an episode of "
                f"the roles {roles}: {type(error).__name__}: {' '.join(str(error).split())[:300]}; set "
                'model.earlier_thoughts = "keep", or give model.path a template that renders tool calls'
            ) from error
        return frozenset(
            number
            for number in range(len(replies))
            if _THOUGHT.format(number) not in shown and _ANSWER.format(number) in shown
        )

    def answer_ids(self, one: Round) -> tuple[int, ...] | None:
        """What stays of a turn without its thoughts; None where it has none."""
        if one not in self._answers:
            opening = self.openings.next if self.openings else ""
            is_inside = self._thoughts.opened_by(opening) is not None
            self._answers[one] = self._thoughts.answer_ids(one.turn_ids, begins_inside=is_inside)
        return self._answers[one]

    @cached_property
    def _arguments(self) -> Any:
        """No arguments of a call, as the template takes them: a table, or where it refuses that, the text of one."""
        for written in ({}, "{}"):
            try:
                self._template([_ASKED, self._stand_in(0, [RESULT], arguments=written), RESULT], ())
            except Exception:  # as above
                continue
            return written
        return {}

    def _turn(self, number: int, reply: Sequence[Message]) -> dict[str, Any]:
        """The stand-in for a turn that was answered so."""
        return self._stand_in(number, reply, arguments=self._arguments)

    def _stand_in(self, number: int, reply: Sequence[Message], *, arguments: Any) -> dict[str, Any]:
        thought, answer = _THOUGHT.format(number), _ANSWER.format(number)
        opening, closing = self._thoughts.marks[0]
        turn: dict[str, Any] = {"role": "assistant", "content": f"{opening}{thought}{closing}{answer}"}
        if self._in_field:
            turn |= {"content": answer, FIELD: thought}
        calls = [
            {"id": m["tool_call_id"], "type": "function", "function": {"name": m["name"], "arguments": arguments}}
            for m in reply
            if m["role"] == "tool"
        ]
        return turn | {"tool_calls": calls} if calls else turn


def _ends_of(said: Message) -> Message:
    """A message with the beginning and the end of what it says."""
    content = said["content"]
    return said if len(content) <= 2 * _END_CHARS else {**said, "content": content[:_END_CHARS] + content[-_END_CHARS:]}
