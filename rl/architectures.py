"""Which architectures can be trained: what a model's config says that learner or engine compute in another way.

Everything here is read off `config.json`, before any weights are. `docs/models.md` has the table of what was proven.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

__all__ = ["check_architecture", "check_tensor_parallel", "read_facts"]

_CAPS = ("attn_logit_softcapping", "final_logit_softcapping", "logits_soft_cap", "output_logit_soft_cap")
_LAYERS = ("full_attention", "sliding_attention", "attention")
_WINDOWS = {"sliding_window": "a sliding window", "attention_chunk_size": "chunks"}
_REFUSED = {
    "gpt_oss": (
        "its attention has sinks, which the learner's does not compute, and its experts interleave gate and up, with "
        "biases, in a format of their own (MXFP4)"
    ),
}
"""`model_type` -> why it cannot be trained, where no number in the config tells."""


_CPU_LATENT = 576
"""Width of a token's entry in the cache of latent attention that vLLM's CPU kernel is compiled for: 512 + 64."""


def read_facts(file: Path) -> dict[str, Any]:
    """What a model's config.json says.

    Raises:
        ValueError: it holds something else.
    """
    try:
        facts = json.loads(file.read_text(encoding="utf-8"))
    except ValueError as error:
        raise ValueError(f"{file} is not JSON: {error}") from error
    if not isinstance(facts, dict):
        raise ValueError(f"{file} holds no JSON object, so it is no model's config.json")
    return facts


def check_architecture(facts: Any, *, context_length: int, model_folder: Path, on_cpu: bool) -> None:
    """Refuse what cannot be trained, by name and with the reason.

    Args:
        facts: transformers' config of the language model.
        context_length: `model.context_length`.
        model_folder: where it was read, for the message.
        on_cpu: whether engines run on CPUs.

    Raises:
        ValueError: the first reason.
    """
    kind = getattr(facts, "model_type", None)
    if kind in _REFUSED:
        raise ValueError(
            f"{model_folder} is a model of type {kind}, which cannot be trained here: {_REFUSED[kind]}; give another "
            "model.path (docs/models.md has a table)"
        )
    rank = getattr(facts, "kv_lora_rank", None)
    if on_cpu and rank is not None and rank + facts.qk_rope_head_dim != _CPU_LATENT:
        raise ValueError(
            f"{model_folder} ({kind}) has latent attention (MLA) with kv_lora_rank = {rank} and qk_rope_head_dim = "
            f"{facts.qk_rope_head_dim}; vLLM's kernel for CPUs is compiled for {_CPU_LATENT} of both (512 + 64): "
            "serve it on a GPU"
        )
    layers = getattr(facts, "layer_types", None) or ()
    if other := sorted({layer for layer in layers if layer not in (*_LAYERS, "chunked_attention")}):
        raise ValueError(
            f"{model_folder} ({kind}) has layers of {other[0]}: the learner packs siblings behind one prompt under a "
            "mask in the shape of a tree, which only attention can follow; give another model.path"
        )
    for key, what in _WINDOWS.items():
        window = getattr(facts, key, None)
        is_used = not layers or any(layer != "full_attention" for layer in layers)
        if window is not None and is_used and window < context_length:
            raise ValueError(
                f"the model attends over {what} of {window} tokens, less than model.context_length = "
                f"{context_length}; the learner's tree mask would replace it: lower the context"
            )
    for key in _CAPS:
        if getattr(facts, key, None) is not None:
            raise ValueError(
                f"{model_folder}/config.json sets {key} = {getattr(facts, key):g}: models with soft-capped logits "
                "(as Gemma 2) cannot be trained here; give another model.path"
            )


def check_tensor_parallel(facts: Any, size: int) -> Mapping[str, str]:
    """Refuse models that cannot be cut into slices here.

    Args:
        facts: transformers' config of the language model.
        size: `engine.tensor_parallel`, above 1.

    Returns:
        Which layer is cut how, as `rollout.quant.slices.cut_of` takes it.

    Raises:
        ValueError: the first reason.
    """
    told, kind = f"engine.tensor_parallel = {size}", getattr(facts, "model_type", None)
    plan = getattr(facts, "base_model_tp_plan", None)
    if not plan or _has_experts(facts):
        raise ValueError(f"{told} is for dense models whose layers transformers tells how to cut, not for {kind}")
    for key in ("num_attention_heads", "num_key_value_heads"):
        if (num := getattr(facts, key, None) or 0) % size:
            raise ValueError(f"{told} does not divide {key} = {num} of the model; lower it")
    return plan


def _has_experts(facts: Any) -> bool:
    return any(getattr(facts, key, None) for key in ("num_experts", "num_local_experts", "n_routed_experts"))
