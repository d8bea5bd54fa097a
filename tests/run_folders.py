"""Run folders for tests of the page, with the columns that docs/metrics.md names; `tests/unit/rl/page/test_stored.py`
holds them against it."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from gyms.api import Status
from rl.run_folder import RunFolder, write_atomically

Rows = Sequence[Mapping[str, Any]]
"""Siblings."""
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
    **columns: Any,
) -> dict[str, Any]:
    """One response and what it earned; a truncated one and faults of the model earn 0. `columns` replace others."""
    ids = list(token_ids) or list(range(1, len(text) + 1))
    is_ok = status is Status.OK
    row = {
        "place": None,
        "response": text,
        "reward": value if is_ok else 0.0,
        "length_reward": 0.0,
        "is_masked": status.is_masked,
        "status": str(status),
        "value": value if is_ok else None,
        "components": {},
        "answer": None,
        "flags": [],
        "detail": "",
        "cases": [],
        "provenance": {},
        "finish_reason": "length" if status is Status.TRUNCATED else "stop",
        "num_tokens": len(ids),
        "prompt_ids": [1],
        "token_ids": ids,
        "logprobs": list(logprobs) or [-0.25] * len(ids),
        "temperature": 1.0,
        "weight_version": 1,
        "segments": [{"num_tokens": len(ids), "is_sampled": True, "temperature": 1.0, "weight_version": 1}],
        "context": None,
        "episode": None,
        "minibatch": None,
        "advantage": None,
        "old_logprobs": None,
    }
    assert set(columns) <= set(row), f"no columns of rollouts/: {set(columns) - set(row)}"
    return row | columns


def siblings(
    draw: int, *samples: Mapping[str, Any], gym: str = "sums", prompt: str = "1+2=", task: str = ""
) -> list[dict[str, Any]]:
    """The rows of one draw's samples, but for their step."""
    asked = {
        "gym": gym, "task": task or f"{gym}/{draw}", "place": draw, "prompt": [{"role": "user", "content": prompt}],
    }  # fmt: skip
    return [{"step": -1, "draw": draw, "k": k, **asked, **sample} for k, sample in enumerate(samples)]


def metrics(step: int, groups: Sequence[Rows], **numbers: float | None) -> dict[str, Any]:
    """A row of metrics.jsonl."""
    rewards = [row["reward"] for group in groups for row in group if not row["is_masked"]]
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
    steps: Sequence[Sequence[Rows]],
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


def write_step(folder: RunFolder, step: int, groups: Sequence[Rows], **numbers: Any) -> None:
    """What a run writes of one step."""
    folder.write_rollouts(step, [{**row, "step": step} for group in groups for row in group])
    folder.append(folder.metrics, metrics(step, groups, **numbers))
