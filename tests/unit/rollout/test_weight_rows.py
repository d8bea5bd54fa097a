"""Rows of ranks: what a rank holds of a matrix, and one artefact of all ranks' rows with the bytes of the whole."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from rollout.quant.grid import fake_quantize, quantize_packed
from rollout.quant.rows import Rows, held_rows, piece_of
from rollout.quant.views import View
from rollout.weights.contract import WeightArtefact, WeightsRefused
from rollout.weights.receiver import validate
from rollout.weights.rows import join_rows
from rollout.weights.sender import build_artefact


@given(st.integers(0, 70), st.integers(1, 9))
def test_held_rows_are_the_chunks_of_torch(total: int, num_ranks: int) -> None:
    chunks = [part.tolist() for part in torch.arange(total).chunk(num_ranks)] if total else []
    held = [held_rows(total, rank, num_ranks) for rank in range(num_ranks)]
    found = [list(range(rows.start, rows.stop)) for rows in held]
    assert [part for part in found if part] == chunks and all(rows.total == total for rows in held)


def test_pieces_by_hand() -> None:
    plain, up = View(name="a"), View(name="up", start=6, stop=10)
    assert piece_of(plain, Rows(4, 8, 10)) == (View(name="a", start=0, stop=4), Rows(4, 8, 10))
    assert piece_of(up, Rows(4, 8, 10)) == (View(name="up", start=2, stop=4), Rows(0, 2, 4))
    assert piece_of(up, Rows(0, 6, 10)) is None and piece_of(plain, Rows(10, 10, 10)) is None
    expert = View(name="e3", expert=3, start=2, stop=4)
    assert piece_of(expert, Rows(2, 4, 8)) == (replace(expert, expert=1), None)
    assert piece_of(expert, Rows(4, 6, 8)) is None
    with pytest.raises(ValueError, match=r"c_attn is stored \[in, out\].*learner\.num_ranks = 1"):
        piece_of(View(name="c_attn", is_transposed=True), Rows(0, 4, 8))


@pytest.mark.parametrize("num_ranks", [1, 2, 3, 5, 7])
def test_rows_quantised_apart_are_the_rows_of_the_whole(num_ranks: int) -> None:
    weight = torch.randn(20, 64)
    whole, values = quantize_packed(weight, 32), fake_quantize(weight, 32)
    for rank in range(num_ranks):
        start, stop, _ = held_rows(20, rank, num_ranks)
        own = torch.zeros(stop - start, 64)
        packed = quantize_packed(weight[start:stop], 32, values=own)
        assert torch.equal(packed.words, whole.words[start:stop]) and torch.equal(packed.scale, whole.scale[start:stop])
        assert torch.equal(own.to(torch.bfloat16), values[start:stop])


NAMED = {
    "a.weight_packed": torch.arange(80, dtype=torch.int32).view(10, 8),
    "a.weight_shape": torch.tensor([10, 64]),
    "norm.weight": torch.arange(7).to(torch.bfloat16),
    "expert.weight": torch.arange(6.0).view(3, 2).to(torch.bfloat16),
}


def parts_of(num_ranks: int) -> list[WeightArtefact]:
    """Rows of matrix and norm on every rank that has some; the expert is the last rank's, the shape the first's."""
    parts = []
    for rank in range(num_ranks):
        held, rows = {}, {}
        for name in ("a.weight_packed", "norm.weight"):
            cut = held_rows(len(NAMED[name]), rank, num_ranks)
            if cut.start < cut.stop:
                held[name], rows[name] = NAMED[name][cut.start : cut.stop], cut
        for name, owner in (("a.weight_shape", 0), ("expert.weight", num_ranks - 1)):
            if rank == owner:
                held[name] = NAMED[name]
        parts.append(build_artefact(held.items(), 3, rows=rows))
    return parts


def join(parts: list[WeightArtefact]) -> WeightArtefact:
    return join_rows([part.manifest for part in parts], (part.buffer for part in parts), names=list(NAMED))


@pytest.mark.parametrize("num_ranks", [1, 2, 3, 4, 8])
def test_joined_rows_are_the_artefact_of_the_whole(num_ranks: int) -> None:
    whole, joined = build_artefact(NAMED.items(), 3), join(parts_of(num_ranks))
    assert joined.manifest == whole.manifest and np.array_equal(joined.buffer, whole.buffer)
    assert not joined.buffer.flags.writeable


def test_a_part_says_which_rows_it_has_and_an_engine_refuses_it() -> None:
    part = parts_of(3)[1]
    (matrix, norm) = part.manifest.entries
    assert (matrix.shape, matrix.rows, matrix.nbytes) == ((10, 8), (4, 8), 4 * 8 * 4)
    assert (norm.shape, norm.rows, norm.nbytes) == ((7,), (3, 6), 3 * 2)
    assert matrix.expected_nbytes == matrix.nbytes and norm.expected_nbytes == norm.nbytes
    expected = {entry.name: replace(entry, rows=None) for entry in part.manifest.entries}
    with pytest.raises(WeightsRefused, match=r"only some of their rows, 2 tensors: a\.weight_packed"):
        validate(part, expected)  # type: ignore[arg-type]


def test_rows_that_are_missing_or_come_twice_are_refused_with_the_tensors_name() -> None:
    first, second, third = parts_of(3)
    with pytest.raises(ValueError, match=r"a\.weight_packed comes as rows \[\(0, 4\), \(8, 10\)\] of 10; want"):
        join([first, third])
    with pytest.raises(ValueError, match=r"a\.weight_packed comes as rows"):
        join([first, second, second, third])
    without = replace(third.manifest, entries=tuple(e for e in third.manifest.entries if e.name != "expert.weight"))
    with pytest.raises(ValueError, match=r"expert\.weight comes as rows \[\] of 0"):
        join([first, second, replace(third, manifest=without)])
