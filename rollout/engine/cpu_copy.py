"""INT4 layers of an engine on CPUs, multiplied by with a BF16 copy of their values: `engine.bf16_copy`.

vLLM's INT4 kernel takes codes to fp32 and multiplies there, unless the CPU has AMX. That is far below what the CPU does
in BF16 (docs/int4.md, On a CPU, has the figures). The learner computes with bf16(code * scale), and so does the copy:
the packed codes stay what is served, checked, swapped and counted, and the copy, in oneDNN's layout, is made of them
with every version. It takes two bytes a weight, and during a swap twice that.

`copy_int4_layers` makes the first one by multiplying an identity through vLLM's kernel, and so does `refresh_copies`
after vLLM's own reload. A swap whose bytes were made beside the engine takes its codes apart instead; that both give
the same bits is checked when the engine starts (rollout/engine/staging.py).

Left out: the experts of a layer (rollout/engine/cpu_experts.py), which are multiplied by as they are.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from vllm.model_executor.layers.linear import LinearBase

from rollout.engine.cpu_linear import input_width, packed_linear
from rollout.quant.grid import dequantize
from rollout.quant.pack import CODES_PER_WORD, unpack_int4

__all__ = ["copy_int4_layers", "int4_values", "refresh_copies"]


def copy_int4_layers(model: torch.nn.Module) -> None:
    """Once after loading: from now on INT4 layers are multiplied by with a copy of their values."""
    for module in model.modules():
        layer: Any = module
        if isinstance(module, LinearBase) and hasattr(layer, "weight_packed"):
            layer.scheme = _Copied(layer.scheme)
    refresh_copies(model)


@torch.no_grad()
def refresh_copies(model: torch.nn.Module) -> None:
    """Make the copies of live INT4 layers that have one anew: what their kernel makes of an identity, W^T."""
    for module in model.modules():
        layer: Any = module
        if isinstance(scheme := getattr(layer, "scheme", None), _Copied):
            identity = torch.eye(input_width(layer), dtype=torch.bfloat16)
            layer.cpu_linear = packed_linear(scheme.kept.apply_weights(layer, identity, None).t().contiguous())


def int4_values(parts: Sequence[tuple[Tensor, Tensor]]) -> Tensor:
    """[O, I] bfloat16: the values of a layer that holds several matrices one behind the other.

    Args:
        parts: of each matrix its packed codes (int32 [O_i, I / 8]) and scales (bfloat16 [O_i, I / group_size]).
    """
    rows = [len(packed) for packed, _ in parts]
    values = torch.empty((sum(rows), parts[0][0].shape[1] * CODES_PER_WORD), dtype=torch.bfloat16)
    for (packed, scale), block in zip(parts, values.split(rows), strict=True):
        dequantize(unpack_int4(packed), scale, out=block)
    return values


class _Copied:
    """In the place of vLLM's scheme of a layer, which goes on loading it."""

    def __init__(self, kept: Any) -> None:
        self.kept, self.kernel = kept, kept.kernel

    def process_weights_after_loading(self, layer: Any) -> None:
        """As ever: codes and scales in the kernel's layout."""
        self.kept.process_weights_after_loading(layer)

    def apply_weights(self, layer: Any, x: Tensor, bias: Tensor | None) -> Tensor:
        """The product with the copy."""
        return layer.cpu_linear(x, None, bias)
