"""Weights of other times that a learner keeps beside its own: those that RL began with, and their running average.

Both are off by default (`learner.reference_kl`, `learner.ema_decay`), begin with the weights as they are after the
warm-up, and are saved beside masters and optimiser, as what cannot be computed again.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from rl.average import Average
from rl.reference import Reference

__all__ = ["Kept"]

FILE = "kept.pt"
"""Beside the learner's own state."""


class Kept:
    """A reference and an average, or none.

    Args:
        model: on its grid.
        masters: fp32 tensors by name, live.
        is_referred: keep the weights as they are, for `rl.reference`.
        ema_decay: of the average; None: no average.
    """

    def __init__(
        self, model: torch.nn.Module, masters: Mapping[str, Tensor], *, is_referred: bool, ema_decay: float | None
    ) -> None:
        self.reference = Reference(model) if is_referred else None
        self.average = None if ema_decay is None else Average(masters, ema_decay)

    def reference_logprobs(self, compute: Callable[[], Tensor]) -> Tensor | None:
        """What `compute` makes of the reference's weights, without gradient; None without a reference."""
        if self.reference is None:
            return None
        with self.reference.in_place():
            return compute()

    def updated(self) -> None:
        """The masters have changed."""
        if self.average is not None:
            self.average.update()

    def export(self, folder: Path, write: Callable[[Path], None], refresh: Callable[[], None]) -> None:
        """Write the average, if there is one yet, beside `folder` as NAME_ema.

        Args:
            write: writes the weights on the grid into a folder.
            refresh: puts the masters' image on the grid.
        """
        if self.average is not None and self.average.num_updates:
            with self.average.in_place():
                refresh()
                write(folder.with_name(f"{folder.name}_ema"))
            refresh()

    def tensors(self) -> list[Mapping[str, Tensor]]:
        """All that is kept, by name."""
        return [kept.weights for kept in (self.reference, self.average) if kept is not None]

    def save(self, folder: Path) -> None:
        """Write what there is into a checkpoint's folder."""
        state: dict[str, Any] = {}
        if self.reference is not None:
            state["reference"] = self.reference.weights
        if self.average is not None:
            state["average"], state["num_updates"] = self.average.weights, self.average.num_updates
        if state:
            with (folder / FILE).open("wb") as stream:
                torch.save(state, stream)
                stream.flush()
                os.fsync(stream.fileno())  # the manifest of the checkpoint must not reach the disk before it

    def load(self, folder: Path) -> None:
        """Read what `save` wrote."""
        if self.reference is None and self.average is None:
            return
        state = torch.load(folder / FILE, map_location="cpu", weights_only=True)
        if self.reference is not None:
            self.reference.load(state["reference"])
        if self.average is not None:
            self.average.load(state["average"], state["num_updates"])
