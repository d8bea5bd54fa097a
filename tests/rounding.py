"""How far two right computations of one number may be apart: tolerances from the data type and the length of the sums.

n roundings in a row, each off by at most u = eps / 2 of what is rounded, add up to at most `SIGMAS * sqrt(n) * u`
(Higham and Mary 2019, "A new approach to probabilistic rounding error analysis": the bound fails with probability
2 exp(-SIGMAS^2 / 2) = 3e-14); the sure bound, n * u, would be 50 times wider for the sums of a small model and hide
faults. Two computations are both off, hence twice that.
"""

from __future__ import annotations

import math

import torch

__all__ = ["rounding"]

SIGMAS = 8.0


def rounding(num_roundings: int, *, size: float = 1.0, dtype: torch.dtype = torch.float64) -> float:
    """Largest difference of two computations with `num_roundings` roundings in a row of numbers up to `size`.

    A sum of n products counts n roundings, whatever the order of its terms; sums that feed each other add up. `size` is
    the sum of the absolute values of the terms where they cancel, not what is left of them.
    """
    return 2 * SIGMAS * math.sqrt(num_roundings) * torch.finfo(dtype).eps / 2 * size
