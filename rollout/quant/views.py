"""One table from a model's parameters to the matrices of its checkpoint, read by QAT, packer, manifest and exporter.

INT4 is a property of tensors, not of modules. A checkpoint names every matrix `[out, in]`, one by one; a model may hold
them otherwise: all experts of a layer in one 3-D parameter, gate and up in one, input and output swapped, one parameter
under two names. Wrapping `nn.Linear` would miss the experts, which are most of the weights. So each parameter lists its
`View`s: a checkpoint name, and how to cut that matrix out of the parameter or of any tensor of the same shape (its fp32
master, its gradient). A view shares memory: what is written into it is written into the parameter.

The rule is strict: every parameter with two or more dimensions is in the table, ignored by `quant.ignore`, or no linear
map (an embedding, a convolution). Anything else raises, because the engine may take it for a quantised linear layer.

Known layouts: `nn.Linear`; `Conv1D` of GPT-2, stored [in, out]; the fused experts in `_EXPERT_LAYOUTS`, by class name.
Left out: GPT-OSS (gate and up interleaved, biases, its own MXFP4 checkpoint), 2-D stacked experts (DBRX), experts
without a gate (Nemotron-H). A new layout is one line in the table and one test.

Shape letters: O out, I in, E experts, H hidden, F features of one expert.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import torch
from torch import nn

from rollout.quant.kernels import KernelRules
from rollout.quant.scheme import DEFAULT_IGNORE, QuantScheme, check_coverage

__all__ = [
    "ParameterViews", "View", "check_ignored", "check_shapes", "linear_views", "plain_views", "quantized_views",
]  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class View:
    """One tensor of the checkpoint as a part of one parameter. Plain data: picklable and printable.

    Example:
        View(name="model.layers.0.mlp.experts.3.up_proj", expert=3, start=64, stop=128)
    """

    name: str
    """In `quantized_views` the module's checkpoint name, without `.weight`; in `plain_views` the whole tensor name."""
    expert: int | None = None
    """Index into the first dimension, None if the parameter is not stacked."""
    start: int = 0
    """First output row, after transposing."""
    stop: int | None = None
    """End of the output rows, None for all."""
    is_transposed: bool = False
    """Whether the parameter holds [in, out] where the checkpoint holds [out, in]."""

    def of(self, tensor: torch.Tensor) -> torch.Tensor:
        """The view into `tensor`, which has the parameter's shape. Shares its memory."""
        part = tensor if self.expert is None else tensor[self.expert]
        if self.is_transposed:
            part = part.T
        return part if (self.start, self.stop) == (0, None) else part[self.start : self.stop]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class ParameterViews:
    """A parameter and the checkpoint tensors it holds."""

    parameter_name: str
    """As in `model.named_parameters()`."""
    parameter: torch.Tensor
    """The live parameter (or persistent buffer), not a copy."""
    parts: tuple[View, ...]
    """They cover the parameter exactly once."""

    @property
    def views(self) -> tuple[tuple[str, torch.Tensor], ...]:
        """(checkpoint name, view into the parameter as it is now), detached: writing into it writes the parameter."""
        return self.of(self.parameter.detach())

    def of(self, tensor: torch.Tensor) -> tuple[tuple[str, torch.Tensor], ...]:
        """(checkpoint name, view into `tensor`) for a tensor of the parameter's shape, such as its fp32 master."""
        return tuple((part.name, part.of(tensor)) for part in self.parts)


@dataclass(frozen=True, slots=True, kw_only=True)
class _ExpertLayout:
    """How a class holds its experts: gate and up stacked along out, [E, 2F, H], and down, [E, H, F]."""

    gate: str = "gate_proj"
    up: str = "up_proj"
    down: str = "down_proj"
    is_transposed: bool = False  # [E, H, 2F] and [E, F, H]
    parent: str | None = None  # what the checkpoint calls the module that holds `experts`, where it differs
    is_fused_in_bf16: bool = False  # an unquantised checkpoint keeps the fused tensor instead of naming each expert


