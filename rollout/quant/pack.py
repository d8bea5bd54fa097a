"""Eight 4-bit codes to an int32 word, and back: the `weight_packed` of compressed-tensors' `pack-quantized` format.

Nibble j (bits 4j..4j+3) of word m of a row is `code[8m + j] + 8`, so a stored nibble is 0..15 and the code 0 is 8.

Packing goes by pairs: two codes are read as one int16, folded to one byte, and four bytes are read as one int32. That
is four passes over half-width data instead of eight shifts and ors over int32, about eight times faster. It relies on a
little-endian machine, as does every consumer of the format.

Shape letters: O out, I in, W = I / 8 words.
"""

from __future__ import annotations

import torch

__all__ = ["CODES_PER_WORD", "pack_int4", "unpack_int4"]

CODES_PER_WORD = 8
"""Codes in one int32."""


def pack_int4(codes: torch.Tensor, *, out: torch.Tensor | None = None) -> torch.Tensor:
    """int32 [O, W]: the codes packed along the input dimension.

    Args:
        codes: int8 [O, I], each in -8..7, I a multiple of 8. Not range-checked: the grid makes them.
        out: int32 [O, W], contiguous, to write into instead of a new tensor.

    Raises:
        ValueError: another dtype or number of dimensions, or I is no multiple of 8.
    """
    if codes.dtype != torch.int8 or codes.ndim != 2 or codes.shape[1] % CODES_PER_WORD:
        raise ValueError(f"got {codes.dtype} {tuple(codes.shape)}; packing wants int8 [out, in] with in % 8 == 0")
    pairs = (codes.contiguous() + 8).view(torch.int16)  # [O, I/2]: even code in bits 0-3, odd code in bits 8-11
    if out is None:
        out = torch.empty((len(codes), codes.shape[1] // CODES_PER_WORD), dtype=torch.int32, device=codes.device)
    out.view(torch.uint8).copy_(pairs.bitwise_or_(pairs >> 4))  # to uint8: keeps the low byte
    return out


def unpack_int4(words: torch.Tensor) -> torch.Tensor:
    """int8 [O, I]: the codes of packed words, the inverse of `pack_int4`.

    Args:
        words: int32 [O, W].

    Raises:
        ValueError: another dtype or number of dimensions.
    """
    if words.dtype != torch.int32 or words.ndim != 2:
        raise ValueError(f"got {words.dtype} {tuple(words.shape)}; unpacking wants int32 [out, in / 8]")
    pairs = words.contiguous().view(torch.uint8)  # [O, I/2]
    codes = torch.stack((pairs & 15, pairs >> 4), dim=-1).view(torch.int8)  # [O, I/2, 2]
    return codes.sub_(8).view(words.shape[0], words.shape[1] * CODES_PER_WORD)
