"""What an episode's context becomes where it has grown to its limit: some of it is left out, by a rule of the gym.

| rule | the next turn is sampled behind |
|---|---|
| `fail` | all of it; where that does not fit, the episode ends there |
| `hide_tools` | the prompt and every round, but of earlier rounds the tools' results are hidden (Kimi K2 Thinking) |
| `keep_last` | the prompt and the latest round (Kimi K2.5, on HLE) |
| `discard_all` | the prompt alone (Kimi K2.5, on BrowseComp) |

A round is a turn of the policy and what it was answered. Turns are the tokens that were sampled, never rendered again,
and a result that is hidden is a message of its own; so the context is a function of what was sampled and of the rule.
What a simulated user said is never hidden by `hide_tools`. Thoughts that the chat template leaves out of earlier turns
are another matter (rollout/past_turns.py): they go as soon as it leaves them out, whatever room there is.

Left out: summaries by the model, and forgetting a part of a result.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from gyms.api import Message

__all__ = ["HIDDEN", "Round", "rewritten"]

HIDDEN = "(hidden to save room)"
"""Stands in the place of a result."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False, weakref_slot=True)
class Round:
    """A turn as it was sampled, and what it was answered, in one episode.

    It is itself alone, whatever else says the same: what it becomes as tokens is kept by it (`rollout.chat`).
    """

    turn_ids: tuple[int, ...]
    """Token ids, the end token included."""
    reply: tuple[Message, ...]


def rewritten(rule: str, rounds: Sequence[Round]) -> tuple[Round, ...]:
    """The rounds that stand behind the prompt in the context of the next turn.

    Args:
        rule: `hide_tools`, `keep_last` or `discard_all`.
        rounds: those in the context so far, at least one.
    """
    *earlier, last = rounds
    if rule == "hide_tools":
        return (*map(_without_results, earlier), last)
    return (last,) if rule == "keep_last" else ()


def _without_results(one: Round) -> Round:
    reply = tuple(map(_hidden, one.reply))
    return one if reply == one.reply else Round(turn_ids=one.turn_ids, reply=reply)


def _hidden(said: Message) -> Message:
    return {**said, "content": HIDDEN} if said["role"] == "tool" else said
