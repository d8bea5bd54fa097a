"""The learner's device memory to the host and back, while the engines have the device.

A learner holds fp32 masters, the optimiser's moments, the image that computes and its packed codes: 17 to 19 bytes a
parameter, which lie idle while engines sample. `Offload.away` copies every tensor to pinned host memory (pinned once,
because that is slow, and used again) and frees the device's; `back` copies it to the device again. Tensors stay the
same objects: only what they point to is exchanged, so whoever holds a parameter, a view of a master or a gradient has
it as before. Bits are copied, never converted.

Two tensors that share memory are moved as one: a view of a master must remain a view of it. So storages are moved, and
each tensor is then pointed at its place in the new one.

`on` says where things are; a learner that was sent away and is asked to compute must raise, which is its owner's
affair. Left out: overlapping the copies with the first steps of sampling; they are issued on one stream and waited for.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Literal, NamedTuple

import torch
from torch import Tensor

__all__ = ["Offload", "tensors_of"]


class Offload:
    """Moves a set of tensors between their device and the host.

    Args:
        device: where they compute. A host device (tests, CPUs) is copied to and from like any other.
    """

    def __init__(self, device: torch.device) -> None:
        self.device = device
        self.on: Literal["device", "host"] = "device"
        self._pinned: dict[tuple[int, int], Tensor] = {}
        self._moved: list[_Place] = []
        self._storages: list[Tensor] = []

    @property
    def num_bytes(self) -> int:
        """Host memory of the tensors that are away, in bytes."""
        return sum(flat.nbytes for flat in self._storages)

    @torch.no_grad()
    def away(self, tensors: Iterable[Tensor]) -> None:
        """Move tensors to the host and free their device memory.

        Args:
            tensors: all that hold the device memory to be freed; those that lie elsewhere are left alone.
        """
        assert self.on == "device", "away already"
        places: dict[int, int] = {}
        for tensor in _distinct(tensors):
            if tensor.device != self.device or not tensor.numel():
                continue
            storage = tensor.untyped_storage()
            if storage.data_ptr() not in places:
                places[storage.data_ptr()] = len(self._storages)
                self._storages.append(self._to_host(tensor, len(self._storages)))
            place = places[storage.data_ptr()]
            self._moved.append(_Place(tensor, place, tuple(tensor.stride()), int(tensor.storage_offset())))
        _synchronise(self.device)  # the copies have arrived before their sources go
        self._point_at(self._storages)
        self.on = "host"
        if self.device.type == "cuda":
            torch.cuda.empty_cache()  # to the driver: the engine is another process

    @torch.no_grad()
    def back(self) -> None:
        """Move them to the device again."""
        assert self.on == "host", "on the device already"
        homes = [flat.to(self.device, non_blocking=True, copy=True) for flat in self._storages]
        self._point_at(homes)
        _synchronise(self.device)
        self._moved, self._storages, self.on = [], [], "device"

    def _point_at(self, storages: list[Tensor]) -> None:
        for moved in self._moved:
            flat = storages[moved.storage]
            moved.tensor.data = torch.empty(0, dtype=moved.tensor.dtype, device=flat.device).set_(
                flat.untyped_storage(), moved.offset, moved.tensor.shape, moved.stride
            )

    def _to_host(self, tensor: Tensor, number: int) -> Tensor:
        """The bytes of a tensor's storage, in host memory that is used again in the next turn."""
        size = tensor.untyped_storage().nbytes()
        flat = torch.empty(0, dtype=torch.uint8, device=tensor.device)
        flat.set_(tensor.untyped_storage(), 0, (size,), (1,))
        if (number, size) not in self._pinned:
            is_pinned = self.device.type == "cuda"
            self._pinned[number, size] = torch.empty(size, dtype=torch.uint8, pin_memory=is_pinned)
        return self._pinned[number, size].copy_(flat, non_blocking=True)


class _Place(NamedTuple):
    """A tensor that was moved, and where it lies in which storage."""

    tensor: Tensor
    storage: int
    stride: tuple[int, ...]
    offset: int
    """In elements."""


def tensors_of(*holders: Any) -> Iterator[Tensor]:
    """The tensors, and their gradients, of modules, optimisers, mappings, sequences and tensors."""
    for holder in holders:
        if isinstance(holder, Tensor):
            yield holder
            if holder.grad is not None:
                yield holder.grad
        elif isinstance(holder, torch.nn.Module):
            yield from tensors_of(*holder.parameters(), *holder.buffers())
        elif isinstance(holder, torch.optim.Optimizer):
            yield from tensors_of(*(group["params"] for group in holder.param_groups), holder.state)
        elif isinstance(holder, Mapping):
            yield from tensors_of(*holder.values())
        elif isinstance(holder, (list, tuple)):
            yield from tensors_of(*holder)


def _distinct(tensors: Iterable[Tensor]) -> list[Tensor]:
    return list({id(tensor): tensor for tensor in tensors}.values())


def _synchronise(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)
