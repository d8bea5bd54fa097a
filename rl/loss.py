"""Policy losses in one table with one signature, and the likelihood loss of PTX. Pure functions of tensors.

| name | source | ratio | out of bounds | mean over |
|---|---|---|---|---|
| `k2_seq` | Kimi K1.5 2.3.2, K2 3.2.3 | of the whole response, squared | no bounds | responses, of sums over tokens |
| `k25_token` | Kimi K2.5 4.4.2 | per token, and squared | no policy gradient, either sign | tokens |
| `grpo` | DeepSeekMath 4.1, DAPO 3.1 | per token | no gradient outwards | responses, of means |
| `gspo` | GSPO, arXiv 2507.18071 | of the response, its length's root | no gradient outwards | responses, of means |
| `cispo` | MiniMax-M1 3.1 | per token, as a constant | weight bounded, gradient stays | tokens |
| `reinforce` | Williams 1992; RLOO with its baseline | none | no bounds | responses, of sums over tokens |

Dr. GRPO (arXiv 2503.20783) is `grpo` with `learner.aggregation = "sum"`; DAPO's token loss is `grpo` with `"token"`.

Shape letters: N samples of a micro-batch, T response tokens (right-padded). Denominators are arguments, because a
micro-batch is a part of a minibatch: losses of micro-batches add up to the loss of the minibatch.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Literal, NamedTuple

import torch
from torch import Tensor

__all__ = [
    "OBJECTIVES", "Aggregation", "LossInputs", "Objective", "PolicyLoss", "SquaredOver", "cispo", "grpo", "gspo",
    "k2_seq", "k25_token", "negative_log_likelihood", "policy_loss", "reinforce",
]  # fmt: skip

Aggregation = Literal["token", "sample", "sum"]
"""Of a value per token to a loss: its mean over all tokens; the mean over samples of a sample's mean over its tokens;
or the mean over samples of its sum."""
SquaredOver = Literal["all", "kept"]
"""Tokens that the squared term of `k25_token` covers: all, or those within the bounds alone."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LossInputs:
    """What a policy loss may use: tensors of a micro-batch, denominators of its minibatch, and the settings."""

    logprobs_NT: Tensor
    """[N, T] log pi_theta of the response tokens, with gradient, at the sample's temperature."""
    old_logprobs_NT: Tensor
    """[N, T] the same under theta_old, without gradient."""
    advantages_N: Tensor
    """[N] reward minus baseline."""
    loss_mask_NT: Tensor
    """[N, T] 1 for tokens that the policy sampled, 0 for padding and observations."""
    weights_NT: Tensor | None = None
    """[N, T] weights of the policy gradient (`rl.mismatch`); None: ones."""
    lengths_N: Tensor | None = None
    """[N] counted tokens of the whole response that a row is a part of; None: rows are whole, it is the mask's sum."""
    num_samples: int
    """Counted samples of the whole minibatch."""
    num_tokens: int
    """Counted tokens of the whole minibatch."""
    tau: float
    """Weight of the log-ratio, >= 0, in units of reward per nat (`k2_seq`) or per squared nat (`k25_token`)."""
    clip_low: float
    """Lower bound of the log-ratio in nats, < 0. PPO's 1 - 0.2 is ln 0.8 = -0.223."""
    clip_high: float
    """Upper bound of the log-ratio in nats, > 0. DAPO's 1 + 0.28 is ln 1.28 = 0.247."""
    aggregation: Aggregation | None = None
    """None: as published (the table above). `k2_seq` and `gspo` have no other."""
    squared_over: SquaredOver = "all"
    """Of `k25_token`."""

    @property
    def mask_NT(self) -> Tensor:
        """[N, T] the mask in the type of the log-probabilities."""
        return self.loss_mask_NT.to(self.logprobs_NT.dtype)

    @property
    def gain_mask_NT(self) -> Tensor:
        """[N, T] the mask times the weights."""
        return self.mask_NT if self.weights_NT is None else self.mask_NT * self.weights_NT

    @property
    def log_ratio_NT(self) -> Tensor:
        """[N, T] log pi_theta - log pi_old in nats, with gradient; 0 under the mask."""
        return (self.logprobs_NT - self.old_logprobs_NT) * self.mask_NT

    def mean(self, each_NT: Tensor, published: Aggregation) -> Tensor:
        """Scalar: this micro-batch's part of the minibatch's mean of a value per token, 0 under the mask."""
        how = self.aggregation or published
        if how == "token":
            return each_NT.sum() / self.num_tokens
        each_N = each_NT.sum(dim=1)
        if how == "sample":
            lengths_N = self.mask_NT.sum(dim=1) if self.lengths_N is None else self.lengths_N
            each_N = each_N / lengths_N.clamp(min=1)
        return each_N.sum() / self.num_samples


