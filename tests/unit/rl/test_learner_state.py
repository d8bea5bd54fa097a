"""What a learner keeps between updates: on disk, and where it begins anew."""

from __future__ import annotations

import dataclasses

import pytest
import torch

from rl.batch import Minibatch
from tests.unit.rl.plain_learner import (
    PTX,
    equal_masters,
    make,
    minibatch,
    published,
)


def saved_and_loaded(settings, tmp_path):
    """A learner after an update, another that loaded what it saved, and the next minibatch."""
    learner = make(settings)
    first, second = learner.add_old_logprobs([minibatch(0), minibatch(1)])
    learner.update(first, PTX, lr=1e-2)
    learner.save(tmp_path)
    restored = make(settings)
    restored.load(tmp_path)
    return learner, restored, second


def test_two_updates_after_loading_equal_two_updates_without_bit_for_bit(settings, tmp_path):
    learner, restored, second = saved_and_loaded(settings, tmp_path)
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
    learner, restored, second = saved_and_loaded(settings, tmp_path)
    restored.forget_optimizer()
    learner.update(second, PTX, lr=1e-2)
    restored.update(second, PTX, lr=1e-2)
    assert published(restored) != published(learner)


def test_a_state_of_another_model_is_refused(settings, tmp_path):
    file = tmp_path / "learner.pt"
    torch.save({"masters": {"a": torch.zeros(1)}, "optimizer": {}}, file)
    with pytest.raises(ValueError, match=r"learner\.pt belongs to another model"):
        make(settings).load(tmp_path)


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
    averaged = {name: weights.clone() for name, weights in learner.kept.average.weights.items()}
    learner.update(Minibatch(index=0, samples=(), num_samples=0, num_tokens=0), (), lr=1e-2)  # no optimiser step
    assert all(torch.equal(learner.kept.average.weights[name], weights) for name, weights in averaged.items())
    learner.save(tmp_path)
    restored.load(tmp_path)
    found, again = (dataclasses.replace(one.update(batch, (), lr=1e-2), seconds=0.0) for one in (learner, restored))
    assert found == again
    assert all(torch.equal(restored.kept.average.weights[n], w) for n, w in learner.kept.average.weights.items())


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
