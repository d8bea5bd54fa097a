"""A pass over a micro-batch: which models it is right for, and what is refused."""

from __future__ import annotations

import dataclasses

import pytest
import torch
from transformers import AttentionInterface, AutoModelForCausalLM, LlamaConfig, LlamaForCausalLM
from transformers.models.llama import modeling_llama

from rl.attention import attention_name
from rl.forward import check_model, checkpoint_layers, logprobs
from rl.packing import Tree, pack
from tests.rounding import rounding
from tests.tensors import Largest, kept_for_backward


@pytest.fixture
def model(tiny_folder):
    return AutoModelForCausalLM.from_pretrained(tiny_folder, dtype=torch.float32, attn_implementation=attention_name())


@pytest.fixture
def loud(model):
    """The tiny model with logits and attention of a trained model's size."""
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.mul_(2 if parameter.ndim == 2 else 1)
    return model


def ignore_the_mask(module, query, key, value, attention_mask, scaling, **kwargs):
    """Attention that is causal along the row, whatever tree it is asked to respect."""
    out = torch.nn.functional.scaled_dot_product_attention(query, key, value, is_causal=True, scale=scaling)
    return out.transpose(1, 2).contiguous(), None


def test_a_model_whose_attention_ignores_the_tree_mask_is_refused(loud):
    AttentionInterface.register("ignores_the_mask", ignore_the_mask)
    check_model(loud)
    loud.config._attn_implementation = "ignores_the_mask"
    with pytest.raises(ValueError, match="LlamaForCausalLM does not keep siblings apart under a tree mask"):
        check_model(loud)


def test_a_model_whose_own_attention_caps_its_scores_is_refused_though_it_does_not_say_so(loud, monkeypatch):
    """A cap of 50 on scores of a few units moves the logits by far less than bf16 would round them."""
    plain = modeling_llama.eager_attention_forward

    def capped(module, query, key, value, attention_mask, scaling, dropout=0.0, **kwargs):
        scores = scaling * query @ modeling_llama.repeat_kv(key, module.num_key_value_groups).transpose(2, 3)
        weights = (50 * torch.tanh(scores / 50) + attention_mask).softmax(-1)
        values = modeling_llama.repeat_kv(value, module.num_key_value_groups)
        return (weights @ values).transpose(1, 2).contiguous(), weights

    monkeypatch.setattr(modeling_llama, "eager_attention_forward", capped)
    with pytest.raises(ValueError, match="LlamaForCausalLM computes its logits in another way"):
        check_model(loud)
    monkeypatch.setattr(modeling_llama, "eager_attention_forward", plain)
    check_model(loud)
    assert loud.config._attn_implementation == attention_name()


def test_a_model_that_scales_its_logits_outside_its_head_is_refused(loud):
    forward = loud.forward

    def scaled(*args, **kwargs):
        output = forward(*args, **kwargs)
        return dataclasses.replace(output, logits=output.logits / 2)

    loud.forward = scaled
    with pytest.raises(ValueError, match="computes its logits in another way than head"):
        check_model(loud)


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_weights_that_are_not_finite_are_refused_with_the_tensors_name(model, bad):
    with torch.no_grad():
        model.model.layers[1].self_attn.k_proj.weight[3, 5] = bad
    with pytest.raises(ValueError, match=r"model\.layers\.1\.self_attn\.k_proj\.weight: 1 of 4096 values"):
        check_model(model)


def test_a_head_of_two_layers_is_refused(model):
    model.set_output_embeddings(torch.nn.Sequential(torch.nn.LayerNorm(64), model.get_output_embeddings()))
    with pytest.raises(ValueError, match="LlamaForCausalLM has a Sequential for a head; the learner computes"):
        check_model(model)


def test_a_head_with_a_hook_is_refused(model):
    model.get_output_embeddings().register_forward_hook(lambda module, inputs, output: 30 * torch.tanh(output / 30))
    with pytest.raises(ValueError, match="LlamaForCausalLM has a Linear for a head; the learner computes"):
        check_model(model)


