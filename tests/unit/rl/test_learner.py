"""The learner on a tiny model: updates against the plain algorithm, weights against the grid, state on disk.

The second method of this file is `plain_update`: no packing, no micro-batches, no hooks; one sequence after the other
through a copy of the model that holds the same weights.
"""

from __future__ import annotations

import copy
import dataclasses
import math
import shutil

import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import AutoModelForCausalLM

from rl.batch import LearningSample, Minibatch
from rl.curated import PtxBatch
from rl.learner import Learner, LearnerSettings
from rl.mismatch import Mismatch
from rl.ptx import PtxSample
from rollout.quant.grid import fake_quantize
from rollout.quant.scheme import QuantScheme
from rollout.weights.receiver import tensors
from tests.rounding import rounding

ROUNDINGS = 2 * (64 + 32 + 64 + 64 + 64 + 96) + 64 + 32
"""In a row, in the tiny model: two layers (projections, scores, attention, output, gate, down), head, log_softmax."""
LOGPROB = rounding(ROUNDINGS, size=6.0, dtype=torch.float32)
"""Tolerance of a log-probability, none of which is below -6 here."""
LOSS = 2 * LOGPROB
"""Of means of log-probabilities, with weights up to 2 that are exponentials of some; relative for norms."""

PTX = (
    PtxSample(prefix=(2, 3), token_ids=(4, 5, 0), loss_mask=(True, True, True)),
    PtxSample(prefix=(6,), token_ids=(7, 8, 9, 0), loss_mask=(True, False, True, True)),
)


@pytest.fixture
def settings(tiny_folder) -> LearnerSettings:
    return LearnerSettings(
        model_folder=tiny_folder,
        scheme=QuantScheme(),
        fake_quantize=True,
        compute_dtype="float32",
        loss="k2_seq",
        aggregation=None,
        tau=0.5,
        clip_low=-0.6931,
        clip_high=0.6931,
        mismatch=Mismatch(),
        optimizer="adamw",
        momentum=0.95,
        betas=(0.9, 0.95),
        qk_clip=None,
        reset_optimizer=False,
        ema_decay=None,
        reference_coef=0.0,
        reference_estimator="k3",
        weight_decay=0.01,
        max_grad_norm=1.0,
        max_microbatch_tokens=64,
        gradient_checkpointing=False,
        ptx_coef=0.5,
    )


def make(settings: LearnerSettings, **changes) -> Learner:
    return Learner(dataclasses.replace(settings, **changes))


def sample(number: int, group: int, length: int, advantage: float, **changes) -> LearningSample:
    token_ids = tuple((number * 5 + 3 * t) % 16 + 2 for t in range(length))
    facts = {
        "number": number,
        "group": group,
        "prompt_ids": (2 + group, 9, 4)[: 3 - group],
        "token_ids": token_ids,
        "loss_mask": (True,) * length,
        "engine_logprobs": tuple(-2.5 - 0.3 * ((number + t) % 4) for t in range(length)),
        "temperatures": (0.8,) * length,
        "advantage": advantage,
    }
    return LearningSample(**(facts | changes))


def minibatch(index: int = 0) -> Minibatch:
    """Two groups of unlike lengths; one sample with an observation and two temperatures; one sample was dropped."""
    samples = (
        sample(0, 0, 5, 0.5),
        sample(1, 0, 2, -0.25),
        sample(2, 0, 7, -0.25),
        sample(4 + index, 1, 4, 0.75, loss_mask=(True, False, False, True), temperatures=(1.0, 1.0, 0.6, 0.6)),
        sample(6 + index, 1, 3, -0.75),
    )
    return Minibatch(index=index, samples=samples, num_samples=6, num_tokens=23)


def plain_copy(learner: Learner):
    """A model of its own with the weights of the learner's forward pass."""
    plain = AutoModelForCausalLM.from_config(copy.deepcopy(learner.model.config)).float().eval()
    plain.load_state_dict({name: value.float() for name, value in learner.model.state_dict().items()})
    return plain


def plain_logprobs(model, prefix, token_ids, temperatures) -> torch.Tensor:
    logits = model(input_ids=torch.tensor([[*prefix, *token_ids]])).logits[0, len(prefix) - 1 : -1]
    logprobs = (logits / torch.tensor(temperatures)[:, None]).log_softmax(-1)
    return logprobs[torch.arange(len(token_ids)), torch.tensor(token_ids)]


