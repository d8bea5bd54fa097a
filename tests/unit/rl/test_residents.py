"""Memory in turns: on devices that hold the learner or the engines, whatever is lost on the way."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rl.cluster import Cluster
from rl.faults import ActorLost
from rollout.engine.device import CUDA
from rollout.engine.states import EngineBroken, EngineState
from tests.unit.rl.small_cluster import NUM_ENGINES, InThisProcess, generate, on_a_cluster

ENGINES = [f"engine {i}" for i in range(NUM_ENGINES)]


async def turn(cluster: Cluster, here: InThisProcess, kind: str, weights: Any) -> None:
    """One phase, whose body finds what it needs."""
    if kind == "generate":
        async with cluster.generating(weights):
            assert {here.running[name].inside.state for name in ENGINES} == {EngineState.SERVING}
            assert here.versions() == [weights.version] * NUM_ENGINES
    elif kind == "serve":
        async with cluster.serving(Path("released"), quantised=False):
            assert {here.running[name].inside.state for name in ENGINES} == {EngineState.SERVING}
    else:
        async with cluster.learning() if kind == "learn" else cluster.keeping():
            assert here.running["learner"].inside.has_memory


def test_where_there_is_room_for_both_nobody_is_asked_to_move(tmp_path: Path) -> None:
    async def work(cluster: Cluster, here: InThisProcess) -> None:
        for version in range(2):
            await generate(cluster, version)
        assert all(process.inside.has_memory for process in here.running.values())

    on_a_cluster(tmp_path, work)


def test_a_woken_engine_is_handed_the_version_that_it_served_before_it_slept(tmp_path: Path) -> None:
    async def work(cluster: Cluster, here: InThisProcess) -> None:
        async with cluster.keeping() as learner:
            weights = await learner.publish(4)
        await turn(cluster, here, "generate", weights)
        assert cluster.handover.take_times() is not None
        await turn(cluster, here, "generate", weights)  # nobody slept in between
        assert cluster.handover.take_times() is None
        await turn(cluster, here, "learn", weights)
        assert here.versions() == [-1] * NUM_ENGINES
        await turn(cluster, here, "generate", weights)
        assert cluster.handover.take_times() is not None

    on_a_cluster(tmp_path, work, device=CUDA)


def test_an_engine_that_is_started_anew_starts_on_a_device_that_the_learner_has_left(tmp_path: Path) -> None:
    async def work(cluster: Cluster, here: InThisProcess) -> None:
        await generate(cluster, 0)
        here.running["engine 2"].fault = ActorLost("died")
        with pytest.raises(ActorLost):
            await turn(cluster, here, "learn", None)  # it was to sleep
        assert not await cluster.start_anew()
        await generate(cluster, 0)
        assert here.versions() == [0] * NUM_ENGINES

    on_a_cluster(tmp_path, work, device=CUDA)


@pytest.mark.parametrize("busy", ["learner", "engine 1"])
def test_who_stops_a_run_while_memory_changes_hands_saves_a_learner_that_has_its_own(tmp_path: Path, busy: str) -> None:
    """The process does to its end what it was asked, though nobody waits for it any more."""

    async def work(cluster: Cluster, here: InThisProcess) -> None:
        await generate(cluster, 0)
        async with cluster.learning() as learner:
            weights = await learner.publish(1)
        here.running[busy].busy_until.clear()
        going = asyncio.create_task(turn(cluster, here, "generate", weights))
        for _ in range(100):
            await asyncio.sleep(0)
        going.cancel()
        with pytest.raises(asyncio.CancelledError):
            await going
        here.running[busy].busy_until.set()
        async with asyncio.timeout(60), cluster.keeping() as learner:
            await learner.save(tmp_path)
        assert {here.running[name].inside.state for name in ENGINES} == {EngineState.ASLEEP}
        await turn(cluster, here, "generate", weights)

    on_a_cluster(tmp_path, work, device=CUDA)


faults = st.tuples(
    st.sampled_from(["learner", *ENGINES]), st.integers(0, 5), st.sampled_from([ActorLost, EngineBroken])
)
steps = st.tuples(st.sampled_from(["generate", "next", "learn", "keep", "serve"]), st.lists(faults, max_size=2))


@given(st.lists(steps, max_size=8))
def test_whatever_is_lost_in_whichever_turn_nobody_runs_out_of_memory_and_the_turn_can_be_taken_again(
    tmp_path_factory: pytest.TempPathFactory, steps: list[tuple[str, list[tuple[str, int, type[Exception]]]]]
) -> None:
    folder = tmp_path_factory.getbasetemp() / "residents"

    async def work(cluster: Cluster, here: InThisProcess) -> None:
        async with cluster.keeping() as learner:
            weights = await learner.publish(0)
        for kind, coming in steps:
            if kind == "next":
                async with cluster.keeping() as learner:
                    weights = await learner.publish(weights.version + 1)
            kind = "generate" if kind == "next" else kind
            for name, num_spared, error in coming:
                if name in here.running:
                    here.running[name].fault, here.running[name].num_spared = error(name), num_spared
            try:
                await turn(cluster, here, kind, weights)
            except (ActorLost, EngineBroken):
                for process in here.running.values():
                    process.fault = None
                await cluster.start_anew()
                await turn(cluster, here, kind, weights)
            for process in here.running.values():
                process.fault = None

    on_a_cluster(folder, work, device=CUDA)
