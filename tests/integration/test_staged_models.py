"""Swaps that copy weights made beside the engine, for models unlike the tiny Llama: biases, BF16 layers, own heads."""

from __future__ import annotations

import gc
import shutil
from pathlib import Path

import pytest
import torch
from transformers import AutoConfig, AutoModelForCausalLM

from rl.learner import Learner
from rollout.engine.engine import EngineSettings, VLLMEngine
from rollout.quant.scheme import DEFAULT_IGNORE, QuantScheme
from rollout.weights.contract import WeightArtefact
from tests.integration.harness import new_learner

SHAPE = {
    "vocab_size": 96, "hidden_size": 64, "num_hidden_layers": 2, "num_attention_heads": 2, "num_key_value_heads": 1,
    "head_dim": 32, "intermediate_size": 96, "max_position_embeddings": 128, "bos_token_id": None, "eos_token_id": 0,
    "pad_token_id": 1, "initializer_range": 0.1,
}  # fmt: skip


def build(folder: Path, tokenizer_of: Path, kind: str, *, tied: bool) -> None:
    config = AutoConfig.for_model(kind, **SHAPE, tie_word_embeddings=tied)
    with torch.random.fork_rng():
        torch.manual_seed(4)
        model = AutoModelForCausalLM.from_config(config)
        for parameter in model.parameters():  # biases and norms too: equal ones could stand in each other's place
            parameter.data.add_(torch.randn(parameter.shape) * 0.1)
    model.bfloat16().save_pretrained(folder)
    for file in tokenizer_of.glob("tokenizer*"):
        shutil.copyfile(file, folder / file.name)


def moved(learner: Learner, version: int) -> WeightArtefact:
    generator = torch.Generator().manual_seed(version)
    for master in learner.masters.parameters.values():
        master.add_(torch.randn(master.shape, generator=generator) * 0.05)
    learner.masters.refresh()
    return learner.publish(version)


def applied(engine: VLLMEngine) -> dict[str, torch.Tensor]:
    return engine.on_worker("k2rl_effective_weights")


def num_copies(worker) -> int:
    """INT4 layers that are multiplied by with a BF16 copy."""
    layers = worker.model_runner.get_model().modules()
    return sum(hasattr(layer, "weight_packed") and hasattr(layer, "cpu_linear") for layer in layers)


@pytest.mark.parametrize(
    ("kind", "tied", "ignored", "bf16_copy"),
    [
        ("qwen2", False, ("re:.*self_attn.*",), False),
        ("qwen3", True, (), False),
        ("qwen2", True, ("re:.*down_proj.*",), True),
    ],
    ids=["biases_and_bf16_attention_and_a_head_of_its_own", "norms_of_queries_and_keys", "copies_of_biased_layers"],
)
def test_a_copied_swap_equals_a_reloaded_one(
    tiny_folder: Path, tmp_path: Path, kind: str, tied: bool, ignored: tuple[str, ...], bf16_copy: bool
) -> None:
    build(tmp_path / "model", tiny_folder, kind, tied=tied)
    learner = new_learner(tmp_path / "model", scheme=QuantScheme(ignore=(*DEFAULT_IGNORE, *ignored)))
    learner.export(tmp_path / "int4")
    engine = VLLMEngine(
        EngineSettings(
            model_folder=tmp_path / "int4", context_length=64, max_num_seqs=4, kv_cache_bytes=1 << 25,
            block_size=32, stop_token_ids=(0,), bf16_copy=bf16_copy,
        )
    )  # fmt: skip
    assert engine.on_worker(num_copies) == (6 if bf16_copy else 0)  # of two layers: qkv, o and gate_up
    artefacts = [moved(learner, version) for version in (1, 2)]
    found = []
    for is_copy in (True, False):
        for artefact in artefacts[::-1]:  # other weights come before, and must leave no trace
            engine.stage_weights(artefact, is_reswap=True)
            assert engine.commit_weights(artefact.manifest.version).is_copy == is_copy
        found.append((applied(engine), engine.prompt_logprobs([tuple(range(2, 40)), (5, 9, 3)])))
        engine._staging = None  # from now on by vLLM's reload
    engine.close()
    gc.collect()  # vLLM's process group must go before the next engine comes
    (copied, copied_logprobs), (reloaded, reloaded_logprobs) = found
    assert copied.keys() == reloaded.keys()
    for name, weight in copied.items():
        assert torch.equal(weight, reloaded[name]), name
    assert copied_logprobs == reloaded_logprobs
