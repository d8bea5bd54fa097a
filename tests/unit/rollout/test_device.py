"""What an engine is started with on a CPU and on a GPU. No engine is started, no GPU is needed."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from rollout.engine import settings
from rollout.engine.device import CPU, CUDA, GRAPH_BYTES, memory_fraction, this_device
from rollout.engine.settings import EngineSettings, vllm_arguments

SETTINGS = EngineSettings(
    model_folder=Path("/models/int4"), context_length=4096, max_num_seqs=64, kv_cache_bytes=1 << 30, block_size=32,
    stop_token_ids=(0,), seed=7,
)  # fmt: skip
GIB = 1 << 30


def test_on_a_cpu_an_engine_is_eager_prefills_in_one_piece_and_has_no_sleep() -> None:
    assert vllm_arguments(SETTINGS, CPU) == {
        "model": "/models/int4", "dtype": "bfloat16", "max_model_len": 4096, "max_num_seqs": 64,
        "max_num_batched_tokens": 4096, "kv_cache_memory_bytes": 1 << 30, "block_size": 32, "seed": 7,
        "enforce_eager": True, "enable_chunked_prefill": False, "enable_prefix_caching": True,
        "async_scheduling": False, "logprobs_mode": "processed_logprobs", "generation_config": "vllm",
        "disable_log_stats": True, "worker_extension_cls": "rollout.engine.swap.SwapExtension",
    }  # fmt: skip
    short = vllm_arguments(replace(SETTINGS, context_length=100), CPU)
    assert short["max_num_batched_tokens"] == 2048


def test_the_processes_of_an_engine_share_its_kv_cache_among_them() -> None:
    """vLLM gives each worker what it is told."""
    of_three = vllm_arguments(replace(SETTINGS, tensor_parallel=3), CPU)
    assert of_three["kv_cache_memory_bytes"] == (1 << 30) // 3
    assert (of_three["tensor_parallel_size"], of_three["distributed_executor_backend"]) == (3, "mp")


def test_an_engine_of_several_gpus_asks_each_for_its_part_and_adds_up_in_one_way(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """8 GiB of weights and 1 of KV cache in two parts; the second GPU is the smaller one."""
    with (tmp_path / "model.safetensors").open("wb") as file:
        file.truncate(8 * GIB)
    of_two = replace(SETTINGS, model_folder=tmp_path, tensor_parallel=2)
    need = 5 * GIB + GIB // 2 + GRAPH_BYTES
    monkeypatch.setattr(settings, "free_and_total", lambda num: [(20 * GIB, 80 * GIB), (20 * GIB, 40 * GIB)][:num])
    arguments = vllm_arguments(of_two, CUDA)
    assert arguments["gpu_memory_utilization"] == need / (40 * GIB)
    assert arguments["kv_cache_memory_bytes"] == GIB // 2 and arguments["enable_sleep_mode"]
    assert arguments["disable_custom_all_reduce"]
    monkeypatch.setattr(settings, "free_and_total", lambda num: [(20 * GIB, 80 * GIB), (6 * GIB, 80 * GIB)])
    with pytest.raises(ValueError, match=r"needs 6\.5 GiB of its device .*6\.0 of 80\.0 GiB are free"):
        vllm_arguments(of_two, CUDA)
    monkeypatch.setattr(settings, "free_and_total", lambda num: [(12 * GIB, 80 * GIB), (20 * GIB, 40 * GIB)])
    with pytest.raises(ValueError, match=r"0\.16 for the smallest; of another 12\.0 of 80\.0 GiB are: want GPUs"):
        vllm_arguments(of_two, CUDA)


def test_a_blocks_size_must_suit_the_device() -> None:
    with pytest.raises(ValueError, match=r"engine\.block_size = 48 is no multiple of 32"):
        vllm_arguments(replace(SETTINGS, block_size=48), CPU)


def test_an_engine_asks_for_what_it_takes_and_not_for_nine_tenths_of_its_device() -> None:
    fraction = memory_fraction(weight_bytes=8 * GIB, kv_cache_bytes=4 * GIB, total_bytes=80 * GIB, free_bytes=20 * GIB)
    assert fraction == (10 * GIB + 4 * GIB + GRAPH_BYTES) / (80 * GIB)


def test_an_engine_that_does_not_fit_beside_the_learner_says_what_to_do() -> None:
    with pytest.raises(ValueError, match=r"needs 15\.0 GiB .*10\.0 of 80\.0 GiB are free: .*before the learner"):
        memory_fraction(weight_bytes=8 * GIB, kv_cache_bytes=4 * GIB, total_bytes=80 * GIB, free_bytes=10 * GIB)


def test_a_machine_without_a_gpu_is_a_cpu() -> None:
    import torch

    assert this_device() is (CUDA if torch.cuda.is_available() else CPU)
