"""Which experts the engine chose for each token of a response, as it travels with the sample: plain bytes.

The engine's half, which notes them, is rollout/engine/routing.py; the learner's, which computes with them, is
rl/routing.py.
"""

from __future__ import annotations

import base64
import math
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

__all__ = ["Routing"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Routing:
    """The experts of a context and what was sampled behind it, but for the last token, which no layer has seen."""

    shape: tuple[int, int, int]
    """Tokens, layers with routed experts, experts of a token."""
    experts: bytes
    """Their numbers in C order: one byte each, or two (little-endian) where one of them is above 255."""

    @classmethod
    def of(cls, experts: np.ndarray) -> Routing:
        """Of integers [tokens, layers, experts of a token]."""
        tokens, layers, top_k = experts.shape
        width = "u1" if experts.size == 0 or experts.max() < 256 else "<u2"
        return cls(shape=(tokens, layers, top_k), experts=experts.astype(width).tobytes())

    def array(self) -> np.ndarray:
        """int16 [tokens, layers, experts of a token]."""
        width = "u1" if len(self.experts) == math.prod(self.shape) else "<u2"
        return np.frombuffer(self.experts, width).reshape(self.shape).astype(np.int16)

    def as_json(self) -> dict[str, Any]:
        """Plain data, compressed."""
        packed = base64.b64encode(zlib.compress(self.experts)).decode("ascii")
        return {"shape": list(self.shape), "experts": packed}

    @classmethod
    def of_json(cls, state: Mapping[str, Any]) -> Routing:
        """What `as_json` gave."""
        tokens, layers, top_k = state["shape"]
        return cls(shape=(tokens, layers, top_k), experts=zlib.decompress(base64.b64decode(state["experts"])))
