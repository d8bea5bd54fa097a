"""Real Ray nodes: one dies with the learner, an engine, and the only copy of what the learner has published.

What is made of each fault, tests/unit/rl/test_calls.py and test_cluster.py show; here, that Ray raises these.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import ray
from ray.cluster_utils import Cluster as Nodes

from configs.schema import Config
from rl.actors import _OWN_CLUSTER, Actors
from rl.calls import Actor
from rl.cluster import Cluster
from rl.faults import ActorLost, HandedLost
from rl.learner import Learner
from rollout.engine.process import EngineProcess
from tests.contract.rl.mortal import HandedEngine, MortalLearner

pytestmark = pytest.mark.slow
STORE = {"object_store_memory": 100 << 20}
LOOKS_OFTEN = {"health_check_initial_delay_ms": 100, "health_check_period_ms": 100}
"""A node that is gone refuses at once to be looked at; one that is busy may take as long as ever to answer."""


class LightActors(Actors):
    """Ray's, of a light learner and light engines. `running` has them by name."""

    def __init__(self, config: Config) -> None:
        super().__init__(config)
        self.running: dict[str, Actor] = {}

    def start(self, kind: type, *args: Any, name: str, **options: Any) -> Actor:
        light = {Learner: MortalLearner, EngineProcess: HandedEngine}[kind]
        self.running[name] = super().start(light, name=name, **options)
        return self.running[name]


@pytest.fixture
def nodes() -> Iterator[Nodes]:
    """A head for the driver, and two nodes with room for a bundle each."""
    system = {"_system_config": _OWN_CLUSTER | LOOKS_OFTEN}
    made = Nodes(initialize_head=True, head_node_args={"num_cpus": 0, "include_dashboard": False, **system, **STORE})
    for _ in range(2):
        made.add_node(num_cpus=2, **STORE)
    ray.init(address=made.address, log_to_driver=False)
    yield made
    ray.shutdown()
    made.shutdown()


def test_a_learner_whose_node_died_while_engines_sampled_is_started_anew_and_engines_elsewhere_live_on(
    nodes: Nodes, tmp_path: Path
) -> None:
    config = Config.model_validate(
        {
            "model": {"source": "tiny"},
            "gyms": [{"name": "arithmetic"}],
            "engine": {"num_engines": 2},
            "cluster": {"cpus_per_bundle": 2},
        }
    )
    chat: Any = SimpleNamespace(end_token_ids=(0,))

    async def serve(cluster: Cluster, version: int) -> None:
        async with cluster.keeping() as learner:
            weights = await learner.publish(version)
        async with cluster.generating(weights):
            pass

    async def run() -> None:
        actors = LightActors(config)
        async with Cluster(
            config, model_folder=tmp_path / "base", initial_int4=tmp_path / "int4", chat=chat, processes=actors
        ) as cluster:
            await serve(cluster, 0)
            weights = await cluster.learner.publish(1)
            learner, beside, elsewhere = (actors.running[name] for name in ("learner", "engine 0", "engine 1"))
            places = [await one.ask("node", setting="start_seconds") for one in (learner, beside, elsewhere)]
            assert places[0] == places[1] != places[2]
            pid = await elsewhere.ask("pid", setting="start_seconds")
            lost = next(one for one in nodes.worker_nodes if one.node_id == places[0])
            nodes.remove_node(lost, allow_graceful=False)
            with pytest.raises(ActorLost):
                async with cluster.generating(weights):
                    pass
            assert not cluster.learner.is_lost, "nobody has asked it"
            assert beside.failure is not None and not isinstance(beside.failure, HandedLost)
            assert isinstance(elsewhere.failure, HandedLost) and "stage_weights" in str(elsewhere.failure)
            nodes.add_node(num_cpus=2, **STORE)
            assert await cluster.start_anew(), "a checkpoint is to be loaded"
            await serve(cluster, 1)
            assert actors.running["engine 1"] is elsewhere
            assert await elsewhere.ask("pid", setting="start_seconds") == pid
            assert actors.running["learner"] is not learner and actors.running["engine 0"] is not beside

    asyncio.run(run())
