"""What partial rollouts do for a step whose responses have a heavy tail, and whether learning suffers.

    python -m benchmarks.heavy_tail [--steps 12] [--segment-tokens 48] [--json]

The same run twice, with `rollout.segment_tokens` and without: a small built model walks. An episode takes as many turns
as its task says, whatever the model does: four on the median, with a Pareto tail of exponent 1.2, at most 200. So the
tail is the environment's, alike in both runs and at every step.

    median, longest    seconds of a step's rollout, without the first step
    step               seconds of all steps together, over the sampled tokens: per 1,000
    accuracy           held-out, greedy, before RL and after, with its 95 % interval
"""

from __future__ import annotations

import argparse
import json
import os
import random
import subprocess
import sys
import tempfile
from pathlib import Path
from statistics import median
from typing import Any

from benchmarks.machine import machine
from gyms.api import Environment, Episode, Reply, Score, Split, Status, Task, Turn, message, refusal
from gyms.lazy import DrawnSettings, DrawnTasks

__all__ = ["Walks", "measure", "num_turns"]

MAX_TURNS, MEDIAN, EXPONENT = 200, 4, 1.2
CONFIG = (
    "configs/tiny_tools.toml", 'model.tiny={alphabet="0123456789:\\n", num_layers=2}', "model.context_length=1024",
    'gyms=[{name="walks", gym="benchmarks.heavy_tail:Walks", budget=4, episode_tokens=1000}]',
    "rollout.prompts_per_step=16", "rollout.samples_per_prompt=4", "learner.num_minibatches=1", "eval.num_tasks=64",
    "rollout.temperature={start=1.0,end=0.8}", "learner.lr=3e-4", "learner.lr_ramp_steps=5", "warmup.until_loss=0.08",
    "warmup.num_steps=80", "warmup.batch_size=8", "ptx.source.gym=walks", "ptx.batch_size=4", "checkpoint.every=0",
    "report.wandb=off", "report.show_samples=0",
)  # fmt: skip
STAGES = ("before", "after")


def num_turns(draw: random.Random) -> int:
    """Turns of an episode: P(more than n) = (MEDIAN / n)^EXPONENT / 2 from the median on."""
    scale = MEDIAN * 0.5 ** (1 / EXPONENT)
    return min(MAX_TURNS, max(1, round(scale * draw.paretovariate(EXPONENT))))


class Walks(Environment):
    """Asks for the digits of 0, 1, 2, ... one a turn, for as many turns as the task says."""

    Settings = DrawnSettings
    max_turns = MAX_TURNS
    baseline = 0.2
    settings: DrawnSettings

    def tasks(self, split: Split):
        return _Tasks(self.settings, split)

    def start(self, task: Task, seed: int) -> Episode:
        return _Walk(task.data["turns"])

    def gold_turns(self, task: Task):
        return [Turn(text=str(number % 10)) for number in range(task.data["turns"])]


class _Tasks(DrawnTasks):
    def make(self, place: int) -> Task:
        turns = num_turns(random.Random(f"walks {self._settings.seed} {self._split} {place}"))
        asked = f"{2 * place + (self._split == 'heldout')}:"  # the same signs in both, and no number in both
        return Task(id=f"{self._split}/{place}", prompt=(message("user", asked),), data={"turns": turns})


class _Walk(Episode):
    def __init__(self, turns: int) -> None:
        self._turns = turns
        self._said: list[str] = []

    def step(self, turn: Turn) -> Reply:
        self._said.append(turn.text)
        number = len(self._said)
        refused = [refusal(call, ()) for call in turn.calls]
        return Reply(messages=(*refused, message("user", f":{number % 10}")), is_done=number >= self._turns)

    def score(self) -> Score:
        right = sum(text == str(number % 10) for number, text in enumerate(self._said))
        return Score(status=Status.OK, value=right / self._turns)


def measure(*, steps: int, segment_tokens: int | None) -> dict[str, Any]:
    """The figures of one run.

    Raises:
        RuntimeError: the run failed.
    """
    with tempfile.TemporaryDirectory() as scratch:
        run = Path(scratch) / "run"
        settings = [*CONFIG, f"num_steps={steps}", f"run_dir={run}"]
        settings += [] if segment_tokens is None else [f"rollout.segment_tokens={segment_tokens}"]
        done = subprocess.run([sys.executable, "-m", "rl.train", *settings], stdout=sys.stderr, check=False)
        if done.returncode:
            raise RuntimeError(f"the run ended with status {done.returncode}")
        rows = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()][1:]
        evals = [json.loads(line) for line in (run / "evals.jsonl").read_text().splitlines()]
    seconds = [row["phase/rollout_seconds"] for row in rows]
    steps_seconds = sum(row["phase/generate_seconds"] + row["phase/learn_seconds"] for row in rows)
    found = {row["stage"]: row["gyms"]["walks"]["greedy"] for row in evals}
    return {
        "median_rollout_seconds": median(seconds),
        "longest_rollout_seconds": max(seconds),
        "step_seconds_per_1000_tokens": 1000 * steps_seconds / sum(row["rollout/num_tokens"] for row in rows),
        **dict(zip(STAGES, (found["after the warm-up"], found["after RL"]), strict=True)),
    }


def main() -> int:
    """Run both, print; returns the exit code."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.heavy_tail", description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )  # fmt: skip
    parser.add_argument("--steps", type=int, default=12, help="of each run, the first of which does not count (12)")
    parser.add_argument("--segment-tokens", type=int, default=48, help="of the run with partial rollouts (48)")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    options = parser.parse_args()
    found = {
        "whole": measure(steps=options.steps, segment_tokens=None),
        "partial": measure(steps=options.steps, segment_tokens=options.segment_tokens),
    }
    if options.json:
        print(json.dumps({"machine": machine(), **found}))
        return 0
    for name, facts in found.items():
        rates = (f"{at} {facts[at]['mean']:.3f} [{facts[at]['low']:.3f}, {facts[at]['high']:.3f}]" for at in STAGES)
        print(
            f"{name:8} rollout {facts['median_rollout_seconds']:.2f} s on the median, longest "
            f"{facts['longest_rollout_seconds']:.2f} s; {facts['step_seconds_per_1000_tokens']:.2f} s per 1,000 "
            f"tokens; accuracy {', '.join(rates)}"
        )
    print(", ".join(f"{key} {value}" for key, value in machine().items()), f"load {os.getloadavg()[0]:.1f}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
