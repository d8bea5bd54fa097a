"""Processes on threads: what hangs or cannot be made fails one test, and leaves nothing behind."""

from __future__ import annotations

import asyncio
import threading
from typing import Any

import pytest

from rl.faults import DeadlineExceeded
from rollout.engine.compat import ENVIRONMENT
from tests.integration.harness import Runs
from tests.integration.here import ProcessesHere


class Closable:
    num_open = 0

    def __init__(self) -> None:
        type(self).num_open += 1

    def hang(self, until: threading.Event) -> None:
        until.wait()

    def late(self) -> None:
        raise TimeoutError("of its own")

    def close(self) -> None:
        type(self).num_open -= 1


class HangsInTheEnd:
    until = threading.Event()

    def close(self) -> None:
        self.until.wait()


class BreaksInTheEnd:
    def close(self) -> None:
        raise RuntimeError("cannot be closed")


class Broken:
    def __init__(self) -> None:
        raise ValueError("cannot be made")


COMMON: dict[str, Any] = {"bundle": 0, "environment": {}}


def test_a_call_that_hangs_ends_at_its_limit_and_the_process_is_ended_all_the_same() -> None:
    async def run() -> None:
        async with ProcessesHere(limit_seconds=0.2) as processes:
            with pytest.raises(DeadlineExceeded, match=r"hangs\.hang did not answer within 0\.2 s"):
                await processes.start(Closable, name="hangs", **COMMON).ask("hang", until, setting="start_seconds")

    until = threading.Event()
    try:
        asyncio.run(run())
    finally:
        until.set()
    assert Closable.num_open == 0


def test_what_a_method_raises_is_told_as_itself_a_timeout_too() -> None:
    async def run() -> None:
        async with ProcessesHere() as processes:
            process = processes.start(Closable, name="well", **COMMON)
            with pytest.raises(TimeoutError, match="of its own"):
                await process.ask("late", setting="start_seconds")
            assert process.failure is None

    asyncio.run(run())


@pytest.mark.parametrize(
    ("kind", "told"),
    [(HangsInTheEnd, r"^odd\.close did not answer within 2 s"), (BreaksInTheEnd, "^cannot be closed")],
)
def test_one_that_cannot_be_closed_fails_its_test_and_the_others_are_closed(kind: type, told: str) -> None:
    async def run() -> None:
        async with ProcessesHere(limit_seconds=2.0) as processes:
            for name, one in (("first", Closable), ("odd", kind), ("last", Closable)):
                process = processes.start(one, name=name, **COMMON)
                await process.ask("__ray_ready__", setting="start_seconds")

    try:
        with pytest.raises(RuntimeError, match=told):
            asyncio.run(run())
    finally:
        HangsInTheEnd.until.set()
    assert Closable.num_open == 0


def test_where_one_cannot_be_made_its_caller_hears_why_and_the_others_are_closed() -> None:
    async def run() -> None:
        async with ProcessesHere() as processes:
            broken = processes.start(Broken, name="broken", **COMMON)
            well = processes.start(Closable, name="well", **COMMON)
            await well.ask("__ray_ready__", setting="start_seconds")
            assert Closable.num_open == 1
            await broken.ask("__ray_ready__", setting="start_seconds")

    with pytest.raises(ValueError, match="cannot be made"):
        asyncio.run(run())
    assert Closable.num_open == 0


def test_what_an_engine_here_sets_for_itself_is_not_handed_to_runs_in_processes_of_their_own(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for name, value in ENVIRONMENT.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("VLLM_OF_THE_CALLER", "stays")
    assert ENVIRONMENT.keys() & Runs().environment().keys() == set()
    assert Runs().environment()["VLLM_OF_THE_CALLER"] == "stays"
