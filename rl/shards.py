"""A rank's share of the learner: its rows of the masters, of their image on the grid, and of what is published.

    masters   fp32, this rank's rows of every parameter: what the optimiser updates
    image     fake_quantize(bf16(master rows)): what FSDP (`fully_shard`) gathers, a layer at a time, to compute with

FSDP's sharded parameters hold the image and not the masters, as the model of a single process does (`rl.qat`). Groups
lie within rows, so a rank quantises its own rows to the bits that the whole matrix has there, once per update; putting
the grid behind the all-gather instead would give the same bits on every rank, at each gather of each pass, and N times
over. The image is kept in fp32, whose narrowing to the compute type in the all-gather is exact, because FSDP hands
gradients over in the type that its parameters have: so they are summed over ranks and micro-batches in fp32. That costs
4 bytes a weight over the number of ranks.

Gradients are summed, never averaged: the denominators of all losses are those of the whole minibatch already. A
parameter that one rank did not use takes part with zeros, or its neighbours would wait for it.

Left out: a rank reads the whole model before it keeps its rows, so a host needs room for that at the start.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn
from torch.distributed.device_mesh import DeviceMesh
from torch.distributed.fsdp import FSDPModule, MixedPrecisionPolicy, fully_shard
from torch.distributed.tensor import DTensor, Shard

from rl.forward import layers_of, logprobs
from rl.packing import MicroBatch
from rl.ranks import Ranks
from rollout.engine.device import this_device
from rollout.quant.checkpoint import has_finite_values, in_order
from rollout.quant.grid import Packed, check_finite, quantize_packed
from rollout.quant.rows import Piece, Rows, held_rows, piece_of
from rollout.quant.scheme import QuantScheme
from rollout.quant.views import ParameterViews, check_shapes, quantized_views
from rollout.weights.contract import Manifest, WeightArtefact
from rollout.weights.rows import join_rows
from rollout.weights.sender import build_artefact

__all__ = ["RankMasters"]


class _Pass(nn.Module):
    """A pass over a micro-batch as one module, so that FSDP has embedding, norm and head at hand while it runs."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model

    def forward(self, batch: MicroBatch, temperatures_M: Tensor | None) -> Tensor:
        return logprobs(self.model, batch, temperatures_M)


