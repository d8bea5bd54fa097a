"""Routing replay on the real engine: what it says of its experts, what that does to the gap, and whole runs with it."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from configs.schema import TinyModelConfig
from rl.batch import LearningSample, Minibatch
from rl.learner import Learner
from rl.tiny_model import build_tiny_model
from rollout.engine.engine import EngineBroken, EngineSettings, VLLMEngine
from rollout.quant.scheme import DEFAULT_IGNORE, QuantScheme
from rollout.types import Sample, SampleRequest
from rollout.weights.contract import WeightArtefact
from tests.integration.harness import PATIENCE, ROOT, Runs, as_of, assert_same_run, new_learner

LENGTHS = (1, 5, 31, 32, 33, 70)
"""Of prompts: shorter than a block of 32, whole blocks, and around their ends."""
LAYERS, TOP_K, BUDGET, SIBLINGS = 3, 2, 40, 4
SHAPE = TinyModelConfig(num_layers=LAYERS, intermediate_size=128, num_experts=8, experts_per_token=TOP_K)
SCHEME = QuantScheme(ignore=(*DEFAULT_IGNORE, "re:.*self_attn.*"))


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("moe") / "model"
    build_tiny_model(path, SHAPE, context_length=128, seed=0)
    return path


@pytest.fixture(scope="module")
def artefact(folder: Path) -> WeightArtefact:
    return new_learner(folder, scheme=SCHEME).publish(0)


@pytest.fixture(scope="module")
def engine(folder: Path, artefact: WeightArtefact, tmp_path_factory: pytest.TempPathFactory) -> Iterator[VLLMEngine]:
    """Its cache has no room for all that is asked of it at once: responses are preempted, and computed again."""
    int4 = tmp_path_factory.mktemp("int4") / "model"
    new_learner(folder, scheme=SCHEME).export(int4)
    engine = VLLMEngine(
        EngineSettings(
            model_folder=int4, context_length=128, max_num_seqs=24, kv_cache_bytes=1 << 21, block_size=32,
            stop_token_ids=(0,), returns_routing=True,
        )
    )  # fmt: skip
    engine.stage_weights(artefact, is_reswap=True)
    engine.commit_weights(0)
    yield engine
    engine.close()


def requests() -> list[SampleRequest]:
    return [
        SampleRequest(
            id=f"p{i}/k{k}", prompt_ids=tuple(2 + (i * 5 + j * (3 + i)) % 14 for j in range(length)), budget=BUDGET,
            temperature=1.0, seed=97 * i + k,
        )
        for i, length in enumerate(LENGTHS)
        for k in range(SIBLINGS)
    ]  # fmt: skip


def draw(engine: VLLMEngine, asked: Sequence[SampleRequest]) -> dict[str, Sample]:
    engine.submit(asked)
    found: dict[str, Sample] = {}
    deadline = time.monotonic() + PATIENCE
    while not {one.id for one in asked} <= found.keys():  # one that an abort came too late for may be there too
        assert time.monotonic() < deadline, "the engine does not finish"
        found |= {sample.id: sample for sample in engine.finished(wait_seconds=1.0)}
    return found


@pytest.fixture(scope="module")
def drawn(engine: VLLMEngine) -> dict[str, Sample]:
    """All at once: siblings copy their prompts."""
    return draw(engine, requests())


def experts_of(sample: Sample) -> np.ndarray:
    (segment,) = sample.segments
    assert segment.routing is not None
    return segment.routing.array()


def test_experts_of_all_tokens_come_with_a_sample_whether_they_were_computed_copied_cached_or_computed_again(
    engine: VLLMEngine, drawn: dict[str, Sample]
) -> None:
    assert engine.num_preemptions > 0, "the cache had room for all"
    for sample in drawn.values():
        num = len(sample.prompt_ids) + len(sample.token_ids) - 1  # no layer has seen the last one
        assert experts_of(sample).shape == (num, LAYERS, TOP_K)
        assert (np.diff(np.sort(experts_of(sample))) > 0).all(), "a token went to one expert twice"
    alone: dict[str, Sample] = {}
    for asked in requests():
        engine.submit([asked])
        engine.abort([asked.id])  # leaves nothing behind
        alone |= draw(engine, [asked])
    assert alone == drawn  # equal samples have equal routing


def learned(drawn: dict[str, Sample]) -> Minibatch:
    samples = [
        LearningSample(
            number=n, group=n // SIBLINGS, prompt_ids=one.prompt_ids, token_ids=one.token_ids,
            loss_mask=(True,) * len(one.token_ids), engine_logprobs=one.segments[0].logprobs,
            temperatures=(1.0,) * len(one.token_ids), advantage=0.5 - n % 2, routing=one.segments[0].routing,
        )
        for n, one in enumerate(drawn[asked.id] for asked in requests())
    ]  # fmt: skip
    num_tokens = sum(len(one.token_ids) for one in samples)
    return Minibatch(index=0, samples=tuple(samples), num_samples=len(samples), num_tokens=num_tokens)


def gaps(learner: Learner, batch: Minibatch) -> np.ndarray:
    (known,) = learner.add_old_logprobs([batch])
    assert all(one.old_logprobs is not None for one in known.samples)
    return np.concatenate([np.abs(np.subtract(one.old_logprobs or (), one.engine_logprobs)) for one in known.samples])


def flipped(learner: Learner, batch: Minibatch) -> np.ndarray:
    """Of each sampled token, whether the learner by itself routes the one before it otherwise, in any layer."""
    found = []
    for one in batch.samples:
        chosen: list[torch.Tensor] = []
        routers = [m for m in learner.model.modules() if type(m).__name__ == "Qwen3MoeTopKRouter"]
        hooks = [m.register_forward_hook(lambda module, args, out, to=chosen: to.append(out[2])) for m in routers]
        learner.sequence_logprobs([one.prompt_ids + one.token_ids])
        for hook in hooks:
            hook.remove()
        assert one.routing is not None
        own, theirs = np.sort(torch.stack(chosen, dim=1).numpy()), np.sort(one.routing.array())
        found.append((own[: len(theirs)] != theirs).any(axis=(1, 2))[len(one.prompt_ids) - 1 :])
    return np.concatenate(found)


def test_where_rounding_sent_learner_and_engine_to_other_experts_replay_brings_them_together(
    folder: Path, drawn: dict[str, Sample]
) -> None:
    batch = learned(drawn)
    options: dict[str, Any] = {"scheme": SCHEME, "compute_dtype": "bfloat16"}
    plain, replaying = new_learner(folder, **options), new_learner(folder, **options, replay_routing=True)
    is_flipped = flipped(plain, batch)
    without, with_replay = gaps(plain, batch), gaps(replaying, batch)
    told = (
        f"{is_flipped.sum()} of {len(without)} tokens flipped; gap {without.mean():.4f} -> {with_replay.mean():.4f}, "
        f"of flipped {without[is_flipped].mean():.4f} -> {with_replay[is_flipped].mean():.4f}, "
        f"largest {without.max():.3f} -> {with_replay.max():.3f}"
    )
    print(told)
    assert is_flipped.any() and not is_flipped.all(), told
    assert with_replay[is_flipped].mean() < 0.5 * without[is_flipped].mean(), told
    assert with_replay.mean() < without.mean(), told
    update = replaying.update(batch, (), lr=0.0)
    assert 0 < update.num_flipped < 0.1 * update.num_replayed


def test_a_slot_that_another_version_wrote_and_this_one_did_not_is_an_error(
    engine: VLLMEngine, artefact: WeightArtefact
) -> None:
    """The last test of this engine: it breaks."""

    def deafen(worker: Any) -> None:
        next(m for m in worker.model_runner.get_model().modules() if hasattr(m, "router")).router.set_capture_fn(None)

    engine._routing._experts.fill_(0)  # every slot was written before
    engine.stage_weights(artefact, is_reswap=True)
    engine.commit_weights(0)
    engine.on_worker(deafen)
    with pytest.raises(EngineBroken, match="went to experts that this engine did not note"):
        draw(engine, requests())


# -- whole runs -------------------------------------------------------------------------------------------------------

REPLAYED = (
    "learner.replay_routing=true", "rollout.segment_tokens=3", "num_steps=4", "checkpoint.every=2",
    "learner.drop_zero_spread=false", "learner.compute_dtype=bfloat16",
)  # fmt: skip


@pytest.mark.slow
def test_a_run_that_replays_goes_on_bit_for_bit_and_its_steps_can_be_done_again(tmp_path: Path) -> None:
    runs, straight = Runs("tiny_moe.toml"), tmp_path / "straight"
    runs.finish(straight, REPLAYED)
    rows = runs.rows(straight)
    assert rows[3]["learner/num_samples"] > 0
    assert all(0 <= row["learner/routing_flip_frac"] < 0.1 for row in rows if row["learner/num_samples"])
    assert any(row["rollout/num_carried"] for row in rows), "no response went on in another step"
    copy = as_of(straight, 2, tmp_path / "copy")
    assert "going on from" in runs.finish(copy, REPLAYED)
    assert_same_run(runs, copy, straight, num_steps=4)
    done = subprocess.run(
        [sys.executable, "-m", "rl.replay", str(straight), "3"], cwd=ROOT, env=runs.environment(), text=True,
        capture_output=True, timeout=PATIENCE, check=False,
    )  # fmt: skip
    assert done.returncode == 0 and "equal to what the run logged, to the last digit" in done.stdout, done
