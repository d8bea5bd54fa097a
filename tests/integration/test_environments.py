"""A run whose tasks take many turns, on the real learner and real vLLM: episodes, samples, and a stop in between.

It goes on in another process than it began in (tests/integration/here.py).
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

from tests.integration.harness import PATIENCE, ROOT, Runs, as_of, without_times
from tests.integration.here import run_elsewhere, run_here

GYMS = """gyms=[
    {name="adder", budget=16, episode_tokens=120, max_turns=7, args={style="bare", min_operand=10, num_operands=3}},
    {name="arithmetic", budget=5, args={operation="add", min_operand=10, max_operand=99, style="bare"}},
]"""
FEW = (
    GYMS.replace("\n", ""), "num_steps=3", "checkpoint.every=1", "checkpoint.keep=3", "warmup.num_steps=60",
    "warmup.batch_size=8", "eval.num_tasks=8", "ptx.source.gym=['adder', 'arithmetic']", "rollout.segment_tokens=2",
    "learner.drop_zero_spread=false",
)  # fmt: skip


def test_episodes_and_responses_of_several_steps_are_learned_from_and_resumed_the_same(
    tmp_path: Path,
) -> None:
    """Two gyms in one run: one whose tasks take many turns, one whose responses are drawn two tokens a step."""
    runs = Runs("tiny_tools.toml")
    straight, resumed = tmp_path / "straight", tmp_path / "resumed"
    run_elsewhere(straight, FEW, config="tiny_tools.toml")
    assert "at step 1" in run_here(as_of(straight, 1, resumed), FEW, config="tiny_tools.toml")
    assert without_times(runs.rows(resumed)) == without_times(runs.rows(straight))
    for step in range(3):
        name = f"rollouts/step_{step:06d}.jsonl"
        assert (resumed / name).read_bytes() == (straight / name).read_bytes()

    rows = [row for step in range(3) for row in runs.rows(straight, f"rollouts/step_{step:06d}.jsonl")]
    episodes, answers = ([row for row in rows if row["gym"] == name] for name in ("adder", "arithmetic"))
    turns = [len(row["episode"]["turns"]) for row in episodes]
    assert max(turns) > 1, "no episode went on after its first turn"
    first, *_, last = runs.rows(straight)
    ended = [turns for row, turns in zip(episodes, turns, strict=True) if row["step"] == last["step"]]
    assert last["rollout/turns_mean"] == sum(ended) / len(ended), "episodes too go on in the next step"
    assert last["rollout/logprob_gap_mean"] < 0.05, "engine and learner see the same context"
    for row in episodes:
        own = [part["num_tokens"] for part in row["segments"] if part["is_sampled"]]
        assert sum(own) == row["num_tokens"] and len(own) == len(row["episode"]["turns"])
    assert_scores_again(episodes, tmp_path)

    assert first["rollout/num_carried"] > 0 and last["rollout/stale_frac"] > 0
    versions = [[part["weight_version"] for part in row["segments"]] for row in answers]
    assert max(map(len, versions)) > 1, "no response went on under the next weights"
    for row, found in zip(answers, versions, strict=True):
        assert found == list(range(found[0], found[0] + len(found)))
        assert all(part["num_tokens"] == 2 for part in row["segments"][:-1]) and row["num_tokens"] <= 5


def assert_scores_again(rows: list[dict], tmp_path: Path) -> None:
    """Stored episodes have the same score by replay, in the command that people use."""
    whole = [row for row in rows if row["finish_reason"] != "length"][:20]
    args = {"style": "bare", "min_operand": 10, "num_operands": 3}
    lines = [
        {
            "id": i, "gym": "adder", "args": args, "seed": row["episode"]["seed"], "turns": row["episode"]["turns"],
            "task": {"operands": [int(part) for part in row["prompt"][0]["content"].rstrip("=").split("+")]},
        }
        for i, row in enumerate(whole)
    ]  # fmt: skip
    file = tmp_path / "episodes.jsonl"
    file.write_text("".join(json.dumps(line) + "\n" for line in lines))
    command = [sys.executable, "-m", "gyms", "score", "--input", str(file), "--output", "-"]
    done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, timeout=PATIENCE, check=True)
    again = [json.loads(line) for line in done.stdout.splitlines()]
    assert [(found["status"], found["value"]) for found in again] == [(row["status"], row["value"]) for row in whole]