class PolicyLoss(NamedTuple):
    """A loss and what it is worth knowing about it; sums over the micro-batch, so that they can be added up."""

    loss: Tensor
    """Scalar to minimise."""
    log_ratio_sum: Tensor
    """Scalar, nats: sum over the ratios that the loss uses (`Objective.counts_samples`)."""
    log_ratio_square_sum: Tensor
    """Scalar: sum of the squares of the same."""
    clipped_sum: Tensor
    """Scalar: number of tokens whose log-ratio the bounds changed."""


def k2_seq(x: LossInputs) -> PolicyLoss:
    """Squared objective of K1.5/K2 on whole responses, as a surrogate with the same gradient direction.

        L(theta) = mean_i ( A_i - tau * rho_i )^2,    rho_i = log pi_theta(y_i|x) - log pi_old(y_i|x)

    (K2 section 3.2.3; K1.5 section 2.3.2 eq. 3.) Its gradient is -2 tau * mean_i (A_i - tau rho_i) grad log
    pi_theta(y_i|x). The 2 tau is divided out, so that neither the PTX coefficient nor the gradient clip changes meaning
    when tau does:

        loss = - 1/num_samples * sum_i stop_gradient(A_i - tau rho_i) * sum_t w_it log pi_theta(y_it|.)

    At theta = theta_old, rho is 0 and the gradient is REINFORCE with the mean baseline. No length normalisation.
    """
    rho_N = x.log_ratio_NT.detach().sum(dim=1)
    pull_N = x.advantages_N - x.tau * rho_N
    loss = -(pull_N * (x.gain_mask_NT * x.logprobs_NT).sum(dim=1)).sum() / x.num_samples
    return policy_loss(loss, rho_N, torch.zeros_like(rho_N))


def k25_token(x: LossInputs) -> PolicyLoss:
    """Token-level objective of Kimi K2.5 (section 4.4.2, eq. 1), written as a loss.

        loss = 1/N_tok * sum_it [ - 1{clip_low <= l_it <= clip_high} * w_it exp(l_it) A_i  +  tau * l_it^2 ],
        l_it = log pi_theta(y_it|.) - log pi_old(y_it|.)

    Tokens whose log-ratio is out of bounds get no policy gradient, whatever the sign of the advantage (unlike PPO). The
    squared term covers every token, and pulls those back; with `squared_over` "kept" it is inside of the indicator too,
    and nothing does; open implementations have both. The paper prints Clip(ratio, alpha, beta) while its text bounds
    the log-ratio; the text is followed.
    """
    log_ratio_NT = x.log_ratio_NT
    is_out_NT = (log_ratio_NT < x.clip_low) | (log_ratio_NT > x.clip_high)
    gain_NT = x.gain_mask_NT * ~is_out_NT * log_ratio_NT.clamp(x.clip_low, x.clip_high).exp() * x.advantages_N[:, None]
    squared_NT = log_ratio_NT.square() if x.squared_over == "all" else log_ratio_NT.square() * ~is_out_NT
    return policy_loss(x.mean(x.tau * squared_NT - gain_NT, "token"), log_ratio_NT, x.mask_NT * is_out_NT)


def grpo(x: LossInputs) -> PolicyLoss:
    """Clipped ratio per token: PPO's surrogate without a critic (DeepSeekMath, arXiv 2402.03300, section 4.1).

        loss = - mean_it w_it min( r_it A_i, clip(r_it, exp(clip_low), exp(clip_high)) A_i ),    r_it = exp(l_it)

    A bound holds in one direction: a token of positive advantage may fall back from far above, one of negative
    advantage may rise again from far below. `clip_high` above -`clip_low` is DAPO's clip-higher (arXiv 2503.14476).
    """
    log_ratio_NT = x.log_ratio_NT
    return _clipped_gain(x, log_ratio_NT, log_ratio_NT)


