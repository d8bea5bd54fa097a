"""BF16 products on CPU: a packed copy of the weight, multiplied by in blocks of a fixed number of rows.

vLLM multiplies layers that stay in BF16 with a copy of their weight in oneDNN's own layout. Two things follow:

- a head that is tied to the embedding is not reloaded as a layer of its own, so after a swap its copy would stay the
  old one for ever; `refresh_cpu_linears` makes it anew;
- oneDNN chooses its blocking by the number of rows (on CPUs with AMX a row's bits then depend on how many others are
  in the batch), so rows are multiplied in blocks of a fixed number: the layer is batch-invariant.
"""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import torch
from torch import Tensor
from vllm.model_executor.layers.utils import dispatch_cpu_unquantized_gemm

__all__ = ["CPU_LINEAR_ROWS", "is_tied_head", "packed_linear", "refresh_cpu_linears"]

CPU_LINEAR_ROWS = 32
"""Rows of every BF16 product on CPU. Up to 32 rows oneDNN uses one blocking; more reads the weight fewer times."""


def is_tied_head(model: torch.nn.Module, name: str) -> bool:
    """A language-model head that shares the embedding's storage: the embedding's tensor fills both."""
    config = getattr(model, "config", None)
    return bool(getattr(config, "tie_word_embeddings", False)) and name.split(".")[-1] == "lm_head"


def refresh_cpu_linears(model: torch.nn.Module) -> None:
    """On CPU, pack tied heads anew from the weight they share, and fix the number of rows of every BF16 product."""
    for name, layer in model.named_modules():
        module: Any = layer  # vLLM hangs functions on its layers
        if not hasattr(module, "cpu_linear"):
            continue
        if is_tied_head(model, name):
            dispatch_cpu_unquantized_gemm(module, remove_weight=False)
        if not isinstance(module.cpu_linear, _FixedRows):
            module.cpu_linear = _FixedRows(module.cpu_linear)


def packed_linear(weight: Tensor) -> Callable[..., Tensor]:
    """What vLLM would hang on a layer of this weight ([O, I] bfloat16), without the layer."""
    layer: Any = SimpleNamespace(weight=weight)
    dispatch_cpu_unquantized_gemm(layer, remove_weight=False)
    return _FixedRows(layer.cpu_linear)


class _FixedRows:
    """A linear function applied to blocks of `CPU_LINEAR_ROWS` rows, the last one padded."""

    def __init__(self, linear: Callable[..., Tensor]) -> None:
        self.linear = linear

    def __call__(self, x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        rows = x.reshape(-1, x.shape[-1])
        missing = -len(rows) % CPU_LINEAR_ROWS
        padded = torch.nn.functional.pad(rows, (0, 0, 0, missing)) if missing else rows
        blocks = [self.linear(block, weight, bias) for block in padded.split(CPU_LINEAR_ROWS)]
        out = torch.cat(blocks)[: len(rows)] if len(blocks) > 1 else blocks[0][: len(rows)]
        return out.reshape(*x.shape[:-1], out.shape[-1])
