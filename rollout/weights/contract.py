"""What travels from the learner to the engines: one flat buffer of bytes and a manifest that says what is in it.

Plain data, so any transport carries it. The buffer is a numpy array of bytes, which pickle protocol 5 hands over out of
band: Ray's object store maps it read-only into every process of a node without a copy. An artefact is immutable and
numbered; it serves the next swap, a repeated swap, and an engine that was rebuilt.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import torch

__all__ = ["ALIGNMENT", "DTYPES", "Manifest", "TensorEntry", "TensorSpec", "WeightArtefact", "WeightsRefused"]

ALIGNMENT = 64
"""Every tensor starts at a multiple of this many bytes: a cache line, and enough for any dtype."""

DTYPES: Mapping[str, torch.dtype] = {
    "bfloat16": torch.bfloat16,
    "float16": torch.float16,
    "float32": torch.float32,
    "float64": torch.float64,
    "int8": torch.int8,
    "int16": torch.int16,
    "int32": torch.int32,
    "int64": torch.int64,
    "uint8": torch.uint8,
    "bool": torch.bool,
}
"""Names of the dtypes that travel."""


class WeightsRefused(ValueError):
    """An artefact that no engine may take; it was refused before any engine was touched."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TensorSpec:
    """What an engine expects of one tensor."""

    dtype: str
    """A key of `DTYPES`."""
    shape: tuple[int, ...]
    """Dimensions, () for a scalar."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TensorEntry:
    """Where one tensor lies in the buffer.

    Example:
        TensorEntry(name="model.layers.0.mlp.up_proj.weight_scale", dtype="bfloat16", shape=(1536, 18), offset=448,
                    nbytes=55296, checksum=0x9F0C)
    """

    name: str
    """Its name in the checkpoint."""
    dtype: str
    """A key of `DTYPES`."""
    shape: tuple[int, ...]
    """Dimensions, () for a scalar."""
    offset: int
    """First byte, a multiple of `ALIGNMENT`."""
    nbytes: int
    """Number of bytes, the product of the shape times the size of an element."""
    checksum: int
    """xxh3_64 of those bytes."""
    rows: tuple[int, int] | None = None
    """First row and end of those that the bytes hold, between ranks of a learner (`rollout.weights.rows`); None: all,
    as in every artefact that an engine gets. `shape` is the whole tensor's either way."""

    @property
    def expected_nbytes(self) -> int:
        """Bytes that the shape, or the rows of it, and dtype call for."""
        shape = self.shape if self.rows is None else (self.rows[1] - self.rows[0], *self.shape[1:])
        return math.prod(shape) * DTYPES[self.dtype].itemsize


@dataclass(frozen=True, slots=True, kw_only=True)
class Manifest:
    """Table of contents of an artefact."""

    version: int
    """Version of the weights: the learner's step that published them."""
    entries: tuple[TensorEntry, ...]
    """In the order of the checkpoint: the tensors of a layer follow one another."""
    total_bytes: int
    """Size of the buffer."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class WeightArtefact:
    """One version of the packed weights."""

    manifest: Manifest
    """What is in the buffer."""
    buffer: np.ndarray
    """uint8 [total_bytes], read-only."""
