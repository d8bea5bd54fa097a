"""The engine's end of the wire: check everything, touch nothing; then hand out the tensors.

A packed checkpoint that lacks one tensor does not fail in the engine: vLLM leaves uninitialised memory or old weights
behind, and samples from them. So an artefact is compared with what the engine was built from, to the last name, and
refused before the engine is touched.
"""

from __future__ import annotations

import json
import math
import warnings
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

import numpy as np
import torch
import xxhash

from rollout.weights.contract import DTYPES, Manifest, TensorEntry, TensorSpec, WeightArtefact, WeightsRefused

__all__ = ["ExpectedTensors", "check_bytes", "expected_from_folder", "flat_bytes", "tensors", "validate"]

ExpectedTensors = Mapping[str, TensorSpec]
"""Checkpoint name -> dtype and shape of every tensor that an engine needs: no more, no fewer."""

_SAFETENSORS_DTYPES = {
    "BF16": "bfloat16",
    "F16": "float16",
    "F32": "float32",
    "F64": "float64",
    "I8": "int8",
    "I16": "int16",
    "I32": "int32",
    "I64": "int64",
    "U8": "uint8",
    "BOOL": "bool",
}


def validate(
    artefact: WeightArtefact,
    expected: ExpectedTensors,
    *,
    current_version: int | None = None,
    is_repeat_allowed: bool = False,
    flat: torch.Tensor | None = None,
) -> None:
    """Refuse an artefact that is not, bit for bit, a whole and newer set of this engine's weights.

    Args:
        artefact: As received.
        expected: Of the folder that the engine was built from.
        current_version: Version that the engine serves, None if it has none.
        is_repeat_allowed: Whether the same or an older version may come again (a swap repeated after a failure).
        flat: A copy of the buffer whose sum was compared (`rollout.weights.device_copy`): it is read instead.

    Raises:
        WeightsRefused: names the version, what is wrong, and the first few tensors. Checked in the order: version,
            names, dtypes and shapes, layout of the buffer, checksums, NaN and infinity.
    """
    manifest = artefact.manifest
    if current_version is not None and manifest.version <= current_version and not is_repeat_allowed:
        raise WeightsRefused(
            f"weights version {manifest.version} is not newer than version {current_version}, which is being served; "
            "to swap it in again, say so (is_repeat_allowed=True)"
        )
    _check_names(manifest, expected)
    _check_specs(manifest, expected)
    check_bytes(artefact) if flat is None else _check_layout(artefact)
    _refuse(manifest, "NaN or infinity", (name for name, tensor in tensors(artefact, flat) if _is_bad_number(tensor)))


def check_bytes(artefact: WeightArtefact) -> None:
    """Refuse an artefact whose bytes are not those that its manifest describes.

    Raises:
        WeightsRefused: names the version, what is wrong, and the first few tensors.
    """
    _check_layout(artefact)
    damaged = (entry.name for entry in artefact.manifest.entries if _is_damaged(artefact, entry))
    _refuse(artefact.manifest, "a wrong checksum (damaged on the way)", damaged)


def tensors(artefact: WeightArtefact, flat: torch.Tensor | None = None) -> Iterator[tuple[str, torch.Tensor]]:
    """(name, tensor) in the manifest's order, without a copy.

    The tensors are views into the artefact's read-only buffer, or into `flat`, a copy of it, and keep it alive, however
    long they are held. They must not be written to: torch has no read-only tensors, and the memory may be shared by
    every engine of a node.
    """
    if not artefact.manifest.total_bytes:
        return
    flat = flat_bytes(artefact) if flat is None else flat
    for entry in artefact.manifest.entries:
        yield entry.name, flat[entry.offset : entry.offset + entry.nbytes].view(DTYPES[entry.dtype]).view(entry.shape)


