"""Sections of a config about curated conversations: their source, the loss beside RL, the phase before it."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, model_validator

from configs.base import NonNegative, Positive, Section

__all__ = ["PtxConfig", "PtxSourceConfig", "WarmupConfig"]


class PtxSourceConfig(Section):
    """Where curated conversations come from. Exactly one of `gym`, `jsonl`, `dataset` is set."""

    gym: str | tuple[str, ...] | None = None
    """A gym of this config, or several in equal shares: their training tasks with their worked (gold) answers."""
    jsonl: Path | None = None
    """File of rows `{"messages": [{"role": ..., "content": ...}, ...]}`, or of a published form (docs/rows.md): JSON
    lines, a JSON array or Parquet, packed or not."""
    dataset: str | None = None
    """Hub name or local folder for `datasets.load_dataset`, with such rows."""
    split: str = "train"
    """Split of `dataset`."""
    max_examples: Positive | None = None
    """Use only this many conversations, chosen by the seed. None: all."""
    weight: Annotated[float, Field(gt=0.0)] = 1.0
    """Share of the conversations that come from here, relative to the weights of `ptx.more`; kept exactly over time."""

    @model_validator(mode="after")
    def _exactly_one(self) -> PtxSourceConfig:
        chosen = [key for key in ("gym", "jsonl", "dataset") if getattr(self, key) is not None]
        if len(chosen) > 1:
            raise ValueError(f"ptx.source names {' and '.join(chosen)}; name one of gym, jsonl, dataset")
        return self

    @property
    def gyms(self) -> tuple[str, ...]:
        """The gyms that `gym` names."""
        return (self.gym,) if isinstance(self.gym, str) else self.gym or ()

    @property
    def is_set(self) -> bool:
        """True where a source is named."""
        return any((self.gym, self.jsonl, self.dataset))


class PtxConfig(Section):
    """Loss on curated data beside the policy loss (Kimi K2, section 3.2.3), through the same INT4 grid."""

    source: PtxSourceConfig = PtxSourceConfig()
    """The curated conversations; used by the warm-up too."""
    more: tuple[PtxSourceConfig, ...] = ()
    """Further sources beside it, each with its weight."""
    coef: Annotated[float, Field(ge=0.0)] = 0.0
    """Weight of the mean negative log-likelihood per token, at step 0."""
    coef_end_frac: Annotated[float, Field(ge=0.0)] = 1.0
    """The weight at the last step as a fraction of `coef`."""
    coef_shape: Literal["linear", "cosine", "stepwise"] = "linear"
    """How it gets there: as `rollout.temperature.shape`, `stepwise` in 4 changes."""
    num_heldout: NonNegative = 0
    """Conversations of each source that are never learned from, to measure on: `learner/ptx_heldout_loss`."""
    heldout_every: Positive = 1
    """Steps between two such measurements."""
    batch_size: Positive = 16
    """Conversations per optimiser update."""
    num_conversations: Positive | None = None
    """How many conversations of each source this loss sees, a fixed sample of them; None: all. The warm-up sees all. A
    small set holds on to what the warm-up taught without teaching the task further."""
    long_conversations: Literal["refuse", "drop"] = "refuse"
    """What becomes of conversations with more tokens than `model.context_length` or `learner.max_microbatch_tokens`, or
    that the chat template cannot render. `refuse`: the run does not start. `drop`: another one takes their place."""

    @property
    def sources(self) -> tuple[PtxSourceConfig, ...]:
        """All sources; none where `source` is not set."""
        return (self.source, *self.more) if self.source.is_set else ()

    @model_validator(mode="after")
    def _sources_are_set(self) -> PtxConfig:
        if self.more and not all(source.is_set for source in (self.source, *self.more)):
            raise ValueError("ptx.more stands beside ptx.source; each of them must name one of gym, jsonl, dataset")
        if self.num_heldout and any(len(source.gyms) > 1 for source in self.sources):
            raise ValueError(
                "ptx.num_heldout cannot keep conversations of several gyms in one source apart, where smaller gyms "
                "come again; give each gym as a source of its own, the first as ptx.source, the others as ptx.more"
            )
        return self


class WarmupConfig(Section):
    """A supervised phase before step 0: PTX loss only, through QAT. Done once, as part of the run."""

    num_steps: NonNegative = 0
    """Optimiser updates; 0 skips the phase."""
    lr: Annotated[float, Field(ge=0.0)] = 5e-5
    """Peak learning rate, ramped over the first tenth and decayed linearly to a tenth."""
    batch_size: Positive = 16
    """Conversations per update."""
    until_loss: Annotated[float, Field(ge=0.0)] = 0.0
    """End early once the mean loss of ten updates is below this many nats per token; 0: do all `num_steps`."""
