"""The grid's Triton kernel, bit for bit the plain form: in Triton's interpreter, which needs no GPU.

It has to be chosen before Triton is imported, so the cases run in one process of their own.
"""

from __future__ import annotations

import os
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
CASES = """
import torch
from rollout.quant.grid import num_differences, fake_quantize, quantize_packed
from rollout.quant.triton_grid import is_supported, quantize_into

generator = torch.Generator().manual_seed(1)

def hard(rows, columns, dtype):
    exponents = torch.randint(-133, 124, (rows, 1), generator=generator).double()
    weight = (torch.randn(rows, columns, generator=generator).double() * 2.0**exponents).to(dtype)
    weight[torch.rand(weight.shape, generator=generator) < 0.1] = 0
    weight[0] = 0
    return weight

def say(name, wrong):
    print(name, int(wrong))

for group_size in (8, 32, 64, 128):
    for dtype in (torch.float32, torch.bfloat16):
        say(f"g{group_size}-{dtype}", num_differences(hard(37, 384, dtype), group_size=group_size))
every = torch.arange(0x7F7F, dtype=torch.int16).view(torch.bfloat16)
pairs = torch.stack([every, every.roll(1), every.roll(-3), every.flip(0)], 1)
say("every-bfloat16", num_differences(torch.cat([pairs, -pairs], 1), group_size=8))

weight = hard(16, 96, torch.float32)
turned = hard(96, 16, torch.float32).t()
for name, each in (("rows-apart", hard(32, 96, torch.float32)[::2]), ("transposed", turned)):
    out = torch.empty(each.shape[::-1], dtype=torch.bfloat16).t()  # another layout than the kernel writes
    quantize_into(each, 32, words=None, scale=None, values=out)
    say(name, (out.view(torch.int16) != fake_quantize(each, 32).view(torch.int16)).sum())
in_place = weight.clone()
quantize_into(in_place, 32, words=None, scale=None, values=in_place)
say("in-place", (in_place.bfloat16() != fake_quantize(weight, 32)).sum())
for dtype in (torch.float32, torch.bfloat16):
    struck, scale = weight.to(dtype, copy=True), torch.empty(16, 3, dtype=torch.bfloat16)
    struck[3, 40], struck[5, 70] = float("nan"), -float("inf")
    quantize_into(struck, 32, words=None, scale=scale, values=None)
    say(f"not-finite-{dtype}", (~scale.isfinite()).nonzero().tolist() != [[3, 1], [5, 2]])
say("control", num_differences(weight, group_size=32) or is_supported(weight, 24) or is_supported(weight.double(), 32))
"""


@pytest.mark.skipif(find_spec("triton") is None, reason="triton is not installed")
def test_the_kernel_gives_every_bit_of_the_grid() -> None:
    done = subprocess.run(
        [sys.executable, "-c", CASES], cwd=ROOT, env={**os.environ, "TRITON_INTERPRET": "1"}, capture_output=True,
        text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    found = dict(line.rsplit(" ", 1) for line in done.stdout.splitlines())
    assert len(found) == 15
    assert {name: wrong for name, wrong in found.items() if wrong != "0"} == {}


PTX = """
import re
from triton import compile
from triton.backends.compiler import GPUTarget
from triton.compiler import ASTSource
from rollout.quant.triton_grid import _grid_kernel

tensors = {"weight": "*fp32", "words": "*i32", "scale": "*i16", "values": "*i16"}
numbers = dict.fromkeys(("num_groups", "groups_of_row", "weight_stride", "values_stride"), "i32")
fixed = {"G": 32, "N": 128, "is_bf16": False, "has_words": True, "has_scale": True, "has_values": True}
source = ASTSource(_grid_kernel, tensors | numbers | dict.fromkeys(fixed, "constexpr"), fixed)
ptx = compile(source, target=GPUTarget("cuda", 90, 32)).asm["ptx"]
print(*sorted(set(re.findall(r"(?:div|fma|add|sub|mul|abs)[a-z.]*f32|max[.]s32", ptx))))
"""


@pytest.fixture(scope="module")
def instructions() -> list[str]:
    """The arithmetic of the kernel, compiled for sm_90."""
    if find_spec("triton") is None:
        pytest.skip("triton is not installed")
    done = subprocess.run([sys.executable, "-c", PTX], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout.split()


def test_compiled_for_a_gpu_the_kernel_divides_as_ieee_does_and_fuses_nothing(instructions: list[str]) -> None:
    assert [name for name in instructions if name != "max.s32"] == ["add.f32", "div.rn.f32", "mul.f32"]


def test_compiled_for_a_gpu_the_kernel_compares_magnitudes_as_bits_so_that_no_nan_hides(
    instructions: list[str],
) -> None:
    assert "max.s32" in instructions  # max.f32 would give the other number of a NaN and a number
