"""QK-Clip: attention logits that grow without bound are pulled back by scaling the weights that make them, per head.

Kimi K2 (section 2.1, algorithm 1): Muon lets the logits of single heads explode. After an update, for every head h
whose largest logit of the forward passes exceeded tau,

    gamma = tau / S_max^h
    with keys of its own      W_q^h *= sqrt(gamma),    W_k^h *= sqrt(gamma)
    MLA                       W_qc, W_kc *= sqrt(gamma),    W_qr *= gamma,    the shared rotary key untouched
    GQA, shared keys          W_q^h *= gamma: as with MLA's shared part, or other heads would be scaled too

so that the logits of h are scaled by gamma and those of other heads not at all. Biases are scaled with their rows. K2
took tau = 100, and no head was clipped after the first 70,000 steps of its pre-training (appendix D).

S_max is measured where the learner's attention is (`rl.attention`), in blocks of queries, over what the tree mask lets
a query see: no scores are kept, one more product of queries and keys is the price, paid only where tau is set. It is
that of the weights before the update, as in K2; what the update itself adds is seen at the next one.

Left out: models that normalise queries or keys behind their projections (Qwen3, Gemma 3, OLMo 2). The norm takes any
scaling of the weights out again; their logits are bounded by the norm, and they are refused.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from rl.attention import max_logits

__all__ = ["QKClip"]

Rows = list[tuple[str, slice, float]]
"""Of a head: the module whose output rows make its logits, the rows, and the power of gamma that scales them."""


@dataclass(slots=True, kw_only=True)
class Watch:
    """Largest logits of one layer; `rl.attention` tells it of every pass that has a gradient."""

    heads: tuple[Rows, ...]
    max_H: Tensor | None = field(default=None)
    """[H] since the last update."""

    def see(self, query: Tensor, key: Tensor, branches_RS: Tensor, *, scale: float) -> None:
        """A pass: queries and keys as in `rl.attention.tree_attention`."""
        if torch.is_grad_enabled():
            found_H = max_logits(query.detach(), key.detach(), branches_RS, scale=scale)
            self.max_H = found_H if self.max_H is None else torch.maximum(self.max_H, found_H)


class QKClip:
    """Watches the attention of a model, and scales the masters of heads whose logits are too large.

    Args:
        model: its attention layers get a `qk_watch`, which `rl.attention` looks for.
        tau: largest logit, > 0.

    Raises:
        ValueError: a layer whose logits cannot be scaled by its weights, or of a layout that is not known; names it.
    """

    def __init__(self, model: Any, tau: float) -> None:
        self.tau = tau
        self._watches: list[Watch] = []
        for name, module in _attention_layers(model):
            module.qk_watch = Watch(heads=tuple(_heads(name, module)))
            self._watches.append(module.qk_watch)
        if not self._watches:
            raise ValueError(f"learner.qk_clip: {type(model).__name__} has no attention layer that is known here")

    def max_logit(self) -> float | None:
        """Largest logit of all heads since the last update; None where no pass was made."""
        found = [float(watch.max_H.max()) for watch in self._watches if watch.max_H is not None]
        return max(found) if found else None

    def row_factors(self) -> dict[str, list[tuple[slice, float]]]:
        """What stretches of each module's output rows are to be multiplied with; empty where no logit is too large."""
        factors: dict[str, list[tuple[slice, float]]] = {}
        for watch in self._watches:
            seen = [] if watch.max_H is None else zip(watch.heads, watch.max_H.tolist(), strict=True)
            for rows, largest in seen:
                for module, stretch, power in rows if largest > self.tau else ():
                    factors.setdefault(module, []).append((stretch, (self.tau / largest) ** power))
        return factors

    @torch.no_grad()
    def clip(self, masters: Mapping[str, Tensor]) -> int:
        """Scale the masters, after the optimiser's step; the number of heads that were too large. Forgets what it saw.

        Args:
            masters: fp32 tensors by parameter name; rows are outputs.
        """
        for module, stretches in self.row_factors().items():
            for parameter in (f"{module}.weight", f"{module}.bias"):
                for stretch, factor in stretches if parameter in masters else ():
                    masters[parameter][stretch].mul_(factor)
        found = [watch.max_H for watch in self._watches if watch.max_H is not None]
        for watch in self._watches:
            watch.max_H = None
        return sum(int((max_H > self.tau).sum()) for max_H in found)


def _attention_layers(model: Any) -> Iterator[tuple[str, Any]]:
    return (
        (name, module)
        for name, module in model.named_modules()
        if hasattr(module, "layer_idx") and hasattr(module, "scaling") and hasattr(module, "o_proj")
    )


def _heads(name: str, module: Any) -> Iterator[Rows]:
    """For each head the rows that make its logits."""
    if any(getattr(module, norm, None) is not None for norm in ("q_norm", "k_norm", "query_layernorm", "q_layernorm")):
        raise ValueError(
            f"learner.qk_clip is set, but {name} ({type(module).__name__}) normalises queries and keys behind their "
            "projections: scaling the weights changes no logit there, and the norm bounds them. Leave it out"
        )
    if hasattr(module, "kv_b_proj"):
        yield from _latent_heads(name, module)
    elif hasattr(module, "qkv_proj"):
        size, shared = module.head_dim, module.num_key_value_groups
        num_heads = module.config.num_attention_heads
        yield from _plain_heads(f"{name}.qkv_proj", f"{name}.qkv_proj", num_heads, shared, size, num_heads * size)
    elif hasattr(module, "q_proj") and hasattr(module, "k_proj"):
        size, shared = module.head_dim, module.num_key_value_groups
        num_heads = module.q_proj.weight.shape[0] // size
        yield from _plain_heads(f"{name}.q_proj", f"{name}.k_proj", num_heads, shared, size, 0)
    else:
        raise ValueError(
            f"learner.qk_clip is set, but the layout of {name} ({type(module).__name__}) is not known here; leave it "
            "out, or add the layout to rl/qk_clip.py"
        )


def _plain_heads(query: str, key: str, num_heads: int, shared: int, size: int, first_key: int) -> Iterator[Rows]:
    """Heads with `size` rows each; keys begin at row `first_key` of their module and serve `shared` heads each."""
    for h in range(num_heads):
        own = slice(h * size, (h + 1) * size)
        if shared == 1:
            yield [(query, own, 0.5), (key, slice(first_key + own.start, first_key + own.stop), 0.5)]
        else:
            yield [(query, own, 1.0)]


def _latent_heads(name: str, module: Any) -> Iterator[Rows]:
    """MLA: a head's query rows are first those without position, then the rotary ones; its keys precede its values."""
    query = f"{name}.q_proj" if module.q_lora_rank is None else f"{name}.q_b_proj"
    plain, rotary, value = module.qk_nope_head_dim, module.qk_rope_head_dim, module.v_head_dim
    for h in range(module.num_heads):
        first, first_key = h * (plain + rotary), h * (plain + value)
        yield [
            (query, slice(first, first + plain), 0.5),
            (query, slice(first + plain, first + plain + rotary), 1.0),
            (f"{name}.kv_b_proj", slice(first_key, first_key + plain), 0.5),
        ]
