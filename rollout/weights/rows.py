"""One artefact from those of a learner's ranks: rows laid beside rows, packed as they are.

A rank packs the rows that it holds and describes them in a manifest of its own, each entry with its row range. Rows of
a tensor are neighbours in memory, so joining is copying; nothing is unpacked, and 16-bit weights of quantised layers
never travel. The result has the bytes, checksums and order that one process would have published.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np
import xxhash

from rollout.weights.contract import Manifest, TensorEntry, WeightArtefact
from rollout.weights.sender import new_buffer, sealed

__all__ = ["join_rows"]


def join_rows(manifests: Sequence[Manifest], buffers: Iterable[np.ndarray], *, names: Sequence[str]) -> WeightArtefact:
    """The whole weights from their parts.

    Args:
        manifests: of every rank's part, of one version.
        buffers: the bytes of each, in that order; asked for one by one, and let go before the next.
        names: every tensor of the checkpoint, in its order.

    Raises:
        ValueError: a tensor is missing, or its parts are not all of its rows once each; names it.
    """
    parts: dict[str, list[TensorEntry]] = {name: [] for name in names}
    for manifest in manifests:
        for entry in manifest.entries:
            parts[entry.name].append(entry)
    for name, held in parts.items():
        _check_whole(name, held)
    whole = {name: held[0] for name, held in parts.items()}
    sizes = [entry.nbytes if entry.rows is None else _row_bytes(entry) * entry.shape[0] for entry in whole.values()]
    offsets, joined = new_buffer(sizes)
    starts = dict(zip(names, offsets, strict=True))
    for manifest, buffer in zip(manifests, buffers, strict=True):
        for entry in manifest.entries:
            start = starts[entry.name] + (0 if entry.rows is None else entry.rows[0] * _row_bytes(entry))
            joined[start : start + entry.nbytes] = buffer[entry.offset : entry.offset + entry.nbytes]
    entries = [
        TensorEntry(
            name=name, dtype=whole[name].dtype, shape=whole[name].shape, offset=offset, nbytes=nbytes,
            checksum=xxhash.xxh3_64_intdigest(joined[offset : offset + nbytes].data),
        )
        for name, offset, nbytes in zip(names, offsets, sizes, strict=True)
    ]  # fmt: skip
    return sealed(manifests[0].version, entries, joined)


def _row_bytes(entry: TensorEntry) -> int:
    assert entry.rows is not None
    return entry.nbytes // (entry.rows[1] - entry.rows[0])


def _check_whole(name: str, parts: Sequence[TensorEntry]) -> None:
    if len(parts) == 1 and parts[0].rows is None:
        return
    held = sorted(entry.rows for entry in parts if entry.rows is not None)
    total = parts[0].shape[0] if parts else 0
    ends = [0, *(stop for _, stop in held)]
    if len(held) != len(parts) or not held or [start for start, _ in held] != ends[:-1] or ends[-1] != total:
        raise ValueError(
            f"{name} comes as rows {[entry.rows for entry in parts]} of {total}; want every row once, or the whole once"
        )
