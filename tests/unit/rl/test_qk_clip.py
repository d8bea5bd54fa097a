"""QK-Clip: the largest logit of a head is what dense attention has, and clipping scales that head's logits alone."""

from __future__ import annotations

import pytest
import torch
from transformers import AutoModelForCausalLM, DeepseekV3Config, LlamaConfig, Phi3Config, Qwen2Config, Qwen3Config

from rl.attention import attention_name, max_logits, tree_mask
from rl.forward import logprobs
from rl.packing import Tree, pack
from rl.qk_clip import QKClip

SMALL = {
    "vocab_size": 32, "hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 4,
    "max_position_embeddings": 64, "pad_token_id": None,
}  # fmt: skip
LATENT = {
    "q_lora_rank": 16, "kv_lora_rank": 16, "qk_nope_head_dim": 8, "qk_rope_head_dim": 4, "v_head_dim": 8,
    "first_k_dense_replace": 2, "n_routed_experts": 2, "num_experts_per_tok": 1, "n_group": 1, "topk_group": 1,
}  # fmt: skip
MODELS = {
    "own keys": LlamaConfig(**SMALL),
    "shared keys": LlamaConfig(**SMALL, num_key_value_heads=2),
    "biases": Qwen2Config(**SMALL, num_key_value_heads=4),
    "one matrix": Phi3Config(**SMALL, num_key_value_heads=4),
    "latent": DeepseekV3Config(**SMALL, **LATENT),
    "latent, whole queries": DeepseekV3Config(**SMALL, **{**LATENT, "q_lora_rank": None}),
}
TREES = [
    Tree(prefix=(1, 2, 3), continuations=((4, 5, 6), (7, 8)), ids=(0, 1)),
    Tree(prefix=(9,), continuations=((10, 11),), ids=(2,)),
]


def model_of(config):
    torch.manual_seed(0)
    model = AutoModelForCausalLM.from_config(config, attn_implementation=attention_name(), dtype=torch.float32).eval()
    with torch.no_grad():
        for name, parameter in model.named_parameters():  # wide enough that heads differ
            if "q_" in name or "qkv" in name:
                parameter.mul_(40.0)
            if name.endswith("bias"):
                parameter.normal_()
    return model


def seen(model, clip: QKClip) -> torch.Tensor:
    """[L, H] largest logits of a pass."""
    for micro in pack(TREES, max_tokens=64):
        logprobs(model, micro)
    return torch.stack([watch.max_H for watch in clip._watches])


def masters_of(model) -> dict[str, torch.Tensor]:
    return {name: parameter.data for name, parameter in model.named_parameters()}


@pytest.mark.parametrize("shared", [1, 2])
@pytest.mark.parametrize("block", [2, 3, 64])
def test_the_largest_logit_is_that_of_dense_attention_under_the_tree_mask(shared, block):
    torch.manual_seed(1)
    branches = torch.tensor([[0, 0, 1, 1, 2, 2, 2, -1], [0, 1, 1, 1, 2, -1, -1, -1]])
    query, key = torch.randn(2, 4, 8, 6), torch.randn(2, 4 // shared, 8, 6)
    query[:, :, -1] = 100.0  # padding, of both rows: no real token
    key[:, :, -1] = 100.0
    scores = 0.7 * query @ key.repeat_interleave(shared, dim=1).transpose(-1, -2)
    real = tree_mask(branches) & (branches >= 0)[:, None, :, None]
    expected = scores.masked_fill(~real, -torch.inf).amax(dim=(0, 2, 3))
    found = max_logits(query, key, branches, scale=0.7, block=block)
    torch.testing.assert_close(found, expected)


@pytest.mark.parametrize("name", MODELS)
def test_clipping_scales_the_logits_of_a_head_that_is_too_large_and_of_no_other(name):
    """Of the first layer, whose inputs do not change; a second layer sees what the first makes of them."""
    model = model_of(MODELS[name])
    clip = QKClip(model, tau=1.0)
    before = seen(model, clip)[0]
    clip.tau = float(before.sort().values[1:3].mean())  # two heads above, two below
    assert sum(before > clip.tau) == 2 and clip.max_logit() >= float(before.max())
    clip._watches[1].max_H = None  # the first layer alone
    assert clip.clip(masters_of(model)) == 2
    after = seen(model, clip)[0]
    torch.testing.assert_close(after, before.clamp(max=clip.tau), rtol=1e-4, atol=1e-6)


def test_every_pass_with_a_gradient_counts_until_the_update_and_none_without():
    model = model_of(MODELS["own keys"])
    clip = QKClip(model, tau=1e9)
    micro = pack(TREES, max_tokens=64)
    with torch.no_grad():
        logprobs(model, micro[0])
    assert clip.max_logit() is None and clip.row_factors() == {}
    found = []
    for tree in TREES:
        logprobs(model, pack([tree], max_tokens=64)[0])
        found.append(clip.max_logit())
    assert found[1] >= found[0]
    assert clip.clip(masters_of(model)) == 0 and clip.max_logit() is None
    logprobs(model, pack(TREES[1:], max_tokens=64)[0])
    assert clip.max_logit() <= found[1]


def test_models_that_normalise_their_queries_are_refused_with_the_reason():
    config = Qwen3Config(**SMALL, num_key_value_heads=2, head_dim=8)
    with pytest.raises(ValueError, match=r"learner.qk_clip is set, but .*layers.0.self_attn .* normalises queries"):
        QKClip(AutoModelForCausalLM.from_config(config), tau=100.0)
