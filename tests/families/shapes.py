"""The architectures that people train, each as a transformers config of a model of some ten thousand weights.

Nothing is downloaded: a config says what is special about an architecture, and random weights show whether it is
computed the same way on both sides. Sizes are the smallest that the INT4 kernel takes.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

from configs.schema import TinyModelConfig
from rl.tiny_model import build_tiny_model

__all__ = ["CONTEXT", "FAMILIES", "Family", "build", "config_of"]

CONTEXT = 128
"""Positions of every model here."""
_DENSE: dict[str, Any] = {
    "vocab_size": 100,  # padded: the tokenizer has 18 tokens, and the engine pads to a multiple of 64
    "hidden_size": 64,
    "intermediate_size": 96,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "num_key_value_heads": 1,
    "head_dim": 32,
    "max_position_embeddings": CONTEXT,
    "initializer_range": 0.1,
    "bos_token_id": None,
    "eos_token_id": 0,
    "pad_token_id": 1,
    "tie_word_embeddings": False,
}
_EXPERTS: dict[str, Any] = {"num_experts_per_tok": 2, "moe_intermediate_size": 32}
_GROUPED: dict[str, Any] = {
    **_EXPERTS, "n_routed_experts": 8, "n_shared_experts": 1, "n_group": 2, "topk_group": 1,
    "first_k_dense_replace": 1, "routed_scaling_factor": 1.5, "norm_topk_prob": True,
}  # fmt: skip
_LATENT: dict[str, Any] = {
    **_GROUPED, "num_key_value_heads": 2, "head_dim": None, "q_lora_rank": 32, "qk_nope_head_dim": 32, "v_head_dim": 32,
    "kv_lora_rank": 512, "qk_rope_head_dim": 64,  # vLLM's CPU kernel takes these alone
    "topk_method": "noaux_tc", "scoring_func": "sigmoid", "num_mtp_layers": 0,
}  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class Family:
    """An architecture, and what is to be seen of it.

    Example:
        Family(name="Qwen3", kind="qwen3", special="norms of queries and keys")
    """

    name: str
    """As people call it."""
    kind: str
    """transformers' `model_type`."""
    special: str
    """What it has that a Llama has not."""
    shape: Mapping[str, Any] = field(default_factory=dict)
    """Its config, on top of what all share; a `head_dim` of None is left out."""
    ignore: tuple[str, ...] = ()
    """On top of the default `quant.ignore`."""
    refusal: str | None = None
    """What preflight says, in part; None: it is trained."""
    batch_dependence: str | None = None
    """Why a sample depends on what is drawn beside it; None: it must not."""
    is_in_make_test: bool = False
    """Whether `make test` proves it; `make test-families` proves all."""


