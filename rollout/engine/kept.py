"""What a sleeping engine must not lose: every tensor that no checkpoint brings back.

At level 2 vLLM saves the registered buffers of its model and nothing else. A swap then fills the parameters that the
checkpoint carries. What is in neither set is garbage for ever: scales of attention, parameters that a kernel made for
itself, tensors that hang on a layer or on its kernel without being registered (others lost them and served noise). So
the question is turned around: everything reachable from the model is copied to the host before it sleeps, except the
parameters of layers that the checkpoint fills, which are nearly all of the memory. A layer under a name that the
checkpoint does not know counts as not filled: that costs memory of the host, never a weight.

`weight_shape` is kept too: staging does not write it, because no kernel reads it.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator
from typing import Any

import torch
from torch import Tensor

__all__ = ["Kept", "clear_kv_cache", "held_tensors", "is_filled"]

_KV_CACHE = re.compile(r"\.kv_cache\b")
_REGISTRIES = frozenset(("_parameters", "_buffers", "_modules"))
_MAX_DEPTH = 3
"""How deep objects that hang on a layer are looked into: layer -> quant_method -> scheme -> kernel."""


class Kept:
    """Copies of what the checkpoint does not bring back; the KV cache is not among it.

    Args:
        model: vLLM's.
        checkpoint_names: tensors of the folder that it serves.
    """

    def __init__(self, model: torch.nn.Module, checkpoint_names: Collection[str]) -> None:
        filled = set(filled_addresses(model, checkpoint_names))
        self._copies = [
            (live, live.detach().to("cpu", copy=True))
            for path, live in held_tensors(model)
            if live.numel() and live.data_ptr() not in filled and not _KV_CACHE.search(path)
        ]

    @property
    def num_bytes(self) -> int:
        """Host memory of the copies."""
        return sum(copy.nbytes for _, copy in self._copies)

    @torch.no_grad()
    def restore(self) -> None:
        """Write them back where they were."""
        for live, copy in self._copies:
            live.data.copy_(copy)


@torch.no_grad()
def clear_kv_cache(model: torch.nn.Module) -> None:
    """Zeros, as vLLM allocates it. A kernel may read whole blocks and weigh what is masked by 0, and 0 * NaN is NaN."""
    for path, tensor in held_tensors(model):
        if _KV_CACHE.search(path):
            tensor.zero_()


def is_filled(module_name: str, fused: dict[str, list[str]], checkpoint_names: Collection[str]) -> bool:
    """Whether a checkpoint brings the parameters of a module of the engine, under its name or those of its parts.

    Args:
        module_name: the engine's, such as `model.layers.0.self_attn.qkv_proj`.
        fused: vLLM's `packed_modules_mapping`, such as {"qkv_proj": ["q_proj", "k_proj", "v_proj"]}.
        checkpoint_names: names of tensors.
    """
    parent, dot, last = module_name.rpartition(".")
    prefixes = tuple(f"{parent}{dot}{part}." for part in fused.get(last, [last]))
    return any(name.startswith(prefixes) for name in checkpoint_names)


def filled_addresses(model: torch.nn.Module, checkpoint_names: Collection[str]) -> Iterator[int]:
    """Addresses of the parameters that a swap fills."""
    fused = getattr(model, "packed_modules_mapping", {})
    for name, module in model.named_modules():
        own = {key: p for key, p in module._parameters.items() if p is not None and key != "weight_shape"}
        if own and is_filled(name, fused, checkpoint_names):
            yield from (parameter.data_ptr() for parameter in own.values())


def held_tensors(model: torch.nn.Module) -> Iterator[tuple[str, Tensor]]:
    """(path, tensor) of every tensor that a model or what hangs on it holds, each once."""
    seen: set[tuple[int, tuple[int, ...], torch.dtype]] = set()
    for name, module in model.named_modules():
        for path, tensor in _inside(module, name, depth=0):
            if tensor.is_meta or tensor.layout != torch.strided:
                continue
            key = (tensor.data_ptr(), tuple(tensor.shape), tensor.dtype)
            if key not in seen:
                seen.add(key)
                yield path, tensor


def _inside(holder: Any, path: str, *, depth: int) -> Iterator[tuple[str, Tensor]]:
    """Tensors in an object's attributes, lists and dictionaries. Modules below the first are walked by the caller."""
    if isinstance(holder, Tensor):
        yield path, holder
    elif depth <= _MAX_DEPTH:
        for key, value in _attributes(holder, is_first=depth == 0):
            yield from _inside(value, f"{path}{key}", depth=depth + 1)


def _attributes(holder: Any, *, is_first: bool) -> list[tuple[str, Any]]:
    if isinstance(holder, torch.nn.Module):
        if not is_first:
            return []
        registered = dict(holder._parameters) | dict(holder._buffers)
        others = {key: value for key, value in vars(holder).items() if key not in _REGISTRIES}
        return [(f".{key}", value) for key, value in (registered | others).items()]
    if isinstance(holder, dict):
        return [(f"[{key!r}]", value) for key, value in holder.items()]
    if isinstance(holder, (list, tuple)):
        return [(f"[{i}]", value) for i, value in enumerate(holder)]
    if type(holder).__module__.startswith("vllm."):
        return [(f".{key}", value) for key, value in getattr(holder, "__dict__", {}).items()]
    return []
