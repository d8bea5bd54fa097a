"""Log-probabilities in chunks against plain autograd: the same bits, the same gradient, and no [M, V] tensor."""

from __future__ import annotations

import pytest
import torch
from torch.nn.functional import linear

from rl.logprobs import token_logprobs
from tests.rounding import rounding
from tests.tensors import Largest, kept_for_backward

NUM_TOKENS, WIDTH, VOCABULARY = 101, 48, 320
CHUNKS = [VOCABULARY * NUM_TOKENS, VOCABULARY * 50, VOCABULARY * 7]
"""One chunk; three, where cutting at 50 would leave a single row over; fifteen."""


def plain(hidden, weight, bias, targets, temperatures=None):
    """The formula on all logits at once."""
    logits = linear(hidden, weight, bias).to(torch.promote_types(hidden.dtype, torch.float32))
    if temperatures is not None:
        logits = logits / temperatures[:, None]
    return logits.gather(1, targets[:, None]).squeeze(1) - logits.logsumexp(dim=1)


def inputs(dtype, *, has_bias=True, num_tokens=NUM_TOKENS):
    """Leaves (hidden, weight, bias), targets, temperatures, and the gradient that arrives."""
    shapes = [(num_tokens, WIDTH), (VOCABULARY, WIDTH), (VOCABULARY,)][: 2 + has_bias]
    leaves = [torch.randn(shape).to(dtype).requires_grad_() for shape in shapes]
    targets = torch.randint(VOCABULARY, (num_tokens,))
    return leaves, targets, torch.rand(num_tokens) + 0.5, torch.randn(num_tokens)


def called(function, leaves, targets, temperatures, **more):
    hidden, weight, *bias = leaves
    return function(hidden, weight, bias[0] if bias else None, targets, temperatures, **more)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float32])
@pytest.mark.parametrize("max_logits", CHUNKS)
@pytest.mark.parametrize("is_scaled", [False, True])
def test_values_have_the_bits_of_all_logits_at_once(dtype, max_logits, is_scaled):
    leaves, targets, temperatures, _ = inputs(dtype)
    temperatures = temperatures if is_scaled else None
    found = called(token_logprobs, leaves, targets, temperatures, max_logits=max_logits)
    assert found.dtype == torch.float32
    expected = called(plain, leaves, targets, temperatures)
    if dtype is torch.bfloat16:
        assert torch.equal(found, expected)
        return
    # A product of fp32 may be added up in another order where its rows begin at another address.
    hidden, weight, *_ = leaves
    size = 2 * (hidden.detach().abs() @ weight.detach().abs().T).max().item() / 0.5  # a temperature is at least 0.5
    torch.testing.assert_close(found, expected, rtol=0, atol=rounding(WIDTH, size=size, dtype=dtype))


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float32])
@pytest.mark.parametrize("block", [1, 7, NUM_TOKENS])
def test_a_single_chunk_gives_the_bits_of_plain_autograd_whatever_its_blocks_are(dtype, block, monkeypatch):
    monkeypatch.setattr("rl.logprobs.BLOCK_LOGITS", block * VOCABULARY)
    leaves, targets, temperatures, grad = inputs(dtype)
    expected = called(plain, leaves, targets, temperatures)
    assert torch.equal(called(token_logprobs, leaves, targets, temperatures), expected)
    expected = torch.autograd.grad(called(plain, leaves, targets, temperatures), leaves, grad)
    found = torch.autograd.grad(called(token_logprobs, leaves, targets, temperatures), leaves, grad)
    assert all(torch.equal(a, b) for a, b in zip(found[:2], expected[:2], strict=True))
    # The bias sums in fp32 before it rounds; autograd sums what was rounded already.
    size = grad.abs().sum().item() / 0.5
    torch.testing.assert_close(found[2], expected[2], rtol=0, atol=rounding(2, size=size, dtype=dtype))


@pytest.mark.parametrize("has_bias", [False, True])
@pytest.mark.parametrize("max_logits", CHUNKS)
def test_gradients_are_those_of_the_formula_in_float64(has_bias, max_logits):
    leaves, targets, temperatures, grad = inputs(torch.float32, has_bias=has_bias)
    doubles = [leaf.detach().double().requires_grad_() for leaf in leaves]
    expected = torch.autograd.grad(called(plain, doubles, targets, temperatures.double()), doubles, grad.double())
    values = called(token_logprobs, leaves, targets, temperatures, max_logits=max_logits)
    found = torch.autograd.grad(values, leaves, grad)
    # A logit is a sum of WIDTH products; its error is that of the slope, relatively. Slopes are summed over V or M.
    hidden, weight = (leaf.detach().abs() for leaf in doubles[:2])
    logit = (hidden @ weight.T).max().item() / 0.5
    slope = rounding(WIDTH, size=logit, dtype=torch.float32) + rounding(VOCABULARY, dtype=torch.float32)
    per_token = 2 * grad.abs().double() / 0.5  # sum over V of |dL/dz|, at most
    sizes = [per_token.max() * weight.max(), (per_token[:, None] * hidden).sum(0).max(), per_token.sum()]
    for mine, exact, size in zip(found, expected, sizes, strict=False):
        torch.testing.assert_close(mine.double(), exact, rtol=0, atol=slope * size.item())


def test_chunks_in_bf16_change_the_gradient_of_the_head_by_its_roundings_and_that_of_the_states_not_at_all():
    leaves, targets, temperatures, grad = inputs(torch.bfloat16, has_bias=False)
    expected = torch.autograd.grad(called(plain, leaves, targets, temperatures), leaves, grad)
    values = called(token_logprobs, leaves, targets, temperatures, max_logits=CHUNKS[-1])
    found = torch.autograd.grad(values, leaves, grad)
    assert torch.equal(found[0], expected[0])
    hidden, weight = (leaf.detach() for leaf in leaves)
    chances = (linear(hidden, weight).float() / temperatures[:, None]).softmax(-1)
    slope = (torch.nn.functional.one_hot(targets, VOCABULARY) - chances) * (grad / temperatures)[:, None]
    # Both sum the same rounded slopes; a chunk's sum is rounded, and both round what comes out.
    size = slope.abs().T @ hidden.float().abs() + 2 * expected[1].float().abs()
    assert ((found[1].float() - expected[1].float()).abs() <= 1.01 * torch.finfo(torch.bfloat16).eps / 2 * size).all()


def test_memory_does_not_hold_logits_of_all_tokens():
    largest, kept = [], []
    for num_tokens in (NUM_TOKENS, 4 * NUM_TOKENS):
        leaves, targets, temperatures, grad = inputs(torch.float32, num_tokens=num_tokens)
        with Largest() as made, kept_for_backward() as storages:
            values = called(token_logprobs, leaves, targets, temperatures, max_logits=VOCABULARY * 60)
            torch.autograd.grad(values, leaves, grad)
        largest.append(made.numel)
        kept.append(sum(storages.values()))
    assert largest[0] <= VOCABULARY * 60  # a chunk
    assert largest[1] <= max(VOCABULARY * 60, 4 * NUM_TOKENS * WIDTH)  # or the gradient of the hidden states
    per_token = 4 * (WIDTH + 1) + 4 + 8  # hidden state, logsumexp, temperature, target
    # What else is kept is the weights and the first chunk's logits, 51 tokens of 101 and 58 of 404.
    assert kept[1] - kept[0] == 3 * NUM_TOKENS * per_token + 4 * VOCABULARY * (57 - 50)
