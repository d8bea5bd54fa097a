"""Attention under a tree mask, without mask or scores of all pairs of tokens.

What a token may see follows from one number a token: whether it is padding, prompt, or of which continuation
(`MicroBatch.branches`). Models get these numbers where they expect a mask, as [R, 1, 1, S] integers; transformers hands
a mask of four dimensions through to the attention of every layer as it is, and the one of this file reads it. Tokens
come in one line, in which what all rows share stands once (`rl.packing.folded`); how much, its length tells.

Short rows are computed in one piece. Longer ones in blocks of queries, each against the keys that any of them may see:
the prompt, and what begins with the first query's continuation. Scores of siblings are not computed, and blocks keep
nothing for the backward pass, which computes them anew: memory grows with S, and time with P L + L^2 / 2 for each
continuation of L tokens behind a prompt of P. A block does what a short row does, so a query's result is the same.
Gradients of keys and values are summed over blocks in fp32 and rounded once.

On a CPU a piece is written out as plain matrix products, scores and softmax in fp32: torch's fused kernel takes a
quarter of an update of SmolLM2 in its backward pass with a mask (rows of about 140 tokens, bf16), the products a
twentieth. On GPUs the fused kernel is the fast one; blocks are larger there. Which one is used follows from device and
shape alone, so the pass of old log-probabilities and the update agree bit for bit.

Left out: tiles of keys with a running softmax, which would keep a block's scores in the cache, and FlexAttention.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch.nn.functional import scaled_dot_product_attention

from rl.packing import folded, unfolded

__all__ = ["attention_name", "fused", "max_logits", "tree_attention", "tree_mask", "written_out"]

BLOCK, FUSED_BLOCK = 256, 2048
"""Queries of a block, on a CPU and elsewhere. Rows of up to two blocks are one piece and keep their scores."""
_NAME = "tree"
_HARMLESS = frozenset(
    ("position_ids", "cache_position", "use_cache", "output_attentions", "output_hidden_states", "output_router_logits",
     "is_causal", "sliding_window")
)  # fmt: skip
"""What a model may hand to its attention besides tensors and scale: facts that change no number under a mask."""

Kernel = Callable[[Tensor, Tensor, Tensor, Tensor, float], Tensor]


def attention_name() -> str:
    """The `attn_implementation` for a learner."""
    from transformers import AttentionInterface, AttentionMaskInterface
    from transformers.masking_utils import sdpa_mask

    AttentionInterface.register(_NAME, _attention)
    AttentionMaskInterface.register(_NAME, sdpa_mask)
    return _NAME


def tree_mask(branches_RS: Tensor, queries_Q: Tensor | None = None, keys_K: Tensor | None = None) -> Tensor:
    """[R, 1, Q, K] bool: which key a query may see.

    Causal; of its own continuation and the prompt; padding sees itself, so no query sees nothing.

    Args:
        branches_RS: [R, S] int64, -1 padding, 0 prompt, 1.. continuations.
        queries_Q: columns of the queries; None: all.
        keys_K: columns of the keys; None: all.
    """
    every_S = torch.arange(branches_RS.shape[1], device=branches_RS.device)
    queries_Q1 = (every_S if queries_Q is None else queries_Q)[:, None]
    keys_1K = (every_S if keys_K is None else keys_K)[None, :]
    own_RQ1, other_R1K = branches_RS[:, queries_Q1], branches_RS[:, keys_1K]
    seen = (keys_1K <= queries_Q1) & ((other_R1K == 0) | (other_R1K == own_RQ1)) & (own_RQ1 >= 0)
    return (seen | (keys_1K == queries_Q1))[:, None]


def written_out(query: Tensor, key: Tensor, value: Tensor, mask: Tensor, scale: float) -> Tensor:
    """softmax(scale q k^T where the mask allows) v, scores and softmax in fp32.

    Scores in bf16 keep 8 bits, and a model with attention sinks has scores of tens: the log-probabilities of SmolLM2
    would be off by several times the rounding that trainer and engine share.

    Args:
        query: [R, H, Q, D].
        key: [R, G, K, D]; G divides H, each key head serves H / G neighbouring query heads.
        value: [R, G, K, E].
        mask: [R, 1, Q, K] bool; every query sees at least one key.
        scale: factor of the scores.

    Returns:
        [R, H, Q, E] in the dtype of `query`.
    """
    num_rows, num_heads, length, width = query.shape
    shared = num_heads // key.shape[1]
    grouped = (query.float() * scale).view(num_rows, -1, shared, length, width)
    scores = grouped @ key.float()[:, :, None].transpose(-1, -2)
    weights = torch.softmax(scores.masked_fill(~mask[:, :, None], -torch.inf), dim=-1).to(query.dtype)
    return (weights @ value[:, :, None]).view(num_rows, num_heads, length, value.shape[-1])


def fused(query: Tensor, key: Tensor, value: Tensor, mask: Tensor, scale: float) -> Tensor:
    """The same by torch's kernel; key heads are repeated, since kernels with a mask share none."""
    shared = query.shape[1] // key.shape[1]
    key, value = (t.repeat_interleave(shared, dim=1) if shared > 1 else t for t in (key, value))
    return scaled_dot_product_attention(query, key, value, attn_mask=mask, scale=scale)