def test_a_head_of_its_own_with_a_bias_is_computed_like_any_other(model):
    head = torch.nn.Linear(64, model.config.vocab_size)
    model.set_output_embeddings(head)
    check_model(model)
    prefix, tokens = (2, 9, 4), (5, 17, 30, 5)
    (micro,) = pack([Tree(prefix=prefix, continuations=(tokens,), ids=(0,))], max_tokens=64)
    found = logprobs(model, micro)[0]
    hidden = model.base_model(input_ids=torch.tensor([prefix + tokens])).last_hidden_state[0]
    plain = head(hidden[len(prefix) - 1 : -1]).log_softmax(-1)
    expected = plain[torch.arange(len(tokens)), torch.tensor(tokens)]
    # Two layers (projections, scores, attention, output, gate, down), head, log_softmax; none is below -8.
    tolerance = rounding(2 * (64 + 32 + 64 + 64 + 64 + 96) + 64 + 32, size=8.0, dtype=torch.float32)
    torch.testing.assert_close(found, expected, rtol=0, atol=tolerance)
    (gradient,) = torch.autograd.grad(expected.sum(), [head.bias])
    found.sum().backward()
    torch.testing.assert_close(head.bias.grad, gradient, rtol=0, atol=len(tokens) * tolerance)


def llama(num_layers: int):
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=64, hidden_size=32, num_hidden_layers=num_layers, num_attention_heads=2, num_key_value_heads=1,
        intermediate_size=48,
    )  # fmt: skip
    return LlamaForCausalLM._from_config(config, attn_implementation=attention_name()).eval()


def response_of(length: int):
    """One row: a prompt of a single token, and a response."""
    tokens = tuple((7 * i) % 64 for i in range(length))
    (micro,) = pack([Tree(prefix=tokens[:1], continuations=(tokens[1:],), ids=(0,))], max_tokens=length)
    return micro


def test_a_layer_that_is_computed_twice_keeps_its_input_alone():
    kept = []
    for num_layers in (2, 5):
        model, micro = llama(num_layers), response_of(64)
        checkpoint_layers(model)
        weights = {p.untyped_storage().data_ptr() for p in model.parameters()}
        with kept_for_backward() as storages:
            logprobs(model, micro)
        kept.append(sum(size for address, size in storages.items() if address not in weights))
    assert kept[1] - kept[0] == 3 * 64 * 32 * 4  # three layers more, a hidden state of 32 fp32 numbers for each of 64


@pytest.mark.parametrize("is_checkpointed", [False, True])
def test_memory_of_an_update_grows_with_the_response_and_not_with_its_square(is_checkpointed):
    """Rows of more than two blocks of queries; logits in chunks have a test of their own."""
    largest, kept = [], []
    for length in (1024, 2048):
        model, micro = llama(2), response_of(length)
        if is_checkpointed:
            checkpoint_layers(model)
        weights = {p.untyped_storage().data_ptr() for p in model.parameters()}
        with kept_for_backward() as storages, Largest() as made:
            values = logprobs(model, micro)
        with made:
            values.sum().backward()
        largest.append(made.numel)
        kept.append(sum(size for address, size in storages.items() if address not in weights))
    per_token = (kept[1] - kept[0]) / 1024
    assert kept[0] == pytest.approx(1024 * per_token, rel=0.01)  # nothing that grows faster, nothing else that is large
    assert largest[1] <= 2 * largest[0]


def test_a_model_without_layers_to_compute_twice_is_refused_with_the_setting(model):
    model.model.layers = torch.nn.ModuleList()
    with pytest.raises(
        ValueError, match=r"LlamaForCausalLM has no layers .* set learner\.gradient_checkpointing = false"
    ):
        checkpoint_layers(model)
