"""An engine on two GPUs: each applies its slices bit for bit, swaps and nights are exact in both, memory is flat."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from rl.learner import Learner
from rollout.engine.engine import VLLMEngine
from rollout.engine.states import WrongState
from rollout.weights.contract import WeightArtefact
from tests.gpu.policies import SHAPE, settings, two_versions
from tests.gpu.test_laws import NUM_TURNS, REQUESTS, graphs_are_on, night
from tests.integration.test_engine import addresses, draw, serve
from tests.integration.test_tensor_parallel import SIZE, check_law

pytestmark = pytest.mark.skipif(
    torch.cuda.device_count() < SIZE, reason=f"needs {SIZE} CUDA devices, and {torch.cuda.device_count()} are here"
)
NUM_LAYERS = int(SHAPE["num_hidden_layers"] or 0)


@pytest.fixture(scope="module")
def plan(learner: Learner) -> dict[str, str]:
    return dict(learner.model.config.base_model_tp_plan)


@pytest.fixture(scope="module")
def versions(learner: Learner, folder: Path) -> list[WeightArtefact]:
    return [artefact for artefact, _ in two_versions(learner)]


@pytest.fixture(scope="module")
def engine(folder: Path, versions: list[WeightArtefact]) -> Iterator[VLLMEngine]:
    engine = VLLMEngine(replace(settings(folder), tensor_parallel=SIZE))
    yield engine
    engine.close()


@pytest.fixture(autouse=True)
def serve_a(engine: VLLMEngine, versions: list[WeightArtefact]) -> None:
    serve(engine, versions[0])


def device_of(worker: Any) -> int:
    return worker.device.index


def free_bytes(worker: Any) -> int:
    torch.cuda.synchronize(worker.device)
    return torch.cuda.mem_get_info(worker.device)[0]


def test_each_process_has_a_gpu_of_its_own_and_captured_graphs(engine: VLLMEngine) -> None:
    assert engine.on_workers(device_of) == list(range(SIZE))
    assert engine.on_workers(graphs_are_on) == [True] * SIZE


def test_the_engines_own_process_leaves_the_gpus_to_others(folder: Path) -> None:
    """In a process of its own: this one does not."""
    asks = (
        "import sys; from dataclasses import replace; from pathlib import Path; import torch; "
        "from rollout.engine.engine import VLLMEngine; from tests.gpu.policies import settings; "
        f"engine = VLLMEngine(replace(settings(Path(sys.argv[1])), tensor_parallel={SIZE})); "
        "print(torch.cuda.is_initialized()); engine.close()"
    )
    told = subprocess.run([sys.executable, "-c", asks, str(folder)], capture_output=True, text=True, timeout=600)
    assert "False" in told.stdout.split(), told.stdout + told.stderr


@pytest.mark.parametrize("version", [0, 1])
def test_each_gpu_applies_its_slice_of_the_packed_bytes(engine: VLLMEngine, versions, plan, version: int) -> None:
    serve(engine, versions[version])
    check_law(engine, versions[version], plan, num_layers=NUM_LAYERS)


def test_going_to_b_and_back_to_a_restores_samples_and_addresses_on_both(engine: VLLMEngine, versions) -> None:
    at, first = engine.on_workers(addresses), draw(engine, REQUESTS)
    serve(engine, versions[1])
    other = draw(engine, REQUESTS)
    assert all(other[i].logprobs != first[i].logprobs for i in first)
    serve(engine, versions[0])
    assert draw(engine, REQUESTS) == first
    assert engine.on_workers(addresses) == at


def test_a_night_and_a_commit_restore_samples_and_slices(engine: VLLMEngine, versions, plan) -> None:
    at, first = engine.on_workers(addresses), draw(engine, REQUESTS)
    engine.sleep()
    engine.wake("weights")
    with pytest.raises(WrongState, match="garbage"):
        engine.submit(REQUESTS)
    serve(engine, versions[0])
    engine.wake("kv_cache")
    assert draw(engine, REQUESTS) == first
    check_law(engine, versions[0], plan, num_layers=NUM_LAYERS)
    assert engine.on_workers(addresses) == at


def test_sleep_frees_half_of_the_kv_cache_on_each_gpu_at_least(engine: VLLMEngine, versions) -> None:
    before = engine.on_workers(free_bytes)
    engine.sleep()
    freed = [now - was for now, was in zip(engine.on_workers(free_bytes), before, strict=True)]
    engine.wake("weights")
    serve(engine, versions[0])
    engine.wake("kv_cache")
    assert min(freed) >= engine.settings.kv_cache_bytes // SIZE


def test_memory_is_flat_on_both_over_twenty_turns(engine: VLLMEngine, versions) -> None:
    free = []
    for turn in range(NUM_TURNS):
        night(engine, versions[turn % 2])
        draw(engine, REQUESTS[:8])
        free.append(min(engine.on_workers(free_bytes)))
    settled = free[4]  # the first turns fill caches of allocators
    assert min(free[4:]) >= settled - (2 << 20), f"free MiB after each turn: {[n >> 20 for n in free]}"  # a segment
