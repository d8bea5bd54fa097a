"""The hand-over over engines that are small real ones: they check, swap, put back, break and die, and know no vLLM."""

from __future__ import annotations

import asyncio
from typing import Any, cast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rl.checkpoint import PublishedWeights
from rl.faults import ActorLost, DeadlineExceeded
from rl.handover import HandOver, ask_all
from rollout.engine.engine import EngineBroken, SwapTiming
from rollout.weights.device_copy import DeviceCopy

FAULTS = {
    "refuse": ValueError("a wrong checksum"),
    "fail": RuntimeError("the swap failed, the old version is serving"),
    "break": EngineBroken("the old version could not be put back"),
    "die": ActorLost("the process died"),
    "hang": DeadlineExceeded("commit_weights did not answer"),
    "late": DeadlineExceeded("commit_weights did not answer, and swapped all the same"),
}


class SmallEngine:
    """Serves a number. `faults` says what its next calls come to, one each: a name of `FAULTS`, or ""."""

    def __init__(self, *faults: str, version: int = -1) -> None:
        self.version = version
        self.staged: int | None = None
        self.faults = list(faults)
        self.calls: list[str] = []

    async def ask(self, method: str, *args: Any, setting: str, **kwargs: Any) -> Any:
        assert setting == "swap_seconds"
        self.calls.append(method)
        await asyncio.sleep(0)
        fault = self.faults.pop(0) if self.faults else ""
        if fault and fault != "late":
            raise FAULTS[fault]
        answer = getattr(self, method)(*args, **kwargs)
        if fault:
            raise FAULTS[fault]
        return answer

    def stage_weights(self, artefact: int, *, copy: Any, is_reswap: bool) -> None:
        if artefact <= self.version and not is_reswap:
            raise ValueError(f"version {artefact} is not newer than {self.version}")
        self.staged = artefact

    def commit_weights(self, version: int) -> SwapTiming:
        assert self.staged == version, "committed without being checked"
        self.version, self.staged = version, None
        return SwapTiming(version=version, stall_seconds=0.25 * version, num_bytes=1, is_copy=True)


def weights(version: int) -> PublishedWeights:
    return PublishedWeights(version=version, handle=version, num_bytes=1, pack_seconds=0.0)


def sync(handover: HandOver, engines: list[SmallEngine], version: int) -> None:
    asyncio.run(handover.sync_weights(engines, weights(version)))


def test_all_engines_check_before_any_swaps_and_then_all_swap() -> None:
    engines, handover = [SmallEngine(), SmallEngine(), SmallEngine()], HandOver()
    sync(handover, engines, 3)
    assert [engine.version for engine in engines] == [3, 3, 3] and handover.served_version == 3
    assert [engine.calls for engine in engines] == [["stage_weights", "commit_weights"]] * 3
    times = handover.take_times()
    assert times is not None and times.stall_seconds == 0.75 and handover.take_times() is None


def test_a_version_that_all_serve_is_not_handed_over_again() -> None:
    engines, handover = [SmallEngine(), SmallEngine()], HandOver()
    sync(handover, engines, 1)
    handover.take_times()
    sync(handover, engines, 1)
    assert [len(engine.calls) for engine in engines] == [2, 2] and handover.take_times() is None


def test_an_engine_that_refuses_ends_the_hand_over_before_any_engine_is_touched_and_is_not_asked_again() -> None:
    engines, handover = [SmallEngine(), SmallEngine("", "", "refuse"), SmallEngine()], HandOver()
    sync(handover, engines, 1)
    with pytest.raises(ValueError, match="a wrong checksum"):
        sync(handover, engines, 2)
    assert [engine.version for engine in engines] == [1, 1, 1] and handover.served_version == 1
    assert [engine.calls[2:] for engine in engines] == [["stage_weights"]] * 3


def test_a_failed_swap_is_repeated_on_all_engines_those_that_took_it_included() -> None:
    engines, handover = [SmallEngine(), SmallEngine("", "fail")], HandOver()
    sync(handover, engines, 1)
    assert [engine.version for engine in engines] == [1, 1]
    assert [engine.calls for engine in engines] == [["stage_weights", "commit_weights"] * 2] * 2


