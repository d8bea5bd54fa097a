"""Whole runs with a learner of two ranks on real Ray and real vLLM."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest

from tests.integration.harness import PATIENCE, Runs, children_named, wait_for_rows, without_times

pytestmark = pytest.mark.slow

TWO = (
    "learner.num_ranks=2", "num_steps=4", "checkpoint.every=2", "learner.num_minibatches=2",
    "learner.drop_zero_spread=false",
)  # fmt: skip


def test_a_run_of_two_ranks_that_lost_one_and_was_killed_equals_one_that_ran_straight_and_goes_on_alone(
    runs: Runs, tmp_path: Path
) -> None:
    straight, unlucky = tmp_path / "straight", tmp_path / "unlucky"
    runs.finish(straight, TWO)
    rows = runs.rows(straight)
    assert [row["rollout/weight_version"] for row in rows] == [1, 2, 3, 4]  # the warm-up made 1
    assert all(row["rollout/logprob_gap_mean"] < 0.05 for row in rows)  # engines serve what the ranks learn
    assert all(row["weights/code_flip_frac"] > 0 for row in rows)
    shards = sorted(path.name for path in (straight / "checkpoints/step_000004/learner").iterdir())
    assert shards == [".metadata", "__0_0.distcp", "__1_0.distcp"]

    process = runs.start(unlucky, TWO)
    wait_for_rows(process, runs, unlucky, 1)
    os.kill(children_named(process.pid, "ray::Learner")[1], signal.SIGKILL)
    wait_for_rows(process, runs, unlucky, 3)  # the first two again, from the warm-up's checkpoint
    process.send_signal(signal.SIGKILL)
    output, _ = process.communicate(timeout=PATIENCE)
    assert "rebuilding" in output, output
    assert "going on from" in runs.finish(unlucky, TWO)
    assert without_times(runs.rows(unlucky)) == without_times(rows)
    weights = "export/model.safetensors"
    assert (unlucky / weights).read_bytes() == (straight / weights).read_bytes()

    assert "at step 4" in runs.finish(unlucky, (*TWO, "num_steps=5", "learner.num_ranks=1"))
    assert (unlucky / "checkpoints/step_000005/learner.pt").is_file() and len(runs.rows(unlucky)) == 5