def tree_attention(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    branches_RS: Tensor,
    *,
    scale: float,
    kernel: Kernel = written_out,
    block: int = BLOCK,
) -> Tensor:
    """softmax(scale q k^T where the tree allows) v, in memory that grows with S; differentiable once.

    Args:
        query: [R, H, S, D].
        key: [R, G, S, D]; G divides H.
        value: [R, G, S, E].
        branches_RS: as in `tree_mask`; every branch is one stretch of columns, the prompt the first.
        scale: factor of the scores.
        kernel: `written_out` or `fused`.
        block: queries of a block.

    Returns:
        [R, H, S, E] in the dtype of `query`.
    """
    if query.shape[2] <= 2 * block:
        return kernel(query, key, value, tree_mask(branches_RS), scale)
    return _Blocks.apply(query, key, value, branches_RS, scale, kernel, block)


@torch.no_grad()
def max_logits(query: Tensor, key: Tensor, branches_RS: Tensor, *, scale: float, block: int = BLOCK) -> Tensor:
    """[H] fp32 largest score of each head over what the tree lets real tokens see; no more than a block is kept.

    Args:
        query, key, branches_RS, scale, block: as in `tree_attention`.
    """
    num_rows, num_heads, length, width = query.shape
    shared = num_heads // key.shape[1]
    found = query.new_full((num_heads,), -torch.inf, dtype=torch.float32)
    for queries in _cut(length, block):
        spans = _spans(branches_RS, queries)
        mask = tree_mask(branches_RS, _columns([queries], query.device), _columns(spans, query.device))
        mask = mask & (branches_RS[:, queries] >= 0)[:, None, :, None]
        grouped = (query[:, :, queries].float() * scale).view(num_rows, -1, shared, queries.stop - queries.start, width)
        scores = grouped @ _pick(key, spans).float()[:, :, None].transpose(-1, -2)
        largest = scores.masked_fill(~mask[:, :, None], -torch.inf).amax(dim=(0, 3, 4)).flatten()
        found = torch.maximum(found, largest)
    return found


class _Blocks(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        query: Tensor,
        key: Tensor,
        value: Tensor,
        branches_RS: Tensor,
        scale: float,
        kernel: Kernel,
        block: int,
    ) -> Tensor:
        ctx.save_for_backward(query, key, value, branches_RS)
        ctx.scale, ctx.kernel, ctx.block = scale, kernel, block
        result = query.new_empty((*query.shape[:3], value.shape[-1]))
        for queries in _cut(query.shape[2], block):
            spans = _spans(branches_RS, queries)
            mask = tree_mask(branches_RS, _columns([queries], query.device), _columns(spans, query.device))
            result[:, :, queries] = kernel(query[:, :, queries], _pick(key, spans), _pick(value, spans), mask, scale)
        return result

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:  # pyrefly: ignore[bad-override]
        query, key, value, branches_RS = ctx.saved_tensors
        grad_query = torch.empty_like(query)
        grad_key, grad_value = (torch.zeros_like(t, dtype=torch.float32) for t in (key, value))
        for queries in _cut(query.shape[2], ctx.block):
            spans = _spans(branches_RS, queries)
            mask = tree_mask(branches_RS, _columns([queries], query.device), _columns(spans, query.device))
            picked = (query[:, :, queries], _pick(key, spans), _pick(value, spans))
            leaves = [t.detach().requires_grad_() for t in picked]
            with torch.enable_grad():
                result = ctx.kernel(*leaves, mask, ctx.scale)
            grad_query[:, :, queries], *others = torch.autograd.grad(result, leaves, grad[:, :, queries])
            for whole, part in zip((grad_key, grad_value), others, strict=True):
                _add(whole, spans, part)
        return grad_query, grad_key.to(key.dtype), grad_value.to(value.dtype), None, None, None, None


