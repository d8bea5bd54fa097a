"""What integration tests share: a learner with test settings, and runs in processes of their own."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rl.learner import Learner, LearnerSettings
from rl.mismatch import Mismatch
from rollout.quant.scheme import QuantScheme

ROOT = Path(__file__).parents[2]
PATIENCE = 900.0
"""Seconds until a process counts as hung, where one core may be shared by several."""
SHORT = (
    "num_steps=6", "warmup.num_steps=20", "warmup.batch_size=32", "rollout.prompts_per_step=8", "eval.num_tasks=16",
    "rollout.samples_per_prompt=4", "checkpoint.every=3", "report.wandb=off", "report.show_samples=0",
    "engine.max_num_seqs=32", "learner.lr_ramp_steps=1",
)  # fmt: skip
"""configs/tiny_cpu.toml, shortened."""


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

    @staticmethod
    def environment() -> dict[str, str]:
        return {key: value for key, value in os.environ.items() if key != "RAY_ADDRESS"}

    @staticmethod
    def rows(run_dir: Path, name: str = "metrics.jsonl") -> list[dict[str, Any]]:
        file = run_dir / name
        return [json.loads(line) for line in file.read_text().splitlines()] if file.is_file() else []
