"""Whole runs on real Ray and real vLLM with a tiny model: exact resume, lr = 0, what is left behind."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from pathlib import Path
from typing import Any

from safetensors.torch import load_file

from tests.integration.harness import Runs


def without_times(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    timed = ("_seconds", "per_second")
    return [{k: v for k, v in row.items() if not k.endswith(timed)} for row in rows]


def wait_for_rows(process: subprocess.Popen[str], runs: Runs, run_dir: Path, num: int) -> None:
    deadline = time.monotonic() + 300
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


def test_a_killed_run_that_is_started_again_equals_one_that_never_stopped(
    runs: Runs, straight_run: Path, tmp_path: Path
) -> None:
    run_dir = tmp_path / "killed"
    process = runs.start(run_dir)
    wait_for_rows(process, runs, run_dir, 4)  # past the checkpoint of step 3, before that of step 6
    process.send_signal(signal.SIGKILL)
    process.wait()
    output = runs.finish(run_dir)
    assert "at step 3" in output
    assert_same_run(runs, run_dir, straight_run)


def test_a_lost_engine_is_rebuilt_and_the_run_comes_out_the_same(
    runs: Runs, straight_run: Path, tmp_path: Path
) -> None:
    run_dir = tmp_path / "lost"
    process = runs.start(run_dir)
    wait_for_rows(process, runs, run_dir, 2)
    (engine,) = children_named(process.pid, "ray::VLLMEngine")
    os.kill(engine, signal.SIGKILL)
    output, _ = process.communicate(timeout=420)
    assert process.returncode == 0, output
    assert "rebuilding" in output
    assert_same_run(runs, run_dir, straight_run)


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


def test_ctrl_c_stops_with_a_checkpoint_and_the_same_command_goes_on(
    runs: Runs, straight_run: Path, tmp_path: Path
) -> None:
    run_dir = tmp_path / "stopped"
    process = runs.start(run_dir)
    wait_for_rows(process, runs, run_dir, 1)
    process.send_signal(signal.SIGINT)
    output, _ = process.communicate(timeout=120)
    assert process.returncode == 130, output
    assert "stopped with a checkpoint" in output
    runs.finish(run_dir)
    assert_same_run(runs, run_dir, straight_run)


def test_without_a_learning_rate_the_gap_is_constant_and_the_export_is_the_initial_model(
    runs: Runs, tmp_path: Path
) -> None:
    runs.finish(tmp_path, ("learner.lr=0", "warmup.num_steps=0", "num_steps=5"))
    gaps = [
        row["rollout/logprob_gap_mean"] for row in runs.rows(tmp_path) if row["rollout/logprob_gap_mean"] is not None
    ]
    assert all(gap < 0.05 for gap in gaps)
    for file in sorted((tmp_path / "initial_int4").iterdir()):
        assert (tmp_path / "export" / file.name).read_bytes() == file.read_bytes(), file.name
    versions = [row["rollout/weight_version"] for row in runs.rows(tmp_path)]
    assert versions == [0, 1, 2, 3, 4]


def test_the_export_opens_in_plain_transformers_and_holds_packed_weights(straight_run: Path) -> None:
    from transformers import AutoModelForCausalLM, AutoTokenizer

    tensors = load_file(straight_run / "export" / "model.safetensors")
    assert any(name.endswith(".weight_packed") for name in tensors)
    tokenizer = AutoTokenizer.from_pretrained(straight_run / "export")
    model = AutoModelForCausalLM.from_pretrained(straight_run / "export")
    out = model.generate(**tokenizer("3+4=", return_tensors="pt"), max_new_tokens=3, do_sample=False)
    assert out.shape[1] > 4


def test_a_run_with_another_config_in_the_same_folder_is_refused(runs: Runs, straight_run: Path) -> None:
    command = runs.command(straight_run, ("learner.tau=0.5",))
    done = subprocess.run(command, text=True, capture_output=True, env=runs.environment(), timeout=120, check=False)
    assert done.returncode == 2
    assert "learner.tau: the run has 0.05, now it is 0.5" in done.stderr and "Traceback" not in done.stderr
