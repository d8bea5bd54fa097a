"""Settings of the learner: losses, corrections, optimiser, what is trained and on how many processes."""

from __future__ import annotations

import re
from difflib import get_close_matches
from importlib.metadata import entry_points
from typing import Annotated, Literal

from pydantic import Field, model_validator

from configs.base import Fraction, MomentDecay, NonNegative, Positive, Section
from configs.lora import LoraConfig

__all__ = ["ADVANTAGE_GROUP", "LOSSES", "LOSS_GROUP", "LearnerConfig", "MismatchConfig", "ReferenceKLConfig"]

LOSSES = ("k2_seq", "k25_token", "grpo", "gspo", "cispo", "reinforce")
"""Built-in values of `learner.loss`."""
LOSS_GROUP = "k2rl_losses"
ADVANTAGE_GROUP = "k2rl_advantages"
"""Entry-point groups in which packages offer others."""


class MismatchConfig(Section):
    """What the loss does where engine and learner give a token different probabilities (docs/algorithm.md)."""

    correction: Literal["token_cap", "sequence_cap", "token_band", "sequence_band", "policy_band"] | None = "token_cap"
    """`token_cap`: a token weighs learner over engine, at most `high`. `sequence_cap`: so does the whole response.
    `token_band`: the same weight, 0 outside of [`low`, `high`] (IcePop). `sequence_band`: so for the whole response.
    `policy_band`: 0 where the policy of the update over the engine is outside, else 1 (Kimi K2.5). None: 1 for all."""
    low: Annotated[float, Field(gt=0.0, lt=1.0)] = 0.5
    """Lower end of a band of probability ratios. IcePop: 0.5."""
    high: Annotated[float, Field(ge=1.0)] = 2.0
    """Cap, or upper end of a band. IcePop: 5."""


class ReferenceKLConfig(Section):
    """A pull towards the policy that RL began with (docs/algorithm.md); Kimi has none."""

    coef: Annotated[float, Field(ge=0.0)] = 0.0
    """Weight of the divergence from it, in reward per nat and token. 0: none, and no copy of its weights is kept."""
    estimator: Literal["k1", "k2", "k3"] = "k3"
    """Of the divergence, on the sampled tokens (Schulman 2020)."""


