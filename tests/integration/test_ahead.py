"""One step off on real Ray and real vLLM: whose weights drew a step, and what a checkpoint holds of what is drawn."""

from __future__ import annotations

from pathlib import Path

from tests.integration.harness import Runs, as_of, assert_same_run
from tests.integration.here import run_here

ONE_STEP_OFF = (
    "cluster.separate=true", "rollout.steps_ahead=1", "num_steps=5", "checkpoint.every=1", "checkpoint.keep=9",
)  # fmt: skip


def test_each_step_is_drawn_by_the_weights_of_the_one_before_and_a_run_that_goes_on_draws_nothing_again(
    runs: Runs, tmp_path: Path
) -> None:
    runs.finish(tmp_path / "straight", ONE_STEP_OFF)
    rows = runs.rows(tmp_path / "straight")
    versions = [row["rollout/weight_version"] for row in rows]
    assert versions == [1, 1, 2, 3, 4]  # 1 is what the warm-up made
    for step, version in enumerate(versions):
        samples = runs.rows(tmp_path / "straight", f"rollouts/step_{step:06d}.jsonl")
        assert {part["weight_version"] for sample in samples for part in sample["segments"]} == {version}
    assert [row["rollout/stale_frac"] for row in rows] == [0.0, 1.0, 1.0, 1.0, 1.0]
    gaps, stale_gaps = ([row[f"rollout/{name}_gap_mean"] for row in rows] for name in ("logprob", "stale"))
    assert gaps[0] is not None and gaps[1:] == [None] * 4
    assert stale_gaps[0] is None and any(gap is not None for gap in stale_gaps[1:])  # None: nothing to learn in a step
    assert all(row["rollout/num_tokens"] > 0 for row in rows)
    assert ["phase/ahead_seconds" in row for row in rows] == [False, True, True, True, True]
    went_on = as_of(tmp_path / "straight", 3, tmp_path / "went_on")
    assert "at step 3" in run_here(went_on, ONE_STEP_OFF)
    assert_same_run(runs, went_on, tmp_path / "straight", num_steps=5)
