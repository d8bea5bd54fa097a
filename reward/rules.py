"""From a score to a reward: which faults count against the model, which are masked, and when to stop the run.

Pure functions. The rule of the house: broken machinery masks, a bad answer scores. A response that its budget cut off
is neither right nor wrong; it has its own rule, applied here once, and no verifier ever sees it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

from gyms.api import Score, Status

__all__ = ["Reward", "TooManyFaults", "TruncationRule", "check_masked_rate", "reward_of"]


@dataclass(frozen=True, slots=True, kw_only=True)
class TruncationRule:
    """What becomes of a response that ran into its budget, or was stopped in a loop.

    Example:
        TruncationRule(rule="penalty", reward=-0.5)
    """

    rule: Literal["penalty", "mask", "ramp"] = "penalty"
    """`penalty`: the sample gets `reward` and stays in its group (Kimi K2). `mask`: left out of group and loss. `ramp`:
    as `penalty`; what a response that nearly is truncated loses is in `rl.shaping`."""
    reward: float = 0.0
    """Reward under `penalty` and `ramp`."""
    ramp_tokens: int | None = None
    """Of `ramp`: tokens before the budget over which it rises."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Reward:
    """What one sample contributes to learning.

    Example:
        Reward(value=1.0, is_masked=False)
    """

    value: float
    """What the verifier or a rule gave; 0 where masked, and then it must not be used."""
    is_masked: bool
    """True: out of the group mean and out of the loss."""
    length: float = 0.0
    """What the response's length earned (`rl.shaping`)."""
    is_over_budget: bool = False
    """Right, and not paid, for more tokens than its task's budget (`reward.toggle`)."""

    @property
    def total(self) -> float:
        """The scalar in the loss."""
        return self.value + self.length


class TooManyFaults(RuntimeError):
    """More samples were masked for faults of ours than the run tolerates."""


def reward_of(score: Score, *, minimum: float, truncation: TruncationRule) -> Reward:
    """The reward of a score; `minimum` is the gym's reward for faults of the model.

    Example:
        reward_of(Score(status=Status.NO_ANSWER), minimum=0.0, truncation=TruncationRule()) is
        Reward(value=0.0, is_masked=False)
    """
    if score.status is Status.OK:
        assert score.value is not None  # Score refuses to be built otherwise
        return Reward(value=float(score.value), is_masked=False)
    if score.status is Status.TRUNCATED:
        if truncation.rule == "mask":
            return Reward(value=0.0, is_masked=True)
        return Reward(value=truncation.reward, is_masked=False)
    if score.status.is_masked:
        return Reward(value=0.0, is_masked=True)
    return Reward(value=minimum, is_masked=False)


def check_masked_rate(num_masked: int, num_total: int, max_frac: float, causes: Iterable[str]) -> None:
    """Raise TooManyFaults when more than `max_frac` of the samples were masked; `causes` are their details.

    Samples masked by the truncation rule are not faults: count only those with `score.status.is_masked`.
    """
    if num_total == 0 or num_masked <= max_frac * num_total:
        return
    ((cause, count),) = Counter(causes).most_common(1) or [("no cause was recorded", num_masked)]
    raise TooManyFaults(
        f"{num_masked} of {num_total} samples ({num_masked / num_total:.0%}) were masked for faults of the pipeline, "
        f"more than reward.max_masked_frac = {max_frac:g} allows. Most frequent cause ({count} samples): {cause}. "
        f"Repair it, or raise reward.max_masked_frac"
    )
