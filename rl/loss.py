"""The policy losses of Kimi K1.5/K2 and K2.5, and the likelihood loss of PTX. Pure functions of tensors.

Shape letters: N samples of a micro-batch, T response tokens (right-padded). Denominators are arguments, because a
micro-batch is a part of a minibatch: losses of micro-batches add up to the loss of the minibatch.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

__all__ = ["PolicyLoss", "importance_weights", "k2_seq", "k25_token", "negative_log_likelihood"]


class PolicyLoss(NamedTuple):
    """A loss and what it is worth knowing about it; sums over the micro-batch, so that they can be added up."""

    loss: Tensor
    """Scalar to minimise."""
    log_ratio_sum: Tensor
    """Scalar: sum over samples of rho_i in nats (`k2_seq`), or over tokens (`k25_token`)."""
    log_ratio_square_sum: Tensor
    """Scalar: sum of the squares of the same."""
    clipped_sum: Tensor
    """Scalar: number of tokens without policy gradient because their log-ratio is out of bounds (`k25_token`)."""


def importance_weights(old_logprobs_NT: Tensor, engine_logprobs_NT: Tensor, cap: float | None) -> Tensor:
    """Truncated importance weights for the mismatch between learner and engine: min(exp(old - engine), cap).

    Args:
        old_logprobs_NT: [N, T] log pi_old of the learner, before any update.
        engine_logprobs_NT: [N, T] log-probabilities of the engine that sampled.
        cap: upper bound > 0; None gives ones (no correction).
    """
    if cap is None:
        return torch.ones_like(old_logprobs_NT)
    return torch.exp(old_logprobs_NT - engine_logprobs_NT).clamp(max=cap)


def k2_seq(
    logprobs_NT: Tensor,
    old_logprobs_NT: Tensor,
    advantages_N: Tensor,
    loss_mask_NT: Tensor,
    *,
    tau: float,
    num_samples: int,
    weights_NT: Tensor | None = None,
) -> PolicyLoss:
    """Squared objective of K1.5/K2 on whole responses, as a surrogate with the same gradient direction.

        L(theta) = mean_i ( A_i - tau * rho_i )^2,    rho_i = log pi_theta(y_i|x) - log pi_old(y_i|x)

    (K2 section 3.2.3; K1.5 section 2.3.2 eq. 3.) Its gradient is -2 tau * mean_i (A_i - tau rho_i) grad log
    pi_theta(y_i|x). The 2 tau is divided out, so that neither the PTX coefficient nor the gradient clip changes meaning
    when tau does:

        loss = - 1/num_samples * sum_i stop_gradient(A_i - tau rho_i) * sum_t w_it log pi_theta(y_it|.)

    At theta = theta_old, rho is 0 and the gradient is REINFORCE with the mean baseline. No length normalisation.

    Args:
        logprobs_NT: [N, T] log pi_theta of the sampled tokens, with gradient, at the sample's temperature.
        old_logprobs_NT: [N, T] the same under theta_old, without gradient.
        advantages_N: [N] reward minus sibling mean.
        loss_mask_NT: [N, T] 1 for tokens that the policy sampled, 0 for padding and observations.
        tau: weight of the log-ratio, >= 0, in units of reward per nat.
        num_samples: counted samples of the whole minibatch (denominator).
        weights_NT: [N, T] importance weights of the policy gradient; None: ones.
    """
    mask_NT = loss_mask_NT.to(logprobs_NT.dtype)
    rho_N = ((logprobs_NT.detach() - old_logprobs_NT) * mask_NT).sum(dim=1)
    weighted_NT = mask_NT if weights_NT is None else mask_NT * weights_NT
    pull_N = advantages_N - tau * rho_N
    loss = -(pull_N * (weighted_NT * logprobs_NT).sum(dim=1)).sum() / num_samples
    return PolicyLoss(loss, rho_N.sum(), rho_N.square().sum(), torch.zeros_like(loss.detach()))


def k25_token(
    logprobs_NT: Tensor,
    old_logprobs_NT: Tensor,
    advantages_N: Tensor,
    loss_mask_NT: Tensor,
    *,
    tau: float,
    num_tokens: int,
    clip_low: float,
    clip_high: float,
    weights_NT: Tensor | None = None,
) -> PolicyLoss:
    """Token-level objective of Kimi K2.5 (section 4.4.2, eq. 1), written as a loss.

        loss = 1/N_tok * sum_it [ - 1{clip_low <= l_it <= clip_high} * w_it exp(l_it) A_i  +  tau * l_it^2 ],
        l_it = log pi_theta(y_it|.) - log pi_old(y_it|.)

    Tokens whose log-ratio is out of bounds get no policy gradient, whatever the sign of the advantage (unlike PPO); the
    squared term covers every token, so it pulls them back. The paper prints Clip(ratio, alpha, beta) while its text
    bounds the log-ratio; the text is followed.

    Args: as `k2_seq`, and
        num_tokens: counted tokens of the whole minibatch (denominator).
        clip_low, clip_high: bounds of the log-ratio in nats, clip_low < 0 < clip_high.
    """
    mask_NT = loss_mask_NT.to(logprobs_NT.dtype)
    log_ratio_NT = (logprobs_NT - old_logprobs_NT) * mask_NT
    inside_NT = (log_ratio_NT.detach() >= clip_low) & (log_ratio_NT.detach() <= clip_high)
    kept_NT = mask_NT * inside_NT if weights_NT is None else mask_NT * inside_NT * weights_NT
    gain_NT = kept_NT * log_ratio_NT.clamp(clip_low, clip_high).exp() * advantages_N[:, None]
    loss = (tau * log_ratio_NT.square() - gain_NT).sum() / num_tokens
    detached_NT = log_ratio_NT.detach()
    return PolicyLoss(loss, detached_NT.sum(), detached_NT.square().sum(), (mask_NT * ~inside_NT).sum())


def negative_log_likelihood(logprobs_NT: Tensor, loss_mask_NT: Tensor, *, num_tokens: int) -> Tensor:
    """PTX loss: mean negative log-likelihood per assistant token, - 1/num_tokens * sum_it m_it log pi_theta(y_it|.).

    K2 (section 3.2.3) adds it to the joint objective with an unpublished weight; it runs through the same
    fake-quantised weights as the policy loss.
    """
    return -(logprobs_NT * loss_mask_NT.to(logprobs_NT.dtype)).sum() / num_tokens
