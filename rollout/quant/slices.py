"""Which part of a packed matrix a rank of tensor parallelism holds.

A layer whose outputs are shared out holds neighbouring rows of [out, in], so do its codes, scales and bias; one whose
inputs are, holds neighbouring columns: eight codes to a column of `weight_packed`, a group to one of `weight_scale`,
and the whole bias, which one rank adds. Groups lie in rows, so rows can be cut anywhere, columns only between groups.

Which layer is which is the same in vLLM and in the table that transformers keeps with each model
(`config.base_model_tp_plan`), which can be asked before anything is loaded. The kernel's rules then hold for a slice.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Literal

from torch import Tensor

from rollout.quant.kernels import KernelRules
from rollout.quant.views import ParameterViews

__all__ = ["Cut", "check_slices", "cut_of", "slice_of"]

Cut = Literal["rows", "columns", "whole"]
"""How a matrix [out, in] is shared out among ranks."""
_CUTS: Mapping[str, Cut] = {"colwise": "rows", "rowwise": "columns"}
"""transformers names a cut by the matrix [in, out] that a paper writes; a checkpoint holds [out, in]."""


def cut_of(name: str, plan: Mapping[str, str]) -> Cut:
    """How a layer is shared out.

    Args:
        name: of the module, in the checkpoint.
        plan: transformers' table: names below the base model, `*` for a number, to `colwise` or `rowwise`.
    """
    for pattern, style in plan.items():
        if re.fullmatch(r"(?:.*\.)?" + re.escape(pattern).replace(r"\*", r"\d+"), name):
            return _CUTS.get(style, "whole")
    return "whole"


def slice_of(tensor: Tensor, cut: Cut, *, rank: int, size: int) -> Tensor:
    """A rank's part of a tensor of a layer, as a view: `weight`, `weight_packed`, `weight_scale` or `bias`.

    Args:
        tensor: [out], or [out, in] in whatever unit its columns are.
        cut: of the layer.
        rank: 0 .. size - 1.
        size: ranks.

    Raises:
        ValueError: rows or columns cannot be shared out evenly.
    """
    dim = {"rows": 0, "columns": 1, "whole": None}[cut]
    if dim is None or dim >= tensor.ndim:
        return tensor
    if tensor.shape[dim] % size:
        raise ValueError(f"{tensor.shape[dim]} {cut} cannot be shared out among {size} ranks")
    each = tensor.shape[dim] // size
    return tensor.narrow(dim, rank * each, each)


def check_slices(
    table: Sequence[ParameterViews], group_size: int, rules: KernelRules, *, plan: Mapping[str, str], size: int
) -> None:
    """Refuse matrices of which the kernel takes no slice.

    Args:
        table: of `rollout.quant.views.quantized_views`.
        group_size: weights that share a scale.
        rules: of the kernel.
        plan: as `cut_of`.
        size: `engine.tensor_parallel`.

    Raises:
        ValueError: names the first such module and what to change.
    """
    for entry in table:
        for name, matrix in entry.views:
            cut, (num_out, num_in) = cut_of(name, plan), matrix.shape
            if cut == "whole":
                continue
            along, unit = (num_out, 1) if cut == "rows" else (num_in, group_size)
            if along % (unit * size):
                raise ValueError(
                    f"engine.tensor_parallel = {size} cannot share out {name} [out={num_out}, in={num_in}]: it does "
                    f"not divide its {along // unit} {'rows' if unit == 1 else 'groups'}; lower it"
                )
            num_out, num_in = (num_out // size, num_in) if cut == "rows" else (num_out, num_in // size)
            if problem := rules.shape_problem(num_out=num_out, num_in=num_in):
                raise ValueError(
                    f"engine.tensor_parallel = {size} leaves a process [out={num_out}, in={num_in}] of {name}: "
                    f"{problem}; lower it"
                )
