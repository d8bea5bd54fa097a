"""Phases, and who is started anew: the cluster on processes that live in this one."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

from rl.cluster import Cluster
from rl.faults import ActorLost, DeadlineExceeded, HandedLost, PhaseError
from rollout.engine.device import CPU, CUDA, DeviceProfile
from rollout.engine.engine import EngineBroken
from tests.unit.rl.small_cluster import NUM_ENGINES, InThisProcess, generate, on_a_cluster


@pytest.mark.parametrize(
    ("outer", "inner"), [("generating", "learning"), ("learning", "generating"), ("keeping", "learning")]
)
def test_a_phase_that_is_entered_inside_another_is_refused_and_the_outer_one_goes_on(
    tmp_path: Path, outer: str, inner: str
) -> None:
    async def work(cluster: Cluster, here: InThisProcess) -> None:
        weights = await cluster.learner.publish(0)
        enter = {
            "generating": lambda: cluster.generating(weights),
            "learning": cluster.learning,
            "keeping": cluster.keeping,
        }
        async with enter[outer]():
            before = cluster.place.phase
            with pytest.raises(PhaseError, match=f"'{inner.removesuffix('ing')[:5]}.*during '{before}'"):
                async with enter[inner]():
                    raise AssertionError("entered")
            assert cluster.place.phase == before
        async with enter[inner]():  # and afterwards it may begin
            pass

    on_a_cluster(tmp_path, work)


def test_engines_are_there_when_the_learner_starts_and_begin_with_the_first_generating(tmp_path: Path) -> None:
    """And serve its version before its body."""

    async def work(cluster: Cluster, here: InThisProcess) -> None:
        assert here.started == ["learner", *(f"engine {i}" for i in range(NUM_ENGINES))]
        assert here.folders() == {None}
        async with cluster.generating(await cluster.learner.publish(4)):
            assert here.versions() == [4] * NUM_ENGINES and cluster.is_generating
        assert here.folders() == {tmp_path / "int4"} and not cluster.is_generating
        assert len(here.started) == 1 + NUM_ENGINES and not here.stopped

    on_a_cluster(tmp_path, work)


def test_the_start_of_engines_is_a_part_of_the_turn_in_which_they_were_missing_and_of_no_other(tmp_path: Path) -> None:
    async def work(cluster: Cluster, here: InThisProcess) -> None:
        told: list[tuple[str, float]] = []
        cluster.on_phase = lambda name, seconds: told.append((name, seconds))
        await generate(cluster, 0)
        await generate(cluster, 1)
        names, seconds = zip(*told, strict=True)
        assert names == ("start", "generate", "generate") and 0.0 < seconds[0] < seconds[1]

    on_a_cluster(tmp_path, work)


def test_an_engine_that_is_lost_before_it_begins_is_started_anew_alone(tmp_path: Path) -> None:
    async def work(cluster: Cluster, here: InThisProcess) -> None:
        here.running["engine 1"].fault = ActorLost("engine 1.begin: the process died")
        with pytest.raises(ActorLost, match=r"engine 1\.begin"):
            await generate(cluster, 0)
        assert not await cluster.start_anew() and here.stopped == ["engine 1"]
        await generate(cluster, 0)
        assert here.versions() == [0] * NUM_ENGINES

    on_a_cluster(tmp_path, work)


def test_an_engine_that_has_not_begun_when_the_user_stops_is_stopped_and_those_that_have_make_room_for_the_learner(
    tmp_path: Path,
) -> None:
    """Inside its constructor it could answer no call, and the checkpoint would wait for it."""

    async def work(cluster: Cluster, here: InThisProcess) -> None:
        here.running["engine 1"].busy_until.clear()
        turn = asyncio.create_task(generate(cluster, 0))
        while [here.running[f"engine {i}"].inside.folder for i in (0, 2)] != [tmp_path / "int4"] * 2:
            await asyncio.sleep(0)
        for _ in range(20):  # who asked them hears of it
            await asyncio.sleep(0)
        turn.cancel()
        with pytest.raises(asyncio.CancelledError):
            await turn
        assert here.stopped == ["engine 1"]
        async with asyncio.timeout(60), cluster.keeping() as learner:
            await learner.save(tmp_path)
        await generate(cluster, 1)
        assert here.versions() == [1] * NUM_ENGINES and here.started[4:] == ["engine 1"]

    on_a_cluster(tmp_path, work, device=CUDA)


@pytest.mark.parametrize("fault", [ActorLost("died"), DeadlineExceeded("late"), EngineBroken("broken")])
def test_a_lost_engine_alone_is_started_anew_and_all_serve_the_version_afterwards(
    tmp_path: Path, fault: Exception
) -> None:
    async def work(cluster: Cluster, here: InThisProcess) -> None:
        await generate(cluster, 0)
        here.running["engine 1"].fault = fault
        with pytest.raises(type(fault)):
            await generate(cluster, 1)
        assert cluster.place.phase is None
        assert not await cluster.start_anew()  # the learner holds what it held
        assert here.stopped == ["engine 1"]
        await generate(cluster, 1)
        assert here.started[4:] == ["engine 1"] and here.versions() == [1] * NUM_ENGINES

    on_a_cluster(tmp_path, work)


def test_engines_that_could_not_agree_are_all_started_anew(tmp_path: Path) -> None:
    async def work(cluster: Cluster, here: InThisProcess) -> None:
        await generate(cluster, 0)
        for engine in ("engine 0", "engine 2"):
            process = here.running[engine]
            process.inside.commit_weights = lambda version: (_ for _ in ()).throw(RuntimeError("no memory"))
        with pytest.raises(EngineBroken, match="could not be swapped in twice: no memory"):
            await generate(cluster, 1)
        assert not await cluster.start_anew()
        assert here.stopped == [f"engine {i}" for i in range(NUM_ENGINES)]
        await generate(cluster, 1)
        assert here.versions() == [1] * NUM_ENGINES

    on_a_cluster(tmp_path, work)


def test_a_lost_learner_is_started_anew_and_must_be_restored_while_the_engines_live_on(tmp_path: Path) -> None:
    async def work(cluster: Cluster, here: InThisProcess) -> None:
        await generate(cluster, 7)
        before = cluster.learner
        here.running["learner"].fault = ActorLost("learner.update: the process died")
        with pytest.raises(ActorLost):
            async with cluster.learning() as learner:
                await learner.update(None, [], lr=0.1)  # type: ignore[arg-type]
        assert before.is_lost and await cluster.start_anew()
        assert here.stopped == ["learner"] and cluster.learner is not before and not cluster.learner.is_lost
        await generate(cluster, 5)  # of the checkpoint: older than what they serve
        assert here.versions() == [5] * NUM_ENGINES

    on_a_cluster(tmp_path, work)


def test_engines_that_died_unasked_with_the_learner_before_they_began_are_started_anew_with_it(tmp_path: Path) -> None:
    """A node that dies while they start costs one restart, not one for each of them."""

    async def work(cluster: Cluster, here: InThisProcess) -> None:
        for one in here.running.values():
            one.fault = ActorLost(f"{one.name}: its node died")
        with pytest.raises(ActorLost, match="learner: its node died"):
            await cluster.learner.publish(0)
        assert await cluster.start_anew()
        await generate(cluster, 0)
        assert here.versions() == [0] * NUM_ENGINES

    on_a_cluster(tmp_path, work)


@pytest.mark.parametrize("fault", [ActorLost("died with its node"), DeadlineExceeded("late")])
def test_a_learner_that_died_unasked_while_engines_sampled_is_found_when_one_of_them_was_lost(
    tmp_path: Path, fault: Exception
) -> None:
    """Their node is gone: what an engine that is started anew would be handed lay there."""

    async def work(cluster: Cluster, here: InThisProcess) -> None:
        await generate(cluster, 0)
        before = cluster.learner
        here.running["engine 1"].failure = ActorLost("engine 1.finished: the process died")
        here.running["learner"].fault = fault
        assert not before.is_lost and await cluster.start_anew()
        assert before.is_lost and here.stopped == ["engine 1", "learner"] and not cluster.learner.is_lost
        await generate(cluster, 0)
        assert here.versions() == [0] * NUM_ENGINES

    on_a_cluster(tmp_path, work)


def test_an_engine_that_was_handed_what_is_gone_lives_on_and_the_learner_is_started_anew(tmp_path: Path) -> None:
    async def work(cluster: Cluster, here: InThisProcess) -> None:
        await generate(cluster, 0)
        here.running["engine 2"].fault = HandedLost("engine 2.stage_weights: what it was handed is lost")
        with pytest.raises(HandedLost):
            await generate(cluster, 1)
        assert await cluster.start_anew() and here.stopped == ["learner"]
        assert here.running["engine 2"].failure is None
        await generate(cluster, 1)
        assert here.versions() == [1] * NUM_ENGINES and here.started[4:] == ["learner"]

    on_a_cluster(tmp_path, work)


def test_a_learner_that_was_updated_before_an_engine_was_lost_must_be_restored_but_lives_on(tmp_path: Path) -> None:
    async def work(cluster: Cluster, here: InThisProcess) -> None:
        await generate(cluster, 0)
        async with cluster.learning() as learner:
            await learner.update(None, [], lr=0.1)  # type: ignore[arg-type]
        here.running["engine 0"].fault = ActorLost("died")
        with pytest.raises(ActorLost):
            await generate(cluster, 1)
        assert await cluster.start_anew() and here.stopped == ["engine 0"]

    on_a_cluster(tmp_path, work)


def test_weights_that_an_engine_refuses_end_the_phase_and_no_engine_is_to_blame(tmp_path: Path) -> None:
    async def work(cluster: Cluster, here: InThisProcess) -> None:
        await generate(cluster, 3)
        with pytest.raises(ValueError, match="not newer"):
            await generate(cluster, 2)
        assert here.versions() == [3] * NUM_ENGINES and cluster.place.phase is None

    on_a_cluster(tmp_path, work)


def test_the_first_that_serve_a_folder_are_those_that_waited_for_one(tmp_path: Path) -> None:
    async def work(cluster: Cluster, here: InThisProcess) -> None:
        async with cluster.serving(tmp_path / "released", quantised=False):
            assert here.folders() == {tmp_path / "released"} and len(here.started) == 1 + NUM_ENGINES

    on_a_cluster(tmp_path, work)


def test_serving_a_folder_has_engines_of_its_own_and_leaves_none_behind(tmp_path: Path) -> None:
    async def work(cluster: Cluster, here: InThisProcess) -> None:
        await generate(cluster, 0)
        async with cluster.serving(tmp_path / "released", quantised=False):
            assert here.folders() == {tmp_path / "released"}
        assert set(here.running) == {"learner"}
        await generate(cluster, 0)  # the same version: new engines do not have it
        assert here.versions() == [0] * NUM_ENGINES

    on_a_cluster(tmp_path, work)


@pytest.mark.parametrize("device", [CPU, CUDA])
def test_what_a_learner_of_several_ranks_is_asked_all_of_them_do_and_the_loss_of_one_starts_all_anew(
    tmp_path: Path, device: DeviceProfile
) -> None:
    names = [f"learner rank {i}" for i in range(2)]

    async def work(cluster: Cluster, here: InThisProcess) -> None:
        assert here.started[:2] == names
        seats = [here.running[name].inside.seat for name in names]
        assert [seat.rank for seat in seats] == [0, 1] and len({(seat.host, seat.port) for seat in seats}) == 1
        async with cluster.learning() as learner:
            await learner.update(None, [], lr=0.1)  # type: ignore[arg-type]
        assert [here.running[name].inside.num_updates for name in names] == [1, 1]
        await generate(cluster, 3)
        assert here.versions() == [3] * NUM_ENGINES
        async with cluster.learning() as learner:
            here.running[names[1]].fault = ActorLost("learner rank 1.update: the process died")
            with pytest.raises(ActorLost, match="rank 1"):
                await learner.update(None, [], lr=0.1)  # type: ignore[arg-type]
        assert cluster.learner.is_lost and await cluster.start_anew()
        assert here.stopped == names and here.started[-2:] == names and not cluster.learner.is_lost
        await generate(cluster, 4)

    on_a_cluster(tmp_path, work, device=device, num_ranks=2)


def test_on_gpus_engines_that_wake_are_offered_the_learners_copy_and_it_is_freed_before_their_kv_caches(
    tmp_path: Path,
) -> None:
    """`InThisProcess` looks after every call whether all of it fits."""

    async def work(cluster: Cluster, here: InThisProcess) -> None:
        def offered() -> list[Any]:
            return [here.running[f"engine {i}"].inside.offered for i in range(NUM_ENGINES)]

        await generate(cluster, 0)
        assert offered() == [None] * NUM_ENGINES  # they began with KV caches
        await generate(cluster, 1)
        assert offered() == ["copy of 1"] * NUM_ENGINES and here.running["learner"].inside.lent is None
        async with cluster.keeping() as learner:
            weights = await learner.publish(2)
        here.running["engine 1"].fault = ActorLost("died")
        with pytest.raises(ActorLost):
            async with cluster.generating(weights):
                pass
        assert not await cluster.start_anew()
        async with cluster.generating(weights):
            assert here.versions() == [2] * NUM_ENGINES and offered() == [None] * NUM_ENGINES
        async with cluster.keeping():
            pass
        async with cluster.generating(weights):  # the same weights once more: they come from the host
            assert here.versions() == [2] * NUM_ENGINES and offered() == [None] * NUM_ENGINES

    on_a_cluster(tmp_path, work, device=CUDA, borrows=True)


@pytest.mark.parametrize(("device", "borrows"), [(CPU, True), (CUDA, False)])
def test_where_nobody_would_take_it_no_copy_is_made(tmp_path: Path, device: DeviceProfile, borrows: bool) -> None:
    async def work(cluster: Cluster, here: InThisProcess) -> None:
        async with cluster.keeping() as learner:
            await learner.publish(0)
            assert learner.copy is None and not learner.lends

    on_a_cluster(tmp_path, work, device=device, borrows=borrows)
