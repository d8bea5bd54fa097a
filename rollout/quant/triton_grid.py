"""The INT4 grid on a GPU in one pass over the weights: values, codes and scales from a single read.

In plain torch the grid is about a dozen kernels, each of which reads and writes the whole matrix. Here a program takes
some groups, and does to each exactly what rollout/quant/grid.py does, rounding for rounding:

- divisions are `div_rn`, IEEE's; Triton's own `/` on a GPU is off by up to two units in the last place;
- half-even rounding of a small number is adding and taking off 1.5 * 2**23, whose neighbours in fp32 are 1 apart;
- bfloat16 is read, rounded to and written as bits: Triton's interpreter cuts off where a GPU rounds, and gets denormal
  numbers wrong;
- the largest magnitude is that of the bits, among which NaN is above infinity: a GPU's `max` of numbers leaves NaN out;
- the product of code and scale is exact in fp32, so narrowing it is the one rounding; code 0 gives +0.0.

It is used on CUDA alone, and believed only once it has given every bit of the plain form on weights of all magnitudes
(`is_proven`); if it does not, the log says so and the plain form stays. On a CPU the plain form in blocks is faster,
and Triton has no compiler for it; its interpreter (TRITON_INTERPRET=1) runs this file in the tests.

Shape letters: O out, I in, S groups of a row, G = group_size, N groups of a program, W words of a group.
"""

from __future__ import annotations

from typing import Any

import torch
import triton
import triton.language as tl
from torch import Tensor

__all__ = ["is_supported", "quantize_into"]

WEIGHTS_OF_A_PROGRAM = 4096
MAGIC = tl.constexpr(12582912.0)
"""1.5 * 2**23."""


def is_supported(weight: Tensor, group_size: int) -> bool:
    """Whether the kernel takes a matrix: fp32 or bf16, and groups that are a power of two, from 8 on."""
    is_power = group_size >= 8 and group_size & (group_size - 1) == 0
    return weight.dtype in (torch.float32, torch.bfloat16) and is_power and weight.numel() < 2**31


def quantize_into(
    weight: Tensor, group_size: int, *, words: Tensor | None, scale: Tensor | None, values: Tensor | None
) -> None:
    """Write what is asked for; None is left out.

    Args:
        weight: fp32 or bf16 [O, I], any strides; rounded to bfloat16 first.
        group_size: power of two from 8 on that divides I.
        words: int32 [O, I / 8], contiguous.
        scale: bfloat16 [O, S], contiguous.
        values: floating [O, I] of any strides; may be `weight` itself.
    """
    source = weight if weight.stride(1) == 1 else weight.contiguous()
    target: Tensor | None = values
    if values is not None and (values.stride(1) != 1 or values.dtype != torch.bfloat16):
        target = torch.empty(weight.shape, dtype=torch.bfloat16, device=weight.device)
    groups_of_row = weight.shape[1] // group_size
    num_groups = weight.shape[0] * groups_of_row
    if not num_groups:
        return
    block = max(1, WEIGHTS_OF_A_PROGRAM // group_size)
    launch: Any = _grid_kernel[(triton.cdiv(num_groups, block),)]
    launch(
        _bits(source), words, None if scale is None else _bits(scale), None if target is None else _bits(target),
        num_groups, groups_of_row, source.stride(0), 0 if target is None else target.stride(0), G=group_size, N=block,
        is_bf16=source.dtype == torch.bfloat16, has_words=words is not None, has_scale=scale is not None,
        has_values=values is not None,
    )  # fmt: skip
    if values is not None and target is not None and target is not values:
        values.copy_(target)


def _bits(tensor: Tensor) -> Tensor:
    return tensor.view(torch.int16) if tensor.dtype == torch.bfloat16 else tensor


@triton.jit
def _rounded(wide):
    """The upper half of fp32 numbers' bits, rounded to the nearest bfloat16, half to even; NaN stays NaN."""
    bits = wide.to(tl.uint32, bitcast=True)
    nearest = (bits + 0x7FFF + ((bits >> 16) & 1)) >> 16
    return tl.where(wide != wide, 0x7FC0, nearest)


@triton.jit
def _widened(bits):
    """fp32 of a bfloat16's bits, which are given as uint32."""
    return (bits << 16).to(tl.float32, bitcast=True)


@triton.jit
def _grid_kernel(
    weight, words, scale, values, num_groups, groups_of_row, weight_stride, values_stride, G: tl.constexpr,
    N: tl.constexpr, is_bf16: tl.constexpr, has_words: tl.constexpr, has_scale: tl.constexpr, has_values: tl.constexpr,
):  # fmt: skip
    group_N = tl.program_id(0) * N + tl.arange(0, N)
    is_there_N = group_N < num_groups
    row_N = group_N // groups_of_row
    column_N = (group_N % groups_of_row) * G
    inside_G = tl.arange(0, G)
    at_NG = row_N[:, None] * weight_stride + column_N[:, None] + inside_G[None, :]
    read_NG = tl.load(weight + at_NG, mask=is_there_N[:, None], other=0)
    if is_bf16:  # noqa: SIM108 - settled when the kernel is compiled
        wide_NG = _widened(read_NG.to(tl.uint16, bitcast=True).to(tl.uint32))
    else:
        wide_NG = _widened(_rounded(read_NG))
    magnitude_NG = wide_NG.to(tl.int32, bitcast=True) & 0x7FFFFFFF
    top_N = tl.cast(tl.max(magnitude_NG, axis=1), tl.float32, bitcast=True)
    scale_N = _rounded(tl.div_rn(top_N, 7.0))
    step_N = _widened(scale_N)
    divisor_N = tl.where(step_N == 0.0, 1.0, step_N)
    quotient_NG = _widened(_rounded(tl.div_rn(wide_NG, tl.broadcast_to(divisor_N[:, None], (N, G)))))
    codes_NG = (quotient_NG + MAGIC) - MAGIC
    codes_NG = tl.minimum(tl.maximum(codes_NG, -7.0), 7.0)
    if has_scale:
        tl.store(scale + group_N, scale_N.to(tl.uint16).to(tl.int16, bitcast=True), mask=is_there_N)
    if has_values:
        value_NG = _rounded(tl.where(codes_NG == 0.0, 0.0, codes_NG * step_N[:, None]))
        to_NG = row_N[:, None] * values_stride + column_N[:, None] + inside_G[None, :]
        tl.store(values + to_NG, value_NG.to(tl.uint16).to(tl.int16, bitcast=True), mask=is_there_N[:, None])
    if has_words:
        nibbles_NW8 = tl.reshape(codes_NG.to(tl.int32) + 8, (N, G // 8, 8))
        shifted_NW8 = nibbles_NW8 << (tl.arange(0, 8) * 4)[None, None, :]
        word_NW = tl.sum(shifted_NW8, axis=2)  # of disjoint bits: their union
        place_NW = group_N[:, None] * (G // 8) + tl.arange(0, G // 8)[None, :]
        tl.store(words + place_NW, word_NW, mask=is_there_N[:, None])