FAMILIES: tuple[Family, ...] = (
    Family(name="Llama 3", kind="llama", special="scaled rotary frequencies", shape={
        "rope_parameters": {"rope_type": "llama3", "rope_theta": 5e5, "factor": 8.0, "low_freq_factor": 1.0,
                            "high_freq_factor": 4.0, "original_max_position_embeddings": 64},
    }),
    Family(name="Qwen 2.5", kind="qwen2", special="biases on queries, keys and values; tied head; two end tokens",
           shape={"tie_word_embeddings": True, "eos_token_id": [0, 3]}, is_in_make_test=True),
    Family(name="Qwen 3", kind="qwen3", special="norms of queries and keys; tied head",
           shape={"tie_word_embeddings": True}),
    Family(name="Mistral", kind="mistral", special="sliding window, as long as the context",
           shape={"sliding_window": CONTEXT}),
    Family(name="Mistral, short window", kind="mistral", special="sliding window shorter than the context",
           shape={"sliding_window": 32}, refusal="sliding window of 32 tokens"),
    Family(name="Gemma 2", kind="gemma2", special="soft-capped scores and logits",
           shape={"sliding_window": CONTEXT}, refusal="attn_logit_softcapping = 50"),
    Family(name="Gemma 3", kind="gemma3_text", special="scaled embeddings, four norms a layer, two rotary bases",
           shape={"sliding_window": CONTEXT, "tie_word_embeddings": True, "query_pre_attn_scalar": 32}),
    Family(name="Phi 3", kind="phi3", special="queries, keys and values in one matrix; gate and up in one",
           shape={"original_max_position_embeddings": CONTEXT, "sliding_window": None}),
    Family(name="OLMo 2", kind="olmo2", special="norms behind each block, of whole queries and keys"),
    Family(name="SmolLM3", kind="smollm3", special="layers without positions; vLLM runs transformers' own code",
           shape={"no_rope_layers": [1, 0], "use_sliding_window": False}),
    Family(name="GLM-4", kind="glm4", special="gate and up in one matrix, interleaved half rotary, four norms",
           shape={"num_key_value_heads": 1, "eos_token_id": [0, 3]}),
    Family(name="Qwen3-MoE", kind="qwen3_moe", special="8 experts, 2 a token", is_in_make_test=True,
           shape={**_EXPERTS, "num_experts": 8, "norm_topk_prob": True, "decoder_sparse_step": 1}),
    Family(name="Qwen3-MoE, experts alone", kind="qwen3_moe",
           special="INT4 on routed experts only, as Kimi K2 Thinking",
           shape={**_EXPERTS, "num_experts": 8, "norm_topk_prob": True, "decoder_sparse_step": 1},
           ignore=("re:.*self_attn.*",)),
    Family(name="DeepSeek-V3, Kimi K2", kind="deepseek_v3", is_in_make_test=True,
           special="latent attention (MLA); sigmoid router with a bias in groups; a shared expert; a dense first layer",
           shape=_LATENT),
    Family(name="DeepSeek-V3, YaRN", kind="deepseek_v3", special="the same with the rotary scaling of Kimi K2",
           shape={**_LATENT, "rope_parameters": {
               "rope_type": "yarn", "rope_theta": 5e4, "factor": 4.0, "beta_fast": 1.0, "beta_slow": 1.0, "mscale": 1.0,
               "mscale_all_dim": 1.0, "original_max_position_embeddings": 32}}),
    Family(name="GLM-4.5 (MoE)", kind="glm4_moe",
           special="sigmoid router with a bias in groups; a shared expert; half rotary",
           shape={**_GROUPED, "eos_token_id": [0, 3], "num_nextn_predict_layers": 0}),
    Family(name="Mixtral", kind="mixtral", special="experts named w1, w2, w3",
           shape={"num_local_experts": 4, "num_experts_per_tok": 2, "sliding_window": None}),
    Family(name="gpt-oss", kind="gpt_oss", special="attention sinks; experts interleaved, with biases",
           shape={"num_local_experts": 4, "num_experts_per_tok": 2, "sliding_window": CONTEXT},
           refusal="gpt_oss"),
)  # fmt: skip


def config_of(family: Family) -> Any:
    """transformers' config of a small model of the family."""
    from transformers import AutoConfig

    shape = _DENSE | dict(family.shape)
    left_out = [key for key, value in shape.items() if value is None and key == "head_dim"]
    return AutoConfig.for_model(family.kind, **{key: value for key, value in shape.items() if key not in left_out})


def build(family: Family, folder: Path, *, seed: int = 4) -> None:
    """Write a random BF16 model of the family, with the tiny model's tokenizer; one seed gives the same weights."""
    from transformers import AutoModelForCausalLM

    build_tiny_model(folder, TinyModelConfig(num_layers=1), context_length=CONTEXT, seed=0)  # for its tokenizer
    config = config_of(family)
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        model = AutoModelForCausalLM.from_config(config)
        for parameter in model.parameters():  # norms and biases too: equal ones could stand in each other's place
            parameter.data.add_(torch.randn(parameter.shape) * 0.1)
        for name, buffer in model.named_buffers():
            if "correction_bias" in name:
                buffer.data.add_(torch.randn(buffer.shape) * 0.1)
    model.bfloat16().save_pretrained(folder)