def flat_bytes(artefact: WeightArtefact) -> torch.Tensor:
    """The buffer as a tensor, without a copy. It must not be written to."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="The given buffer is not writable")
        return torch.frombuffer(artefact.buffer, dtype=torch.uint8)


def expected_from_folder(folder: str | Path) -> ExpectedTensors:
    """What an engine built from this folder needs: names, dtypes and shapes of its safetensors files.

    Reads the headers alone (8 bytes of length, then JSON), so it costs nothing and loads no weights.

    Raises:
        ValueError: the folder has no safetensors file, or one with a dtype that does not travel.
    """
    files = sorted(Path(folder).glob("*.safetensors"))
    if not files:
        raise ValueError(f"{folder} has no *.safetensors file; want the INT4 folder that the engine serves")
    expected: dict[str, TensorSpec] = {}
    for path in files:
        with path.open("rb") as file:
            header = json.loads(file.read(int.from_bytes(file.read(8), "little")))
        header.pop("__metadata__", None)
        for name, tensor in header.items():
            if tensor["dtype"] not in _SAFETENSORS_DTYPES:
                raise ValueError(f"{path.name}: {name} is {tensor['dtype']}; want {', '.join(_SAFETENSORS_DTYPES)}")
            expected[name] = TensorSpec(dtype=_SAFETENSORS_DTYPES[tensor["dtype"]], shape=tuple(tensor["shape"]))
    return expected


def _check_names(manifest: Manifest, expected: ExpectedTensors) -> None:
    counts = Counter(entry.name for entry in manifest.entries)
    _refuse(manifest, "missing, though the engine needs them", sorted(expected.keys() - counts.keys()))
    _refuse(manifest, "unknown to the engine", sorted(counts.keys() - expected.keys()))
    _refuse(manifest, "there twice", sorted(name for name, count in counts.items() if count > 1))


def _check_specs(manifest: Manifest, expected: ExpectedTensors) -> None:
    for what in ("dtype", "shape"):
        wrong = [
            f"{entry.name} is {getattr(entry, what)}, want {getattr(expected[entry.name], what)}"
            for entry in manifest.entries
            if getattr(entry, what) != getattr(expected[entry.name], what)
        ]
        _refuse(manifest, f"a wrong {what}", wrong)


def _check_layout(artefact: WeightArtefact) -> None:
    manifest, buffer = artefact.manifest, artefact.buffer
    if buffer.dtype != np.uint8 or buffer.ndim != 1 or buffer.nbytes != manifest.total_bytes:
        raise WeightsRefused(
            f"weights version {manifest.version}: the buffer is {buffer.dtype} {buffer.shape}; the manifest says "
            f"{manifest.total_bytes} bytes"
        )
    _refuse(manifest, "only some of their rows", (entry.name for entry in manifest.entries if entry.rows is not None))
    wrong_size = (entry.name for entry in manifest.entries if entry.nbytes != entry.expected_nbytes)
    _refuse(manifest, "a number of bytes that does not fit the shape", wrong_size)
    end, previous = 0, ""
    for entry in sorted(manifest.entries, key=lambda entry: (entry.offset, entry.nbytes)):
        if entry.offset < end:
            _refuse(manifest, "overlapping bytes", [previous, entry.name])
        if entry.offset % DTYPES[entry.dtype].itemsize or entry.offset + entry.nbytes > manifest.total_bytes:
            _refuse(manifest, "bytes outside the buffer or not aligned", [entry.name])
        end, previous = entry.offset + entry.nbytes, entry.name


def _is_damaged(artefact: WeightArtefact, entry: TensorEntry) -> bool:
    return xxhash.xxh3_64_intdigest(artefact.buffer[entry.offset : entry.offset + entry.nbytes].data) != entry.checksum


def _is_bad_number(tensor: torch.Tensor) -> bool:
    if not tensor.is_floating_point() or not tensor.numel():
        return False
    low, high = torch.aminmax(tensor)  # propagates NaN
    return not math.isfinite(low) or not math.isfinite(high)


def _refuse(manifest: Manifest, problem: str, names: Iterable[str]) -> None:
    """Raise if there are any names; nothing is left out of the count, five are spelt out."""
    names = list(names)
    if names:
        listed = ", ".join(names[:5]) + (f", and {len(names) - 5} more" if len(names) > 5 else "")
        raise WeightsRefused(f"weights version {manifest.version}: {problem}, {len(names)} tensors: {listed}")
