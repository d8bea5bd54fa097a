"""The memory layout of vLLM's INT4 kernel for CPUs, made byte by byte: half of a swap was spent on it.

A checkpoint packs eight inputs of an output into a word; the kernel wants blocks of 16 outputs, and in a block, for
each input, the codes of its 16 outputs in two words. vLLM gets there over int32, one code to a word, in dozens of
passes over eight times the memory. Two codes in a byte are enough: the bytes of two outputs give, by shifts and masks,
those of two inputs (for 3072 x 576: 2.5 ms against 15 ms; a swap of SmolLM2 in a run stalls 0.5 s against 1.1 s; two
cores of an AMD EPYC, vLLM 0.32).

`install` puts this in the place of vLLM's own function, once it gave the same bits on a layer of random codes; if it
does not (another vLLM, another layout), vLLM's own stays and the log says so. The weights that the kernel then applies
are proven against the learner's by the tests of the engine, layer by layer.
"""

from __future__ import annotations

import logging
from types import SimpleNamespace
from typing import Any

import torch
from torch import Tensor

__all__ = ["install", "kernel_layout"]

_log = logging.getLogger(__name__)


def kernel_layout(packed_OW: Tensor) -> Tensor:
    """Packed codes of a checkpoint in the kernel's layout.

    Args:
        packed_OW: int32 [O, W], W = I / 8 words: input 8w + i of output o in bits 4i to 4i + 3 of word [o, w]. O is a
            multiple of 16.

    Returns:
        int32 [O / 16, 2 I]: for each block of 16 outputs and each input two words; bits 4j to 4j + 3 of word h are the
        code of output 8h + j of the block.
    """
    num_outputs, num_words = packed_OW.shape
    bytes_of_pairs = packed_OW.contiguous().view(torch.uint8).view(num_outputs // 16, 8, 2, num_words * 4)
    even, odd = bytes_of_pairs[:, :, 0], bytes_of_pairs[:, :, 1]  # of outputs; each byte holds two inputs
    first = (even & 0x0F) | (odd << 4)
    second = (even >> 4) | (odd & 0xF0)
    by_input = torch.stack((first, second), dim=-1).view(num_outputs // 16, 8, num_words * 8)
    return by_input.transpose(1, 2).contiguous().view(torch.int32).view(num_outputs // 16, num_words * 16)


def install(kernel: Any) -> bool:
    """Let a CPU kernel's class make its layout by `kernel_layout`, if that gives the bits of its own way.

    Args:
        kernel: vLLM's kernel object of some INT4 layer.

    Returns:
        Whether it is in place (now, or since an earlier call).
    """
    own = getattr(type(kernel), "_process_gptq_weights_w4a16", None)
    if own is None or own is _process:
        return own is _process
    ours, theirs = _random_layer(kernel), _random_layer(kernel)
    try:
        _process(kernel, ours)
        own(kernel, theirs)
    except (AttributeError, ImportError, RuntimeError, TypeError) as error:
        _log.warning("vLLM's CPU kernel is not the one that is known here (%s): swaps keep its own, slower way", error)
        return False
    if vars(ours).keys() != vars(theirs).keys() or not torch.equal(_codes(kernel, ours), _codes(kernel, theirs)):
        _log.warning("vLLM's CPU kernel has another layout than the one known here: swaps keep its own, slower way")
        return False
    type(kernel)._process_gptq_weights_w4a16 = _process
    return True


def _process(kernel: Any, layer: Any) -> None:
    """In the place of `CPUWNA16LinearKernel._process_gptq_weights_w4a16`, which is given [W, O] words."""
    from vllm.model_executor.kernels.linear.mixed_precision import cpu

    layer.isa_hint = cpu._get_isa_hint(getattr(layer, kernel.w_s_name).dtype)
    packed = getattr(layer, kernel.w_q_name)
    packed.data = kernel_layout(packed.data.t())


def _random_layer(kernel: Any) -> SimpleNamespace:
    """What `_process` reads of a layer: 64 outputs, 96 inputs."""
    words = torch.randint(-(2**31), 2**31, (64, 12), dtype=torch.int32, generator=torch.Generator().manual_seed(0))
    codes = torch.nn.Parameter(words.t(), requires_grad=False)
    return SimpleNamespace(**{kernel.w_q_name: codes, kernel.w_s_name: torch.ones(3, 64, dtype=torch.bfloat16)})


def _codes(kernel: Any, layer: Any) -> Tensor:
    return getattr(layer, kernel.w_q_name).data
