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

How it is fast. A bf16 operation on a CPU widens, computes and narrows at every step, and a reduction over 32 neighbours
keeps the vector units idle, so the work is done in place, in row blocks that stay in cache, with the scale spread over
its group once. Every step rounds exactly where the three lines above do; the tests hold the two to each other bitwise.
Left out: `torch.compile`, which by default drops intermediate roundings to bf16 and so changes 7 to 8 % of the values.

Not checked here, because this runs at every optimiser step: that weights are finite. A NaN or an infinity makes its
group's scale NaN or infinite, so it cannot hide; `check_finite` names the tensor before anything is published.

Shape letters: O out, I in, S = I / group_size groups of a row, R rows of a block.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import torch

__all__ = ["MAX_CODE", "Quantized", "check_finite", "dequantize", "fake_quantize", "quantize"]

MAX_CODE = 7
"""Largest code; the codes are -7..7, so that the grid is symmetric and idempotent."""

_BLOCK_WEIGHTS = 1 << 18
"""Weights of one block on a CPU: its scratch (8 bytes a weight) stays in a core's level-2 cache."""


class Quantized(NamedTuple):
    """A matrix on the grid: `value = bf16(code * scale)`."""

    codes: torch.Tensor
    """int8 [O, I], each in -7..7."""
    scale: torch.Tensor
    """bfloat16 [O, S], >= 0; 0 exactly where all codes of the group are 0 for lack of a representable scale."""


class _Block(NamedTuple):
    rows: slice
    codes_RI: torch.Tensor  # bfloat16, integers -7..7, a zero may be negative
    step_RI: torch.Tensor  # bfloat16, the scale of each weight, 1 where the scale is 0
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
    w = weight.to(torch.bfloat16)
    _check_matrix(weight, group_size)
    num_out, num_in = w.shape
    codes_OI = torch.empty((num_out, num_in), dtype=torch.int8, device=w.device)
    scale_OS = torch.empty((num_out, num_in // group_size), dtype=torch.bfloat16, device=w.device)
    for block in _blocks(w, group_size):
        codes_OI[block.rows] = block.codes_RI
        scale_OS[block.rows] = block.scale_RS
    return Quantized(codes_OI, scale_OS)


@torch.no_grad()
def dequantize(codes: torch.Tensor, scale: torch.Tensor) -> torch.Tensor:
    """bfloat16 [O, I]: code * scale, rounded once, as the engine's kernels compute it.

    Args:
        codes: int8 [O, I].
        scale: bfloat16 [O, S]; the group size is I / S.

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
    codes_OSG = codes.to(torch.bfloat16).view(*scale.shape, -1)
    return codes_OSG.mul_(scale[:, :, None]).view(codes.shape)


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
    w = weight.to(torch.bfloat16)
    _check_matrix(weight, group_size)
    if out is None:
        out = torch.empty(w.shape, dtype=torch.bfloat16, device=w.device)
    elif out.shape != w.shape or out.dtype != torch.bfloat16:
        raise ValueError(f"out is {out.dtype} {tuple(out.shape)}; want torch.bfloat16 {tuple(w.shape)}")
    # Adding code * step to +0.0 turns the -0.0 of a negative weight that rounds to code 0 into the +0.0 that an
    # integer code dequantises to. The product of a 4-bit and an 8-bit number is exact in fp32: one rounding.
    zero = torch.zeros((), dtype=torch.bfloat16, device=w.device)
    for block in _blocks(w, group_size):
        torch.addcmul(zero, block.codes_RI, block.step_RI, out=out[block.rows])
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


def _check_matrix(weight: torch.Tensor, group_size: int) -> None:
    if weight.ndim != 2 or not weight.is_floating_point():
        raise ValueError(f"got {weight.dtype} {tuple(weight.shape)}; the grid wants a floating matrix [out, in]")
    if group_size < 1 or weight.shape[1] % group_size:
        raise ValueError(
            f"group_size {group_size} does not divide the input dimension of {tuple(weight.shape)}: "
            "change quant.group_size, or add the module to quant.ignore"
        )


def _blocks(w: torch.Tensor, group_size: int) -> Iterator[_Block]:
    """Quantise bfloat16 [O, I] block by block; a block is valid until the next one is asked for."""
    w = w.contiguous()
    num_out, num_in = w.shape
    # A GPU has no use for small blocks: one launch of each kernel for the whole matrix.
    num_rows = num_out if w.is_cuda else min(num_out, max(1, _BLOCK_WEIGHTS // max(num_in, 1)))
    wide_RI = torch.empty((num_rows, num_in), dtype=torch.float32, device=w.device)
    step_RI = torch.empty((num_rows, num_in), dtype=torch.bfloat16, device=w.device)
    codes_RI = torch.empty((num_rows, num_in), dtype=torch.bfloat16, device=w.device)
    for start in range(0, num_out, max(num_rows, 1)):
        w_RI = w[start : start + num_rows]
        n = len(w_RI)
        wide, step, codes = wide_RI[:n], step_RI[:n], codes_RI[:n]
        wide.copy_(w_RI).abs_()
        amax_RS = wide.view(n, -1, group_size).amax(-1)
        # Division by 7 and, as CUDA does it for a scalar, multiplication by fp32(1/7) round to the same bfloat16 for
        # every bfloat16 amax: 7 * (a tie of 9 bits) never fits into 8 bits, so no quotient is near a tie.
        scale_RS = amax_RS.div_(MAX_CODE).to(torch.bfloat16)
        step.view(n, -1, group_size).copy_(scale_RS.masked_fill(scale_RS == 0, 1)[:, :, None])
        torch.div(w_RI, step, out=codes)
        # Normal scales give |quotient| <= 7.03; only denormal scales, rounded by up to a half, need the clamp.
        codes.round_().clamp_(-MAX_CODE, MAX_CODE)
        yield _Block(slice(start, start + n), codes, step, scale_RS)
