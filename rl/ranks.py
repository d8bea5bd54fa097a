"""The learner as several processes: who this one is among them, and the few things that all of them agree on.

A learner of one rank is alone: no process group exists, and every method here hands back what it was given, so that
the learner reads the same for one and for many. A learner of N ranks has a process group of its own, gloo between
hosts' memories and NCCL between GPUs, whose members find one another at a store that whoever starts them has opened
on a free port (`open_store`): the address travels with the `Seat`, through Ray.

What keeps ranks from waiting for one another forever is one rule: whether a collective takes place is decided from what
all ranks know (the whole minibatch, a maximum over ranks), never from a rank's own share. Collectives of the layers are
FSDP's (`rl.shards`); the ones here carry counts, sums of metrics, and packed bytes, in host memory.
"""

from __future__ import annotations

import os
import socket
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, TypeVar

import numpy as np
import psutil
import torch
import torch.distributed as dist
from torch.distributed.device_mesh import DeviceMesh, init_device_mesh

__all__ = ["Ranks", "Seat", "open_store"]

T = TypeVar("T")


@dataclass(frozen=True, slots=True, kw_only=True)
class Seat:
    """A place among the ranks of a learner."""

    rank: int
    """0 to `num_ranks - 1`; rank 0 answers for all."""
    num_ranks: int
    """Two or more."""
    host: str
    """Where the store of `open_store` listens."""
    port: int
    """Its port."""
    seconds: float
    """Longest wait for the others, at the start and in a collective."""


def open_store(host: str, seconds: float) -> dist.TCPStore:
    """A store on a free port of this machine (`.port`), where ranks find one another; keep it as long as they live.

    Args:
        host: this machine's address, as ranks will call it: of IPv6 where it has no other. The store listens on all.
    """
    return dist.TCPStore(
        host, 0, is_master=True, wait_for_workers=False, timeout=timedelta(seconds=seconds)
    )  # fmt: skip


def _link_to(host: str, port: int) -> str | None:
    """Name of the network interface on which this node reaches another, over IPv4 or IPv6; None where it is unknown.

    By default gloo takes the address that this node's own name stands for. On many machines that is a loopback address,
    under which ranks on other nodes do not find it. Of an interface with several addresses gloo takes the first one,
    IPv4 before IPv6.
    """
    family, _, _, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_DGRAM)[0]
    with socket.socket(family, socket.SOCK_DGRAM) as probe:
        probe.connect(address)  # of a datagram socket: nothing is sent
        own = probe.getsockname()[0]
    links = psutil.net_if_addrs().items()
    return next((name for name, addresses in links if own in (one.address for one in addresses)), None)


class Ranks:
    """This process among the ranks of a learner.

    Args:
        seat: which rank it is, and where the others are found; None: it is alone.
    """

    def __init__(self, seat: Seat | None = None) -> None:
        self.rank, self.size = (seat.rank, seat.num_ranks) if seat else (0, 1)
        if seat is None:
            return
        wait = timedelta(seconds=seat.seconds)
        if (link := _link_to(seat.host, seat.port)) is not None:
            os.environ.setdefault("GLOO_SOCKET_IFNAME", link)
        store = dist.TCPStore(seat.host, seat.port, is_master=False, timeout=wait)
        # Counts and bytes stay in host memory; gradients and weights are where the model is.
        backend = "cpu:gloo,cuda:nccl" if torch.cuda.is_available() else "gloo"
        dist.init_process_group(backend, store=store, rank=seat.rank, world_size=seat.num_ranks, timeout=wait)

    @property
    def is_alone(self) -> bool:
        """There are no others."""
        return self.size == 1

    @property
    def is_first(self) -> bool:
        """This is the rank that answers for all."""
        return self.rank == 0

    def mesh(self) -> DeviceMesh:
        """All ranks in a row, for FSDP."""
        return init_device_mesh("cuda" if torch.cuda.is_available() else "cpu", (self.size,))

    def maximum(self, number: int) -> int:
        """The largest of all ranks' numbers."""
        if self.is_alone:
            return number
        found = torch.tensor([number])
        dist.all_reduce(found, op=dist.ReduceOp.MAX)
        return int(found)

    def add_up(self, numbers: Sequence[float]) -> list[float]:
        """Each number summed over ranks, in double precision and the same on all."""
        if self.is_alone:
            return list(numbers)
        found = torch.tensor(list(numbers), dtype=torch.float64)
        dist.all_reduce(found)
        return found.tolist()

    def gather(self, fact: T) -> list[T]:
        """On the first rank every rank's fact, in their order; on others their own alone."""
        if self.is_alone:
            return [fact]
        found: list[Any] | None = [None] * self.size if self.is_first else None
        dist.gather_object(fact, found)
        return [fact] if found is None else found

    def gather_bytes(self, own: np.ndarray, sizes: Sequence[int]) -> Iterator[np.ndarray]:
        """On the first rank every rank's bytes, one after another, so that it holds one rank's at a time; else nothing.

        Args:
            own: uint8 [n] of this rank.
            sizes: on the first rank, n of every rank.
        """
        if not self.is_first:
            with warnings.catch_warnings():
                warnings.filterwarnings("ignore", message="The given buffer is not writable")
                dist.send(torch.frombuffer(own, dtype=torch.uint8), 0)
            return
        yield own
        for rank in range(1, self.size):
            buffer = np.empty(sizes[rank], dtype=np.uint8)
            dist.recv(torch.from_numpy(buffer), rank)
            yield buffer

    def leave(self) -> None:
        """Give the process group back; the process may found another one."""
        if not self.is_alone:
            dist.destroy_process_group()
