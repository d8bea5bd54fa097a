"""The one INT4 grid: which sixteenth of a number line every weight of a group is rounded to.

Learner, packer, exporter and tests all call this file, because two quantisers that agree "almost everywhere" train one
policy and serve another. For a group of `group_size` neighbouring weights of one row, in bfloat16:

    scale = bf16(max|w| / 7)                    one rounding, from an fp32 division: this is the stored scale
    code  = clamp(round_half_even(bf16(w / scale)), -7, 7)
    value = bf16(code * scale)

A group whose scale is 0 (all zeros, or denormals below half of the smallest scale) has codes 0 and values +0.0. There
is no epsilon: a floor under the scale would move the groups of near-denormal weights that real checkpoints contain.

Why these roundings. The first line is `to(bfloat16)`: the forward pass and the file both see bf16, and the grid of an
fp32 master is another grid (27 % of the scales and 22 % of the values differ). The scale is rounded before the codes
are computed, since the engine multiplies by the rounded one. The range is [-7, 7] and not [-8, 7], so that the largest
weight of a group is a code and quantising twice changes nothing, bit for bit. (Checked for every bfloat16 there is: of
the largest weights of a group, only 25, 26, 32 and 39 times 2**-133 take two passes to settle.) Convention: Kimi K2
Thinking's released weights; arithmetic as in SkyRL's bit-exact fake quantiser.

How it is fast. A bf16 operation on a CPU widens, computes and narrows at every step, so the work is done in fp32, in
place, in row blocks that stay in cache, and narrowed only where the three lines above round (an fp32 quotient narrowed
is what a bf16 division gives). The tests hold the two to each other bitwise. Values, codes and packed words of a matrix
come from one pass (`quantize_packed`): the learner's forward weights and what is published are made together.
Large matrices go through `rollout.quant.compiled_grid` instead: all in one pass, the same bits.
On a GPU one Triton kernel does it all (rollout/quant/triton_grid.py), once it has given these bits there.
Left out: `torch.compile`, which by default drops intermediate roundings to bf16 and so changes 7 to 8 % of the values.

Not checked here, because this runs at every optimiser step: that weights are finite. A NaN or an infinity makes its
group's scale NaN or infinite, so it cannot hide; `check_finite` names the tensor before anything is published.

Shape letters: O out, I in, S = I / group_size groups of a row, R rows of a block.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from functools import cache
from typing import NamedTuple

import torch

from rollout.quant.pack import CODES_PER_WORD, pack_int4

__all__ = [
    "MAX_CODE",
    "Packed",
    "Quantized",
    "check_finite",
    "dequantize",
    "fake_quantize",
    "num_differences",
    "quantize",
    "quantize_packed",
]

_log = logging.getLogger(__name__)

MAX_CODE = 7
"""Largest code; the codes are -7..7, so that the grid is symmetric and idempotent."""

_BLOCK_WEIGHTS = 1 << 19
"""Weights of one block on a CPU: few enough for its scratch (10 bytes a weight) to stay in a cache, and so many that
the calls into torch cost little beside the work."""
_COMPILED_WEIGHTS = 1 << 16
"""From so many weights on, a matrix in a CPU's memory is quantised by the compiled pass; small models need no numba."""
_SMALLEST_NORMAL = torch.finfo(torch.bfloat16).smallest_normal


class Quantized(NamedTuple):
    """A matrix on the grid: `value = bf16(code * scale)`."""

    codes: torch.Tensor
    """int8 [O, I], each in -7..7."""
    scale: torch.Tensor
    """bfloat16 [O, S], >= 0; 0 exactly where all codes of the group are 0 for lack of a representable scale."""


class Packed(NamedTuple):
    """A matrix on the grid as it travels and is stored."""

    words: torch.Tensor
    """int32 [O, W]: `pack_int4` of the codes."""
    scale: torch.Tensor
    """bfloat16 [O, S]."""


class _Block(NamedTuple):
    rows: slice
    codes_RI: torch.Tensor  # fp32, integers -7..7, a zero may be negative
    scale_RS: torch.Tensor  # bfloat16


