"""Sleep and wake of a real engine, on a device that forgets what sleep forgets."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from rl.learner import Learner
from rollout.engine.engine import EngineSettings, VLLMEngine
from rollout.engine.kept import held_tensors
from rollout.engine.states import EngineState, WrongState
from rollout.types import Sample, SampleRequest
from rollout.weights.contract import WeightArtefact
from tests.integration.forgetful import Forgetful, reachable
from tests.integration.harness import new_learner
from tests.integration.test_engine import addresses, draw, request, serve


@pytest.fixture(scope="module")
def learner(tiny_folder: Path) -> Learner:
    return new_learner(tiny_folder)


@pytest.fixture(scope="module")
def artefact(learner: Learner) -> WeightArtefact:
    return learner.publish(0)


@pytest.fixture(scope="module", params=[True, False], ids=["copied", "reloaded"])
def engine(
    request: pytest.FixtureRequest, learner: Learner, artefact: WeightArtefact, tmp_path_factory
) -> Iterator[VLLMEngine]:
    folder = tmp_path_factory.mktemp("int4") / "model"
    learner.export(folder)
    settings = EngineSettings(
        model_folder=folder, context_length=128, max_num_seqs=16, kv_cache_bytes=1 << 26, block_size=32,
        stop_token_ids=(0,), stages=request.param,
    )  # fmt: skip
    engine = VLLMEngine(settings, memory=Forgetful())
    serve(engine, artefact)
    yield engine
    engine.close()


REQUESTS: list[SampleRequest] = [request(i) for i in range(12)]


def contents(worker: Any) -> dict[str, torch.Tensor]:
    """Bytes of every tensor of the model but the KV cache."""
    model = worker.model_runner.get_model()
    return {
        path: tensor.detach().contiguous().reshape(-1).view(torch.uint8).clone()
        for path, tensor in held_tensors(model)
        if tensor.numel() and ".kv_cache" not in path
    }


def woken(engine: VLLMEngine, artefact: WeightArtefact) -> None:
    """The order of a turn."""
    engine.wake("weights")
    engine.stage_weights(artefact)  # the version that it served before: no shortcut, and no refusal
    engine.commit_weights(artefact.manifest.version)
    engine.wake("kv_cache")


def test_a_night_changes_no_bit_of_what_the_engine_holds_and_samples(engine: VLLMEngine, artefact) -> None:
    before, held, at = draw(engine, REQUESTS), engine.on_worker(contents), engine.on_worker(addresses)
    for _ in range(2):
        engine.sleep()
        woken(engine, artefact)
        assert draw(engine, REQUESTS) == before
    after = engine.on_worker(contents)
    assert after.keys() == held.keys()
    assert [path for path in held if not torch.equal(after[path], held[path])] == []
    assert engine.on_worker(addresses) == at


def test_without_a_commit_every_request_is_refused(engine: VLLMEngine, artefact) -> None:
    engine.sleep()
    assert (engine.state, engine.weight_version) == (EngineState.ASLEEP, -1)
    with pytest.raises(WrongState, match="asleep and cannot sample"):
        engine.submit(REQUESTS)
    with pytest.raises(WrongState, match="asleep and cannot commit"):
        serve(engine, artefact)
    engine.wake("weights")
    assert (engine.state, engine.weight_version) == (EngineState.GARBAGE, -1)
    with pytest.raises(WrongState, match="garbage for weights and cannot sample"):
        engine.submit(REQUESTS)
    with pytest.raises(WrongState, match="garbage for weights and cannot sample"):
        engine.prompt_logprobs([(2, 3)])
    with pytest.raises(WrongState, match=r'garbage for weights and cannot wake\("kv_cache"\)'):
        engine.wake("kv_cache")
    serve(engine, artefact)
    with pytest.raises(WrongState, match="KV cache asleep and cannot sample"):
        engine.submit(REQUESTS)
    engine.wake("kv_cache")
    assert draw(engine, REQUESTS).keys() == {one.id for one in REQUESTS}


def test_an_engine_with_requests_in_flight_does_not_sleep(engine: VLLMEngine) -> None:
    long = [SampleRequest(id="long", prompt_ids=(2, 3, 4), budget=100, temperature=1.0, seed=1)]
    engine.submit(long)
    try:
        with pytest.raises(ValueError, match="in flight"):
            engine.sleep()
    finally:
        engine.abort()
    engine.finished(wait_seconds=0.0)
    assert engine.state is EngineState.SERVING


def test_what_is_forgotten_is_everything_and_the_engine_would_serve_noise(engine: VLLMEngine, artefact) -> None:
    """The control of the tests above: the fake device forgets, and what the engine keeps is part of what it forgets."""
    held = engine.on_worker(contents)
    assert engine.on_worker(num_reachable) >= len(held)
    engine.sleep()
    assert engine._memory.num_forgotten >= len(held)
    ruined = engine.on_worker(contents)
    kept = {path for path in held if torch.equal(held[path], ruined[path])}
    assert not kept, "the device forgot nothing here"
    engine.wake("weights")
    restored = {path for path, was in held.items() if torch.equal(was, engine.on_worker(contents)[path])}
    assert any("rotary" in path or "cos_sin" in path for path in restored)
    assert not any(path.endswith(("qkv_proj.weight_packed", "norm.weight")) for path in restored)
    serve(engine, artefact)
    engine.wake("kv_cache")


def num_reachable(worker: Any) -> int:
    return len({tensor.data_ptr() for tensor in reachable(worker.model_runner.get_model())})


def test_a_half_woken_engine_can_be_sent_back_to_sleep(engine: VLLMEngine, artefact) -> None:
    before: dict[str, Sample] = draw(engine, REQUESTS)
    engine.sleep()
    engine.wake("weights")
    engine.sleep()
    engine.wake("weights")
    serve(engine, artefact)
    engine.sleep()
    woken(engine, artefact)
    assert draw(engine, REQUESTS) == before
