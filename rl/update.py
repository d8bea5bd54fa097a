"""What one optimiser update did, as the learner tells it: plain facts, that travel between processes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

__all__ = ["UpdateMetrics"]


@dataclass(frozen=True, slots=True, kw_only=True)
class UpdateMetrics:
    """What one optimiser update did."""

    policy_loss: float
    """Policy loss; 0 where the minibatch carried no gradient."""
    ptx_loss: float
    """Mean negative log-likelihood of the PTX batch in nats per token; 0 without PTX."""
    grad_norm: float
    """Global norm before clipping."""
    learning_rate: float
    """Learning rate that was applied."""
    update_size: float
    """Norm of the masters' change over their norm (`rl.optim`); 0 where no step was made."""
    log_ratio_mean: float
    """Mean log-ratio (nats) over samples or tokens, as the loss counts (`rl.loss.Objective`)."""
    log_ratio_std: float
    """Root mean square of the same."""
    clipped_frac: float
    """Fraction of tokens whose log-ratio was out of bounds (`k2_seq` and `reinforce` have none)."""
    weight_sum: float
    """Sum of the weights that correct for the engine (`rl.mismatch`) over the tokens that carried a gradient."""
    weight_square_sum: float
    """Sum of their squares."""
    num_dropped: int
    """Tokens among them whose weight is 0."""
    num_tokens: int
    """Sampled tokens that carried a gradient."""
    num_samples: int
    """Samples that carried a gradient."""
    seconds: float
    """Wall clock of the update."""
    num_threads: int
    """Of the CPU, among which a sum is split: a replay takes as many (`rl.offline`)."""
    ptx_coef: float = 0.0
    """Weight of the PTX loss in this update."""
    ptx_heldout_loss: float | None = None
    """Mean negative log-likelihood of held-out conversations before the update; None where it was not measured."""
    qk_max_logit: float | None = None
    """Largest attention logit of the update's passes, before it; None where it is not measured (`rl.qk_clip`)."""
    reference_kl: float | None = None
    """Divergence from the first policy in nats per token, before the update; None without a reference or samples."""
    num_flipped: int = 0
    """(token, layer) pairs for which the learner would have chosen other experts than the engine, before the update."""
    num_replayed: int = 0
    """All such pairs; 0 where nothing is replayed (`rl.routing`)."""
    router_aux: float | None = None
    """How unevenly experts are loaded (`rl.balance`), before the update; None without that loss or samples."""
    old_logprobs: Mapping[int, tuple[float, ...]] = field(default_factory=dict)
    """log pi_old of every sample that carried a gradient, by its number: [T] nats."""
