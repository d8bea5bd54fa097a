"""How sure a number of a step is: 95 % bands. Pure functions.

The unit is the draw (of an evaluation: the task), never the sample: siblings answer the same prompt and are no
independent observations. Of a rate the band is Wilson's (1927), which stays within [0, 1] and has a width where all are
right. Where siblings differ that is a little too wide, and never too narrow. Of any other reward it is the normal
band, mean -+ 1.96 standard errors over the draws' means.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from rl.intervals import Z, wilson
from rl.page.stored import number

__all__ = ["Band", "accuracy_band", "percentile", "reward_band"]


class Band(NamedTuple):
    """A value and the ends of its band."""

    value: float
    low: float
    high: float


def reward_band(draws: Sequence[Sequence[float]]) -> Band | None:
    """Of the mean over all samples.

    Args:
        draws: of each draw the unmasked rewards of its siblings; those without any do not count.
    """
    draws = [rewards for rewards in draws if rewards]
    if not draws:
        return None
    every = [reward for rewards in draws for reward in rewards]
    mean = math.fsum(every) / len(every)
    if all(reward in (0.0, 1.0) for reward in every):
        return Band(mean, *wilson(mean, len(draws)))
    if len(draws) < 2:
        return Band(mean, mean, mean)
    means = [math.fsum(rewards) / len(rewards) for rewards in draws]
    half = Z * _stderr(means)
    return Band(mean, mean - half, mean + half)


def accuracy_band(result: Mapping[str, Any] | None) -> Band | None:
    """Of one accuracy of evals.jsonl: its own interval where it has one, else made from `mean`, `stderr`, `num`."""
    if not isinstance(result, Mapping) or (mean := number(result.get("mean"))) is None:
        return None
    low, high = number(result.get("low")), number(result.get("high"))
    if low is not None and high is not None:
        return Band(mean, low, high)
    num, stderr = number(result.get("num")) or 0.0, number(result.get("stderr")) or 0.0
    if num < 1:
        return None
    if 0 <= mean <= 1 and math.isclose(stderr**2 * num, mean * (1 - mean), rel_tol=1e-6, abs_tol=1e-12):
        return Band(mean, *wilson(mean, num))  # the variance of right and wrong alone
    return Band(mean, max(0.0, mean - Z * stderr), min(1.0, mean + Z * stderr))


def percentile(values: Sequence[float], percent: float) -> float:
    """The nearest-rank percentile of at least one value."""
    ordered = sorted(values)
    return ordered[max(0, math.ceil(percent / 100 * len(ordered)) - 1)]


def _stderr(values: Sequence[float]) -> float:
    mean = math.fsum(values) / len(values)
    variance = math.fsum((value - mean) ** 2 for value in values) / (len(values) - 1)
    return math.sqrt(variance / len(values))
