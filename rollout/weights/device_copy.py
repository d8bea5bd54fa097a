"""An artefact's bytes a second time, on the device on which they were made: an engine there reads them in place.

The artefact in host memory stays what it is: what other engines take, what a failed swap goes back to, what an engine
that is started anew is handed. The copy is an addition, for one hand-over. The learner lays its tensors out in one flat
buffer of its device, makes the artefact of that, and lends the buffer out (`Lender`). An engine on that device opens it
(`borrow`) and its swap reads from there: nothing comes from the host. The kernel's layout is made on the device by
vLLM's layerwise reload, as it is of tensors that come from the host.

The laws are those of the artefact, which is made of the copy. The copy names the manifest that it belongs to. Its bytes
are summed up where they lie, by who lends them and again by who opened them. Where anything is against it - another
device, a container without IPC, another sum - the engine takes the host's bytes, and the log says why, once.

How memory gets from one process to another is torch's: `reduce_tensor` on one side and what it names on the other, an
IPC handle for a GPU, a name in shared memory for a CPU, which is how tests take the very same way. Two things of it
shape what is here. Memory of expandable segments cannot be handed to a process that may not trace this one, so the
buffer lies outside them. And torch frees what it has handed out when it has been opened and closed exactly once: so a
copy is offered once, an engine closes it at the end of its commit, and where nobody opened it the lender makes up for
that.

Left out: several ranks of a learner, whose rows are joined in host memory; one copy for engines of several GPUs.
None of it has run on a GPU yet: `make test-gpu`.
"""

from __future__ import annotations

import contextlib
import logging
import os
import pickle
from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from multiprocessing.reduction import ForkingPickler

import torch
import xxhash
from torch import Tensor
from torch.multiprocessing.reductions import rebuild_cuda_tensor, reduce_tensor

from rollout.weights.contract import Manifest, WeightArtefact
from rollout.weights.sender import build_artefact, offsets_of

__all__ = ["DeviceCopy", "Lender", "Loan", "borrow", "word_sum"]

_log = logging.getLogger(__name__)
_told: set[str] = set()

_CHUNK_WORDS = {"cpu": 1 << 18, "cuda": 1 << 22}
"""Summed up at a time: 2 MiB, which stay in a cache; 32 MiB, and as much for their products, in few kernels."""
_SEGMENT_BYTES = 20 << 20
"""torch's allocator gives what is a multiple of this a segment of its own: nothing else is lent out with it, and all of
it goes back to the device."""
_DEVICE, _COUNTER = 6, slice(11, 13)
"""Places in the arguments of `rebuild_cuda_tensor`: the device's index, and what counts who has opened the memory."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DeviceCopy:
    """Where a copy of an artefact's buffer is; small, and pickled."""

    manifest: str
    """Digest of the artefact's manifest."""
    device: str
    """On which it is: a GPU's UUID, or "cpu"."""
    checksum: int
    """`word_sum` of its bytes."""
    memory: bytes
    """What opens it in another process, pickled."""


class Lender:
    """The learner's end: makes artefacts that have a copy on its device, if it has room, and keeps the newest one's."""

    def __init__(self) -> None:
        self.copy: DeviceCopy | None = None
        """Of the newest artefact; None: there is none any more, or it could not be lent out."""
        self._flat: Tensor | None = None
        self._counter: tuple[bytes, int] | None = None

    @torch.no_grad()
    def publish(self, named: Iterable[tuple[str, Tensor]], version: int, device: torch.device) -> WeightArtefact:
        """The artefact that `build_artefact` makes of these tensors, from a copy on `device` that stays.

        Args:
            named: (checkpoint name, tensor), on any device; each is let go when it is copied.
            version: of the weights.
            device: where the copy is made.
        """
        self.take_back()
        waiting = deque(named)
        offsets, num_bytes = offsets_of([tensor.nbytes for _, tensor in waiting])
        try:
            flat = _new_segment(num_bytes, device)
        except (AttributeError, RuntimeError) as error:  # no room, or another torch
            _tell("room", f"packed weights are not lent out: {type(error).__name__}: {error}")
            return build_artefact(waiting, version)
        views = []
        for offset in offsets:
            name, tensor = waiting.popleft()
            view = flat[offset : offset + tensor.nbytes].view(tensor.dtype).view(tensor.shape)
            views.append((name, view.copy_(tensor)))
        artefact = build_artefact(views, version)
        self._lend(flat, artefact)
        return artefact

    def _lend(self, flat: Tensor, artefact: WeightArtefact) -> None:
        counter = None
        try:
            rebuild, arguments = reduce_tensor(flat)
            counter = arguments[_COUNTER] if rebuild is rebuild_cuda_tensor else None
            copy = DeviceCopy(
                manifest=_digest(artefact.manifest), device=_name(flat.device), checksum=word_sum(flat),
                memory=bytes(ForkingPickler.dumps((rebuild, arguments))),
            )  # fmt: skip
        except (OSError, RuntimeError) as error:
            _tell("lend", f"packed weights cannot be lent out: {type(error).__name__}: {error}")
            if counter is not None:
                torch.UntypedStorage._release_ipc_counter_cuda(*counter)  # nobody will open it
                torch.cuda.ipc_collect()
            return
        self.copy, self._flat, self._counter = copy, flat, counter

    def take_back(self) -> None:
        """Give the copy's memory back to the device. Nobody may read it any more, or open it."""
        if self._flat is None:
            return
        device, counter = self._flat.device, self._counter
        used = torch.cuda.memory_allocated(device) if counter is not None else 0
        self.copy = self._flat = self._counter = None
        if counter is None:
            return
        torch.cuda.ipc_collect()
        if torch.cuda.memory_allocated(device) >= used:  # nobody has opened and closed it, so torch would wait for ever
            torch.UntypedStorage._release_ipc_counter_cuda(*counter)
            torch.cuda.ipc_collect()
        torch.cuda.empty_cache()


