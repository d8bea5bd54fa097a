"""A running average of the masters (EMA), for an export that is steadier than the last update.

    average <- decay * average + (1 - decay) * master        after every update of RL, in fp32

It begins with the weights of step 0, after the warm-up. Sampling and learning never see it: it is what is exported
beside the last policy, on the same grid, and evaluated at the end. No Kimi report mentions one for RL; K1.5 averages
weights of two models for its short answers (section 2.4).

Under LoRA the masters are the factors: what is exported is the base with the product of their averages. The average of
their products, for which a copy of all matrices would be kept, differs by how far both factors moved together.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping

import torch
from torch import Tensor

__all__ = ["Average"]


class Average:
    """The average of some masters.

    Args:
        masters: fp32 tensors by name, live.
        decay: in (0, 1).
    """

    def __init__(self, masters: Mapping[str, Tensor], decay: float) -> None:
        self._masters, self._decay = masters, decay
        self.weights = {name: master.detach().clone() for name, master in masters.items()}
        self.num_updates = 0

    @torch.no_grad()
    def update(self) -> None:
        """The masters have changed."""
        self.num_updates += 1
        for name, master in self._masters.items():
            self.weights[name].lerp_(master, 1.0 - self._decay)

    @contextlib.contextmanager
    def in_place(self) -> Iterator[None]:
        """The masters hold the average; who computes with their image has to make it anew, then and afterwards."""
        self._exchange()
        try:
            yield
        finally:
            self._exchange()

    @torch.no_grad()
    def _exchange(self) -> None:
        for name, master in self._masters.items():
            kept = master.clone()
            master.copy_(self.weights[name])
            self.weights[name].copy_(kept)

    def load(self, weights: Mapping[str, Tensor], num_updates: int) -> None:
        """Take back what was saved."""
        self.num_updates = num_updates
        for name, kept in self.weights.items():
            kept.copy_(weights[name])
