"""A pull towards the policy that RL began with: KL(pi_theta || pi_ref), estimated on the sampled tokens.

Kimi uses none (slime's recipe for K2 Thinking has a coefficient of 0): its tau term pulls towards the policy of the
step before. GRPO (arXiv 2402.03300, eq. 4) adds one with the estimator k3; it keeps a long run near what it began with.

    l = log pi_ref(y_t|.) - log pi_theta(y_t|.), both at the temperature of the token, under INT4 weights
    k1   - l               unbiased, may be negative; its gradient is that of a reward: stop_gradient(-l) log pi_theta
    k2   l^2 / 2           biased; the same gradient as k1's
    k3   exp(l) - 1 - l    unbiased and never negative; its gradient is that of KL(pi_ref || pi_theta)

(Schulman, "Approximating KL divergence", 2020. -l itself as a loss would have the gradient of log pi_theta, whose mean
is zero: it would pull nowhere.) The mean is over the tokens that are learned from.

The reference is a frozen copy of the weights as the engines served them at step 0, after the warm-up: one more forward
pass for each update, without a second model: parameters change places with the copy for it. The copy is in the
checkpoint. Left out: refreshing it during the run, and reading it from engines, whose rounding differs.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping
from typing import Literal, NamedTuple

import torch
from torch import Tensor

__all__ = ["Estimator", "Reference", "ReferenceKL", "reference_kl"]

Estimator = Literal["k1", "k2", "k3"]
MAX_LOG_RATIO = 20.0
"""Above it, in nats, k3 stops growing: exp(l) of one token would outweigh all others, and ends as infinity."""


class ReferenceKL(NamedTuple):
    """What a micro-batch adds."""

    loss: Tensor
    """Scalar to minimise, with the gradient of the divergence."""
    value: Tensor
    """Scalar, nats per token: this micro-batch's part of the estimate, without gradient."""


def reference_kl(
    logprobs_NT: Tensor, reference_NT: Tensor, mask_NT: Tensor, *, estimator: Estimator, num_tokens: int
) -> ReferenceKL:
    """The divergence from the reference, as a part of the minibatch's mean over the tokens that are learned from.

    Args:
        logprobs_NT: [N, T] log pi_theta, with gradient.
        reference_NT: [N, T] log pi_ref, without.
        mask_NT: [N, T] 1 for tokens that are learned from.
        num_tokens: that are learned from in the whole minibatch.
    """
    mask_NT = mask_NT.to(logprobs_NT.dtype)
    log_ratio_NT = (reference_NT - logprobs_NT) * mask_NT
    match estimator:
        case "k1":
            each_NT = -log_ratio_NT
            loss_NT = each_NT.detach() * logprobs_NT * mask_NT
        case "k2":
            loss_NT = each_NT = 0.5 * log_ratio_NT.square()
        case "k3":
            bounded_NT = log_ratio_NT.clamp(max=MAX_LOG_RATIO)
            loss_NT = each_NT = (bounded_NT.exp() - 1.0 - bounded_NT) * mask_NT
    return ReferenceKL(loss_NT.sum() / num_tokens, each_NT.detach().sum() / num_tokens)


class Reference:
    """The weights of a model as they are now, to compute with later.

    Args:
        model: on its grid, in its computing type.
    """

    def __init__(self, model: torch.nn.Module) -> None:
        self._model = model
        self.weights = {name: parameter.detach().clone() for name, parameter in model.named_parameters()}

    @contextlib.contextmanager
    def in_place(self) -> Iterator[None]:
        """The model has the reference's weights; no gradients."""
        own = {name: parameter.data for name, parameter in self._model.named_parameters()}
        self._set(self.weights)
        try:
            with torch.no_grad():
                yield
        finally:
            self._set(own)

    def _set(self, weights: Mapping[str, Tensor]) -> None:
        for name, parameter in self._model.named_parameters():
            parameter.data = weights[name]

    def load(self, weights: Mapping[str, Tensor]) -> None:
        """Take back weights that were saved."""
        for name, kept in self.weights.items():
            kept.copy_(weights[name])
