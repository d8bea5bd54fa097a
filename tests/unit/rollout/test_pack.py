"""Packing: the nibbles of a word, by hand, by shifts, and by compressed-tensors' own code."""

import importlib.util
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from rollout.quant.pack import pack_int4, unpack_int4


@pytest.fixture(scope="module")
def compressed_tensors_helpers():
    """compressed-tensors' packing, loaded from its file alone: importing the whole package takes ten seconds."""
    (folder,) = importlib.util.find_spec("compressed_tensors").submodule_search_locations
    path = Path(folder) / "compressors" / "pack_quantized" / "helpers.py"
    spec = importlib.util.spec_from_file_location("compressed_tensors_helpers", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@st.composite
def code_matrices(draw):
    shape = draw(st.integers(0, 9)), 8 * draw(st.integers(1, 12))
    generator = torch.Generator().manual_seed(draw(st.integers(0, 2**31)))
    return torch.randint(-8, 8, shape, generator=generator, dtype=torch.int8)


def test_a_word_packed_by_hand():
    # nibbles code + 8: 8 9 a b c d e f, the first in the lowest bits -> 0xfedcba98
    words = pack_int4(torch.tensor([[0, 1, 2, 3, 4, 5, 6, 7], [-8, -7, -6, -5, -4, -3, -2, -1]], dtype=torch.int8))
    assert words.dtype == torch.int32
    assert [word & 0xFFFFFFFF for word in words[:, 0].tolist()] == [0xFEDCBA98, 0x76543210]


@settings(deadline=None)
@given(code_matrices())
def test_nibble_j_of_word_m_is_code_8m_plus_j_plus_8(codes):
    words = pack_int4(codes)
    assert words.shape == (len(codes), codes.shape[1] // 8)
    for o, row in enumerate(words.tolist()):
        for m, word in enumerate(row):
            assert [(word >> 4 * j & 15) - 8 for j in range(8)] == codes[o, 8 * m : 8 * m + 8].tolist()


@settings(deadline=None)
@given(code_matrices())
def test_unpacking_undoes_packing(codes):
    unpacked = unpack_int4(pack_int4(codes))
    assert unpacked.dtype == torch.int8 and torch.equal(unpacked, codes)


@pytest.mark.parametrize("shape", [(1, 8), (5, 32), (64, 96)])
def test_compressed_tensors_reads_and_writes_the_same_words(compressed_tensors_helpers, shape):
    codes = torch.randint(-8, 8, shape, generator=torch.Generator().manual_seed(0), dtype=torch.int8)
    words = pack_int4(codes)
    assert torch.equal(compressed_tensors_helpers.pack_to_int32(codes, 4), words)
    assert torch.equal(compressed_tensors_helpers.unpack_from_int32(words, 4, codes.shape), codes)


def test_views_pack_as_their_copies_do():
    codes = torch.randint(-7, 8, (32, 48), dtype=torch.int8)
    assert torch.equal(pack_int4(codes.T), pack_int4(codes.T.contiguous()))
    words = torch.randint(-(2**31), 2**31 - 1, (4, 6), dtype=torch.int32)
    assert torch.equal(unpack_int4(words.T), unpack_int4(words.T.contiguous()))


def test_packing_leaves_its_argument_alone():
    codes = torch.zeros(1, 8, dtype=torch.int8)
    words = pack_int4(codes)
    unpack_int4(words)
    assert not codes.any() and words.item() & 0xFFFFFFFF == 0x88888888


def test_other_types_and_shapes_are_refused():
    with pytest.raises(ValueError, match=r"got torch\.int8 \(2, 12\).*in % 8 == 0"):
        pack_int4(torch.zeros(2, 12, dtype=torch.int8))
    with pytest.raises(ValueError, match=r"got torch\.int32"):
        pack_int4(torch.zeros(2, 16, dtype=torch.int32))
    with pytest.raises(ValueError, match=r"got torch\.int8"):
        unpack_int4(torch.zeros(2, 16, dtype=torch.int8))
