"""The other gym of an environment that lends tools to its tasks: where they come from, and who scores the last turn."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from gyms.api import Environment, Gym, Services
from gyms.load import Keys, load_gym

__all__ = ["load_one_turn"]


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
