"""A run's processes on the Ray of RAY_ADDRESS, without models: a learner that publishes bytes, engines that take them.

python -m tests.integration.light_cluster FOLDER NUM_ENGINES NUM_BYTES NUM_VERSIONS
"""

from __future__ import annotations

import asyncio
import json
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import torch

from configs.schema import Config
from rl.actors import Actors
from rl.calls import Actor
from rl.cluster import Cluster
from rl.learner import Learner
from rollout.engine.process import EngineProcess
from rollout.weights.changes import Changes, changes
from rollout.weights.contract import WeightArtefact
from rollout.weights.receiver import check_bytes
from rollout.weights.sender import build_artefact
from tests.contract.rl.mortal import MortalEngine, MortalLearner


class PublishingLearner(MortalLearner):
    """Its weights are as many bytes as its settings say, other ones in each version."""

    def __init__(self, num_bytes: int) -> None:
        super().__init__()
        self.num_bytes = num_bytes

    def publish_shared(
        self, version: int, *, before: WeightArtefact | None, lends: bool
    ) -> tuple[WeightArtefact, Changes]:
        words = np.random.default_rng(version).integers(0, 2**31, (self.num_bytes // 32, 8), dtype=np.int32)
        artefact = build_artefact([("layer.weight_packed", torch.from_numpy(words))], version)
        return artefact, changes(before, artefact)


class TakingEngine(MortalEngine):
    """Checks every byte of what it is handed."""

    def stage_weights(self, artefact: WeightArtefact, *, copy: Any, is_reswap: bool) -> None:  # type: ignore[override]
        check_bytes(artefact)
        super().stage_weights(artefact.manifest.version, copy=copy, is_reswap=is_reswap)


class LightActors(Actors):
    """Starts those in the place of real ones."""

    def __init__(self, config: Config, num_bytes: int) -> None:
        super().__init__(config)
        self._num_bytes = num_bytes

    def start(self, kind: type, *args: Any, name: str, **options: Any) -> Actor:
        if kind is Learner:
            return super().start(PublishingLearner, self._num_bytes, name=name, **options)
        assert kind is EngineProcess
        return super().start(TakingEngine, name=name, **options)


async def hand_over(folder: Path, *, num_engines: int, num_bytes: int, num_versions: int) -> list[float | None]:
    """All engines serve every version in turn; which fraction of codes each changed."""
    config = Config.model_validate(
        {
            "model": {"source": "tiny"},
            "gyms": [{"name": "arithmetic"}],
            "engine": {"num_engines": num_engines},
            "cluster": {"cpus_per_bundle": 1},
        }
    )
    chat: Any = SimpleNamespace(end_token_ids=(0,))
    found = []
    async with Cluster(
        config,
        model_folder=folder / "base",
        initial_int4=folder / "int4",
        chat=chat,
        processes=LightActors(config, num_bytes),
    ) as cluster:
        for version in range(num_versions):
            async with cluster.learning() as learner:
                weights = await learner.publish(version)
            assert weights.num_bytes == num_bytes
            found.append(weights.code_flip_frac)
            async with cluster.generating(weights):
                pass
    return found


if __name__ == "__main__":
    numbers = map(int, sys.argv[2:])
    work = hand_over(Path(sys.argv[1]), num_engines=next(numbers), num_bytes=next(numbers), num_versions=next(numbers))
    print(json.dumps(asyncio.run(work)))
