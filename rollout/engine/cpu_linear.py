"""BF16 products on CPU: a packed copy of the weight, multiplied by in blocks of rows.

vLLM multiplies layers that stay in BF16 with a copy of their weight in oneDNN's own layout. Two things follow:

- a head that is tied to the embedding is not reloaded as a layer of its own, so after a swap its copy would stay the
  old one for ever; `refresh_cpu_linears` makes it anew;
- oneDNN chooses its blocking by the number of rows. On CPUs with AMX a row's bits then depend on how many others are in
  the batch; on those without, they did not. What holds here is tried out for every shape of a weight, once: where rows
  are not free of each other, they are multiplied in blocks of a fixed number, so that the layer is batch-invariant.
"""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import torch
from torch import Tensor
from vllm.model_executor.layers.utils import dispatch_cpu_unquantized_gemm

__all__ = ["input_width", "is_tied_head", "packed_linear", "random_rows", "refresh_cpu_linears"]

FIXED_ROWS = 32
"""Rows of a product whose rows are not free of each other. Up to so many oneDNN uses one blocking."""
MOST_ROWS = 256
"""Rows of a product at most: the largest number that is tried."""
_TRIED = (*range(1, 18), 31, 32, 33, 47, 48, 49, 63, 64, 65, 95, 96, 97, 127, 128, 129, 191, 192, 193, 255, MOST_ROWS)
"""Numbers of rows that have to give the bits of blocks of `FIXED_ROWS`: around those at which kernels change theirs."""

_free: dict[tuple[int, ...], bool] = {}
"""[O, I] of a weight -> whether the rows of a product with it are free of each other on this machine."""


def is_tied_head(model: torch.nn.Module, name: str) -> bool:
    """A language-model head that shares the embedding's storage: the embedding's tensor fills both."""
    config = getattr(model, "config", None)
    return bool(getattr(config, "tie_word_embeddings", False)) and name.split(".")[-1] == "lm_head"


def input_width(layer: Any) -> int:
    """Numbers in a row of what vLLM's linear layer or head is applied to."""
    found = getattr(layer, "embedding_dim", None) or getattr(layer, "input_size_per_partition", None)
    return found or layer.input_size  # replicated layers, such as a router, have no partition


def random_rows(width: int, weight: Tensor | None) -> Tensor:
    """[MOST_ROWS, width] to try a product with, in the type of its weight; None: bfloat16."""
    x = torch.randn(MOST_ROWS, width, generator=torch.Generator().manual_seed(0))
    return x.to(torch.bfloat16 if weight is None else weight.dtype)


def refresh_cpu_linears(model: torch.nn.Module) -> None:
    """On CPU, pack tied heads anew from the weight they share, and make every BF16 product batch-invariant."""
    for name, layer in model.named_modules():
        module: Any = layer  # vLLM hangs functions on its layers
        if not hasattr(module, "cpu_linear"):
            continue
        if is_tied_head(model, name):
            dispatch_cpu_unquantized_gemm(module, remove_weight=False)
        if not isinstance(module.cpu_linear, _InBlocks):
            row = random_rows(input_width(module), module.weight)[:1]
            shape = (module.cpu_linear(row, module.weight, None).shape[1], row.shape[1])
            module.cpu_linear = _InBlocks(module.cpu_linear, module.weight, shape)


def packed_linear(weight: Tensor) -> Callable[..., Tensor]:
    """What vLLM would hang on a layer of this weight, without the layer.

    Args:
        weight: bfloat16 [O, I].

    Returns:
        A function of x ([..., I] bfloat16), the layer's weight, which it does not read, and the bias ([O] or None); it
        gives [..., O] bfloat16.
    """
    layer: Any = SimpleNamespace(weight=torch.nn.Parameter(weight, requires_grad=False))
    dispatch_cpu_unquantized_gemm(layer, remove_weight=True)  # leaves it where its product has no layout of its own
    return _InBlocks(lambda x, _, bias: layer.cpu_linear(x, layer.weight, bias), None, tuple(weight.shape))


class _InBlocks:
    """A linear function applied to blocks of rows, so that no row's bits depend on how many there are.

    Args:
        linear: of x, the layer's weight and its bias, as vLLM hangs it on a layer.
        weight: the layer's, as far as it is kept.
        shape: [O, I] of the layer's weight.
    """

    def __init__(self, linear: Callable[..., Tensor], weight: Tensor | None, shape: tuple[int, ...]) -> None:
        self.linear = linear
        if shape not in _free:
            _free[shape] = _is_free(linear, weight, width=shape[1])
        self.is_free = _free[shape]

    def __call__(self, x: Tensor, weight: Tensor | None, bias: Tensor | None) -> Tensor:
        rows = x.reshape(-1, x.shape[-1])
        size, missing = (MOST_ROWS, 0) if self.is_free else (FIXED_ROWS, -len(rows) % FIXED_ROWS)
        padded = torch.nn.functional.pad(rows, (0, 0, 0, missing)) if missing else rows
        blocks = [self.linear(block, weight, bias) for block in padded.split(size)]
        out = torch.cat(blocks) if len(blocks) > 1 else blocks[0]
        return out[: len(rows)].reshape(*x.shape[:-1], out.shape[-1])


@torch.no_grad()
def _is_free(linear: Callable[..., Tensor], weight: Tensor | None, *, width: int) -> bool:
    """Whether the bits of a product's row were those of a block of `FIXED_ROWS`, whatever number of rows was tried."""
    x = random_rows(width, weight)
    expected = torch.cat([linear(block, weight, None) for block in x.split(FIXED_ROWS)])
    return all(torch.equal(linear(x[:n], weight, None), expected[:n]) for n in _TRIED)
