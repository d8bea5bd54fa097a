"""Log-probabilities of chosen tokens, without logits of all tokens at once: the head in chunks, and again in backward.

    log p_m = z_m[target_m] - logsumexp(z_m),    z_m = (W h_m + b) / temperature_m

Logits of M tokens are M x V numbers, and plain autograd keeps several such tensors in fp32 until the backward pass:
200 KB a token each at a vocabulary of 49,152, more than all layers of a small model. Here forward keeps the hidden
states and one logsumexp a token; backward computes a chunk's logits anew and turns them into their gradient,

    dL/dz_m = g_m (onehot(target_m) - softmax(z_m)) / temperature_m

Memory is that of one chunk, `MAX_LOGITS` numbers, whatever M is. A micro-batch that fits into one chunk keeps its
logits in the compute type and pays nothing; of a longer one the first chunk's are kept, and the rest costs one more
product with the head. The operations and their order are those of plain autograd, so one chunk gives its bits, forward
and backward. Chunks are cut evenly, so that none is a single row, for which libraries use another kernel: cut so, rows
of a product had the bits of the product in one piece, in bf16 always, in fp32 but for the address
of its rows (oneDNN and MKL, AMD EPYC).

Between its products a chunk goes through a dozen passes in fp32. On a CPU they are made on blocks of its rows that stay
in a cache; rows do not meet in them, so no bit depends on it, but of the bias's gradient, which sums over rows.

The gradient of the head is a product in the compute type for each chunk, as for each micro-batch, and summed over
chunks in fp32. Left out: a kernel that fuses product and softmax, which would save the chunk as well, and on a CPU
would lose the library's matrix product.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch.nn.functional import linear

__all__ = ["token_logprobs"]

MAX_LOGITS = 1 << 26
"""Logits of a chunk: 128 MiB in bf16, 1,365 tokens at a vocabulary of 49,152. Backward holds two such buffers on a CPU,
three where there are several chunks (the first one's logits wait for it), and on a GPU about two in fp32 as well."""
BLOCK_LOGITS = 1 << 19
"""Logits of a block on a CPU, 2 MiB in fp32."""


def token_logprobs(
    hidden_MH: Tensor,
    weight_VH: Tensor,
    bias_V: Tensor | None,
    targets_M: Tensor,
    temperatures_M: Tensor | None = None,
    *,
    max_logits: int = MAX_LOGITS,
) -> Tensor:
    """[M] fp32 log-probabilities of the targets, in nats; differentiable once, in hidden states, weight and bias.

    Args:
        hidden_MH: what the head is applied to, in the type of the weight.
        weight_VH: of the head.
        bias_V: of the head, or None.
        targets_M: int64 in [0, V).
        temperatures_M: fp32 > 0, what the logits are divided by; None: 1.
        max_logits: bound of a chunk's logits, V at least.
    """
    chunks = _chunks(len(hidden_MH), max(max_logits // len(weight_VH), 1))
    return _TokenLogprobs.apply(hidden_MH, weight_VH, bias_V, targets_M, temperatures_M, chunks)


class _TokenLogprobs(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        hidden_MH: Tensor,
        weight_VH: Tensor,
        bias_V: Tensor | None,
        targets_M: Tensor,
        temperatures_M: Tensor | None,
        chunks: tuple[slice, ...],
    ) -> Tensor:
        picked, normalisers = [], []
        first_logits = None
        for chunk in chunks:
            logits_CV = linear(hidden_MH[chunk], weight_VH, bias_V)
            first_logits = logits_CV if first_logits is None else first_logits
            for rows, tokens in _blocks(chunk, logits_CV):
                scaled_BV = _scaled(logits_CV[rows], temperatures_M, tokens)
                normalisers.append(scaled_BV.logsumexp(dim=1))
                picked.append(scaled_BV.gather(1, targets_M[tokens, None]).squeeze(1))
            del logits_CV  # before the next chunk's are made
        normaliser_M = torch.cat(normalisers)
        ctx.chunks = chunks
        ctx.save_for_backward(hidden_MH, weight_VH, bias_V, targets_M, temperatures_M, normaliser_M, first_logits)
        return torch.cat(picked) - normaliser_M

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad_M: Tensor) -> tuple[Tensor | None, ...]:  # pyrefly: ignore[bad-override]
        hidden_MH, weight_VH, bias_V, targets_M, temperatures_M, normaliser_M, first_logits = ctx.saved_tensors
        sums = _HeadGradient(weight_VH, has_bias=bias_V is not None, num_chunks=len(ctx.chunks))
        grad_MH = torch.empty_like(hidden_MH)
        for i, chunk in enumerate(ctx.chunks):
            logits_CV = first_logits if i == 0 else linear(hidden_MH[chunk], weight_VH, bias_V)
            slope_CV = torch.empty_like(logits_CV)
            for rows, tokens in _blocks(chunk, logits_CV):
                slope_BV = (_scaled(logits_CV[rows], temperatures_M, tokens) - normaliser_M[tokens, None]).exp_()
                slope_BV.mul_(-grad_M[tokens, None]).scatter_add_(1, targets_M[tokens, None], grad_M[tokens, None])
                if temperatures_M is not None:
                    slope_BV.div_(temperatures_M[tokens, None])
                slope_CV[rows] = slope_BV
                sums.add_to_bias(slope_BV)
            grad_MH[chunk] = slope_CV @ weight_VH
            sums.add_to_weight(slope_CV.T @ hidden_MH[chunk])
            del logits_CV, slope_CV
        return grad_MH, *sums.rounded(), None, None, None


class _HeadGradient:
    """Gradient of weight and bias: a product of the compute type for each chunk, several summed in fp32."""

    def __init__(self, weight_VH: Tensor, *, has_bias: bool, num_chunks: int) -> None:
        self._dtype = weight_VH.dtype
        self._weight = None if num_chunks == 1 else torch.zeros_like(weight_VH, dtype=torch.float32)
        self._bias = weight_VH.new_zeros(len(weight_VH), dtype=torch.float32) if has_bias else None

    def add_to_weight(self, product_VH: Tensor) -> None:
        """Add a chunk's."""
        self._weight = product_VH if self._weight is None else self._weight.add_(product_VH)

    def add_to_bias(self, slope_BV: Tensor) -> None:
        """Add a block's, from its slope in fp32."""
        if self._bias is not None:
            self._bias += slope_BV.sum(dim=0)

    def rounded(self) -> tuple[Tensor, Tensor | None]:
        """Both in the compute type."""
        assert self._weight is not None
        return self._weight.to(self._dtype), None if self._bias is None else self._bias.to(self._dtype)


def _chunks(num_tokens: int, most: int) -> tuple[slice, ...]:
    """Fewest chunks of at most `most` tokens, of nearly equal length."""
    count = max(-(-num_tokens // most), 1)
    bounds = [num_tokens * i // count for i in range(count + 1)]
    return tuple(slice(start, end) for start, end in pairwise(bounds))


def _blocks(chunk: slice, logits_CV: Tensor) -> Iterator[tuple[slice, slice]]:
    """Rows of a chunk's logits, and the same among all tokens, block by block; a GPU has no use for small ones."""
    length = len(logits_CV)
    size = length if logits_CV.is_cuda else max(BLOCK_LOGITS // logits_CV.shape[1], 1)
    for start in range(0, length, size):
        end = min(start + size, length)
        yield slice(start, end), slice(chunk.start + start, chunk.start + end)


def _scaled(logits_BV: Tensor, temperatures_M: Tensor | None, tokens: slice) -> Tensor:
    """fp32 logits at their temperatures."""
    logits_BV = logits_BV.float()
    return logits_BV if temperatures_M is None else logits_BV / temperatures_M[tokens, None]
