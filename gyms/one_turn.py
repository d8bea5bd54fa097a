"""The other gym of an environment that lends tools to its tasks: where they come from, and who scores the last turn.

An attempt is turns that call tools, until one without a call: that one is the response which the other gym scores.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from gyms.api import (
    Call,
    Environment,
    Episode,
    Gym,
    Message,
    Reply,
    Score,
    Services,
    Status,
    Task,
    Tool,
    Turn,
    message,
    refusal,
    tool_result,
)
from gyms.load import Keys, load_gym
from gyms.response import Response

__all__ = ["MAX_CALLS_A_TURN", "Attempt", "load_one_turn"]

MAX_CALLS_A_TURN = 8
"""Calls of one turn that are run; further ones are told to come in a later turn, so that a turn's time is bounded."""
_CUT_OFF = message("user", "Your turn was cut off. Go on: call a tool, or give your answer.")


def load_one_turn(name: str, args: Mapping[str, Any], services: Services) -> Gym:
    """A gym of one turn by its name, as the settings `gym` and `args` give it.

    Raises:
        ValueError: there is none of that name, or its verifier cannot be asked for the last turn alone.
    """
    gym = load_gym(name, name, args, services, Keys(gym="gym", args="args"))
    faults = {
        "is an environment of many turns itself": isinstance(gym, Environment),
        "needs a judge": gym.needs.judge,
        "scores all siblings of a group together": gym.scores_groups,
        "starts processes or uses the network": gym.needs.processes or gym.needs.network,
        "writes files": bool(gym.needs.writes),
    }
    if fault := next((what for what, is_so in faults.items() if is_so), ""):
        raise ValueError(f"gym = {name!r}: that gym {fault}; expected a gym of one turn, such as gsm8k or math")
    return gym


class Attempt(Episode):
    """One attempt at a task with tools; `run` is what differs.

    Args:
        task: of `inner`, which scores the answer.
        tools: those that may be called; other calls get a helpful reply.
    """

    def __init__(self, task: Task, inner: Gym, tools: Sequence[Tool]) -> None:
        self._task = task
        self._inner = inner
        self._tools = tools
        self._answer: str | None = None
        self._num_calls = 0
        self._num_errors = 0

    @abstractmethod
    def run(self, call: Call) -> tuple[str, bool]:
        """Run a well-formed call: what the model is told, and whether the call failed."""

    def step(self, turn: Turn) -> Reply:
        if turn.calls:
            return Reply(messages=tuple(self._result(call, place) for place, call in enumerate(turn.calls)))
        if turn.is_truncated:
            return Reply(messages=(_CUT_OFF,))
        self._answer = turn.text
        return Reply(is_done=True)

    def score(self) -> Score:
        if self._answer is None:
            score = Score(status=Status.NO_ANSWER, detail="no turn without a call was reached")
        else:
            score = self._inner.score(self._task, Response(self._answer))  # its thoughts are cut
        if score.status.is_masked:
            return score
        counts = {"num_calls": float(self._num_calls), "num_call_errors": float(self._num_errors)}
        return replace(score, components={**score.components, **counts})

    def _result(self, call: Call, place: int) -> Message:
        if call.arguments is None:
            return refusal(call, self._tools)
        if place >= MAX_CALLS_A_TURN:
            return tool_result(
                call, f"Error: not run. At most {MAX_CALLS_A_TURN} calls of one turn are run; call again."
            )
        text, has_failed = self.run(call)
        self._num_calls += 1
        self._num_errors += has_failed
        return tool_result(call, text)
