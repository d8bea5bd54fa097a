"""The INT4 grid, against a second implementation in Python's own floats and against its laws, bit for bit."""

import math
import struct

import pytest
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st

from rollout.quant.grid import check_finite, dequantize, fake_quantize, quantize, quantize_packed
from rollout.quant.pack import pack_int4, unpack_int4

BF16_MAX = torch.finfo(torch.bfloat16).max
BF16_TINIEST = 2.0**-133  # the smallest denormal


def bits(tensor):
    return tensor.contiguous().view(torch.int16)


def assert_same_bits(actual, expected):
    assert actual.dtype == expected.dtype == torch.bfloat16
    assert torch.equal(bits(actual), bits(expected))


def all_bf16():
    """Every finite bfloat16 >= 0, ascending: [32640]."""
    return torch.arange(0x7F80, dtype=torch.int16).view(torch.bfloat16)


def python_bf16(x):
    """Round a Python float to bfloat16, half to even, denormals included; done on the bits of its fp32 form."""
    (word,) = struct.unpack("<I", struct.pack("<f", x))
    word += 0x7FFF + (word >> 16 & 1)
    return struct.unpack("<f", struct.pack("<I", word & 0xFFFF0000))[0]


def python_grid(row):
    """One group by the definition. Python divides in fp64: more precise than needed, rounded to bf16 in the end."""
    row = [python_bf16(x) for x in row]
    scale = python_bf16(max(abs(x) for x in row) / 7)
    codes = [0 if scale == 0 else max(-7, min(7, round(python_bf16(x / scale)))) for x in row]
    return scale, codes, [python_bf16(code * scale) for code in codes]


def plain_grid(weight, group_size):
    """The definition as tensors, one rounding a line: what the blocked form must equal."""
    w = weight.to(torch.bfloat16)
    groups = w.reshape(len(w), -1, group_size)
    scale = (groups.abs().amax(-1, keepdim=True).float() / 7).to(torch.bfloat16)
    divisor = torch.where(scale == 0, torch.ones_like(scale), scale)
    codes = torch.clamp(torch.round(groups / divisor), -7, 7).to(torch.int8)
    values = codes.to(torch.bfloat16) * scale
    return codes.reshape(w.shape), scale.squeeze(-1), values.reshape(w.shape)


@st.composite
def weights(draw, exponents=(-133, -130, -126, -60, -6, 0, 60, 123)):
    """(matrix, group size): any shape, any magnitude from denormal to huge, with zeros and outliers strewn in."""
    group_size = draw(st.sampled_from([2, 8, 32, 64]))
    num_out, num_groups = draw(st.integers(1, 5)), draw(st.integers(1, 4))
    generator = torch.Generator().manual_seed(draw(st.integers(0, 2**31)))
    weight = torch.randn(num_out, num_groups * group_size, generator=generator)
    exponent = draw(st.sampled_from(exponents))
    weight = (weight.double() * 2.0**exponent).to(torch.float32)
    if draw(st.booleans()):
        weight[torch.rand(weight.shape, generator=generator) < 0.3] = 0
    if draw(st.booleans()):
        weight[0, draw(st.integers(0, weight.shape[1] - 1))] *= 8
    return weight.to(draw(st.sampled_from([torch.float32, torch.bfloat16]))), group_size


def test_a_group_computed_by_hand():
    # amax 3.5 -> scale 0.5; quotients 7, -7, 1.5, 0.5, -0.5, 2.5, 0, 1 -> half to even 7, -7, 2, 0, 0, 2, 0, 1
    weight = torch.tensor([[3.5, -3.5, 0.75, 0.25, -0.25, 1.25, 0.0, 0.5]])
    codes, scale = quantize(weight, 8)
    assert scale.tolist() == [[0.5]] and scale.dtype == torch.bfloat16
    assert codes.tolist() == [[7, -7, 2, 0, 0, 2, 0, 1]] and codes.dtype == torch.int8
    assert_same_bits(
        fake_quantize(weight, 8), torch.tensor([[3.5, -3.5, 1.0, 0.0, 0.0, 1.0, 0.0, 0.5]], dtype=torch.bfloat16)
    )


def test_the_scale_is_rounded_before_the_codes_are_computed():
    # amax 1 -> 1/7 = 0.142857..., stored as 0.142578125 = bf16; 7 * 0.142578125 = 0.998046875 -> bf16 1.0 (tie to even)
    codes, scale = quantize(torch.tensor([[1.0, 0.5]]), 2)
    assert scale.item() == 0.142578125
    # 0.5 / 0.142578125 = 3.5068..., whose nearest bf16 is 3.5 (ulp 1/64), half to even 4
    assert codes.tolist() == [[7, 4]]
    assert fake_quantize(torch.tensor([[1.0, 0.5]]), 2).tolist() == [[1.0, 0.5703125]]


