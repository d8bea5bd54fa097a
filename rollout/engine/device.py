"""What differs from device to device, in one table: how an engine is started, what its kernels take, whether it sleeps.

There are two rows, `CPU` and `CUDA`; `this_device` picks one, for a cluster `rl/bundles.py`. Whoever needs such a fact
reads it here, so that nothing else in the project asks which device it runs on to decide how an engine computes.

What     CPU                                            CUDA
-------  ---------------------------------------------  ---------------------------------------------------------------
decode   eager                                          full graphs of decode steps, captured once; prefill is eager.
                                                        Nothing goes through torch.compile, which would drop roundings
                                                        to bfloat16 and widen the gap to the learner
prompts  in one piece: a generator per request breaks   in pieces, so that a long prompt does not hold up who decodes
         on partly prefilled requests
siblings copy their leader's blocks, of 32 tokens or    vLLM's prefix cache, in blocks of 16, shared within a step
         more (rollout/engine/shared_prompts.py)
kernel   `CPU_WNA16`                                    `MARLIN` (both in rollout/quant/kernels.py)
memory   one for all, nothing to give back              sleeps at level 2; what it will take is checked at the start

The CUDA row was written from the sources of vLLM 0.26 and 0.32 and has not run on a GPU; `make test-gpu` is its test.
The learner's attention picks its kernel by the tensors' device (rl/attention.py).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from rollout.quant.kernels import CPU_WNA16, MARLIN, KernelRules

__all__ = ["CPU", "CUDA", "DeviceProfile", "memory_fraction", "this_device"]

GRAPH_BYTES = 1 << 30
"""What captured graphs and buffers take beside weights and KV cache, at most: for the check at an engine's start."""
SPARE_WEIGHTS = 1.25
"""Weights in the engine's memory over those on disk: padding to tiles, layers loaded while others are repacked."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DeviceProfile:
    """How engines run on a kind of device."""

    name: Literal["cpu", "cuda"]
    """`torch.device.type`."""
    dtype: str = "bfloat16"
    """What engines compute in."""
    is_eager: bool
    """Whether every decode step launches its kernels one by one, instead of replaying a captured graph."""
    graphs: Mapping[str, Any] = field(default_factory=dict)
    """vLLM's `compilation_config` where `is_eager` is false."""
    is_prefill_chunked: bool
    """Whether a prompt may be prefilled in pieces."""
    max_batched_tokens: int
    """Tokens of a step at least; where prompts go in one piece, the longest prompt if that is more."""
    block_size: int
    """Smallest block of the KV cache, in tokens; others are multiples of it."""
    shares_prompts: bool
    """Whether siblings copy their prompt from each other through our KV connector."""
    kernel: KernelRules
    """What the INT4 kernel takes."""
    sleeps: bool
    """Whether an engine can give its memory up and take it again."""
    engine_environment: Mapping[str, str] = field(default_factory=dict)
    """Variables for an engine's process, set before torch is imported."""
    learner_environment: Mapping[str, str] = field(default_factory=dict)
    """Variables for the learner's process, set before torch is imported."""


CPU = DeviceProfile(
    name="cpu", is_eager=True, is_prefill_chunked=False, max_batched_tokens=2048, block_size=32, shares_prompts=True,
    kernel=CPU_WNA16, sleeps=False,
)  # fmt: skip

CUDA = DeviceProfile(
    name="cuda",
    is_eager=False,
    graphs={"mode": 0, "cudagraph_mode": "FULL_DECODE_ONLY"},
    is_prefill_chunked=True,
    max_batched_tokens=8192,
    block_size=16,
    shares_prompts=False,
    kernel=MARLIN,
    sleeps=True,
    engine_environment={  # CuMem's pools refuse expandable segments
        "PYTORCH_CUDA_ALLOC_CONF": "",
        "CUDA_DEVICE_ORDER": "PCI_BUS_ID",
    },
    learner_environment={  # offloading leaves no fragments
        "PYTORCH_CUDA_ALLOC_CONF": "expandable_segments:True",
        "CUDA_DEVICE_ORDER": "PCI_BUS_ID",
    },
)


def this_device() -> DeviceProfile:
    """The profile of the machine that this process runs on."""
    import torch

    return CUDA if torch.cuda.is_available() else CPU


def memory_fraction(*, weight_bytes: int, kv_cache_bytes: int, total_bytes: int, free_bytes: int) -> float:
    """What an engine will take of its device, as vLLM's `gpu_memory_utilization`.

    vLLM refuses to start unless this fraction of the device is free, also where the KV cache is given in bytes (then it
    uses the number for nothing else). Its default is 0.92, which no device has free that holds a learner as well.

    Args:
        weight_bytes: of the served folder.
        kv_cache_bytes: of the KV cache.
        total_bytes, free_bytes: of the device, now.

    Raises:
        ValueError: so much is not free.
    """
    need = int(weight_bytes * SPARE_WEIGHTS) + kv_cache_bytes + GRAPH_BYTES
    if need > free_bytes:
        raise ValueError(
            f"an engine needs {need / 2**30:.1f} GiB of its device ({weight_bytes / 2**30:.1f} of weights and a part "
            f"for padding, {kv_cache_bytes / 2**30:.1f} of KV cache, {GRAPH_BYTES / 2**30:.1f} of graphs), and "
            f"{free_bytes / 2**30:.1f} of {total_bytes / 2**30:.1f} GiB are free: lower engine.kv_cache_bytes, and "
            "start engines before the learner takes memory, or after it went to host memory"
        )
    return min(1.0, need / total_bytes)
