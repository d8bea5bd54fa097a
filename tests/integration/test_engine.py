"""The real engine: what it samples, and that a swap is exact, whole, and survives what goes wrong."""

from __future__ import annotations

import gc
import threading
import time
import weakref
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import rollout.engine.engine
from rl.learner import Learner
from rollout.engine.engine import EngineBroken, EngineSettings, SwapTiming, VLLMEngine
from rollout.engine.process import EngineProcess
from rollout.repetition import Repetition, first_repetition
from rollout.types import FinishReason, Sample, SampleRequest
from rollout.weights.contract import Manifest, TensorEntry, WeightArtefact, WeightsRefused
from rollout.weights.receiver import tensors
from rollout.weights.sender import build_artefact
from tests.integration.harness import PATIENCE, new_learner

PROMPTS = [tuple(2 + (i * 7 + j * 3) % 14 for j in range(3 + i % 4)) for i in range(24)]


@pytest.fixture(scope="module")
def learner(tiny_folder: Path) -> Learner:
    return new_learner(tiny_folder)


@pytest.fixture(scope="module")
def versions(learner: Learner) -> dict[int, tuple[WeightArtefact, dict[str, torch.Tensor]]]:
    """Artefact and forward weights of two policies, A (0) and B (1)."""
    found = {0: (learner.publish(0), learner.forward_weights())}
    generator = torch.Generator().manual_seed(5)
    for master in learner.masters.parameters.values():
        master.add_(torch.randn(master.shape, generator=generator) * 0.02)
    learner.masters.refresh()
    found[1] = (learner.publish(1), learner.forward_weights())
    return found


