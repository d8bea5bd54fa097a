"""The learner's tensors to the host and back: the same bits in the same objects, and the device's memory is let go.

The device is a CPU's here: what is "away" is a second copy in host memory, at other addresses.
"""

from __future__ import annotations

import gc
import weakref

import pytest
import torch
from torch import Tensor, nn

from rl.offload import Offload, tensors_of
from rl.optim import Optimizer
from rl.qat import Masters
from rollout.quant.scheme import QuantScheme

CPU = torch.device("cpu")


class Tiny(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.a, self.b = nn.Linear(64, 32), nn.Linear(32, 64, bias=False)
        self.register_buffer("frequencies", torch.arange(4.0))

    def forward(self, x: Tensor) -> Tensor:
        return self.b(self.a(x).relu())

    def get_output_embeddings(self) -> None:
        return None


class Held:
    """What a learner holds."""

    def __init__(self, *, kind: str) -> None:
        torch.manual_seed(3)
        self.model = Tiny()
        self.masters = Masters(self.model, QuantScheme(), compute_dtype=torch.bfloat16)
        self.optimizer = Optimizer(
            self.masters.parameters, self.model, kind=kind, betas=(0.9, 0.95), weight_decay=0.1, momentum=0.9
        )

    def update(self, seed: int) -> None:
        self.collect(seed)
        self.optimizer.step(1e-2)
        self.masters.zero_grad()
        self.masters.refresh()

    def collect(self, seed: int) -> None:
        x = torch.randn(8, 64, generator=torch.Generator().manual_seed(seed), dtype=torch.bfloat16)
        self.model(x).square().mean().backward()

    def tensors(self) -> list[Tensor]:
        return list(
            tensors_of(self.model, self.masters.parameters, self.masters.packed, *self.optimizer._optimizers.values())
        )

    def bits(self) -> list[Tensor]:
        return [tensor.detach().clone() for tensor in self.tensors()]


@pytest.mark.parametrize("kind", ["adamw", "muon"])
def test_a_learner_that_was_away_in_every_turn_learns_what_one_that_never_was_does(kind: str) -> None:
    straight, moved = Held(kind=kind), Held(kind=kind)
    offload = Offload(CPU)
    for seed in range(3):
        straight.update(seed)
        moved.update(seed)
        offload.away(moved.tensors())
        offload.back()
    assert len(straight.bits()) == len(moved.bits()) > 12
    for ours, theirs in zip(moved.bits(), straight.bits(), strict=True):
        assert torch.equal(ours, theirs)


def test_gradients_of_half_an_update_travel_too() -> None:
    straight, moved = Held(kind="adamw"), Held(kind="adamw")
    for held in (straight, moved):
        held.collect(0)
    offload = Offload(CPU)
    offload.away(moved.tensors())
    offload.back()
    for held in (straight, moved):
        held.update(1)  # adds to the gradients of before
    assert all(torch.equal(a, b) for a, b in zip(moved.bits(), straight.bits(), strict=True))


def test_objects_and_views_are_the_same_before_and_after() -> None:
    held = Held(kind="muon")
    held.update(0)
    tensors, bits = held.tensors(), held.bits()
    master = held.masters.parameters["a.weight"]
    view = held.optimizer._matrices["a.weight"][0]
    offload = Offload(CPU)
    offload.away(tensors)
    assert offload.on == "host" and offload.num_bytes >= sum(t.nbytes for t in held.masters.parameters.values())
    assert view.data_ptr() == master.data_ptr(), "a view of a master is a view of it on the host too"
    offload.back()
    assert offload.on == "device"
    assert [id(t) for t in held.tensors()] == [id(t) for t in tensors]
    assert all(torch.equal(a, b) for a, b in zip(held.bits(), bits, strict=True))
    master.add_(1.0)
    assert torch.equal(view, master)


def test_the_devices_memory_is_let_go_and_the_hosts_is_used_again() -> None:
    tensor = torch.randn(1000)
    offload, hosts = Offload(CPU), []
    for _ in range(3):
        storage = weakref.ref(tensor.untyped_storage())
        gc.collect()
        assert storage() is not None, "the check below would see nothing"
        offload.away([tensor])
        gc.collect()
        assert storage() is None, "somebody still holds the device's memory"
        hosts.append(tensor.data_ptr())
        offload.back()
        assert tensor.data_ptr() not in hosts
    assert len(set(hosts)) == 1


def test_strided_views_and_tensors_on_other_devices_survive() -> None:
    base = torch.arange(24.0).view(4, 6)
    views = [base, base.t(), base[1:3, ::2], base[2:]]
    other = torch.empty(3, device="meta")
    expected = [view.clone() for view in views]
    offload = Offload(CPU)
    offload.away([*views, other])
    assert all(torch.equal(a, b) for a, b in zip(views, expected, strict=True))
    offload.back()
    assert all(torch.equal(a, b) for a, b in zip(views, expected, strict=True))
    base.zero_()
    assert all(not view.any() for view in views), "they share memory as before"


def test_being_sent_away_twice_is_a_fault_of_ours() -> None:
    offload = Offload(CPU)
    offload.away([torch.ones(1)])
    with pytest.raises(AssertionError, match="away already"):
        offload.away([])
    offload.back()
    with pytest.raises(AssertionError, match="on the device already"):
        offload.back()
