"""Ranks that answer, fail or hang together: which fault is told, and how long it takes."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from rl.faults import ActorLost, DeadlineExceeded
from rl.rank_group import RankGroup


class Rank:
    """Answers, or fails, after so many turns of the event loop; None: never."""

    def __init__(self, answer: Any, after: int | None = 1) -> None:
        self.answer, self.after = answer, after
        self.name, self.failure = "rank", answer if isinstance(answer, ActorLost) else None
        self.was_cancelled = False
        self.keywords: dict[str, Any] = {}

    async def ask(self, method: str, *args: Any, setting: str, **kwargs: Any) -> Any:
        self.keywords = kwargs
        try:
            if self.after is None:
                await asyncio.Event().wait()
            for _ in range(self.after or 0):
                await asyncio.sleep(0)
        except asyncio.CancelledError:
            self.was_cancelled = True
            raise
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer

    async def ask_shared(self, method: str, *args: Any, setting: str, **kwargs: Any) -> tuple[Any, Any]:
        return "reference", await self.ask(method, *args, setting=setting, **kwargs)


def ask(*ranks: Rank, grace_seconds: float = 600.0) -> Any:
    async def call() -> Any:
        return await RankGroup(ranks, grace_seconds=grace_seconds).ask("update", setting="update_seconds")

    return asyncio.run(call())


def test_the_first_rank_answers_when_all_have() -> None:
    assert ask(Rank("whole", after=0), Rank("own", after=50)) == "whole"
    ranks = [Rank("whole"), Rank("own")]
    shared = RankGroup(ranks).ask_shared("publish_shared", 1, before="reference to 0", setting="swap_seconds")
    assert asyncio.run(shared) == ("reference", "whole")
    assert [rank.keywords for rank in ranks] == [{"before": "reference to 0"}, {}], "others need no weights of before"


def test_a_rank_whose_process_died_is_told_before_the_broken_connections_of_the_others() -> None:
    broken = RuntimeError("Connection closed by peer")
    with pytest.raises(ActorLost):
        ask(Rank(broken), Rank(ActorLost("rank 1 died"), after=50), Rank(DeadlineExceeded("late"), after=5))


def test_ranks_that_wait_for_one_that_failed_are_not_waited_for_longer_than_the_grace() -> None:
    hanging = Rank("never", after=None)
    with pytest.raises(ValueError, match="not finite"):
        ask(hanging, Rank(ValueError("not finite")), grace_seconds=0.01)
    assert hanging.was_cancelled


def test_a_group_has_failed_where_one_of_its_ranks_has() -> None:
    lost = ActorLost("died")
    assert RankGroup([Rank("fine"), Rank(lost)]).failure is lost
    assert RankGroup([Rank("fine"), Rank(RuntimeError("of the user"))]).failure is None
