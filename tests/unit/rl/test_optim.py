"""Muon and AdamW over the masters: against singular values worked out in float64, and matrix by matrix."""

from __future__ import annotations

import copy

import pytest
import torch
from transformers import LlamaConfig, LlamaForCausalLM, Qwen3MoeConfig, Qwen3MoeForCausalLM

from rl.optim import Optimizer
from rollout.quant.views import linear_views

TINY = {
    "vocab_size": 48, "hidden_size": 64, "intermediate_size": 96, "num_hidden_layers": 1, "num_attention_heads": 2,
    "num_key_value_heads": 2,
}  # fmt: skip
MOE = {"moe_intermediate_size": 32, "num_experts_per_tok": 2, "num_experts": 4, "head_dim": 32}
NS_ROUNDING = 5 * 4 * 2**-8
"""torch's NewtonSchulz computes in bf16: five iterations of three products and a sum, on singular values of about 1."""


def dense(**changes):
    torch.manual_seed(0)
    return LlamaForCausalLM(LlamaConfig(**TINY, **changes))


def experts():
    torch.manual_seed(0)
    return Qwen3MoeForCausalLM(Qwen3MoeConfig(**TINY, **MOE))


def masters_of(model) -> dict[str, torch.Tensor]:
    """Its parameters as masters, each with a random gradient."""
    generator = torch.Generator().manual_seed(1)
    found = {name: p.detach().clone() for name, p in model.named_parameters()}
    for master in found.values():
        master.grad = torch.randn(master.shape, generator=generator)
    return found


def optimizer(masters, model, *, kind="muon", weight_decay=0.0) -> Optimizer:
    return Optimizer(masters, model, kind=kind, betas=(0.9, 0.95), weight_decay=weight_decay, momentum=0.95)


def newton_schulz(singular: torch.Tensor, num_steps: int = 5) -> torch.Tensor:
    """What the quintic of Muon (Jordan, 2024) makes of singular values."""
    for _ in range(num_steps):
        singular = 3.4445 * singular - 4.7750 * singular**3 + 2.0315 * singular**5
    return singular


@pytest.mark.parametrize("name", ["self_attn.q_proj", "mlp.up_proj", "mlp.down_proj"])
def test_muon_moves_a_matrix_along_its_gradient_with_the_singular_values_evened_out(name):
    model = dense()
    masters = masters_of(model)
    name = f"model.layers.0.{name}.weight"
    before, gradient = masters[name].double().clone(), masters[name].grad.double().clone()
    optimizer(masters, model, weight_decay=0.5).step(0.02)
    left, singular, right = torch.linalg.svd(gradient, full_matrices=False)
    step = left @ torch.diag(newton_schulz(singular / singular.norm())) @ right
    found = (before * (1 - 0.02 * 0.5) - masters[name].double()) / (0.02 * 0.2 * max(gradient.shape) ** 0.5)
    assert (found - step).norm() / step.norm() < NS_ROUNDING
    assert found.square().mean().sqrt() * max(gradient.shape) ** 0.5 == pytest.approx(1, abs=0.5)  # that of AdamW, 0.2


def test_every_expert_is_orthogonalised_alone():
    model = experts()
    masters = masters_of(model)
    alone = {
        view_name: (matrix.clone(), gradient.clone())
        for entry in linear_views(model)
        if "lm_head" not in entry.parameter_name
        for (view_name, matrix), (_, gradient) in zip(
            entry.of(masters[entry.parameter_name]), entry.of(masters[entry.parameter_name].grad), strict=True
        )
    }
    assert sum(".experts." in view_name for view_name in alone) == 4 * 3
    optimizer(masters, model).step(0.02)
    for entry in linear_views(model):
        for view_name, moved in entry.of(masters[entry.parameter_name]):
            if view_name in alone:
                matrix, matrix.grad = alone[view_name]
                single = torch.optim.Muon(
                    [matrix], lr=0.02, weight_decay=0.0, nesterov=False, adjust_lr_fn="match_rms_adamw"
                )
                single.step()
                torch.testing.assert_close(moved, matrix, rtol=0, atol=0.02 * 0.2 * 96**0.5 * NS_ROUNDING)


