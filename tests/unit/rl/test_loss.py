"""The losses against arithmetic done by hand, finite differences in float64, and each other."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from rl.loss import OBJECTIVES, LossInputs, PolicyLoss, negative_log_likelihood
from tests.rounding import rounding

STEP = 1e-6
SLOPE = rounding(12 + 4, size=20.0) / (2 * STEP) + STEP**2 * 20.0
"""Of a central difference of losses up to 20, sums of 12 terms: their rounding over the step, and the cubic term."""
SUM = rounding(12 + 4, size=20.0)
"""Of a loss or a gradient itself."""
CLIP = {"clip_low": -math.log(2), "clip_high": math.log(2)}


def policy_loss(name: str, logprobs, old, advantages, mask, **changes) -> PolicyLoss:
    facts = {"num_samples": len(mask), "num_tokens": int(mask.sum()), "tau": 0.0, **CLIP} | changes
    inputs = LossInputs(logprobs_NT=logprobs, old_logprobs_NT=old, advantages_N=advantages, loss_mask_NT=mask, **facts)
    return OBJECTIVES[name].loss(inputs)


def k2_seq(*tensors, **changes) -> PolicyLoss:
    return policy_loss("k2_seq", *tensors, **changes)


def k25_token(*tensors, **changes) -> PolicyLoss:
    return policy_loss("k25_token", *tensors, **changes)


def matrix(*rows: list[float]) -> Tensor:
    return torch.tensor(rows, dtype=torch.float64)


def finite_difference(objective, at: Tensor, step: float = STEP) -> Tensor:
    """Central differences, one coordinate after the other."""
    found = torch.zeros_like(at)
    for place in range(at.numel()):
        shift = torch.zeros_like(at)
        shift.view(-1)[place] = step
        found.view(-1)[place] = (objective(at + shift) - objective(at - shift)) / (2 * step)
    return found


def random_case(seed: int, num: int = 4, length: int = 3) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """logprobs, old logprobs, centred advantages, mask with padding and a hole."""
    generator = torch.Generator().manual_seed(seed)
    old = -torch.rand((num, length), dtype=torch.float64, generator=generator) * 3
    now = old + torch.randn((num, length), dtype=torch.float64, generator=generator) * 0.3
    rewards = torch.rand(num, dtype=torch.float64, generator=generator)
    mask = torch.ones((num, length), dtype=torch.float64)
    mask[0, 2] = 0  # padding
    mask[1, 1] = 0  # an observation
    return now, old, rewards - rewards.mean(), mask


def test_k2_seq_equals_the_sum_worked_out_by_hand():
    # rho = (0.1 - 0.2, 0.3): pull = A - 0.5 rho = (1 + 0.05, -1 - 0.15); log pi(y) = (-1.9 - 1.2, -0.7).
    now = matrix([-1.9, -1.2], [-0.7, 99.0])
    old = matrix([-2.0, -1.0], [-1.0, 55.0])
    mask = matrix([1, 1], [1, 0])
    result = k2_seq(now, old, torch.tensor([1.0, -1.0], dtype=torch.float64), mask, tau=0.5, num_samples=2)
    assert result.loss.item() == pytest.approx(-(1.05 * -3.1 + -1.15 * -0.7) / 2)
    assert result.log_ratio_sum.item() == pytest.approx(-0.1 + 0.3)
    assert result.log_ratio_square_sum.item() == pytest.approx(0.01 + 0.09)
    assert result.clipped_sum.item() == 0


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("tau", [0.05, 1.0])
def test_k2_seq_has_the_gradient_of_the_squared_objective_divided_by_two_tau(seed, tau):
    now, old, advantages, mask = random_case(seed)

    def objective(logprobs: Tensor) -> Tensor:
        rho = ((logprobs - old) * mask).sum(dim=1)
        return (advantages - tau * rho).square().mean() / (2 * tau)

    leaf = now.clone().requires_grad_()
    k2_seq(leaf, old, advantages, mask, tau=tau, num_samples=len(now)).loss.backward()
    torch.testing.assert_close(leaf.grad, finite_difference(objective, now), rtol=0, atol=SLOPE)


def test_k2_seq_at_the_old_policy_is_reinforce_with_the_mean_baseline():
    _, old, _, mask = random_case(1)
    rewards = torch.tensor([1.0, 0.0, 0.25, 1.0], dtype=torch.float64)
    leaf = old.clone().requires_grad_()
    k2_seq(leaf, old, rewards - rewards.mean(), mask, tau=0.7, num_samples=4).loss.backward()
    reinforce = old.clone().requires_grad_()
    (-(rewards - rewards.mean()) * (reinforce * mask).sum(dim=1)).mean().backward()
    torch.testing.assert_close(leaf.grad, reinforce.grad, rtol=0, atol=SUM)
    # by hand: d/dlogprob = -(r - mean) / 4 on sampled tokens
    assert leaf.grad[1].tolist() == pytest.approx([0.5625 / 4, 0.0, 0.5625 / 4])


def test_k2_seq_does_not_normalise_by_length():
    old = torch.zeros((1, 4), dtype=torch.float64)
    for length in (1, 4):
        leaf = old.clone().requires_grad_()
        mask = matrix([1.0] * length + [0.0] * (4 - length))
        k2_seq(leaf, old, torch.ones(1, dtype=torch.float64), mask, tau=1.0, num_samples=1).loss.backward()
        assert leaf.grad.tolist() == [[-1.0] * length + [0.0] * (4 - length)]


def test_k2_seq_weighs_the_gradient_of_each_token_but_not_the_log_ratio():
    now, old, advantages, mask = random_case(3)
    weights = torch.linspace(0.5, 2.0, now.numel(), dtype=torch.float64).view_as(now)
    leaf = now.clone().requires_grad_()
    k2_seq(leaf, old, advantages, mask, tau=0.3, num_samples=4, weights_NT=weights).loss.backward()
    rho = ((now - old) * mask).sum(dim=1)
    torch.testing.assert_close(leaf.grad, -(advantages - 0.3 * rho)[:, None] * weights * mask / 4, rtol=0, atol=SUM)


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("tau", [0.0, 0.3])
def test_k25_token_has_the_gradient_of_its_formula_inside_the_bounds(seed, tau):
    now, old, advantages, mask = random_case(seed)
    now = old + (now - old).clamp(-0.6, 0.6)

    def objective(logprobs: Tensor) -> Tensor:
        log_ratio = logprobs - old
        each = tau * log_ratio**2 - torch.exp(log_ratio) * advantages[:, None]
        return (each * mask).sum() / 7

    leaf = now.clone().requires_grad_()
    result = k25_token(leaf, old, advantages, mask, tau=tau, num_tokens=7)
    result.loss.backward()
    assert result.loss.item() == pytest.approx(objective(now).item(), abs=SUM)
    torch.testing.assert_close(leaf.grad, finite_difference(objective, now), rtol=0, atol=SLOPE)
    assert result.clipped_sum.item() == 0


def test_k25_token_equals_the_sum_worked_out_by_hand():
    # log-ratios 0.5 (in), 1.0 (out), padding; and -0.2 (in), -2.0 (out). 4 tokens, tau = 0.1.
    now, old = matrix([-0.5, 0.0, 7.0], [-1.2, -3.0, 0.0]), matrix([-1.0, -1.0, 3.0], [-1.0, -1.0, 0.0])
    mask = matrix([1, 1, 0], [1, 1, 0])
    advantages = torch.tensor([0.5, -0.25], dtype=torch.float64)
    result = k25_token(now, old, advantages, mask, tau=0.1, num_tokens=4)
    gain = 0.5 * math.exp(0.5) - 0.25 * math.exp(-0.2)
    pull = 0.1 * (0.25 + 1.0 + 0.04 + 4.0)
    assert result.loss.item() == pytest.approx((pull - gain) / 4)
    assert result.log_ratio_sum.item() == pytest.approx(0.5 + 1.0 - 0.2 - 2.0)
    assert result.log_ratio_square_sum.item() == pytest.approx(5.29)
    assert result.clipped_sum.item() == 2


def test_k25_token_with_its_squared_term_over_kept_tokens_leaves_tokens_out_of_bounds_where_they_are():
    # the tokens of the test above: 0.5 and -0.2 are within the bounds, 1.0 and -2.0 are not
    now, mask = matrix([0.5, 1.0, 7.0], [-0.2, -2.0, 0.0]), matrix([1, 1, 0], [1, 1, 0])
    old = torch.zeros_like(now)
    leaf, advantages = now.clone().requires_grad_(), torch.tensor([0.5, -0.25], dtype=torch.float64)
    result = k25_token(leaf, old, advantages, mask, tau=0.1, num_tokens=4, squared_over="kept")
    result.loss.backward()
    assert result.loss.item() == pytest.approx((0.1 * (0.25 + 0.04) - 0.5 * math.exp(0.5) + 0.25 * math.exp(-0.2)) / 4)
    assert result.clipped_sum.item() == 2
    kept = [(0.1 * 2 * 0.5 - 0.5 * math.exp(0.5)) / 4, (0.1 * 2 * -0.2 + 0.25 * math.exp(-0.2)) / 4]
    assert leaf.grad.flatten().tolist() == pytest.approx([kept[0], 0.0, 0.0, kept[1], 0.0, 0.0])


@pytest.mark.parametrize("advantage", [1.0, -1.0])
@pytest.mark.parametrize("log_ratio", [0.7, -0.7])
def test_k25_token_gives_a_token_out_of_bounds_no_policy_gradient_whatever_the_sign_of_the_advantage(
    advantage, log_ratio
):
    old, mask = matrix([-1.0, -1.0]), matrix([1, 1])
    leaf = matrix([-1.0 + log_ratio, -1.0]).requires_grad_()
    advantages = torch.tensor([advantage], dtype=torch.float64)
    k25_token(leaf, old, advantages, mask, tau=0.0, num_tokens=1).loss.backward()
    assert leaf.grad.tolist() == [[0.0, -advantage]]
    pulled = matrix([-1.0 + log_ratio, -1.0]).requires_grad_()
    k25_token(pulled, old, advantages, mask, tau=0.25, num_tokens=1).loss.backward()
    assert pulled.grad[0, 0].item() == pytest.approx(2 * 0.25 * log_ratio)  # the squared term still pulls it back


def test_k25_token_at_the_old_policy_is_reinforce_per_token():
    old, mask = matrix([-1.0, -2.0], [-0.5, 0.0]), matrix([1, 1], [1, 0])
    leaf = old.clone().requires_grad_()
    k25_token(
        leaf, old, torch.tensor([0.5, -0.5], dtype=torch.float64), mask, tau=0.1, num_tokens=3, **CLIP
    ).loss.backward()
    torch.testing.assert_close(leaf.grad, matrix([-0.5 / 3, -0.5 / 3], [0.5 / 3, 0.0]), rtol=0, atol=SUM)


# -- the losses of others ---------------------------------------------------------------------------------------------

PPO = {"clip_low": math.log(0.8), "clip_high": math.log(1.2)}


@pytest.mark.parametrize(
    ("aggregation", "expected"),
    [
        # tokens: 1.1 * 1, min(1.5, 1.2) * 1; and 0.9 * -2, max(0.5, 0.8) * -2, 2.0 * -2 (not bounded above: A < 0)
        (None, -((1.1 + 1.2) / 2 + (-1.8 - 1.6 - 4.0) / 3) / 2),
        ("sample", -((1.1 + 1.2) / 2 + (-1.8 - 1.6 - 4.0) / 3) / 2),
        ("token", -(1.1 + 1.2 - 1.8 - 1.6 - 4.0) / 5),
        ("sum", -(1.1 + 1.2 - 1.8 - 1.6 - 4.0) / 2),
    ],
)
def test_grpo_equals_the_sum_worked_out_by_hand_under_every_aggregation(aggregation, expected):
    ratios = matrix([1.1, 1.5, 1.0], [0.9, 0.5, 2.0])
    old, mask = matrix([-1.0, -2.0, 9.0], [-3.0, -1.0, -2.0]), matrix([1, 1, 0], [1, 1, 1])
    leaf = (old + ratios.log()).requires_grad_()
    advantages = torch.tensor([1.0, -2.0], dtype=torch.float64)
    result = policy_loss("grpo", leaf, old, advantages, mask, aggregation=aggregation, **PPO)
    assert result.loss.item() == pytest.approx(expected)
    assert result.clipped_sum.item() == 2
    result.loss.backward()
    assert (leaf.grad == 0).tolist() == [[False, True, True], [False, True, False]]


def ppo(logprobs: Tensor, old: Tensor, advantages: Tensor, mask: Tensor) -> Tensor:
    """GRPO as its paper prints it: the smaller of two products, the mean of the means."""
    ratio = (logprobs - old).exp()
    gain = torch.minimum(ratio * advantages[:, None], ratio.clamp(0.8, 1.2) * advantages[:, None])
    return -((gain * mask).sum(dim=1) / mask.sum(dim=1)).mean()


def sequence_ppo(logprobs: Tensor, old: Tensor, advantages: Tensor, mask: Tensor) -> Tensor:
    """GSPO as its paper prints it, equation 5."""
    ratio = (((logprobs - old) * mask).sum(dim=1) / mask.sum(dim=1)).exp()
    return -torch.minimum(ratio * advantages, ratio.clamp(0.8, 1.2) * advantages).mean()


@pytest.mark.parametrize("seed", range(8))
@pytest.mark.parametrize(("name", "printed"), [("grpo", ppo), ("gspo", sequence_ppo)])
def test_clipped_losses_have_the_value_and_the_slope_of_their_printed_form(seed, name, printed):
    now, old, advantages, mask = random_case(seed)
    leaf = now.clone().requires_grad_()
    result = policy_loss(name, leaf, old, advantages, mask, **PPO)
    result.loss.backward()
    assert result.loss.item() == pytest.approx(printed(now, old, advantages, mask).item(), abs=SUM)
    slope = finite_difference(lambda at: printed(at, old, advantages, mask), now)
    torch.testing.assert_close(leaf.grad, slope, rtol=0, atol=SLOPE)


def test_gspo_reports_the_mean_log_ratio_of_a_response_and_counts_all_of_its_tokens_as_clipped():
    old, mask = matrix([-1.0, -1.0, -1.0]), matrix([1, 1, 0])
    result = policy_loss("gspo", old + matrix([0.5, 0.1, 7.0]), old, torch.ones(1, dtype=torch.float64), mask, **PPO)
    assert result.log_ratio_sum.item() == pytest.approx(0.3)
    assert result.clipped_sum.item() == 2
    assert result.loss.item() == pytest.approx(-1.2)


def test_cispo_bounds_the_weight_of_a_token_and_keeps_its_gradient():
    ratios, old = matrix([1.1, 3.0], [0.1, 1.0]), matrix([-1.0, -2.0], [-1.0, -1.0])
    leaf = (old + ratios.log()).requires_grad_()
    advantages = torch.tensor([1.0, -1.0], dtype=torch.float64)
    result = policy_loss("cispo", leaf, old, advantages, matrix([1, 1], [1, 0]), **PPO)
    result.loss.backward()
    torch.testing.assert_close(leaf.grad, matrix([-1.1 / 3, -1.2 / 3], [0.8 / 3, 0.0]), rtol=0, atol=SUM)
    assert result.clipped_sum.item() == 2


def test_reinforce_is_the_advantage_times_the_log_probability_of_the_response():
    now, mask = matrix([-1.0, -2.0], [-0.5, 5.0]), matrix([1, 1], [1, 0])
    advantages = torch.tensor([2.0, -1.0], dtype=torch.float64)
    assert policy_loss("reinforce", now, now, advantages, mask).loss.item() == pytest.approx(-(2 * -3.0 + 0.5) / 2)
    by_token = policy_loss("reinforce", now, now, advantages, mask, aggregation="token")
    assert by_token.loss.item() == pytest.approx(-(2 * -3.0 + 0.5) / 3)


def test_at_the_old_policy_every_loss_has_the_direction_of_reinforce():
    _, old, advantages, _ = random_case(2)
    mask = torch.ones_like(old)  # of equal lengths: the aggregations differ by a factor then
    for name in OBJECTIVES:
        leaf = old.clone().requires_grad_()
        policy_loss(name, leaf, old, advantages, mask, tau=0.1).loss.backward()
        direction = leaf.grad / leaf.grad.norm()
        expected = -advantages[:, None].expand_as(old) / advantages[:, None].expand_as(old).norm()
        torch.testing.assert_close(direction, expected, rtol=0, atol=SUM)


@pytest.mark.parametrize("name", OBJECTIVES)
def test_importance_weights_multiply_the_gain_of_a_token(name):
    _, old, advantages, mask = random_case(4)
    weights = torch.linspace(0.5, 2.0, old.numel(), dtype=torch.float64).view_as(old)
    plain, weighted = old.clone().requires_grad_(), old.clone().requires_grad_()
    policy_loss(name, plain, old, advantages, mask, tau=0.1).loss.backward()
    policy_loss(name, weighted, old, advantages, mask, tau=0.1, weights_NT=weights).loss.backward()
    torch.testing.assert_close(weighted.grad, plain.grad * weights, rtol=0, atol=2 * SUM)


@pytest.mark.parametrize("loss", OBJECTIVES)
@given(cut=st.integers(1, 5), seed=st.integers(0, 1000))
@settings(max_examples=25, deadline=None)
def test_losses_of_micro_batches_add_up_to_the_loss_of_the_minibatch(loss, cut, seed):
    now, old, advantages, mask = random_case(seed, num=6)

    def of(part: slice) -> PolicyLoss:
        arguments = (now[part], old[part], advantages[part], mask[part])
        return policy_loss(loss, *arguments, tau=0.2, num_samples=6, num_tokens=int(mask.sum()))

    whole, first, second = of(slice(None)), of(slice(cut)), of(slice(cut, None))
    for total, a, b in zip(whole, first, second, strict=True):
        assert total.item() == pytest.approx(a.item() + b.item(), abs=2 * SUM)  # 18 terms


def test_negative_log_likelihood_is_the_mean_surprise_of_the_counted_tokens():
    logprobs, mask = matrix([-1.0, -2.0, -4.0], [-0.5, 3.0, 3.0]), matrix([1, 0, 1], [1, 0, 0])
    assert negative_log_likelihood(logprobs, mask, num_tokens=3).item() == pytest.approx(5.5 / 3)
    parts = [negative_log_likelihood(logprobs[i : i + 1], mask[i : i + 1], num_tokens=3) for i in range(2)]
    assert sum(parts).item() == pytest.approx(5.5 / 3)


def test_a_response_in_parts_weighs_as_one_that_is_whole():
    whole, old, mask = torch.linspace(-2.0, -0.5, 5)[None], torch.full((1, 5), -1.0), torch.ones(1, 5)
    facts = {"num_samples": 1, "num_tokens": 5, "tau": 0.1, "clip_low": -0.1, "clip_high": 0.1, "aggregation": "sample"}

    def loss(cuts: list[slice]) -> float:
        parts = [
            LossInputs(
                logprobs_NT=whole[:, cut], old_logprobs_NT=old[:, cut], advantages_N=torch.tensor([0.5]),
                loss_mask_NT=mask[:, cut], lengths_N=torch.tensor([5.0]), **facts,
            )
            for cut in cuts
        ]  # fmt: skip
        return sum(OBJECTIVES["grpo"].loss(part).loss.item() for part in parts)

    assert loss([slice(0, 2), slice(2, 5)]) == pytest.approx(loss([slice(0, 5)]), rel=1e-6)