def test_the_quotient_is_rounded_to_bfloat16_before_it_is_rounded_to_a_code():
    # scale 1 (amax 7); 1.4921875 = 1.5 - 2**-7 is a bf16 and stays below the tie: code 1
    # scale bf16(3/7) = 0.4277; 0.640625 / 0.4277 = 1.4977, whose nearest bf16 is 1.5, a tie: code 2, not 1
    codes, scale = quantize(torch.tensor([[3.0, 0.640625], [7.0, 1.4921875]]), 2)
    assert round(0.640625 / scale[0, 0].item()) == 1
    assert codes.tolist() == [[7, 2], [7, 1]]


@settings(deadline=None, max_examples=60)
@given(weights())
def test_it_equals_the_grid_written_in_python_floats(case):
    weight, group_size = case
    codes, scale = quantize(weight, group_size)
    for row, code_row, scale_row in zip(weight.float(), codes, scale, strict=True):
        for s, group in enumerate(row.split(group_size)):
            expected_scale, expected_codes, expected_values = python_grid(group.tolist())
            assert scale_row[s].item() == expected_scale
            assert code_row[s * group_size : (s + 1) * group_size].tolist() == expected_codes
            assert fake_quantize(group[None], group_size)[0].tolist() == expected_values


@settings(deadline=None, max_examples=150)
@given(weights())
@example((torch.zeros(2, 8), 8))
def test_law_one_fake_quantize_equals_dequantize_of_unpack_of_pack_of_quantize(case):
    weight, group_size = case
    codes, scale = quantize(weight, group_size)
    expected_codes, expected_scale, expected_values = plain_grid(weight, group_size)
    assert torch.equal(codes, expected_codes)
    assert_same_bits(scale, expected_scale)
    values = fake_quantize(weight, group_size)
    assert_same_bits(values, expected_values)
    assert_same_bits(values, dequantize(codes, scale))
    if weight.shape[1] % 8 == 0:
        assert_same_bits(values, dequantize(unpack_int4(pack_int4(codes)), scale))


