"""Packed weights from the learner's GPU memory into an engine of another process, by CUDA IPC; then it is free."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import torch

from rollout.engine.device import CUDA
from rollout.engine.engine import SwapTiming, VLLMEngine
from rollout.weights.contract import WeightArtefact
from rollout.weights.device_copy import DeviceCopy, Lender, word_sum
from rollout.weights.receiver import flat_bytes
from rollout.weights.sender import build_artefact
from tests.gpu.policies import build_learner, differing, settings
from tests.gpu.test_laws import REQUESTS, free_bytes
from tests.integration.lending import LendingProcess
from tests.integration.test_engine import addresses, draw

NUM_TURNS = 20
SEGMENT = 20 << 20


@pytest.fixture(scope="module")
def lender(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LendingProcess]:
    folder = tmp_path_factory.mktemp("lender")
    build_learner(folder, kind="qwen2", group_size=32)  # with biases; it is let go
    torch.cuda.empty_cache()
    lender = LendingProcess(folder, folder / "model", dtype="bfloat16", environment=CUDA.learner_environment)
    yield lender
    lender.close()


@pytest.fixture(scope="module")
def engine(lender: LendingProcess) -> Iterator[VLLMEngine]:
    engine = VLLMEngine(settings(lender.folder / "int4"))
    artefact, _, copy = lender.publish(0)  # what is loaded and compiled at the first time takes memory for good
    serve(engine, artefact, copy)
    lender.take_back()
    yield engine
    engine.close()


def serve(engine: VLLMEngine, artefact: WeightArtefact, copy: DeviceCopy | None = None) -> SwapTiming:
    engine.stage_weights(artefact, copy=copy, is_reswap=True)
    return engine.commit_weights(artefact.manifest.version)


def free_of_caches() -> int:
    """Bytes of the device that neither process holds; this one's allocator keeps nothing back."""
    torch.cuda.empty_cache()
    return free_bytes()


def test_a_gpu_sums_words_up_as_a_cpu() -> None:
    for num_words in (1, 1000, (1 << 22) + 7):
        generator = torch.Generator().manual_seed(num_words)
        flat = torch.randint(0, 256, (8 * num_words,), generator=generator, dtype=torch.uint8)
        assert word_sum(flat.cuda()) == word_sum(flat)


def test_a_swap_over_ipc_from_a_learner_that_is_on_the_host_equals_a_swap_from_the_host(
    engine: VLLMEngine, lender: LendingProcess
) -> None:
    at = engine.on_worker(addresses)
    artefact, forward, copy = lender.publish(1)
    assert copy is not None and copy.checksum == word_sum(flat_bytes(artefact))
    assert serve(engine, artefact, copy).is_lent
    lender.take_back()
    assert differing(engine.on_worker("k2rl_effective_weights"), forward) == []
    samples = draw(engine, REQUESTS)
    assert not serve(engine, artefact).is_lent
    assert differing(engine.on_worker("k2rl_effective_weights"), forward) == []
    assert draw(engine, REQUESTS) == samples and engine.on_worker(addresses) == at


def test_where_the_device_has_no_room_for_a_copy_the_artefact_is_made_all_the_same() -> None:
    named, lender = [("a.weight_packed", torch.arange(8 << 20, dtype=torch.int32))], Lender()
    torch.cuda.empty_cache()
    torch.cuda.set_per_process_memory_fraction(1e-6)
    try:
        artefact = lender.publish(named, 1, torch.device("cuda", 0))
    finally:
        torch.cuda.set_per_process_memory_fraction(1.0)
    assert lender.copy is None and artefact.manifest == build_artefact(named, 1).manifest


@pytest.mark.parametrize("is_taken", [True, False])
def test_the_copys_memory_is_there_until_it_is_taken_back_and_free_afterwards(
    engine: VLLMEngine, lender: LendingProcess, is_taken: bool
) -> None:
    before = free_of_caches()
    artefact, _, copy = lender.publish(2)
    size = -(-artefact.manifest.total_bytes // SEGMENT) * SEGMENT
    assert free_of_caches() <= before - size // 2
    assert serve(engine, artefact, copy if is_taken else None).is_lent is is_taken
    lender.take_back()
    assert free_of_caches() >= before - (2 << 20)  # a segment of small tensors


def test_memory_is_flat_over_twenty_turns_whether_the_copy_is_taken_or_not(
    engine: VLLMEngine, lender: LendingProcess
) -> None:
    free = []
    for turn in range(NUM_TURNS):
        engine.sleep()
        artefact, forward, copy = lender.publish(10 + turn)
        engine.wake("weights")
        assert serve(engine, artefact, copy if turn % 3 else None).is_lent is bool(turn % 3)
        lender.take_back()
        engine.wake("kv_cache")
        draw(engine, REQUESTS[:8])
        assert differing(engine.on_worker("k2rl_effective_weights"), forward) == []
        free.append(free_of_caches())
    assert min(free[4:]) >= free[4] - (2 << 20), f"free MiB after each turn: {[n >> 20 for n in free]}"
