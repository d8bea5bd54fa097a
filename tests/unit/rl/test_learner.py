"""The learner's updates on a tiny model, against the plain algorithm of tests/unit/rl/plain_learner.py."""

from __future__ import annotations

import dataclasses
import math
import shutil

import pytest
import torch

from rl.batch import Minibatch
from rl.curated import PtxBatch
from rl.mismatch import Mismatch
from tests.rounding import rounding
from tests.unit.rl.plain_learner import (
    LOGPROB,
    LOSS,
    PTX,
    ROUNDINGS,
    make,
    minibatch,
    norm_of,
    plain_copy,
    plain_logprobs,
    plain_update,
    published,
    sample,
)


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
