"""A device that forgets on a CPU what a GPU forgets at sleep of level 2: every tensor of the model, and the KV cache.

It looks for tensors by another way than the engine, which has to keep what no checkpoint brings back: it follows
Python's own references from the model, into closures and unregistered attributes. Floats become NaN, others noise.
"""

from __future__ import annotations

import gc
from collections.abc import Iterator
from types import BuiltinFunctionType, FunctionType, ModuleType
from typing import Any

import torch
from torch import Tensor


class Forgetful:
    """`rollout.engine.memory.DeviceMemory` for tests."""

    def __init__(self) -> None:
        self.num_forgotten = 0

    def sleep(self, llm: Any) -> None:
        self.num_forgotten = min(llm.collective_rpc(forget))  # in each process

    def wake(self, llm: Any, tag: str) -> None:
        """The memory is back, and holds what it holds."""


def forget(worker: Any) -> int:
    """Overwrite whatever a worker's model and KV cache hold; returns the number of tensors."""
    found = {(t.data_ptr(), t.shape): t for t in reachable(worker.model_runner.get_model())}
    found |= {(t.data_ptr(), t.shape): t for t in worker.model_runner.kv_caches}
    generator = torch.Generator().manual_seed(3)
    for tensor in found.values():
        overwrite(tensor, generator)
    return len(found)


@torch.no_grad()
def overwrite(tensor: Tensor, generator: torch.Generator) -> None:
    if tensor.is_floating_point():
        tensor.data.fill_(torch.nan)
    elif tensor.dtype == torch.bool:
        tensor.data.logical_not_()
    else:
        limits = torch.iinfo(tensor.dtype)
        tensor.data.random_(limits.min, min(limits.max, 2**31), generator=generator)


def reachable(root: Any) -> Iterator[Tensor]:
    """Every plain tensor that an object holds, however deep; globals are not an object's own."""
    seen, todo = {id(root)}, [root]
    while todo:
        holder = todo.pop()
        if isinstance(holder, Tensor) and holder.layout == torch.strided and not holder.is_meta and holder.numel():
            yield holder
        for value in _held(holder):
            if id(value) not in seen and not isinstance(value, (str, bytes, int, float, type, ModuleType)):
                seen.add(id(value))
                todo.append(value)


def _held(holder: Any) -> list[Any]:
    if isinstance(holder, FunctionType):
        return list(holder.__closure__ or ())  # not its globals
    if isinstance(holder, BuiltinFunctionType) or type(holder).__name__.startswith("CPUDNNL"):
        return []  # a handle of oneDNN is a pointer of the host's, in a tensor
    return gc.get_referents(holder)
