"""The one place that states which vLLM is supported, and how its process must be set up before it is imported.

vLLM reads environment variables at import. Those set here decide how the engine computes, so they are fixed by us and
not left to the caller's shell: no environment variable changes the algorithm.
"""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Iterator
from importlib.metadata import PackageNotFoundError, version
from typing import Any

from packaging.version import Version

__all__ = [
    "ENVIRONMENT",
    "RECOMMENDED",
    "SUPPORTED",
    "adapt_marlin",
    "check_version",
    "is_deferred_attention",
    "keeps_set_num_threads",
    "prepare_environment",
    "request_amx",
    "skip_ranks",
]

SUPPORTED = ("0.26.0", "0.33.0")
"""[from, below): the versions whose internals were read, as far as we use them: `model_loader.reload`, KV connectors.

The engine's tests pass on CPU with 0.26.0 to 0.32.0 (`make test-vllm VLLM=0.27.0`). 0.26.0 is the last that is built
for torch 2.11, which many CUDA images carry (`make test-vllm VLLM=0.26.0 TORCH=2.11.0`).
"""
RECOMMENDED = "0.32.0"
"""What requirements/ pins."""

ENVIRONMENT = {
    "VLLM_CPU_INT4_W4A8": "0",  # W4A16: CPUs with AMX would otherwise quantise activations to int8
    "VLLM_CPU_ATTN_SPLIT_KV": "0",  # it adds up a long context in parts that depend on what else is in the batch
    "VLLM_ENABLE_V1_MULTIPROCESSING": "0",  # the engine lives in this process: weights are swapped in place
    "VLLM_USE_V2_MODEL_RUNNER": "0",  # where Triton is, 0.32 takes a runner that the tests on a CPU never see
    "VLLM_CPU_OMP_THREADS_BIND": "nobind",  # learner and engine share the cores in turns
    "VLLM_USE_FLASHINFER_SAMPLER": "0",  # it cannot draw with a seed per request, and 0.26 imports it unasked
    "VLLM_USE_DEEP_GEMM": "0",  # kernels for FP8, of which there is none here, and a library of their own
    "VLLM_ALLREDUCE_USE_SYMM_MEM": "0",  # GPUs of one engine add up by NCCL alone: one way, whatever the size
    "VLLM_ALLREDUCE_USE_FLASHINFER": "0",
    "TORCHDYNAMO_DISABLE": "1",  # compile nothing: vLLM's helpers would want a C++ compiler at the first sample
    "VLLM_NO_USAGE_STATS": "1",
    "VLLM_DO_NOT_TRACK": "1",
}
"""What vLLM reads at import, of which the caller's shell decides nothing."""
_DEFAULTS = {"VLLM_LOGGING_LEVEL": "ERROR"}


def check_version() -> str:
    """The installed vLLM's version.

    Raises:
        ValueError: vLLM is missing or outside `SUPPORTED`.
    """
    for distribution in ("vllm-cpu", "vllm"):
        try:
            installed = version(distribution)
        except PackageNotFoundError:
            continue
        if not Version(SUPPORTED[0]) <= Version(installed) < Version(SUPPORTED[1]):
            raise ValueError(
                f"{distribution} {installed} is installed, but this project supports {SUPPORTED[0]} <= version < "
                f"{SUPPORTED[1]}: the weight swap uses internals that change; install {distribution}=={RECOMMENDED}"
            )
        return installed
    raise ValueError(f"vLLM is not installed; install vllm-cpu=={RECOMMENDED} (CPU) or vllm=={RECOMMENDED} (CUDA)")


def prepare_environment() -> None:
    """Set what vLLM reads at import. Call before anything imports vLLM in this process."""
    assert "vllm" not in sys.modules or os.environ.get("VLLM_CPU_INT4_W4A8") == "0", "vLLM was imported too early"
    os.environ.update(ENVIRONMENT)
    for key, value in _DEFAULTS.items():
        os.environ.setdefault(key, value)


def is_deferred_attention(layer: Any) -> bool:
    """Whether vLLM finalises a layer's own scales after all other layers, while it reloads weights.

    0.29 has a function for it; until then it was a matter of type.
    """
    from vllm.model_executor.model_loader.reload import layerwise

    if hasattr(layerwise, "is_deferred_attention_layer"):
        return layerwise.is_deferred_attention_layer(layer)
    from vllm.model_executor.layers.attention import Attention, MLAAttention

    return isinstance(layer, (Attention, MLAAttention))


def request_amx() -> None:
    """Ask the kernel for AMX tiles, where the CPU has them.

    vLLM 0.32 picks its AMX kernels by what the CPU can do, but Linux grants tiles only to processes that ask, and vLLM
    asks only if a layer happens to go through oneDNN. A model whose layers are all small would die of SIGILL.
    """
    import torch

    if torch.cpu._is_amx_tile_supported():
        torch.cpu._init_amx()


@contextlib.contextmanager
def keeps_set_num_threads() -> Iterator[None]:
    """Give `torch.set_num_threads` back after vLLM was started within: on a CPU it leaves one that does nothing.

    It wants its threads to stay bound to their cores, which ours are not (`VLLM_CPU_OMP_THREADS_BIND`). A learner in
    the same process would compute on a number of threads that nobody set, and its sums differ by that number.
    """
    import torch

    try:
        yield
    finally:
        vars(torch)["set_num_threads"] = torch._C.set_num_threads


def skip_ranks() -> None:
    """Let vLLM's sampler count no ranks: how many tokens of the vocabulary are likelier than the one it tells about.

    It counts them for every log-probability, and nobody here reads one. Uncompiled, as everything is here, that is two
    passes over all logits, one of them in int64: 9 % of the time of 128 responses of SmolLM2 on a CPU.
    """
    import torch
    from vllm.v1.sample import sampler

    def no_ranks(x: torch.Tensor, values: torch.Tensor) -> torch.Tensor:
        return torch.zeros(len(x), dtype=torch.int64, device=x.device)

    assert callable(sampler.batched_count_greater_than)
    sampler.batched_count_greater_than = no_ranks


def adapt_marlin() -> None:
    """On a GPU with vLLM before 0.28: let reloaded INT4 layers keep Marlin's workspace, and experts be complete.

    All layers of a device share one workspace of locks, which stays where it is, as in later versions. Until then every
    reload of a layer makes a new one, while captured graphs go on with the address of the old one. The locks are zero
    between two products, which is also what a product begins with; sleep does not lose them (rollout/engine/kept.py).

    Experts have indices for reordered groups that no checkpoint fills, so a layer would never look complete.
    """
    from vllm.model_executor.layers.quantization.utils import marlin_utils
    from vllm.model_executor.model_loader.reload import meta

    make, kept = marlin_utils.marlin_make_workspace_new, {}
    if hasattr(marlin_utils, "get_marlin_workspace") or make.__module__ == __name__:
        return

    def shared(device: Any, max_blocks_per_sm: int = 1) -> Any:
        key = (str(device), max_blocks_per_sm)
        if key not in kept:
            kept[key] = make(device, max_blocks_per_sm)
        return kept[key].zero_()

    for name, module in list(sys.modules.items()):  # kernels import the function by its name
        if name.startswith("vllm.model_executor.") and vars(module).get("marlin_make_workspace_new") is make:
            vars(module)["marlin_make_workspace_new"] = shared
    meta.SKIP_TENSORS |= {f"{w}_{what}" for w in ("w13", "w2") for what in ("weight_g_idx", "g_idx_sort_indices")}
