"""Advantages: a sample's reward minus the mean reward of its siblings. Nothing else.

Kimi K1.5/K2 divide by no standard deviation and train no value network (method: K1.5 section 2.3.2, K2 section 3.2.3).
Samples that are masked, because scoring them failed through a fault of ours, are no siblings: they leave the mean, and
they get no gradient.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

__all__ = ["GroupAdvantages", "group_advantages"]


class GroupAdvantages(NamedTuple):
    """Advantages of P groups of K siblings."""

    advantages_PK: np.ndarray
    """[P, K] float64; 0 where the sample carries no gradient."""
    is_counted_PK: np.ndarray
    """[P, K] bool: unmasked, with at least one unmasked sibling; these make up the loss's denominator."""
    has_spread_P: np.ndarray
    """[P] bool: the group's counted rewards are not all equal."""


def group_advantages(rewards_PK: np.ndarray, is_masked_PK: np.ndarray) -> GroupAdvantages:
    """A_i = r_i - mean_j r_j over the unmasked siblings of each group.

    Args:
        rewards_PK: [P, K] float rewards; values under a mask are ignored, whatever they are.
        is_masked_PK: [P, K] bool.

    Returns:
        Zero advantages and no count for masked samples and for samples without an unmasked sibling: one reward alone
        says nothing of better or worse.
    """
    kept_PK = ~np.asarray(is_masked_PK, dtype=bool)
    kept_PK = kept_PK & (kept_PK.sum(axis=1, keepdims=True) >= 2)
    rewards_PK = np.where(kept_PK, np.asarray(rewards_PK, dtype=np.float64), 0.0)
    num_P1 = np.maximum(kept_PK.sum(axis=1, keepdims=True), 1)
    advantages_PK = np.where(kept_PK, rewards_PK - rewards_PK.sum(axis=1, keepdims=True) / num_P1, 0.0)
    highest_P = np.where(kept_PK, rewards_PK, -np.inf).max(axis=1)
    lowest_P = np.where(kept_PK, rewards_PK, np.inf).min(axis=1)
    return GroupAdvantages(advantages_PK, kept_PK, highest_P > lowest_P)
