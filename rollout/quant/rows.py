"""Which rows of a checkpoint's tensors a rank holds, where every parameter is cut along its first dimension.

Quantisation groups lie within a row of a matrix [out, in], so a rank that holds some rows quantises and packs them to
the very bytes that the whole matrix would have there, evenly cut or not. Of parameters that hold all experts of a
layer, [E, out, in], a rank holds whole experts. A parameter that holds [in, out] is cut across its groups, and refused.

A cut is that of `torch.chunk`, which FSDP and DTensor make too: ceil(n / ranks) rows each, the last ranks fewer or
none.
"""

from __future__ import annotations

from dataclasses import replace
from typing import NamedTuple

from rollout.quant.views import View

__all__ = ["Piece", "Rows", "held_rows", "piece_of"]


class Rows(NamedTuple):
    """Rows start .. stop - 1 of a tensor of `total` rows."""

    start: int
    stop: int
    total: int


class Piece(NamedTuple):
    """What a rank holds of one tensor of the checkpoint."""

    view: View
    """Where it lies in the rank's rows of the parameter."""
    rows: Rows | None
    """Which rows it is; None: the whole tensor."""


def held_rows(total: int, rank: int, num_ranks: int) -> Rows:
    """The rows that a rank holds of `total`."""
    each = -(-total // num_ranks)
    return Rows(min(rank * each, total), min((rank + 1) * each, total), total)


def piece_of(view: View, held: Rows) -> Piece | None:
    """What a rank that holds these rows of a parameter has of one of its tensors; None: nothing.

    Raises:
        ValueError: the parameter holds [in, out].
    """
    if view.expert is not None:
        is_held = held.start <= view.expert < held.stop
        return Piece(replace(view, expert=view.expert - held.start), None) if is_held else None
    if view.is_transposed:
        raise ValueError(
            f"{view.name} is stored [in, out], and the learner's ranks cut parameters by rows, across its quantisation "
            "groups: set learner.num_ranks = 1 for this model"
        )
    end = held.total if view.stop is None else view.stop
    start, stop = max(view.start, held.start), min(end, held.stop)
    if start >= stop:
        return None
    local = replace(view, start=start - held.start, stop=stop - held.start)
    return Piece(local, Rows(start - view.start, stop - view.start, end - view.start))
