"""The learner's end of the wire: tensors in, one immutable artefact in host memory out."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import numpy as np
import torch
import xxhash

from rollout.quant.rows import Rows
from rollout.weights.contract import ALIGNMENT, DTYPES, Manifest, TensorEntry, WeightArtefact

__all__ = ["build_artefact", "new_buffer", "offsets_of", "sealed"]

_DTYPE_NAMES = {dtype: name for name, dtype in DTYPES.items()}


@torch.no_grad()
def build_artefact(
    named_tensors: Iterable[tuple[str, torch.Tensor]], version: int, *, rows: Mapping[str, Rows] | None = None
) -> WeightArtefact:
    """Copy tensors into one flat buffer and describe them.

    The tensors are collected first, since the buffer's size is not known before the last; each is then copied once,
    straight from its device, and let go.

    Args:
        named_tensors: (checkpoint name, tensor), such as `packed_tensors(...)`; any device and strides.
        version: Number of these weights.
        rows: Of what tensors these are only some rows, and which: a rank's part of the weights.

    Returns:
        An artefact whose buffer is read-only; the same tensors give the same bytes.

    Raises:
        ValueError: two tensors of one name, an empty tensor, or a dtype that does not travel.
    """
    collected = list(named_tensors)
    cuts = rows or {}
    seen: set[str] = set()
    for name, tensor in collected:
        if name in seen:
            raise ValueError(f"two tensors are named {name!r}; the names of a checkpoint are distinct")
        if tensor.dtype not in _DTYPE_NAMES:
            raise ValueError(f"{name} is {tensor.dtype}; the wire carries {', '.join(DTYPES)}")
        if not tensor.numel():
            raise ValueError(f"{name} is empty: {tuple(tensor.shape)}; no checkpoint has such a tensor")
        seen.add(name)
    offsets, buffer = new_buffer([tensor.nbytes for _, tensor in collected])
    flat = torch.from_numpy(buffer)
    entries = []
    for position, offset in enumerate(offsets):
        name, tensor = collected[position]
        shape, cut = tuple(tensor.shape), cuts.get(name)
        flat[offset : offset + tensor.nbytes].view(tensor.dtype).view(shape).copy_(tensor)
        collected[position] = (name, flat[:0])  # lets the source go
        entries.append(
            TensorEntry(
                name=name,
                dtype=_DTYPE_NAMES[tensor.dtype],
                shape=shape if cut is None else (cut.total, *shape[1:]),
                offset=offset,
                nbytes=tensor.nbytes,
                checksum=xxhash.xxh3_64_intdigest(buffer[offset : offset + tensor.nbytes].data),
                rows=None if cut is None else (cut.start, cut.stop),
            )
        )
        del tensor
    return sealed(version, entries, buffer)


def new_buffer(sizes: Sequence[int]) -> tuple[list[int], np.ndarray]:
    """Offsets of tensors, given their bytes, and a uint8 buffer for them; gaps are part of the bytes, and 0."""
    offsets, end = offsets_of(sizes)
    buffer = np.empty(end, dtype=np.uint8)
    for offset, nbytes in zip(offsets, sizes, strict=True):
        buffer[offset + nbytes : -(-(offset + nbytes) // ALIGNMENT) * ALIGNMENT] = 0
    return offsets, buffer


def offsets_of(sizes: Sequence[int]) -> tuple[list[int], int]:
    """Where tensors of these bytes begin in an artefact's buffer, and its size."""
    offsets, end = [], 0
    for nbytes in sizes:
        offsets.append(end)
        end = -(-(end + nbytes) // ALIGNMENT) * ALIGNMENT
    return offsets, end


def sealed(version: int, entries: Iterable[TensorEntry], buffer: np.ndarray) -> WeightArtefact:
    """A full buffer as an artefact; nobody writes into it any more."""
    buffer.flags.writeable = False
    manifest = Manifest(version=version, entries=tuple(entries), total_bytes=buffer.nbytes)
    return WeightArtefact(manifest=manifest, buffer=buffer)
