"""The section of a config that says when a run stops by itself."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from configs.base import Positive, Section

__all__ = ["AlarmConfig"]


class AlarmConfig(Section):
    """When a run stops by itself, with a checkpoint and the reason, because going on would be of no use."""

    max_gap: Annotated[float, Field(gt=0.0)] | None = 0.1
    """Largest mean difference between the log-probabilities of learner and engine in a step, in nats a token; three
    standard errors above it ring. Equal weights differ by 0.01 to 0.05; lower it where yours do by less. None: off."""
    min_surprise: Annotated[float, Field(gt=0.0)] | None = None
    """Least mean of -log p of the sampled tokens, in nats (an estimate of the entropy), over `window` steps. None: no
    such alarm; what is low depends on the task."""
    max_reward_drop: Annotated[float, Field(gt=0.0)] | None = None
    """How far the mean reward of `window` steps may fall below the best such mean before. None: no such alarm."""
    window: Positive = 10
    """Steps over which `min_surprise` and `max_reward_drop` take their means."""
