"""An advantage of one's own behind `learner.advantage`, in the place of `learner.baseline` and `.scale_by_std`.

A plug-in is a function `AdvantageInputs -> [P, K] float64`, over all groups of a step, so that baselines of a whole
batch can be had too (REINFORCE++, arXiv 2501.03262). It is named by `module:function`, or by an entry point of the
group `k2rl_advantages`. Before a run starts, `check_advantage` calls it on a few made-up groups and refuses what would
train something else than it says: results of another shape, that are not finite, or that read masked samples.

A group is left out of the update (`learner.drop_zero_spread`) where all its advantages are 0, whatever its rewards are.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import lru_cache

import numpy as np

from configs.learner import ADVANTAGE_GROUP
from rl.advantage import GroupAdvantages
from rl.outside import from_outside

__all__ = ["AdvantageInputs", "OwnAdvantage", "advantage_of", "check_advantage", "own_advantages"]


@dataclass(frozen=True, slots=True, kw_only=True)
class AdvantageInputs:
    """What an advantage may use: facts of P groups of K siblings."""

    rewards_PK: np.ndarray
    """[P, K] float64 rewards, what lengths earned included; 0 where masked."""
    is_counted_PK: np.ndarray
    """[P, K] bool: unmasked, with at least one unmasked sibling. Elsewhere the result is not read."""
    lengths_PK: np.ndarray
    """[P, K] int64 tokens that the policy sampled; 0 where not counted."""
    gyms: tuple[str, ...]
    """[P] name of each group's gym."""
    tau: float
    """`learner.tau`."""


OwnAdvantage = Callable[[AdvantageInputs], np.ndarray]


@lru_cache(maxsize=16)
def advantage_of(name: str) -> OwnAdvantage:
    """The function of that name.

    Raises:
        ValueError: there is none, two packages offer it, or it cannot be imported.
    """
    found = from_outside("learner.advantage", name, group=ADVANTAGE_GROUP, what="an advantage")
    if not callable(found):
        raise ValueError(f"learner.advantage = {name!r} is {found!r}, wanted a function of AdvantageInputs")
    return found


def own_advantages(function: OwnAdvantage, x: AdvantageInputs) -> GroupAdvantages:
    """The function's result as the update takes it.

    Raises:
        ValueError: its result has another shape, or is not finite where it counts.
    """
    found_PK = np.asarray(function(x), dtype=np.float64)
    if found_PK.shape != x.rewards_PK.shape:
        raise ValueError(f"learner.advantage: got an array of shape {found_PK.shape}, wanted {x.rewards_PK.shape}")
    found_PK = np.where(x.is_counted_PK, found_PK, 0.0)
    if not np.isfinite(found_PK).all():
        raise ValueError("learner.advantage: an advantage of a sample that counts is not finite")
    return GroupAdvantages(found_PK, x.is_counted_PK, (found_PK != 0).any(axis=1))


def check_advantage(function: OwnAdvantage, what: str = "the advantage") -> None:
    """Call an advantage on made-up groups: the contract, for a plug-in's own tests too.

    Raises:
        ValueError: it raises, or does not keep the contract; says which part of it.
    """
    counted_PK = np.array([[True, True, True, False], [True, True, True, True], [False] * 4, [True, True, True, True]])
    rewards_PK = np.array([[1.0, 0.0, 0.5, 0.0], [1.0, 1.0, 0.0, 0.0], [0.0] * 4, [1.0] * 4])
    lengths_PK = np.where(counted_PK, np.arange(1, 17).reshape(4, 4), 0)
    x = AdvantageInputs(
        rewards_PK=rewards_PK, is_counted_PK=counted_PK, lengths_PK=lengths_PK, gyms=("a", "a", "b", "b"), tau=0.05
    )
    given = [array.copy() for array in (rewards_PK, lengths_PK)]
    other = replace(x, rewards_PK=np.where(counted_PK, rewards_PK, 7.0), lengths_PK=np.where(counted_PK, lengths_PK, 9))
    try:
        found, elsewhere = (own_advantages(function, inputs).advantages_PK for inputs in (x, other))
    except Exception as error:
        raise ValueError(f"{what} failed on a trial of 4 groups: {type(error).__name__}: {error}") from error
    problem = None
    if not all(np.array_equal(a, b) for a, b in zip(given, (rewards_PK, lengths_PK), strict=True)):
        problem = "it changes what it was given"
    elif not np.array_equal(found, elsewhere):
        problem = "it reads samples that do not count: use x.is_counted_PK"
    elif not found.any():
        problem = "it is 0 everywhere, so that nothing would be learned"
    if problem:
        raise ValueError(f"{what}: {problem}")
