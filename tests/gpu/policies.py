"""Small random models whose layers fit every kernel, and what an engine makes of them."""

from __future__ import annotations

import shutil
from pathlib import Path

import torch
from transformers import AutoConfig, AutoModelForCausalLM

from configs.schema import TinyModelConfig
from rl.learner import Learner
from rl.tiny_model import build_tiny_model
from rollout.engine.engine import EngineSettings
from rollout.quant.scheme import QuantScheme
from rollout.weights.contract import WeightArtefact
from tests.integration.harness import new_learner

SHAPE = {
    "vocab_size": 512, "hidden_size": 256, "num_hidden_layers": 4, "num_attention_heads": 4, "num_key_value_heads": 2,
    "head_dim": 64, "intermediate_size": 512, "max_position_embeddings": 512, "bos_token_id": None, "eos_token_id": 0,
    "pad_token_id": 1, "initializer_range": 0.06,
}  # fmt: skip
FUSED = {"qkv_proj": ("q_proj", "k_proj", "v_proj"), "gate_up_proj": ("gate_proj", "up_proj")}
Version = tuple[WeightArtefact, dict[str, torch.Tensor]]
"""An artefact, and the learner's forward weights that it holds, by transformers name."""


def build_learner(folder: Path, *, kind: str, group_size: int) -> Learner:
    """A learner of a random model; `qwen2` has biases of queries, keys and values."""
    build_tiny_model(folder / "tokens", TinyModelConfig(), context_length=512, seed=1)
    config = AutoConfig.for_model(kind, **SHAPE, tie_word_embeddings=False)
    torch.manual_seed(4)
    model = AutoModelForCausalLM.from_config(config)
    for parameter in model.parameters():  # biases and norms too: equal ones could stand in each other's place
        parameter.data.add_(torch.randn(parameter.shape) * 0.1 * parameter.data.std().nan_to_num(0.1).clamp(min=0.02))
    model.bfloat16().save_pretrained(folder / "model")
    for file in (folder / "tokens").glob("tokenizer*"):
        shutil.copyfile(file, folder / "model" / file.name)
    return new_learner(folder / "model", scheme=QuantScheme(group_size=group_size), compute_dtype="bfloat16")


def two_versions(learner: Learner) -> tuple[Version, Version]:
    """Policies A (version 0) and B (1)."""
    first = learner.publish(0), learner.forward_weights()
    generator = torch.Generator().manual_seed(5)
    for master in learner.masters.parameters.values():
        master.add_((torch.randn(master.shape, generator=generator) * 0.02).to(master.device))
    learner.masters.refresh()
    return first, (learner.publish(1), learner.forward_weights())


def settings(folder: Path) -> EngineSettings:
    return EngineSettings(
        model_folder=folder, context_length=256, max_num_seqs=64, kv_cache_bytes=1 << 28, block_size=32,
        stop_token_ids=(0,),
    )  # fmt: skip


def differing(applied: dict[str, torch.Tensor], forward: dict[str, torch.Tensor]) -> list[str]:
    """Names of the weights and biases that an engine applies and that are not bit for bit the learner's."""
    wrong, num_compared = [], 0
    for name, found in applied.items():
        stem, _, attribute = name.rpartition(".")
        parent, _, last = stem.rpartition(".")
        parts = [f"{parent}.{part}.{attribute}".lstrip(".") for part in FUSED.get(last, (last,))]
        if all(part in forward for part in parts):
            wanted = torch.cat([forward[part] for part in parts])
            num_compared += 1
            if not torch.equal(found[: len(wanted)].cpu(), wanted):
                wrong.append(name)
    assert num_compared >= len(set(forward)) // 2, f"only {num_compared} of {len(forward)} could be compared"
    return wrong