def gspo(x: LossInputs) -> PolicyLoss:
    """Clipped ratio per response, its geometric mean over the tokens (GSPO, arXiv 2507.18071, eq. 5 to 7).

        s_i = exp( 1/|y_i| sum_t l_it ),    loss = - mean_i min( s_i A_i, clip(s_i, exp(clip_low), exp(clip_high)) A_i )

    Written per token (the paper's GSPO-token, which has the same value and gradient for one advantage a response), so
    that importance weights of tokens apply. Its ratios are near 1: the paper's bounds are -3e-4 and 4e-4.
    """
    log_ratio_NT = x.log_ratio_NT
    mean_N1 = (log_ratio_NT.sum(dim=1) / x.mask_NT.sum(dim=1).clamp(min=1)).detach()[:, None]
    return _clipped_gain(x, mean_N1 + log_ratio_NT - log_ratio_NT.detach(), mean_N1)


def cispo(x: LossInputs) -> PolicyLoss:
    """REINFORCE with bounded ratios as constant weights, so that no token loses its gradient (MiniMax-M1, 3.1).

    loss = - mean_it w_it stop_gradient( clip(r_it, exp(clip_low), exp(clip_high)) ) A_i log pi_theta(y_it|.)
    """
    log_ratio_NT = x.log_ratio_NT.detach()
    bounded_NT = log_ratio_NT.clamp(x.clip_low, x.clip_high)
    gain_NT = x.gain_mask_NT * bounded_NT.exp() * x.advantages_N[:, None] * x.logprobs_NT
    return policy_loss(-x.mean(gain_NT, "token"), log_ratio_NT, bounded_NT != log_ratio_NT)


def reinforce(x: LossInputs) -> PolicyLoss:
    """- mean_i A_i sum_t w_it log pi_theta(y_it|.): no ratio, so meant for one update a step (Williams, 1992)."""
    gain_NT = x.gain_mask_NT * x.advantages_N[:, None] * x.logprobs_NT
    return policy_loss(-x.mean(gain_NT, "sum"), x.log_ratio_NT, torch.zeros_like(gain_NT))


def _clipped_gain(x: LossInputs, log_ratio_NT: Tensor, measured: Tensor) -> PolicyLoss:
    """min(r A, clip(r) A) is r A with r bounded above where A is positive and below where it is negative."""
    advantages_N1 = x.advantages_N[:, None]
    bounded_NT = torch.where(
        advantages_N1 >= 0, log_ratio_NT.clamp(max=x.clip_high), log_ratio_NT.clamp(min=x.clip_low)
    )
    gain_NT = x.gain_mask_NT * bounded_NT.exp() * advantages_N1
    return policy_loss(-x.mean(gain_NT, "sample"), measured, x.mask_NT * (bounded_NT != log_ratio_NT))


def policy_loss(loss: Tensor, log_ratio: Tensor, is_clipped: Tensor) -> PolicyLoss:
    """A loss with what it is worth knowing about it.

    Args:
        loss: scalar to minimise.
        log_ratio: in nats, of tokens [N, T] (0 under the mask) or of responses [N].
        is_clipped: 1 where bounds changed it, 0 elsewhere; of the same shape.
    """
    found = log_ratio.detach()
    return PolicyLoss(loss, found.sum(), found.square().sum(), is_clipped.detach().to(found.dtype).sum())


class Objective(NamedTuple):
    """A policy loss and the unit of its log-ratio."""

    loss: Callable[[LossInputs], PolicyLoss]
    counts_samples: bool
    """`log_ratio_sum` is over samples; False: over tokens."""


OBJECTIVES: Mapping[str, Objective] = MappingProxyType(
    {
        "k2_seq": Objective(k2_seq, counts_samples=True),
        "k25_token": Objective(k25_token, counts_samples=False),
        "grpo": Objective(grpo, counts_samples=False),
        "gspo": Objective(gspo, counts_samples=True),
        "cispo": Objective(cispo, counts_samples=False),
        "reinforce": Objective(reinforce, counts_samples=False),
    }
)
"""By the name in `learner.loss`; `rl.objective` knows others."""


def negative_log_likelihood(logprobs_NT: Tensor, loss_mask_NT: Tensor, *, num_tokens: int) -> Tensor:
    """PTX loss: mean negative log-likelihood per assistant token, - 1/num_tokens * sum_it m_it log pi_theta(y_it|.).

    K2 (section 3.2.3) adds it to the joint objective with an unpublished weight; it runs through the same
    fake-quantised weights as the policy loss.
    """
    return -(logprobs_NT * loss_mask_NT.to(logprobs_NT.dtype)).sum() / num_tokens
