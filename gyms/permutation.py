"""A shuffled order that needs no list: a keyed bijection of range(size), evaluated at one place at a time.

A Feistel network over the next even number of bits permutes a power of four; places that fall outside the range are
permuted again until they fall inside ("cycle walking"), which keeps it a bijection. Time is O(1) in the size and
nothing is stored, so a gym may have 10^15 tasks, and a resumed run needs no saved iterator. blake2b is the round
function because Python's `hash` differs between processes. Not for secrets.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator

__all__ = ["candidates", "permute"]

MAX_CANDIDATES = 10_000
"""Places that may stand in for one; a smaller range is gone through as a whole."""

_NUM_ROUNDS = 6
_MIN_BITS = 4


def permute(index: int, size: int, key: str) -> int:
    """Where place `index` of `range(size)` goes under the permutation that `key` names.

    Example:
        sorted(permute(i, 10, "seed 3") for i in range(10)) == list(range(10))
    """
    if not 0 <= index < size:
        raise ValueError(f"permute: index must lie in [0, {size}), got {index}")
    half_bits = (max(_MIN_BITS, (size - 1).bit_length()) + 1) // 2
    digest = hashlib.blake2b(key.encode(), digest_size=32).digest()
    value = _feistel(index, half_bits, digest)
    while value >= size:
        value = _feistel(value, half_bits, digest)
    return value


def candidates(index: int, size: int, key: str) -> Iterator[int]:
    """`permute(index, size, key)`, then what may stand in for it, were it of no use.

    A walk from the same place along a second permutation: a function of the arguments alone, which meets every place of
    a range of up to MAX_CANDIDATES.
    """
    yield permute(index, size, key)
    for further in range(min(size, MAX_CANDIDATES)):
        yield permute((index + further) % size, size, f"{key} instead")


def _feistel(value: int, half_bits: int, key: bytes) -> int:
    mask = (1 << half_bits) - 1
    left, right = value >> half_bits, value & mask
    for round_number in range(_NUM_ROUNDS):
        block = round_number.to_bytes(1, "big") + right.to_bytes(16, "big")
        mixed = int.from_bytes(hashlib.blake2b(block, key=key, digest_size=16).digest(), "big") & mask
        left, right = right, left ^ mixed
    return (left << half_bits) | right
