"""Values, codes and packed words made on a GPU are bit for bit those that a CPU makes."""

from __future__ import annotations

import pytest
import torch

from rollout.quant.grid import (
    _has_kernel,
    dequantize,
    fake_quantize,
    num_differences,
    quantize,
    quantize_packed,
)
from rollout.quant.pack import pack_int4, unpack_int4

GROUP_SIZES = (24, 32, 64, 128)
"""24 is none of the Triton kernel's."""


def hard(rows: int, columns: int, dtype: torch.dtype, seed: int) -> torch.Tensor:
    """Weights of every magnitude from denormal to huge, with zeros strewn in."""
    generator = torch.Generator().manual_seed(seed)
    exponents = torch.randint(-133, 124, (rows, 1), generator=generator).double()
    weight = (torch.randn(rows, columns, generator=generator).double() * 2.0**exponents).to(dtype)
    weight[torch.rand(weight.shape, generator=generator) < 0.1] = 0
    weight[0] = 0
    return weight


def bits(tensor: torch.Tensor) -> torch.Tensor:
    return tensor.cpu().contiguous().view(torch.int16) if tensor.dtype == torch.bfloat16 else tensor.cpu()


@pytest.mark.parametrize("group_size", GROUP_SIZES)
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=str)
def test_a_gpu_quantises_and_packs_as_a_cpu(dtype: torch.dtype, group_size: int) -> None:
    for seed in range(4):
        weight = hard(513, 1536, dtype, seed)
        values, on_gpu = torch.empty(2, *weight.shape, dtype=torch.bfloat16).unbind()
        on_gpu = on_gpu.cuda()
        ours = quantize_packed(weight, group_size, values=values)
        theirs = quantize_packed(weight.cuda(), group_size, values=on_gpu)
        for mine, other in (*zip(ours, theirs, strict=True), (values, on_gpu)):
            assert torch.equal(bits(mine), bits(other))
        assert torch.equal(bits(fake_quantize(weight.cuda(), group_size)), bits(values))
        codes, scale = quantize(weight.cuda(), group_size)
        assert torch.equal(bits(dequantize(unpack_int4(pack_int4(codes)), scale)), bits(values))


def test_every_bfloat16_is_quantised_alike() -> None:
    every = torch.arange(0x7F7F, dtype=torch.int16).view(torch.bfloat16)
    weight = torch.cat([every[:, None], -every.roll(1)[:, None], every.flip(0)[:, None].repeat(1, 30)], 1)
    assert torch.equal(bits(fake_quantize(weight.cuda(), 32)), bits(fake_quantize(weight, 32)))


def test_the_triton_kernel_is_what_runs_and_it_equals_the_plain_form() -> None:
    weight = hard(257, 4096, torch.float32, 9).cuda()
    assert _has_kernel(weight, 32), "the log says why the plain form is used"
    for group_size in (32, 64, 128):
        assert num_differences(weight, group_size=group_size) == 0
        assert num_differences(weight.bfloat16(), group_size=group_size) == 0