def _cut(length: int, block: int) -> list[slice]:
    """Blocks of queries; the last one may be shorter."""
    return [slice(start, min(start + block, length)) for start in range(0, length, block)]


def _spans(branches_RS: Tensor, queries: slice) -> list[slice]:
    """Columns of the keys that a block of queries may see: one or two stretches, over all rows."""
    end_of_prompt = int((branches_RS == 0).sum(dim=1).max())
    is_of_first_query = branches_RS[:, : queries.start + 1] == branches_RS[:, queries.start, None]
    start_of_branch = int(is_of_first_query.int().argmax(dim=1).min())  # the first of equal ones
    if start_of_branch <= end_of_prompt:
        return [slice(0, queries.stop)]
    return [slice(0, end_of_prompt), slice(start_of_branch, queries.stop)]


def _columns(spans: Sequence[slice], device: torch.device) -> Tensor:
    return torch.cat([torch.arange(span.start, span.stop, device=device) for span in spans])


def _pick(tensor: Tensor, spans: Sequence[slice]) -> Tensor:
    """[R, G, K, D] the columns of some stretches; a view where there is one."""
    parts = [tensor[:, :, span] for span in spans]
    return parts[0] if len(parts) == 1 else torch.cat(parts, dim=2)


def _add(whole: Tensor, spans: Sequence[slice], part: Tensor) -> None:
    """Adds what `_pick` would have taken."""
    for span, piece in zip(spans, part.split([span.stop - span.start for span in spans], dim=2), strict=True):
        whole[:, :, span] += piece


def _attention(
    module: Any,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,
    scaling: float | None = None,
    dropout: float = 0.0,
    **kwargs: Any,
) -> tuple[Tensor, None]:
    """transformers' attention interface, on what `rl.packing.folded` gives; [1, F, H, E] comes back.

    Raises:
        ValueError: the model asks for something that neither kernel computes (`softcap`: Gemma 2; `s_aux`: GPT-OSS);
            torch's would leave it out without a word, and the log-probabilities would be those of another model.
    """
    unknown = sorted(name for name, value in kwargs.items() if value is not None and name not in _HARMLESS)
    if unknown:
        raise ValueError(
            f"{type(module).__name__} asks its attention for {', '.join(f'{n} = {kwargs[n]!r:.40}' for n in unknown)}, "
            "which the learner's attention does not compute: this model cannot be trained here"
        )
    if attention_mask is None or attention_mask.dtype != torch.int64:
        from transformers.integrations.sdpa_attention import sdpa_attention_forward

        return sdpa_attention_forward(
            module, query, key, value, attention_mask, dropout=dropout, scaling=scaling, **kwargs
        )
    branches_RS = attention_mask[:, 0, 0]
    num_rows, num_columns = branches_RS.shape
    num_shared = (num_rows * num_columns - query.shape[2]) // max(num_rows - 1, 1)
    query, key, value = (
        unfolded(part.transpose(1, 2), num_shared, num_rows).transpose(1, 2) for part in (query, key, value)
    )
    scale = query.shape[-1] ** -0.5 if scaling is None else scaling
    if (watch := getattr(module, "qk_watch", None)) is not None:  # rl.qk_clip
        watch.see(query, key, branches_RS, scale=scale)
    kernel, block = (written_out, BLOCK) if query.device.type == "cpu" else (fused, FUSED_BLOCK)
    found = tree_attention(query, key, value, branches_RS, scale=scale, kernel=kernel, block=block).transpose(1, 2)
    return folded(found, num_shared), None