@settings(deadline=None, max_examples=100)
@given(weights(), st.sampled_from([torch.bfloat16, torch.float32]))
def test_one_pass_packs_and_gives_the_values_that_the_separate_ones_give(case, dtype):
    weight, group_size = case
    weight = torch.cat([weight] * (8 // math.gcd(8, weight.shape[1])), dim=1)  # whole words
    values = torch.full(weight.shape, math.nan, dtype=dtype)
    packed = quantize_packed(weight, group_size, values=values)
    codes, scale = quantize(weight, group_size)
    assert torch.equal(packed.words, pack_int4(codes))
    assert_same_bits(packed.scale, scale)
    assert_same_bits(values.to(torch.bfloat16), fake_quantize(weight, group_size))
    assert torch.equal(values, values.to(torch.bfloat16).to(dtype))
    again = quantize_packed(-weight, group_size, out=packed)
    assert again is packed
    assert torch.equal(packed.words, pack_int4(quantize(-weight, group_size).codes))


def test_one_pass_writes_into_the_very_view_it_reads():
    fused = torch.randn(3, 64, 96, generator=torch.Generator().manual_seed(2))
    view, before = fused[1].T[32:64], fused.clone()
    expected = plain_grid(view.clone(), 32)
    packed = quantize_packed(view, 32, values=view)
    assert torch.equal(view, expected[2].float())
    assert torch.equal(packed.words, pack_int4(expected[0]))
    assert torch.equal(fused[1].T[:32], before[1].T[:32]) and torch.equal(fused[::2], before[::2])


@settings(deadline=None, max_examples=150)
@given(weights(exponents=(-60, -6, 0, 60, 123)))
def test_quantising_twice_changes_no_bit(case):
    weight, group_size = case
    once, first = fake_quantize(weight, group_size), quantize(weight, group_size)
    again = quantize(once, group_size)
    assert_same_bits(fake_quantize(once, group_size), once)
    assert torch.equal(again.codes, first.codes)
    assert_same_bits(again.scale, first.scale)


def test_quantising_twice_changes_no_bit_for_every_largest_weight_there_is_but_four_denormals():
    amax = all_bf16()[:-1]  # all but the very largest, which check_finite refuses
    weight = torch.stack((amax, -amax * 0.3, amax * 0.07, amax * 0), dim=1)
    once = fake_quantize(weight, 4)
    assert once.isfinite().all()
    changed = (bits(fake_quantize(once, 4)) != bits(once)).any(1) | (
        quantize(once, 4).codes != quantize(weight, 4).codes
    ).any(1)
    # In units of the smallest denormal: 25 -> scale 4, code 6 -> 24 -> scale 3; likewise 26, 32 and 39.
    assert (amax[changed].double() / BF16_TINIEST).tolist() == [25, 26, 32, 39]
    twice = fake_quantize(once, 4)
    assert_same_bits(fake_quantize(twice, 4), twice)


def test_dividing_by_seven_and_multiplying_by_a_seventh_give_the_same_scale_for_every_bfloat16():
    # CUDA divides by a scalar by multiplying with its reciprocal: the stored scale must not depend on it.
    amax = all_bf16().float()
    seventh = torch.tensor(1.0) / 7
    assert_same_bits((amax / 7).to(torch.bfloat16), (amax * seventh).to(torch.bfloat16))


def test_quantisation_error_of_gaussian_weights_is_the_published_one():
    weight = torch.randn(512, 1024, generator=torch.Generator().manual_seed(0)).mul_(0.02).to(torch.bfloat16)
    error = (fake_quantize(weight, 32).float() - weight.float()).norm() / weight.float().norm()
    assert error.item() == pytest.approx(0.097, abs=0.001)  # published with three digits


def test_fp32_masters_are_rounded_to_bfloat16_first():
    weight = torch.randn(64, 128, generator=torch.Generator().manual_seed(0))
    assert_same_bits(fake_quantize(weight, 32), fake_quantize(weight.to(torch.bfloat16), 32))
    # and that is another grid than the one of the masters themselves
    exact_scale = (weight.view(64, -1, 32).abs().amax(-1) / 7).to(torch.bfloat16)
    assert (exact_scale != quantize(weight, 32).scale).float().mean() > 0.2


def test_a_group_of_zeros_has_scale_zero_codes_zero_and_positive_zeros():
    weight = torch.zeros(1, 64)
    weight[0, 32:] = -0.0
    codes, scale = quantize(weight, 32)
    assert not codes.any() and not bits(scale).any() and not bits(fake_quantize(weight, 32)).any()


def test_a_small_negative_weight_becomes_positive_zero_as_its_code_does():
    assert not bits(fake_quantize(torch.tensor([[7.0, -0.25]]), 2))[0, 1]


@pytest.mark.parametrize(
    ("units", "scale_units", "codes"),
    [
        ((3, 1), 0, (0, 0)),  # 3/7 of the smallest denormal rounds to 0: no floor, the group vanishes
        ((4, 1), 1, (4, 1)),  # 4/7 rounds to 1
        ((10, -10), 1, (7, -7)),  # 10/7 rounds to 1, and the codes are clamped
        ((11, 3), 2, (6, 2)),  # 11/7 rounds to 2; 5.5 and 1.5 go to even
    ],
)
def test_denormal_groups_are_neither_floored_nor_flushed(units, scale_units, codes):
    weight = torch.tensor([units], dtype=torch.float64).mul(BF16_TINIEST).to(torch.bfloat16)
    quantised = quantize(weight, 2)
    assert quantised.scale.double().item() == scale_units * BF16_TINIEST
    assert tuple(quantised.codes[0].tolist()) == codes
    assert fake_quantize(weight, 2)[0].double().tolist() == [code * scale_units * BF16_TINIEST for code in codes]


def test_huge_weights_stay_finite_up_to_the_largest_that_check_finite_lets_through():
    largest = torch.nextafter(torch.tensor(BF16_MAX, dtype=torch.bfloat16), torch.tensor(0.0, dtype=torch.bfloat16))
    weight = torch.stack((largest, -largest))[None]
    check_finite("w", weight)
    assert fake_quantize(weight, 2).isfinite().all()
    assert fake_quantize(torch.full((1, 2), BF16_MAX), 2).isinf().all()
    with pytest.raises(ValueError, match="w: 2 of 2 values"):
        check_finite("w", torch.full((1, 2), BF16_MAX))
    with pytest.raises(ValueError, match="w: 2 of 2 values"):
        check_finite("w", torch.full((1, 2), -BF16_MAX))


def test_one_outlier_takes_only_its_own_group_with_it():
    weight = torch.full((1, 64), 0.01)
    clean = fake_quantize(weight, 32)
    weight[0, 3] = 1000.0
    spoilt = fake_quantize(weight, 32)
    assert spoilt[0, 3].item() == pytest.approx(1000, rel=2**-8)  # scale and value are rounded to 8 bits
    assert spoilt[0, :32].count_nonzero() == 1
    assert_same_bits(spoilt[:, 32:], clean[:, 32:])


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf, 3.4e38])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_weights_that_are_not_finite_are_refused_by_name(bad, dtype):
    weight = torch.ones(4, 32)
    weight[2, 5] = bad  # 3.4e38 is finite in fp32 and infinite in bfloat16
    with pytest.raises(ValueError, match=r"layers\.0\.up_proj: 1 of 128 values"):
        check_finite("layers.0.up_proj", weight.to(dtype))
    check_finite("layers.0.up_proj", torch.ones(4, 32, dtype=dtype))
    check_finite("empty", torch.ones(0, dtype=dtype))


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
def test_the_grid_does_not_hide_a_number_that_is_not_finite(bad):
    weight = torch.ones(1, 64)
    weight[0, 5] = bad
    scale = quantize(weight, 32).scale
    assert not scale[0, 0].isfinite() and scale[0, 1].isfinite()


