"""How much of a policy's INT4 weights changed from one version to the next: the fraction of codes that flipped.

An update of RL is far smaller than a step of the grid: most masters move within their cell, and the served policy
changes only where one crosses an edge. Codes that do not flip at all mean that the engines sample from the same policy
again; docs/int4.md, "Training through it".

Packed bytes are compared as they are, two codes a byte, so this costs one pass over half a byte a weight. Scales are
left out: a scale moves with the largest weight of its group, and says little about the others.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from rollout.weights.contract import WeightArtefact
from rollout.weights.device_copy import DeviceCopy

__all__ = ["Changes", "changes", "code_flip_frac"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Changes:
    """What there is to know of new weights without having them."""

    num_bytes: int
    """Size of the packed weights."""
    code_flip_frac: float | None
    """Fraction of INT4 codes that differ from those before, in [0, 1]; None for the first, or where there are none."""
    copy: DeviceCopy | None = None
    """Where they are a second time, on the learner's device."""


def changes(before: WeightArtefact | None, after: WeightArtefact, *, copy: DeviceCopy | None = None) -> Changes:
    """Of `after`, and against `before` where there is one."""
    flipped = None if before is None else code_flip_frac(before, after)
    return Changes(num_bytes=after.manifest.total_bytes, code_flip_frac=flipped, copy=copy)


def code_flip_frac(before: WeightArtefact, after: WeightArtefact) -> float | None:
    """Fraction of the INT4 codes that differ, in [0, 1]; None where nothing is quantised.

    Args:
        before, after: versions of one model's weights, so of equal names and shapes.
    """
    old = {entry.name: entry for entry in before.manifest.entries}
    num_codes = num_flipped = 0
    for entry in after.manifest.entries:
        if not entry.name.endswith(".weight_packed"):
            continue
        was = old[entry.name]
        num_codes += 2 * entry.nbytes
        if was.checksum == entry.checksum:
            continue
        difference = (
            before.buffer[was.offset : was.offset + was.nbytes]
            ^ after.buffer[entry.offset : entry.offset + entry.nbytes]
        )
        num_flipped += np.count_nonzero(difference & 0x0F) + np.count_nonzero(difference & 0xF0)
    return num_flipped / num_codes if num_codes else None
