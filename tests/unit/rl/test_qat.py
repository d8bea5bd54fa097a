"""The model lies on the grid, and its gradient reaches the fp32 masters untouched: the straight-through estimator."""

from __future__ import annotations

import copy

import pytest
import torch
from transformers import AutoModelForCausalLM

from rl.qat import Masters
from rollout.quant.checkpoint import packed_tensors
from rollout.quant.grid import fake_quantize
from rollout.quant.scheme import QuantScheme
from tests.rounding import SIGMAS, rounding

SCHEME = QuantScheme()
IDS = torch.tensor([[2, 3, 4, 5, 6, 7, 8, 9]])


@pytest.fixture
def model(tiny_folder):
    return AutoModelForCausalLM.from_pretrained(str(tiny_folder), dtype=torch.float32).eval()


def is_quantised(name: str) -> bool:
    return "_proj" in name


def nll(model, ids=IDS) -> torch.Tensor:
    return model(input_ids=ids, labels=ids).loss


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_forward_weights_are_fixed_points_of_the_grid_and_the_rest_is_bf16(model, dtype):
    masters = Masters(model, SCHEME, compute_dtype=dtype)
    moved = 0
    for name, parameter in model.named_parameters():
        assert parameter.dtype == dtype
        weight, master = parameter.detach(), masters.parameters[name]
        if is_quantised(name):
            assert torch.equal(fake_quantize(weight, 32).to(dtype), weight)
            assert torch.equal(fake_quantize(master, 32).to(dtype), weight)
            moved += int((weight.float() != master).sum())
        else:
            assert torch.equal(master.to(torch.bfloat16).to(dtype), weight)
    assert moved > 1000  # the masters themselves are not on the grid
    assert sum(len(entry.views) for entry in masters.views) == 2 * 7


def test_masters_are_the_continuous_weights_and_not_a_view_of_the_model(model):
    before = {name: p.detach().clone() for name, p in model.named_parameters()}
    masters = Masters(model, SCHEME, compute_dtype=torch.float32)
    for name, weight in before.items():
        assert torch.equal(masters.parameters[name], weight)
        assert masters.parameters[name].data_ptr() != model.get_parameter(name).data_ptr()


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_a_masters_gradient_is_that_of_the_fake_quantised_weight_on_a_plain_copy_of_the_model(model, dtype):
    masters = Masters(model, SCHEME, compute_dtype=dtype)
    plain = AutoModelForCausalLM.from_config(copy.deepcopy(model.config)).to(torch.float32).eval()
    plain.load_state_dict({k: v.float() for k, v in model.state_dict().items()})
    nll(model).backward()
    nll(plain).backward()
    for name, parameter in plain.named_parameters():
        found, expected = masters.parameters[name].grad, parameter.grad
        assert found.dtype == torch.float32
        # Forward and back through two layers and the head: in fp32 every sum rounds (about 400 terms a layer, three
        # passes over them), in bf16 what leaves each of about 25 operations. The norm of thousands of such errors is
        # their standard deviation, so twice that is enough.
        tolerance = 2 / SIGMAS * rounding(2500 if dtype == torch.float32 else 50, dtype=dtype)
        assert (found - expected).norm() <= tolerance * expected.norm(), name
        assert model.get_parameter(name).grad is None


def test_gradients_of_micro_batches_add_up_in_fp32(model):
    masters = Masters(model, SCHEME, compute_dtype=torch.bfloat16)
    singles = []
    for ids in (IDS, IDS.flip(1)):
        nll(model, ids).backward()
        singles.append({name: master.grad.clone() for name, master in masters.parameters.items()})
        masters.zero_grad()
    assert all(master.grad is None for master in masters.parameters.values())
    for ids in (IDS, IDS.flip(1)):
        nll(model, ids).backward()
    for name, master in masters.parameters.items():
        assert torch.equal(master.grad, singles[0][name] + singles[1][name])


def test_refresh_follows_the_masters(model):
    masters = Masters(model, SCHEME, compute_dtype=torch.float32)
    name = "model.layers.0.mlp.up_proj.weight"
    masters.parameters[name].mul_(-2)
    before = model.get_parameter(name).detach().clone()
    masters.refresh()
    assert torch.equal(model.get_parameter(name), -2 * before)  # the grid scales with powers of two and is symmetric


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_what_a_refresh_packs_is_what_quantising_its_weights_again_would_give(model, dtype):
    masters = Masters(model, SCHEME, compute_dtype=dtype)
    for master in masters.parameters.values():
        master.mul_(1.3).sub_(0.01)
    masters.refresh()
    kept = packed_tensors(model, masters.views, SCHEME, packed=masters.packed)
    anew = packed_tensors(model, masters.views, SCHEME)
    from_masters = packed_tensors(model, masters.views, SCHEME, master=masters.parameters.__getitem__)
    for (name, tensor), (other, expected), (_, third) in zip(kept, anew, from_masters, strict=True):
        assert name == other and torch.equal(tensor, expected) and torch.equal(tensor, third), name
    assert len(masters.packed) == 2 * 7


@pytest.mark.parametrize("bad", [float("nan"), float("inf"), -3.3895e38])
def test_weights_that_stopped_being_finite_are_not_published_and_the_tensor_is_named(model, bad):
    masters = Masters(model, SCHEME, compute_dtype=torch.float32)
    masters.parameters["model.layers.1.self_attn.k_proj.weight"][3, 5] = bad
    masters.refresh()
    with pytest.raises(ValueError, match=r"model\.layers\.1\.self_attn\.k_proj: \d+ of 4096 values"):
        list(packed_tensors(model, masters.views, SCHEME, packed=masters.packed))


def test_without_fake_quantisation_the_model_is_bf16_and_off_the_grid(model):
    masters = Masters(model, SCHEME, compute_dtype=torch.float32, fake_quantize=False)
    for name, parameter in model.named_parameters():
        assert torch.equal(parameter, masters.parameters[name].to(torch.bfloat16).float())
        if is_quantised(name):
            assert not torch.equal(fake_quantize(parameter, 32).float(), parameter)
    assert not masters.packed


def test_buffers_keep_fp32_where_the_model_computes_in_bf16(model):
    """Rotary frequencies rounded to bf16 would turn late positions by another angle than the engine's."""
    before = {name: buffer.clone() for name, buffer in model.named_buffers()}
    assert before
    Masters(model, SCHEME, compute_dtype=torch.bfloat16)
    for name, buffer in model.named_buffers():
        assert buffer.dtype == before[name].dtype and torch.equal(buffer, before[name])
