"""Real Ray actors that die or hang, in each phase: what is told, who is started anew, and who lives on."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import ray

from configs.schema import Config
from rl.actors import _OWN_CLUSTER, Actors
from rl.calls import Actor
from rl.checkpoint import PublishedWeights
from rl.cluster import Cluster
from rl.faults import ActorLost, DeadlineExceeded
from rl.learner import Learner
from rollout.engine.process import EngineProcess
from rollout.types import SampleRequest
from tests.contract.rl.mortal import MortalEngine, MortalLearner
from tests.integration.harness import children_named, wait_for

NUM_ENGINES = 2


class MortalActors(Actors):
    """Ray's, of a light learner and light engines. `running` has them by name."""

    def __init__(self, config: Config, *, learner: type = MortalLearner) -> None:
        super().__init__(config)
        self.learner = learner
        self.running: dict[str, Actor] = {}

    def start(self, kind: type, *args: Any, name: str, **options: Any) -> Actor:
        light = {Learner: self.learner, EngineProcess: MortalEngine}[kind]
        self.running[name] = super().start(light, name=name, **options)
        return self.running[name]

    async def pids(self) -> dict[str, int]:
        return {name: await actor.ask("pid", setting="start_seconds") for name, actor in self.running.items()}


@pytest.fixture(scope="module", autouse=True)
def cluster_of_ray() -> Iterator[None]:
    ray.init(
        address="local", num_cpus=4, include_dashboard=False, log_to_driver=False, object_store_memory=100 << 20,
        _system_config=_OWN_CLUSTER,
    )  # fmt: skip
    yield
    ray.shutdown()


class RefusingLearner(MortalLearner):
    def export(self, folder: Any) -> None:
        """Fails once the engines are there: Ray starts them all from one process."""
        wait_for(lambda: len(children_named(os.getppid(), "ray::MortalEngine")) == NUM_ENGINES)
        raise ValueError("the disk is full")


def on_a_cluster(
    folder: Path,
    work: Callable[[Cluster, MortalActors], Awaitable[None]],
    *,
    learner: type = MortalLearner,
    **deadlines: float,
) -> None:
    config = Config.model_validate(
        {
            "model": {"source": "tiny"},
            "gyms": [{"name": "arithmetic"}],
            "engine": {"num_engines": NUM_ENGINES},
            "cluster": {"cpus_per_bundle": 2, **deadlines},
        }
    )
    chat: Any = SimpleNamespace(end_token_ids=(0,))

    async def run() -> None:
        actors = MortalActors(config, learner=learner)
        async with Cluster(
            config, model_folder=folder / "base", initial_int4=folder / "int4", chat=chat, processes=actors
        ) as cluster:
            cluster.place.step = 7
            await work(cluster, actors)

    asyncio.run(run())


async def rollout(cluster: Cluster, version: int) -> None:
    """A turn of the engines in which each is asked for samples, and all are of the version."""
    weights = PublishedWeights(version=version, handle=version, num_bytes=0, pack_seconds=0.0)
    async with cluster.generating(weights) as policy:
        requests = [
            SampleRequest(id=f"{i}/{k}", prompt_ids=(1,), temperature=1.0, seed=0, budget=1)
            for i in range(NUM_ENGINES)
            for k in range(2)
        ]
        samples = await asyncio.gather(*(policy.sample(one, group=one.id[0]) for one in requests))
    assert [sample.segments[0].weight_version for sample in samples] == [version] * len(requests)


def test_an_engine_that_dies_in_any_call_of_a_phase_is_named_and_it_alone_is_started_anew(tmp_path: Path) -> None:
    """Its first call, before it serves anything, is `begin`."""

    async def work(cluster: Cluster, actors: MortalActors) -> None:
        for version, method in enumerate(("begin", "stage_weights", "commit_weights", "submit", "finished")):
            before = await actors.pids()
            await actors.running["engine 1"].ask("doom", method, "die", setting="start_seconds")
            called = method if version <= 2 else "(submit|finished)"  # whichever call is in flight hears of it
            with pytest.raises(
                ActorLost, match=rf"^engine 1\.{called} in phase 'generate' of step 7: the process died"
            ):
                await rollout(cluster, version)
            assert not await cluster.start_anew()
            await rollout(cluster, version)
            after = await actors.pids()
            assert {name for name in before if before[name] != after[name]} == {"engine 1"}, method

    on_a_cluster(tmp_path, work)


def test_a_learner_that_fails_at_its_start_leaves_no_engine_that_waits_for_it(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="the disk is full"):
        on_a_cluster(tmp_path, rollout, learner=RefusingLearner)
    wait_for(lambda: children_named(os.getpid(), "ray::MortalEngine") == [])


def test_an_engine_that_hangs_in_a_swap_is_told_with_the_setting_and_started_anew(tmp_path: Path) -> None:
    async def work(cluster: Cluster, actors: MortalActors) -> None:
        await rollout(cluster, 0)
        await actors.running["engine 0"].ask("doom", "commit_weights", "hang", setting="start_seconds")
        told = (
            r"^engine 0\.commit_weights in phase 'generate' of step 7 did not answer within 5 s; .* cluster\.swap_sec"
        )
        with pytest.raises(DeadlineExceeded, match=told):
            await rollout(cluster, 1)
        assert not await cluster.start_anew()
        await rollout(cluster, 1)

    on_a_cluster(tmp_path, work, swap_seconds=5.0)


def test_a_learner_that_dies_is_started_anew_and_the_engines_live_on_and_may_be_handed_an_older_version(
    tmp_path: Path,
) -> None:
    async def work(cluster: Cluster, actors: MortalActors) -> None:
        await rollout(cluster, 3)
        for phase, method in (("learn", "update"), ("keep", "save")):
            before = await actors.pids()
            await actors.running["learner"].ask("doom", method, "die", setting="start_seconds")
            with pytest.raises(ActorLost, match=rf"^learner\.{method} in phase '{phase}' of step 7: the process died"):
                async with cluster.learning() if phase == "learn" else cluster.keeping() as learner:
                    if phase == "learn":
                        await learner.update(None, [], lr=0.1)  # type: ignore[arg-type]
                    else:
                        await learner.save(tmp_path)
            assert await cluster.start_anew(), "a checkpoint is to be loaded"
            after = await actors.pids()
            assert {name for name in before if before[name] != after[name]} == {"learner"}
            await rollout(cluster, 2)

    on_a_cluster(tmp_path, work)
