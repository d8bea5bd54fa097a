"""Rebuilding lost actors: how often is too often."""

from __future__ import annotations

from rl.restarts import Restarts


def test_a_step_that_fails_each_time_it_is_done_ends_the_run_after_as_many_tries_as_are_allowed() -> None:
    restarts = Restarts(max_restarts=2, window_steps=10)
    assert [restarts.add(7) for _ in range(3)] == [1, 2, None]


def test_faults_that_are_further_apart_than_the_window_never_end_a_run() -> None:
    restarts = Restarts(max_restarts=2, window_steps=10)
    assert [restarts.add(step) for step in range(0, 500, 5)] == [1, *[2] * 99]  # step 10: those of 5 and of 10


def test_a_fault_at_the_edge_of_the_window_has_left_it() -> None:
    restarts = Restarts(max_restarts=1, window_steps=10)
    assert restarts.add(0) == 1 and restarts.add(10) == 1 and restarts.add(19) is None


def test_a_run_that_was_rewound_still_knows_of_the_faults_ahead_of_it() -> None:
    restarts = Restarts(max_restarts=2, window_steps=10)
    assert restarts.add(9) == 1 and restarts.add(3) == 2 and restarts.add(4) is None


def test_no_restart_is_allowed_where_none_is_wanted() -> None:
    assert Restarts(max_restarts=0, window_steps=10).add(0) is None
