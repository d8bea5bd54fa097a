"""All matrices of one parameter on the grid in one pass, where they lie row under row.

The experts of a layer are one parameter, [E, 2F, H], of which a checkpoint makes 2E matrices. Groups lie within a row,
so [E * 2F, H] has the same codes and scales, and one pass over it spares hundreds of small ones; what belongs to a
matrix is a slice of the result. Parameters that are stored transposed go matrix by matrix.
"""

from __future__ import annotations

from collections.abc import MutableMapping

from torch import Tensor

from rollout.quant.grid import Packed, quantize_packed
from rollout.quant.views import ParameterViews

__all__ = ["quantize_parameter"]


def quantize_parameter(
    entry: ParameterViews, source: Tensor, group_size: int, *, packed: MutableMapping[str, Packed]
) -> None:
    """Write the parameter's values on the grid into it, and codes and scales of its matrices into `packed`.

    Args:
        entry: the parameter and its matrices.
        source: floating, of the parameter's shape, such as its fp32 master.
        group_size: neighbouring weights of a row that share a scale.
        packed: checkpoint name -> codes and scales; what an earlier call left there is written into again.
    """
    parameter = entry.parameter.detach()
    if any(part.is_transposed for part in entry.parts) or not (source.is_contiguous() and parameter.is_contiguous()):
        for (name, view), (_, matrix) in zip(entry.views, entry.of(source), strict=True):
            packed[name] = quantize_packed(matrix, group_size, values=view, out=packed.get(name))
        return
    num_out, width = parameter.shape[-2:]
    first = packed.get(entry.parts[0].name)
    known = None if first is None else Packed(*(_whole(part, parameter.numel() // width) for part in first))
    whole = quantize_packed(source.view(-1, width), group_size, values=parameter.view(-1, width), out=known)
    for part in entry.parts:
        base = (part.expert or 0) * num_out
        rows = slice(base + part.start, base + (num_out if part.stop is None else part.stop))
        packed[part.name] = Packed(whole.words[rows], whole.scale[rows])


def _whole(first: Tensor, num_rows: int) -> Tensor:
    """The tensor of all rows that `first` holds the first rows of."""
    return first.as_strided((num_rows, first.shape[1]), first.stride(), first.storage_offset())
