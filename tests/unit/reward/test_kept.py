"""Results that are run once for all who want them."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor

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


def test_a_result_that_does_not_last_serves_those_who_came_before_its_run_began_and_no_other() -> None:
    """Four come while the first runs: they wait, for it is older than they are, and share one of their own."""
    kept: Kept[int] = Kept(seconds=60.0, lasts=lambda result: False)
    runs: list[int] = []
    others, may_end = threading.Barrier(5), threading.Event()
    waiting = threading.local()

    def run() -> int:
        runs.append(len(runs))
        if len(runs) == 1:
            began.set()
            assert may_end.wait(60)
        return runs[-1]

    def check() -> None:
        if not getattr(waiting, "is_told", False):
            waiting.is_told = True
            others.wait(60)  # all four have found the first run, and this test

    began = threading.Event()
    with ThreadPoolExecutor(5) as pool:
        first = pool.submit(kept.get, "key", run, lambda: None)
        assert began.wait(60)
        later = [pool.submit(kept.get, "key", run, check) for _ in range(4)]
        others.wait(60)
        may_end.set()
        assert first.result(60) == 0 and [one.result(60) for one in later] == [1] * 4
    assert kept.get("key", run, lambda: None) == 2
