"""The learner's weights on a tiny model: on the grid, published, exported, refused."""

from __future__ import annotations

import shutil

import pytest
import torch
from safetensors.torch import load_file, save_file

from rl.lora import LoraSettings
from rollout.quant.grid import fake_quantize, quantize
from rollout.quant.pack import unpack_int4
from rollout.quant.scheme import QuantScheme
from rollout.weights.receiver import tensors
from tests.unit.rl.plain_learner import (
    PTX,
    make,
    minibatch,
    published,
)


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_forward_weights_stay_on_the_grid_after_every_update(settings, dtype):
    learner = make(settings, compute_dtype=dtype)
    for step in range(3):
        for name, weight in learner.forward_weights().items():
            assert weight.dtype == torch.bfloat16
            if "_proj" in name:
                assert torch.equal(fake_quantize(weight, 32), weight), (step, name)
        before = learner.forward_weights()
        learner.update(learner.add_old_logprobs([minibatch()])[0], PTX, lr=1e-2)
        assert any(not torch.equal(before[name], weight) for name, weight in learner.forward_weights().items())


def test_without_fake_quantisation_weights_leave_the_grid_and_other_weights_are_published(settings):
    learner = make(settings, fake_quantize=False)
    off = [n for n, w in learner.forward_weights().items() if "_proj" in n and not torch.equal(fake_quantize(w, 32), w)]
    assert len(off) == 14
    assert published(learner) == published(make(settings))


def test_a_learning_rate_of_zero_publishes_the_same_bytes(settings):
    learner = make(settings, weight_decay=0.1)
    before, weights = published(learner), learner.forward_weights()
    for batch in learner.add_old_logprobs([minibatch(0), minibatch(1)]):
        assert learner.update(batch, PTX, lr=0.0).grad_norm > 0
    assert published(learner) == before
    assert all(torch.equal(weights[name], weight) for name, weight in learner.forward_weights().items())


def test_publish_holds_the_tensors_that_export_writes(settings, tmp_path):
    learner = make(settings)
    learner.update(learner.add_old_logprobs([minibatch()])[0], PTX, lr=1e-2)
    learner.export(tmp_path / "int4")
    exported = load_file(tmp_path / "int4" / "model.safetensors")
    wire = dict(tensors(learner.publish(3)))
    assert wire.keys() == exported.keys()
    for name, tensor in exported.items():
        assert tensor.dtype == wire[name].dtype and torch.equal(tensor, wire[name]), name
    assert "model.layers.0.mlp.up_proj.weight_packed" in wire


def test_nan_weights_are_refused_at_the_start_and_before_publishing_with_the_tensors_name(
    settings, tiny_folder, tmp_path
):
    name = "model.layers.0.self_attn.q_proj"
    folder = tmp_path / "nan"
    shutil.copytree(tiny_folder, folder)
    weights = load_file(folder / "model.safetensors")
    weights[f"{name}.weight"][1, 2] = float("nan")
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(ValueError, match=rf"{name}\.weight: 1 of"):
        make(settings, model_folder=folder)
    learner = make(settings)
    learner.masters.parameters[f"{name}.weight"][1, 2] = float("nan")
    learner.masters.refresh()
    with pytest.raises(ValueError, match=name):
        learner.publish(1)


def test_a_group_size_that_does_not_divide_a_layer_is_refused_with_its_name(settings):
    with pytest.raises(ValueError, match=r"model\.layers\.0\.self_attn\.q_proj.*no multiple of quant\.group_size = 48"):
        make(settings, scheme=QuantScheme(group_size=48))


def test_logits_that_explode_are_held_under_the_threshold_through_the_grid(settings):
    """bf16 scales of the grid round each scaled row by 2^-9 at most, and so does the bf16 image of what is ignored."""
    (batch,) = make(settings).add_old_logprobs([minibatch()])
    learner = make(settings, qk_clip=30.0, ptx_coef=0.0)
    for name, master in learner.masters.parameters.items():
        if "q_proj" in name or "k_proj" in name:
            master.mul_(20.0)
    learner.masters.refresh()
    exploded = learner.update(batch, (), lr=0.0).qk_max_logit
    assert exploded is not None and exploded > 60.0
    for _ in range(3):
        held = learner.update(batch, (), lr=1e-5).qk_max_logit
        assert held is not None and held <= 30.0 * (1 + 2**-5)
    assert make(settings).update(batch, (), lr=0.0).qk_max_logit is None