def plain_update(learner: Learner, batch: Minibatch, ptx=()) -> tuple[float, float, dict[str, torch.Tensor]]:
    """Policy loss, PTX loss and the gradient of their weighted sum, as the formulas say."""
    model, s = plain_copy(learner), learner.settings
    policy = torch.zeros(())
    for one in batch.samples:
        logprobs = plain_logprobs(model, one.prompt_ids, one.token_ids, one.temperatures)
        old, mask = torch.tensor(one.old_logprobs), torch.tensor(one.loss_mask).float()
        weights = torch.ones_like(old)
        if s.mismatch.correction == "token_cap":
            weights = (old - torch.tensor(one.engine_logprobs)).exp().clamp(max=s.mismatch.high)
        elif s.mismatch.correction == "policy_band":
            log_band = (logprobs.detach() - torch.tensor(one.engine_logprobs)) / math.log(s.mismatch.high)
            weights = ((log_band <= 1) & (log_band >= -1)).float()  # low is 1 / high here
        log_ratio = (logprobs - old) * mask
        if s.loss == "k2_seq":
            pull = one.advantage - s.tau * log_ratio.sum().detach()
            policy = policy - pull * (weights * mask * logprobs).sum() / batch.num_samples
        else:
            inside = (log_ratio.detach() >= s.clip_low) & (log_ratio.detach() <= s.clip_high)
            gain = inside * mask * weights * log_ratio.exp() * one.advantage
            squared = log_ratio.square() if s.squared_over == "all" else inside * log_ratio.square()
            policy = policy + (s.tau * squared - gain).sum() / batch.num_tokens
    nll = torch.zeros(())
    num_tokens = sum(sum(one.loss_mask) for one in ptx)
    for one in ptx:
        logprobs = plain_logprobs(model, one.prefix, one.token_ids, (1.0,) * len(one.token_ids))
        nll = nll - (logprobs * torch.tensor(one.loss_mask)).sum() / num_tokens
    (policy + s.ptx_coef * nll).backward()
    return policy.item(), nll.item(), {name: p.grad for name, p in model.named_parameters()}


def norm_of(gradient: dict[str, torch.Tensor]) -> float:
    return math.sqrt(sum(g.square().sum().item() for g in gradient.values()))


def published(learner: Learner) -> bytes:
    return learner.publish(0).buffer.tobytes()


# -- weights ----------------------------------------------------------------------------------------------------------


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


def test_dropout_is_off_in_every_module_even_where_the_config_asks_for_it(settings, tiny_folder, tmp_path):
    folder = tmp_path / "dropout"
    shutil.copytree(tiny_folder, folder)
    config = (folder / "config.json").read_text()
    assert '"attention_dropout": 0.0' in config
    (folder / "config.json").write_text(config.replace('"attention_dropout": 0.0', '"attention_dropout": 0.5'))
    learner = make(settings, model_folder=folder)
    batch = learner.add_old_logprobs([minibatch()])[0]
    assert not any(module.training for module in learner.model.modules())
    assert learner.update(batch, PTX, lr=1e-3).log_ratio_std == 0.0
    assert not any(module.training for module in learner.model.modules())
    assert batch == make(settings).add_old_logprobs([minibatch()])[0]


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


# -- updates ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("loss", ["k2_seq", "k25_token"])
def test_parts_of_a_response_are_learned_behind_the_contexts_that_they_were_drawn_behind(settings, loss):
    learner = make(settings, loss=loss, max_grad_norm=1e9)
    parts = (sample(10, 0, 4, 0.5, prompt_ids=(7, 7, 2, 3), num_counted=11), sample(20, 0, 2, 0.5, prompt_ids=(8,)))
    first = minibatch()
    (batch,) = learner.add_old_logprobs([dataclasses.replace(first, samples=(*first.samples, *parts))])
    policy, _, gradient = plain_update(learner, batch)
    found = learner.update(batch, (), lr=1e-3)
    assert found.policy_loss == pytest.approx(policy, abs=LOSS)
    assert found.grad_norm == pytest.approx(norm_of(gradient), rel=LOSS)


@pytest.mark.parametrize("loss", ["k2_seq", "k25_token"])
@pytest.mark.parametrize("correction", [None, "token_cap", "policy_band"])
def test_losses_and_gradient_norm_equal_those_of_the_plain_algorithm(settings, loss, correction):
    learner = make(settings, loss=loss, mismatch=Mismatch(correction=correction, low=0.5, high=2.0))
    first, second = learner.add_old_logprobs([minibatch(0), minibatch(1)])
    for batch in (first, second):  # the second time theta has moved away from theta_old
        policy, nll, gradient = plain_update(learner, batch, PTX)
        found = learner.update(batch, PTX, lr=3e-3)
        assert found.policy_loss == pytest.approx(policy, abs=LOSS)
        assert found.ptx_loss == pytest.approx(nll, abs=LOGPROB)
        assert found.grad_norm == pytest.approx(norm_of(gradient), rel=LOSS)
        assert found.learning_rate == 3e-3 and found.num_samples == 5
    assert found.log_ratio_std > 0.01


