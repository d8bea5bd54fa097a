"""The learner's end of the wire: tensors in, one immutable artefact in host memory out."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import torch
import xxhash

from rollout.weights.contract import ALIGNMENT, DTYPES, Manifest, TensorEntry, WeightArtefact

__all__ = ["build_artefact"]

_DTYPE_NAMES = {dtype: name for name, dtype in DTYPES.items()}


@torch.no_grad()
def build_artefact(named_tensors: Iterable[tuple[str, torch.Tensor]], version: int) -> WeightArtefact:
    """Copy tensors into one flat buffer and describe them.

    The tensors are collected first, since the buffer's size is not known before the last; each is then copied once,
    straight from its device, and let go.

    Args:
        named_tensors: (checkpoint name, tensor), such as `packed_tensors(...)`; any device and strides.
        version: Number of these weights.

    Returns:
        An artefact whose buffer is read-only; the same tensors give the same bytes.

    Raises:
        ValueError: two tensors of one name, an empty tensor, or a dtype that does not travel.
    """
    collected = list(named_tensors)
    layout, total_bytes, seen = [], 0, set()
    for name, tensor in collected:
        if name in seen:
            raise ValueError(f"two tensors are named {name!r}; the names of a checkpoint are distinct")
        if tensor.dtype not in _DTYPE_NAMES:
            raise ValueError(f"{name} is {tensor.dtype}; the wire carries {', '.join(DTYPES)}")
        if not tensor.numel():
            raise ValueError(f"{name} is empty: {tuple(tensor.shape)}; no checkpoint has such a tensor")
        seen.add(name)
        layout.append((name, _DTYPE_NAMES[tensor.dtype], tuple(tensor.shape), total_bytes, tensor.nbytes))
        total_bytes = -(-(total_bytes + tensor.nbytes) // ALIGNMENT) * ALIGNMENT

    buffer = np.empty(total_bytes, dtype=np.uint8)
    flat = torch.from_numpy(buffer)
    entries = []
    for position, (name, dtype, shape, offset, nbytes) in enumerate(layout):
        flat[offset : offset + nbytes].view(DTYPES[dtype]).view(shape).copy_(collected[position][1])
        buffer[offset + nbytes : -(-(offset + nbytes) // ALIGNMENT) * ALIGNMENT] = 0  # gaps are part of the bytes
        collected[position] = (name, flat[:0])  # lets the source go
        checksum = xxhash.xxh3_64_intdigest(buffer[offset : offset + nbytes].data)
        entries.append(
            TensorEntry(name=name, dtype=dtype, shape=shape, offset=offset, nbytes=nbytes, checksum=checksum)
        )
    buffer.flags.writeable = False
    return WeightArtefact(
        manifest=Manifest(version=version, entries=tuple(entries), total_bytes=total_bytes), buffer=buffer
    )
