"""What a computation makes of tensors, counted instead of measured: the largest, and what is kept for backward.

Peak memory depends on the allocator and on what else the process did; these two numbers are the same on every machine,
and how they grow from one length to twice that length says whether memory is linear.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

__all__ = ["Largest", "kept_for_backward"]


class Largest(TorchDispatchMode):
    """While active: the largest tensor that any operation returned, forward and backward."""

    numel = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        for leaf in tree_leaves(result):
            if isinstance(leaf, torch.Tensor):
                self.numel = max(self.numel, leaf.numel())
        return result


@contextmanager
def kept_for_backward() -> Iterator[dict[int, int]]:
    """Bytes of each storage that autograd keeps, by its address; views of one storage count once."""
    kept: dict[int, int] = {}
    alive: list[torch.Tensor] = []  # an address that is freed could come again

    def keep(tensor: torch.Tensor) -> torch.Tensor:
        alive.append(tensor)
        kept[tensor.untyped_storage().data_ptr()] = tensor.untyped_storage().nbytes()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        yield kept
