"""A live model's tensors stay where they are, whatever loading does to them.

Captured graphs have addresses burnt in. vLLM's layerwise reload copies what it repacks into the old storage, but not
biases, which it does not take through its meta device: where a kernel wants another order of them (Marlin on a GPU), a
reload leaves the permuted bias in new memory and the checkpoint's own order in the old, which graphs then read. Eager
execution never shows it. So tensors that moved are brought home after every reload.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

__all__ = ["Homes"]


class _Home(NamedTuple):
    name: str
    module: torch.nn.Module
    attribute: str
    memory: Tensor
    """An alias of the tensor's storage at the time."""


class Homes:
    """Where the parameters and buffers of a model are.

    Args:
        model: as it serves.
    """

    def __init__(self, model: torch.nn.Module) -> None:
        self._homes = [
            _Home(f"{name}.{attribute}", module, attribute, tensor.data)
            for name, module in model.named_modules()
            for attribute, tensor in (*module._parameters.items(), *module._buffers.items())
            if tensor is not None and not tensor.is_meta
        ]

    @torch.no_grad()
    def bring_back(self) -> list[str]:
        """Copy what has moved to where it was, and point its tensor there; returns the names.

        Raises:
            RuntimeError: one has another shape or type than it had, so its old memory cannot hold it.
        """
        moved = []
        for name, module, attribute, memory in self._homes:
            tensor = getattr(module, attribute)
            if tensor.data_ptr() == memory.data_ptr():
                continue
            if tensor.shape != memory.shape or tensor.dtype != memory.dtype:
                raise RuntimeError(
                    f"{name} was {memory.dtype} {tuple(memory.shape)} and is {tensor.dtype} {tuple(tensor.shape)} "
                    "after a reload: captured graphs would go on reading the old one"
                )
            memory.copy_(tensor.data)
            tensor.data = memory
            moved.append(name)
        return moved
