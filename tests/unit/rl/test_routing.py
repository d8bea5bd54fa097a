"""Routing replay on small models of every family: whose choice counts, what the gradient is, and what is refused.

The second methods are transformers' own routers, whose choice is replayed to them, and finite differences.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor
from transformers import AutoModelForCausalLM

from rl.attention import attention_name
from rl.balance import balance_loss, expert_load
from rl.batch import LearningSample, Minibatch
from rl.deal import sample_trees
from rl.forward import logprobs
from rl.learner import Learner
from rl.packing import MicroBatch, pack
from rl.routing import RoutingReplay, check_replay, newest_siblings, routers_of, routing_of
from rollout.routing import Routing
from rollout.types import Sample, Segment
from tests.families.shapes import FAMILIES, Family, config_of
from tests.integration.harness import new_learner

EXPERTS = [f for f in FAMILIES if f.name in ("Qwen3-MoE", "Mixtral", "DeepSeek-V3, Kimi K2", "GLM-4.5 (MoE)")]
QWEN3 = EXPERTS[0]
NUM_LAYERS = MappingProxyType({"qwen3_moe": 2, "mixtral": 2, "deepseek_v3": 1, "glm4_moe": 1})
"""With routed experts, of the two of each; K = 2 experts of a token."""


def model_of(family: Family, *, seed: int = 4) -> Any:
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        model = AutoModelForCausalLM.from_config(config_of(family), attn_implementation=attention_name()).float().eval()
        for parameter in model.parameters():
            parameter.data.add_(torch.randn(parameter.shape) * 0.1)
        for name, buffer in model.named_buffers():
            if "correction_bias" in name:
                buffer.data.add_(torch.randn(buffer.shape))
    return model


def sample(number: int, prompt: Sequence[int], tokens: Sequence[int], **changes: Any) -> LearningSample:
    facts: dict[str, Any] = {
        "number": number, "group": 0, "prompt_ids": tuple(prompt), "token_ids": tuple(tokens),
        "loss_mask": (True,) * len(tokens), "engine_logprobs": (-2.0,) * len(tokens),
        "temperatures": (1.0,) * len(tokens), "advantage": 0.5 - number % 2,
    }  # fmt: skip
    return LearningSample(**(facts | changes))


SAMPLES = [sample(0, (3, 4, 5), (6, 7, 8, 2)), sample(1, (3, 4, 5), (9, 2)), sample(2, (3, 4, 5), (10, 11, 12, 13, 2))]

ALIKE = sample(3, (3, 4, 7), (8, 9, 2), group=1)
"""In a row of its own, which begins as theirs does."""


def packed(samples: Sequence[LearningSample]) -> MicroBatch:
    (micro,) = pack(sample_trees(samples), max_tokens=256)
    return micro


def told_to(micro: MicroBatch, samples: Sequence[LearningSample]) -> Tensor:
    return routing_of(micro, samples, newest_siblings(samples))


def chosen_alone(model: Any, one: LearningSample) -> Routing:
    """What the routers choose for a sample that is computed by itself, but for its last token."""
    found: list[Tensor] = []
    hooks = [r.register_forward_hook(lambda module, args, out: found.append(out[2])) for r in routers_of(model)]
    logprobs(model, packed([one]))
    for hook in hooks:
        hook.remove()
    return Routing.of(torch.stack(found, dim=1)[:-1].numpy())


def drawn(one: LearningSample, *, layers: int, experts: int, seed: int) -> LearningSample:
    """With two other experts for each token and layer than anybody would choose."""
    shape = (len(one.prompt_ids) + len(one.token_ids) - 1, layers, experts)
    choice = np.random.default_rng(seed).random(shape).argsort(-1)[..., :2]
    return dataclasses.replace(one, routing=Routing.of(choice))


def test_positions_get_the_experts_of_their_own_sample_and_a_prompt_those_of_its_first_sibling() -> None:
    told = [
        dataclasses.replace(one, routing=Routing.of(100 * i + np.arange(2 + len(one.token_ids))[:, None, None]))
        for i, one in enumerate(SAMPLES)
    ]
    found = told_to(packed(told), told)
    assert found.shape == (1, 14, 1, 1)
    # prompt 3 4 5 | 6 7 8 2 | 9 2 | 10 11 12 13 2: nothing is predicted behind a last token
    assert found.flatten().tolist() == [0, 1, 2, 3, 4, 5, -1, 103, -1, 203, 204, 205, 206, -1]


def test_a_prompt_is_replayed_as_the_newest_weights_routed_it_in_whichever_rows_its_siblings_stand() -> None:
    told = [
        dataclasses.replace(
            one, routing=Routing.of(100 * i + np.arange(2 + len(one.token_ids))[:, None, None]), routed_by=version
        )
        for i, (one, version) in enumerate(zip(SAMPLES, (3, 4, 4), strict=True))
    ]
    newest = newest_siblings(told)
    together = routing_of(packed(told), told, newest).flatten().tolist()
    assert together == [100, 101, 102, 3, 4, 5, -1, 103, -1, 203, 204, 205, 206, -1]
    alone = [routing_of(packed([one]), [one], newest).flatten().tolist() for one in told]
    assert alone == [together[:7], [*together[:3], *together[7:9]], [*together[:3], *together[9:]]]


def test_what_a_response_was_not_sampled_behind_is_left_to_the_learner() -> None:
    one = dataclasses.replace(SAMPLES[0], routing=Routing.of(np.arange(4)[:, None, None]))  # an observation ends it
    assert told_to(packed([one]), [one]).flatten().tolist() == [0, 1, 2, 3, -1, -1, -1]


@pytest.mark.parametrize("family", EXPERTS, ids=lambda family: family.kind)
def test_to_replay_what_a_router_chooses_changes_no_bit(family: Family) -> None:
    model = model_of(family)
    with torch.no_grad():
        told = [dataclasses.replace(one, routing=chosen_alone(model, one)) for one in (*SAMPLES, ALIKE)]
        micro = packed(told)
        plain = logprobs(model, micro)
        replay = RoutingReplay(model)
        forward = replay.around(lambda batch, _: logprobs(model, batch), torch.device("cpu"))
        again = forward(dataclasses.replace(micro, routing=told_to(micro, told)), None)
    assert torch.equal(plain, again)
    num_flipped, num = replay.flips()
    assert (int(num_flipped), num) == (0, (3 + 3 + 1 + 4 + 3) * NUM_LAYERS[family.kind])
    with torch.no_grad():
        assert torch.equal(forward(micro, None), plain)  # and without routing the learner chooses


@pytest.mark.parametrize("family", EXPERTS, ids=lambda family: family.kind)
def test_a_learner_whose_router_rounds_otherwise_agrees_again_when_it_replays(family: Family) -> None:
    engine, learner = model_of(family), model_of(family)
    for model in (engine, learner):
        for router in routers_of(model):
            router.weight.data.mul_(1e-3)  # all experts are about as good: the least change flips the choice
    for router in routers_of(learner):
        router.weight.data.add_(torch.randn(router.weight.shape, generator=torch.Generator().manual_seed(1)) * 1e-3)
        if hasattr(router, "e_score_correction_bias"):
            router.e_score_correction_bias.data.zero_()
    with torch.no_grad():
        told = [dataclasses.replace(one, routing=chosen_alone(engine, one)) for one in SAMPLES]
        micro = packed(told)
        expected, without = logprobs(engine, micro), logprobs(learner, micro)
        replay = RoutingReplay(learner)
        forward = replay.around(lambda batch, _: logprobs(learner, batch), torch.device("cpu"))
        found = forward(dataclasses.replace(micro, routing=told_to(micro, told)), None)
    num_flipped, num = replay.flips()
    assert int(num_flipped) > 0.5 * num
    assert (without - expected).abs().mean() > 20 * (found - expected).abs().mean()


@pytest.mark.parametrize("family", EXPERTS, ids=lambda family: family.kind)
def test_the_gradient_of_a_router_is_that_of_its_weights_over_the_experts_that_were_replayed(family: Family) -> None:
    model = model_of(family)
    experts = routers_of(model)[0].num_experts
    told = [
        drawn(one, layers=NUM_LAYERS[family.kind], experts=experts, seed=i) for i, one in enumerate(SAMPLES)
    ]  # fmt: skip
    micro = packed(told)
    micro = dataclasses.replace(micro, routing=told_to(micro, told))
    forward = RoutingReplay(model).around(lambda batch, _: logprobs(model, batch), torch.device("cpu"))
    forward(micro, None).sum().backward()
    weight = routers_of(model)[-1].weight
    generator = torch.Generator().manual_seed(2)
    for _ in range(3):
        direction = torch.randn(weight.shape, generator=generator)
        direction /= direction.norm()
        sums = []
        with torch.no_grad():
            for step in (0.02, -0.02):
                weight.add_(step * direction)
                sums.append(forward(micro, None).double().sum().item())
                weight.sub_(step * direction)
        slope = (sums[0] - sums[1]) / 0.04
        assert slope == pytest.approx((weight.grad * direction).sum().item(), rel=0.02, abs=0.002)


# -- the learner ------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("moe") / "model"
    model_of(QWEN3).save_pretrained(path)
    return path


def minibatch(**changes: Any) -> Minibatch:
    told = [drawn(one, layers=2, experts=8, seed=i) for i, one in enumerate(SAMPLES)]
    return Minibatch(index=0, samples=tuple(told), num_samples=3, num_tokens=11, **changes)


def gradients(learner: Learner) -> dict[str, Tensor]:
    """Of an update of learning rate 0, as they were before they were cleared."""
    found: dict[str, Tensor] = {}
    clip = learner.masters.clip_grad_norm

    def look(max_norm: float) -> Tensor:
        norm = clip(max_norm)
        found.update({n: p.grad.clone() for n, p in learner.masters.parameters.items() if p.grad is not None})
        return norm

    learner.masters.clip_grad_norm = look  # type: ignore[method-assign]
    learner.update(minibatch(), (), lr=0.0)
    return found


def test_old_logprobs_updates_and_layers_that_are_computed_again_see_the_same_experts(folder: Path) -> None:
    plain, again = (new_learner(folder, replay_routing=True, gradient_checkpointing=on) for on in (False, True))
    (old,) = plain.add_old_logprobs([minibatch()])
    update = plain.update(minibatch(), (), lr=0.0)
    assert {s.number: s.old_logprobs for s in old.samples} == update.old_logprobs
    without = new_learner(folder).update(minibatch(), (), lr=0.0)
    assert without.old_logprobs != update.old_logprobs and without.num_replayed == 0
    assert update.num_replayed == (3 + 3 + 1 + 4) * 2 and 0 < update.num_flipped <= update.num_replayed
    expected, found = gradients(plain), gradients(again)
    assert any("gate.weight" in name and grad.any() for name, grad in expected.items())
    assert expected.keys() == found.keys() and all(torch.equal(grad, found[name]) for name, grad in expected.items())


def test_a_response_has_the_experts_of_the_last_segment_that_was_sampled() -> None:
    first, second = (Routing.of(np.full((n, 2, 2), n)) for n in (3, 7))

    def segment(routing: Routing | None, *, version: int, **changes: Any) -> Segment:
        return Segment(
            token_ids=(5, 6), logprobs=(-1.0, -1.0), weight_version=version, temperature=1.0, routing=routing, **changes
        )

    from rl.batch import _learning_samples
    from rollout.types import FinishReason

    whole = Sample(
        id="s", prompt_ids=(1, 2), finish_reason=FinishReason.STOP, text="",
        segments=(
            segment(None, version=5), segment(first, version=6), segment(second, version=7, context_ids=(1, 2, 3, 4)),
            segment(None, version=7, is_sampled=False),
        ),
    )  # fmt: skip
    found = list(_learning_samples(whole, 0, range(2), 0.5, None))
    assert [(one.routing, one.routed_by) for one in found] == [(first, 6), (second, 7)]


# -- balance ----------------------------------------------------------------------------------------------------------


def test_the_loss_of_uneven_load_by_hand() -> None:
    told = np.array([[[0], [0]], [[0], [1]], [[1], [2]]])  # three tokens, two layers, one of three experts each
    one = sample(0, (3,), (4, 5, 6), loss_mask=(True, True, False), routing=Routing.of(told))
    load = expert_load([one], 3)
    assert load.tolist() == [[1.0, 0.0, 0.0], [0.5, 0.5, 0.0]]
    scores = [torch.tensor([[0.5, 0.25, 0.25], [0.7, 0.2, 0.1], [0.0, 0.0, 1.0], [0.0, 1.0, 0.0]]) for _ in range(2)]
    # P = (.6, .225, .175) in both layers: 3 * .6, and 3 * (.5 * .6 + .5 * .225)
    found = balance_loss([scores[0], 7 * scores[1]], load, packed([one]), [one], num_tokens=2)
    assert found.item() == pytest.approx((1.8 + 1.2375) / 2)


def test_the_loss_of_uneven_load_of_one_layer_is_that_of_transformers() -> None:
    from transformers.models.qwen3_moe.modeling_qwen3_moe import load_balancing_loss_func

    generator = torch.Generator().manual_seed(1)
    one = SAMPLES[2]
    logits = torch.randn(len(one.prompt_ids) + len(one.token_ids), 8, generator=generator)
    chosen = logits.topk(2, dim=-1).indices[:-1, None, :]
    one = dataclasses.replace(one, routing=Routing.of(chosen.numpy()))
    found = balance_loss([logits.softmax(-1)], expert_load([one], 8), packed([one]), [one], num_tokens=5)
    expected: Any = load_balancing_loss_func((logits[2:7],), 8, 2)  # the positions that predict its five tokens
    assert found.item() == pytest.approx(expected.item(), rel=1e-5)


def test_the_loss_of_uneven_load_of_rows_that_begin_alike_is_that_of_each_alone() -> None:
    generator = torch.Generator().manual_seed(1)
    scores = [torch.rand(part, 8, generator=generator) for part in (14, 6)]
    rows = [[drawn(one, layers=1, experts=8, seed=one.number) for one in row] for row in (SAMPLES, [ALIKE])]
    load = expert_load([*rows[0], *rows[1]], 8)
    alone = [
        balance_loss([one], load, packed(row), row, num_tokens=14) for one, row in zip(scores, rows, strict=True)
    ]  # fmt: skip
    micro = packed([*rows[0], *rows[1]])
    assert micro.num_shared == 2
    padding = torch.rand(14 - 6, 8, generator=generator)
    line = torch.cat([scores[0], scores[1][2:], padding])  # the shorter row's first two stand in the longer one's
    together = balance_loss([line], load, micro, [*rows[0], *rows[1]], num_tokens=14)
    assert together.item() == pytest.approx(sum(alone).item(), rel=1e-5)


def test_micro_batches_add_up_to_the_load_of_the_minibatch_and_an_update_makes_it_more_even(folder: Path) -> None:
    options: dict[str, Any] = {"replay_routing": True, "router_aux": 1.0, "tau": 0.0}
    even = dataclasses.replace(
        minibatch(), samples=tuple(dataclasses.replace(one, advantage=0.0) for one in minibatch().samples)
    )
    whole, cut = (new_learner(folder, **options, max_microbatch_tokens=size) for size in (64, 8))
    first, other = whole.update(even, (), lr=1e-2), cut.update(even, (), lr=0.0)
    assert first.router_aux is not None
    assert other.router_aux == pytest.approx(first.router_aux, rel=1e-5)
    assert other.grad_norm == pytest.approx(first.grad_norm, rel=1e-4) and first.grad_norm > 0
    again = whole.update(even, (), lr=0.0)
    assert again.router_aux is not None and again.router_aux < first.router_aux


# -- what is refused --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "on_cpu", "told"),
    [
        ("Qwen 3", True, "Qwen3ForCausalLM has no routed experts"),
        ("gpt-oss", True, "GptOssForCausalLM has routers that are not known here"),
        ("Qwen3-MoE", False, "engines on GPUs have none here"),
    ],
)
def test_what_cannot_replay_is_refused_by_name(name: str, on_cpu: bool, told: str) -> None:
    (family,) = (family for family in FAMILIES if family.name == name)
    with torch.device("meta"):
        model = AutoModelForCausalLM.from_config(config_of(family))
    with pytest.raises(ValueError, match=rf"^learner\.replay_routing = true: .*{told}"):
        check_replay(model, on_cpu=on_cpu)
