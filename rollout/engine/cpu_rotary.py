"""Rotary positions of latent attention (MLA) on a CPU: vLLM's own kernel turns the wrong numbers.

vLLM 0.32 hands its CPU kernel parts of larger tensors, [tokens, heads, rotary], where the kernel takes rows to be
[tokens, heads * rotary] and finds the next token by the stride of the heads. It rotates memory that belongs to others
(to 6.0 off on normal numbers), and the policy that is served is not the one that is trained: without rotary scaling, as
in Moonlight, the log-probabilities of learner and engine are 0.3 nats apart instead of 0.01. With YaRN, as in
DeepSeek-V3 and Kimi K2, vLLM computes in plain torch. So plain torch is taken for both.
"""

from __future__ import annotations

from typing import Any

import torch

__all__ = ["use_exact_rotary"]


def use_exact_rotary(model: torch.nn.Module) -> int:
    """Let latent attention on a CPU rotate in plain torch; returns the number of layers."""
    layers: list[Any] = [m for m in model.modules() if hasattr(m, "kv_lora_rank") and hasattr(m, "rotary_emb")]
    for layer in layers:
        if layer.rotary_emb is not None:
            layer.rotary_emb._forward_method = layer.rotary_emb.forward_native
    return len(layers)
