"""Adapters are merged and quantised exactly, their gradients are those of autograd, and frozen weights stay put."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from transformers import AutoModelForCausalLM, Qwen3MoeConfig, Qwen3MoeForCausalLM

from configs.load import load_config
from rl.lora import LoraMasters, LoraSettings
from rl.preflight import check_memory
from rl.qat import Masters, frozen_names
from rollout.quant.checkpoint import packed_tensors
from rollout.quant.grid import fake_quantize, quantize
from rollout.quant.pack import unpack_int4
from rollout.quant.scheme import QuantScheme
from tests.rounding import rounding

SCHEME, LORA = QuantScheme(), LoraSettings(rank=4, alpha=8.0)
IDS = torch.tensor([[2, 3, 4, 5, 6, 7, 8, 9]])


@pytest.fixture
def model(tiny_folder: Path):
    return AutoModelForCausalLM.from_pretrained(str(tiny_folder), dtype=torch.float32).eval()


def experts():
    config = Qwen3MoeConfig(
        vocab_size=32, hidden_size=64, intermediate_size=96, moe_intermediate_size=32, num_hidden_layers=1,
        num_attention_heads=2, num_key_value_heads=2, head_dim=32, num_experts=4, num_experts_per_tok=2,
    )  # fmt: skip
    return Qwen3MoeForCausalLM(config).eval()


def nll(model) -> torch.Tensor:
    return model(input_ids=IDS, labels=IDS).loss


def lora(model, **changes) -> LoraMasters:
    return LoraMasters(model, SCHEME, **({"lora": LORA, "compute_dtype": torch.float32} | changes))


def move(masters: LoraMasters) -> None:
    for adapter in masters.parameters.values():
        adapter.add_(torch.randn(adapter.shape) * 0.1)
    masters.refresh()


def test_untouched_adapters_leave_the_model_on_the_grid_of_its_own_weights(model) -> None:
    weights = {name: p.detach().clone() for name, p in model.named_parameters()}
    masters = lora(model)
    for entry in masters.views:
        wanted = fake_quantize(weights[entry.parameter_name], 32).float()
        assert torch.equal(model.get_parameter(entry.parameter_name), wanted)


@pytest.mark.parametrize("build", ["dense", "experts"])
def test_what_is_served_is_the_quantised_sum_of_base_and_product(model, build: str) -> None:
    model = model if build == "dense" else experts()
    base = {name: p.detach().to(torch.bfloat16).float() for name, p in model.named_parameters()}
    masters = lora(model)
    move(masters)
    packed = dict(packed_tensors(model, masters.views, SCHEME, packed=masters.packed))
    for entry in masters.views:
        for (name, view), (_, w) in zip(entry.views, entry.of(base[entry.parameter_name]), strict=True):
            a, b = (masters.parameters[f"{name}.lora_{x}"] for x in "AB")
            wanted = quantize(torch.addmm(w, b, a, alpha=2.0), 32)  # alpha / rank = 2
            assert torch.equal(unpack_int4(packed[f"{name}.weight_packed"]), wanted.codes), name
            assert torch.equal(packed[f"{name}.weight_scale"], wanted.scale)
            assert torch.equal(fake_quantize(view, 32).float(), view)
    names = {name for entry in masters.views for name, _ in entry.views}
    for name, parameter in model.named_parameters():
        if not any(view.parameter_name == name for view in masters.views):
            assert torch.equal(parameter, base[name]) and not parameter.requires_grad, "the rest is frozen"
    assert set(masters.parameters) == {f"{name}.lora_{x}" for name in names for x in "AB"}


def test_gradients_of_the_factors_are_those_that_autograd_finds_through_the_sum(model) -> None:
    masters = lora(model)
    move(masters)
    entry = masters.views[0]
    ((name, _),) = entry.views
    plain = AutoModelForCausalLM.from_config(model.config).float().eval()
    plain.load_state_dict(model.state_dict())
    nll(model).backward()
    nll(plain).backward()
    a, b = (masters.parameters[f"{name}.lora_{x}"].detach().clone().requires_grad_() for x in "AB")
    (2.0 * (b @ a) * plain.get_parameter(entry.parameter_name).grad).sum().backward()
    size = float((b.abs().t() @ plain.get_parameter(entry.parameter_name).grad.abs()).detach().max())
    # Sums over up to 96 terms of the same numbers, in another order.
    bound = rounding(96, size=2 * max(size, 1.0), dtype=torch.float32)
    assert torch.allclose(masters.parameters[f"{name}.lora_A"].grad, a.grad, rtol=0, atol=bound)
    assert torch.allclose(masters.parameters[f"{name}.lora_B"].grad, b.grad, rtol=0, atol=bound)
    assert min(float(a.grad.abs().max()), float(b.grad.abs().max())) > 100 * bound


def test_micro_batches_add_up_and_are_forgotten(model) -> None:
    masters = lora(model)
    nll(model).backward()
    once = {name: p.grad.clone() for name, p in masters.parameters.items()}
    nll(model).backward()
    for name, adapter in masters.parameters.items():
        assert torch.allclose(adapter.grad, 2 * once[name])
    masters.zero_grad()
    assert all(adapter.grad is None for adapter in masters.parameters.values())
    assert all(p.grad is None for p in model.parameters())


def test_the_first_adapters_depend_on_the_matrix_and_on_nothing_else(model, tiny_folder: Path) -> None:
    again = AutoModelForCausalLM.from_pretrained(str(tiny_folder), dtype=torch.float32).eval()
    one, other = lora(model).parameters, lora(again).parameters
    assert all(torch.equal(one[name], other[name]) for name in one)
    a = [p for name, p in one.items() if name.endswith("layers.0.self_attn.q_proj.lora_A")]
    b = [p for name, p in one.items() if name.endswith("layers.1.self_attn.q_proj.lora_A")]
    assert not torch.equal(a[0], b[0])


def test_a_frozen_parameter_has_no_master_gets_no_gradient_and_lies_on_the_grid(model) -> None:
    masters = Masters(
        model, SCHEME, compute_dtype=torch.float32, frozen=("re:.*layers\\.0.*", "model.embed_tokens.weight")
    )
    before = {name: p.detach().clone() for name, p in model.named_parameters()}
    nll(model).backward()
    assert not any("layers.0." in name or "embed" in name for name in masters.parameters)
    for master in masters.parameters.values():
        master.add_(master.grad, alpha=-1.0)
    masters.refresh()
    for name, parameter in model.named_parameters():
        is_frozen = name not in masters.parameters
        assert torch.equal(parameter, before[name]) == is_frozen, name
        assert parameter.grad is None
    for entry in masters.views:
        for _, view in entry.views:
            assert torch.equal(fake_quantize(view, 32).float(), view)


@pytest.mark.parametrize(
    ("frozen", "said"), [(("re:.*nothing",), "names no parameter"), (("re:.*",), "nothing is left")]
)
def test_patterns_that_fit_nothing_or_everything_are_refused(model, frozen: tuple[str, ...], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        frozen_names(model, frozen)


@pytest.mark.parametrize(
    ("overrides", "said"),
    [
        (['learner.frozen=["re:.*norm.*"]', "learner.lora.rank=8"], "leave learner.frozen out"),
        (["learner.optimizer=muon", "learner.lora.rank=8"], "is for whole matrices"),
        (['learner.frozen=["re:("]'], "learner.frozen.0"),
    ],
)
def test_settings_that_exclude_each_other_are_named(overrides: list[str], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        load_config([Path(__file__).parents[3] / "configs" / "tiny_cpu.toml"], overrides)


@pytest.mark.parametrize(
    ("overrides", "gib"),
    [
        ([], 19 * 1024), (["learner.ema_decay=0.5", "learner.reference_kl={coef=0.1}"], 25 * 1024),
        (["learner.lora.rank=8"], 9 * 1024), (["learner.lora.rank=8", "learner.compute_dtype=float32"], 11 * 1024),
    ],
)  # fmt: skip
def test_a_learner_of_adapters_is_not_refused_for_masters_that_it_does_not_keep(overrides: list[str], gib: int) -> None:
    """Of 2^40 parameters; at its start it has fp32 masters for once."""
    in_bf16 = "learner.compute_dtype=bfloat16"
    config = load_config([Path(__file__).parents[3] / "configs" / "tiny_cpu.toml"], [in_bf16, *overrides])
    with pytest.raises(ValueError, match=rf"\(learner {gib}\.0, engines"):
        check_memory(config, 1 << 40)
