"""What a learner is started with: plain facts, that travel to its process."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from rl.lora import LoraSettings
from rl.loss import Aggregation, SquaredOver
from rl.mismatch import Mismatch
from rl.reference import Estimator
from rollout.quant.scheme import QuantScheme

__all__ = ["LearnerSettings"]


@dataclass(frozen=True, slots=True, kw_only=True)
class LearnerSettings:
    """What a learner is started with; the fields are those of `learner.*`, `quant.*` and `ptx.coef` in the config."""

    model_folder: Path
    scheme: QuantScheme
    fake_quantize: bool
    compute_dtype: Literal["bfloat16", "float32"]
    loss: str
    """What `rl.objective.objective` takes."""
    aggregation: Aggregation | None
    tau: float
    clip_low: float
    clip_high: float
    mismatch: Mismatch
    optimizer: Literal["adamw", "muon"]
    momentum: float
    betas: tuple[float, float]
    qk_clip: float | None
    reset_optimizer: bool
    ema_decay: float | None
    reference_coef: float
    reference_estimator: Estimator
    weight_decay: float
    max_grad_norm: float
    max_microbatch_tokens: int
    gradient_checkpointing: bool
    ptx_coef: float
    squared_over: SquaredOver = "all"
    frozen: tuple[str, ...] = ()
    """Names of parameters, or `re:` patterns, that are not trained."""
    replay_routing: bool = False
    """Whether samples go through the experts that the engine chose (`rl.routing`)."""
    router_aux: float = 0.0
    """Weight of the loss that keeps experts evenly loaded (`rl.balance`)."""
    bf16_masters: bool = False
    """A control: masters are rounded after each update."""
    lora: LoraSettings | None = None
    """Train adapters of the quantised matrices alone (`rl.lora`)."""
