"""Draws are a pure function of (seed, step), shares are exact over time, every task comes once per epoch."""

from __future__ import annotations

import weakref
from collections import Counter
from collections.abc import Sequence
from fractions import Fraction
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gyms.api import Gym, GymSettings, Score, Services, Split, Status, Task, message
from gyms.mixture import GymEntry, check_disjoint, draws, heldout, share_pattern


class ListGym(Gym):
    """A gym over two lists of words."""

    def __init__(self, train: Sequence[str], held: Sequence[str]) -> None:
        super().__init__(GymSettings(), Services())
        self.words: dict[Split, Sequence[str]] = {"train": train, "heldout": held}

    def tasks(self, split: Split) -> Sequence[Task]:
        return [Task(id=f"{split}/{word}", prompt=(message("user", word),)) for word in self.words[split]]

    def score(self, task: Task, response: str) -> Score:
        return Score(status=Status.OK, value=0.0)


def entry(name: str, share: float, num_train: int = 7, num_held: int = 5) -> GymEntry:
    train, held = ([f"{split}{i}" for i in range(num)] for split, num in (("t", num_train), ("h", num_held)))
    return GymEntry(name=name, gym=ListGym(train, held), share=share, budget=10 * len(name))


shares_lists = st.lists(st.integers(1, 60).map(lambda n: n / 20), min_size=1, max_size=5)


@settings(max_examples=40, deadline=None)
@given(shares=shares_lists)
def test_shares_are_exact_after_every_whole_pattern_and_close_in_between(shares: list[float]) -> None:
    exact = [Fraction(str(share)) for share in shares]
    pattern = share_pattern(tuple(shares))
    counts = [0] * len(shares)
    for num_draws, (gym, num_before) in enumerate(pattern, start=1):
        assert counts[gym] == num_before
        counts[gym] += 1
        for count, share in zip(counts, exact, strict=True):
            assert abs(count - num_draws * share / sum(exact)) <= len(shares)
    assert [count * sum(exact) for count in counts] == [len(pattern) * share for share in exact]


@settings(max_examples=30, deadline=None)
@given(shares=shares_lists, num=st.integers(1, 9), seed=st.integers(0, 5))
def test_shares_hold_over_the_steps_of_a_run(shares: list[float], num: int, seed: int) -> None:
    entries = [entry(f"g{i}", share) for i, share in enumerate(shares)]
    period = len(share_pattern(tuple(shares)))
    drawn = [draw for step in range(period) for draw in draws(seed, step, num, entries)]
    assert [draw.index for draw in drawn] == list(range(period * num))
    counts = Counter(draw.gym for draw in drawn)
    exact = [Fraction(str(share)) for share in shares]
    assert [counts[e.name] * sum(exact) for e in entries] == [len(drawn) * share for share in exact]


def test_a_pattern_by_hand() -> None:
    assert [gym for gym, _ in share_pattern((3.0, 1.0))] == [0, 0, 1, 0]
    assert [gym for gym, _ in share_pattern((0.2, 0.1))] == [0, 1, 0]


def test_every_task_comes_once_per_epoch_in_a_new_order() -> None:
    entries = [entry("a", 1.0, num_train=10), entry("b", 1.0, num_train=10)]
    drawn = [draw.task.id for step in range(30) for draw in draws(0, step, 4, entries) if draw.gym == "a"]
    epochs = [drawn[i : i + 10] for i in range(0, 60, 10)]
    assert all(len(set(epoch)) == 10 for epoch in epochs)
    assert len({tuple(epoch) for epoch in epochs}) == 6


def test_draws_are_a_pure_function_of_seed_and_step() -> None:
    entries = [entry("a", 1.0, 50), entry("bb", 2.0, 50)]
    assert draws(3, 7, 16, entries) == draws(3, 7, 16, entries)
    assert draws(3, 7, 16, entries) != draws(4, 7, 16, entries)
    assert draws(3, 0, 32, entries) == draws(3, 0, 16, entries) + draws(3, 1, 16, entries)
    assert {draw.budget for draw in draws(3, 7, 16, entries) if draw.gym == "bb"} == {20}


def test_shares_that_never_repeat_are_refused_with_advice() -> None:
    with pytest.raises(ValueError, match="whole numbers: 1 and 2 instead"):
        share_pattern((0.3333333, 0.6666667))
    with pytest.raises(ValueError, match="above 0, got 0"):
        share_pattern((1.0, 0.0))
    with pytest.raises(ValueError, match="gyms is empty"):
        draws(0, 0, 4, [])


