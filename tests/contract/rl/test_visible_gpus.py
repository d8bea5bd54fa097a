"""Which GPUs a real Ray's actors see: an engine all of its bundle, a rank of the learner one. No GPU is touched."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

import pytest
import ray

from configs.schema import Config
from rl.actors import _OWN_CLUSTER, Actors
from rl.bundles import spots_of_ranks
from tests.contract.rl.resident import Resident

NUM_GPUS = 4


@pytest.fixture(scope="module", autouse=True)
def cluster_of_ray() -> Iterator[None]:
    """Ray believes what it is told of GPUs."""
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("CUDA_VISIBLE_DEVICES", raising=False)  # it would be believed in their place
        ray.init(
            address="local", num_cpus=4, num_gpus=NUM_GPUS, include_dashboard=False, log_to_driver=False,
            object_store_memory=100 << 20, _system_config=_OWN_CLUSTER,
        )  # fmt: skip
    yield
    ray.shutdown()


def seen(*, num_engines: int, num_ranks: int, size: int, separate: bool = False) -> dict[str, tuple[list[str], int]]:
    """GPUs and threads of all residents, which are there at the same time; by name."""
    config = Config.model_validate(
        {
            "model": {"source": "tiny"},
            "gyms": [{"name": "arithmetic"}],
            "engine": {"num_engines": num_engines, "tensor_parallel": size},
            "learner": {"num_ranks": num_ranks},
            "cluster": {"separate": separate},
        }
    )

    async def run() -> dict[str, tuple[list[str], int]]:
        async with Actors(config) as actors:
            ranks = [
                actors.start(Resident, name=f"rank {i}", bundle=bundle, device=device, environment={})
                for i, (bundle, device) in enumerate(spots_of_ranks(config, actors.device))
            ]
            engines = [actors.start(Resident, name=f"engine {i}", bundle=i, environment={}) for i in range(num_engines)]
            return {one.name: await one.ask("seen", setting="start_seconds") for one in (*ranks, *engines)}

    return asyncio.run(run())


def test_an_engine_sees_all_gpus_of_its_bundle_and_each_rank_there_one_of_them() -> None:
    found = seen(num_engines=2, num_ranks=4, size=2)
    gpus = {name: one for name, (one, _) in found.items()}
    assert sorted(gpus["engine 0"] + gpus["engine 1"]) == ["0", "1", "2", "3"]
    assert gpus["rank 0"] + gpus["rank 1"] == gpus["engine 0"]
    assert gpus["rank 2"] + gpus["rank 3"] == gpus["engine 1"]
    assert {name.split()[0]: threads for name, (_, threads) in found.items()} == {"rank": 1, "engine": 2}


def test_with_devices_of_their_own_no_gpu_is_seen_by_two() -> None:
    found = seen(num_engines=1, num_ranks=2, size=2, separate=True)
    assert sorted(gpu for gpus, _ in found.values() for gpu in gpus) == ["0", "1", "2", "3"]
    assert len(found["engine 0"][0]) == 2


def test_an_engine_of_one_gpu_shares_it_with_a_rank() -> None:
    found = seen(num_engines=2, num_ranks=2, size=1)
    assert found["rank 0"] == found["engine 0"] and found["rank 1"] == found["engine 1"]
    assert found["engine 0"][0] != found["engine 1"][0] and len(found["engine 0"][0]) == 1
