"""The learner's memory goes to the host and comes back, while engines have the device: bit for bit, views included.

What moves is storages, not tensors: a storage is copied, shrunk to nothing and later filled again. So every tensor that
shares it (a matrix of a fused parameter, a view that the optimiser steps) goes and comes with it, and nobody who holds
one must be told. Between the two, nothing may be read.

From a GPU the copy goes into pinned memory, all copies at once; the buffers are kept, since pinning costs more than
copying. Left out: moving layer by layer while others compute. Phases follow one another, there is nothing beside it.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import torch
from torch import Tensor, UntypedStorage

__all__ = ["Offload", "tensors_in"]


class Offload:
    """Moves the memory of tensors out, and back."""

    def __init__(self) -> None:
        self._buffers: dict[int, Tensor] = {}  # by the number of a storage: they come in one order
        self._moved: list[tuple[UntypedStorage, Tensor]] = []

    @property
    def is_out(self) -> bool:
        """The memory is the host's."""
        return bool(self._moved)

    def move_out(self, tensors: Iterable[Tensor]) -> None:
        """Copy their storages to the host and give up their memory."""
        assert not self.is_out, "moved out already"
        storages = {tensor.untyped_storage()._cdata: tensor.untyped_storage() for tensor in tensors}
        for number, storage in enumerate(storages.values()):
            host = self._buffer(number, storage)
            host.copy_(_bytes(storage), non_blocking=True)
            self._moved.append((storage, host))
        _wait()
        for storage, _ in self._moved:
            storage.resize_(0)
        if torch.cuda.is_available():
            torch.cuda.empty_cache()  # the allocator would keep what engines are to have

    def move_back(self) -> None:
        """Take the memory again and fill it; nothing to do where it was not moved out."""
        for storage, host in self._moved:
            storage.resize_(host.numel())
            _bytes(storage).copy_(host, non_blocking=True)
        _wait()
        self._moved = []

    def _buffer(self, number: int, storage: UntypedStorage) -> Tensor:
        known = self._buffers.get(number)
        if known is None or known.numel() != storage.nbytes():
            known = torch.empty(storage.nbytes(), dtype=torch.uint8, pin_memory=storage.device.type == "cuda")
            self._buffers[number] = known
        return known


def tensors_in(value: Any) -> Iterator[Tensor]:
    """Every tensor in nested mappings and sequences; of one that ranks share (a DTensor) this rank's part."""
    if isinstance(value, Tensor):
        part: Any = value
        yield part.to_local() if hasattr(part, "to_local") else part
    elif isinstance(value, Mapping):
        for part in value.values():
            yield from tensors_in(part)
    elif isinstance(value, (list, tuple)):
        for part in value:
            yield from tensors_in(part)


def _bytes(storage: UntypedStorage) -> Tensor:
    """[n] uint8: the storage's memory."""
    return torch.empty(0, dtype=torch.uint8, device=storage.device).set_(storage)  # type: ignore[call-overload]


def _wait() -> None:
    if torch.cuda.is_available():
        torch.cuda.synchronize()
