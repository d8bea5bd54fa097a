"""An engine on a GPU obeys the laws that it obeys on a CPU: exact weights, exact swaps under graphs, exact nights."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from rl.learner import Learner
from rollout.engine.device import CUDA
from rollout.engine.engine import VLLMEngine
from rollout.engine.states import WrongState
from rollout.weights.contract import WeightArtefact
from tests.gpu.policies import Version, differing, settings, two_versions
from tests.integration.test_engine import addresses, draw, request, serve

REQUESTS = [replace(request(i, budget=24), prompt_ids=tuple(2 + (i * 7 + j * 3) % 90 for j in range(3 + i % 9)))
            for i in range(48)]  # fmt: skip
NUM_TURNS = 20


@pytest.fixture(scope="module")
def versions(learner: Learner, folder: Path) -> tuple[Version, Version]:
    return two_versions(learner)


@pytest.fixture(scope="module")
def engine(folder: Path, versions: tuple[Version, Version]) -> Iterator[VLLMEngine]:
    engine = VLLMEngine(settings(folder))
    yield engine
    engine.close()


@pytest.fixture(autouse=True)
def serve_a(engine: VLLMEngine, versions) -> None:
    serve(engine, versions[0][0])


def graphs_are_on(worker: Any) -> bool:
    return not worker.model_config.enforce_eager


def night(engine: VLLMEngine, artefact: WeightArtefact) -> None:
    engine.sleep()
    engine.wake("weights")
    serve(engine, artefact)
    engine.wake("kv_cache")


def test_the_engine_runs_as_the_cuda_profile_says(engine: VLLMEngine) -> None:
    assert engine._device is CUDA
    assert engine.on_worker(graphs_are_on)
    assert engine.num_quantised_layers > 0


@pytest.mark.parametrize("version", [0, 1])
def test_kernels_apply_the_learners_forward_weights_bit_for_bit(engine: VLLMEngine, versions, version: int) -> None:
    artefact, forward = versions[version]
    serve(engine, artefact)
    assert differing(engine.on_worker("k2rl_effective_weights"), forward) == []


def test_going_to_b_and_back_to_a_under_captured_graphs_restores_samples_and_addresses(
    engine: VLLMEngine, versions
) -> None:
    at, first = engine.on_worker(addresses), draw(engine, REQUESTS)
    serve(engine, versions[1][0])
    other = draw(engine, REQUESTS)
    assert all(other[i].logprobs != first[i].logprobs for i in first)
    serve(engine, versions[0][0])
    assert draw(engine, REQUESTS) == first
    assert engine.on_worker(addresses) == at


@pytest.mark.parametrize("version", [0, 1])
def test_captured_graphs_and_eager_prefill_read_the_same_weights(engine: VLLMEngine, versions, version: int) -> None:
    """Samples decode through graphs, probes are prefilled eagerly: a graph that reads old weights is nats away."""
    serve(engine, versions[version][0])
    samples = list(draw(engine, REQUESTS).values())
    probes = engine.prompt_logprobs([sample.prompt_ids + sample.token_ids for sample in samples])
    gaps = [
        abs(ours - theirs)
        for sample, probe in zip(samples, probes, strict=True)
        for ours, theirs in zip(sample.logprobs, probe[len(sample.prompt_ids) - 1 :], strict=True)
    ]
    assert sum(gaps) / len(gaps) < 0.05


def test_a_night_at_level_2_and_a_commit_restore_samples_and_weights(engine: VLLMEngine, versions) -> None:
    artefact, forward = versions[0]
    first, at = draw(engine, REQUESTS), engine.on_worker(addresses)
    night(engine, artefact)
    assert draw(engine, REQUESTS) == first
    assert differing(engine.on_worker("k2rl_effective_weights"), forward) == []
    assert engine.on_worker(addresses) == at


def test_a_woken_engine_refuses_to_sample_garbage(engine: VLLMEngine, versions) -> None:
    engine.sleep()
    engine.wake("weights")
    with pytest.raises(WrongState, match="garbage"):
        engine.submit(REQUESTS)
    serve(engine, versions[0][0])
    engine.wake("kv_cache")


def free_bytes() -> int:
    torch.cuda.synchronize()
    return torch.cuda.mem_get_info()[0]


def test_sleep_gives_the_kv_cache_and_the_weights_back(engine: VLLMEngine, versions, folder: Path) -> None:
    before = free_bytes()
    engine.sleep()
    freed = free_bytes() - before
    weights = sum(file.stat().st_size for file in folder.glob("*.safetensors"))
    engine.wake("weights")
    serve(engine, versions[0][0])
    engine.wake("kv_cache")
    assert freed >= engine.settings.kv_cache_bytes + weights // 2


def test_memory_is_flat_over_twenty_turns(engine: VLLMEngine, versions) -> None:
    free = []
    for turn in range(NUM_TURNS):
        night(engine, versions[turn % 2][0])
        draw(engine, REQUESTS[:8])
        free.append(free_bytes())
    settled = free[4]  # the first turns fill caches of allocators
    assert min(free[4:]) >= settled - (2 << 20), f"free MiB after each turn: {[n >> 20 for n in free]}"  # a segment


def test_a_learner_that_goes_to_the_host_frees_the_device_and_comes_back_with_its_bits(learner: Learner) -> None:
    masters = learner.masters
    held = [*masters.parameters.values(), *masters.images().values()]
    bits = [tensor.detach().cpu().clone() for tensor in held]
    size, before = sum(tensor.nbytes for tensor in masters.parameters.values()), free_bytes()
    learner.offload()
    assert not any(tensor.untyped_storage().nbytes() for tensor in held)
    assert free_bytes() - before >= size // 2
    learner.onload()
    assert all(torch.equal(tensor.cpu(), was) for tensor, was in zip(held, bits, strict=True))
    assert learner.publish(7).manifest.total_bytes > 0
