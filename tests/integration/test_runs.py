"""Whole runs on real Ray and real vLLM with a tiny model: exact resume, lr = 0, what is left behind."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from pathlib import Path
from typing import Any

from safetensors.torch import load_file

from rl.page.content import Source
from tests.integration.harness import PATIENCE, Runs


def without_times(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    timed = ("_seconds", "per_second")
    return [{k: v for k, v in row.items() if not k.endswith(timed)} for row in rows]


def wait_for_rows(process: subprocess.Popen[str], runs: Runs, run_dir: Path, num: int) -> None:
    deadline = time.monotonic() + PATIENCE
    while len(runs.rows(run_dir)) < num:
        assert process.poll() is None, process.communicate()[0]
        assert time.monotonic() < deadline, "the run makes no progress"
        time.sleep(0.05)


def assert_same_run(runs: Runs, found: Path, expected: Path) -> None:
    assert without_times(runs.rows(found)) == without_times(runs.rows(expected))
    assert runs.rows(found, "evals.jsonl") == runs.rows(expected, "evals.jsonl")
    names = sorted(file.name for file in (expected / "rollouts").iterdir())
    assert names == [f"step_{step:06d}.jsonl" for step in range(6)]
    for name in names:
        assert (found / "rollouts" / name).read_bytes() == (expected / "rollouts" / name).read_bytes()
    weights = "export/model.safetensors"
    assert (found / weights).read_bytes() == (expected / weights).read_bytes()


def test_a_run_that_lost_its_engine_was_stopped_and_then_killed_equals_one_that_ran_straight(
    runs: Runs, straight_run: Path, tmp_path: Path
) -> None:
    """Three faults in one run: each must leave it exactly where it was, or the end differs."""
    run_dir = tmp_path / "unlucky"
    lose_the_engine_and_stop(runs, run_dir)
    kill(runs, run_dir)
    last = max(int(folder.name.removeprefix("step_")) for folder in (run_dir / "checkpoints").glob("step_*"))
    assert last < 6
    assert f"at step {last}" in runs.finish(run_dir)
    assert_same_run(runs, run_dir, straight_run)


def lose_the_engine_and_stop(runs: Runs, run_dir: Path) -> None:
    """SIGKILL to the engine, which is rebuilt; then Ctrl-C, which writes a checkpoint."""
    process = runs.start(run_dir)
    wait_for_rows(process, runs, run_dir, 1)
    (engine,) = children_named(process.pid, "ray::VLLMEngine")
    os.kill(engine, signal.SIGKILL)
    wait_for_rows(process, runs, run_dir, 2)
    process.send_signal(signal.SIGINT)
    output, _ = process.communicate(timeout=PATIENCE)
    assert process.returncode == 130, output
    assert "rebuilding" in output
    assert "stopped with a checkpoint" in output


def kill(runs: Runs, run_dir: Path) -> None:
    """Start it again, and SIGKILL it a step after its last checkpoint: that step is to be done anew."""
    before = len(runs.rows(run_dir))
    process = runs.start(run_dir)
    wait_for_rows(process, runs, run_dir, max(before + 1, 4))  # past the checkpoint of step 3, before that of step 6
    process.send_signal(signal.SIGKILL)
    process.communicate()


def children_named(pid: int, prefix: str) -> list[int]:
    """Descendants of a process whose title begins with `prefix`."""
    import psutil

    found = []
    for child in psutil.Process(pid).children(recursive=True):
        try:
            if " ".join(child.cmdline()).startswith(prefix):
                found.append(child.pid)
        except psutil.Error:
            continue
    return found


def test_without_a_learning_rate_the_gap_is_constant_and_the_export_is_the_initial_model(
    runs: Runs, tmp_path: Path
) -> None:
    runs.finish(tmp_path, ("learner.lr=0", "warmup.num_steps=0", "num_steps=3"))
    gaps = [
        row["rollout/logprob_gap_mean"] for row in runs.rows(tmp_path) if row["rollout/logprob_gap_mean"] is not None
    ]
    assert all(gap < 0.05 for gap in gaps)
    for file in sorted((tmp_path / "initial_int4").iterdir()):
        assert (tmp_path / "export" / file.name).read_bytes() == file.read_bytes(), file.name
    versions = [row["rollout/weight_version"] for row in runs.rows(tmp_path)]
    assert versions == [0, 1, 2]


def test_the_export_opens_in_plain_transformers_and_holds_packed_weights(straight_run: Path) -> None:
    from transformers import AutoModelForCausalLM, AutoTokenizer

    tensors = load_file(straight_run / "export" / "model.safetensors")
    assert any(name.endswith(".weight_packed") for name in tensors)
    tokenizer = AutoTokenizer.from_pretrained(straight_run / "export")
    model = AutoModelForCausalLM.from_pretrained(straight_run / "export")
    out = model.generate(**tokenizer("3+4=", return_tensors="pt"), max_new_tokens=3, do_sample=False)
    assert out.shape[1] > 4


def test_the_report_reads_all_that_a_run_wrote(straight_run: Path) -> None:
    content = Source([straight_run], max_samples=1000).read()
    (facts,), (samples,) = content.facts["runs"], content.samples
    assert (facts["state"], facts["num_steps"], facts["notes"]) == ("done", 6, [])
    rows = [row for part in samples.parts for row in part.rows]
    assert len(rows) == 6 * 8 * 4 and [row.step for row in rows] == sorted(row.step for row in rows)
    ids = frozenset[int]().union(*(part.ids for part in samples.parts))
    assert ids and ids == set(samples.vocabulary)
    titles = {figure["title"] for figure in content.facts["figures"]}
    assert {"Held-out accuracy: arithmetic", "Reward: arithmetic", "Seconds per step", "Response length"} <= titles


def test_a_run_with_another_config_in_the_same_folder_is_refused(runs: Runs, straight_run: Path) -> None:
    command = runs.command(straight_run, ("learner.tau=0.5",))
    done = subprocess.run(
        command, text=True, capture_output=True, env=runs.environment(), timeout=PATIENCE, check=False
    )
    assert done.returncode == 2
    assert "learner.tau: the run has 0.05, now it is 0.5" in done.stderr and "Traceback" not in done.stderr
