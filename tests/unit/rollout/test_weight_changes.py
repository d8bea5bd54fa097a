"""Flipped codes against those counted one by one after unpacking."""

from __future__ import annotations

import pytest
import torch

from rollout.quant.grid import quantize
from rollout.quant.pack import pack_int4
from rollout.weights.changes import Changes, changes, code_flip_frac
from rollout.weights.sender import build_artefact


def artefact_of(*weights: torch.Tensor, version: int = 0, norm: float = 1.0):
    named = [("norm.weight", torch.full((5,), norm).bfloat16())]
    for i, weight in enumerate(weights):
        codes, scale = quantize(weight, 32)
        named += [(f"{i}.weight_packed", pack_int4(codes)), (f"{i}.weight_scale", scale)]
    return build_artefact(named, version)


def test_flipped_codes_are_counted_as_if_one_by_one():
    generator = torch.Generator().manual_seed(0)
    before = [torch.randn(8, 64, generator=generator), torch.randn(4, 32, generator=generator)]
    after = [weight + 0.1 * torch.randn(weight.shape, generator=generator) for weight in before]
    flipped = sum(
        int((quantize(a, 32).codes != quantize(b, 32).codes).sum()) for a, b in zip(before, after, strict=True)
    )
    assert 0 < flipped < 640
    assert code_flip_frac(artefact_of(*before), artefact_of(*after, version=1)) == pytest.approx(flipped / (512 + 128))


def test_blocks_leave_no_seam():
    before, after = (
        torch.randn(600, 1024, generator=torch.Generator().manual_seed(seed)).to(torch.bfloat16) for seed in (0, 1)
    )
    flipped = int((quantize(before, 32).codes != quantize(after, 32).codes).sum())
    assert code_flip_frac(artefact_of(before), artefact_of(after)) == pytest.approx(flipped / before.numel())


@pytest.mark.parametrize(("column", "value"), [(3, 2.0), (4, -2.0)])
def test_either_code_of_a_byte_counts_once_however_far_it_moved(column, value):
    before = torch.ones(2, 32)
    after = before.clone()
    before[0, 0] = after[0, 0] = 7.0  # a scale of 1: the codes are the weights
    after[0, column] = value
    assert code_flip_frac(artefact_of(before), artefact_of(after)) == 1 / 64


def test_what_is_not_packed_does_not_count_and_without_codes_there_is_no_number():
    weight = torch.randn(2, 32, generator=torch.Generator().manual_seed(1))
    assert code_flip_frac(artefact_of(weight), artefact_of(weight * 2, norm=3.0)) == 0.0  # other scales, equal codes
    assert code_flip_frac(artefact_of(), artefact_of(norm=2.0)) is None


def test_what_there_is_to_know_of_new_weights_is_their_size_and_what_flipped_since() -> None:
    before, after = artefact_of(torch.zeros(32, 64)), artefact_of(torch.ones(32, 64))
    assert changes(None, after) == Changes(num_bytes=after.manifest.total_bytes, code_flip_frac=None)
    assert changes(before, after) == Changes(num_bytes=after.manifest.total_bytes, code_flip_frac=1.0)
