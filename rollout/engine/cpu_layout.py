"""The memory layout of vLLM's INT4 kernel for CPUs, made eight codes at a time.

A checkpoint packs eight inputs of an output into a word; the kernel wants blocks of 16 outputs, and in a block, for
each input, the codes of its 16 outputs in two words. vLLM gets there over int32, one code to a word, in dozens of
passes over eight times the memory. But eight words of eight codes are a square: it is transposed where it lies by three
rounds of swapping its quarters, quarters of quarters, and single codes, with shifts and masks on whole words
(H. S. Warren, Hacker's Delight, section 7-3). `python -m benchmarks.swap` has the figures.

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

_BLOCK_PAIRS = 1 << 16
"""Pairs of words that are transposed at a time: half a megabyte, which stays in a core's level-2 cache."""
_ROUNDS = ((4, 16, 0x0000FFFF0000FFFF), (2, 8, 0x00FF00FF00FF00FF), (1, 4, 0x0F0F0F0F0F0F0F0F))
"""Rows that are swapped with each other, how far apart in bits, and which bits of the upper row."""


def kernel_layout(packed_OW: Tensor, *, out: Tensor | None = None) -> Tensor:
    """Packed codes of a checkpoint in the kernel's layout.

    Args:
        packed_OW: int32 [O, W], W = I / 8 words: input 8w + i of output o in bits 4i to 4i + 3 of word [o, w]. O is a
            multiple of 16, I of 16.
        out: int32 [O / 16, 2 I], contiguous, to write into instead of a new tensor.

    Returns:
        int32 [O / 16, 2 I]: for each block of 16 outputs and each input two words; bits 4j to 4j + 3 of word h are the
        code of output 8h + j of the block.
    """
    num_outputs, num_words = packed_OW.shape
    num_blocks = num_outputs // 16
    if out is None:
        out = torch.empty((num_blocks, num_words * 16), dtype=torch.int32, device=packed_OW.device)
    whole = packed_OW.clone() if packed_OW.storage_offset() % 2 else packed_OW.contiguous()
    pairs = whole.view(torch.int64).view(num_blocks, 2, 8, num_words // 2)  # two words an element
    step = max(1, _BLOCK_PAIRS // (8 * num_words))
    square = torch.empty(min(step, num_blocks) * 8 * num_words, dtype=torch.int64, device=out.device)
    scratch = torch.empty(len(square) // 2, dtype=torch.int64, device=out.device)
    by_word = out.view(num_blocks, num_words, 16)
    for start in range(0, num_blocks, step):
        block = pairs[start : start + step]
        n = len(block)
        rows = square[: n * 8 * num_words]
        rows.view(n, 8, 2, num_words // 2).copy_(block.transpose(1, 2))  # output j of both halves h side by side
        for distance, shift, mask in _ROUNDS:
            halves = rows.view(n, 4 // distance, 2, distance * num_words)
            low, high = halves[:, :, 0], halves[:, :, 1]
            moved = scratch[: n * 4 * num_words].view(low.shape)
            torch.bitwise_right_shift(low, shift, out=moved)
            moved.bitwise_xor_(high).bitwise_and_(mask)
            high.bitwise_xor_(moved)
            low.bitwise_xor_(moved.bitwise_left_shift_(shift))
        by_word[start : start + n].copy_(rows.view(torch.int32).view(n, 16, num_words).transpose(1, 2))
    return out


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