@pytest.mark.parametrize("squared_over", ["all", "kept"])
def test_both_readings_of_k25s_squared_term_are_learned_from(settings, squared_over):
    learner = make(settings, loss="k25_token", tau=1.0, clip_low=-0.5, clip_high=0.5, squared_over=squared_over)
    first, second = learner.add_old_logprobs([minibatch(0), minibatch(1)])
    learner.update(first, (), lr=3e-3)
    policy, _, gradient = plain_update(learner, second)
    found = learner.update(second, (), lr=3e-3)
    assert 0 < found.clipped_frac < 1
    assert found.policy_loss == pytest.approx(policy, abs=LOSS)
    assert found.grad_norm == pytest.approx(norm_of(gradient), rel=LOSS)


@pytest.mark.parametrize("loss", ["k2_seq", "k25_token"])
def test_a_first_update_needs_no_old_logprobs_and_changes_the_same_bits_without_them(settings, loss):
    informed, plain = make(settings, loss=loss), make(settings, loss=loss)
    with_old, without = informed.add_old_logprobs([minibatch()])[0], minibatch()
    assert without.samples[0].old_logprobs is None
    found, bare = informed.update(with_old, PTX, lr=1e-2), plain.update(without, PTX, lr=1e-2)
    assert dataclasses.replace(found, seconds=0.0) == dataclasses.replace(bare, seconds=0.0)
    assert all(torch.equal(p, plain.masters.parameters[name]) for name, p in informed.masters.parameters.items())


def test_an_update_tells_the_weights_of_the_sampled_tokens_and_the_log_probabilities_they_came_from(settings):
    learner = make(settings, mismatch=Mismatch(correction="token_band", low=0.5, high=2.0))
    batch = learner.add_old_logprobs([minibatch()])[0]
    ratios = [
        math.exp(old - engine)
        for one in batch.samples
        for old, engine, is_sampled in zip(one.old_logprobs, one.engine_logprobs, one.loss_mask, strict=True)
        if is_sampled
    ]
    kept = [ratio for ratio in ratios if 0.5 <= ratio <= 2.0]
    assert 0 < len(kept) < len(ratios)
    found = learner.update(dataclasses.replace(batch, samples=minibatch().samples), PTX, lr=1e-2)
    assert found.old_logprobs == {one.number: one.old_logprobs for one in batch.samples}
    # fp32 sums of some 20 weights up to 2: each addition rounds by 2**-24 of at most the sum
    assert found.weight_sum == pytest.approx(sum(kept), rel=len(ratios) * 2**-23)
    assert found.weight_square_sum == pytest.approx(sum(ratio**2 for ratio in kept), rel=len(ratios) * 2**-22)
    assert (found.num_dropped, found.num_tokens) == (len(ratios) - len(kept), len(ratios))


def test_an_update_is_one_step_of_clipped_adamw_on_the_masters(settings):
    learner = make(settings, max_grad_norm=0.05)
    batch = learner.add_old_logprobs([minibatch()])[0]
    before = {name: master.clone() for name, master in learner.masters.parameters.items()}
    _, _, gradient = plain_update(learner, batch, PTX)
    assert norm_of(gradient) > 0.05
    learner.update(batch, PTX, lr=1e-3)
    clip = 0.05 / (norm_of(gradient) + 1e-6)
    for name, master in learner.masters.parameters.items():
        g = gradient[name] * clip
        kept = 1 - 1e-3 * 0.01 if master.ndim >= 2 else 1.0  # weight decay on matrices only
        expected = before[name] * kept - 1e-3 * g / (g.abs() + 1e-8)  # the first step of Adam: m / sqrt(v) = sign(g)
        is_clear = g.abs() > 1e-6  # below, the sign is a matter of rounding
        # Where g is little above 1e-6, its own rounding moves g / (|g| + 1e-8) by less than 1e-8 / 1e-6; the rest are
        # four roundings of weights up to 1.
        tolerance = 1e-3 * 1e-2 + rounding(4, dtype=torch.float32)
        torch.testing.assert_close(master[is_clear], expected[is_clear], rtol=0, atol=tolerance)


