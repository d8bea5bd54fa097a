"""Run folders for tests of the page, written through the code that writes a run's: `RunFolder` and `sample_rows`."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from gyms.api import Score, Status, Task, message
from gyms.mixture import Draw
from reward.rules import TruncationRule, reward_of
from rl.batch import Group, ScoredSample
from rl.run_folder import RunFolder, write_atomically
from rl.sample_rows import sample_rows
from rollout.types import FinishReason, Sample, Segment

CONFIG = {
    "name": "sums", "num_steps": 3, "seed": 0, "model": {"source": "tiny", "path": None},
    "gyms": [{"name": "sums", "budget": 8}],
    "learner": {"baseline": "mean", "lr": 1e-3, "tau": 1.0, "scale_by_std": False},
}  # fmt: skip


def response(
    text: str,
    value: float | None = 1.0,
    *,
    status: Status = Status.OK,
    token_ids: Sequence[int] = (),
    logprobs: Sequence[float] = (),
    **score: Any,
) -> ScoredSample:
    """One response and what it earned; a truncated one and faults of the model earn 0."""
    cut = status is Status.TRUNCATED
    ids = tuple(token_ids) or tuple(range(1, len(text) + 1))
    own = Segment(token_ids=ids, logprobs=tuple(logprobs) or (-0.25,) * len(ids), weight_version=1, temperature=1.0)
    finish = FinishReason.LENGTH if cut else FinishReason.STOP
    sample = Sample(id="s", prompt_ids=(1,), segments=(own,), finish_reason=finish, text=text)
    full = Score(status=status, value=value if status is Status.OK else None, **score)
    return ScoredSample(sample=sample, score=full, reward=reward_of(full, minimum=0.0, truncation=TruncationRule()))


def siblings(draw: int, *samples: ScoredSample, gym: str = "sums", prompt: str = "1+2=", task: str = "") -> Group:
    """The samples of one draw."""
    asked = Task(id=task or f"{gym}/{draw}", prompt=(message("user", prompt),))
    return Group(draw=Draw(index=draw, gym=gym, task=asked, budget=8), samples=samples)


def metrics(step: int, groups: Sequence[Group], **numbers: float | None) -> dict[str, Any]:
    """A row of metrics.jsonl."""
    rewards = [s.reward.value for group in groups for s in group.samples if not s.reward.is_masked]
    row = {
        "step": step,
        "reward/mean": sum(rewards) / len(rewards) if rewards else None,
        "rollout/surprise_mean": 0.25,
        "rollout/truncated_frac": 0.0,
        "learner/learning_rate": 1e-3,
        "phase/generate_seconds": 3.0,
        "phase/rollout_seconds": 2.0,
        "phase/learn_seconds": 4.0,
        "phase/update_seconds": 2.5,
    }
    return row | numbers


def evaluation(stage: str, step: int, right: int, num: int = 20, gym: str = "sums") -> dict[str, Any]:
    """A row of evals.jsonl: as many tasks right, greedy and sampled."""
    mean = right / num
    accuracy = {"mean": mean, "stderr": (mean * (1 - mean) / num) ** 0.5, "num": num}
    result = {"greedy": accuracy, "sampled": accuracy, "best": None, "truncated_frac": 0.0, "masked_frac": 0.0}
    return {"stage": stage, "step": step, "weights": "INT4", "weight_version": step, "gyms": {gym: result}}


def write_run(
    path: Path,
    steps: Sequence[Sequence[Group]],
    *,
    config: Mapping[str, Any] = CONFIG,
    evals: Sequence[Mapping[str, Any]] = (),
    rows: Mapping[int, Mapping[str, Any]] = {},
    is_done: bool = True,
) -> RunFolder:
    """A run folder with these groups of every step; `rows` adds numbers to a step's metrics."""
    folder = RunFolder(path)
    folder.create()
    write_atomically(folder.config, json.dumps(dict(config) | {"num_steps": len(steps)}))
    for row in evals:
        folder.append(folder.evals, row)
    for step, groups in enumerate(steps):
        write_step(folder, step, groups, **rows.get(step, {}))
    if is_done:
        write_atomically(folder.final, json.dumps({"num_steps": len(steps), "evals": list(evals)}))
    return folder


def write_step(folder: RunFolder, step: int, groups: Sequence[Group], **numbers: Any) -> None:
    """What a run writes of one step."""
    folder.write_rollouts(step, sample_rows(step, groups))
    folder.append(folder.metrics, metrics(step, groups, **numbers))
