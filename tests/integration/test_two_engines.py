"""Two engines draw what one draws, bit for bit, and a run outlives each of its actors."""

from __future__ import annotations

import math
import os
import signal
from pathlib import Path

import pytest
from safetensors.torch import load_file

from tests.integration.harness import PATIENCE, Runs, assert_same_run, children_named, wait_for_rows

pytestmark = pytest.mark.slow

SETTINGS = (
    "num_steps=3", "checkpoint.every=1", "warmup.num_steps=5", "eval.num_tasks=8", "cluster.cpus_per_bundle=1",
    "learner.loss=k25_token", "learner.tau=0.001", "learner.num_minibatches=2", "learner.drop_zero_spread=false",
    "learner.compute_dtype=bfloat16", "eval.compare_unquantised=true",
)  # fmt: skip
"""Each actor computes on one thread, whatever the number of engines. What shipped configs of tiny models leave out: the
loss of K2.5, a learner that computes in BF16, engines that serve the model in BF16."""


@pytest.fixture(scope="module")
def one_engine(runs: Runs, tmp_path_factory: pytest.TempPathFactory) -> Path:
    run_dir = tmp_path_factory.mktemp("runs") / "one"
    runs.finish(run_dir, SETTINGS)
    return run_dir


def test_two_engines_of_which_one_is_killed_and_a_learner_that_is_killed_give_the_run_of_one_engine(
    runs: Runs, one_engine: Path, tmp_path: Path
) -> None:
    run_dir = tmp_path / "two"
    process = runs.start(run_dir, (*SETTINGS, "engine.num_engines=2"))
    wait_for_rows(process, runs, run_dir, 1)
    engines = children_named(process.pid, "ray::EngineProcess")
    assert len(engines) == 2
    os.kill(engines[1], signal.SIGKILL)
    wait_for_rows(process, runs, run_dir, 2)
    assert engines[0] in children_named(process.pid, "ray::EngineProcess"), "the other engine was to live on"
    (learner,) = children_named(process.pid, "ray::Learner")
    os.kill(learner, signal.SIGKILL)
    output, _ = process.communicate(timeout=PATIENCE)
    assert process.returncode == 0, output
    assert output.count("rebuilding") == 2 and "going on from" in output
    assert_same_run(runs, run_dir, one_engine, num_steps=3)


def test_a_run_in_bf16_with_the_loss_of_kimi_k25_moves_off_the_policy_that_sampled_and_changes_the_weights(
    runs: Runs, one_engine: Path
) -> None:
    rows = runs.rows(one_engine)
    assert len(rows) == 3
    stages = [(row["stage"], row["weights"]) for row in runs.rows(one_engine, "evals.jsonl")]
    assert stages[:2] == [("as released", "BF16"), ("rounded to INT4", "INT4")]
    for row in rows:
        assert math.isfinite(row["learner/policy_loss"]) and row["learner/grad_norm"] > 0.0
        assert row["learner/log_ratio_std"] > 0.0  # the second minibatch of a step
    before, after = (load_file(one_engine / name / "model.safetensors") for name in ("initial_int4", "export"))
    assert any((before[name] != after[name]).any() for name in before)