def test_old_logprobs_are_those_of_the_plain_model_at_each_tokens_temperature(settings):
    learner = make(settings)
    model = plain_copy(learner)
    with torch.no_grad():
        for one in learner.add_old_logprobs([minibatch()])[0].samples:
            expected = plain_logprobs(model, one.prompt_ids, one.token_ids, one.temperatures)
            assert one.old_logprobs == pytest.approx(expected.tolist(), abs=LOGPROB)


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
@pytest.mark.parametrize("loss", ["k2_seq", "k25_token"])
@pytest.mark.parametrize("max_microbatch_tokens", [12, 4096])
def test_before_the_first_update_the_log_ratio_is_zero_to_the_last_bit(settings, dtype, loss, max_microbatch_tokens):
    learner = make(settings, compute_dtype=dtype, loss=loss, max_microbatch_tokens=max_microbatch_tokens)
    first, second = learner.add_old_logprobs([minibatch(0), minibatch(1)])
    found = learner.update(first, PTX, lr=1e-2)
    assert (found.log_ratio_mean, found.log_ratio_std, found.clipped_frac) == (0.0, 0.0, 0.0)
    assert learner.update(second, PTX, lr=1e-2).log_ratio_std > 0


@pytest.mark.parametrize(("dtype", "gradient_checkpointing"), [("float32", False), ("bfloat16", True)])
def test_rows_of_several_blocks_of_queries_keep_siblings_apart_and_their_log_ratio_at_zero(
    settings, dtype, gradient_checkpointing
):
    learner = make(
        settings, compute_dtype=dtype, max_microbatch_tokens=4096, gradient_checkpointing=gradient_checkpointing
    )
    samples = tuple(sample(number, 0, length, 0.5 - number) for number, length in enumerate((333, 500)))
    whole = Minibatch(index=0, samples=samples, num_samples=2, num_tokens=833)
    batch = learner.add_old_logprobs([whole])[0]
    if dtype == "float32":
        model = plain_copy(learner)
        # Attention sums over up to 503 tokens, twice in each of two layers.
        tolerance = rounding(ROUNDINGS + 2 * 2 * 503, size=6.0, dtype=torch.float32)
        with torch.no_grad():
            for one in batch.samples:
                expected = plain_logprobs(model, one.prompt_ids, one.token_ids, one.temperatures)
                assert one.old_logprobs == pytest.approx(expected.tolist(), abs=tolerance)
    found = learner.update(batch, (), lr=1e-2)
    assert (found.log_ratio_mean, found.log_ratio_std) == (0.0, 0.0) and found.grad_norm > 0


@pytest.mark.parametrize("loss", ["k2_seq", "k25_token"])
def test_the_size_of_a_micro_batch_changes_nothing_but_rounding(settings, loss):
    found = []
    for max_tokens in (10, 17, 4096):
        learner = make(settings, loss=loss, max_microbatch_tokens=max_tokens)
        first, second = learner.add_old_logprobs([minibatch(0), minibatch(1)])
        found.append([learner.update(first, PTX, lr=1e-3), learner.update(second, PTX, lr=1e-3)])
    for update in range(2):
        for name in ("policy_loss", "ptx_loss", "grad_norm", "log_ratio_mean", "log_ratio_std", "clipped_frac"):
            values = [getattr(run[update], name) for run in found]
            # Adam's first step is lr * sign(g): weights whose gradient is all rounding went either way by 1e-3 of 0.1.
            rel = 1e-2 if update else LOSS
            assert values == pytest.approx([values[-1]] * 3, rel=rel, abs=LOSS), name


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_layers_that_are_computed_twice_change_no_bit_of_an_update(settings, dtype):
    once, twice = (make(settings, compute_dtype=dtype, gradient_checkpointing=flag) for flag in (False, True))
    batches = [learner.add_old_logprobs([minibatch()])[0] for learner in (once, twice)]
    assert batches[0] == batches[1]
    found = [learner.update(batch, PTX, lr=1e-2) for learner, batch in zip((once, twice), batches, strict=True)]
    assert dataclasses.replace(found[0], seconds=0.0) == dataclasses.replace(found[1], seconds=0.0)
    assert all(torch.equal(p, twice.masters.parameters[name]) for name, p in once.masters.parameters.items())
    assert not any(module.training for module in twice.model.modules())


