"""Two processes of one engine, each with a slice of every matrix: a swap is exact in both, or in neither."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from transformers import AutoConfig

from rl.learner import Learner
from rollout.engine.engine import EngineSettings, VLLMEngine
from rollout.quant.grid import dequantize
from rollout.quant.pack import unpack_int4
from rollout.quant.slices import cut_of, slice_of
from rollout.weights.contract import WeightArtefact
from rollout.weights.receiver import tensors
from tests.integration.harness import new_learner
from tests.integration.test_engine import draw, request, serve

SIZE = 2
FUSED = {"qkv_proj": ("q_proj", "k_proj", "v_proj"), "gate_up_proj": ("gate_proj", "up_proj")}
REQUESTS = [request(i) for i in range(16)]


@pytest.fixture(scope="module")
def learner(tiny_folder: Path) -> Learner:
    return new_learner(tiny_folder)


@pytest.fixture(scope="module")
def versions(learner: Learner) -> list[WeightArtefact]:
    """Policies A and B."""
    found = [learner.publish(0)]
    generator = torch.Generator().manual_seed(5)
    for master in learner.masters.parameters.values():
        master.add_(torch.randn(master.shape, generator=generator) * 0.02)
    learner.masters.refresh()
    return [*found, learner.publish(1)]


@pytest.fixture(scope="module")
def engine(learner: Learner, versions, tmp_path_factory: pytest.TempPathFactory) -> Iterator[VLLMEngine]:
    folder = tmp_path_factory.mktemp("int4") / "model"
    learner.export(folder)
    settings = EngineSettings(
        model_folder=folder, context_length=128, max_num_seqs=16, kv_cache_bytes=1 << 26, block_size=32,
        stop_token_ids=(0,), tensor_parallel=SIZE,
    )  # fmt: skip
    engine = VLLMEngine(settings)
    yield engine
    engine.close()


def expected_slices(artefact: WeightArtefact, plan: dict[str, str], rank: int) -> dict[str, torch.Tensor]:
    """Dequantised from a rank's slices of the packed bytes, each matrix for itself."""
    packed, found = dict(tensors(artefact)), {}
    for name, codes in packed.items():
        if name.endswith(".weight_packed"):
            module = name.removesuffix(".weight_packed")
            cut = cut_of(module, plan)
            assert cut != "whole", module
            mine = slice_of(codes, cut, rank=rank, size=SIZE).contiguous()
            scales = slice_of(packed[f"{module}.weight_scale"], cut, rank=rank, size=SIZE)
            found[module] = dequantize(unpack_int4(mine), scales.contiguous())
    return found


def applied_slices(engine: VLLMEngine) -> list[dict[str, torch.Tensor]]:
    return engine.on_workers("k2rl_effective_weights")


def check_law(engine: VLLMEngine, artefact: WeightArtefact, plan: dict[str, str]) -> None:
    """What each process applies is, bit for bit, its slice of the packed bytes; joined, they are the whole."""
    applied = applied_slices(engine)
    assert len(applied) == SIZE
    num = 0
    for rank in range(SIZE):
        slices = expected_slices(artefact, plan, rank)
        for layer, weight in applied[rank].items():
            parent, last = layer.removesuffix(".weight").rpartition(".")[::2]
            parts = [f"{parent}.{part}" for part in FUSED.get(last, (last,))]
            if all(part in slices for part in parts):
                assert torch.equal(weight, torch.cat([slices.pop(part) for part in parts])), (rank, layer)
                num += 1
        assert not slices, "no layer of the engine applies them"
    assert num == SIZE * 4 * 2  # qkv, o, gate_up and down of two layers


@pytest.fixture(scope="module")
def plan(tiny_folder: Path) -> dict[str, str]:
    return AutoConfig.from_pretrained(tiny_folder).base_model_tp_plan


def test_each_process_applies_its_slice_of_the_packed_bytes_after_every_swap(engine, versions, plan) -> None:
    serve(engine, versions[0])
    first = draw(engine, REQUESTS)
    check_law(engine, versions[0], plan)
    serve(engine, versions[1])
    check_law(engine, versions[1], plan)
    assert draw(engine, REQUESTS) != first
    serve(engine, versions[0])
    check_law(engine, versions[0], plan)
    assert draw(engine, REQUESTS) == first
    assert {sample.segments[0].weight_version for sample in first.values()} == {0}


def test_a_sample_depends_on_its_request_alone_also_in_slices(engine, versions) -> None:
    serve(engine, versions[0])
    together = draw(engine, REQUESTS)
    assert draw(engine, REQUESTS[::-1]) == together
    assert draw(engine, [REQUESTS[3]]) == {"r3": together["r3"]}


def share_of(worker: Any) -> tuple[int, int]:
    """Threads, and bytes of the KV cache."""
    return torch.get_num_threads(), worker.cache_config.kv_cache_memory_bytes


def test_processes_share_the_engines_threads_and_its_kv_cache(engine) -> None:
    each = max(torch.get_num_threads() // SIZE, 1), (1 << 26) // SIZE
    assert engine.on_workers(share_of) == [each] * SIZE


def fail_in_the_second(worker: Any) -> None:
    """The next load of worker 1 raises when its last tensors are due; worker 0 loads all."""
    if worker.rank == 1:
        load = worker.k2rl_swap

        def broken(named: Any) -> None:
            del worker.k2rl_swap
            load(list(named)[:-3])

        worker.k2rl_swap = broken


def test_if_one_process_cannot_load_new_weights_both_serve_the_old_ones(engine, versions, plan) -> None:
    serve(engine, versions[0])
    before = draw(engine, REQUESTS)
    engine.stage_weights(versions[1])
    engine.on_workers(fail_in_the_second)
    with pytest.raises(RuntimeError, match=r"swap to version 1 failed, version 0 is serving: worker 1: IncompleteSwap"):
        engine.commit_weights(1)
    check_law(engine, versions[0], plan)
    assert draw(engine, REQUESTS) == before
    serve(engine, versions[1])
    check_law(engine, versions[1], plan)


def test_bytes_damaged_on_the_way_to_a_process_change_nothing(engine, versions, plan) -> None:
    serve(engine, versions[0])
    buffer = versions[1].buffer.copy()
    buffer[versions[1].manifest.entries[3].offset] ^= 1
    damaged = replace(versions[1], buffer=np.ascontiguousarray(buffer))
    with pytest.raises(RuntimeError, match=r"worker 0: WeightsRefused: .*wrong checksum.*; worker 1: WeightsRefused"):
        engine._call(lambda: engine._workers.hold(damaged))
    check_law(engine, versions[0], plan)