@pytest.fixture(
    scope="module",
    params=[{"stages": True}, {"stages": False}, {"bf16_copy": True}],
    ids=["copied", "reloaded", "multiplied in bf16"],
)
def engine(
    request: pytest.FixtureRequest, learner: Learner, versions, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[VLLMEngine]:
    """Its swaps copy weights that were made beside it, or go through vLLM's reload, or INT4 layers have a BF16 copy:
    all obey the same laws."""
    folder = tmp_path_factory.mktemp("int4") / "model"
    learner.export(folder)
    settings = EngineSettings(
        model_folder=folder, context_length=128, max_num_seqs=16, kv_cache_bytes=1 << 26, block_size=32,
        stop_token_ids=(0,), **request.param,
    )  # fmt: skip
    engine = VLLMEngine(settings)
    yield engine
    engine.close()


@pytest.fixture(autouse=True)
def serve_a(engine: VLLMEngine, versions) -> None:
    """Every test begins with policy A."""
    serve(engine, versions[0][0])


def serve(engine: VLLMEngine, artefact: WeightArtefact) -> SwapTiming:
    engine.stage_weights(artefact, is_reswap=True)
    return engine.commit_weights(artefact.manifest.version)


def request(i: int, *, temperature: float = 1.0, budget: int = 12) -> SampleRequest:
    return SampleRequest(
        id=f"r{i}", prompt_ids=PROMPTS[i % len(PROMPTS)], budget=budget, temperature=temperature, seed=100 + i
    )


def draw(engine: VLLMEngine, requests: Sequence[SampleRequest], *, stagger: int = 0) -> dict[str, Sample]:
    """All samples of the requests; with `stagger`, submitted a few at a time while others decode."""
    todo, found = list(requests), {}
    if not stagger:
        engine.submit(todo)
        todo = []
    deadline = time.monotonic() + PATIENCE
    while len(found) < len(requests):
        assert time.monotonic() < deadline, "the engine does not finish"
        if todo:
            engine.submit(todo[:stagger])
            todo = todo[stagger:]
        found |= {sample.id: sample for sample in engine.finished(wait_seconds=0.01 if todo else 1.0)}
    return found


def test_a_sample_is_a_function_of_its_request_whatever_else_is_in_the_batch(engine: VLLMEngine) -> None:
    requests = [request(i) for i in range(48)]
    straight = draw(engine, requests)
    assert draw(engine, requests[::-1]) == straight
    assert draw(engine, requests, stagger=3) == straight
    for lone in (requests[0], requests[31]):
        assert draw(engine, [lone]) == {lone.id: straight[lone.id]}


def test_a_started_engine_leaves_its_process_free_to_choose_its_threads(engine: VLLMEngine) -> None:
    """Whoever learns or replays in the process of an engine: sums differ by the number of threads."""
    before = torch.get_num_threads()
    try:
        torch.set_num_threads(before + 1)
        assert torch.get_num_threads() == before + 1
    finally:
        torch.set_num_threads(before)


def test_logprobs_are_those_of_the_distribution_drawn_from(engine: VLLMEngine, tiny_folder: Path) -> None:
    reference = new_learner(tiny_folder)  # policy A
    for temperature in (0.5, 2.0):
        for sample in draw(engine, [request(i, temperature=temperature) for i in range(8)]).values():
            ids = torch.tensor([sample.prompt_ids + sample.token_ids])
            with torch.no_grad():
                logits = reference.model(input_ids=ids).logits[0, len(sample.prompt_ids) - 1 : -1].float()
            chosen = torch.tensor(sample.token_ids)[:, None]
            at_temperature = (logits / temperature).log_softmax(1).gather(1, chosen).squeeze(1)
            raw = logits.log_softmax(1).gather(1, chosen).squeeze(1)
            found = torch.tensor(sample.logprobs)
            assert torch.allclose(found, at_temperature, atol=0.1)
            assert (found - at_temperature).abs().mean() < 0.3 * (found - raw).abs().mean()


def test_a_response_ends_at_its_own_budget_or_at_the_end_token(engine: VLLMEngine) -> None:
    samples = draw(engine, [replace(request(i), budget=1 + i % 5) for i in range(40)])
    assert {s.finish_reason for s in samples.values()} == {FinishReason.STOP, FinishReason.LENGTH}
    for i in range(40):
        sample = samples[f"r{i}"]
        if sample.is_truncated:
            assert sample.num_tokens == 1 + i % 5 and 0 not in sample.token_ids
        else:
            assert sample.token_ids[-1] == 0 and sample.num_tokens <= 1 + i % 5


def test_a_response_in_a_loop_is_stopped_at_its_first_repetition_and_else_is_as_it_was(engine: VLLMEngine) -> None:
    wanted = Repetition(min_count=2, min_pattern_tokens=1, max_pattern_tokens=4)
    free = draw(engine, [request(i) for i in range(48)])
    watched = draw(engine, [replace(request(i), repetition=wanted) for i in range(48)])
    loops = 0
    for name, sample in free.items():
        end = first_repetition(sample.token_ids[:-1], wanted)  # the last token ends it anyway
        loops += end is not None
        assert watched[name].token_ids == sample.token_ids[:end]
        assert watched[name].finish_reason is (sample.finish_reason if end is None else FinishReason.REPETITION)
    assert 0 < loops < 48


def test_every_sample_carries_the_version_and_temperature_it_was_drawn_with(engine: VLLMEngine, versions) -> None:
    serve(engine, versions[1][0])
    (sample,) = draw(engine, [request(0, temperature=0.7)]).values()
    assert (sample.segments[0].weight_version, sample.segments[0].temperature) == (1, 0.7)


def test_an_aborted_request_leaves_no_sample_and_its_id_is_free_again(engine: VLLMEngine) -> None:
    engine.submit([replace(request(0), budget=100)])
    engine.abort(["r0"])
    engine.finished(wait_seconds=0.0)  # it may have finished just before
    assert draw(engine, [request(0)]).keys() == {"r0"}


@pytest.mark.parametrize("version", [0, 1])
def test_after_a_swap_the_engine_applies_the_learners_forward_weights_bit_for_bit(
    engine: VLLMEngine, versions, version: int
) -> None:
    artefact, forward = versions[version]
    serve(engine, artefact)
    applied = engine.on_worker("k2rl_effective_weights")
    for layer in range(2):
        at = f"model.layers.{layer}"
        fused = {
            f"{at}.self_attn.qkv_proj": [f"{at}.self_attn.{x}_proj" for x in "qkv"],
            f"{at}.mlp.gate_up_proj": [f"{at}.mlp.gate_proj", f"{at}.mlp.up_proj"],
            f"{at}.self_attn.o_proj": [f"{at}.self_attn.o_proj"],
            f"{at}.mlp.down_proj": [f"{at}.mlp.down_proj"],
        }
        for name, parts in fused.items():
            assert torch.equal(applied[f"{name}.weight"], torch.cat([forward[f"{p}.weight"] for p in parts])), name
        for norm in ("input_layernorm", "post_attention_layernorm"):
            assert torch.equal(applied[f"{at}.{norm}.weight"], forward[f"{at}.{norm}.weight"])
    embedding = forward["model.embed_tokens.weight"]
    assert torch.equal(applied["model.embed_tokens.weight"][: len(embedding)], embedding)
    assert torch.equal(applied["lm_head.weight"][: len(embedding)], embedding), "the tied head kept an old copy"


def test_going_to_b_and_back_to_a_restores_the_outputs_exactly(engine: VLLMEngine, versions) -> None:
    requests = [replace(request(i), prompt_ids=PROMPTS[i % 24] * 12) for i in range(12)]  # long enough to be cached
    first = draw(engine, requests)
    serve(engine, versions[1][0])
    other = draw(engine, requests)
    assert all(other[i].logprobs != first[i].logprobs for i in first)
    serve(engine, versions[0][0])
    assert draw(engine, requests) == first


def damaged(artefact: WeightArtefact, what: str) -> WeightArtefact:
    """An artefact of version 9 with one thing wrong."""
    named = {name: tensor.clone() for name, tensor in tensors(artefact)}
    victim = "model.layers.1.mlp.down_proj.weight_packed"
    if what == "missing":
        del named[victim]
    elif what == "extra":
        named["model.layers.7.mlp.down_proj.weight_packed"] = named[victim]
    elif what == "shape":
        named[victim] = named[victim][:-1]
    elif what == "dtype":
        named[victim] = named[victim].to(torch.int64)
    elif what == "nan":
        named["model.norm.weight"][0] = torch.nan
    built = build_artefact(named.items(), 9)
    if what == "corrupted":
        buffer = np.array(built.buffer)
        buffer[12345] ^= 1
        built = WeightArtefact(manifest=built.manifest, buffer=buffer)
    return built


@pytest.mark.parametrize("what", ["missing", "extra", "shape", "dtype", "nan", "corrupted"])
def test_damaged_weights_are_refused_and_the_engine_answers_with_the_old_version(
    engine: VLLMEngine, versions, what: str
) -> None:
    before = draw(engine, [request(i) for i in range(4)])
    with pytest.raises(WeightsRefused, match="version 9"):
        engine.stage_weights(damaged(versions[0][0], what))
    with pytest.raises(ValueError, match="not staged"):
        engine.commit_weights(9)
    assert engine.weight_version == 0
    assert draw(engine, [request(i) for i in range(4)]) == before


class FailingEntries(tuple[TensorEntry, ...]):
    """Entries that raise in the middle of an iteration, once armed: a swap that dies halfway."""

    armed = False

    def __iter__(self):
        for i, entry in enumerate(super().__iter__()):
            if self.armed and i == 20:
                raise OSError("the memory behind the tensors is gone")
            yield entry


def failing(artefact: WeightArtefact, version: int) -> tuple[WeightArtefact, FailingEntries]:
    entries = FailingEntries(artefact.manifest.entries)
    manifest = Manifest(version=version, entries=entries, total_bytes=artefact.manifest.total_bytes)
    return WeightArtefact(manifest=manifest, buffer=artefact.buffer), entries


def make_commit_fail(engine: VLLMEngine, entries: FailingEntries) -> None:
    """Let the swap of what is staged die in its middle, whichever way it goes."""
    entries.armed = True
    assert engine._staged is not None
    if (copy := engine._staged.copy) is not None:
        middle = len(copy.copies) // 2
        copy.copies[middle] = (copy.copies[middle][0], torch.empty(3, 5, 7))


def test_a_swap_that_dies_halfway_leaves_the_old_version_serving(engine: VLLMEngine, versions) -> None:
    before = draw(engine, [request(i) for i in range(8)])
    broken, entries = failing(versions[1][0], 5)
    engine.stage_weights(broken)
    make_commit_fail(engine, entries)
    with pytest.raises(RuntimeError, match="version 0 is serving"):
        engine.commit_weights(5)
    assert engine.weight_version == 0
    assert draw(engine, [request(i) for i in range(8)]) == before
    serve(engine, versions[1][0])
    assert draw(engine, [request(0)])["r0"].segments[0].weight_version == 1


def test_a_swap_that_can_not_be_undone_breaks_the_engine_loudly(
    engine: VLLMEngine, tiny_folder: Path, tmp_path: Path
) -> None:
    """It needs an engine of its own."""
    learner = new_learner(tiny_folder)
    learner.export(tmp_path / "int4")
    engine = VLLMEngine(
        EngineSettings(
            model_folder=tmp_path / "int4", context_length=64, max_num_seqs=4, kv_cache_bytes=1 << 25, block_size=32,
            stop_token_ids=(0,), stages=engine.settings.stages,
        )
    )  # fmt: skip
    first, entries = failing(learner.publish(0), 0)
    serve(engine, first)
    second, more = failing(learner.publish(1), 1)
    engine.stage_weights(second)
    entries.armed = True
    make_commit_fail(engine, more)
    with pytest.raises(EngineBroken):
        engine.commit_weights(1)
    with pytest.raises(EngineBroken):
        engine.submit([request(0)])


def test_decoding_allows_the_given_choices_alone_and_leaves_its_neighbours_as_they_are(engine):
    free = [request(i, temperature=1.0, budget=6) for i in range(4)]
    alone = draw(engine, free)
    bound = [replace(request(10 + i, budget=4), choices=("1", "23")) for i in range(8)]
    found = draw(engine, [*free, *bound])
    assert {sample.id: sample.token_ids for sample in found.values() if sample.id in alone} == {
        name: sample.token_ids for name, sample in alone.items()
    }
    said = [found[one.id] for one in bound]
    assert {sample.text for sample in said} == {"1", "23"}
    assert all(sample.finish_reason is FinishReason.STOP for sample in said)


def test_on_a_cpu_the_layout_is_made_by_us_and_has_the_bits_of_vllms_own(engine: VLLMEngine) -> None:
    """`install` compared them when the engine started, and put ours in place."""
    assert engine.on_worker("k2rl_has_fast_layout")


def addresses(worker: Any) -> dict[str, int]:
    return {name: tensor.data_ptr() for name, tensor in worker.model_runner.get_model().named_parameters()}


def test_a_swap_takes_the_way_the_engine_was_started_with_and_moves_no_tensor(engine: VLLMEngine, versions) -> None:
    before = engine.on_worker(addresses)
    timing = serve(engine, versions[1][0])
    assert timing.is_copy == engine.settings.stages
    assert engine.on_worker(addresses) == before


def test_staging_while_others_decode_changes_no_bit_of_their_samples(engine: VLLMEngine, versions) -> None:
    requests = [replace(request(i), budget=60) for i in range(24)]
    alone = draw(engine, requests)
    engine.submit(requests)
    found: dict[str, Sample] = {}
    while len(found) < len(requests):
        engine.stage_weights(versions[1][0], is_reswap=True)
        found |= {sample.id: sample for sample in engine.finished(wait_seconds=0.0)}
    assert found == alone


def test_weights_are_staged_by_an_idle_engines_thread_or_beside_a_busy_one_by_a_thread_that_ends(
    engine: VLLMEngine, versions, monkeypatch
) -> None:
    """One that stays would keep OpenMP threads, beside which the engine's no longer spin (rollout/engine/teams.py)."""
    threads = []
    for name in ("validate", "tensors"):
        real = getattr(rollout.engine.engine, name)
        noting = lambda *args, real=real, **kwargs: threads.append(threading.current_thread()) or real(*args, **kwargs)  # noqa: E731
        monkeypatch.setattr(rollout.engine.engine, name, noting)
    engine.stage_weights(versions[0][0], is_reswap=True)
    assert not threads[0].is_alive()
    assert threads[1:] == ([] if engine._staging is None else [engine._thread])
    del threads[:]
    engine.submit([replace(request(0), budget=100)])
    engine.stage_weights(versions[0][0], is_reswap=True)
    engine.abort()
    assert len(threads) == (1 if engine._staging is None else 2)
    assert not any(thread.is_alive() for thread in threads)


def test_what_was_staged_last_is_what_a_commit_serves(engine: VLLMEngine, versions) -> None:
    engine.stage_weights(versions[0][0], is_reswap=True)
    engine.stage_weights(versions[1][0], is_reswap=True)
    with pytest.raises(ValueError, match="version 0 is not staged"):
        engine.commit_weights(0)
    engine.commit_weights(1)
    applied, forward = engine.on_worker("k2rl_effective_weights"), versions[1][1]
    for name in ("model.layers.0.mlp.down_proj.weight", "model.norm.weight"):
        assert torch.equal(applied[name], forward[name])


@pytest.mark.parametrize("wrong", ["other weights", "a tensor more", "a tensor less"])
def test_a_model_whose_weights_are_not_what_is_made_for_it_keeps_vllms_way_and_the_log_says_why(
    engine: VLLMEngine, versions, caplog: pytest.LogCaptureFixture, wrong: str
) -> None:
    expected, reason = dict(engine._expected or {}), "tensors of this engine are not what is made"
    victim = "model.layers.1.mlp.down_proj.weight_scale"
    if wrong == "a tensor more":
        expected[f"{victim}.of_another"], reason = expected[victim], "fills no tensor of the engine"
    elif wrong == "a tensor less":
        del expected[victim]
        reason = "which its folder has not"
    else:
        serve(engine, versions[0][0])  # the folder holds version 1
    folder = engine.settings.model_folder
    assert engine.on_worker(lambda worker: worker.k2rl_staging(folder, expected)) is None
    assert reason in caplog.text


def test_scales_of_attention_that_vllm_keeps_as_parameters_are_no_obstacle_to_a_copied_swap(
    engine: VLLMEngine, versions
) -> None:
    """As vLLM 0.26 keeps them; later ones have buffers."""
    serve(engine, versions[1][0])  # what the folder holds

    def with_parameters(worker) -> bool:
        modules = list(worker.model_runner.get_model().modules())
        buffers = [(module, module._buffers.pop("_k_scale")) for module in modules if "_k_scale" in module._buffers]
        for module, scale in buffers:
            module.register_parameter("_k_scale", torch.nn.Parameter(scale, requires_grad=False))
        try:
            return worker.k2rl_staging(engine.settings.model_folder, dict(engine._expected or {})) is not None
        finally:
            for module, scale in buffers:
                del module._k_scale
                module.register_buffer("_k_scale", scale)

    assert engine.on_worker(with_parameters)


def test_an_engines_process_hides_what_it_has_imported_from_searches_for_garbage() -> None:
    cycle: list[Any] = [torch.nn.Identity()]
    cycle.append(cycle)
    found = weakref.ref(cycle[0])
    del cycle
    EngineProcess()
    gc.collect()
    assert found() is not None
    gc.unfreeze()
    gc.collect()
    assert found() is None
