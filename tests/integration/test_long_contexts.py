"""Contexts of hundreds of tokens: a sample's bits depend on nothing but its request, and turns reuse what is cached.

Short contexts cannot show it: a CPU's attention may add up a long one in parts, by what else is in the batch.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence

import pytest

from configs.schema import TinyModelConfig
from rl.tiny_model import build_tiny_model
from rollout.engine.engine import EngineSettings, VLLMEngine
from rollout.types import Sample, SampleRequest
from rollout.weights.contract import WeightArtefact
from tests.integration.harness import PATIENCE, new_learner

ALPHABET = "".join(map(chr, range(33, 500)))
"""So many characters that hardly a response draws the end token."""
BUDGET = 100


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[VLLMEngine, WeightArtefact]]:
    folder = tmp_path_factory.mktemp("long")
    build_tiny_model(folder / "model", TinyModelConfig(num_layers=2, alphabet=ALPHABET), context_length=512, seed=3)
    learner = new_learner(folder / "model")
    learner.export(folder / "int4")
    settings = EngineSettings(
        model_folder=folder / "int4", context_length=512, max_num_seqs=16, kv_cache_bytes=1 << 26, block_size=32,
        stop_token_ids=(0,),
    )  # fmt: skip
    engine = VLLMEngine(settings)
    yield engine, learner.publish(0)
    engine.close()


@pytest.fixture(autouse=True)
def cold(served: tuple[VLLMEngine, WeightArtefact]) -> None:
    """Every test begins with an empty prefix cache."""
    empty_cache(*served)


def empty_cache(engine: VLLMEngine, artefact: WeightArtefact) -> None:
    engine.stage_weights(artefact, is_reswap=True)
    engine.commit_weights(artefact.manifest.version)


def request(i: int, *, prompt_ids: tuple[int, ...] = (), budget: int = BUDGET, name: str = "r") -> SampleRequest:
    prompt_ids = prompt_ids or tuple(2 + (i * 7 + j * 3) % 400 for j in range(60 + 37 * (i % 8)))
    return SampleRequest(id=f"{name}{i}", prompt_ids=prompt_ids, budget=budget, temperature=1.0, seed=100 + i)


def draw(engine: VLLMEngine, requests: Sequence[SampleRequest], *, one_by_one: bool = False) -> dict[str, Sample]:
    todo, found = list(requests), {}
    if not one_by_one:
        engine.submit(todo)
        todo = []
    deadline = time.monotonic() + PATIENCE
    while len(found) < len(requests):
        assert time.monotonic() < deadline, "the engine does not finish"
        if todo:
            engine.submit([todo.pop(0)])
        found |= {sample.id: sample for sample in engine.finished(wait_seconds=0.05 if todo else 1.0)}
    return found


def test_a_long_sample_has_the_same_bits_alone_and_among_others(served) -> None:
    engine, artefact = served
    requests = [request(i) for i in range(8)]
    together = draw(engine, requests)
    assert sum(sample.num_tokens for sample in together.values()) > 6 * BUDGET, "too short to show anything"
    for again in (draw(engine, requests[::-1]), draw(engine, requests, one_by_one=True)):
        assert again == together
        empty_cache(engine, artefact)
    for lone in requests:
        assert draw(engine, [lone]) == {lone.id: together[lone.id]}


@pytest.mark.parametrize("num_tokens", [10, 44, 45, 100])
def test_the_next_turn_has_the_same_bits_behind_cached_tokens_and_behind_computed_ones(served, num_tokens: int) -> None:
    """What was decoded token by token is in the cache; without it, it is prefilled in one pass."""
    engine, artefact = served
    first = draw(engine, [request(i, budget=num_tokens) for i in range(4)])
    contexts = [(*sample.prompt_ids, *sample.token_ids, 5, 6, 7) for sample in first.values()]
    turns = [request(i, prompt_ids=context, budget=40, name="turn") for i, context in enumerate(contexts)]
    before = engine.num_prefilled_tokens
    warm = draw(engine, turns)
    num_warm = engine.num_prefilled_tokens - before
    empty_cache(engine, artefact)
    before = engine.num_prefilled_tokens
    assert draw(engine, turns) == warm
    assert engine.num_prefilled_tokens - before == sum(map(len, contexts))
    assert num_warm <= sum(3 + num_tokens % 32 + 33 for _ in contexts), (
        "whole blocks of a context are not computed again"
    )
