"""Advantages: a sample's reward minus a baseline of its siblings' rewards.

Kimi K1.5/K2 take the mean, divide by no standard deviation and train no value network (K1.5 section 2.3.2, K2 section
3.2.3). The other baselines are for comparison: `BASELINES`.
Samples that are masked, because scoring them failed through a fault of ours, are no siblings: they leave the mean, and
they get no gradient.
"""

from __future__ import annotations

from typing import Literal, NamedTuple

import numpy as np

__all__ = ["MIN_SPREAD", "Baseline", "GroupAdvantages", "group_advantages"]

Baseline = Literal["mean", "leave_one_out", "log_mean_exp"]
"""`mean`: of all siblings, itself included (Kimi K1.5/K2, GRPO). `leave_one_out`: of the others (RLOO, arXiv
2402.14740). `log_mean_exp`: tau log mean_j exp(r_j / tau), of which the mean is the limit for large tau (K1.5, 2.3.2).
"""

MIN_SPREAD = 1e-9
"""Rewards that differ by no more are equal: gyms add up parts in floats, and .1 + .2 is not .3."""


class GroupAdvantages(NamedTuple):
    """Advantages of P groups of K siblings."""

    advantages_PK: np.ndarray
    """[P, K] float64; 0 where the sample carries no gradient."""
    is_counted_PK: np.ndarray
    """[P, K] bool: unmasked, with at least one unmasked sibling; these make up the loss's denominator."""
    has_spread_P: np.ndarray
    """[P] bool: the group's counted rewards are not all equal."""


def group_advantages(
    rewards_PK: np.ndarray,
    is_masked_PK: np.ndarray,
    *,
    baseline: Baseline = "mean",
    tau: float = 1.0,
    scale_by_std: bool = False,
) -> GroupAdvantages:
    """A_i = r_i - b_i over the unmasked siblings of each group.

    Args:
        rewards_PK: [P, K] float rewards; values under a mask are ignored, whatever they are.
        is_masked_PK: [P, K] bool.
        baseline: b_i, see `Baseline`.
        tau: of `log_mean_exp`, > 0, in units of reward.
        scale_by_std: divide by the standard deviation of the group's rewards, with K - 1 below the sum (GRPO as open
            implementations compute it).

    Returns:
        Zero advantages and no count for masked samples and for samples without an unmasked sibling: one reward alone
        says nothing of better or worse. Groups without spread have zero advantages under every baseline.
    """
    kept_PK = ~np.asarray(is_masked_PK, dtype=bool)
    kept_PK = kept_PK & (kept_PK.sum(axis=1, keepdims=True) >= 2)
    rewards_PK = np.where(kept_PK, np.asarray(rewards_PK, dtype=np.float64), 0.0)
    num_P1 = np.maximum(kept_PK.sum(axis=1, keepdims=True), 1)
    highest_P = np.where(kept_PK, rewards_PK, -np.inf).max(axis=1)
    lowest_P = np.where(kept_PK, rewards_PK, np.inf).min(axis=1)
    has_spread_P = highest_P - lowest_P > MIN_SPREAD
    centred_PK = np.where(kept_PK, rewards_PK - rewards_PK.sum(axis=1, keepdims=True) / num_P1, 0.0)
    match baseline:
        case "mean":
            advantages_PK = centred_PK
        case "leave_one_out":  # r_i - mean of the others = K / (K - 1) * (r_i - mean)
            advantages_PK = centred_PK * num_P1 / np.maximum(num_P1 - 1, 1)
        case "log_mean_exp":
            top_P1 = np.where(has_spread_P, highest_P, 0.0)[:, None]  # taken out of the exponent, which then is <= 0
            exponents_PK = np.where(kept_PK & has_spread_P[:, None], (rewards_PK - top_P1) / tau, -np.inf)
            means_P1 = np.exp(exponents_PK).sum(axis=1, keepdims=True) / num_P1
            logs_P1 = np.log(np.where(has_spread_P[:, None], means_P1, 1.0))
            advantages_PK = np.where(kept_PK & has_spread_P[:, None], rewards_PK - top_P1 - tau * logs_P1, 0.0)
    if scale_by_std:
        std_P1 = np.sqrt(np.square(centred_PK).sum(axis=1, keepdims=True) / np.maximum(num_P1 - 1, 1))
        advantages_PK = advantages_PK / np.where(has_spread_P[:, None], std_P1, 1.0)
    advantages_PK = np.where(has_spread_P[:, None], advantages_PK, 0.0)
    return GroupAdvantages(advantages_PK, kept_PK, has_spread_P)