def test_a_swap_that_fails_twice_breaks_the_engines_and_nobody_knows_what_they_serve() -> None:
    engines, handover = [SmallEngine(), SmallEngine("", "fail", "", "fail")], HandOver()
    with pytest.raises(EngineBroken, match="version 1 could not be swapped in twice: the swap failed, the old"):
        sync(handover, engines, 1)
    assert handover.served_version is None


@pytest.mark.parametrize("fault", ["break", "die", "hang"])
@pytest.mark.parametrize("call", [0, 1], ids=["stage", "commit"])
def test_an_engine_that_is_lost_ends_the_hand_over_at_once(fault: str, call: int) -> None:
    engines, handover = [SmallEngine(), SmallEngine(*[""] * call, fault)], HandOver()
    with pytest.raises(type(FAULTS[fault])):
        sync(handover, engines, 1)
    assert len(engines[1].calls) == call + 1


def test_the_gravest_fault_is_told_and_only_after_all_engines_have_answered() -> None:
    class Slow(SmallEngine):
        async def ask(self, method: str, *args: Any, **kwargs: Any) -> Any:
            for _ in range(9):
                await asyncio.sleep(0)
            return await super().ask(method, *args, **kwargs)

    slow = Slow()
    with pytest.raises(ActorLost):
        asyncio.run(
            ask_all(
                [SmallEngine("fail"), SmallEngine("die"), SmallEngine("break"), slow],
                "stage_weights", 1, copy=None, is_reswap=False, setting="swap_seconds",
            )
        )  # fmt: skip
    assert slow.staged == 1


def test_a_copy_on_the_learners_device_is_offered_to_all_once_and_no_more_where_a_swap_is_tried_again() -> None:
    class Offered(SmallEngine):
        def stage_weights(self, artefact: int, *, copy: Any, is_reswap: bool) -> None:
            self.calls.append(copy)
            super().stage_weights(artefact, copy=copy, is_reswap=is_reswap)

    engines, copy, handover = [Offered(), Offered("", "fail")], cast("DeviceCopy", "where it is"), HandOver()
    asyncio.run(handover.sync_weights(engines, weights(1), copy=copy))
    calls = ["stage_weights", copy, "commit_weights", "stage_weights", None, "commit_weights"]
    assert [engine.calls for engine in engines] == [calls] * 2


def test_after_an_engine_was_exchanged_the_others_take_the_same_version_or_an_older_one_again() -> None:
    engines, handover = [SmallEngine(), SmallEngine()], HandOver()
    sync(handover, engines, 5)
    engines[1] = SmallEngine()
    handover.forget()
    sync(handover, engines, 4)  # the run was rewound
    assert [engine.version for engine in engines] == [4, 4]
    engines[0] = SmallEngine(version=9)  # in order, an older version is a mistake
    with pytest.raises(ValueError, match="version 5 is not newer than 9"):
        sync(handover, engines, 5)


@given(
    st.lists(st.lists(st.lists(st.sampled_from(["", "", "", *FAULTS]), max_size=6), min_size=3, max_size=3), max_size=5)
)
def test_after_any_faults_all_engines_serve_the_version_or_the_hand_over_raised(rounds: list[list[list[str]]]) -> None:
    """And whoever rebuilds those that were lost goes on: the next version, or the same one again, is handed over."""
    engines, handover, version = [SmallEngine() for _ in range(3)], HandOver(), 0
    for faults in rounds:
        for engine, coming in zip(engines, faults, strict=True):
            engine.faults = list(coming)
        try:
            sync(handover, engines, version)
        except (ValueError, EngineBroken, ActorLost, DeadlineExceeded):
            assert {handover.served_version} in ({None}, {engine.version for engine in engines})
            if handover.served_version is None:
                engines = [SmallEngine() if i == 1 else engine for i, engine in enumerate(engines)]
                handover.forget()
        else:
            assert [engine.version for engine in engines] == [version] * 3 and handover.served_version == version
            version += 1
    for engine in engines:
        engine.faults = []
    sync(handover, engines, version)
    assert [engine.version for engine in engines] == [version] * 3
