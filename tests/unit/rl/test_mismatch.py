"""Weights for the mismatch of learner and engine, and its size, against numbers worked out by hand."""

from __future__ import annotations

import math
from typing import get_args

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from rl.mismatch import Correction, Mismatch, effective_frac, logprob_gap, mismatch_weights

MASK = [[1.0, 1.0, 1.0], [1.0, 0.0, 1.0]]
"""The second response has an observation in its middle."""
OLD_RATIOS = [[0.25, 1.5, 4.0], [0.5, 99.0, 2.0]]
"""pi_old / pi_engine; whole responses: 1.5 and 1."""
NOW_RATIOS = [[0.75, 3.0, 4.0], [0.4, 99.0, 1.0]]
"""pi_theta / pi_engine."""


def weights(correction: Correction | None, *, old=OLD_RATIOS, now=NOW_RATIOS, mask=MASK, low=0.5, high=2.0) -> list:
    engine = torch.full((len(mask), len(mask[0])), -2.0, dtype=torch.float64)
    found = mismatch_weights(
        Mismatch(correction=correction, low=low, high=high),
        logprobs_NT=(engine + torch.tensor(now, dtype=torch.float64).log()).requires_grad_(),
        old_logprobs_NT=engine + torch.tensor(old, dtype=torch.float64).log(),
        engine_logprobs_NT=engine,
        loss_mask_NT=torch.tensor(mask),
    )
    assert not found.requires_grad
    return found.tolist()


@pytest.mark.parametrize(
    ("correction", "expected"),
    [
        (None, [[1, 1, 1], [1, 1, 1]]),
        ("token_cap", [[0.25, 1.5, 2], [0.5, 1, 2]]),
        ("sequence_cap", [[1.5, 1.5, 1.5], [1, 1, 1]]),
        ("sequence_band", [[1.5, 1.5, 1.5], [1, 1, 1]]),
        ("policy_band", [[1, 0, 0], [0, 1, 1]]),
    ],
)
def test_each_correction_gives_the_weights_of_its_formula(correction, expected):
    for found, wanted in zip(weights(correction), expected, strict=True):
        assert found == pytest.approx(wanted)


def test_a_token_outside_of_the_band_weighs_nothing_and_one_inside_as_much_as_without_a_cap():
    """IcePop with its own bounds; the edges (which logarithms blur) are left to the test below."""
    found = weights("token_band", old=[[0.49, 0.51, 4.9], [5.1, 99.0, 1.0]], high=5.0)
    assert found[0] == pytest.approx([0, 0.51, 4.9]) and found[1] == pytest.approx([0, 1, 1])


def test_a_whole_response_outside_of_the_band_is_dropped_and_a_capped_one_is_kept():
    old = [[2.0, 2.0, 1.0], [0.5, 99.0, 0.5]]
    assert weights("sequence_band", old=old)[0] == [0, 0, 0] and weights("sequence_band", old=old)[1] == [0, 1, 0]
    capped = weights("sequence_cap", old=old)
    assert capped[0] == pytest.approx([2, 2, 2]) and capped[1] == pytest.approx([0.25, 1, 0.25])


@pytest.mark.parametrize("correction", get_args(Correction))
def test_where_the_programs_agree_to_the_last_bit_no_correction_changes_anything(correction):
    ones = [[1.0] * 3] * 2
    assert weights(correction, old=ones, now=ones) == ones


@pytest.mark.parametrize("correction", get_args(Correction))
def test_a_ratio_too_large_for_a_number_gives_no_infinite_weight(correction):
    logs = torch.tensor([[1000.0, 1000.0], [-2.0, 5000.0]])
    found = mismatch_weights(
        Mismatch(correction=correction), logprobs_NT=logs, old_logprobs_NT=logs, engine_logprobs_NT=torch.zeros(2, 2),
        loss_mask_NT=torch.tensor([[1.0, 1.0], [1.0, 0.0]]),
    )  # fmt: skip
    assert found.isfinite().all() and found[1, 1] == 1


@given(st.floats(-5, 5), st.floats(-5, 5), st.floats(1, 10))
def test_a_capped_weight_is_the_ratio_of_learner_to_engine_below_its_cap(old, engine, cap):
    found = weights("token_cap", old=[[math.exp(old - engine)]], now=[[1.0]], mask=[[1.0]], high=cap)
    assert found == [[pytest.approx(min(math.exp(old - engine), cap))]]


def test_the_effective_sample_size_is_one_for_equal_weights_and_one_nth_where_one_token_has_all():
    assert effective_frac(8.0, 16.0, 4) == 1.0  # weights 2, 2, 2, 2
    assert effective_frac(3.0, 9.0, 4) == 0.25  # 3, 0, 0, 0
    assert effective_frac(3.0, 5.0, 2) == 0.9  # 1, 2
    assert effective_frac(0.0, 0.0, 4) == 0.0 and effective_frac(0.0, 0.0, 0) is None


def test_the_gap_is_described_by_its_mean_its_spread_and_its_tail():
    engine = [-1.0, -2.0, -3.0, -1.5]
    found = logprob_gap([-0.9, -2.2, -3.0, -1.9], engine)  # gaps .1 .2 0 .4
    assert found is not None and found.num == 4
    assert found.mean == pytest.approx(0.175) and found.max == pytest.approx(0.4)
    assert found.median == pytest.approx(0.15)
    # variance with n - 1 below: (.075^2 + .025^2 + .175^2 + .225^2) / 3
    assert found.stderr == pytest.approx(math.sqrt(0.0875 / 3 / 4))
    # places 2.7, 2.97 and 2.997 of the sorted gaps, between .2 at 2 and .4 at 3
    assert (found.p90, found.p99, found.p999) == pytest.approx((0.34, 0.394, 0.3994))
    by_hand = [math.exp(d) - 1 - d for d in (0.1, -0.2, 0.0, -0.4)]
    assert found.kl_k3 == pytest.approx(sum(by_hand) / 4)


def test_the_estimator_k3_is_the_divergence_on_average_and_has_no_negative_sample():
    """By its expectation over all tokens of a small vocabulary, which is the divergence itself."""
    engine, learner = np.array([0.7, 0.2, 0.1]), np.array([0.5, 0.25, 0.25])
    each = [logprob_gap([b], [a]).kl_k3 for a, b in zip(np.log(engine), np.log(learner), strict=True)]
    assert min(each) >= 0
    assert np.dot(engine, each) == pytest.approx(np.dot(engine, np.log(engine / learner)))


def test_without_tokens_there_is_no_gap_and_a_single_one_has_no_standard_error():
    assert logprob_gap([], []) is None
    assert logprob_gap([-1.0], [-1.5]).stderr == 0.0
