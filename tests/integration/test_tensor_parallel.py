"""Two processes of one engine, each with a slice of every matrix: a swap is exact in both, or in neither; a night is
exact in both, on a device that forgets in each; and without one of them there is no engine.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from transformers import AutoConfig

from rl.learner import Learner
from rollout.engine.engine import EngineBroken, EngineSettings, VLLMEngine
from rollout.engine.states import EngineState, WrongState
from rollout.quant.grid import dequantize
from rollout.quant.pack import unpack_int4
from rollout.quant.slices import cut_of, slice_of
from rollout.weights.contract import WeightArtefact
from rollout.weights.receiver import tensors
from tests.integration.forgetful import Forgetful
from tests.integration.harness import new_learner
from tests.integration.test_engine import addresses, draw, request, serve
from tests.integration.test_sleep import contents, woken

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
def settings(learner: Learner, tmp_path_factory: pytest.TempPathFactory) -> EngineSettings:
    folder = tmp_path_factory.mktemp("int4") / "model"
    learner.export(folder)
    return EngineSettings(
        model_folder=folder, context_length=128, max_num_seqs=16, kv_cache_bytes=1 << 26, block_size=32,
        stop_token_ids=(0,), tensor_parallel=SIZE,
    )  # fmt: skip


@pytest.fixture(scope="module")
def engine(settings: EngineSettings) -> Iterator[VLLMEngine]:
    engine = VLLMEngine(settings, memory=Forgetful())
    yield engine
    engine.close()


def expected_slices(artefact: WeightArtefact, plan: dict[str, str], rank: int) -> dict[str, torch.Tensor]:
    """Dequantised from a rank's slices of the packed bytes, each matrix for itself; and the biases of rows."""
    packed, found = dict(tensors(artefact)), {}
    for name, codes in packed.items():
        if name.endswith(".weight_packed"):
            module = name.removesuffix(".weight_packed")
            cut = cut_of(module, plan)
            assert cut != "whole", module
            mine = slice_of(codes, cut, rank=rank, size=SIZE).contiguous()
            scales = slice_of(packed[f"{module}.weight_scale"], cut, rank=rank, size=SIZE)
            found[f"{module}.weight"] = dequantize(unpack_int4(mine), scales.contiguous())
            if (bias := packed.get(f"{module}.bias")) is not None:
                found[f"{module}.bias"] = slice_of(bias, cut, rank=rank, size=SIZE)
    return found


def applied_slices(engine: VLLMEngine) -> list[dict[str, torch.Tensor]]:
    return engine.on_workers("k2rl_effective_weights")


def check_law(engine: VLLMEngine, artefact: WeightArtefact, plan: dict[str, str], *, num_layers: int = 2) -> None:
    """What each process applies is, bit for bit, its slice of the packed bytes; joined, they are the whole."""
    applied = applied_slices(engine)
    assert len(applied) == SIZE
    num = 0
    for rank in range(SIZE):
        slices = expected_slices(artefact, plan, rank)
        for layer, tensor in applied[rank].items():
            module, _, kind = layer.rpartition(".")
            parent, _, last = module.rpartition(".")
            parts = [f"{parent}.{part}.{kind}" for part in FUSED.get(last, (last,))]
            if all(part in slices for part in parts):
                assert torch.equal(tensor, torch.cat([slices.pop(part) for part in parts])), (rank, layer)
                num += kind == "weight"
        assert not slices, "no layer of the engine applies them"
    assert num == SIZE * 4 * num_layers  # qkv, o, gate_up and down


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


def test_a_night_changes_no_bit_in_either_process(engine, versions, plan) -> None:
    serve(engine, versions[0])
    before, held, at = draw(engine, REQUESTS), engine.on_workers(contents), engine.on_workers(addresses)
    engine.sleep()
    for had, ruined in zip(held, engine.on_workers(contents), strict=True):
        assert not [path for path in had if torch.equal(had[path], ruined[path])], "the device forgot nothing here"
    woken(engine, versions[0])
    for had, has in zip(held, engine.on_workers(contents), strict=True):
        assert has.keys() == had.keys()
        assert [path for path in had if not torch.equal(had[path], has[path])] == []
    assert engine.on_workers(addresses) == at
    assert draw(engine, REQUESTS) == before
    engine.sleep()
    woken(engine, versions[1])
    check_law(engine, versions[1], plan)


def test_a_woken_engine_whose_second_process_cannot_load_serves_nobody(engine, versions, plan) -> None:
    """One process has the new weights by then, the other garbage; so both are given the version before, and wait."""
    serve(engine, versions[0])
    before = draw(engine, REQUESTS)
    engine.sleep()
    engine.wake("weights")
    engine.stage_weights(versions[1])
    engine.on_workers(fail_in_the_second)
    with pytest.raises(RuntimeError, match="swap to version 1 failed, version 0 is "):
        engine.commit_weights(1)
    check_law(engine, versions[0], plan)
    with pytest.raises(WrongState, match="cannot sample"):
        engine.submit(REQUESTS)
    serve(engine, versions[0])
    engine.wake("kv_cache")
    assert draw(engine, REQUESTS) == before


class WakesOne(Forgetful):
    """A device whose second process does not get its memory back, as on a GPU where somebody else has it."""

    def wake(self, llm: Any, tag: str) -> None:
        llm.collective_rpc(raise_in_the_second)


def raise_in_the_second(worker: Any) -> None:
    if worker.rank == 1:
        raise MemoryError("out of memory")


def test_an_engine_of_which_one_process_does_not_wake_is_broken_and_not_merely_refused(settings, versions) -> None:
    engine = VLLMEngine(settings, memory=WakesOne())
    try:
        serve(engine, versions[0])
        engine.sleep()
        with pytest.raises(EngineBroken, match=r"not all 2 processes of the engine .*out of memory"):
            engine.wake("weights")
        assert engine.state is EngineState.ASLEEP
    finally:
        engine.close()


def pid_of(worker: Any) -> int:
    return os.getpid()


def check_loss(engine: VLLMEngine, versions: list[WeightArtefact], *, decodes: bool) -> None:
    """Kill its second process, while it decodes or before it is asked for something: it says so, and both are gone."""
    pids = engine.on_workers(pid_of)
    try:
        serve(engine, versions[0])
        if decodes:
            engine.submit([replace(request(i), budget=100) for i in range(16)])
        os.kill(pids[1], signal.SIGKILL)
        with pytest.raises(EngineBroken, match=r"thread has ended|a process of the engine died"):
            if decodes:
                for _ in range(100):
                    engine.finished(wait_seconds=1.0)
            else:
                engine.stage_weights(versions[1])
        with pytest.raises(EngineBroken, match="thread has ended"):
            engine.submit(REQUESTS)
    finally:
        engine.close()
    assert not {child.pid for child in multiprocessing.active_children()} & set(pids)


def test_an_engine_that_lost_a_process_says_so_when_it_is_asked_and_leaves_none_behind(settings, versions) -> None:
    check_loss(VLLMEngine(settings), versions, decodes=False)


def test_an_engine_that_loses_a_process_while_it_decodes_says_so_and_leaves_none_behind(engine, versions) -> None:
    """The last test of the file: it ends the engine that the others share."""
    check_loss(engine, versions, decodes=True)
