"""The next weights in the engine's own memory layout, made beside it while it serves: a swap is then a plain copy.

vLLM's layerwise reload (rollout/engine/swap.py) takes any model and any kernel, but it repacks the INT4 weights and
wires up every layer while nobody can decode. Where the layout is known, all of that can be done before: `stage` turns
a checkpoint's tensors into (live tensor, new bytes) pairs, and `Staged.commit` copies. Live tensors keep their
addresses. What travels as it is (embeddings, norms) is copied straight from the artefact; codes and scales are made in
buffers of their own, one packed copy of the model that stays; the packed copy of a BF16 layer
(rollout/engine/cpu_linear.py), or of an INT4 layer's values (rollout/engine/cpu_copy.py), is made anew and exchanged
whole. Layers that share a weight share that copy.

Which tensor goes where is read off the model once: a layer that vLLM fuses holds the rows of its parts one behind the
other. That rule and the layout are believed only where they give, for the very folder that vLLM has just loaded, every
bit that vLLM made of it (`checked_staging`); anything else - a GPU, a kernel of another layout, experts, a slice of
tensor parallelism - keeps the layerwise way, and the log says why.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file
from torch import Tensor
from vllm.model_executor.layers.vocab_parallel_embedding import VocabParallelEmbedding

from rollout.engine.cpu_copy import int4_values
from rollout.engine.cpu_layout import kernel_layout
from rollout.engine.cpu_linear import input_width, packed_linear, random_rows
from rollout.weights.receiver import ExpectedTensors

__all__ = ["Staged", "Staging", "Unstageable", "checked_staging"]

_log = logging.getLogger(__name__)

_ATTENTION_SCALES = frozenset(f"_{of}_scale" for of in ("q", "k", "v", "prob"))
"""Of a quantised KV cache, which no folder here has: vLLM sets them itself; 0.26 keeps them as parameters."""


class Unstageable(ValueError):
    """Why this model's weights cannot be made beside it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Staged:
    """New weights, ready to be copied."""

    copies: list[tuple[Tensor, Tensor]]
    """(live tensor or some of its rows, its new values)."""
    linears: list[tuple[Any, Callable[..., Tensor]]]
    """(layer, the function that multiplies by its new weight): of BF16 layers, and of INT4 layers with a BF16 copy."""

    @torch.no_grad()
    def commit(self) -> None:
        """Let the engine serve them. After an exception it holds a mixture."""
        for live, new in self.copies:
            live.copy_(new)
        for layer, linear in self.linears:
            layer.cpu_linear = linear

    @torch.no_grad()
    def num_differences(self) -> int:
        """Tensors, and products with packed copies, that are not bit for bit what the engine has now."""
        differing = sum(not torch.equal(_bytes(live), _bytes(new.to(live.dtype))) for live, new in self.copies)
        for layer, linear in self.linears:
            weight = getattr(layer, "weight", None)
            x = random_rows(input_width(layer), weight)
            differing += not torch.equal(layer.cpu_linear(x, weight, None), linear(x, weight, None))
        return differing


@dataclass(frozen=True, slots=True, kw_only=True)
class _Place:
    """A live tensor and the tensors of the checkpoint whose rows it holds, in this order."""

    live: Tensor
    sources: tuple[str, ...]
    rows: tuple[int, ...]
    """Of each source."""
    buffer: Tensor | None = None
    """Where its kernel's layout is made; None where it holds what the checkpoint holds."""


