"""Siblings that copy their prompt's KV blocks draw, bit for bit, what they would have drawn alone."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest
import torch

from rollout.engine.engine import EngineSettings, VLLMEngine
from rollout.types import Sample, SampleRequest
from rollout.weights.contract import WeightArtefact
from tests.integration.harness import new_learner

BLOCK = 32
LENGTHS = (1, 2, 5, 31, 32, 33, 34, 64, 65, 70)
"""Of prompts: shorter than a block, whole blocks, and around their ends."""
PROMPTS = [tuple(2 + (i * 5 + j * (3 + i)) % 14 for j in range(length)) for i, length in enumerate(LENGTHS)]
K = 4


@pytest.fixture(scope="module")
def served(tiny_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[WeightArtefact]]:
    """An INT4 folder, and two versions of its weights."""
    learner = new_learner(tiny_folder)
    folder = tmp_path_factory.mktemp("int4") / "model"
    learner.export(folder)
    first = learner.publish(0)
    generator = torch.Generator().manual_seed(7)
    for master in learner.masters.parameters.values():
        master.add_(torch.randn(master.shape, generator=generator) * 0.02)
    learner.masters.refresh()
    return folder, [first, learner.publish(1)]


@pytest.fixture(scope="module")
def engine(served: tuple[Path, list[WeightArtefact]]) -> Iterator[VLLMEngine]:
    folder, versions = served
    engine = VLLMEngine(
        EngineSettings(
            model_folder=folder, context_length=128, max_num_seqs=16, kv_cache_bytes=1 << 26, block_size=BLOCK,
            stop_token_ids=(0,),
        )
    )  # fmt: skip
    serve(engine, versions[0])
    yield engine
    engine.close()


def serve(engine: VLLMEngine, artefact: WeightArtefact) -> None:
    engine.stage_weights(artefact, is_reswap=True)
    engine.commit_weights(artefact.manifest.version)


def siblings(prompt: int, *, budget: int = 10) -> list[SampleRequest]:
    return [
        SampleRequest(
            id=f"p{prompt}/k{k}", prompt_ids=PROMPTS[prompt], budget=budget, temperature=1.0, seed=97 * prompt + k
        )
        for k in range(K)
    ]


def draw(engine: VLLMEngine, requests: Sequence[SampleRequest]) -> dict[str, Sample]:
    engine.submit(requests)
    found: dict[str, Sample] = {}
    deadline = time.monotonic() + 300
    while len(found) < len(requests):
        assert time.monotonic() < deadline, "the engine does not finish"
        found |= {sample.id: sample for sample in engine.finished(wait_seconds=1.0)}
    return found


@pytest.fixture(scope="module")
def alone(engine: VLLMEngine, served: tuple[Path, list[WeightArtefact]]) -> dict[str, Sample]:
    """Every sample drawn with nothing else in the engine, its prompt prefilled whole."""
    found: dict[str, Sample] = {}
    for prompt in range(len(PROMPTS)):
        for request in siblings(prompt):
            serve(engine, served[1][0])  # an empty prefix cache
            found |= draw(engine, [request])
    return found


def test_siblings_draw_what_each_draws_alone(engine: VLLMEngine, alone: dict[str, Sample]) -> None:
    requests = [request for prompt in range(len(PROMPTS)) for request in siblings(prompt)]
    assert draw(engine, requests) == alone
    assert draw(engine, requests[::-1]) == alone  # other leaders, and whole blocks from the prefix cache


def test_a_prompt_is_prefilled_once_and_its_last_token_once_a_sibling(engine: VLLMEngine, served) -> None:
    serve(engine, served[1][0])
    before = engine.num_prefilled_tokens
    draw(engine, [request for prompt in (2, 3, 9) for request in siblings(prompt)])
    distinct = sum(LENGTHS[prompt] for prompt in (2, 3, 9))
    assert engine.num_prefilled_tokens - before == distinct + 3 * (K - 1)


def test_siblings_meet_wherever_they_stand_in_a_long_queue(engine: VLLMEngine, served, alone) -> None:
    serve(engine, served[1][0])
    before = engine.num_prefilled_tokens
    apart = sorted((r for p in range(len(PROMPTS)) for r in siblings(p)), key=lambda r: r.id[-1])  # k by k
    assert len(apart) > engine.settings.max_num_seqs
    assert draw(engine, apart) == alone
    assert engine.num_prefilled_tokens - before < 2 * sum(LENGTHS)  # K times without sharing


def test_a_sibling_whose_leader_has_ended_prefills_for_itself(engine: VLLMEngine, alone: dict[str, Sample]) -> None:
    for prompt in range(len(PROMPTS)):
        for request in siblings(prompt):
            assert draw(engine, [request]) == {request.id: alone[request.id]}


def test_siblings_outlive_a_leader_that_is_aborted(engine: VLLMEngine, alone: dict[str, Sample]) -> None:
    leader, *others = siblings(5)
    engine.submit([leader, *others])
    engine.abort([leader.id])
    found: dict[str, Sample] = {}
    deadline = time.monotonic() + 300
    while not {other.id for other in others} <= set(found):
        assert time.monotonic() < deadline, "the siblings of an aborted request never end"
        found |= {sample.id: sample for sample in engine.finished(wait_seconds=1.0)}
    assert {key: alone[key] for key in found} == found  # the leader is among them if it had ended before the abort


def test_after_a_swap_no_block_of_the_old_weights_is_copied(engine: VLLMEngine, served) -> None:
    _, (old, new) = served
    serve(engine, new)
    lone = {}
    for request in siblings(9):
        serve(engine, new)
        lone |= draw(engine, [request])
    serve(engine, old)
    draw(engine, siblings(9))
    serve(engine, new)
    assert draw(engine, siblings(9)) == lone
    serve(engine, old)


def test_siblings_that_are_preempted_for_want_of_memory_draw_the_same(
    served: tuple[Path, list[WeightArtefact]], alone: dict[str, Sample], engine: VLLMEngine
) -> None:
    requests = [request for prompt in (3, 4, 5, 8) for request in siblings(prompt, budget=50)]
    plenty = draw(engine, requests)
    folder, versions = served
    facts = json.loads((folder / "config.json").read_text())
    block_bytes = 2 * facts["num_hidden_layers"] * facts["num_key_value_heads"] * facts["head_dim"] * BLOCK * 2  # bf16
    small = VLLMEngine(
        EngineSettings(
            model_folder=folder, context_length=128, max_num_seqs=16, kv_cache_bytes=12 * block_bytes,
            block_size=BLOCK, stop_token_ids=(0,),
        )
    )  # fmt: skip
    try:
        serve(small, versions[0])
        assert draw(small, requests) == plenty
        assert small.num_preemptions > 0, "the cache was large enough: this test shows nothing"
    finally:
        small.close()
