"""One pass over all experts of a layer gives, bit for bit, what one pass over each of their matrices gives."""

from __future__ import annotations

import pytest
import torch
from transformers import LlamaConfig, LlamaForCausalLM, Qwen3MoeConfig, Qwen3MoeForCausalLM
from transformers.models.llama4.modeling_llama4 import Llama4TextConfig, Llama4TextExperts

from rollout.quant.grid import quantize_packed
from rollout.quant.scheme import QuantScheme
from rollout.quant.stacked import quantize_parameter
from rollout.quant.views import quantized_views

SHAPE = {"vocab_size": 32, "hidden_size": 64, "intermediate_size": 96, "num_hidden_layers": 1, "num_attention_heads": 2}


class Transposed(torch.nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.experts = Llama4TextExperts(Llama4TextConfig(hidden_size=64, intermediate_size=32, num_local_experts=3))
        for parameter in self.parameters():
            torch.nn.init.normal_(parameter)


MODELS = {
    "dense": lambda: LlamaForCausalLM(LlamaConfig(**SHAPE)),
    "experts": lambda: Qwen3MoeForCausalLM(Qwen3MoeConfig(**SHAPE, num_experts=4, moe_intermediate_size=32)),
    "transposed": Transposed,
}


@pytest.mark.parametrize("build", MODELS.values(), ids=MODELS)
def test_a_parameter_in_one_pass_is_its_matrices_one_by_one_also_when_the_memory_is_used_again(build) -> None:
    model, packed = build(), {}
    table = quantized_views(model, QuantScheme())
    for _ in range(2):
        masters = {entry.parameter_name: torch.randn_like(entry.parameter) for entry in table}
        for entry in table:
            quantize_parameter(entry, masters[entry.parameter_name], 32, packed=packed)
        addresses = {name: found.words.data_ptr() for name, found in packed.items()}
        for entry in table:
            for (name, view), (_, master) in zip(entry.views, entry.of(masters[entry.parameter_name]), strict=True):
                values = torch.empty_like(master)
                wanted = quantize_packed(master, 32, values=values)
                assert torch.equal(packed[name].words, wanted.words), name
                assert torch.equal(packed[name].scale, wanted.scale), name
                assert torch.equal(view, values), name
    assert {name: found.words.data_ptr() for name, found in packed.items()} == addresses
    assert set(packed) == {part.name for entry in table for part in entry.parts}


def test_the_experts_of_a_parameter_are_slices_of_one_result() -> None:
    packed = {}
    for entry in quantized_views(MODELS["experts"](), QuantScheme()):
        quantize_parameter(entry, entry.parameter.detach().clone(), 32, packed=packed)
        assert len({packed[part.name].words.untyped_storage().data_ptr() for part in entry.parts}) == 1