class Staging:
    """Makes the weights of one live model from a checkpoint's tensors.

    Args:
        model: vLLM's, loaded.
        expected: what its folder holds, by checkpoint name.

    Raises:
        Unstageable: a tensor has another place or layout than is known here; names it.
    """

    def __init__(self, model: torch.nn.Module, expected: ExpectedTensors) -> None:
        self._expected = expected
        self._codes: list[_Place] = []
        self._scales: list[_Place] = []
        self._plain: list[_Place] = []
        self._linears: dict[tuple[str, ...], tuple[_Place, list[Any]]] = {}
        self._copied: list[tuple[Any, tuple[str, ...]]] = []
        self._constant: set[str] = set()
        fused = getattr(model, "packed_modules_mapping", {})
        seen: dict[int, _Place] = {}
        for name, module in model.named_modules():
            for attribute, live in _tensors(module, name, expected):
                if id(live) not in seen:  # a tied weight is filled once, under its first name
                    seen[id(live)] = self._add(module, attribute, live, _parts(name, fused))
                place = seen[id(live)]
                if attribute == "weight" and hasattr(module, "cpu_linear"):
                    self._linears.setdefault(place.sources, (place, []))[1].append(module)
                if attribute == "weight_packed" and hasattr(module, "cpu_linear"):
                    self._copied.append((module, _parts(name, fused)))
        used = {source for place in seen.values() for source in place.sources}
        if unused := sorted(expected.keys() - used):
            raise Unstageable(f"{unused[0]} (and {len(unused) - 1} more) fills no tensor of the engine under its name")

    def _add(self, module: torch.nn.Module, attribute: str, live: Tensor, parts: tuple[str, ...]) -> _Place:
        """Find a live tensor's sources, and note how it is filled."""
        sources = tuple(f"{part}.{attribute}" for part in parts)
        if missing := [source for source in sources if source not in self._expected]:
            raise Unstageable(f"the engine has a tensor {missing[0]}, which its folder has not")
        if live.device.type != "cpu":
            raise Unstageable(f"{sources[0]} is on {live.device}; only the layouts of the CPU's kernels are known")
        shapes = [self._expected[source].shape for source in sources]
        rows = tuple(shape[0] if shape else 1 for shape in shapes)
        place, total = _Place(live=live.data, sources=sources, rows=rows), sum(rows)
        if attribute == "weight_shape":
            return place  # the shapes are those of the manifest, and the kernel does not read it
        if attribute in ("weight_packed", "weight_scale") and hasattr(module, "weight_packed"):
            width = shapes[0][1]
            wanted = (total // 16, 16 * width) if attribute == "weight_packed" else (width, total)
            if tuple(live.shape) != wanted or any(n % 16 for n in rows):
                raise Unstageable(
                    f"{sources[0]} of shapes {shapes} became {tuple(live.shape)}: another kernel's layout"
                )
            place = _Place(live=live.data, sources=sources, rows=rows, buffer=torch.empty_like(live.data))
            (self._codes if attribute == "weight_packed" else self._scales).append(place)
            return place
        if not live.numel() and hasattr(module, "cpu_linear"):
            return place  # vLLM keeps its packed copy alone
        num_rows = len(live) if live.ndim else 1
        is_padded = isinstance(module, VocabParallelEmbedding) and total < num_rows
        if any(shape[1:] != live.shape[1:] for shape in shapes) or not (is_padded or total == num_rows):
            raise Unstageable(f"{sources[0]} of shapes {shapes} became {tuple(live.shape)}, which is not their rows")
        self._plain.append(place)
        return place

    @torch.no_grad()
    def stage(self, named: Iterable[tuple[str, Tensor]]) -> Staged:
        """Make the engine's layout of a whole set of weights. The engine is not touched, and may decode meanwhile.

        Args:
            named: every expected tensor by checkpoint name, with its dtype and shape; they must stay unchanged until
                the commit.

        Returns:
            What a commit copies; valid until the next call, which writes into the same buffers.
        """
        new = dict(named)
        copies: list[tuple[Tensor, Tensor]] = []
        for place in self._codes:
            assert place.buffer is not None
            for source, block in zip(place.sources, place.buffer.split([n // 16 for n in place.rows]), strict=True):
                kernel_layout(new[source], out=block)
            copies.append((place.live, place.buffer))
        for place in self._scales:
            assert place.buffer is not None
            for source, columns in zip(place.sources, place.buffer.split(place.rows, dim=1), strict=True):
                columns.copy_(new[source].t())
            copies.append((place.live, place.buffer))
        for place in self._plain:
            start = 0
            for source, num_rows in zip(place.sources, place.rows, strict=True):
                live = place.live[start : start + num_rows] if place.live.ndim else place.live
                copies.append((live, new[source]))
                start += num_rows
            if place.live.ndim and start < len(place.live):  # rows that pad a vocabulary: zeros, also after a sleep
                copies.append((place.live[start:], torch.zeros_like(place.live[start:])))
        linears = []
        for place, layers in self._linears.values():
            linear = packed_linear(_whole(place, new))
            linears += [(layer, linear) for layer in layers]
        for layer, parts in self._copied:
            values = int4_values([(new[f"{part}.weight_packed"], new[f"{part}.weight_scale"]) for part in parts])
            linears.append((layer, packed_linear(values)))
        return Staged(copies=copies, linears=linears)


def checked_staging(model: torch.nn.Module, folder: Path, expected: ExpectedTensors) -> Staging | None:
    """A `Staging` that is proven to make what vLLM has made of `folder`, or None; then the log says why.

    Args:
        model: as vLLM has just loaded it from `folder`.
        folder: safetensors files of `expected`.
        expected: of the folder.
    """
    try:
        staging = Staging(model, expected)
        found = (pair for file in sorted(folder.glob("*.safetensors")) for pair in load_file(file).items())
        wrong = staging.stage(found).num_differences()
        if not wrong:
            return staging
        reason = f"{wrong} tensors of this engine are not what is made for it here"
    except (AttributeError, KeyError, RuntimeError, TypeError, Unstageable) as error:
        reason = f"{type(error).__name__}: {error}"
    _log.warning("swaps go through vLLM's layerwise reload, which stalls the engine longer: %s", reason)
    return None


def _tensors(module: torch.nn.Module, name: str, expected: ExpectedTensors) -> Iterator[tuple[str, Tensor]]:
    """Parameters of a module's own, and those of its buffers that a checkpoint carries."""
    for key, tensor in module._parameters.items():
        if tensor is not None and key not in _ATTENTION_SCALES:
            yield key, tensor
    for key, tensor in module._buffers.items():
        if tensor is not None and f"{name}.{key}" in expected:
            yield key, tensor


def _parts(name: str, fused: Mapping[str, list[str]]) -> tuple[str, ...]:
    """Checkpoint names of the modules that a module of the engine holds."""
    parent, dot, last = name.rpartition(".")
    return tuple(f"{parent}{dot}{part}" for part in fused.get(last, (last,)))


def _whole(place: _Place, new: Mapping[str, Tensor]) -> Tensor:
    """A BF16 layer's weight, [O, I]: its parts, and the rows that pad it in the engine."""
    parts = [new[source] for source in place.sources]
    if (num_rows := sum(place.rows)) < len(place.live):
        parts.append(torch.zeros_like(place.live[num_rows:]))
    return torch.cat(parts) if len(parts) > 1 else parts[0]


def _bytes(tensor: Tensor) -> Tensor:
    return tensor.contiguous().reshape(-1).view(torch.uint8)