_PLAIN_EXPERTS = _ExpertLayout()
_EXPERT_LAYOUTS = {
    "DeepseekV2Experts": _PLAIN_EXPERTS,
    "DeepseekV3Experts": _PLAIN_EXPERTS,
    "Glm4MoeExperts": _PLAIN_EXPERTS,
    "OlmoeExperts": _PLAIN_EXPERTS,
    "Qwen2MoeExperts": _PLAIN_EXPERTS,
    "Qwen3MoeExperts": _PLAIN_EXPERTS,
    "MixtralExperts": _ExpertLayout(gate="w1", up="w3", down="w2", parent="block_sparse_moe"),
    "Llama4TextExperts": _ExpertLayout(is_transposed=True, is_fused_in_bf16=True),
}
"""transformers 5 class name -> layout; the checkpoint names are those of the published checkpoints and of vLLM."""

_DOWN = tuple(f".{layout.down}" for layout in _EXPERT_LAYOUTS.values())
"""How the names of experts' matrices end whose outputs are as many as the model is wide."""

_NOT_LINEAR = (nn.Embedding, nn.EmbeddingBag, nn.modules.conv._ConvNd)


def quantized_views(model: nn.Module, scheme: QuantScheme) -> list[ParameterViews]:
    """The parameters that are INT4 under `scheme`, in the model's order; view names carry no `.weight`.

    Args:
        model: Any transformers or plain torch model.
        scheme: Its `ignore` list decides.

    Raises:
        ValueError: a matrix of unknown layout that is not ignored; a tied parameter that would be quantised; experts of
            one parameter of which only some are ignored; nothing left to quantise.
    """
    renames, table, linear_names = _renames(model), [], []
    for name, parameter, module in _matrices(model):
        parts = _linear_parts(name, parameter, module, renames)
        if parts is None:
            _refuse_unless_ignored(name, parameter, module, scheme, renames)
            continue
        linear_names += [part.name for part in parts]
        ignored = [scheme.is_ignored(part.name) for part in parts]
        if all(ignored):
            continue
        if any(ignored):
            raise ValueError(
                f"{name}: quant.ignore leaves out some of its {len(parts)} matrices ({_first(parts, ignored)}) and not "
                "the others; the engine quantises the experts of a layer together: ignore all of them or none"
            )
        table.append(ParameterViews(parameter_name=name, parameter=parameter, parts=tuple(parts)))
    _refuse_tied(model, table)
    check_coverage(scheme, [part.name for entry in table for part in entry.parts], linear_names)
    if not table:
        raise ValueError(f"nothing to quantise: quant.ignore {list(scheme.ignore)} covers every linear module")
    return table


def linear_views(model: nn.Module) -> list[ParameterViews]:
    """Every linear map of a known layout, quantised or not, once each; view names carry no `.weight`."""
    renames, found = _renames(model), {}
    for name, parameter, module in _matrices(model):
        parts = _linear_parts(name, parameter, module, renames)
        if parts is not None and id(parameter) not in found:
            found[id(parameter)] = ParameterViews(parameter_name=name, parameter=parameter, parts=tuple(parts))
    return list(found.values())


def check_ignored(model: nn.Module, scheme: QuantScheme) -> None:
    """Refuse names in `quant.ignore` that leave nothing out: a module that was meant would be quantised all the same.

    Patterns may match nothing, and so may what is there by default: one list is for many models.

    Raises:
        ValueError: names the first.
    """
    renames, names = _renames(model), []
    for name, parameter in model.named_parameters(remove_duplicate=False):
        module_name = name.rpartition(".")[0]
        parts = _linear_parts(name, parameter, model.get_submodule(module_name), renames)
        names += [_renamed(module_name, renames), _renamed(name, renames)] if parts is None else [p.name for p in parts]
    for entry in scheme.ignore:
        if not entry.startswith("re:") and entry not in names and entry not in DEFAULT_IGNORE:
            raise ValueError(
                f"quant.ignore has {entry!r}, which names no layer of the model; names are those of the checkpoint, "
                f"whole and without .weight, like {names[0]!r}, and a pattern begins with re:"
            )


