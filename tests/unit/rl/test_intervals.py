"""Confidence intervals against published values, exact distributions, and how often they hold the truth."""

from __future__ import annotations

import math

import numpy as np
import pytest

from rl.intervals import bootstrap, interval, wilson


@pytest.mark.parametrize(
    ("num_right", "num", "low", "high"),
    [  # by hand: the roots p of (x - n p)^2 = z^2 n p (1 - p), z = 1.959964
        (0, 10, 0.0, 0.27753),
        (10, 10, 0.72247, 1.0),
        (5, 10, 0.23659, 0.76341),
        (81, 263, 0.25527, 0.36622),  # Newcombe (1998), table I: .2553, .3662
        (15, 148, 0.06239, 0.16052),  # the same: .0624, .1605
        (1, 29, 0.00611, 0.17176),  # the same: .0061, .1718
    ],
)
def test_wilsons_interval_has_the_published_ends(num_right, num, low, high):
    assert wilson(num_right / num, num) == pytest.approx((low, high), abs=5e-5)


def test_right_and_wrong_get_wilsons_interval_and_graded_values_the_bootstraps():
    assert interval([1.0, 0.0, 1.0]) == wilson(2 / 3, 3)
    assert interval([1.0, 0.5, 0.0]) == bootstrap([1.0, 0.5, 0.0])
    assert all(map(math.isnan, interval([])))


def test_the_bootstrap_of_two_values_has_the_ends_of_its_exact_distribution():
    """The mean of two draws from {.2, .6} is .2, .4, .6 with 1/4, 1/2, 1/4: both ends are in the outer quarters."""
    assert bootstrap([0.2, 0.6]) == pytest.approx((0.2, 0.6))


def test_the_bootstrap_is_as_wide_as_the_normal_approximation_for_many_values_and_always_the_same():
    values = np.random.default_rng(3).beta(2, 3, size=400).tolist()
    low, high = bootstrap(values)
    half = 1.96 * np.std(values) / 20
    # ends are percentiles of 2000 means: their standard error is about half * .06 (density of the normal at 1.96)
    assert (low, high) == pytest.approx((np.mean(values) - half, np.mean(values) + half), abs=half * 0.25)
    assert bootstrap(values) == (low, high)


def test_many_values_are_resampled_in_parts(monkeypatch):
    import rl.intervals

    values = np.random.default_rng(4).random(50).tolist()
    whole = bootstrap(values)
    monkeypatch.setattr(rl.intervals, "MAX_CELLS", 50 * 7)
    assert bootstrap(values) == whole


def test_wilsons_interval_holds_the_truth_about_as_often_as_it_says():
    n, p = 40, 0.9
    chance = [math.comb(n, x) * p**x * (1 - p) ** (n - x) for x in range(n + 1)]
    held = sum(c for x, c in enumerate(chance) if wilson(x / n, n).low <= p <= wilson(x / n, n).high)
    assert 0.92 < held < 0.98
