"""The served policy over engines that are scripted: what is sent, what is aborted, and who hears of a failure."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from rl.faults import ActorLost, DeadlineExceeded
from rl.policy import ServedPolicy
from rl.processes import Place
from rollout.types import FinishReason, Sample, SampleRequest


def request(name: str) -> SampleRequest:
    return SampleRequest(id=name, prompt_ids=(1, 2), temperature=1.0, seed=0, budget=4)


class ScriptedEngine:
    """Answers a request when `answer` names it; notes every call."""

    name = "engine 0"
    failure: Exception | None = None

    def __init__(self) -> None:
        self.in_flight: dict[str, SampleRequest] = {}
        self.ready: list[Sample] = []
        self.calls: list[tuple[str, Any]] = []
        self.news = asyncio.Event()
        self.fails: BaseException | None = None

    async def ask(self, method: str, *args: Any, setting: str, **kwargs: Any) -> Any:
        return await getattr(self, method)(*args, **kwargs)

    def answer(self, name: str) -> None:
        asked = self.in_flight.pop(name)
        self.ready.append(
            Sample(
                id=asked.id, prompt_ids=asked.prompt_ids, segments=(), finish_reason=FinishReason.STOP, text=asked.id
            )
        )
        self.news.set()

    async def submit(self, requests) -> None:
        self.calls.append(("submit", [one.id for one in requests]))
        self.in_flight |= {one.id: one for one in requests}

    async def abort(self, ids) -> int:
        self.calls.append(("abort", ids))
        doomed = list(self.in_flight) if ids is None else [i for i in ids if i in self.in_flight]
        for name in doomed:
            del self.in_flight[name]
        return len(doomed)

    async def finished(self, *, wait_seconds: float) -> list[Sample]:
        if self.fails is not None:
            raise self.fails
        if not self.ready and wait_seconds:
            self.news.clear()
            try:
                await asyncio.wait_for(self.news.wait(), wait_seconds)
            except TimeoutError:
                return []
            if self.fails is not None:
                raise self.fails
        found, self.ready = self.ready, []
        return found


def policy_on(*engines: ScriptedEngine, generate_seconds: float = 1e6, max_num_seqs: int = 100) -> ServedPolicy:
    place = Place(phase="generate", step=3)
    return ServedPolicy(
        engines,
        chat=None,  # type: ignore[arg-type]
        max_prompt_tokens=9,
        max_num_seqs=max_num_seqs,
        generate_seconds=generate_seconds,
        place=place,
        personas=None,  # type: ignore[arg-type]
    )


async def settle() -> None:
    """Let every task do what it can do without waiting for an engine."""
    for _ in range(20):
        await asyncio.sleep(0)


async def ask_and_give_up(policy: ServedPolicy) -> None:
    """As a judge's deadline does, once the request is with the engine."""
    asked = asyncio.create_task(policy.sample(request("judge"), group="g"))
    await settle()
    asked.cancel()
    with pytest.raises(asyncio.CancelledError):
        await asked


def test_requests_of_one_turn_travel_together_and_one_of_a_later_turn_waits_for_no_poll():
    async def run() -> list[tuple[str, Any]]:
        engine = ScriptedEngine()
        async with policy_on(engine) as policy:
            first = [asyncio.create_task(policy.sample(request(name), group="g")) for name in ("a", "b")]
            await settle()
            assert engine.calls == [("submit", ["a", "b"])]
            late = asyncio.create_task(policy.sample(request("c"), group="g"))
            await settle()  # the poll for a and b is still waiting
            assert engine.calls[1:] == [("submit", ["c"])]
            for name in ("c", "a", "b"):
                engine.answer(name)
            assert [sample.id for sample in await asyncio.gather(*first, late)] == ["a", "b", "c"]
        return engine.calls

    assert asyncio.run(run()) == [("submit", ["a", "b"]), ("submit", ["c"])]


def test_a_request_whose_caller_gave_up_is_aborted_before_the_phase_ends_and_its_siblings_go_on():
    async def run() -> ScriptedEngine:
        engine = ScriptedEngine()
        async with policy_on(engine) as policy:
            kept = asyncio.create_task(policy.sample(request("kept"), group="g"))
            await ask_and_give_up(policy)
            engine.answer("kept")
            assert (await kept).id == "kept"
        return engine

    engine = asyncio.run(run())
    assert ("abort", ["judge"]) in engine.calls and not engine.in_flight


def test_a_request_that_was_given_up_before_it_was_sent_is_never_sent():
    async def run() -> ScriptedEngine:
        engine = ScriptedEngine()
        async with policy_on(engine) as policy:
            task = asyncio.create_task(policy.sample(request("a"), group="g"))
            await asyncio.sleep(0)  # asked for, and the sender not awake yet
            task.cancel()
            await settle()
        return engine

    assert asyncio.run(run()).calls == []


def test_what_was_given_up_may_be_asked_for_again_at_once():
    async def run() -> list[tuple[str, Any]]:
        engine = ScriptedEngine()
        async with policy_on(engine) as policy:
            first = asyncio.create_task(policy.sample(request("a"), group="g"))
            await settle()
            first.cancel()
            again = asyncio.create_task(policy.sample(request("a"), group="g"))
            await settle()
            engine.answer("a")
            assert (await again).id == "a"
        return engine.calls

    assert asyncio.run(run()) == [("submit", ["a"]), ("abort", ["a"]), ("submit", ["a"])]


