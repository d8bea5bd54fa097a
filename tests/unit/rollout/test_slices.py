"""Which part of a matrix a process of an engine holds: by hand, joined again, and what the kernel takes of it."""

from __future__ import annotations

import pytest
import torch
from transformers import AutoConfig, AutoModelForCausalLM

from rollout.quant.grid import dequantize, quantize
from rollout.quant.kernels import CPU_WNA16, MARLIN
from rollout.quant.pack import pack_int4, unpack_int4
from rollout.quant.scheme import QuantScheme
from rollout.quant.slices import Cut, check_slices, cut_of, slice_of
from rollout.quant.views import quantized_views

PLAN = {"layers.*.self_attn.q_proj": "colwise", "layers.*.mlp.down_proj": "rowwise", "norm": "sequence_parallel"}


def test_a_layers_cut_is_found_by_its_name_in_the_checkpoint() -> None:
    assert cut_of("model.layers.11.self_attn.q_proj", PLAN) == "rows"
    assert cut_of("layers.0.mlp.down_proj", PLAN) == "columns"
    assert cut_of("model.layers.x.mlp.down_proj", PLAN) == "whole"
    assert cut_of("model.norm", PLAN) == cut_of("lm_head", PLAN) == "whole"


def test_slices_by_hand() -> None:
    weight, bias = torch.arange(12).view(4, 3), torch.arange(4)
    assert slice_of(weight, "rows", rank=1, size=2).tolist() == [[6, 7, 8], [9, 10, 11]]
    assert slice_of(weight, "columns", rank=2, size=3).tolist() == [[2], [5], [8], [11]]
    assert slice_of(bias, "rows", rank=1, size=2).tolist() == [2, 3]
    assert slice_of(bias, "columns", rank=1, size=2) is bias  # one rank adds it
    assert slice_of(weight, "whole", rank=1, size=2) is weight
    with pytest.raises(ValueError, match="3 columns cannot be shared out among 2 ranks"):
        slice_of(weight, "columns", rank=0, size=2)


@pytest.mark.parametrize("cut", ["rows", "columns"])
@pytest.mark.parametrize("size", [2, 3])
def test_slices_of_packed_bytes_are_the_packed_bytes_of_slices(cut: Cut, size: int) -> None:
    """The second method: cut the matrix first, then quantise and pack the piece by itself."""
    weight = torch.randn(48, 192, generator=torch.Generator().manual_seed(1)).to(torch.bfloat16)
    whole = quantize(weight, 32)
    words, joined = pack_int4(whole.codes), []
    for rank in range(size):
        piece = quantize(slice_of(weight, cut, rank=rank, size=size).contiguous(), 32)
        mine = slice_of(words, cut, rank=rank, size=size).contiguous()
        scale = slice_of(whole.scale, cut, rank=rank, size=size).contiguous()
        assert torch.equal(mine, pack_int4(piece.codes)) and torch.equal(scale, piece.scale)
        joined.append(dequantize(unpack_int4(mine), scale))
    assert torch.equal(torch.cat(joined, dim=0 if cut == "rows" else 1), dequantize(whole.codes, whole.scale))


def table_of(**changes: int):
    small = {"hidden_size": 128, "num_hidden_layers": 1, "num_attention_heads": 4, "num_key_value_heads": 4,
             "intermediate_size": 192, "vocab_size": 64, "head_dim": 32}  # fmt: skip
    config = AutoConfig.for_model("llama", **(small | changes))
    with torch.device("meta"):
        model = AutoModelForCausalLM.from_config(config)
    return quantized_views(model, QuantScheme()), config.base_model_tp_plan


def test_every_matrix_of_a_dense_model_is_cut_and_its_slices_are_checked_against_the_kernel() -> None:
    table, plan = table_of()
    assert {cut_of(view, plan) for entry in table for view, _ in entry.views} == {"rows", "columns"}
    check_slices(table, 32, CPU_WNA16, plan=plan, size=2)
    with pytest.raises(
        ValueError, match=r"= 4 leaves a process \[out=48, in=128\] of .*mlp\.gate_proj: .*multiples of 32; lower it"
    ):
        check_slices(table, 32, CPU_WNA16, plan=plan, size=4)
    with pytest.raises(
        ValueError,
        match=r"= 2 cannot share out .*mlp\.down_proj \[out=128, in=192\]: it does not divide its 3 groups; lower",
    ):
        check_slices(table, 64, CPU_WNA16, plan=plan, size=2)


def test_marlin_pads_a_slice_but_takes_whole_groups_alone() -> None:
    """[48, 128] is no tile of Marlin's and is padded to one; half of three groups is no group of any."""
    table, plan = table_of()
    check_slices(table, 32, MARLIN, plan=plan, size=2)
    check_slices(*table_of(intermediate_size=256)[:1], 32, MARLIN, plan=plan, size=4)
    with pytest.raises(ValueError, match=r"= 2 cannot share out .*mlp\.down_proj .* does not divide its 3 groups"):
        check_slices(table, 64, MARLIN, plan=plan, size=2)
