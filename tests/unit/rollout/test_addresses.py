"""What moved while a model was loaded is brought back to where captured graphs read it."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from rollout.engine.addresses import Homes


def test_a_bias_that_a_kernel_permuted_into_new_memory_is_read_from_the_old_address() -> None:
    model = nn.Sequential(nn.Linear(3, 4), nn.Linear(4, 2))
    layer = model[0]
    graph = layer.bias.data  # what a captured graph holds: the memory, not the parameter
    homes = Homes(model)
    layer.bias.data.copy_(torch.tensor([1.0, 2.0, 3.0, 4.0]))  # the loader: the checkpoint's order, in the old memory
    layer.bias.data = layer.bias.data[[2, 0, 3, 1]]  # the kernel: its own order, in new memory
    assert homes.bring_back() == ["0.bias"]
    assert graph.tolist() == [3.0, 1.0, 4.0, 2.0] == layer.bias.tolist()
    assert layer.bias.data_ptr() == graph.data_ptr()
    assert homes.bring_back() == []


def test_a_parameter_object_that_was_exchanged_is_brought_back_too() -> None:
    model = nn.Linear(3, 2, bias=False)
    graph, homes = model.weight.data, Homes(model)
    model.weight = nn.Parameter(torch.full((2, 3), 7.0))
    assert homes.bring_back() == [".weight"]
    assert graph.eq(7).all() and model.weight.data_ptr() == graph.data_ptr()


def test_a_tensor_that_its_old_memory_cannot_hold_is_an_error() -> None:
    model = nn.Linear(3, 2)
    homes = Homes(model)
    model.bias = nn.Parameter(torch.zeros(8))
    with pytest.raises(RuntimeError, match=r"\.bias was torch\.float32 \(2,\) and is torch\.float32 \(8,\)"):
        homes.bring_back()