def test_a_minibatch_without_gradient_updates_by_ptx_alone(settings):
    learner = make(settings)
    empty = Minibatch(index=0, samples=(), num_samples=8, num_tokens=50)
    found = learner.update(empty, PTX, lr=1e-3)
    assert found.policy_loss == 0 and found.num_samples == 0 and found.grad_norm > 0
    warm = make(settings).warm_up([PTX], lrs=[1e-3])[0]
    assert found.ptx_loss == warm.ptx_loss
    assert found.grad_norm == pytest.approx(0.5 * warm.grad_norm, rel=LOSS)


def test_a_minibatch_without_gradient_and_without_ptx_changes_nothing(settings):
    learner = make(settings)
    before = {name: master.clone() for name, master in learner.masters.parameters.items()}
    found = learner.update(Minibatch(index=0, samples=(), num_samples=0, num_tokens=0), (), lr=1e-3)
    assert (found.grad_norm, found.policy_loss, found.ptx_loss, found.log_ratio_mean) == (0.0, 0.0, 0.0, 0.0)
    assert all(torch.equal(before[name], master) for name, master in learner.masters.parameters.items())


def test_a_ptx_batch_scales_the_coefficient_and_its_heldout_part_is_measured_and_not_learned(settings):
    (batch,) = make(settings).add_old_logprobs([minibatch()])
    whole, scaled, half = PtxBatch(PTX), PtxBatch(PTX), make(settings, ptx_coef=settings.ptx_coef / 2)
    scaled.scale, scaled.heldout = 0.5, tuple(PTX)
    learner = make(settings)
    before = learner.ptx_loss(PTX)
    found, other = learner.update(batch, scaled, lr=1e-2), half.update(batch, whole, lr=1e-2)
    assert (found.ptx_coef, found.grad_norm) == (other.ptx_coef, other.grad_norm)
    assert found.ptx_heldout_loss == before == found.ptx_loss and other.ptx_heldout_loss is None
    assert learner.ptx_loss(PTX) < before


def test_a_ptx_coefficient_of_zero_ignores_the_conversations(settings):
    learner = make(settings, ptx_coef=0.0)
    batch = learner.add_old_logprobs([minibatch()])[0]
    found = learner.update(batch, PTX, lr=1e-3)
    other = make(settings, ptx_coef=0.0)
    assert found.ptx_loss == 0.0
    assert found.grad_norm == other.update(batch, (), lr=1e-3).grad_norm
    assert published(learner) == published(other)


def test_warming_up_makes_the_conversations_more_likely(settings):
    learner = make(settings)
    metrics = learner.warm_up([PTX] * 20, lrs=[1e-2] * 20)
    assert metrics[0].ptx_loss == pytest.approx(plain_update(make(settings), minibatch_of_none(), PTX)[1], abs=LOGPROB)
    assert metrics[-1].ptx_loss < 0.5 * metrics[0].ptx_loss


def minibatch_of_none() -> Minibatch:
    return Minibatch(index=0, samples=(), num_samples=1, num_tokens=1)


def test_sequence_logprobs_are_those_of_the_plain_model(settings):
    learner = make(settings)
    model = plain_copy(learner)
    sequences = [(2, 3, 4, 5), (6, 7), (9, 9, 9, 9, 9, 9)]
    with torch.no_grad():
        for ids, found in zip(sequences, learner.sequence_logprobs(sequences), strict=True):
            expected = plain_logprobs(model, ids[:1], ids[1:], (1.0,) * (len(ids) - 1))
            assert found == pytest.approx(expected.tolist(), abs=LOGPROB)


def test_a_gradient_that_is_not_finite_stops_the_run_before_the_weights_move(settings):
    learner = make(settings)
    batch = learner.add_old_logprobs([minibatch()])[0]
    broken = dataclasses.replace(batch.samples[0], advantage=float("nan"))
    before = published(learner)
    with pytest.raises(RuntimeError, match="the gradient is not finite"):
        learner.update(dataclasses.replace(batch, samples=(broken, *batch.samples[1:])), (), lr=1e-3)
    assert published(learner) == before


# -- state ------------------------------------------------------------------------------------------------------------


