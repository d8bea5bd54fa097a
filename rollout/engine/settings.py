"""What an engine is started with, and what vLLM is told of it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rollout.engine.device import DeviceProfile, memory_fraction

__all__ = ["EngineSettings", "vllm_arguments"]


@dataclass(frozen=True, slots=True, kw_only=True)
class EngineSettings:
    """What an engine is started with."""

    model_folder: Path
    """INT4 (or BF16) Hugging Face folder."""
    context_length: int
    """Most tokens of prompt and response."""
    max_num_seqs: int
    """Most responses that decode at the same time."""
    kv_cache_bytes: int
    """Memory of the KV cache in bytes, of all its processes together."""
    block_size: int
    """Tokens of a KV block."""
    stop_token_ids: tuple[int, ...]
    """Tokens that end a response."""
    seed: int = 0
    """vLLM's global seed; samples use their own."""
    quantised: bool = True
    """False serves a BF16 folder (comparisons); its weights are never swapped."""
    stages: bool = True
    """Whether swaps copy weights that were made in the engine's layout beforehand, where that is proven exact."""
    bf16_copy: bool = False
    """On CPUs: whether INT4 layers are multiplied by with a BF16 copy of their values."""
    tensor_parallel: int = 1
    """Processes that share the matrices among them, on GPUs each with one of its own."""
    returns_routing: bool = False
    """Whether samples carry the experts that their tokens were routed to; on CPUs alone."""
    device: DeviceProfile | None = None
    """How engines run on the device; None: that of the machine on which the engine is started."""


def vllm_arguments(settings: EngineSettings, device: DeviceProfile) -> dict[str, Any]:
    """Keywords for vLLM's `EngineArgs`, but for the KV connector, whose config is an object of vLLM's.

    Raises:
        ValueError: the device has less memory free than the engine will take.
    """
    s = settings
    if s.block_size % device.block_size:
        raise ValueError(
            f"engine.block_size = {s.block_size} is no multiple of {device.block_size}, the smallest KV block of a "
            f"{device.name} engine; change it"
        )
    slices = {
        "tensor_parallel_size": s.tensor_parallel,
        "distributed_executor_backend": "mp",
        "disable_custom_all_reduce": True,  # NCCL alone adds up: one way for every size, with or without NVLink
    }
    longest = 0 if device.is_prefill_chunked else s.context_length
    graphs = {"enforce_eager": True} if device.is_eager else {"compilation_config": dict(device.graphs)}
    sleep = {"enable_sleep_mode": True} if device.sleeps else {}
    return {
        "model": str(s.model_folder),
        "dtype": device.dtype,
        "max_model_len": s.context_length,
        "max_num_seqs": s.max_num_seqs,
        "max_num_batched_tokens": max(longest, device.max_batched_tokens),
        "kv_cache_memory_bytes": s.kv_cache_bytes // s.tensor_parallel,  # vLLM takes it for each process
        "block_size": s.block_size,
        "seed": s.seed,
        "enable_chunked_prefill": device.is_prefill_chunked,
        **graphs,
        **sleep,
        **_memory(s, device),
        **(slices if s.tensor_parallel > 1 else {}),
        "async_scheduling": False,  # a GPU's default: a step would be under way when the last response has ended
        "enable_prefix_caching": True,
        "logprobs_mode": "processed_logprobs",
        "generation_config": "vllm",
        "disable_log_stats": True,
        "worker_extension_cls": "rollout.engine.swap.SwapExtension",
    }


def _memory(settings: EngineSettings, device: DeviceProfile) -> dict[str, float]:
    if device.name != "cuda":
        return {}
    num = settings.tensor_parallel
    weights = sum(file.stat().st_size for file in settings.model_folder.glob("*.safetensors")) // num
    kv_cache = settings.kv_cache_bytes // num
    gpus = free_and_total(num)
    fraction = max(
        memory_fraction(weight_bytes=weights, kv_cache_bytes=kv_cache, total_bytes=total, free_bytes=free)
        for free, total in gpus
    )
    if short := [(free, total) for free, total in gpus if fraction * total > free]:
        free, total = short[0]
        raise ValueError(
            f"vLLM wants the same fraction of all GPUs of an engine free, {fraction:.2f} for the smallest; of another "
            f"{free / 2**30:.1f} of {total / 2**30:.1f} GiB are: want GPUs of one size (engine.tensor_parallel)"
        )
    return {"gpu_memory_utilization": fraction}


def free_and_total(num: int) -> list[tuple[int, int]]:
    """Bytes of each of the first GPUs that this process sees.

    Where other processes compute on them, the driver is asked without CUDA, whose context here would stay on every GPU.
    """
    import torch

    if num == 1:
        return [torch.cuda.mem_get_info()]
    from vllm.platforms import current_platform
    from vllm.third_party import pynvml

    pynvml.nvmlInit()
    gpus = [current_platform.device_id_to_physical_device_id(i) for i in range(num)]
    found = [pynvml.nvmlDeviceGetMemoryInfo(pynvml.nvmlDeviceGetHandleByIndex(gpu)) for gpu in gpus]
    return [(int(one.free), int(one.total)) for one in found]
