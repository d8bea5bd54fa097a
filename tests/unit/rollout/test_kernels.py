"""Which matrices the engines' INT4 kernels take, held against vLLM's own checks where these can be called."""

from __future__ import annotations

import pytest
from torch import nn
from transformers import AutoConfig, AutoModelForCausalLM

from rollout.quant.kernels import CPU_WNA16, MARLIN, KernelRules
from rollout.quant.scheme import QuantScheme
from rollout.quant.views import check_shapes, quantized_views


@pytest.mark.parametrize(("group_size", "is_taken"), [(32, True), (64, True), (128, True), (16, False), (256, False)])
def test_a_gpu_takes_groups_of_32_64_and_128_and_a_cpu_any(group_size: int, is_taken: bool) -> None:
    table = quantized_views(nn.ModuleDict({"a": nn.Linear(256, 64)}), QuantScheme(group_size=group_size))
    check_shapes(table, group_size, CPU_WNA16)
    if is_taken:
        check_shapes(table, group_size, MARLIN)
    else:
        with pytest.raises(
            ValueError, match=rf"Marlin\) takes groups of 32, 64, 128 .*quant.group_size is {group_size}"
        ):
            check_shapes(table, group_size, MARLIN)


def test_dimensions_that_vllm_pads_for_a_gpu_are_taken_there_and_refused_on_a_cpu() -> None:
    table = quantized_views(nn.ModuleDict({"a": nn.Linear(96, 40)}), QuantScheme())
    check_shapes(table, 32, MARLIN)
    with pytest.raises(ValueError, match=r"a is \[out=40, in=96\]; .*multiples of 32"):
        check_shapes(table, 32, CPU_WNA16)


@pytest.mark.parametrize(("width", "is_taken"), [(128, True), (64, False)])
def test_experts_on_a_gpu_want_a_model_whose_width_is_a_multiple_of_128(width: int, is_taken: bool) -> None:
    config = AutoConfig.for_model(
        "qwen3_moe", vocab_size=48, hidden_size=width, intermediate_size=96, num_hidden_layers=1,
        num_attention_heads=2, num_key_value_heads=2, head_dim=32, moe_intermediate_size=96, num_experts=2,
        num_experts_per_tok=1,
    )  # fmt: skip
    table = quantized_views(AutoModelForCausalLM.from_config(config), QuantScheme())
    if is_taken:
        check_shapes(table, 32, MARLIN)
    else:
        with pytest.raises(ValueError, match=r"experts\.0\.gate_proj is .*width of experts to be a multiple of 128"):
            check_shapes(table, 32, MARLIN)
        check_shapes(table, 32, CPU_WNA16)


@pytest.mark.parametrize(("num_out", "num_in", "width"), [(96, 64, 64), (64, 96, 64)])
def test_the_width_of_an_expert_is_what_both_its_sides_are_asked_for(num_out: int, num_in: int, width: int) -> None:
    rules = KernelRules(name="k", group_sizes=None, multiple=8, expert_width_multiple=128)
    assert rules.shape_problem(num_out=num_out, num_in=num_in) is None
    assert rules.shape_problem(num_out=num_out, num_in=num_in, expert_width=width) is not None
