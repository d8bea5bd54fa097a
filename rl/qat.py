"""Quantisation-aware training without a layer wrapper: fp32 masters, and a model that always lies on the INT4 grid.

    masters   fp32, what the optimiser updates
    model     fake_quantize(bf16(master)) for every quantised view, bf16(master) for the rest

The model's parameters are leaves: the backward pass gives dL/d(fake-quantised weight), and that gradient is applied to
the master as it is. This *is* the straight-through estimator (backward of fake-quant = identity, no clip mask), taken
out of the graph: the grid is evaluated once per optimiser update instead of once per forward pass and layer, and no
module needs wrapping. The same pass leaves the packed codes, so that publishing quantises nothing again. Because it
works on views of parameters, fused experts and transposed layouts need no code here (rollout/quant/views.py).

The masters start from the continuous weights of the source checkpoint and are never rebuilt from packed ones: weights
that sit in the centre of their cell would need a step of half a cell to move at all (docs/int4.md).

Gradients are summed over micro-batches in fp32, whatever the compute type. A frozen parameter has no master: its image
is made once, and neither gradient nor moments are kept for it.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence

import torch
from torch import Tensor

from rollout.engine.device import this_device
from rollout.quant.grid import Packed
from rollout.quant.scheme import QuantScheme
from rollout.quant.stacked import quantize_parameter
from rollout.quant.views import check_shapes, quantized_views

__all__ = ["Masters", "frozen_names"]


def frozen_names(model: torch.nn.Module, frozen: Sequence[str]) -> list[str]:
    """The parameters that `learner.frozen` names, in the model's order.

    Args:
        model: any; its parameters may be on the meta device.
        frozen: names, or `re:` and a regular expression that is matched from the beginning of a name.

    Raises:
        ValueError: an entry names no parameter, or nothing is left to train.
    """
    names = [name for name, _ in model.named_parameters()]
    found: set[str] = set()
    for entry in frozen:
        of_entry = [n for n in names if (re.match(entry[3:], n) if entry.startswith("re:") else n == entry)]
        if not of_entry:
            raise ValueError(
                f"learner.frozen has {entry!r}, which names no parameter of the model; its names are like "
                f"{names[0]!r} and {names[-1]!r}, and a pattern begins with re:"
            )
        found.update(of_entry)
    if len(found) == len(names):
        raise ValueError(f"learner.frozen {list(frozen)} names every parameter of the model: nothing is left to train")
    return [name for name in names if name in found]


class Masters:
    """The fp32 masters of a model and their image on the grid.

    Args:
        model: its parameters hold the continuous weights (fp32 or bf16) and become the image; the dtype to compute in
            is that of `compute_dtype`.
        scheme: group size and ignore list.
        compute_dtype: type of the model's parameters from now on.
        fake_quantize: False leaves the grid out (a control; the engine then serves other weights than are trained).
        frozen: names of parameters, or `re:` and a regular expression, that are not trained.

    Raises:
        ValueError: a matrix does not fit the groups, or `frozen` leaves nothing to train; names the tensor.
    """

    def __init__(
        self,
        model: torch.nn.Module,
        scheme: QuantScheme,
        *,
        compute_dtype: torch.dtype,
        fake_quantize: bool = True,
        frozen: Sequence[str] = (),
    ) -> None:
        self.parameters = {
            name: parameter.detach().to(torch.float32, copy=True) for name, parameter in model.named_parameters()
        }
        for parameter in model.parameters():  # not model.to(): rotary frequencies and other buffers must keep fp32
            parameter.data = parameter.data.to(compute_dtype)
        self.model = model
        self.scheme = scheme
        self.views = quantized_views(model, scheme)
        check_shapes(self.views, scheme.group_size, this_device().kernel)
        self.packed: dict[str, Packed] = {}
        """Codes and scales of the quantised views by checkpoint name, of the last refresh; empty without the grid."""
        self._is_quantised = fake_quantize
        self.refresh()
        for name in frozen_names(model, frozen):
            del self.parameters[name]
        for name, parameter in model.named_parameters():
            parameter.requires_grad_(name in self.parameters)
            if parameter.requires_grad:
                parameter.register_post_accumulate_grad_hook(self._collector(name))

    @torch.no_grad()
    def refresh(self) -> None:
        """Write the masters' image into the model: bf16, and onto the grid where quantised."""
        on_grid = {entry.parameter_name for entry in self.views} if self._is_quantised else set()
        for name, parameter in self.model.named_parameters():
            if name in self.parameters and name not in on_grid:
                parameter.copy_(self.parameters[name].to(torch.bfloat16))
        for entry in self.views if self._is_quantised else ():
            if entry.parameter_name not in self.parameters:
                continue
            master = self.parameters[entry.parameter_name]
            quantize_parameter(entry, master, self.scheme.group_size, packed=self.packed)

    def _collector(self, name: str) -> Callable[[Tensor], None]:
        """Hook that moves a parameter's gradient into its master's fp32 gradient as soon as it is there."""

        def collect(parameter: Tensor) -> None:
            assert parameter.grad is not None
            master = self.parameters[name]
            if master.grad is None:
                master.grad = parameter.grad.to(torch.float32, copy=True)
            else:
                master.grad.add_(parameter.grad)
            parameter.grad = None

        return collect

    def tensors(self) -> list[Mapping[str, object]]:
        """All that it holds beside the model, by name."""
        return [self.parameters, self.packed]

    def images(self) -> dict[str, Tensor]:
        """What the model computes with, by parameter name."""
        return {name: parameter.detach() for name, parameter in self.model.named_parameters()}

    def clip_grad_norm(self, max_norm: float) -> Tensor:
        """Scale the collected gradients down to a norm; the norm before."""
        return torch.nn.utils.clip_grad_norm_(self.parameters.values(), max_norm)

    def zero_grad(self) -> None:
        """Forget the collected gradients."""
        for master in self.parameters.values():
            master.grad = None