def test_two_updates_after_loading_equal_two_updates_without_bit_for_bit(settings, tmp_path):
    learner = make(settings)
    first, second = learner.add_old_logprobs([minibatch(0), minibatch(1)])
    learner.update(first, PTX, lr=1e-2)
    learner.save(tmp_path)
    restored = make(settings)
    restored.load(tmp_path)
    assert published(restored) == published(learner)
    for _ in range(2):
        a, b = learner.update(second, PTX, lr=1e-2), restored.update(second, PTX, lr=1e-2)
        assert dataclasses.replace(a, seconds=0.0) == dataclasses.replace(b, seconds=0.0)
        for name, master in learner.masters.parameters.items():
            assert torch.equal(master, restored.masters.parameters[name]), name
    left, right = (one.optimizer.state_dict()["adamw"]["state"] for one in (learner, restored))
    assert left.keys() == right.keys() and left
    for key, moments in left.items():
        assert all(torch.equal(value, right[key][name]) for name, value in moments.items())


def test_loading_without_the_optimiser_would_be_noticed(settings, tmp_path):
    """Control of the test above: forgotten moments change the next update."""
    learner = make(settings)
    first, second = learner.add_old_logprobs([minibatch(0), minibatch(1)])
    learner.update(first, PTX, lr=1e-2)
    learner.save(tmp_path)
    restored = make(settings)
    restored.load(tmp_path)
    restored.forget_optimizer()
    learner.update(second, PTX, lr=1e-2)
    restored.update(second, PTX, lr=1e-2)
    assert published(restored) != published(learner)


def test_a_state_of_another_model_is_refused(settings, tmp_path):
    file = tmp_path / "learner.pt"
    torch.save({"masters": {"a": torch.zeros(1)}, "optimizer": {}}, file)
    with pytest.raises(ValueError, match=r"learner\.pt belongs to another model"):
        make(settings).load(tmp_path)


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


def test_a_policy_is_pulled_towards_the_one_that_rl_began_with(settings):
    learner, free = make(settings, reference_coef=5.0, ptx_coef=0.0), make(settings, ptx_coef=0.0)
    (batch,) = learner.add_old_logprobs([minibatch()])
    found = [learner.update(batch, (), lr=1e-2) for _ in range(4)]
    assert learner.update(Minibatch(index=0, samples=(), num_samples=0, num_tokens=0), (), lr=1e-3).reference_kl is None
    assert found[0].reference_kl == 0.0 and found[0].grad_norm == free.update(batch, (), lr=1e-2).grad_norm
    for _ in range(3):
        free.update(batch, (), lr=1e-2)
    assert found[1].reference_kl is not None and found[1].reference_kl > 0.0

    def moved(one):
        sequences = [(*s.prompt_ids, *s.token_ids) for s in batch.samples]
        first, now = make(settings).sequence_logprobs(sequences), one.sequence_logprobs(sequences)
        return sum(abs(a - b) for x, y in zip(first, now, strict=True) for a, b in zip(x, y, strict=True))

    assert moved(learner) < moved(free)


def test_the_reference_and_the_average_begin_after_the_warm_up_and_come_back_from_a_checkpoint(settings, tmp_path):
    given = {"reference_coef": 0.1, "ema_decay": 0.5, "ptx_coef": 0.0}
    learner, restored = make(settings, **given), make(settings, **given)
    learner.warm_up([PTX], lrs=[1e-2])
    learner.forget_optimizer()
    (batch,) = learner.add_old_logprobs([minibatch()])
    begun = {name: master.clone() for name, master in learner.masters.parameters.items()}
    assert learner.update(batch, (), lr=1e-2).reference_kl == 0.0
    for name, master in learner.masters.parameters.items():
        torch.testing.assert_close(learner.kept.average.weights[name], (begun[name] + master) / 2)
    learner.save(tmp_path)
    restored.load(tmp_path)
    found, again = (dataclasses.replace(one.update(batch, (), lr=1e-2), seconds=0.0) for one in (learner, restored))
    assert found == again
    assert all(torch.equal(restored.kept.average.weights[n], w) for n, w in learner.kept.average.weights.items())


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


def test_a_reset_optimiser_starts_anew_at_each_step_and_goes_on_within_one(settings):
    learner, plain = (make(settings, reset_optimizer=on, ptx_coef=0.0) for on in (True, False))
    (first,) = learner.add_old_logprobs([minibatch()])
    later = dataclasses.replace(first, index=1)
    for one in (learner, plain):
        one.update(first, (), lr=1e-3)
        one.update(later, (), lr=1e-3)
    assert equal_masters(learner, plain)
    learner.update(first, (), lr=1e-3)
    plain.forget_optimizer()
    plain.update(first, (), lr=1e-3)
    assert equal_masters(learner, plain)


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


def equal_masters(one, other) -> bool:
    return all(torch.equal(master, other.masters.parameters[name]) for name, master in one.masters.parameters.items())
