"""Verifiable and judged gyms in one run, on the real stack: the policy as its own judge, and a judge that fails."""

from __future__ import annotations

import json
import subprocess
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from tests.integration.harness import PATIENCE, Runs, as_of, assert_same_run
from tests.integration.here import run_elsewhere, run_here

GYMS = """
[[gyms]]
name = "arithmetic"
share = 0.4
budget = 5
args = {{ operation = "add", min_operand = 10, max_operand = 99, style = "bare", reverse_digits = true }}

[[gyms]]
name = "critic"
share = 0.3
budget = 3
args = {{ style = "bare", min_pool = 4, sums = {{ min_operand = 10, max_operand = 99, reverse_digits = true }} }}

[[gyms]]
name = "chat"
share = 0.3
budget = 5
args = {{ train_file = "{folder}/train.jsonl", heldout_file = "{folder}/heldout.jsonl" }}

[model]
context_length = 512
[rollout]
max_prompt_tokens = 400
[judge]
style = "bare"
allow_tie = false
max_tokens = 4
"""


@pytest.fixture(scope="module")
def joint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The config; its open-ended prompts are such that a model over digits has something to say."""
    folder = tmp_path_factory.mktemp("joint")
    for name, first in (("train", 10), ("heldout", 60)):
        rows = [{"prompt": f"{n}+{n + 7}=", "rubric": "core"} for n in range(first, first + 30)]
        (folder / f"{name}.jsonl").write_text("\n".join(map(json.dumps, rows)))
    file = folder / "joint.toml"
    file.write_text(GYMS.format(folder=folder))
    return file


def judged_samples(run_dir: Path, num_steps: int) -> list[dict]:
    files = sorted((run_dir / "rollouts").glob("*.jsonl"))
    rows = [json.loads(line) for file in files for line in file.read_text().splitlines()]
    assert {row["step"] for row in rows} == set(range(num_steps))
    return [row for row in rows if row["gym"] == "chat" and row["status"] != "truncated"]


JUDGED = (
    "judge.calibration.min_accuracy=0",
    "judge.calibration.num_pairs=24",
    "rollout.prompts_per_step=12",
    "num_steps=3",
    "checkpoint.every=1",
    "checkpoint.keep=3",
)


@pytest.fixture(scope="module")
def judged_run(joint: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What goes on from it here does so in another process, with another seed of its hashes."""
    run_dir = tmp_path_factory.mktemp("runs") / "judged"
    run_elsewhere(run_dir, [str(joint), *JUDGED])
    return run_dir


def test_the_policy_judges_itself_and_its_pool_and_gate_are_in_the_checkpoint(judged_run: Path) -> None:
    rows = Runs.rows(judged_run)
    assert all(row["judge/gate_open"] == 1.0 for row in rows)
    assert sum(row["judge/calls"] for row in rows) > 2 * 24  # more than the calibration's
    assert 0.0 <= rows[0]["judge/calibration_accuracy"] <= 1.0
    samples = judged_samples(judged_run, 3)
    assert samples and all(row["status"] == "ok" for row in samples)
    saved = json.loads((judged_run / "checkpoints" / "step_000003" / "run.json").read_text())["run"]["judging"]
    assert saved["gate"]["is_open"] and set(saved["pool"]) == {"train", "heldout"}


def test_a_judged_run_goes_on_from_a_checkpoint_with_its_pool_and_gate_and_equals_one_that_ran_straight(
    joint: Path, judged_run: Path, tmp_path: Path
) -> None:
    """The calibration is of step 0 and the pairs of step 1 are what the first step found: both must be restored."""
    run_dir = as_of(judged_run, 1, tmp_path / "resumed")
    assert "at step 1" in run_here(run_dir, [str(joint), *JUDGED])
    assert_same_run(Runs(), run_dir, judged_run, num_steps=3)


def test_below_its_threshold_rubric_rewards_are_masked_before_and_after_an_alarm_that_stops_the_run_with_a_checkpoint(
    runs: Runs, joint: Path, tmp_path: Path
) -> None:
    """One run for both, which begins on Ray. The alarm looks at the gyms without a judge: they are learned from all the
    same."""
    run_dir = tmp_path / "run"
    settings = (
        str(joint), "judge.calibration.min_accuracy=1.0", "judge.calibration.num_pairs=24", "num_steps=2",
        "eval.num_tasks=4", "learner.drop_zero_spread=false",
    )  # fmt: skip
    command = runs.command(run_dir, (*settings, "alarm.max_gap=1e-6"))
    done = subprocess.run(
        command, text=True, capture_output=True, env=runs.environment(), timeout=PATIENCE, check=False
    )
    last = done.stderr.strip().splitlines()[-1]
    assert done.returncode == 1 and "more than alarm.max_gap = 1e-06" in last
    assert "rubric rewards are masked since the calibration of step 0" in done.stdout + done.stderr
    (row,) = Runs.rows(run_dir)
    assert str(run_dir / "checkpoints" / "step_000001") in last and row["rollout/logprob_gap_mean"] > 1e-6
    assert "at step 1" in run_here(run_dir, (*settings, "alarm.max_gap=none"))
    assert len(Runs.rows(run_dir)) == 2
    samples = judged_samples(run_dir, 2)
    for step in range(2):  # the gate stays closed in the run that goes on
        asked = [row for row in samples if row["step"] == step and row["status"] != "ok"]  # "": 0 without a judge
        assert asked and all(row["is_masked"] and "gate_closed" in row["flags"] for row in asked)


class Unreliable(BaseHTTPRequestHandler):
    """An endpoint that says "1" or breaks, three times of ten; counts its calls."""

    num_calls = 0

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["Content-Length"]))
        type(self).num_calls += 1
        if type(self).num_calls % 10 in (2, 5, 8):
            self.send_response(400)
            self.end_headers()
            return
        reply = {"choices": [{"message": {"content": "1"}, "finish_reason": "stop"}], "usage": {}}
        body = json.dumps(reply).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:
        """Nothing: the test's output is read by people."""


@pytest.fixture
def endpoint() -> Iterator[str]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), Unreliable)
    threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}/v1"
    server.shutdown()
    server.server_close()


def test_with_a_judge_that_fails_three_calls_of_ten_the_run_goes_on_and_masks(joint, endpoint, tmp_path):
    run_dir = tmp_path / "run"
    run_here(
        run_dir,
        [
            str(joint), "num_steps=3", "judge.source=endpoint", f"judge.endpoint.base_url={endpoint}",
            "judge.endpoint.model=unreliable", "judge.num_retries=0", "judge.endpoint.num_tries=1",
            "judge.calibration.min_accuracy=0", "judge.calibration.min_pairs=1", "judge.min_decided_frac=0.6",
            "reward.max_masked_frac=0.6", "rollout.prompts_per_step=12",
        ],
    )  # fmt: skip
    samples = judged_samples(run_dir, 3)
    failed = [row for row in samples if row["status"] == "judge_failed"]
    assert failed and len(failed) < len(samples)
    assert all(row["is_masked"] and row["value"] is None for row in failed)
    assert any(row["faults/masked_frac"] > 0 for row in Runs.rows(run_dir))
