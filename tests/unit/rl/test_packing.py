"""A packed tree gives every continuation the log-probabilities it gets alone, and predicts every token exactly once."""

from __future__ import annotations

from functools import cache

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from transformers import LlamaConfig, LlamaForCausalLM

from rl.attention import attention_name, tree_mask
from rl.forward import logprobs
from rl.packing import MicroBatch, Tree, folded, pack, unfolded
from tests.rounding import rounding

TREES = (
    Tree(prefix=(1, 2, 3), continuations=((4, 5, 6, 7), (8,), (9, 10)), ids=(0, 1, 2)),
    Tree(prefix=(11,), continuations=((12, 13, 14),), ids=(7,)),
    Tree(prefix=(3, 2, 1, 0, 5), continuations=((4, 4), (4, 4), (15, 16, 17, 18, 19)), ids=(3, 4, 5)),
)


ROUNDINGS = 2 * (32 + 8 + 20 + 32 + 32 + 48) + 32 + 20
"""In a row, in `llama`: projections, scores, attention, output, gate and up, down; twice; then head and log_softmax."""
TOLERANCE = rounding(ROUNDINGS, size=8.0, dtype=torch.float32)
"""Of a log-probability, none of which is below -8; a wrong mask or position moves them by tenths."""


ALIKE = (
    Tree(prefix=(1, 2, 3, 4), continuations=((5, 6, 7), (8,)), ids=(0, 1)),
    Tree(prefix=(1, 2, 9), continuations=((10, 11, 12, 13),), ids=(2,)),
    Tree(prefix=(1, 2, 3), continuations=((14,), (15, 16)), ids=(3, 4)),
)
"""Rows of 8, 7 and 6 tokens that begin with the same two."""


@cache
def llama() -> LlamaForCausalLM:
    """Random weights, ten times larger than usual so that a wrong mask or position shows."""
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=20,
        hidden_size=32,
        intermediate_size=48,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        initializer_range=0.2,
    )
    return LlamaForCausalLM._from_config(config, attn_implementation=attention_name()).eval()


@torch.no_grad()
def alone(prefix: tuple[int, ...], continuation: tuple[int, ...]) -> list[float]:
    """The second method: one sequence, no mask, no position ids."""
    ids = torch.tensor([prefix + continuation])
    logprobs = llama()(input_ids=ids).logits[0].log_softmax(-1)
    first = len(prefix) - 1
    return [logprobs[first + t, token].item() for t, token in enumerate(continuation)]


@torch.no_grad()
def packed(batch: MicroBatch) -> dict[int, list[float]]:
    padded = logprobs(llama(), batch)
    assert padded.shape == (len(batch.ids), batch.max_length)
    return dict(zip(batch.ids, padded.tolist(), strict=True))


def assert_equal_to_each_alone(trees, max_tokens: int) -> None:
    batches = pack(trees, max_tokens=max_tokens)
    assert all(batch.input_ids.numel() <= max_tokens for batch in batches)
    found: dict[int, list[float]] = {}
    for batch in batches:
        assert not found.keys() & set(batch.ids)
        found |= packed(batch)
    expected = {
        number: alone(tree.prefix, continuation)
        for tree in trees
        for number, continuation in zip(tree.ids, tree.continuations, strict=True)
    }
    assert found.keys() == expected.keys()
    for number, row in expected.items():
        assert found[number][: len(row)] == pytest.approx(row, abs=TOLERANCE)
        assert not any(found[number][len(row) :])  # padding


@pytest.mark.parametrize("max_tokens", [10, 11, 13, 14, 28, 1000])
def test_logprobs_of_packed_trees_equal_those_of_each_sequence_alone(max_tokens):
    assert_equal_to_each_alone(TREES, max_tokens)


tokens = st.lists(st.integers(0, 19), min_size=1, max_size=6).map(tuple)
prefixes = st.lists(st.integers(0, 1), min_size=1, max_size=6).map(tuple)  # many of them begin alike
forests = st.lists(st.tuples(prefixes, st.lists(tokens, min_size=1, max_size=5)), min_size=1, max_size=5)


def numbered(forest) -> list[Tree]:
    trees, number = [], 100
    for prefix, continuations in forest:
        ids = tuple(range(number, number + len(continuations)))
        trees.append(Tree(prefix=prefix, continuations=tuple(continuations), ids=ids))
        number += len(continuations)
    return trees


@given(forests, st.integers(12, 60))
@settings(max_examples=40, deadline=None)
def test_any_forest_packs_to_the_logprobs_of_each_sequence_alone(forest, max_tokens):
    assert_equal_to_each_alone(numbered(forest), max_tokens)


