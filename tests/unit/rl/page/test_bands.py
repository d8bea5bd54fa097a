"""Bands against hand-computed and published values."""

from __future__ import annotations

import math

import pytest

from rl.intervals import wilson
from rl.page.bands import accuracy_band, percentile, reward_band


@pytest.mark.parametrize(
    ("right", "num", "low", "high"),
    [(5, 10, 0.2366, 0.7634), (0, 10, 0.0, 0.2775), (10, 10, 0.7225, 1.0), (81, 263, 0.2553, 0.3662)],
)  # the last one: Newcombe (1998), table I, method 3
def test_wilson_gives_the_published_intervals(right, num, low, high):
    assert wilson(right / num, num) == pytest.approx((low, high), abs=5e-5)


def test_a_rate_has_wilsons_band_over_draws_not_over_samples():
    assert reward_band([[1.0, 1.0], [0.0, 1.0], [], [0.0, 0.0]]) == (0.5, *wilson(0.5, 3))


def test_other_rewards_have_the_normal_band_over_the_draws_means():
    band = reward_band([[0.5, 0.7], [0.2, 0.4], [1.0, 1.0]])  # means 0.6, 0.3, 1.0; mean 19/30, variance 37/300
    half = 1.959964 * math.sqrt(37 / 300 / 3)
    assert band == pytest.approx((19 / 30, 19 / 30 - half, 19 / 30 + half))
    assert reward_band([[0.5, 0.25]]) == (0.375, 0.375, 0.375)
    assert reward_band([[]]) is None


def test_an_accuracy_brings_its_own_interval_or_has_one_made():
    assert accuracy_band({"mean": 0.5, "stderr": 0.1, "num": 9, "low": 0.3, "high": 0.8}) == (0.5, 0.3, 0.8)
    binary = {"mean": 0.2, "stderr": math.sqrt(0.2 * 0.8 / 20), "num": 20}
    assert accuracy_band(binary) == (0.2, *wilson(0.2, 20))
    assert accuracy_band({"mean": 1.0, "stderr": 0.0, "num": 20}) == (1.0, *wilson(1.0, 20))
    graded = accuracy_band({"mean": 0.5, "stderr": 0.01, "num": 20})
    assert graded == pytest.approx((0.5, 0.5 - 0.01959964, 0.5 + 0.01959964))


@pytest.mark.parametrize("result", [None, 3, {}, {"mean": math.nan, "num": 0}, {"mean": 0.5, "stderr": 0.1, "num": 0}])
def test_an_accuracy_of_nothing_has_no_band(result):
    assert accuracy_band(result) is None


def test_percentiles_are_values_that_occurred():
    values = list(range(1, 11))
    assert [percentile(values, percent) for percent in (0, 10, 50, 90, 100)] == [1, 1, 5, 9, 10]
