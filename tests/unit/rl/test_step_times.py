"""Seconds by phase, and an estimate of those to come, by hand."""

from __future__ import annotations

from rl.step_times import own_seconds, seconds_left, seconds_of


def row(generate, learn, *, start=0.0, rollout=0.0, evaluation=0.0):
    return {
        "phase/generate_seconds": generate,
        "phase/start_seconds": start,
        "phase/rollout_seconds": rollout,
        "phase/eval_seconds": evaluation,
        "phase/learn_seconds": learn,
    }


def test_phases_without_those_inside_them_add_up_to_the_step():
    one = row(12.0, 5.0, start=2.0, rollout=6.0, evaluation=3.0)
    one |= {"phase/update_seconds": 4.0, "phase/save_seconds": 0.5}
    own = own_seconds(one)
    assert (own["rollout"], own["eval"], own["generate"], own["update"], own["learn"]) == (6.0, 3.0, 1.0, 4.0, 1.0)
    assert own["start"] == 2.0 and seconds_of(one) == 17.5


def test_parts_that_are_longer_than_their_whole_and_numbers_that_are_none_count_as_nothing():
    assert own_seconds(row(1.0, None, rollout=2.0) | {"phase/save_seconds": float("nan")}) == {
        **dict.fromkeys(own_seconds({}), 0.0),
        "rollout": 2.0,
    }


def test_what_is_left_is_the_median_of_the_last_steps_without_evaluations_which_count_by_themselves():
    first = row(60.0, 45.0, rollout=10.0, evaluation=20.0) | {"phase/update_seconds": 5.0}  # and a warm-up of 40
    assert seconds_left([], num_left=3, num_evals_left=1) is None
    assert seconds_left([first], num_left=3, num_evals_left=1) == 3 * 15.0 + 20.0
    again = row(38.0, 2.0, start=30.0, rollout=8.0)  # an engine was lost
    later = [again, row(108.0, 2.0, rollout=8.0), row(11.0, 1.0, rollout=7.0, evaluation=4.0)]
    assert seconds_left([first, *later], num_left=10, num_evals_left=2) == 10 * 10.0 + 2 * 4.0


def test_what_was_drawn_ahead_is_no_part_of_the_step_that_learns_from_it():
    row = {"phase/generate_seconds": 12.0, "phase/rollout_seconds": 10.0, "phase/learn_seconds": 20.0}
    assert seconds_of({**row, "phase/ahead_seconds": 30.0}) == seconds_of(row) == 32.0
