"""Attention under a tree mask on a CPU: plain matrix products, where torch's fused kernel is slow.

The fused CPU kernel's backward pass with a mask takes a quarter of an update of SmolLM2 (rows of about 140 tokens,
bf16); written out, the same attention takes a twentieth, because the scores of short rows fit into the cache. Long rows
keep the fused kernel, whose memory grows with S instead of S squared. Which one is used follows from the shape alone,
so the pass of old log-probabilities and the update agree bit for bit. On GPUs the fused kernel is the fast one.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

__all__ = ["attention_name", "tree_attention"]

MAX_SCORES = 1 << 26
"""Most attention scores (rows x heads x S x S) that are written out: 256 MiB."""
_NAME = "written_out"
_HARMLESS = frozenset(
    ("position_ids", "cache_position", "use_cache", "output_attentions", "output_hidden_states", "output_router_logits",
     "is_causal", "sliding_window", "position_bias")
)  # fmt: skip
"""What a model may hand to its attention besides tensors, scale and dropout: facts that change no number under a mask,
and two for which torch's own kernel is taken."""


def attention_name() -> str:
    """The `attn_implementation` for a learner: written out on a CPU, torch's fused kernel behind a check elsewhere."""
    from transformers import AttentionInterface, AttentionMaskInterface
    from transformers.masking_utils import sdpa_mask

    AttentionInterface.register(_NAME, _attention)
    AttentionMaskInterface.register(_NAME, sdpa_mask)
    return _NAME


def tree_attention(query: Tensor, key: Tensor, value: Tensor, mask: Tensor, *, scale: float) -> Tensor:
    """softmax(scale q k^T where the mask allows) v, scores and softmax in fp32.

    Scores in bf16 keep 8 bits, and a model with attention sinks has scores of tens: the log-probabilities of SmolLM2
    would be off by several times the rounding that trainer and engine share.

    Args:
        query: [R, H, S, D].
        key: [R, G, S, D]; G divides H, each key head serves H / G neighbouring query heads.
        value: [R, G, S, D].
        mask: [R, 1, S, S] bool; every query sees at least one key.
        scale: factor of the scores.

    Returns:
        [R, H, S, D] in the dtype of `query`.
    """
    num_rows, num_heads, length, width = query.shape
    shared = num_heads // key.shape[1]
    grouped = (query.float() * scale).view(num_rows, -1, shared, length, width)
    scores = grouped @ key.float()[:, :, None].transpose(-1, -2)
    weights = torch.softmax(scores.masked_fill(~mask[:, :, None], -torch.inf), dim=-1).to(query.dtype)
    return (weights @ value[:, :, None]).view(num_rows, num_heads, length, width)


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
    """transformers' attention interface; [R, S, H, D] comes back.

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
    num_scores = query.shape[0] * query.shape[1] * query.shape[2] * key.shape[2]
    is_plain = not dropout and kwargs.get("position_bias") is None and kwargs.get("sliding_window") is None
    is_plain &= query.device.type == "cpu"
    if attention_mask is None or attention_mask.dtype != torch.bool or num_scores > MAX_SCORES or not is_plain:
        from transformers.integrations.sdpa_attention import sdpa_attention_forward

        result, _ = sdpa_attention_forward(
            module, query, key, value, attention_mask, dropout=dropout, scaling=scaling, **kwargs
        )
        return result, None
    scale = query.shape[-1] ** -0.5 if scaling is None else scaling
    return tree_attention(query, key, value, attention_mask, scale=scale).transpose(1, 2).contiguous(), None