class LearnerConfig(Section):
    """The policy update (docs/algorithm.md)."""

    loss: str = "k2_seq"
    """`k2_seq`: squared objective on whole responses (Kimi K1.5/K2). `k25_token`: clipped, per token (Kimi K2.5).
    `grpo`: PPO's clip per token. `gspo`: the same per response. `cispo`: bounded weights (MiniMax-M1). `reinforce`. One
    of your own: `module:function`, or an entry point of the group `k2rl_losses` (docs/algorithm.md)."""
    aggregation: Literal["token", "sample", "sum"] | None = None
    """Mean over all tokens; over samples of their means; over samples of their sums. None: as the loss was published:
    `k25_token`, `cispo` by token, `grpo` by sample, `reinforce` by sum. `k2_seq` and `gspo` have no other."""
    baseline: Literal["mean", "leave_one_out", "log_mean_exp"] = "mean"
    """Taken from a reward to make an advantage: the mean of all siblings, of the others (RLOO), or tau log mean exp(r /
    tau) (K1.5)."""
    advantage: str | None = None
    """One of your own in the place of `baseline` and `scale_by_std`: `module:function`, or an entry point of the group
    `k2rl_advantages` (docs/algorithm.md)."""
    scale_by_std: bool = False
    """Divide advantages by the standard deviation of their group's rewards (GRPO); Kimi does not."""
    tau: Annotated[float, Field(ge=0.0)] = 0.05
    """Weight of the log-ratio term of `k2_seq`, of `k25_token` (about 1e-3), of `baseline = "log_mean_exp"`."""
    clip_low: Annotated[float, Field(lt=0.0)] = -0.6931
    """Lower bound of the log-ratio in nats, for losses that have bounds. PPO's 0.2: -0.2231. `gspo`: about -3e-4."""
    clip_high: Annotated[float, Field(gt=0.0)] = 0.6931
    """Upper bound. PPO's 0.2: 0.1823; DAPO's 0.28: 0.2469. `gspo`: about 4e-4."""
    squared_over: Literal["all", "kept"] = "all"
    """Tokens that the squared term of `k25_token` covers. `all`: those out of bounds too, which it pulls back. `kept`:
    those within the bounds alone."""
    mismatch: MismatchConfig = MismatchConfig()
    """Correction for the engine's own rounding."""
    replay_routing: bool = False
    """Send each token of a sample to the experts that the engine sent it to, so that rounding in a router does not part
    the two (R3, docs/algorithm.md). For models with routed experts, and engines on CPUs."""
    router_aux: Annotated[float, Field(ge=0.0)] = 0.0
    """Weight of a loss that keeps experts evenly loaded (Switch Transformer), with `replay_routing` alone. 0: none."""
    reference_kl: ReferenceKLConfig = ReferenceKLConfig()
    """Pull towards the first policy."""
    drop_zero_spread: bool = True
    """Leave out groups whose rewards are all equal: their advantages are zero."""
    lr: Annotated[float, Field(ge=0.0)] = 1e-6
    """Peak learning rate."""
    lr_ramp_steps: NonNegative = 2
    """Steps over which the learning rate rises linearly from 0 to `lr`."""
    lr_end_frac: Fraction = 1.0
    """Learning rate at the last step as a fraction of `lr`; linear in between."""
    optimizer: Literal["adamw", "muon"] = "adamw"
    """`muon`: on every matrix but embedding and head, as Kimi K2; AdamW on the rest, at the same learning rate."""
    momentum: MomentDecay = 0.95
    """Muon's."""
    betas: tuple[MomentDecay, MomentDecay] = (0.9, 0.95)
    """AdamW moment decays."""
    qk_clip: Annotated[float, Field(gt=0.0)] | None = None
    """QK-Clip: largest attention logit of a head; the weights of one above are scaled down after the update (Kimi K2:
    100). None: no clipping, and logits are not measured. Not for models that normalise queries and keys."""
    weight_decay: Annotated[float, Field(ge=0.0)] = 0.0
    """Weight decay, on matrices only."""
    reset_optimizer: bool = False
    """Start the optimiser's moments anew at every step, as Kimi K1.5 does: each step is another problem."""
    ema_decay: Annotated[float, Field(gt=0.0, lt=1.0)] | None = None
    """Keep a running average of the weights over updates, and export and evaluate it beside the last ones
    (`export_ema/`). None: no average."""
    max_grad_norm: Annotated[float, Field(gt=0.0)] = 1.0
    """Gradients are scaled down to this global norm."""
    num_minibatches: Positive = 1
    """Optimiser updates per step; with 1 the log-ratio is 0 and tau has no effect."""
    max_microbatch_tokens: Positive = 2048
    """Most tokens of one forward pass, padding and prompts included; bounds memory, never changes the loss."""
    gradient_checkpointing: bool = False
    """Layers keep their inputs alone for the backward pass, and are computed twice: a third more work, a fraction of
    the memory of long responses, the same numbers."""
    compute_dtype: Literal["bfloat16", "float32"] = "bfloat16"
    """Type of activations and gradients. Masters and optimiser are always fp32."""
    num_ranks: Positive = 1
    """Processes that the learner is spread over, rank i in bundle i beside engine i. Each holds a part of masters,
    moments and gradients, and learns from its share of a minibatch (docs/ranks.md)."""
    frozen: tuple[str, ...] = ()
    """Parameters that are not trained: names as in transformers, or regular expressions behind `re:`, such as
    "re:.*embed_tokens.*"."""
    lora: LoraConfig = LoraConfig()
    """Adapters instead of full training."""

    @model_validator(mode="after")
    def _adapters_fit(self) -> LearnerConfig:
        if self.lora.rank and self.frozen:
            raise ValueError("learner.lora.rank > 0 trains nothing but adapters: leave learner.frozen out")
        if self.lora.rank and self.optimizer == "muon":
            raise ValueError(
                'learner.optimizer = "muon" is for whole matrices, not for the factors of learner.lora; take "adamw"'
            )
        if self.qk_clip is not None and (self.lora.rank or self.frozen):
            raise ValueError(
                "learner.qk_clip scales masters of attention, which learner.lora and learner.frozen have not"
            )
        if self.num_ranks > 1 and (self.lora.rank or self.frozen):
            raise ValueError(
                f"learner.num_ranks = {self.num_ranks} ranks train whole models: leave learner.lora and learner.frozen "
                "out, or set learner.num_ranks = 1"
            )
        for i, entry in enumerate(self.frozen):
            try:
                re.compile(entry.removeprefix("re:") if entry.startswith("re:") else "")
            except re.error as error:
                raise ValueError(f"learner.frozen.{i} = {entry!r} is no regular expression: {error}") from error
        return self

    @model_validator(mode="after")
    def _loss_is_known(self) -> LearnerConfig:
        if ":" in self.loss or self.loss in LOSSES:
            return self
        offered = {entry.name for entry in entry_points(group=LOSS_GROUP)}
        if self.loss not in offered:
            known = [*LOSSES, *sorted(offered)]
            nearest = get_close_matches(self.loss, known, n=1)
            hint = f"; did you mean {nearest[0]!r}?" if nearest else ""
            raise ValueError(f"learner.loss = {self.loss!r} is none of {', '.join(known)}, nor module:function{hint}")
        return self

    @model_validator(mode="after")
    def _advantage_is_known_and_alone(self) -> LearnerConfig:
        if self.advantage is None:
            return self
        if self.baseline != "mean" or self.scale_by_std:
            raise ValueError(
                f"learner.advantage = {self.advantage!r} takes the place of learner.baseline and learner.scale_by_std; "
                "leave those out"
            )
        offered = sorted({entry.name for entry in entry_points(group=ADVANTAGE_GROUP)})
        if ":" not in self.advantage and self.advantage not in offered:
            known = ", ".join(offered) or "no installed package offers any"
            raise ValueError(f"learner.advantage = {self.advantage!r} is neither module:function nor offered: {known}")
        return self

    @model_validator(mode="after")
    def _parts_fit(self) -> LearnerConfig:
        if self.loss in ("k2_seq", "gspo") and self.aggregation is not None:
            raise ValueError(
                f"learner.aggregation = {self.aggregation!r} has no meaning for learner.loss = {self.loss!r}, whose "
                "ratio is that of the whole response: leave it out"
            )
        if self.router_aux and not self.replay_routing:
            raise ValueError(
                f"learner.router_aux = {self.router_aux:g} balances experts over a whole minibatch, whose load only "
                "learner.replay_routing knows before the first pass: set learner.replay_routing = true too"
            )
        if self.loss != "k25_token" and self.squared_over != "all":
            raise ValueError(
                f"learner.squared_over = {self.squared_over!r} is of learner.loss = 'k25_token', and learner.loss = "
                f"{self.loss!r} has no bounds around a squared term: leave it out"
            )
        if self.num_ranks > 1 and (self.reference_kl.coef or self.ema_decay is not None):
            raise ValueError(
                f"learner.reference_kl and learner.ema_decay keep whole weights, and learner.num_ranks = "
                f"{self.num_ranks} ranks hold parts of them: leave both out, or set learner.num_ranks = 1"
            )
        if self.num_ranks > 1 and self.qk_clip is not None:
            raise ValueError(
                f"learner.qk_clip = {self.qk_clip:g} scales whole heads, and learner.num_ranks = {self.num_ranks} "
                "ranks hold parts of them: leave it out (=none), or set learner.num_ranks = 1"
            )
        if self.num_ranks > 1 and self.optimizer == "muon":
            raise ValueError(
                f'learner.optimizer = "muon" orthogonalises whole matrices, and learner.num_ranks = {self.num_ranks} '
                'ranks hold parts of them: set learner.optimizer = "adamw", or learner.num_ranks = 1'
            )
        if self.baseline == "log_mean_exp" and self.tau == 0:
            raise ValueError('learner.baseline = "log_mean_exp" needs learner.tau > 0')
        return self
