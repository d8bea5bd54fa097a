"""Memory that goes to the host and comes back: the same bits, the same views, and nothing left behind."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Literal

import pytest
import torch

from configs.schema import Config
from rl.learner import Learner
from rl.lora import LoraSettings
from rl.offload import Offload, tensors_in
from rl.ptx import PtxSample
from rl.settings import learner_settings

BATCHES = [
    [
        PtxSample(prefix=(2, 3), token_ids=(4, 5, 0), loss_mask=(True, True, True)),
        PtxSample(prefix=(6,), token_ids=(7 + i, 8, 9, 0), loss_mask=(True, False, True, True)),
    ]
    for i in range(2)
]


def num_bytes(tensors: list[torch.Tensor]) -> int:
    return sum(tensor.untyped_storage().nbytes() for tensor in tensors)


def test_what_was_moved_out_takes_no_memory_and_comes_back_with_its_bits_and_its_views() -> None:
    whole = torch.randn(6, 8)
    view, other, empty = whole[2:4], torch.arange(5, dtype=torch.int32), torch.zeros(0)
    expected = whole.clone(), other.clone()
    offload = Offload()
    for _ in range(2):  # buffers are used again
        offload.move_out([whole, view, other, empty])
        assert offload.is_out and num_bytes([whole, view, other]) == 0
        offload.move_back()
        assert not offload.is_out
        assert torch.equal(whole, expected[0]) and torch.equal(other, expected[1])
        view.add_(1.0)
        expected[0][2:4].add_(1.0)
        assert torch.equal(whole, expected[0]), "the view is one no longer"


def test_coming_back_without_having_left_does_nothing() -> None:
    Offload().move_back()


def test_tensors_are_found_in_everything_that_holds_some() -> None:
    a, b, c = torch.zeros(1), torch.zeros(2), torch.zeros(3)
    found = list(tensors_in({"x": [a, (b, None)], "y": {"z": c}, "w": 3.0}))
    assert [tensor.numel() for tensor in found] == [1, 2, 3]


@pytest.mark.parametrize(("optimizer", "rank"), [("adamw", 0), ("muon", 0), ("adamw", 2)])
def test_a_learner_that_gave_its_memory_up_between_two_updates_learns_and_publishes_the_same_bits(
    tiny_folder: Path, optimizer: Literal["adamw", "muon"], rank: int
) -> None:
    config = Config.model_validate({"model": {"source": "tiny"}, "gyms": [{"name": "arithmetic"}]})
    lora = LoraSettings(rank=rank, alpha=4.0) if rank else None
    settings = dataclasses.replace(learner_settings(config, tiny_folder), optimizer=optimizer, lora=lora)
    stays, leaves = Learner(settings), Learner(settings)
    published = []
    for learner in (stays, leaves):
        first = learner.warm_up(BATCHES[:1], lrs=[1e-3])
        if learner is leaves:
            learner.offload()
            held = [*learner.model.parameters(), *tensors_in([vars(learner.masters)])]
            moments = list(tensors_in(learner.optimizer.state_dict()))
            num_moments, num_left = len(moments), num_bytes([*held, *moments])  # pytest cannot show what has no memory
            assert num_moments and num_left == 0
            learner.onload()
        second = learner.warm_up(BATCHES[1:], lrs=[1e-3])
        losses = [update.ptx_loss for update in (*first, *second)]
        published.append((losses, learner.publish(1).buffer.tobytes()))
    assert published[0] == published[1]
