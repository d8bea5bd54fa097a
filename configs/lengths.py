"""Sections of a config about the length of responses: what exceeding a budget costs, and what brevity earns."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, model_validator

from configs.base import Fraction, NonNegative, Positive, Section

__all__ = ["LengthRewardConfig", "ToggleConfig", "TruncationConfig"]


class TruncationConfig(Section):
    """What becomes of a response that ran into its budget; applied once, before any verifier."""

    rule: Literal["penalty", "mask", "ramp"] = "penalty"
    """`penalty`: the reward is `reward`, kept in the group (Kimi K2). `mask`: left out of group and loss. `ramp`: as
    `penalty`, and what ends within `ramp_tokens` of the budget loses a part of `-reward` (soft overlong punishment,
    DAPO)."""
    reward: float = 0.0
    """Reward of a truncated sample under `penalty` and `ramp`, in [-1, 1]; below 0 under `ramp`."""
    ramp_tokens: Positive | None = None
    """Tokens before the budget over which `ramp` rises from nothing to `-reward`."""

    @model_validator(mode="after")
    def _reward_in_range(self) -> TruncationConfig:
        if not -1.0 <= self.reward <= 1.0:
            raise ValueError(f"truncation.reward must lie in [-1, 1], got {self.reward}")
        if self.rule == "ramp" and (self.ramp_tokens is None or self.reward >= 0.0):
            raise ValueError(
                f'truncation.rule = "ramp" needs truncation.ramp_tokens, got {self.ramp_tokens}, and a '
                f"truncation.reward below 0, got {self.reward}"
            )
        if self.rule != "ramp" and self.ramp_tokens is not None:
            raise ValueError(f'truncation.ramp_tokens has no meaning for truncation.rule = "{self.rule}"; remove one')
        return self


class LengthRewardConfig(Section):
    """A reward for right answers that are shorter than their siblings (Kimi K1.5, section 2.3.3; docs/algorithm.md)."""

    coef: Annotated[float, Field(ge=0.0, le=1.0)] = 0.0
    """Weight of the length reward, which is in [-0.5, 0.5], beside the gym's. 0: none."""
    from_step: NonNegative = 0
    """First step that has it: it slows the beginning of training."""


class ToggleConfig(Section):
    """Phases with a token budget for each task, in turn with phases without (Kimi K2.5's Toggle; docs/algorithm.md)."""

    period: Positive | None = None
    """Steps of a phase; the first one has budgets. None: no phases and no such budgets."""
    from_step: NonNegative = 0
    """First step of the first phase."""
    min_mean: Fraction = 0.8
    """Least mean reward of the siblings for the budget to count: a task that is not yet solved may think on."""
    quantile: Annotated[float, Field(gt=0.0, le=1.0)] = 0.75
    """A task's budget is this quantile of the lengths of its right responses, when there first are any."""
