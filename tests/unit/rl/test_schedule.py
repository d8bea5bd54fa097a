"""Schedules are exact at their ends, linear in between, and know nothing but the step."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rl.schedule import learning_rate_at, temperature_at, warmup_learning_rate_at
from tests.rounding import rounding

FOUR = rounding(4, size=2.0)
"""Of numbers up to 2 after a difference, a quotient, a product and a sum in float64."""


@pytest.mark.parametrize(
    ("step", "temperature"), [(0, 1.0), (1, 0.95), (2, 0.9), (3, 0.85), (4, 0.8), (5, 0.8), (1000, 0.8)]
)
def test_temperature_falls_linearly_and_then_stays(step, temperature):
    assert temperature_at(step, start=1.0, end=0.8, decay_steps=4) == pytest.approx(temperature, abs=FOUR)


@pytest.mark.parametrize(
    ("shape", "expected"),
    [
        ("linear", [1.0, 0.9, 0.8, 0.7, 0.6, 0.5, 0.4, 0.3, 0.2, 0.2]),
        # 0.2 + 0.8 (1 + cos(pi step / 8)) / 2: cos of 22.5, 45 and 67.5 degrees is .92388, .70711, .38268
        ("cosine", [1.0, 0.969552, 0.882843, 0.753073, 0.6, 0.446927, 0.317157, 0.230448, 0.2, 0.2]),
        ("stepwise", [1.0, 1.0, 0.8, 0.8, 0.6, 0.6, 0.4, 0.4, 0.2, 0.2]),
    ],
)
def test_each_shape_of_temperature_goes_its_own_way_from_the_start_to_the_end(shape, expected):
    found = [temperature_at(step, 1.0, 0.2, 8, shape, 4) for step in range(10)]
    assert found == pytest.approx(expected, abs=1e-6)


def test_stairs_that_do_not_divide_the_steps_fall_at_the_step_that_reaches_them():
    assert [temperature_at(step, 1.0, 0.0, 5, "stepwise", 2) for step in range(6)] == [1.0, 1.0, 1.0, 0.5, 0.5, 0.0]


@given(st.floats(0.01, 4), st.floats(0.01, 4), st.integers(1, 1000), st.sampled_from(["linear", "cosine", "stepwise"]))
def test_temperature_hits_both_ends_and_stays_between_them(start, end, decay_steps, shape):
    found = [temperature_at(s, start, end, decay_steps, shape) for s in (0, decay_steps // 2, decay_steps, 9999)]
    assert (found[0], found[2], found[3]) == (start, end, end)
    assert min(start, end) - FOUR <= found[1] <= max(start, end) + FOUR


@pytest.mark.parametrize("decay_steps", [0, -1])
def test_temperature_without_steps_to_decay_over_starts_at_the_start_and_is_at_its_end_from_then_on(decay_steps):
    """A run of one step has none to decay over: its only step is its first."""
    assert temperature_at(0, start=1.0, end=0.8, decay_steps=decay_steps) == 1.0
    assert temperature_at(1, start=1.0, end=0.8, decay_steps=decay_steps) == 0.8


@pytest.mark.parametrize(
    ("step", "rate"), [(0, 0.25), (1, 0.5), (2, 0.75), (3, 1.0), (4, 1.0), (6, 0.8), (8, 0.6), (14, 0.0)]
)
def test_learning_rate_ramps_up_and_falls_to_its_end_at_the_last_step(step, rate):
    found = learning_rate_at(step, lr=2.0, ramp_steps=4, num_steps=15, end_frac=0.0)
    assert found == pytest.approx(2.0 * rate, abs=FOUR)


def test_learning_rate_without_ramp_or_decay_is_constant():
    assert {learning_rate_at(s, lr=3e-6, ramp_steps=0, num_steps=9, end_frac=1.0) for s in range(9)} == {3e-6}


@given(st.integers(1, 200), st.integers(0, 50), st.floats(0, 1))
def test_learning_rate_of_no_step_is_above_the_peak_or_without_effect(num_steps, ramp_steps, end_frac):
    rates = [
        learning_rate_at(s, lr=1.0, ramp_steps=ramp_steps, num_steps=num_steps, end_frac=end_frac)
        for s in range(num_steps)
    ]
    assert rates[0] > 0 and max(rates) <= 1.0
    if num_steps > ramp_steps + 1:
        assert rates[-1] == pytest.approx(end_frac, abs=FOUR)


def test_warm_up_ramps_over_a_tenth_and_ends_at_a_tenth():
    rates = [warmup_learning_rate_at(u, lr=1.0, num_updates=100) for u in range(100)]
    assert rates[:10] == pytest.approx([(u + 1) / 10 for u in range(10)], abs=FOUR)
    assert max(rates) == rates[9] == rates[10] == 1.0
    assert rates[-1] == pytest.approx(0.1, abs=FOUR)
    assert warmup_learning_rate_at(0, lr=1.0, num_updates=1) == 1.0