def test_the_average_is_exported_on_the_grid_beside_the_last_weights_which_stay(settings, tmp_path):
    from safetensors.torch import load_file

    learner = make(settings, ema_decay=0.5, ptx_coef=0.0)
    learner.export(tmp_path / "initial")
    assert not (tmp_path / "initial_ema").exists()  # nothing to average yet
    (batch,) = learner.add_old_logprobs([minibatch()])
    learner.update(batch, (), lr=3e-2)
    before = learner.forward_weights()
    learner.export(tmp_path / "export")
    after = learner.forward_weights()
    assert all(torch.equal(before[name], after[name]) for name in before)
    other = make(settings, ptx_coef=0.0)
    for name, master in other.masters.parameters.items():
        master.copy_(learner.kept.average.weights[name])
    other.masters.refresh()
    other.export(tmp_path / "expected")

    def tensors(name):
        return {k: v for file in (tmp_path / name).glob("*.safetensors") for k, v in load_file(file).items()}

    found, expected = tensors("export_ema"), tensors("expected")
    assert found.keys() == expected.keys() and all(torch.equal(found[k], expected[k]) for k in found)
    assert any(not torch.equal(found[k], v) for k, v in tensors("export").items())


def test_the_average_of_adapters_is_exported_as_the_base_with_the_product_of_the_averaged_factors(settings, tmp_path):
    learner = make(settings, lora=LoraSettings(rank=4, alpha=8.0), ema_decay=0.5, ptx_coef=0.0)
    seen = [{name: factor.clone() for name, factor in learner.masters.parameters.items()}]
    for _ in range(2):
        (batch,) = learner.add_old_logprobs([minibatch()])
        learner.update(batch, (), lr=3e-2)
        seen.append({name: factor.clone() for name, factor in learner.masters.parameters.items()})
    learner.export(tmp_path / "export")
    found = load_file(tmp_path / "export_ema" / "model.safetensors")
    source = load_file(settings.model_folder / "model.safetensors")
    names = {name.rpartition(".")[0] for name in seen[0]}
    for name in names:
        a, b = (0.25 * seen[0][key] + 0.25 * seen[1][key] + 0.5 * seen[2][key] for key in _factors(name))
        wanted = quantize(torch.addmm(source[f"{name}.weight"].bfloat16().float(), b, a, alpha=8.0 / 4), 32)
        # a code or a scale may round to the other side where an average differs in its last place
        assert (unpack_int4(found[f"{name}.weight_packed"]) != wanted.codes).float().mean() < 1e-3, name
        assert (found[f"{name}.weight_scale"] != wanted.scale).float().mean() < 1e-2, name
    last = load_file(tmp_path / "export" / "model.safetensors")
    assert any(not torch.equal(last[f"{name}.weight_packed"], found[f"{name}.weight_packed"]) for name in names)
    assert all(torch.equal(factor, seen[2][name]) for name, factor in learner.masters.parameters.items())


def _factors(name: str) -> tuple[str, str]:
    return f"{name}.lora_A", f"{name}.lora_B"


def test_bf16_masters_are_rounded_after_every_update_and_lose_what_is_below_half_a_last_place(settings):
    fine, rounded = (make(settings, bf16_masters=on, weight_decay=0.0) for on in (False, True))
    (batch,) = fine.add_old_logprobs([minibatch()])
    for one in (fine, rounded):
        one.update(batch, (), lr=1e-3)
    for name, master in rounded.masters.parameters.items():
        assert torch.equal(master, fine.masters.parameters[name].to(torch.bfloat16).float())
    before = {name: master.clone() for name, master in rounded.masters.parameters.items()}
    rounded.update(batch, (), lr=1e-12)
    for name, master in rounded.masters.parameters.items():
        # Adam moves a weight by a few lr at most; half of the last place of 1e-8 is at least 2**-9 of it, 2e-11
        is_large = before[name].abs() > 1e-8
        assert torch.equal(master[is_large], before[name][is_large])
        assert is_large.any()