class RankMasters:
    """This rank's rows of the masters; `rl.qat.Masters` for a learner of several ranks.

    Args:
        model: whole, in fp32, in host memory; is sharded in place, so that its parameters are DTensors from now on.
        scheme: group size and ignore list.
        ranks: two or more.
        compute_dtype: of activations and of gathered weights.
        fake_quantize: False leaves the grid out.

    Raises:
        ValueError: a matrix does not fit the groups, or is stored across its rows.
    """

    def __init__(
        self,
        model: nn.Module,
        scheme: QuantScheme,
        *,
        ranks: Ranks,
        compute_dtype: torch.dtype,
        fake_quantize: bool = True,
    ) -> None:
        self.model, self.scheme, self.ranks = model, scheme, ranks
        self.views = quantized_views(model, scheme)
        check_shapes(self.views, scheme.group_size, this_device().kernel)
        self._table = _table(in_order(model, self.views), {entry.parameter_name for entry in self.views}, ranks)
        self._is_quantised = fake_quantize
        self.packed: dict[str, Packed] = {}
        """Codes and scales of the rows that this rank holds of the quantised matrices, of the last refresh."""
        self._mesh = ranks.mesh()
        self.forward = _sharded(model, self._mesh, compute_dtype)
        self.shapes = {name: tuple(parameter.shape) for name, parameter in model.named_parameters()}
        """Of the whole parameters."""
        self.parameters = {name: _own(parameter).clone() for name, parameter in model.named_parameters()}
        """fp32 [own rows, ...] by parameter name; 0 rows where there are fewer than ranks."""
        self.refresh()

    @torch.no_grad()
    def refresh(self) -> None:
        """Write the image of this rank's masters into its part of the model."""
        images = self.images()
        on_grid = {entry.parameter_name for entry in self.views} if self._is_quantised else set()
        for name, image in images.items():
            if name not in on_grid:
                image.copy_(self.parameters[name].to(torch.bfloat16))
        for line in self._table:
            if line.parameter_name in on_grid and line.piece is not None:
                view = line.piece.view
                self.packed[line.name] = quantize_packed(
                    view.of(self.parameters[line.parameter_name]), self.scheme.group_size,
                    values=view.of(images[line.parameter_name]), out=self.packed.get(line.name),
                )  # fmt: skip

    def tensors(self) -> list[Mapping[str, object]]:
        """As of `rl.qat.Masters`."""
        return [self.parameters, self.packed]

    def images(self) -> dict[str, Tensor]:
        """This rank's rows of what the model computes with, by parameter name; nothing is gathered any more."""
        for module in self.forward.modules():
            if isinstance(module, FSDPModule):  # what a pass without backward has left would be computed with again
                module.reshard()
        return {name: _own(parameter) for name, parameter in self.model.named_parameters()}

    def zero_grad(self) -> None:
        """Forget the gradients."""
        for name, parameter in self.model.named_parameters():
            parameter.grad = self.parameters[name].grad = None

    def clip_grad_norm(self, max_norm: float) -> Tensor:
        """Hand the gradients to the masters, scaled down to a norm of all ranks; the norm before."""
        for name, parameter in self.model.named_parameters():
            gradient: Any = parameter.grad
            self.parameters[name].grad = None if gradient is None else gradient.to_local()
        square = sum(
            torch.linalg.vector_norm(master.grad, dtype=torch.float64).item() ** 2
            for master in self.parameters.values()
            if master.grad is not None and master.numel()
        )
        norm = torch.tensor(math.sqrt(self.ranks.add_up([square])[0]))
        torch.nn.utils.clip_grads_with_norm_(self.parameters.values(), max_norm, norm)
        return norm

    # -- the whole, from its parts ------------------------------------------------------------------------------------

    def publish(self, version: int) -> WeightArtefact:
        """The packed weights: whole on the first rank, empty on the others. Packed bytes travel, nothing else.

        Raises:
            ValueError: this rank has values that cannot be published; names the tensor.
        """
        held = list(self._held())
        rows = {name: cut for name, _, cut in held if cut is not None}
        own = build_artefact([(name, tensor) for name, tensor, _ in held], version, rows=rows)
        del held
        manifests = self.ranks.gather(own.manifest)
        buffers = self.ranks.gather_bytes(own.buffer, [manifest.total_bytes for manifest in manifests])
        if self.ranks.is_first:
            names = [name for line in self._table for name in line.tensor_names]
            return join_rows(manifests, buffers, names=names)
        assert not list(buffers)
        empty = Manifest(version=version, entries=(), total_bytes=0)
        return WeightArtefact(manifest=empty, buffer=np.empty(0, dtype=np.uint8))

    @torch.no_grad()
    def _held(self) -> Iterator[tuple[str, Tensor, Rows | None]]:
        """(tensor name, what this rank has of it, which rows that is), as `packed_tensors` has them whole."""
        images = {**dict(self.model.named_buffers()), **self.images()}
        for line in self._table:
            if line.piece is None:
                continue
            view, rows = line.piece
            tensor = view.of(images[line.parameter_name])
            known = self.packed.get(line.name)
            if line.is_parameter and (known is None or not has_finite_values(known)):
                check_finite(line.name, tensor)
            if not line.is_quantised:
                yield line.name, tensor.to(torch.bfloat16) if line.is_parameter else tensor, rows
                continue
            known = known or quantize_packed(tensor, self.scheme.group_size)
            packed, scale, shape = line.tensor_names
            yield packed, known.words, rows
            yield scale, known.scale, rows
            if rows is None or rows.start == 0:
                num_out = len(tensor) if rows is None else rows.total
                yield shape, torch.tensor((num_out, *tensor.shape[1:]), dtype=torch.int64), None

    # -- state --------------------------------------------------------------------------------------------------------

    def held(self, name: str) -> Rows:
        """Which rows this rank holds of a parameter."""
        return held_rows(self.shapes[name][0], self.ranks.rank, self.ranks.size)

    def distributed(self, name: str, own: Tensor) -> DTensor:
        """Own rows of a tensor of a parameter's shape, as a part of the whole: for checkpoints. Shares memory."""
        shape = torch.Size(self.shapes[name])
        stride = torch.empty(shape, device="meta").stride()
        return DTensor.from_local(own, self._mesh, [Shard(0)], run_check=False, shape=shape, stride=stride)


class _Line(NamedTuple):
    """A tensor of the checkpoint (a quantised matrix is three of them), and what this rank has of it."""

    name: str
    parameter_name: str
    piece: Piece | None
    is_quantised: bool
    is_parameter: bool

    @property
    def tensor_names(self) -> tuple[str, ...]:
        endings = (".weight_packed", ".weight_scale", ".weight_shape") if self.is_quantised else ("",)
        return tuple(self.name + ending for ending in endings)


def _table(entries: Sequence[ParameterViews], quantised: set[str], ranks: Ranks) -> list[_Line]:
    lines = []
    for entry in entries:
        is_parameter = isinstance(entry.parameter, nn.Parameter)
        for part in entry.parts:
            if is_parameter:
                piece = piece_of(part, held_rows(len(entry.parameter), ranks.rank, ranks.size))
            else:  # buffers are whole on every rank
                piece = Piece(part, None) if ranks.is_first else None
            lines.append(_Line(part.name, entry.parameter_name, piece, entry.parameter_name in quantised, is_parameter))
    return lines


def _own(parameter: Tensor) -> Tensor:
    """This rank's rows of a sharded parameter; shares its memory."""
    sharded: Any = parameter.detach()
    return sharded.to_local()


def _sharded(model: nn.Module, mesh: DeviceMesh, compute_dtype: torch.dtype) -> nn.Module:
    """Cut every layer's parameters, and the rest's, between ranks; the pass that gathers them in turn."""
    policy = MixedPrecisionPolicy(param_dtype=compute_dtype, reduce_dtype=torch.float32, cast_forward_inputs=False)
    whole = _Pass(model)
    for module in (*layers_of(model), whole):
        sharded = fully_shard(module, mesh=mesh, mp_policy=policy)
        sharded.set_gradient_divide_factor(1.0)
        sharded.set_force_sum_reduction_for_comms(True)  # gloo knows no product with a factor
        sharded.set_reduce_scatter_unused_params(True, recurse=False)
    return whole
