"""How much of a policy's INT4 weights changed from one version to the next: the fraction of codes that flipped.

An update of RL is far smaller than a step of the grid: most masters move within their cell, and the served policy
changes only where one crosses an edge. Codes that do not flip at all mean that the engines sample from the same policy
again; docs/int4.md, "Training through it".

Packed words are compared as they are, eight codes at a time, in blocks that stay in cache: the hand-over of the weights
waits for it. Scales are left out: a scale moves with the largest weight of its group, and says little about the others.
"""

from __future__ import annotations

import numpy as np

from rollout.weights.contract import WeightArtefact

__all__ = ["code_flip_frac"]

_BLOCK_WORDS = 1 << 16


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
        num_flipped += _num_flipped(
            before.buffer[was.offset : was.offset + was.nbytes].view(np.uint32),
            after.buffer[entry.offset : entry.offset + entry.nbytes].view(np.uint32),
        )
    return num_flipped / num_codes if num_codes else None


def _num_flipped(before: np.ndarray, after: np.ndarray) -> int:
    """Codes that differ between packed words (uint32, eight codes each)."""
    total = 0
    for start in range(0, len(before), _BLOCK_WORDS):
        bits = before[start : start + _BLOCK_WORDS] ^ after[start : start + _BLOCK_WORDS]
        bits |= bits >> 1  # any bit of a code, into its lowest one
        bits |= bits >> 2
        bits &= 0x11111111
        total += int(np.bitwise_count(bits).sum(dtype=np.int64))
    return total
