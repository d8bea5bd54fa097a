"""Attention under a tree mask against torch's own on a dense mask: whole, in blocks, in memory that grows with S."""

from __future__ import annotations

import math

import pytest
import torch
from torch.nn.functional import scaled_dot_product_attention

from rl import attention
from rl.attention import attention_name, fused, tree_attention, tree_mask, written_out
from rl.packing import Tree, pack
from tests.rounding import rounding
from tests.tensors import Largest, kept_for_backward

FORESTS = {
    "small": (((1, 2, 3), (2, 3)), ((1, 2), (1, 2, 2))),
    "siblings": ((range(5), (9, 17, 4, 13)), (range(3), (20, 8)), (range(21), (6,))),
    "one long": ((range(7), (50,)),),
    "prompt over blocks": ((range(19), (3, 11, 2)),),
}
"""Prompts, and the lengths of their continuations."""


def branches_of(name: str) -> torch.Tensor:
    trees = [
        Tree(
            prefix=tuple(prefix),
            continuations=tuple((1,) * n for n in lengths),
            ids=tuple(range(10 * i, 10 * i + len(lengths))),
        )
        for i, (prefix, lengths) in enumerate(FORESTS[name])
    ]
    (micro,) = pack(trees, max_tokens=1000)
    return micro.branches


def inputs(branches, num_heads, num_key_heads, dtype=torch.float32):
    rows, length = branches.shape
    shapes = [(rows, num_heads, length, 16), (rows, num_key_heads, length, 16), (rows, num_key_heads, length, 24)]
    return [torch.randn(shape).to(dtype).requires_grad_() for shape in shapes]


@pytest.mark.parametrize("kernel", [written_out, fused])
@pytest.mark.parametrize("block", [4, 7, 1000])
@pytest.mark.parametrize("name", FORESTS)
@pytest.mark.parametrize(("num_heads", "num_key_heads"), [(4, 4), (6, 2), (3, 1)])
def test_it_agrees_with_torch_in_value_and_gradient(name, num_heads, num_key_heads, block, kernel):
    branches = branches_of(name)
    length = branches.shape[1]
    leaves = inputs(branches, num_heads, num_key_heads)
    grad = torch.randn((*leaves[0].shape[:3], 24))

    ours = tree_attention(*leaves, branches, scale=0.3, kernel=kernel, block=block)
    theirs = scaled_dot_product_attention(*leaves, attn_mask=tree_mask(branches), scale=0.3, enable_gqa=True)
    # Scores are sums of 16, the softmax and the mean of the values sums of `length` terms; values are below 5.
    tolerance = rounding(16 + 2 * length, size=5.0, dtype=torch.float32)
    torch.testing.assert_close(ours, theirs, rtol=0, atol=tolerance)
    found, expected = (torch.autograd.grad(result, leaves, grad) for result in (ours, theirs))
    for mine, other in zip(found, expected, strict=True):
        # Back through the same sums, and over all queries and the heads that share a key.
        num_roundings = 2 * (16 + 2 * length) + length * num_heads
        tolerance = rounding(num_roundings, size=other.abs().sum(-1).max().item(), dtype=torch.float32)
        torch.testing.assert_close(mine, other, rtol=0, atol=tolerance)


@pytest.mark.parametrize("name", FORESTS)
def test_blocks_in_bf16_differ_from_one_piece_by_single_roundings(name):
    branches = branches_of(name)
    query, key, value = leaves = inputs(branches, 4, 4, dtype=torch.bfloat16)
    grad = torch.randn((*query.shape[:3], 24)).bfloat16()
    whole = written_out(*leaves, tree_mask(branches), 0.3)
    blocks = tree_attention(*leaves, branches, scale=0.3, block=2)
    found, expected = (torch.autograd.grad(result, leaves, grad) for result in (blocks, whole))
    assert {t.dtype for t in (blocks, *found)} == {torch.bfloat16}
    with torch.no_grad():
        scores = (query.double() @ key.double().mT * 0.3).masked_fill(~tree_mask(branches), -torch.inf)
        weights = scores.softmax(-1)
        # The weights are rounded, then what comes out; both sides are off by as much. Sums are in fp32.
        unit = torch.finfo(torch.bfloat16).eps / 2 * 1.01
        bound = 2 * unit * (weights @ value.double().abs() + whole.double().abs())
        assert ((blocks - whole).double().abs() <= bound).all()
        # Of a value's gradient a block's part is rounded too, by less than the sum of its terms.
        bound = 2 * unit * (2 * (weights.mT @ grad.double().abs()) + expected[2].double().abs())
        assert ((found[2] - expected[2]).double().abs() <= bound).all()


