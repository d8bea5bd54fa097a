"""Episodes of an environment with tools: turns that call them, until one without a call, or until a call ends it.

What all of them do alike stands here: a call is answered in its turn, one that could not be read with what the tool
wants; a turn that was cut off is asked to go on; a turn without a call is the answer. What a tool does, and what the
whole is worth, is the environment's.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from typing import ClassVar

from gyms.episodes.episode import Call, Episode, Message, Reply, Tool, Turn, refusal, tool_result

__all__ = ["MAX_CALLS_A_TURN", "Calling"]

MAX_CALLS_A_TURN = 8
"""Calls of one turn that are run where each may take seconds."""


class Calling(Episode):
    """One attempt at a task with tools; `run` and `score` are what differs.

    Args:
        tools: those that may be called; other calls get a helpful reply.
    """

    cut_off: ClassVar[str] = "Your turn was cut off. Go on, with shorter turns."
    """What is said to a turn without a call that its budget ended."""
    max_calls: ClassVar[int | None] = None
    """Calls of one turn that are run; further ones are told to come in a later turn, so that a turn's time is bounded.
    None: all, where a call takes no time to speak of."""

    def __init__(self, tools: Sequence[Tool]) -> None:
        self._tools = tools
        self.num_calls = 0
        """Well-formed calls so far."""
        self.answer: str | None = None
        """What was said by a turn that called nothing."""
        self.is_over = False
        """Set by a call that ends the episode; what its turn calls behind it is left alone."""

    @abstractmethod
    def run(self, call: Call) -> str:
        """Run a well-formed call: what the model is told."""

    def step(self, turn: Turn) -> Reply:
        if not turn.calls:
            if turn.is_truncated:
                return Reply(messages=({"role": "user", "content": self.cut_off},))
            self.answer = turn.text
            return Reply(is_done=True)
        said: list[Message] = []
        for place, call in enumerate(turn.calls):
            said.append(self._result(call, place))
            if self.is_over:
                break
        return Reply(messages=tuple(said), is_done=self.is_over)

    def _result(self, call: Call, place: int) -> Message:
        if call.arguments is None:
            return refusal(call, self._tools)
        if self.max_calls is not None and place >= self.max_calls:
            return tool_result(call, f"Error: not run. At most {self.max_calls} calls of one turn are run; call again.")
        self.num_calls += 1
        return tool_result(call, self.run(call))