def test_an_abort_that_fails_ends_the_phase_with_its_cause_though_nobody_waits():
    class Deaf(ScriptedEngine):
        async def abort(self, ids) -> int:
            raise DeadlineExceeded("engine 0.abort did not answer")

    async def run() -> None:
        async with policy_on(Deaf()) as policy:
            await ask_and_give_up(policy)

    with pytest.raises(DeadlineExceeded, match=r"engine 0\.abort did not answer"):
        asyncio.run(run())


def test_leaving_early_aborts_everything_and_leaves_no_task_behind():
    async def run() -> tuple[ScriptedEngine, int]:
        engine = ScriptedEngine()
        with pytest.raises(KeyError):
            async with policy_on(engine) as policy:
                task = asyncio.create_task(policy.sample(request("a"), group="g"))
                await settle()
                task.cancel()
                engine.news.set()
                raise KeyError
        return engine, len(asyncio.all_tasks())

    engine, num_tasks = asyncio.run(run())
    assert engine.calls[-1] == ("abort", None) and not engine.in_flight and num_tasks == 1


def test_a_failed_engine_fails_who_waits_for_it_and_who_asks_any_later_but_not_what_another_engine_draws():
    async def run() -> None:
        lost, alive = ScriptedEngine(), ScriptedEngine()
        async with policy_on(lost, alive) as policy:
            waiting = asyncio.create_task(policy.sample(request("a"), group="g"))
            other = asyncio.create_task(policy.sample(request("b"), group="h"))
            await settle()
            lost.fails = ActorLost("engine 0 died")
            lost.news.set()
            with pytest.raises(ActorLost, match="engine 0 died"):
                await waiting
            for group in "gh":  # the next turn of an episode: nothing is sent any more, so it would wait for ever
                with pytest.raises(ActorLost, match="engine 0 died"):
                    await asyncio.wait_for(policy.sample(request("c"), group=group), 60)
            alive.answer("b")
            assert (await other).id == "b"

    with pytest.raises(ActorLost, match="engine 0 died"):
        asyncio.run(run())


def test_an_engine_that_is_done_early_takes_the_groups_that_wait_and_siblings_stay_together():
    async def run() -> tuple[ScriptedEngine, ScriptedEngine]:
        slow, quick = ScriptedEngine(), ScriptedEngine()
        async with policy_on(slow, quick, max_num_seqs=1) as policy:  # with those that wait inside: 2 each
            tasks = [
                asyncio.create_task(policy.sample(request(f"{group}{k}"), group=group))
                for group in "abcd"
                for k in "01"
            ]
            await settle()
            assert list(slow.in_flight) == ["a0", "a1"] and list(quick.in_flight) == ["b0", "b1"]
            for group in "bcd":
                for k in "01":
                    quick.answer(f"{group}{k}")
                    await settle()
            for k in "01":
                slow.answer(f"a{k}")
            assert [sample.id for sample in await asyncio.gather(*tasks)] == [f"{g}{k}" for g in "abcd" for k in "01"]
        return slow, quick

    slow, quick = asyncio.run(run())
    assert slow.calls == [("submit", ["a0", "a1"])]
    assert quick.calls == [("submit", [f"{group}0", f"{group}1"]) for group in "bcd"]


def test_the_only_engine_is_sent_everything_at_once():
    async def run() -> ScriptedEngine:
        engine = ScriptedEngine()
        async with policy_on(engine, max_num_seqs=1) as policy:
            tasks = [asyncio.create_task(policy.sample(request(name), group=name)) for name in "abcdef"]
            await settle()
            for name in "abcdef":
                engine.answer(name)
            await asyncio.gather(*tasks)
        return engine

    assert asyncio.run(run()).calls == [("submit", list("abcdef"))]


def test_a_group_that_waits_for_room_fails_with_an_engine_that_is_lost_and_is_never_sent():
    async def run() -> ScriptedEngine:
        lost, alive = ScriptedEngine(), ScriptedEngine()
        with pytest.raises(ActorLost, match="engine 0 died"):
            async with policy_on(lost, alive, max_num_seqs=1) as policy:
                names = ["a0", "a1", "b0", "b1", "c0"]
                a, _, b0, b1, waiting = [
                    asyncio.create_task(policy.sample(request(name), group=name[0])) for name in names
                ]
                await settle()
                lost.fails = ActorLost("engine 0 died")
                lost.news.set()
                for task in (a, waiting):
                    with pytest.raises(ActorLost, match="engine 0 died"):
                        await task
                for name in ("b0", "b1"):
                    alive.answer(name)
                await asyncio.gather(b0, b1)
        return alive

    alive = asyncio.run(run())
    assert alive.calls == [("submit", ["b0", "b1"])] and not alive.in_flight


def test_an_engine_that_owes_samples_past_its_deadline_is_named_with_phase_step_and_setting(monkeypatch):
    monkeypatch.setattr("rl.policy.POLL_SECONDS", 0.01)

    async def run() -> None:
        async with policy_on(ScriptedEngine(), generate_seconds=0.0) as policy:
            await policy.sample(request("a"), group="g")

    with pytest.raises(
        DeadlineExceeded, match=r"engine 0 owes 1 samples after 0 s in phase 'generate' of step 3; .*clu"
    ):
        asyncio.run(run())