@given(forests, st.integers(12, 60))
@settings(deadline=None)
def test_every_token_is_predicted_exactly_once_and_from_its_predecessor(forest, max_tokens):
    trees = numbered(forest)
    seen: dict[tuple[int, int], int] = {}
    for batch in pack(trees, max_tokens=max_tokens):
        for row, column, target, sample, place in zip(
            batch.rows, batch.columns, batch.targets, batch.sample_index, batch.token_index, strict=True
        ):
            key = (batch.ids[int(sample)], int(place))
            assert key not in seen
            seen[key] = int(target)
            predicted_at = int(batch.position_ids[row, column]) + 1
            prefix = next(tree.prefix for tree in trees if key[0] in tree.ids)
            assert predicted_at == len(prefix) + key[1]
    assert seen == {
        (number, place): token
        for tree in trees
        for number, continuation in zip(tree.ids, tree.continuations, strict=True)
        for place, token in enumerate(continuation)
    }


def test_a_tree_that_fits_is_computed_once_and_one_that_does_not_is_split_with_its_prefix_repeated():
    tree = TREES[0]  # 3 + 4 + 1 + 2 tokens
    (whole,) = pack([tree], max_tokens=10)
    assert whole.input_ids.tolist() == [[1, 2, 3, 4, 5, 6, 7, 8, 9, 10]]
    assert whole.position_ids.tolist() == [[0, 1, 2, 3, 4, 5, 6, 3, 3, 4]]
    first, second = pack([tree], max_tokens=9)
    assert first.input_ids.tolist() == [[1, 2, 3, 4, 5, 6, 7, 8]] and first.ids == (0, 1)
    assert second.input_ids.tolist() == [[1, 2, 3, 9, 10]] and second.ids == (2,)


def test_what_all_prompts_begin_with_is_computed_once():
    (batch,) = pack(ALIKE, max_tokens=100)
    assert batch.num_shared == 2
    given = []
    hook = llama().model.embed_tokens.register_forward_hook(lambda module, inputs, output: given.append(inputs[0]))
    packed(batch)
    hook.remove()
    assert [ids.tolist() for ids in given] == [
        [[1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 0, 3, 14, 15, 16, 0, 0]]  # 2 + 3 * 6 in the place of 3 * 8
    ]
    assert_equal_to_each_alone(ALIKE, 100)


def test_rows_of_one_prompt_share_all_of_it_and_a_row_alone_shares_nothing():
    twins = [Tree(prefix=(1, 2, 3), continuations=((i, i),), ids=(i,)) for i in (4, 5)]
    assert [batch.num_shared for batch in pack(twins, max_tokens=10)] == [3]
    assert [batch.num_shared for batch in pack(twins, max_tokens=9)] == [0, 0]
    assert_equal_to_each_alone(twins, 10)


def test_gradients_through_what_is_shared_are_those_of_each_sequence_alone():
    weights = [llama().model.embed_tokens.weight, llama().model.layers[0].self_attn.k_proj.weight]
    together, *each = (
        torch.autograd.grad(sum(logprobs(llama(), batch).sum() for batch in batches), weights)
        for batches in (pack(ALIKE, max_tokens=100), *(pack([tree], max_tokens=100) for tree in ALIKE))
    )
    for found, *parts in zip(together, *each, strict=True):
        size = sum(part.abs() for part in parts).max().item()
        tolerance = rounding(2 * ROUNDINGS, size=size, dtype=found.dtype)
        torch.testing.assert_close(found, sum(parts), rtol=0, atol=tolerance)


@pytest.mark.parametrize("num_shared", [0, 2, 3])
def test_rows_come_back_from_what_a_model_is_given(num_shared):
    rows = torch.arange(2 * 4 * 3).view(2, 4, 3)
    rows[:, :num_shared] = rows[:1, :num_shared]
    together = folded(rows, num_shared)
    assert together.shape == (1, num_shared + 2 * (4 - num_shared), 3)
    assert torch.equal(unfolded(together, num_shared, 2), rows)


def test_the_mask_is_a_tree():
    (batch,) = pack([Tree(prefix=(1, 2), continuations=((3, 4), (5,)), ids=(0, 1))], max_tokens=5)
    assert tree_mask(batch.branches)[0, 0].int().tolist() == [
        [1, 0, 0, 0, 0],
        [1, 1, 0, 0, 0],
        [1, 1, 1, 0, 0],
        [1, 1, 1, 1, 0],
        [1, 1, 0, 0, 1],
    ]


def test_padding_sees_itself_alone_and_is_seen_by_nobody():
    (batch,) = pack(TREES[:2], max_tokens=100)
    assert batch.input_ids.shape == (2, 10)
    mask = tree_mask(batch.branches)[1, 0]
    assert torch.equal(mask[4:, 4:], torch.eye(6, dtype=torch.bool))
    assert not mask[4:, :4].any() and not mask[:4, 4:].any()


def test_a_sequence_longer_than_a_micro_batch_is_refused_with_the_setting_to_raise():
    with pytest.raises(ValueError, match=r"a sequence of 7 tokens exceeds learner\.max_microbatch_tokens = 6; raise"):
        pack(TREES[:1], max_tokens=6)


def test_nothing_packs_to_nothing():
    assert pack([], max_tokens=8) == []
