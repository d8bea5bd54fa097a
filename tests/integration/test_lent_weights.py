"""A swap that reads what a learner in another process has lent obeys the laws of one that reads the artefact."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch.multiprocessing.reductions import StorageWeakRef

from rollout.engine.engine import EngineBroken, EngineSettings, SwapTiming, VLLMEngine
from rollout.weights.contract import WeightArtefact, WeightsRefused
from rollout.weights.device_copy import DeviceCopy, Lender
from rollout.weights.receiver import tensors
from tests.integration.forgetful import Forgetful
from tests.integration.lending import LendingProcess
from tests.integration.test_engine import addresses, draw, failing, make_commit_fail, request

REQUESTS = [request(i) for i in range(8)]


@pytest.fixture(scope="module")
def learner(tiny_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[LendingProcess]:
    learner = LendingProcess(tmp_path_factory.mktemp("lent"), tiny_folder, dtype="float32", environment={})
    yield learner
    learner.close()


@pytest.fixture(scope="module")
def engine(learner: LendingProcess) -> Iterator[VLLMEngine]:
    settings = EngineSettings(
        model_folder=learner.folder / "int4", context_length=128, max_num_seqs=16, kv_cache_bytes=1 << 26,
        block_size=32, stop_token_ids=(0,), stages=False,
    )  # fmt: skip
    engine = VLLMEngine(settings, memory=Forgetful())
    yield engine
    engine.close()


def serve(engine: VLLMEngine, artefact: WeightArtefact, copy: DeviceCopy | None = None) -> SwapTiming:
    engine.stage_weights(artefact, copy=copy, is_reswap=True)
    return engine.commit_weights(artefact.manifest.version)


def weights(engine: VLLMEngine) -> dict[str, torch.Tensor]:
    return engine.on_worker("k2rl_effective_weights")


def equal(ours: dict[str, torch.Tensor], theirs: dict[str, torch.Tensor]) -> bool:
    return ours.keys() == theirs.keys() and all(torch.equal(ours[name], theirs[name]) for name in ours)


def test_what_was_lent_is_served_bit_for_bit_as_the_artefact_is(engine: VLLMEngine, learner: LendingProcess) -> None:
    at = engine.on_worker(addresses)
    for version in (1, 0, 1):
        artefact, forward, copy = learner.publish(version)
        assert serve(engine, artefact, copy).is_lent
        learner.take_back()
        found, samples = weights(engine), draw(engine, REQUESTS)
        assert not serve(engine, learner.publish(version + 5)[0]).is_lent
        assert not equal(weights(engine), found)
        assert not serve(engine, artefact).is_lent
        assert equal(weights(engine), found) and draw(engine, REQUESTS) == samples
        assert torch.equal(found["model.layers.0.mlp.down_proj.weight"], forward["model.layers.0.mlp.down_proj.weight"])
    assert engine.on_worker(addresses) == at


def test_a_swap_from_lent_memory_that_dies_halfway_goes_back_to_the_artefact_before(
    engine: VLLMEngine, learner: LendingProcess
) -> None:
    first, _, copy = learner.publish(0)
    serve(engine, first, copy)
    before = weights(engine)
    artefact, _, copy = learner.publish(1)
    broken, entries = failing(artefact, 1)
    engine.stage_weights(broken, copy=copy)
    assert engine._staged is not None and engine._staged.loan is not None and engine._staged.loan.flat is not None
    opened = StorageWeakRef(engine._staged.loan.flat.untyped_storage())
    make_commit_fail(engine, entries)
    with pytest.raises(RuntimeError, match="version 0 is serving"):
        engine.commit_weights(1)
    assert equal(weights(engine), before)
    assert opened.expired(), "what the fault holds on to is open still, and its lender frees it"


def test_an_artefact_that_no_engine_has_read_is_checked_before_a_failed_swap_goes_back_to_it(
    learner: LendingProcess, engine: VLLMEngine
) -> None:
    """It needs an engine of its own."""
    artefact, _, copy = learner.publish(0)
    serve(engine, artefact)
    found, engine = weights(engine), VLLMEngine(engine.settings)
    buffer = artefact.buffer.copy()
    buffer[12345] ^= 1
    serve(engine, WeightArtefact(manifest=artefact.manifest, buffer=buffer), copy)
    assert equal(weights(engine), found)  # it has read the copy, and nothing else
    broken, entries = failing(learner.publish(1)[0], 1)
    engine.stage_weights(broken)
    make_commit_fail(engine, entries)
    with pytest.raises(EngineBroken, match="damaged on the way"):
        engine.commit_weights(1)


def test_a_copy_of_other_weights_or_one_that_is_damaged_is_left_and_the_artefact_is_taken(
    engine: VLLMEngine, learner: LendingProcess
) -> None:
    artefact, other = learner.publish(0)[0], learner.publish(1)[0]
    serve(engine, artefact)
    found = weights(engine)
    for what in ("other", "damaged", "elsewhere"):
        copy = learner.publish(1 if what == "other" else 0)[2]
        if what == "damaged":
            copy = replace(copy, checksum=copy.checksum + 1)
        elif what == "elsewhere":
            copy = replace(copy, device="GPU-2")
        serve(engine, other)
        assert not serve(engine, artefact, copy).is_lent
        assert equal(weights(engine), found)


def test_weights_that_are_lent_are_checked_as_an_artefact_is(engine: VLLMEngine, learner: LendingProcess) -> None:
    first = learner.publish(0)[0]
    serve(engine, first)
    before = weights(engine)
    for what, named in {
        "NaN": {n: torch.full_like(t, torch.nan) if "norm" in n else t for n, t in tensors(first)},
        "missing": {n: t for n, t in tensors(first) if "layers.1.mlp.down" not in n},
    }.items():
        lender = Lender()
        artefact = lender.publish(named.items(), 9, torch.device("cpu"))
        with pytest.raises(WeightsRefused, match=what):
            engine.stage_weights(artefact, copy=lender.copy)
        with pytest.raises(ValueError, match="not staged"):
            engine.commit_weights(9)
    assert equal(weights(engine), before)


def test_a_commit_closes_what_it_has_read(engine: VLLMEngine, learner: LendingProcess) -> None:
    artefact, _, copy = learner.publish(1)
    engine.stage_weights(artefact, copy=copy, is_reswap=True)
    assert engine._staged is not None and (loan := engine._staged.loan) is not None
    engine.commit_weights(1)
    assert loan.flat is None


def test_an_engine_that_goes_to_sleep_gives_up_what_it_borrowed(engine: VLLMEngine, learner: LendingProcess) -> None:
    artefact, _, copy = learner.publish(1)
    engine.stage_weights(artefact, copy=copy, is_reswap=True)
    engine.sleep()
    assert engine._staged is None
    engine.wake("weights")
    with pytest.raises(ValueError, match="not staged"):
        engine.commit_weights(1)
    assert serve(engine, artefact, learner.publish(1)[2]).is_lent  # as on a GPU: into memory that is garbage
    engine.wake("kv_cache")
