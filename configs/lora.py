"""Settings of LoRA: which adapters are trained in the place of the model's own weights."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from configs.base import NonNegative, Section

__all__ = ["LoraConfig"]


class LoraConfig(Section):
    """Small matrices trained in the place of the model's (docs/int4.md): for learners that masters do not fit."""

    rank: NonNegative = 0
    """Inner dimension of the adapter of every INT4 matrix; 0: full training. 8 to 64; nothing else is trained then."""
    alpha: Annotated[float, Field(gt=0.0)] = 16.0
    """The adapters' product is multiplied by alpha / rank."""
