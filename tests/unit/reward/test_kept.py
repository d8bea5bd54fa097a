"""Results that are run once for all who want them."""

from __future__ import annotations

import pytest

from reward.kept import Kept


def test_a_result_is_run_once_also_where_it_is_nothing() -> None:
    runs: list[int] = []
    kept: Kept[None] = Kept(seconds=60.0)
    for _ in range(3):
        kept.get("key", lambda: runs.append(1), lambda: None)
    assert runs == [1]


def test_who_gives_up_leaves_it_to_the_next() -> None:
    kept: Kept[int] = Kept(seconds=60.0)

    def give_up() -> int:
        raise InterruptedError

    with pytest.raises(InterruptedError):
        kept.get("key", give_up, lambda: None)
    assert kept.get("key", lambda: 7, lambda: None) == 7
    assert kept.get("key", give_up, lambda: None) == 7
