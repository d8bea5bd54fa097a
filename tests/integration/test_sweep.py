"""`k2rl sweep`: real runs, one after another, and again when there is more to do."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.integration.harness import PATIENCE, ROOT, SHORT, Runs

pytestmark = [pytest.mark.integration, pytest.mark.slow]


def sweep(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    short = [item for item in SHORT if not item.startswith(("num_steps", "warmup.num_steps", "eval.num_tasks"))]
    command = [sys.executable, "-m", "rl.verbs", "sweep", str(ROOT / "configs" / "exp" / "no_ptx.toml"), *short]
    command += ["warmup.num_steps=0", "eval.num_tasks=4", "--output", str(folder), *arguments]
    return subprocess.run(
        command, cwd=ROOT, env=Runs().environment(), text=True, capture_output=True, timeout=2 * PATIENCE, check=False
    )


def test_a_sweep_runs_what_is_missing_goes_on_with_what_is_not_finished_and_shows_all(tmp_path: Path) -> None:
    first = sweep(tmp_path, "seed=3", "num_steps=1", "report.tensorboard=true")
    assert first.returncode == 0, first.stdout + first.stderr
    run = tmp_path / "no_ptx"
    assert json.loads((run / "config.json").read_text())["seed"] == 3
    assert (run / "logs" / "engine_0.log").read_text().startswith("--- process ")
    assert list((run / "tensorboard").glob("events.*"))
    again = sweep(tmp_path, "seed=3", "num_steps=2", "report.tensorboard=true", "--json")
    assert again.returncode == 0, again.stdout + again.stderr
    (row,) = json.loads(again.stdout[again.stdout.index("[\n") :])
    assert (row["name"], row["state"], row["num_steps"]) == ("no_ptx", "done", 2)
    starts = [json.loads(line) for line in (run / "starts.jsonl").read_text().splitlines()]
    assert [start["step"] for start in starts] == [0, 1] and starts[0]["libraries"]["torch"]
    assert len(Runs.rows(run)) == 2
