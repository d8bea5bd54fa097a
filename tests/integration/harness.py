"""What integration tests share: a learner with test settings, and runs in processes of their own."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import psutil

from rl.learner import Learner, LearnerSettings
from rl.metric_table import metric_of
from rl.mismatch import Mismatch
from rollout.engine.compat import ENVIRONMENT
from rollout.quant.scheme import QuantScheme

ROOT = Path(__file__).parents[2]
PATIENCE = 900.0
"""Seconds until a process counts as hung, where one core may be shared by several."""
SHORT = (
    "num_steps=6", "warmup.num_steps=20", "warmup.batch_size=32", "rollout.prompts_per_step=8", "eval.num_tasks=16",
    "rollout.samples_per_prompt=4", "checkpoint.every=3", "report.wandb=off", "report.show_samples=0",
    "engine.max_num_seqs=32", "learner.lr_ramp_steps=1", "cluster.cpus_per_bundle=1",
)  # fmt: skip
"""configs/tiny_cpu.toml, shortened. On one thread: a run on Ray and one here sum in one order, and no thread of a small
model waits for another whose core a neighbour has."""

ALL_CORES = ("cluster.cpus_per_bundle=none",)
"""For runs that show that sums are split over threads the same way each time."""


def new_learner(folder: Path, **changes: Any) -> Learner:
    settings: dict[str, Any] = {
        "model_folder": folder, "scheme": QuantScheme(), "fake_quantize": True, "compute_dtype": "float32",
        "loss": "k2_seq", "aggregation": None, "tau": 0.05, "clip_low": -0.7, "clip_high": 0.7, "mismatch": Mismatch(),
        "optimizer": "adamw", "momentum": 0.95, "betas": (0.9, 0.95), "qk_clip": None,
        "reset_optimizer": False, "ema_decay": None, "reference_coef": 0.0, "reference_estimator": "k3",
        "weight_decay": 0.0,
        "max_grad_norm": 1.0, "max_microbatch_tokens": 1024, "gradient_checkpointing": False,
        "ptx_coef": 0.0,
    }  # fmt: skip
    return Learner(LearnerSettings(**(settings | changes)))


class Runs:
    """Starts `python -m rl.train` as a user would.

    Args:
        config: file in configs/; each run is `SHORT` of it.
    """

    def __init__(self, config: str = "tiny_cpu.toml") -> None:
        self._config = config

    def command(self, run_dir: Path, overrides: Sequence[str] = ()) -> list[str]:
        config = str(ROOT / "configs" / self._config)
        return [sys.executable, "-m", "rl.train", config, *SHORT, f"run_dir={run_dir}", *overrides]

    def start(self, run_dir: Path, overrides: Sequence[str] = ()) -> subprocess.Popen[str]:
        return subprocess.Popen(
            self.command(run_dir, overrides), cwd=ROOT, env=self.environment(), text=True,
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        )  # fmt: skip

    def finish(self, run_dir: Path, overrides: Sequence[str] = ()) -> str:
        done = subprocess.run(
            self.command(run_dir, overrides), cwd=ROOT, env=self.environment(), text=True, timeout=PATIENCE,
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False,
        )  # fmt: skip
        assert done.returncode == 0, done.stdout
        return done.stdout

    def environment(self) -> dict[str, str]:
        """This process's, without what an engine here has set for itself: one that forgets to is to be found out."""
        dropped = {"RAY_ADDRESS", *ENVIRONMENT}
        return {key: value for key, value in os.environ.items() if key not in dropped}

    @staticmethod
    def rows(run_dir: Path, name: str = "metrics.jsonl") -> list[dict[str, Any]]:
        """Rows of a file of the run folder; every number of every real run must stand in the table of metrics."""
        file = run_dir / name
        rows = [json.loads(line) for line in file.read_text().splitlines()] if file.is_file() else []
        if name == "metrics.jsonl":
            assert [key for row in rows for key in row if metric_of(key) is None] == []
        return rows


def without_times(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    timed = ("_seconds", "/seconds", "per_second")
    return [{k: v for k, v in row.items() if not k.endswith(timed)} for row in rows]


def wait_for_rows(process: subprocess.Popen[str], runs: Runs, run_dir: Path, num: int) -> None:
    """Until a running run has done so many steps."""
    wait_for(lambda: len(runs.rows(run_dir)) >= num, process)


def wait_for(is_so: Callable[[], bool], process: subprocess.Popen[str] | None = None) -> None:
    """Until something is so, of a process that must not end before."""
    deadline = time.monotonic() + PATIENCE
    while not is_so():
        assert process is None or process.poll() is None, process.communicate()[0]
        assert time.monotonic() < deadline, "nothing comes of it"
        time.sleep(0.05)


def assert_same_run(runs: Runs, found: Path, expected: Path, *, num_steps: int) -> None:
    """But for times: metrics, evaluations, every sample, and the exported weights."""
    assert without_times(runs.rows(found)) == without_times(runs.rows(expected))
    assert runs.rows(found, "evals.jsonl") == runs.rows(expected, "evals.jsonl")
    names = sorted(file.name for file in (expected / "rollouts").iterdir())
    assert names == [f"step_{step:06d}.jsonl" for step in range(num_steps)]
    for name in names:
        assert (found / "rollouts" / name).read_bytes() == (expected / "rollouts" / name).read_bytes()
    weights = "export/model.safetensors"
    assert (found / weights).read_bytes() == (expected / weights).read_bytes()


def as_of(run_dir: Path, step: int, copy: Path) -> Path:
    """A copy of a finished run whose newest checkpoint is that of `step`, with the rows of later steps still in it.

    What a SIGKILL leaves that came late between two checkpoints, in a folder that was moved: going on from it costs one
    start instead of a killed run's two. tests/integration/test_runs.py kills a process.
    """
    shutil.copytree(run_dir, copy)
    for folder in (copy / "checkpoints").glob("step_*"):
        if int(folder.name.removeprefix("step_")) > step:
            shutil.rmtree(folder)
    assert (copy / "checkpoints" / f"step_{step:06d}").is_dir(), "the run kept too few checkpoints"
    shutil.rmtree(copy / "export")
    (copy / "final.json").unlink()
    return copy


def children_named(pid: int, prefix: str) -> list[int]:
    """Descendants of a process whose title begins with `prefix`."""
    found = []
    for child in psutil.Process(pid).children(recursive=True):
        try:
            if " ".join(child.cmdline()).startswith(prefix):
                found.append(child.pid)
        except psutil.Error:
            continue
    return found
