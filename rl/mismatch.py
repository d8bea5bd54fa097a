"""Learner and engine are two programs for one policy: how far they are apart, and what the loss does about it.

The engine draws a token with probability pi_engine, the learner differentiates pi_theta. Weights are equal to the last
bit (docs/int4.md), but sums are taken in another order, so log-probabilities differ by a few hundredths of a nat. With

    w_it = exp( log pi_old(y_it|.) - log pi_engine(y_it|.) ),      w_i = prod_t w_it

the policy gradient of a token is multiplied by

| `learner.mismatch.correction` | weight | source |
|---|---|---|
| `token_cap` | min(w_it, high) | truncated importance sampling, per token (slime, verl) |
| `sequence_cap` | min(w_i, high) | the same for the whole response |
| `token_band` | w_it, or 0 outside of [low, high] | IcePop (Ring-1T, arXiv 2510.18855), with [0.5, 5] |
| `sequence_band` | w_i, or 0 outside of [low, high] | masked importance sampling (verl, TRL's `sequence_mask`) |
| `policy_band` | 1, or 0 where pi_theta / pi_engine is outside | Kimi K2.5 4.4.2, with the engine in place of pi_old |
| none | 1 | |

A cap bounds the variance and keeps every token; a band drops tokens that the two programs disagree about, which is
where their difference is no rounding. `policy_band` is the mask that `k25_token` has built in, measured from the engine
instead of pi_old: it counts how far the policy has moved within the step, too. Weights are constants of an update.
Denominators stay those of all tokens, so a drop makes the step smaller.

Left out: the geometric mean of a response's ratios (it hides one token that is far off). What rounding does to a router
no weight corrects: the engine's choice of experts is replayed (`rl.routing`).

Shape letters as in `rl.loss`.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from numpy.typing import ArrayLike
from torch import Tensor

__all__ = ["Correction", "LogprobGap", "Mismatch", "effective_frac", "logprob_gap", "mismatch_weights"]

Correction = Literal["token_cap", "sequence_cap", "token_band", "sequence_band", "policy_band"]
"""By the name in `learner.mismatch.correction`; the table at the head of this file."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Mismatch:
    """`learner.mismatch`: what is done, and its bounds of the ratio."""

    correction: Correction | None = "token_cap"
    """None: all weights are 1."""
    low: float = 0.5
    """Lower end of a band, in (0, 1)."""
    high: float = 2.0
    """Cap, or upper end of a band, >= 1."""


@torch.no_grad()
def mismatch_weights(
    mismatch: Mismatch,
    *,
    logprobs_NT: Tensor,
    old_logprobs_NT: Tensor,
    engine_logprobs_NT: Tensor,
    loss_mask_NT: Tensor,
) -> Tensor:
    """[N, T] factors of the policy gradient of each token, >= 0; 1 under the mask.

    Args:
        logprobs_NT: log pi_theta of the update at hand; only `policy_band` looks at it.
        old_logprobs_NT: log pi_old of the learner, before any update.
        engine_logprobs_NT: log-probabilities of the engine that sampled.
        loss_mask_NT: 1 for tokens that the policy sampled.
    """
    is_sampled_NT = loss_mask_NT.to(torch.bool)
    zero = torch.zeros((), dtype=old_logprobs_NT.dtype, device=old_logprobs_NT.device)
    log_NT = torch.where(is_sampled_NT, old_logprobs_NT - engine_logprobs_NT, zero)
    log_N1 = log_NT.sum(dim=1, keepdim=True)
    match mismatch.correction:
        case None:
            return torch.ones_like(log_NT)
        case "token_cap":
            return log_NT.exp().clamp(max=mismatch.high)
        case "sequence_cap":
            return torch.where(is_sampled_NT, log_N1.exp().clamp(max=mismatch.high), zero + 1)
        case "token_band":
            return torch.where(_is_within(log_NT, mismatch), log_NT.exp(), zero)
        case "sequence_band":
            kept_N1 = torch.where(_is_within(log_N1, mismatch), log_N1.exp(), zero)
            return torch.where(is_sampled_NT, kept_N1, zero + 1)
        case "policy_band":
            now_NT = torch.where(is_sampled_NT, logprobs_NT - engine_logprobs_NT, zero)
            return _is_within(now_NT, mismatch).to(log_NT.dtype)


def _is_within(log_ratio: Tensor, mismatch: Mismatch) -> Tensor:
    return (log_ratio >= math.log(mismatch.low)) & (log_ratio <= math.log(mismatch.high))


def effective_frac(weight_sum: float, weight_square_sum: float, num: int) -> float | None:
    """Effective sample size of n weights over n, (sum w)^2 / (n sum w^2): 1 where all are equal, 1/n where one is all.

    None without weights; 0 where every weight is 0.
    """
    if not num:
        return None
    return weight_sum**2 / (num * weight_square_sum) if weight_square_sum else 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class LogprobGap:
    """|log pi_old of the learner - log pi_engine| over sampled tokens, in nats, and what it amounts to."""

    num: int
    """Tokens."""
    mean: float
    stderr: float
    """Standard error of the mean over tokens; 0 for a single one."""
    max: float
    median: float
    p90: float
    p99: float
    p999: float
    """Percentiles, linear between neighbours."""
    kl_k3: float
    """KL(pi_engine | pi_old) in nats per token by the estimator k3, the mean of w - 1 - log w: unbiased for tokens that
    the engine drew, and never negative (J. Schulman, Approximating KL Divergence, 2020)."""


def logprob_gap(old: ArrayLike, engine: ArrayLike) -> LogprobGap | None:
    """The gap between two arrays [n] of log-probabilities of the same sampled tokens; None where there are none."""
    difference = np.asarray(old, np.float64) - np.asarray(engine, np.float64)
    if not difference.size:
        return None
    gap = np.abs(difference)
    median, p90, p99, p999 = np.percentile(gap, (50.0, 90.0, 99.0, 99.9))
    return LogprobGap(
        num=gap.size,
        mean=float(gap.mean()),
        stderr=float(gap.std(ddof=1) / math.sqrt(gap.size)) if gap.size > 1 else 0.0,
        max=float(gap.max()),
        median=float(median),
        p90=float(p90),
        p99=float(p99),
        p999=float(p999),
        kl_k3=float((np.expm1(difference) - difference).mean()),
    )