@pytest.mark.parametrize("tied", [False, True])
def test_embedding_head_and_norms_go_to_adamw(tied):
    model = dense(tie_word_embeddings=tied)
    masters = masters_of(model)
    plain = {name: master.clone() for name, master in masters.items()}
    for name, master in plain.items():
        master.grad = masters[name].grad.clone()
    optimizer(masters, model).step(0.02)
    optimizer(plain, model, kind="adamw").step(0.02)
    equal = {name for name, master in masters.items() if torch.equal(master, plain[name])}
    assert equal == {name for name in masters if "norm" in name or "embed" in name or "lm_head" in name}


def test_saved_moments_go_on_to_the_same_bits_and_those_of_another_optimiser_are_refused():
    model = experts()
    masters = masters_of(model)
    first = optimizer(masters, model)
    first.step(0.02)
    copied = {name: master.clone() for name, master in masters.items()}
    for name, master in copied.items():
        master.grad = masters[name].grad.clone()
    second = optimizer(copied, model)
    second.load_state_dict(copy.deepcopy(first.state_dict()))
    first.step(0.01)
    second.step(0.01)
    assert all(torch.equal(master, copied[name]) for name, master in masters.items())
    with pytest.raises(ValueError, match=r"holds the moments of muon, adamw, learner\.optimizer asks for those of ada"):
        optimizer(copied, model, kind="adamw").load_state_dict(first.state_dict())


def test_a_master_without_a_gradient_stays_where_it_is():
    model = experts()
    masters = masters_of(model)
    idle = {name for name in masters if "experts" in name or "norm" in name}
    for name in idle:
        masters[name].grad = None
    before = {name: master.clone() for name, master in masters.items()}
    optimizer(masters, model, weight_decay=0.5).step(0.02)
    assert {name for name, master in masters.items() if torch.equal(master, before[name])} == idle


def test_matrices_without_a_master_are_left_out_also_where_no_other_is_left():
    """`learner.frozen` takes masters away."""
    model = dense()
    for pattern in ("layers.0", "layers"):
        masters = {name: master for name, master in masters_of(model).items() if pattern not in name}
        before = {name: master.clone() for name, master in masters.items()}
        assert optimizer(masters, model).step(0.02) > 0.0
        assert not any(torch.equal(master, before[name]) for name, master in masters.items())


@pytest.mark.parametrize("kind", ["adamw", "muon"])
def test_the_size_of_an_update_is_its_norm_over_that_of_the_masters(kind):
    model = dense()
    masters = masters_of(model)
    before = {name: master.double().clone() for name, master in masters.items()}
    found = optimizer(masters, model, kind=kind).step(0.01)
    change = sum((masters[name].double() - old).square().sum() for name, old in before.items())
    assert all(master.numel() <= 1 << 16 for master in masters.values())  # each is looked at as a whole
    # the change is a difference of weights below 1 that were rounded to fp32: 2**-24 of some 0.01
    assert found == pytest.approx(float((change / sum(old.square().sum() for old in before.values())).sqrt()), rel=1e-4)
    assert optimizer(masters, model, kind=kind).step(0.0) == 0.0


def test_the_size_of_an_update_of_a_large_matrix_is_estimated_from_entries_of_all_its_columns():
    generator = torch.Generator().manual_seed(2)
    master = torch.randn(1024, 512, generator=generator)
    master.grad = torch.randn(master.shape, generator=generator)
    before = master.clone()
    found = Optimizer({"w": master}, None, kind="adamw", betas=(0.9, 0.95), weight_decay=0.0, momentum=0.0).step(0.01)
    exact = float((master - before).norm() / before.norm())
    # half of the squared norm's relative error: entries' squares have a standard deviation of 2**.5 times their mean
    assert found == pytest.approx(exact, rel=4 * 0.5 * (2 / (1 << 15)) ** 0.5)
    looked_at = torch.arange(master.numel())[:: (master.numel() // (1 << 16)) | 1] % 512
    assert looked_at.unique().numel() == 512
