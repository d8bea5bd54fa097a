"""Which problems are held out: one rule for every gym whose tasks are split by itself.

What identifies a problem (its text, or the gym's fingerprint of it) is hashed, whatever its case and spacing. So the
split depends neither on the order of the rows nor on the process, does not change when rows are added, and never parts
two copies of a problem.
"""

from __future__ import annotations

import hashlib

__all__ = ["is_heldout"]


def is_heldout(problem: str, *, fraction: float, seed: int = 0) -> bool:
    """Whether a problem belongs to the held-out share, in [0, 1]; `seed` picks which share that is.

    Example:
        is_heldout("What is 3 + 4?", fraction=0.1) == is_heldout("what  is 3 + 4?", fraction=0.1)
    """
    text = "".join(problem.casefold().split()).encode("utf-8", "surrogatepass")
    digest = hashlib.blake2b(text, digest_size=8, key=b"%d" % seed).digest()
    return int.from_bytes(digest, "big") < fraction * 2**64
