"""The compiled pass gives the bits of the pass in torch, which test_grid.py holds to the definition."""

from __future__ import annotations

import sys

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from llvmlite.binding import ffi

from rollout.quant import grid
from rollout.quant.compiled_grid import quantize_rows
from rollout.quant.grid import Packed, quantize_packed

GROUP = 32
TYPES = ((torch.float32, torch.bfloat16), (torch.float32, torch.float32), (torch.bfloat16, None))
"""Of the weights and of the values; each is compiled for itself."""


def both(weight: torch.Tensor, values_type: torch.dtype | None) -> list[tuple[torch.Tensor, ...]]:
    """Words, scales and values, compiled and in torch."""
    assert weight.numel() < grid._COMPILED_WEIGHTS, "quantize_packed would compare the compiled pass with itself"
    found = []
    for compiled in (True, False):
        words = torch.empty((len(weight), weight.shape[1] // 8), dtype=torch.int32)
        scale = torch.empty((len(weight), weight.shape[1] // GROUP), dtype=torch.bfloat16)
        values = None if values_type is None else torch.empty(weight.shape, dtype=values_type)
        if compiled:
            quantize_rows(weight, GROUP, words, scale, values)
        else:
            quantize_packed(weight, GROUP, values=values, out=Packed(words, scale))
        found.append((words, scale.view(torch.int16), *(() if values is None else (values.view(torch.uint8),))))
    return found


@st.composite
def matrices(draw: st.DrawFn) -> torch.Tensor:
    """Any bits below the largest bfloat16 that is published: denormals, zeros, ties, whole groups of one magnitude."""
    shape = (draw(st.integers(1, 5)), GROUP * draw(st.integers(1, 4)))
    generator = torch.Generator().manual_seed(draw(st.integers(0, 2**31)))
    if draw(st.booleans()):
        words = torch.randint(-(2**31), 2**31 - 1, shape, generator=generator).to(torch.int32)
        weight = words.view(torch.float32)
        weight = torch.where(weight.abs() < 3e38, weight, torch.zeros(()))
    else:
        exponent = draw(st.sampled_from((-133, -130, -126, -60, -6, 0, 60, 123)))
        weight = (torch.randn(shape, generator=generator).double() * 2.0**exponent).float()
        weight[torch.rand(shape, generator=generator) < draw(st.sampled_from((0.0, 0.5, 1.0)))] = -0.0
    return weight


@pytest.mark.parametrize(("dtype", "values_type"), TYPES)
@settings(deadline=None, max_examples=100)
@given(weight=matrices())
def test_every_bit_is_the_one_that_torch_gives(dtype, values_type, weight):
    compiled, plain = both(weight.to(dtype), values_type)
    assert all(torch.equal(a, b) for a, b in zip(compiled, plain, strict=True))


@pytest.mark.parametrize("largest", range(1, 8))
def test_ties_between_two_codes_go_to_the_even_one(largest):
    """Every quotient of a group whose scale is a power of two: k/2 is a tie for odd k."""
    halves = torch.arange(-2 * largest, 2 * largest + 1, dtype=torch.float32) / 2
    weight = torch.zeros(1, GROUP)
    weight[0, : len(halves)] = halves
    weight[0, -1] = 7.0
    compiled, plain = both(weight * 2.0**-9, torch.bfloat16)
    assert all(torch.equal(a, b) for a, b in zip(compiled, plain, strict=True))


@pytest.mark.parametrize("bits", [0x7FC00000, 0x7F800001, 0x7FFFFFFF, -1, 0x7F800000, -0x800000])
def test_what_is_not_finite_shows_in_its_scale_and_in_no_other(bits):
    """NaNs of every payload (the last one overflows where only the numbers are rounded) and the infinities."""
    weight = torch.ones(2, 2 * GROUP)
    weight.view(torch.int32)[1, 3] = bits
    compiled, plain = both(weight, torch.bfloat16)
    scales = compiled[1].view(torch.bfloat16)
    assert torch.equal(scales.isfinite(), torch.tensor([[True, True], [False, True]]))
    whole = scales.isfinite().repeat_interleave(GROUP // 8, 1)
    assert torch.equal(compiled[0][whole], plain[0][whole])


@pytest.mark.parametrize("num_threads", [1, 2, 7])
def test_large_matrices_take_it_whatever_the_number_of_threads_and_views_are_written_through(num_threads, monkeypatch):
    monkeypatch.setattr(torch, "get_num_threads", lambda: num_threads)
    whole = torch.randn(2 * 1031, 160, generator=torch.Generator().manual_seed(1))
    view, rest = whole[::2, :128], whole[1::2].clone()
    assert view.numel() >= grid._COMPILED_WEIGHTS
    expected = grid.fake_quantize(view, GROUP)
    codes = grid.quantize(view, GROUP)
    packed = quantize_packed(view, GROUP, values=view)
    assert torch.equal(view.to(torch.bfloat16), expected) and torch.equal(whole[1::2], rest)
    assert torch.equal(packed.words, grid.pack_int4(codes.codes)) and torch.equal(packed.scale, codes.scale)


def test_what_it_cannot_read_goes_through_torch():
    weight = torch.randn(512, 512, generator=torch.Generator().manual_seed(2))
    transposed = quantize_packed(weight.T, GROUP)
    assert torch.equal(transposed.words, quantize_packed(weight.T.contiguous(), GROUP).words)


def test_an_engine_in_the_same_process_can_look_at_what_modules_hold():
    """vLLM does, as here; llvmlite's handle took `__dict__` for a function of LLVM."""
    assert hasattr(vars(ffi.lib), "get")
    for module in list(sys.modules.values()):
        for value in list(vars(module).values()) if hasattr(module, "__dict__") else ():
            if str(type(value).__module__).startswith(("llvmlite", "rollout")) and hasattr(value, "__dict__"):
                assert hasattr(vars(value), "get"), value
