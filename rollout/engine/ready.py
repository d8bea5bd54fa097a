"""What an engine has ready to be swapped in, and what a swap took."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple

from rollout.engine.workers import Workers
from rollout.weights.contract import WeightArtefact
from rollout.weights.device_copy import Loan

__all__ = ["Ready", "SwapTiming"]


class Ready(NamedTuple):
    """An artefact that may be committed."""

    artefact: WeightArtefact
    copy: Any
    """`rollout.engine.staging.Staged`; None where vLLM's layerwise reload is to load it."""
    loan: Loan | None
    """What the reload reads in the artefact's place."""

    def load(self, workers: Workers) -> None:
        """Let the engine serve it. After an exception it holds a mixture."""
        workers.load(self.artefact, self.loan) if self.copy is None else self.copy.commit()

    def close(self) -> None:
        """Nothing reads what was borrowed any more; its owner may free it."""
        if self.loan is not None:
            self.loan.close()


@dataclass(frozen=True, slots=True, kw_only=True)
class SwapTiming:
    """How long a swap took on one engine."""

    version: int
    stall_seconds: float
    """Time in which the engine could not decode."""
    num_bytes: int
    """Size of the packed weights."""
    is_copy: bool
    """Whether the weights had been made in the engine's layout before, so that the stall was a copy."""
    is_lent: bool = False
    """Whether they were read from the learner's copy on the engine's device."""
