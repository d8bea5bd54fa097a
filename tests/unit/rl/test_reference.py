"""The divergence from a reference: values by hand, gradients against exact divergences, and the copy of the weights."""

from __future__ import annotations

import math

import pytest
import torch

from rl.average import Average
from rl.reference import MAX_LOG_RATIO, Reference, reference_kl

P, Q = torch.tensor([0.5, 0.3, 0.2]).double(), torch.tensor([0.2, 0.2, 0.6]).double()  # policy, reference


def test_values_are_those_of_the_formulas_over_the_tokens_that_count():
    now = torch.tensor([[-1.0, -2.0, -9.0], [-0.5, -9.0, -9.0]])
    reference = torch.tensor([[-1.5, -1.0, -3.0], [-0.5, -1.0, 0.0]])
    mask = torch.tensor([[1, 1, 0], [1, 0, 0]])
    logs = [-0.5, 1.0, 0.0]  # l of the three tokens
    expected = {
        "k1": sum(-x for x in logs) / 5,
        "k2": sum(x * x / 2 for x in logs) / 5,
        "k3": sum(math.exp(x) - 1 - x for x in logs) / 5,
    }
    for estimator, value in expected.items():
        found = reference_kl(now, reference, mask, estimator=estimator, num_tokens=5)
        assert found.value.item() == pytest.approx(value, abs=1e-6)


def slope_of(estimator: str) -> torch.Tensor:
    """Mean gradient of the loss with respect to the logits, over tokens drawn from the policy, exactly."""
    logits = P.log().clone().requires_grad_()
    total = torch.zeros(3).double()
    for token, probability in enumerate(P):
        logprob = torch.log_softmax(logits, 0)[token].view(1, 1)
        loss = reference_kl(
            logprob, Q.log()[token].view(1, 1), torch.ones(1, 1), estimator=estimator, num_tokens=1
        ).loss  # fmt: skip
        total += probability * torch.autograd.grad(loss, logits)[0]
    return total


def exact(divergence) -> torch.Tensor:
    logits = P.log().clone().requires_grad_()
    return torch.autograd.grad(divergence(torch.softmax(logits, 0)), logits)[0]


def test_gradients_are_on_average_those_of_the_divergences():
    towards_policy = exact(lambda p: (p * (p.log() - Q.log())).sum())
    towards_reference = exact(lambda p: (Q * (Q.log() - p.log())).sum())
    for estimator, expected in (("k1", towards_policy), ("k2", towards_policy), ("k3", towards_reference)):
        torch.testing.assert_close(slope_of(estimator), expected)


def test_estimates_are_on_average_the_divergence():
    truth = float((P * (P.log() - Q.log())).sum())
    for estimator in ("k1", "k3"):
        values = [
            reference_kl(p.log().view(1, 1), q.log().view(1, 1), torch.ones(1, 1), estimator=estimator, num_tokens=1)
            for p, q in zip(P, Q, strict=True)
        ]
        assert sum(float(p * v.value) for p, v in zip(P, values, strict=True)) == pytest.approx(truth)


def test_a_token_that_the_policy_gave_up_does_not_end_as_infinity():
    now = torch.tensor([[-500.0]], requires_grad=True)
    found = reference_kl(now, torch.tensor([[0.0]]), torch.ones(1, 1), estimator="k3", num_tokens=1)
    found.loss.backward()
    assert found.value.item() == pytest.approx(math.exp(MAX_LOG_RATIO) - 1 - MAX_LOG_RATIO, rel=1e-5)
    assert torch.isfinite(now.grad).all()


def test_a_reference_computes_with_the_weights_of_then_and_gives_back_those_of_now():
    model = torch.nn.Linear(3, 2)
    inputs = torch.randn(4, 3)
    then = model(inputs).detach()
    reference = Reference(model)
    with torch.no_grad():
        model.weight.add_(1.0)
    now = model(inputs)
    address = model.weight.data_ptr()
    with reference.in_place():
        assert torch.equal(model(inputs), then) and not model(inputs).requires_grad
    assert torch.equal(model(inputs), now) and model.weight.data_ptr() == address
    other = Reference(model)
    other.load(reference.weights)
    with other.in_place():
        assert torch.equal(model(inputs), then)


def test_an_average_is_what_its_formula_says_and_changes_places_without_a_trace():
    masters = {"w": torch.tensor([1.0, 2.0])}
    average = Average(masters, 0.75)
    for step in (1, 2):
        masters["w"].add_(4.0)
        average.update()
        expected = {1: [2.0, 3.0], 2: [0.75 * 2 + 0.25 * 9, 0.75 * 3 + 0.25 * 10]}[step]
        assert average.weights["w"].tolist() == expected
    with average.in_place():
        assert masters["w"].tolist() == expected
    assert masters["w"].tolist() == [9.0, 10.0] and average.weights["w"].tolist() == expected
    assert average.num_updates == 2