def check_shapes(table: Sequence[ParameterViews], group_size: int, rules: KernelRules) -> None:
    """Refuse groups and matrices that the engine's kernel does not take, before anything starts.

    Args:
        table: of `quantized_views`.
        group_size: Neighbouring weights of a row that share a scale.
        rules: Of the kernel that will serve them.

    Raises:
        ValueError: names the first such module, its dimensions, and the keys to change.
    """
    if problem := rules.group_problem(group_size):
        raise ValueError(f"{problem}: change quant.group_size")
    for entry in table:
        for (name, matrix), part in zip(entry.views, entry.parts, strict=True):
            num_out, num_in = matrix.shape
            if num_in % group_size:
                problem = f"the input dimension is no multiple of quant.group_size = {group_size}"
            else:
                width = None if part.expert is None else (num_out if name.endswith(_DOWN) else num_in)
                problem = rules.shape_problem(num_out=num_out, num_in=num_in, expert_width=width)
            if problem:
                raise ValueError(
                    f"{name} is [out={num_out}, in={num_in}]; {problem}: change quant.group_size, or add {name!r} (or "
                    "a re: pattern) to quant.ignore so that it stays bfloat16"
                )


def plain_views(model: nn.Module, table: Sequence[ParameterViews]) -> list[ParameterViews]:
    """Every other tensor of the checkpoint: parameters outside `table` and persistent buffers, in the model's order.

    View names are whole tensor names. Of tied tensors one name is kept, the one that `save_pretrained` keeps. Experts
    that stay bfloat16 are cut apart, as their checkpoint has them.
    """
    renames, quantised = _renames(model), {entry.parameter_name for entry in table}
    dropped, modules = _tied_duplicates(model), dict(model.named_modules(remove_duplicate=False))
    first_names = {id(parameter): name for name, parameter in model.named_parameters()}
    rest = []
    for name, tensor in model.state_dict(keep_vars=True).items():
        if name in quantised or name in dropped:
            continue
        module = modules[name.rpartition(".")[0]]
        layout = _EXPERT_LAYOUTS.get(type(module).__name__)
        if layout is not None and not layout.is_fused_in_bf16 and tensor.ndim == 3:
            parts = [replace(part, name=f"{part.name}.weight") for part in _expert_parts(name, tensor, layout, renames)]
        else:
            parts = [View(name=_renamed(name, renames))]
        parameter_name = first_names.get(id(tensor), name)
        rest.append(ParameterViews(parameter_name=parameter_name, parameter=tensor, parts=tuple(parts)))
    return rest


def _matrices(model: nn.Module) -> Iterator[tuple[str, nn.Parameter, nn.Module]]:
    """(name, parameter, its module) of every parameter that could be a linear map, under each of its names."""
    modules = dict(model.named_modules(remove_duplicate=False))
    for name, parameter in model.named_parameters(remove_duplicate=False):
        module = modules[name.rpartition(".")[0]]
        if parameter.ndim >= 2 and not isinstance(module, _NOT_LINEAR):
            yield name, parameter, module


def _linear_parts(name: str, parameter: torch.Tensor, module: nn.Module, renames: dict[str, str]) -> list[View] | None:
    """The [out, in] matrices of a parameter, None if its layout is not known."""
    module_name, _, attribute = name.rpartition(".")
    if attribute == "weight" and isinstance(module, nn.Linear):
        return [View(name=_renamed(module_name, renames))]
    if attribute == "weight" and type(module).__name__ == "Conv1D":
        return [View(name=_renamed(module_name, renames), is_transposed=True)]
    layout = _EXPERT_LAYOUTS.get(type(module).__name__)
    if layout is not None and attribute in ("gate_up_proj", "down_proj") and parameter.ndim == 3:
        return _expert_parts(name, parameter, layout, renames)
    return None


