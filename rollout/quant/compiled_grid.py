"""The grid of `rollout.quant.grid` in one pass over memory: compiled for this processor by numba, equal bit for bit.

Torch computes one operation a pass, and a dozen passes over a block cost a dozen times its way through the cache. Here
a group of weights is read once, stays in registers, and leaves as packed words, a scale and values. numba brings LLVM
as a wheel: no compiler is needed on the machine. Compiling takes some seconds, once: the result is kept beside this
file, or in the user's cache folder where that is read-only. Importing this file imports numba (half a second), so
`quantize_packed` does it for its first large matrix.

A rounding to bfloat16 is made on the bits of the fp32 number: half of the last place is added, less a bit where the
result is even. A rounding to a code adds 1.5 * 2**23, whose last place is 1: half to even, as the processor does it;
the sum's low bits are the code. Compiled without fast-math, so no operation is merged or left out.

Rows are shared among as many plain threads as torch has, none of which holds Python's lock. numba's own parallel loops
are left out: their pools either refuse callers from two threads or kill a process that forks. Within a row the scales
come first, all of them, then the codes: a group's codes wait for its scale, and its scale for two divisions in a row.
"""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from typing import Any

import numpy as np
import torch
from llvmlite import ir
from llvmlite.binding import ffi
from numba import njit, types
from numba.extending import intrinsic

__all__ = ["quantize_rows"]

_WORD_OF = {torch.bfloat16: torch.uint16, torch.float32: torch.uint32}
"""What a number's bits are read as; bfloat16 is the upper half of an fp32 number."""
_MAX_CODE = np.float32(7)
_ROUNDER = np.float32(3 << 22)
_INFINITY, _NAN = np.uint32(0x7F800000), np.uint32(0x7FC00000)


def quantize_rows(
    weight: torch.Tensor, group_size: int, words: torch.Tensor, scale: torch.Tensor, values: torch.Tensor | None
) -> None:
    """Fill `words` int32 [O, I/8], `scale` bfloat16 [O, S] and, if given, `values` [O, I] from `weight` [O, I].

    Args:
        weight: fp32 or bfloat16 in a CPU's memory, neighbours of a row side by side.
        group_size: a multiple of 8 that divides I.
        words, scale: contiguous.
        values: as `weight`; may be `weight` itself.
    """
    source, packed, scales = _bits(weight), words.view(torch.uint32).numpy(), _bits(scale)
    target = source[:, :0] if values is None else _bits(values)
    kernel = _kernel(group_size, source.itemsize == 4, target.itemsize == 4, values is not None)
    num = max(1, min(torch.get_num_threads(), len(source)))
    bounds = [len(source) * i // num for i in range(num + 1)]

    def part(i: int) -> None:
        rows = slice(bounds[i], bounds[i + 1])
        kernel(source[rows], packed[rows], scales[rows], target[rows])

    others = [_pool().submit(part, i) for i in range(1, num)]
    part(0)
    for other in others:
        other.result()


def _bits(tensor: torch.Tensor) -> np.ndarray:
    return tensor.detach().view(_WORD_OF[tensor.dtype]).numpy()


@cache
def _pool() -> ThreadPoolExecutor:
    return ThreadPoolExecutor(thread_name_prefix="grid")


def _show_a_real_dict() -> None:
    """Exchange llvmlite's handle of LLVM for one that vLLM can look at in the same process.

    vLLM reads `__dict__` of whatever a module holds (triton_utils/dispatcher.py). llvmlite's handle has slots, so it
    takes `__dict__` for a function of LLVM, and vLLM's engine would not start. A subclass without slots has one.
    """
    old: Any = ffi.lib
    if "__slots__" not in vars(type(old)):
        return
    new: Any = type("_Handle", (type(old),), {})()
    for name in type(old).__slots__:
        setattr(new, name, getattr(old, name))
    ffi.lib = new


_show_a_real_dict()


# -- compiled ---------------------------------------------------------------------------------------------------------


def _reads_number(typing: Any, word: Any) -> Any:
    """The fp32 number with these bits."""
    return types.float32(types.uint32), lambda _, builder, __, args: builder.bitcast(args[0], ir.FloatType())


def _reads_word(typing: Any, number: Any) -> Any:
    """The bits of an fp32 number."""
    return types.uint32(types.float32), lambda _, builder, __, args: builder.bitcast(args[0], ir.IntType(32))


def _rounds(word):
    """The bits rounded to bfloat16, half to even: the lower half becomes 0. For numbers and processors' NaNs."""
    return (word + np.uint32(0x7FFF) + ((word >> np.uint32(16)) & np.uint32(1))) & np.uint32(0xFFFF0000)


_number: Any = intrinsic(_reads_number)
_word: Any = intrinsic(_reads_word)
_to_bf16: Any = njit(inline="always")(_rounds)


@cache
def _kernel(group_size: int, is_wide: bool, gives_wide: bool, has_values: bool) -> Callable[..., None]:
    """The pass for one group size and types of numbers, which LLVM is told as constants: it unrolls by them."""
    shift, back = np.uint32(0 if is_wide else 16), np.uint32(0 if gives_wide else 16)

    def quantize(source, packed, scales, target):
        num_groups = scales.shape[1]
        codes = np.empty(source.shape[1], np.uint8)  # code + 8
        eights = codes.view(np.uint64)
        tops, steps = np.empty(num_groups, np.uint32), np.empty(num_groups, np.float32)
        for o in range(len(source)):
            row, its_scales, its_words, values = source[o], scales[o], packed[o], target[o]
            for s in range(len(steps)):
                first = s * group_size
                group = row[first : first + group_size]  # an end of (s + 1) * group_size hides the length from LLVM
                top = np.uint32(0)
                for i in range(group_size):
                    top = max(top, (np.uint32(group[i]) << shift) & np.uint32(0x7FFFFFFF))
                tops[s] = top
            for s in range(len(steps)):
                scale = _to_bf16(_word(_number(_to_bf16(tops[s])) / _MAX_CODE))
                scale = _NAN if tops[s] > _INFINITY else scale
                its_scales[s] = scale >> np.uint32(16)
                steps[s] = _number(scale)
            for s in range(len(steps)):
                first = s * group_size
                group, out = row[first : first + group_size], codes[first : first + group_size]
                step = steps[s] if steps[s] != 0 else np.float32(1)
                for i in range(group_size):
                    weight = _number(_to_bf16(np.uint32(group[i]) << shift))
                    quotient = _number(_to_bf16(_word(weight / step)))
                    code = min(max(quotient, -_MAX_CODE), _MAX_CODE) + _ROUNDER
                    out[i] = np.uint8(_word(code) + np.uint32(8))
            for m in range(len(its_words)):
                x = eights[m] & np.uint64(0x0F0F0F0F0F0F0F0F)
                x = (x | (x >> np.uint64(4))) & np.uint64(0x00FF00FF00FF00FF)
                x = (x | (x >> np.uint64(8))) & np.uint64(0x0000FFFF0000FFFF)
                its_words[m] = np.uint32(x | (x >> np.uint64(16)))
            if has_values:
                for s in range(len(steps)):
                    scale, first = steps[s], s * group_size
                    known, given = codes[first : first + group_size], values[first : first + group_size]
                    for i in range(group_size):
                        code = np.float32(np.int32(known[i]) - np.int32(8))
                        given[i] = _to_bf16(_word(code * scale)) >> back

    options = {"nogil": True, "error_model": "numpy"}
    try:
        return njit(cache=True, **options)(quantize)
    except RuntimeError:  # no folder in which to keep what was compiled
        return njit(**options)(quantize)