@torch.no_grad()
def quantize(weight: torch.Tensor, group_size: int) -> Quantized:
    """Codes and scales of a matrix.

    Args:
        weight: [O, I] floating, any strides and device; rounded to bfloat16 first.
        group_size: Neighbouring weights of a row that share a scale; divides I.

    Raises:
        ValueError: `weight` is not a floating matrix, or `group_size` does not divide I.
    """
    _check_matrix(weight, group_size)
    num_out, num_in = weight.shape
    codes_OI = torch.empty((num_out, num_in), dtype=torch.int8, device=weight.device)
    scale_OS = torch.empty((num_out, num_in // group_size), dtype=torch.bfloat16, device=weight.device)
    for block in _blocks(weight, group_size):
        codes_OI[block.rows] = block.codes_RI
        scale_OS[block.rows] = block.scale_RS
    return Quantized(codes_OI, scale_OS)


@torch.no_grad()
def dequantize(codes: torch.Tensor, scale: torch.Tensor, *, out: torch.Tensor | None = None) -> torch.Tensor:
    """bfloat16 [O, I]: code * scale, rounded once, as the engine's kernels compute it.

    Args:
        codes: int8 [O, I].
        scale: bfloat16 [O, S]; the group size is I / S.
        out: bfloat16 [O, I], contiguous, to write into instead of a new tensor.

    Raises:
        ValueError: the shapes do not belong together or `scale` is not bfloat16.
    """
    if codes.ndim != 2 or scale.ndim != 2 or len(codes) != len(scale) or codes.shape[1] % max(scale.shape[1], 1):
        raise ValueError(
            f"codes {tuple(codes.shape)} and scale {tuple(scale.shape)} do not belong together: "
            "want [out, in] and [out, in / group_size]"
        )
    if scale.dtype != torch.bfloat16:
        raise ValueError(f"scale is {scale.dtype}; want torch.bfloat16, the precision in which it is stored")
    values = codes.to(torch.bfloat16) if out is None else out.copy_(codes)
    values.view(*scale.shape, -1).mul_(scale[:, :, None])
    return values


@torch.no_grad()
def fake_quantize(weight: torch.Tensor, group_size: int, *, out: torch.Tensor | None = None) -> torch.Tensor:
    """`dequantize(*quantize(weight, group_size))` in one pass: bfloat16 [O, I], bitwise equal to it.

    Has no gradient; the straight-through estimator belongs to the learner.

    Args:
        weight: [O, I] floating, any strides and device; rounded to bfloat16 first.
        group_size: Neighbouring weights of a row that share a scale; divides I.
        out: bfloat16 [O, I] of any strides to write into (`weight` itself will do) instead of a new tensor.

    Raises:
        ValueError: as `quantize`, or `out` has another shape or dtype.
    """
    _check_matrix(weight, group_size)
    if out is None:
        out = torch.empty(weight.shape, dtype=torch.bfloat16, device=weight.device)
    elif out.shape != weight.shape or out.dtype != torch.bfloat16:
        raise ValueError(f"out is {out.dtype} {tuple(out.shape)}; want torch.bfloat16 {tuple(weight.shape)}")
    if _has_kernel(weight, group_size):
        _kernel()(weight, group_size, words=None, scale=None, values=out)
        return out
    for block in _blocks(weight, group_size):
        _write_values(block, out)
    return out


@torch.no_grad()
def quantize_packed(
    weight: torch.Tensor, group_size: int, *, values: torch.Tensor | None = None, out: Packed | None = None
) -> Packed:
    """`pack_int4` of the codes and the scales, and the values too if asked for, in one pass.

    Args:
        weight: [O, I] floating, any strides and device; rounded to bfloat16 first.
        group_size: Neighbouring weights of a row that share a scale; divides I, a multiple of 8.
        values: floating [O, I] of any strides that gets what `fake_quantize` gives (`weight` itself will do).
        out: What an earlier call for this shape returned, to write into.

    Raises:
        ValueError: as `quantize`, or I is no multiple of 8.
    """
    _check_matrix(weight, group_size)
    num_out, num_in = weight.shape
    if num_in % CODES_PER_WORD:
        raise ValueError(f"got {tuple(weight.shape)}; packing wants [out, in] with in % {CODES_PER_WORD} == 0")
    if out is None:
        out = Packed(
            torch.empty((num_out, num_in // CODES_PER_WORD), dtype=torch.int32, device=weight.device),
            torch.empty((num_out, num_in // group_size), dtype=torch.bfloat16, device=weight.device),
        )
    if weight.numel() >= _COMPILED_WEIGHTS and _is_plain(weight, values, group_size):
        from rollout.quant.compiled_grid import quantize_rows

        quantize_rows(weight, group_size, out.words, out.scale, values)
        return out
    quantise = _packed_by_kernel if _has_kernel(weight, group_size) else _packed_by_blocks
    return quantise(weight, group_size, values=values, out=out)


def _packed_by_blocks(weight: torch.Tensor, group_size: int, *, values: torch.Tensor | None, out: Packed) -> Packed:
    for block in _blocks(weight, group_size):
        pack_int4(block.codes_RI.to(torch.int8), out=out.words[block.rows])
        out.scale[block.rows] = block.scale_RS
        if values is not None:
            _write_values(block, values)
    return out


def check_finite(name: str, weight: torch.Tensor) -> None:
    """Refuse a tensor that the grid cannot hold: NaN, infinity, or a magnitude at the very top of bfloat16.

    The top is excluded because bf16(max/7) rounds up: 7 times it is infinity.

    Args:
        name: The tensor's name, for the message.
        weight: Floating, any shape.

    Raises:
        ValueError: naming the tensor and the number of bad values.
    """
    if weight.numel() == 0:
        return
    low, high = torch.aminmax(weight.detach())  # propagates NaN; rounding to bfloat16 is monotone, so it may come after
    limit = torch.finfo(torch.bfloat16).max
    if bool((low.to(torch.bfloat16) > -limit) & (high.to(torch.bfloat16) < limit)):
        return
    num_bad = int((~(weight.detach().to(torch.bfloat16).abs() < limit)).sum())
    raise ValueError(
        f"{name}: {num_bad} of {weight.numel()} values are NaN, infinite or not below {limit:.3e}, the largest "
        "bfloat16; no such weights are quantised or published: look at the loss and the gradient norm of this step"
    )


def _is_plain(weight: torch.Tensor, values: torch.Tensor | None, group_size: int) -> bool:
    """Whether the compiled pass takes it: groups of whole words, on a CPU, neighbours of a row side by side."""
    return group_size % CODES_PER_WORD == 0 and all(
        tensor is None
        or (tensor.device.type == "cpu" and tensor.stride(1) == 1 and tensor.dtype in (torch.float32, torch.bfloat16))
        for tensor in (weight, values)
    )


def _has_kernel(weight: torch.Tensor, group_size: int) -> bool:
    """Whether a matrix goes through the Triton kernel: on a GPU, where it is proven."""
    if not weight.is_cuda:
        return False
    from rollout.quant import triton_grid

    return triton_grid.is_supported(weight, group_size) and _is_proven(str(weight.device))


def _kernel() -> Callable[..., None]:
    from rollout.quant.triton_grid import quantize_into

    return quantize_into


@cache
def _is_proven(device: str) -> bool:
    """Whether the kernel gives the bits of the blocks on this device, for weights of every magnitude."""
    generator = torch.Generator().manual_seed(0)
    exponents = torch.arange(-133, 124).double()[:, None]
    weight = (torch.randn(len(exponents), 256, generator=generator).double() * 2.0**exponents).float()
    weight[::3, 64:128] = 0
    try:
        wrong = num_differences(weight.to(device), group_size=32)
    except Exception as error:  # a compiler that is missing, an architecture that it does not know
        _log.warning(
            "the Triton form of the grid does not run here (%s): the plain one is used, which is slower", error
        )
        return False
    if wrong:
        _log.warning(
            "the Triton form of the grid differs here in %d places: the plain one is used, which is slower", wrong
        )
    return not wrong


def num_differences(weight: torch.Tensor, *, group_size: int) -> int:
    """Words, scales and values in which the Triton kernel differs from the plain form, bit for bit.

    Args:
        weight: fp32 or bf16 [O, I].
        group_size: as the kernel takes it.
    """
    num_out, num_in = weight.shape
    sides = []
    for quantise in (_packed_by_blocks, _packed_by_kernel):
        out = Packed(
            torch.empty((num_out, num_in // CODES_PER_WORD), dtype=torch.int32, device=weight.device),
            torch.empty((num_out, num_in // group_size), dtype=torch.bfloat16, device=weight.device),
        )
        values = torch.empty_like(weight, dtype=torch.bfloat16)
        quantise(weight, group_size, values=values, out=out)
        sides.append((out.words, out.scale.view(torch.int16), values.view(torch.int16)))
    return sum(int((ours != theirs).sum()) for ours, theirs in zip(*sides, strict=True))


def _packed_by_kernel(weight: torch.Tensor, group_size: int, *, values: torch.Tensor | None, out: Packed) -> Packed:
    _kernel()(weight, group_size, words=out.words, scale=out.scale, values=values)
    return out


def _check_matrix(weight: torch.Tensor, group_size: int) -> None:
    if weight.ndim != 2 or not weight.is_floating_point():
        raise ValueError(f"got {weight.dtype} {tuple(weight.shape)}; the grid wants a floating matrix [out, in]")
    if group_size < 1 or weight.shape[1] % group_size:
        raise ValueError(
            f"group_size {group_size} does not divide the input dimension of {tuple(weight.shape)}: "
            "change quant.group_size, or add the module to quant.ignore"
        )


def _blocks(weight: torch.Tensor, group_size: int) -> Iterator[_Block]:
    """Quantise [O, I] block by block; a block is valid until the next one is asked for."""
    num_out, num_in = weight.shape
    # A GPU has no use for small blocks: one launch of each kernel for the whole matrix.
    num_rows = num_out if weight.is_cuda else min(num_out, max(1, _BLOCK_WEIGHTS // max(num_in, 1)))
    narrow_RI = torch.empty((num_rows, num_in), dtype=torch.bfloat16, device=weight.device)
    wide_RI, spare_RI = torch.empty((2, num_rows, num_in), dtype=torch.float32, device=weight.device)
    for start in range(0, num_out, max(num_rows, 1)):
        part = weight[start : start + num_rows]
        n = len(part)
        narrow, wide = narrow_RI[:n], wide_RI[:n]
        wide.copy_(part if part.dtype == torch.bfloat16 else narrow.copy_(part))
        amax_RS = torch.abs(wide, out=spare_RI[:n]).view(n, -1, group_size).amax(-1)
        # Division by 7 and, as CUDA does it for a scalar, multiplication by fp32(1/7) round to the same bfloat16 for
        # every bfloat16 amax: 7 * (a tie of 9 bits) never fits into 8 bits, so no quotient is near a tie.
        scale_RS = amax_RS.div_(MAX_CODE).to(torch.bfloat16)
        step_RS = scale_RS.to(torch.float32).masked_fill_(scale_RS == 0, 1)
        wide.view(n, -1, group_size).div_(step_RS[:, :, None])
        codes = wide.copy_(narrow.copy_(wide)).round_()
        # Normal scales give |quotient| <= 7.03; only denormal scales, rounded by up to a half, need the clamp.
        if weight.is_cuda or bool((step_RS < _SMALLEST_NORMAL).any()):
            codes.clamp_(-MAX_CODE, MAX_CODE)
        yield _Block(slice(start, start + n), codes, scale_RS)


def _write_values(block: _Block, out: torch.Tensor) -> None:
    """Write bf16(code * scale) into the block's rows of `out`; uses the codes up.

    Adding 0 turns the -0.0 of a negative weight that rounds to code 0 into the +0.0 that an integer code dequantises
    to. The product of a 4-bit and an 8-bit number is exact in fp32, so narrowing it is the one rounding.
    """
    groups_RSG = block.codes_RI.add_(0.0).view(*block.scale_RS.shape, -1)
    values_RI = groups_RSG.mul_(block.scale_RS.to(torch.float32)[:, :, None]).view(block.codes_RI.shape)
    out[block.rows] = values_RI if out.dtype == torch.bfloat16 else values_RI.to(torch.bfloat16)
