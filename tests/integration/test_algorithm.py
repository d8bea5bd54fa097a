"""Parts of the algorithm that carry state from step to step, with a real learner and engine: a stop changes nothing."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from safetensors.torch import load_file

from configs.schema import TinyModelConfig
from rl.faults import RunStopped
from rl.rates import read_rates
from rl.tiny_model import build_tiny_model
from tests.integration.harness import PATIENCE, ROOT, Runs, without_times
from tests.integration.here import run_here

pytestmark = pytest.mark.slow

PARTS = (
    "rollout.prompts.rule=prioritised", "rollout.prompts.max_refills=6", "rollout.prompts.gates=[{from_step=1}]",
    'gyms.arithmetic.truncation={rule="ramp",reward=-0.5,ramp_tokens=2}',
    "gyms.arithmetic.temperature={start=1.2,end=1.0,shape='stepwise',num_stairs=2}",
    "reward.toggle={period=1,min_mean=0.1,quantile=0.5}", "learner.reference_kl={coef=0.01,estimator='k2'}",
    "learner.ema_decay=0.5", "learner.qk_clip=8.0", "learner.reset_optimizer=true", "ptx.num_heldout=16",
    "ptx.coef_end_frac=0.5", "num_steps=4", "checkpoint.every=2", "eval.num_tasks=4", "warmup.num_steps=30",
)  # fmt: skip


def test_every_part_that_remembers_goes_on_after_a_stop_as_if_there_had_been_none(tmp_path: Path) -> None:
    straight, stopped, runs = tmp_path / "straight", tmp_path / "stopped", Runs()
    assert "after RL, averaged" in run_here(straight, PARTS)
    unstopped = runs.rows(straight)
    # An alarm stops the other one behind its second step, with a checkpoint; without it the run goes on.
    with pytest.raises(RunStopped):
        run_here(stopped, (*PARTS, "alarm.min_surprise=1000.0", "alarm.window=2"))
    assert len(runs.rows(stopped)) == 2
    run_here(stopped, PARTS)
    resumed = runs.rows(stopped)
    assert without_times(resumed) == without_times(unstopped)
    for name in ("export", "export_ema"):
        one, other = (load_file(folder / name / "model.safetensors") for folder in (straight, stopped))
        assert one.keys() == other.keys() and all((one[key] == other[key]).all() for key in one)
    assert any(row["rollout/num_refills"] for row in unstopped)
    assert [row["reward/is_budgeted"] for row in unstopped] == [1.0, 0.0, 1.0, 0.0]
    assert unstopped[0]["rollout/arithmetic/temperature"] == 1.2
    assert all(row["learner/ptx_heldout_loss"] > 0 and row["learner/qk_max_logit"] > 0 for row in unstopped)
    assert any((row["learner/reference_kl"] or 0.0) > 0 for row in unstopped)
    state = json.loads(next((stopped / "checkpoints").glob("step_000004/run.json")).read_text())["run"]
    samples = [row for step in range(4) for row in runs.rows(stopped, f"rollouts/step_{step:06d}.jsonl")]
    assert state["rates"]["arithmetic"].keys() == {row["task"] for row in samples}
    assert state["budgets"]["arithmetic"].keys() == {row["task"] for row in samples if row["value"] == 1.0}


def test_difficulty_is_measured_goes_on_and_is_read_back(tmp_path: Path) -> None:
    """Two samples of four tasks, then of six: the four are not asked again."""
    shape = TinyModelConfig(hidden_size=64, num_layers=2, num_heads=2, intermediate_size=96)
    build_tiny_model(tmp_path / "model", shape, context_length=128, seed=0)
    config, output = str(ROOT / "configs" / "tiny_cpu.toml"), tmp_path / "rates.jsonl"

    def measure(max_tasks: int) -> str:
        command = [
            sys.executable,
            "-m",
            "rl.difficulty",
            str(tmp_path / "model"),
            config,
            "cluster.start_seconds=900.0",
        ]
        command += ["--samples", "2", "--max-tasks", str(max_tasks), "--output", str(output)]
        done = subprocess.run(
            command, cwd=ROOT, env=Runs().environment(), text=True, capture_output=True, timeout=PATIENCE, check=False
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    assert "4 tasks, 4 of them asked now" in measure(4)
    first = output.read_text()
    assert "6 tasks, 2 of them asked now" in measure(6)
    assert output.read_text().startswith(first)
    known = read_rates(output, ["arithmetic"])
    assert len(known.rates["arithmetic"]) == 6 and all(0 <= rate <= 1 for rate in known.rates["arithmetic"].values())
