"""When a run stops by itself, and when it must not."""

from __future__ import annotations

import math

import pytest

from configs.schema import AlarmConfig
from rl.alarms import WATCHED, alarm_of

OFF = {"max_gap": None}


def rows(*rewards: float | None, surprise: float | None = 1.0, gap: float | None = 0.01, stderr: float | None = 0.001):
    return [
        dict(zip(WATCHED, (step, reward, surprise, gap, stderr), strict=True)) for step, reward in enumerate(rewards)
    ]


@pytest.mark.parametrize(("mean", "stderr"), [(0.0469, 0.002), (0.05, 0.0), (0.12, 0.01), (0.4, 0.11), (0.1, 0.0)])
def test_gaps_of_healthy_runs_and_chance_excesses_of_few_tokens_stop_nothing(mean, stderr):
    assert alarm_of(rows(0.5, gap=mean, stderr=stderr), AlarmConfig()) is None


@pytest.mark.parametrize(("mean", "stderr"), [(0.135, 0.01), (0.795, 0.03), (math.nan, math.nan), (math.inf, math.nan)])
def test_a_gap_of_one_code_in_two_hundred_of_an_absent_grid_or_without_a_number_stops_the_run(mean, stderr):
    told = alarm_of(rows(0.5, 0.5, gap=mean, stderr=stderr), AlarmConfig())
    assert told is not None and "in step 1" in told and "alarm.max_gap = 0.1" in told and f"{mean:.3g}" in told


def test_a_step_that_learned_from_nothing_has_no_gap_and_unset_alarms_are_silent():
    assert alarm_of(rows(None, surprise=None, gap=None, stderr=None), AlarmConfig()) is None
    assert alarm_of(rows(0.0, gap=9.0), AlarmConfig(**OFF)) is None


def test_only_the_last_steps_gap_counts_so_that_a_run_can_go_on_after_a_larger_limit_was_set():
    assert alarm_of([*rows(0.5, gap=9.0), *rows(0.5)], AlarmConfig()) is None


def test_a_low_surprise_counts_as_a_mean_over_the_window():
    settings = AlarmConfig(**OFF, min_surprise=0.25, window=3)
    low, high = rows(0.5, surprise=0.125), rows(0.5, surprise=0.5)
    assert alarm_of([*low * 2], settings) is None  # no whole window yet
    assert alarm_of([*low * 2, *high], settings) is None  # a mean of exactly .25
    told = alarm_of([*high, *low * 3], settings)
    assert told is not None and "0.125 nats" in told and "alarm.min_surprise = 0.25" in told


def test_a_reward_that_fell_counts_from_the_best_window_and_steps_without_reward_do_not():
    settings = AlarmConfig(**OFF, max_reward_drop=0.25, window=2)
    assert alarm_of(rows(1.0, 0.5, None, 0.5), settings) is None  # .75 -> .5
    told = alarm_of(rows(0.1, 1.0, 0.5, None, 0.375, None), settings)  # .75 -> .4375
    assert told is not None and "was 0.750 and is 0.438" in told and "alarm.max_reward_drop = 0.25" in told
