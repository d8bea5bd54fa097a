"""The keyed permutation is a bijection, differs by key, and is the same in every process."""

from __future__ import annotations

from itertools import islice

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gyms.permutation import candidates, permute


@settings(max_examples=40, deadline=None)
@given(size=st.integers(1, 300), key=st.text(max_size=8, alphabet="ab0 /"))
def test_every_place_is_taken_exactly_once(size: int, key: str) -> None:
    assert sorted(permute(i, size, key) for i in range(size)) == list(range(size))


@given(size=st.integers(1, 2**62), index=st.integers(0, 2**62))
def test_huge_ranges_need_no_list(size: int, index: int) -> None:
    assert 0 <= permute(index % size, size, "k") < size


def test_another_key_is_another_order() -> None:
    orders = {tuple(permute(i, 50, f"seed {seed}") for i in range(50)) for seed in range(20)}
    assert len(orders) == 20


def test_the_order_is_fixed_for_all_time_because_runs_resume_by_it() -> None:
    assert [permute(i, 10, "seed 0") for i in range(10)] == [6, 5, 0, 4, 1, 3, 9, 7, 2, 8]


def test_places_are_spread_evenly() -> None:
    first = [permute(0, 10, str(key)) for key in range(5000)]
    assert all(400 < first.count(place) < 600 for place in range(10))


def test_a_place_outside_the_range_is_refused() -> None:
    with pytest.raises(ValueError, match=r"index must lie in \[0, 3\), got 3"):
        permute(3, 3, "k")


@pytest.mark.parametrize("size", [1, 2, 7, 300])
def test_candidates_begin_with_the_permuted_place_and_meet_every_other(size):
    for index in {0, size // 2, size - 1}:
        first, *others = candidates(index, size, "seed 3")
        assert first == permute(index, size, "seed 3")
        assert sorted(others) == list(range(size))
        assert [first, *others] == list(candidates(index, size, "seed 3"))


def test_different_places_and_keys_have_different_stand_ins():
    def stand_in(index, key):
        return list(islice(candidates(index, 1000, key), 2))[1]

    assert len({stand_in(i, "seed 3") for i in range(1000)}) == 1000
    assert sum(stand_in(i, "seed 3") == stand_in(i, "seed 4") for i in range(1000)) < 10


def test_a_walk_through_an_endless_range_ends():
    assert sum(1 for _ in candidates(10**11, 10**12, "seed 3")) == 1 + 10_000
