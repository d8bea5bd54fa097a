"""Sections of a config about the length of responses: what exceeding a budget costs, what brevity earns, and loops."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, model_validator

from configs.base import Fraction, NonNegative, Positive, Section

__all__ = ["LengthRewardConfig", "RepetitionConfig", "ToggleConfig", "TruncationConfig"]


class TruncationConfig(Section):
    """What becomes of a response that ran into its budget or was stopped in a loop; applied once, before verifiers."""

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
    """A task's budget is this quantile of the lengths of its right responses, when there first are any: it holds from
    the next time on that the task is asked, so within a first epoch only with `rollout.prompts.rates`."""


class RepetitionConfig(Section):
    """Early stop of responses that repeat themselves, in training (rollout/repetition.py); they are truncated."""

    min_count: Annotated[int, Field(ge=2)] | None = None
    """A response, or a turn of an episode, is stopped when it ends in one pattern of tokens so many times in a row; its
    score is that of the truncated (`reward.truncation`). None: no early stop."""
    min_pattern_tokens: Positive = 1
    """Tokens of the shortest pattern. With 1, `min_count` equal tokens in a row are a loop: zeros, blanks, rules of
    tables among them."""
    max_pattern_tokens: Annotated[int, Field(gt=0, le=1024)] = 64
    """Tokens of the longest pattern; each token that is drawn is compared with so many before it."""

    @model_validator(mode="after")
    def _shortest_is_not_longer(self) -> RepetitionConfig:
        if self.min_pattern_tokens > self.max_pattern_tokens:
            raise ValueError(
                f"rollout.repetition.min_pattern_tokens = {self.min_pattern_tokens} is more than "
                f"rollout.repetition.max_pattern_tokens = {self.max_pattern_tokens}; lower it, or raise the other"
            )
        return self
