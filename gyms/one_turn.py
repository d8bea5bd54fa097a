"""The other gym of an environment that lends tools to its tasks: where they come from, and who scores the last turn.

An attempt is turns that call tools, until one without a call: that one is the response which the other gym scores.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from gyms.api import Environment, Gym, Score, Services, Status, Task, Tool
from gyms.episodes.calling import MAX_CALLS_A_TURN, Calling
from gyms.load import Keys, load_gym
from gyms.response import Response

__all__ = ["Attempt", "load_one_turn"]


def load_one_turn(name: str, args: Mapping[str, Any], services: Services, *, has_sandbox: bool) -> Gym:
    """A gym of one turn by its name, as the settings `gym` and `args` give it.

    Args:
        has_sandbox: whether the environment declares that it needs one; the other gym is handed no other.

    Raises:
        ValueError: there is none of that name, or its verifier cannot be asked for the last turn alone.
    """
    gym = load_gym(name, name, args, services, Keys(gym="gym", args="args"))
    faults = {
        "is an environment of many turns itself": isinstance(gym, Environment),
        "needs a judge": gym.needs.judge,
        "runs code in a sandbox, which this environment is not given": gym.needs.sandbox and not has_sandbox,
        "scores all siblings of a group together": gym.scores_groups,
        "starts processes or uses the network": gym.needs.processes or gym.needs.network,
        "writes files": bool(gym.needs.writes),
    }
    if fault := next((what for what, is_so in faults.items() if is_so), ""):
        raise ValueError(f"gym = {name!r}: that gym {fault}; expected a gym of one turn, such as gsm8k or math")
    return gym


class Attempt(Calling):
    """One attempt at a task with tools; `run` is what differs, and says with `num_errors` which calls failed.

    Args:
        task: of `inner`, which scores the answer.
        tools: those that may be called.
    """

    cut_off = "Your turn was cut off. Go on: call a tool, or give your answer."
    max_calls = MAX_CALLS_A_TURN

    def __init__(self, task: Task, inner: Gym, tools: Sequence[Tool]) -> None:
        super().__init__(tools)
        self._task = task
        self._inner = inner
        self.num_errors = 0

    def score(self) -> Score:
        if self.answer is None:
            score = Score(status=Status.NO_ANSWER, detail="no turn without a call was reached")
        else:
            score = self._inner.score(self._task, Response(self.answer))  # its thoughts are cut
        if score.status.is_masked:
            return score
        counts = {"num_calls": float(self.num_calls), "num_call_errors": float(self.num_errors)}
        return replace(score, components={**score.components, **counts})
