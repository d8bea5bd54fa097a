"""How sure an accuracy is: 95 % intervals over tasks. Pure functions.

Of right and wrong, the interval is Wilson's (1927): unlike mean +- 2 standard errors it stays within [0, 1] and has a
width where all tasks are right or all are wrong. Of graded values (the mean of k samples, a fraction of passed
tests) it is the bootstrap's: the middle 95 % of the means of tasks drawn anew, with a fixed seed. Where all
graded values are equal, resampling cannot widen it: it is a point then, which says too little of few tasks.

The task is the unit in both. That its k samples agree makes no more tasks of them.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

__all__ = ["Interval", "bootstrap", "interval", "wilson"]

Z = 1.959963984540054
"""Quantile 97.5 % of the standard normal distribution."""
NUM_RESAMPLES = 2000
MAX_CELLS = 1 << 22
"""Numbers drawn at one time."""


class Interval(NamedTuple):
    """Ends of a 95 % confidence interval."""

    low: float
    high: float


def interval(values: Sequence[float]) -> Interval:
    """Of the mean of one value a task, each in [0, 1]; NaN without any."""
    if not values:
        return Interval(math.nan, math.nan)
    if all(value in (0.0, 1.0) for value in values):
        return wilson(sum(values) / len(values), len(values))
    return bootstrap(values)


def wilson(p: float, num: float) -> Interval:
    """Wilson's score interval of a rate p in [0, 1] over `num` > 0 units:

    (p + z^2/2n -+ z sqrt(p (1 - p)/n + z^2/4n^2)) / (1 + z^2/n)
    """
    unit = Z**2 / num
    centre, half = p + unit / 2, Z * math.sqrt(p * (1 - p) / num + unit / (4 * num))
    low, high = (centre - half) / (1 + unit), (centre + half) / (1 + unit)
    return Interval(0.0 if p == 0 else low, 1.0 if p == 1 else high)  # exact there but for rounding


def bootstrap(values: Sequence[float]) -> Interval:
    """Percentile bootstrap of the mean: the same values give the same interval."""
    import numpy as np  # not where only `wilson` is wanted: reports are read in light environments

    data, generator = np.asarray(values, dtype=np.float64), np.random.default_rng(len(values))
    rows = max(MAX_CELLS // data.size, 1)
    means = [
        data[generator.integers(data.size, size=(min(rows, NUM_RESAMPLES - first), data.size))].mean(axis=1)
        for first in range(0, NUM_RESAMPLES, rows)
    ]
    low, high = np.percentile(np.concatenate(means), (2.5, 97.5))
    return Interval(float(low), float(high))