def test_gradients_of_keys_and_values_do_not_stall_where_many_blocks_add_little():
    """With equal scores, query q gives 1 / (q + 1) to the first value: 1/1 + ... + 1/512 = 6.82.

    In bf16 a sum above 4 takes nothing below 1/64, so blocks of two queries would add nothing from query 128 on: 5.43.
    """
    length = 512
    leaves = [torch.zeros((1, 1, length, 4), dtype=torch.bfloat16, requires_grad=True) for _ in range(3)]
    branches = torch.ones((1, length), dtype=torch.int64)
    branches[0, 0] = 0
    tree_attention(*leaves, branches, scale=1.0, block=2).sum().backward()
    expected = sum(1 / (q + 1) for q in range(length))
    # Weights, parts of blocks and the sum are each rounded once.
    assert leaves[2].grad[0, 0, 0].tolist() == pytest.approx([expected] * 4, rel=3 * 2**-8)


def test_what_a_query_may_not_see_changes_no_bit_of_its_result():
    branches = branches_of("siblings")
    query, key, value = (t.detach() for t in inputs(branches, 4, 2))
    before = tree_attention(query, key, value, branches, scale=0.3, block=4)
    hidden = branches == 2
    key, value = (torch.where(hidden[:, None, :, None], 1e3, t) for t in (key, value))
    after = tree_attention(query, key, value, branches, scale=0.3, block=4)
    seen_by = ~hidden[:, None, :, None].expand_as(after)
    assert torch.equal(before[seen_by], after[seen_by]) and not torch.equal(before, after)


def test_siblings_in_other_blocks_are_not_computed():
    branches = branches_of("siblings")[:1]
    spans = [attention._spans(branches, queries) for queries in attention._cut(branches.shape[1], 12)]
    # Columns: 5 of the prompt, continuations from 5, 14, 31, 35; padding behind 48 has a branch of its own.
    assert branches.shape[1] == 48
    assert spans == [
        [slice(0, 12)],
        [slice(0, 24)],  # column 12 is of the first continuation
        [slice(0, 5), slice(14, 36)],
        [slice(0, 5), slice(35, 48)],
    ]


def test_memory_grows_with_the_length_of_a_row_and_not_with_its_square():
    largest, kept = [], []
    for length in (512, 1024):
        (micro,) = pack([Tree(prefix=(1, 2), continuations=((3,) * (length - 2),), ids=(0,))], max_tokens=length)
        leaves = inputs(micro.branches, 4, 2)
        with Largest() as made, kept_for_backward() as storages:
            result = tree_attention(*leaves, micro.branches, scale=0.3, block=16)
        with made:
            torch.autograd.grad(result.sum(), leaves)
        largest.append(made.numel)
        kept.append(sum(storages.values()))
    assert largest[1] == 2 * largest[0] and kept[1] == 2 * kept[0]


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


@pytest.mark.parametrize("block", [2, attention.BLOCK])
@pytest.mark.parametrize("kind", ["Llama", "Mistral"])
def test_a_model_gives_the_logits_of_torchs_kernel_on_a_dense_mask(kind, block, monkeypatch, tmp_path):
    """Mistral hands its window of 4096 to its attention as well."""
    import transformers

    shape = {
        "vocab_size": 32, "hidden_size": 64, "num_hidden_layers": 2, "num_attention_heads": 4, "num_key_value_heads": 2,
        "intermediate_size": 64,
    }  # fmt: skip
    config, model = (getattr(transformers, kind + part) for part in ("Config", "ForCausalLM"))
    model(config(**shape)).save_pretrained(tmp_path)
    monkeypatch.setattr(attention, "BLOCK", block)
    (micro,) = pack([Tree(prefix=(1, 2, 3), continuations=((4, 5), (6, 7, 8)), ids=(0, 1))], max_tokens=64)
    found = []
    for name, mask in ((attention_name(), micro.branches[:, None, None]), ("sdpa", tree_mask(micro.branches))):
        loaded = model.from_pretrained(tmp_path, attn_implementation=name)
        with torch.no_grad():
            found.append(loaded(input_ids=micro.input_ids, position_ids=micro.position_ids, attention_mask=mask).logits)
    # Two layers of sums over 64 inputs (six of them) and 8 tokens, and the head; logits of small weights are below 1.
    torch.testing.assert_close(*found, rtol=0, atol=rounding(2 * (6 * 64 + 2 * 8) + 64, dtype=torch.float32))


def test_large_scores_are_not_rounded_to_bf16():
    """Two scores of 60.00 and 60.12 are one number in bf16; their weights are .470 and .530."""
    query = torch.tensor([[[[60.0, 1.0]]]], dtype=torch.bfloat16)
    key = torch.tensor([[[[1.0, 0.0], [1.0, 0.12109375]]]], dtype=torch.bfloat16)
    value = torch.tensor([[[[0.0], [1.0]]]], dtype=torch.bfloat16)
    mask = torch.ones((1, 1, 1, 2), dtype=torch.bool)
    found = written_out(query, key, value, mask, 1.0)
    expected = 1 / (1 + math.exp(-0.12109375))
    assert found.item() == pytest.approx(expected, rel=2**-8)  # the result alone is rounded, to 8 bits