@settings(deadline=None, max_examples=40)
@given(weights(), st.integers(0, 5), st.integers(0, 4))
def test_shards_of_rows_or_of_whole_groups_quantise_as_the_whole_does(case, row, group):
    weight, group_size = case
    row, column = min(row, len(weight)), min(group * group_size, weight.shape[1])
    whole = fake_quantize(weight, group_size)
    by_rows = [fake_quantize(part, group_size) for part in (weight[:row], weight[row:]) if len(part)]
    by_columns = [fake_quantize(part, group_size) for part in (weight[:, :column], weight[:, column:]) if part.numel()]
    assert_same_bits(torch.cat(by_rows), whole)
    assert_same_bits(torch.cat(by_columns, dim=1), whole)


@pytest.mark.parametrize("shape", [(1, 32), (700, 1536), (3, 300_000 // 32 * 32), (0, 32)])
def test_blocks_leave_no_seam(shape):
    weight = torch.randn(shape, generator=torch.Generator().manual_seed(1)).to(torch.bfloat16)
    if len(weight):
        codes, scale, values = plain_grid(weight, 32)
        assert torch.equal(quantize(weight, 32).codes, codes)
        assert_same_bits(quantize(weight, 32).scale, scale)
        assert_same_bits(fake_quantize(weight, 32), values)
    assert fake_quantize(weight, 32).shape == weight.shape


def test_views_are_read_and_written_through():
    generator = torch.Generator().manual_seed(2)
    fused = torch.randn(3, 64, 96, generator=generator).to(torch.bfloat16)
    view = fused[1].T[32:64]  # [32, 64], transposed and narrowed
    expected = plain_grid(view.clone(), 32)[2]
    assert_same_bits(fake_quantize(view, 32), expected)
    before = fused.clone()
    assert fake_quantize(view, 32, out=view) is view
    assert_same_bits(fused[1].T[32:64], expected)
    assert_same_bits(fused[0], before[0])
    assert_same_bits(fused[1].T[:32], before[1].T[:32])


def test_parameters_can_be_quantised_without_a_graph():
    weight = torch.nn.Parameter(torch.randn(4, 32))
    assert not fake_quantize(weight, 32).requires_grad and not quantize(weight, 32).scale.requires_grad


def test_what_is_no_matrix_of_whole_groups_is_refused():
    with pytest.raises(ValueError, match=r"group_size 32 does not divide.*\(4, 40\).*quant\.ignore"):
        quantize(torch.ones(4, 40), 32)
    with pytest.raises(ValueError, match="wants a floating matrix"):
        fake_quantize(torch.ones(2, 4, 32), 32)
    with pytest.raises(ValueError, match="wants a floating matrix"):
        quantize(torch.ones(4, 32, dtype=torch.int8), 32)
    with pytest.raises(ValueError, match=r"out is torch\.float32"):
        fake_quantize(torch.ones(4, 32), 32, out=torch.ones(4, 32))
    with pytest.raises(ValueError, match=r"got \(4, 36\).*in % 8 == 0"):
        quantize_packed(torch.ones(4, 36), 18)
    with pytest.raises(ValueError, match="do not belong together"):
        dequantize(torch.zeros(4, 32, dtype=torch.int8), torch.ones(3, 1, dtype=torch.bfloat16))
    with pytest.raises(ValueError, match=r"scale is torch\.float32"):
        dequantize(torch.zeros(4, 32, dtype=torch.int8), torch.ones(4, 1))