def _expert_parts(name: str, tensor: torch.Tensor, layout: _ExpertLayout, renames: dict[str, str]) -> list[View]:
    module_name, _, attribute = name.rpartition(".")
    experts = _renamed(module_name, renames)
    num_out = tensor.shape[2 if layout.is_transposed else 1]
    cuts: list[tuple[str, int, int | None]] = [(layout.down, 0, None)]
    if attribute == "gate_up_proj":
        cuts = [(layout.gate, 0, num_out // 2), (layout.up, num_out // 2, num_out)]
    return [
        View(name=f"{experts}.{e}.{projection}", expert=e, start=start, stop=stop, is_transposed=layout.is_transposed)
        for e in range(len(tensor))
        for projection, start, stop in cuts
    ]


def _renames(model: nn.Module) -> dict[str, str]:
    """Module prefix (with its dot) -> what the checkpoint calls it."""
    renames = {}
    for name, module in model.named_modules():
        layout = _EXPERT_LAYOUTS.get(type(module).__name__)
        if layout is not None and layout.parent is not None:
            parent = name.rpartition(".")[0]
            renames[f"{parent}."] = f"{parent.rpartition('.')[0]}.{layout.parent}."
    return renames


def _renamed(name: str, renames: dict[str, str]) -> str:
    for prefix, new in renames.items():
        if name.startswith(prefix):
            return new + name.removeprefix(prefix)
    return name


def _refuse_unless_ignored(
    name: str, parameter: torch.Tensor, module: nn.Module, scheme: QuantScheme, renames: dict[str, str]
) -> None:
    names = (_renamed(name, renames), _renamed(name.rpartition(".")[0], renames))
    if not any(scheme.is_ignored(candidate) for candidate in names):
        raise ValueError(
            f"{name} {tuple(parameter.shape)} of {type(module).__name__} has a layout that rollout/quant/views.py does "
            f"not know, so it cannot be quantised, yet the engine may want it so: add {names[1]!r} to quant.ignore "
            f"or the class to the table of layouts (known: {', '.join(_EXPERT_LAYOUTS)})"
        )


def _refuse_tied(model: nn.Module, table: Sequence[ParameterViews]) -> None:
    quantised = {id(entry.parameter) for entry in table}
    names: dict[int, list[str]] = {}
    for name, parameter in model.named_parameters(remove_duplicate=False):
        if id(parameter) in quantised:
            names.setdefault(id(parameter), []).append(name)
    for shared in names.values():
        if len(shared) > 1:
            raise ValueError(
                f"{' and '.join(shared)} are one tied parameter, which would be quantised under one name and read "
                f"under another: add {', '.join(repr(name.rpartition('.')[0]) for name in shared)} to quant.ignore"
            )


def _tied_duplicates(model: nn.Module) -> set[str]:
    """State-dict names that share another's parameter and are left out of a checkpoint.

    As `save_pretrained` does it: the names that the model declares in `_tied_weights_keys` go, the last one stays where
    all are declared. Tied parameters that no model declares keep their first name.
    """
    shared: dict[int, list[str]] = {}
    for name, tensor in model.state_dict(keep_vars=True).items():
        shared.setdefault(id(tensor), []).append(name)
    dropped: set[str] = set()
    for names in shared.values():
        if len(names) > 1:
            declared = {name for name in names if _is_declared_tied(model, name)}
            kept = next((name for name in names if name not in declared), max(names))
            dropped.update(name for name in names if name != kept)
    return dropped


def _is_declared_tied(model: nn.Module, name: str) -> bool:
    for prefix, module in model.named_modules():
        for key in getattr(module, "_tied_weights_keys", None) or ():
            if name == (f"{prefix}.{key}" if prefix else key):
                return True
    return False


def _first(parts: Sequence[View], ignored: Sequence[bool]) -> str:
    return next(part.name for part, is_ignored in zip(parts, ignored, strict=True) if is_ignored)
