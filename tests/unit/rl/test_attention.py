"""Written-out attention against torch's own, forward and backward."""

from __future__ import annotations

import math

import pytest
import torch

from rl import attention
from rl.attention import attention_name, tree_attention
from rl.packing import Tree, pack
from tests.rounding import rounding


def tree_mask() -> torch.Tensor:
    trees = [
        Tree(prefix=(1, 2, 3), continuations=((4, 5), (6, 7, 8)), ids=(0, 1)),
        Tree(prefix=(1, 2), continuations=((4,), (6, 7), (9, 9)), ids=(2, 3, 4)),
    ]
    (micro,) = pack(trees, max_tokens=64)
    return micro.attention_mask


@pytest.mark.parametrize(("num_heads", "num_key_heads"), [(4, 4), (6, 2), (3, 1)])
def test_it_agrees_with_torch_in_value_and_gradient_for_shared_key_heads_too(num_heads, num_key_heads):
    mask = tree_mask()
    rows, length = mask.shape[0], mask.shape[-1]
    generator = torch.Generator().manual_seed(0)
    shapes = [(rows, heads, length, 16) for heads in (num_heads, num_key_heads, num_key_heads)]
    inputs = [torch.randn(shape, generator=generator, requires_grad=True) for shape in shapes]
    weights = torch.randn((rows, num_heads, length, 16), generator=generator)

    ours = tree_attention(*inputs, mask, scale=0.3)
    theirs = torch.nn.functional.scaled_dot_product_attention(*inputs, attn_mask=mask, scale=0.3, enable_gqa=True)
    # Scores are sums of 16, the softmax and the mean of the values sums of `length` terms; values are below 5.
    tolerance = rounding(16 + 2 * length, size=5.0, dtype=torch.float32)
    torch.testing.assert_close(ours, theirs, rtol=0, atol=tolerance)
    for mine, other in zip(
        torch.autograd.grad((ours * weights).sum(), inputs),
        torch.autograd.grad((theirs * weights).sum(), inputs),
        strict=True,
    ):
        # Back through the same sums, and over all queries and the heads that share a key.
        num_roundings = 2 * (16 + 2 * length) + length * num_heads
        tolerance = rounding(num_roundings, size=other.abs().sum(-1).max().item(), dtype=torch.float32)
        torch.testing.assert_close(mine, other, rtol=0, atol=tolerance)


def test_a_model_that_caps_its_scores_is_refused_instead_of_trained_on_others():
    from transformers import Gemma2Config, Gemma2ForCausalLM

    shape = {
        "vocab_size": 32, "hidden_size": 64, "num_hidden_layers": 1, "num_attention_heads": 2, "num_key_value_heads": 2,
        "intermediate_size": 64, "head_dim": 32,
    }  # fmt: skip
    model = Gemma2ForCausalLM._from_config(Gemma2Config(**shape), attn_implementation=attention_name())
    with pytest.raises(ValueError, match=r"Gemma2Attention asks its attention for softcap = 50\.0, which"):
        model(input_ids=torch.tensor([[1, 2, 3]]))
    without = Gemma2Config(**shape, attn_logit_softcapping=None)
    Gemma2ForCausalLM._from_config(without, attn_implementation=attention_name())(input_ids=torch.tensor([[1, 2, 3]]))


@pytest.mark.parametrize("limit", [0, attention.MAX_SCORES])
def test_a_model_gives_the_same_logits_with_long_and_short_rows(limit, monkeypatch, tmp_path):
    from transformers import LlamaConfig, LlamaForCausalLM

    shape = {
        "vocab_size": 32, "hidden_size": 64, "num_hidden_layers": 2, "num_attention_heads": 4, "num_key_value_heads": 2,
        "intermediate_size": 64,
    }  # fmt: skip
    torch.manual_seed(0)
    LlamaForCausalLM(LlamaConfig(**shape)).save_pretrained(tmp_path)
    monkeypatch.setattr(attention, "MAX_SCORES", limit)
    (micro,) = pack([Tree(prefix=(1, 2, 3), continuations=((4, 5), (6, 7, 8)), ids=(0, 1))], max_tokens=64)
    found = []
    for name in (attention_name(), "sdpa"):
        model = LlamaForCausalLM.from_pretrained(tmp_path, attn_implementation=name)
        with torch.no_grad():
            found.append(
                model(
                    input_ids=micro.input_ids, position_ids=micro.position_ids, attention_mask=micro.attention_mask
                ).logits
            )
    # Two layers of sums over 64 inputs (six of them) and 8 tokens, and the head; logits of small weights are below 1.
    torch.testing.assert_close(*found, rtol=0, atol=rounding(2 * (6 * 64 + 2 * 8) + 64, dtype=torch.float32))


def test_large_scores_are_not_rounded_to_bf16():
    """Two scores of 60.00 and 60.12 are one number in bf16; their weights are .470 and .530."""
    query = torch.tensor([[[[60.0, 1.0]]]], dtype=torch.bfloat16)
    key = torch.tensor([[[[1.0, 0.0], [1.0, 0.12109375]]]], dtype=torch.bfloat16)
    value = torch.tensor([[[[0.0], [1.0]]]], dtype=torch.bfloat16)
    mask = torch.ones((1, 1, 1, 2), dtype=torch.bool)
    found = tree_attention(query, key, value.expand(1, 1, 2, 2), mask, scale=1.0)
    expected = 1 / (1 + math.exp(-0.12109375))
    assert found.flatten()[0].item() == pytest.approx(expected, rel=2**-8)  # the result alone is rounded, to 8 bits