class Loan:
    """A copy that is open here. Closed, it is its lender's to free."""

    def __init__(self, flat: Tensor) -> None:
        self.flat: Tensor | None = flat

    def close(self) -> None:
        """Nothing reads it any more."""
        self.flat = None


def borrow(copy: DeviceCopy, manifest: Manifest, *, kind: str) -> Loan | None:
    """Open a copy, and sum it up.

    Args:
        copy: what a lender has made.
        manifest: of the artefact that it is to stand for.
        kind: "cuda" or "cpu"; of several devices, this process computes on the first that it sees.

    Returns:
        None where it cannot be had, or is not what the manifest describes; the log says why, once.
    """
    device = torch.device(kind, 0)
    reason = objection(copy, manifest, device=_name(device))
    if reason is None:
        try:
            flat = _opened(copy.memory, device)
            if flat.nbytes == manifest.total_bytes and word_sum(flat) == copy.checksum:
                return Loan(flat)
            reason = "its bytes are not those that were lent"
        except (OSError, RuntimeError) as error:
            reason = f"{type(error).__name__}: {error}"
    _tell("borrow", f"packed weights come from host memory, not from the learner's device: {reason}")
    return None


def objection(copy: DeviceCopy, manifest: Manifest, *, device: str) -> str | None:
    """Why a copy is not even opened; None: nothing is against it.

    Args:
        copy, manifest: as `borrow`.
        device: name of the one on which it is wanted.
    """
    if copy.device != device:
        return f"the copy is on {copy.device}, the engine on {device}"
    if copy.manifest != _digest(manifest):
        return "the copy is one of other weights"
    return None


@torch.no_grad()
def word_sum(flat: Tensor) -> int:
    """Checksum that a CPU and a GPU compute alike, in one pass: sum of (2 i + 1) word_i modulo 2^64, signed.

    A word that changes changes it for certain, whatever it becomes, since an odd factor has an inverse; two words that
    change places do, unless they differ in their highest bits alone.

    Args:
        flat: [n] uint8, n a multiple of 8 and not 0.
    """
    words, device = flat.view(torch.int64), flat.device
    size = min(_CHUNK_WORDS[device.type], len(words))
    odd = torch.arange(1, 2 * size, 2, device=device)
    total = torch.zeros((), dtype=torch.int64, device=device)
    for start in range(0, len(words), size):
        chunk = words[start : start + size]
        own = odd[: len(chunk)]
        weighted = torch.dot(chunk, own) if device.type == "cpu" else (chunk * own).sum()  # CUDA: no dot of integers
        total += weighted + 2 * start * chunk.sum()
    return int(total)


def _new_segment(num_bytes: int, device: torch.device) -> Tensor:
    """[num_bytes] uint8, zeros, in memory that another process can open and that goes back whole."""
    with _plain_segments(device):
        whole = torch.zeros(-(-num_bytes // _SEGMENT_BYTES) * _SEGMENT_BYTES, dtype=torch.uint8, device=device)
    return whole[:num_bytes]


@contextlib.contextmanager
def _plain_segments(device: torch.device) -> Iterator[None]:
    """What is allocated within lies outside expandable segments (`DeviceProfile.learner_environment` asks for them)."""
    options = os.environ.get("PYTORCH_ALLOC_CONF") or os.environ.get("PYTORCH_CUDA_ALLOC_CONF", "")
    if device.type != "cuda" or "expandable_segments:True" not in options:
        yield
        return
    change = torch._C._accelerator_setAllocatorSettings  # options that are not named are reset
    change(options.replace("expandable_segments:True", "expandable_segments:False"))
    try:
        yield
    finally:
        change(options)


def _opened(memory: bytes, device: torch.device) -> Tensor:
    rebuild, arguments = pickle.loads(memory)
    if rebuild is rebuild_cuda_tensor:  # the lender may count its devices otherwise
        arguments = (*arguments[:_DEVICE], device.index, *arguments[_DEVICE + 1 :])
    return rebuild(*arguments)


def _digest(manifest: Manifest) -> str:
    return xxhash.xxh3_128_hexdigest(repr(manifest).encode())


def _name(device: torch.device) -> str:
    return str(torch.cuda.get_device_properties(device).uuid) if device.type == "cuda" else device.type


def _tell(kind: str, reason: str) -> None:
    """Once a process for each kind of reason, whose text may hold numbers."""
    if kind not in _told:
        _told.add(kind)
        _log.warning("%s", reason)