def test_a_gym_without_train_tasks_is_named() -> None:
    with pytest.raises(ValueError, match="gym 'empty' has no train tasks"):
        draws(0, 0, 4, [entry("empty", 1.0, num_train=0)])


def test_the_heldout_sample_is_fixed_and_whole_where_a_gym_has_fewer() -> None:
    entries = [entry("a", 1.0, num_held=30), entry("b", 5.0, num_held=3)]
    sample = heldout(entries, 10, seed=1)
    assert sample == heldout(entries, 10, seed=1) != heldout(entries, 10, seed=2)
    assert Counter(draw.gym for draw in sample) == {"a": 10, "b": 3}
    assert len({(draw.gym, draw.task.id) for draw in sample}) == 13
    assert [draw.index for draw in sample] == list(range(13))
    assert all(draw.task.id.startswith("heldout/") for draw in sample)


def test_overlapping_splits_are_refused_with_an_example() -> None:
    with pytest.raises(ValueError, match=r"gym 'words': train task 'train/y' and held-out task 'heldout/y'"):
        check_disjoint(ListGym(["x", "y"], ["y", "z"]), name="words")
    check_disjoint(ListGym(["x", "y"], ["z"]))


def test_the_search_for_overlaps_keeps_one_task_at_a_time() -> None:
    kept: list[weakref.ref[Heavy]] = []

    class Heavy(str):
        """A text that can be watched."""

    class HeavyTasks(Sequence[Task]):
        def __len__(self) -> int:
            return 50

        def __getitem__(self, index: Any) -> Any:
            assert sum(one() is not None for one in kept) < 4
            text = Heavy(f"question {index}")
            kept.append(weakref.ref(text))
            return Task(id=str(index), prompt=(message("user", f"train {index}"),), data={"text": text})

    class HeavyGym(ListGym):
        def tasks(self, split: Split) -> Sequence[Task]:
            return HeavyTasks() if split == "train" else super().tasks(split)

    check_disjoint(HeavyGym(["x"], ["y"]))
    assert len(kept) == 50


def test_a_task_that_does_not_fit_leaves_its_draw_to_another_and_no_other_draw_changes() -> None:
    entries = [entry("a", 1.0, num_train=20), entry("b", 2.0)]
    long = {"train/t3", "train/t7", "train/t11"}

    def fits(gym: str, task: Task) -> bool:
        return gym == "b" or task.id not in long

    steps = range(20)
    plain = [draw for step in steps for draw in draws(5, step, 6, entries)]
    found = [draw for step in steps for draw in draws(5, step, 6, entries, fits=fits)]
    replaced = [new for old, new in zip(plain, found, strict=True) if old != new]
    assert [draw.index for draw in replaced] == [old.index for old in plain if not fits(old.gym, old.task)] != []
    assert all(fits(draw.gym, draw.task) for draw in found)
    assert all((draw.num_dropped > 0) == (draw in replaced) for draw in found)
    assert len({draw.task.id for draw in replaced}) > 3  # not always the same one
    assert draws(5, 7, 6, entries, fits=fits) == tuple(found[42:48])  # of (seed, step, index) alone


def test_the_only_task_that_fits_is_found_and_none_is_an_error() -> None:
    entries = [entry("a", 1.0, num_train=30)]
    found = draws(0, 0, 8, entries, fits=lambda gym, task: task.id == "train/t17")
    assert {draw.task.id for draw in found} == {"train/t17"}
    with pytest.raises(ValueError, match="gym 'a': of 30 train tasks, drawn one after the other, none has a prompt"):
        draws(0, 0, 8, entries, fits=lambda gym, task: False)


def test_a_heldout_task_that_does_not_fit_leaves_its_place_to_the_next() -> None:
    entries = [entry("a", 1.0, num_held=9), entry("b", 1.0, num_held=3)]
    whole = [draw.task.id for draw in heldout(entries, 9, seed=2) if draw.gym == "a"]
    found = heldout(entries, 4, seed=2, fits=lambda gym, task: gym == "b" or task.id != whole[1])
    assert [draw.task.id for draw in found if draw.gym == "a"] == [whole[0], *whole[2:5]]
    assert [draw.index for draw in found] == list(range(7))
    assert not heldout(entries, 4, seed=2, fits=lambda gym, task: False)
