"""Whole runs on real Ray and real vLLM with a tiny model: exact resume, lr = 0, what is left behind."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from rl import cli
from rl.offline import replay
from rl.page.content import Source
from tests.integration.harness import (
    ALL_CORES,
    PATIENCE,
    ROOT,
    SHORT,
    Runs,
    assert_same_run,
    children_named,
    wait_for_rows,
)
from tests.integration.here import run_here


def test_a_run_that_lost_its_engine_was_stopped_and_then_killed_equals_one_that_ran_straight(
    runs: Runs, straight_run: Path, tmp_path: Path
) -> None:
    """Three faults in one run, and three Rays: each must leave it exactly where it was, or the end differs."""
    run_dir = tmp_path / "unlucky"
    lose_the_engine_and_stop(runs, run_dir)
    kill(runs, run_dir)
    last = max(int(folder.name.removeprefix("step_")) for folder in (run_dir / "checkpoints").glob("step_*"))
    assert last < 6
    assert f"at step {last}" in runs.finish(run_dir, ALL_CORES)
    assert_same_run(runs, run_dir, straight_run, num_steps=6)


def lose_the_engine_and_stop(runs: Runs, run_dir: Path) -> None:
    """SIGKILL to the engine, which is rebuilt; then Ctrl-C, which writes a checkpoint."""
    process = runs.start(run_dir, ALL_CORES)
    wait_for_rows(process, runs, run_dir, 1)
    (engine,) = children_named(process.pid, "ray::EngineProcess")
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
    process = runs.start(run_dir, ALL_CORES)
    wait_for_rows(process, runs, run_dir, max(before + 1, 4))  # past the checkpoint of step 3, before that of step 6
    process.send_signal(signal.SIGKILL)
    process.communicate()


def test_without_a_learning_rate_the_export_is_the_initial_model_and_long_prompts_are_replaced_where_asked_for(
    tmp_path: Path,
) -> None:
    """One run for both: it learns nothing, and draws other tasks for those whose prompts are too long."""
    args = "gyms.arithmetic.args"
    short = (f"{args}.min_operand=1", f"{args}.max_operand=30", "rollout.max_prompt_tokens=5")
    said = run_here(
        tmp_path, ("learner.lr=0", "warmup.num_steps=0", "num_steps=3", "rollout.long_prompts=drop", *short)
    )
    gaps = [
        row["rollout/logprob_gap_mean"] for row in Runs.rows(tmp_path) if row["rollout/logprob_gap_mean"] is not None
    ]
    assert all(gap < 0.05 for gap in gaps)
    for file in sorted((tmp_path / "initial_int4").iterdir()):
        assert (tmp_path / "export" / file.name).read_bytes() == file.read_bytes(), file.name
    versions = [row["rollout/weight_version"] for row in Runs.rows(tmp_path)]
    assert versions == [0, 1, 2]
    assert "train prompts are longer than rollout.max_prompt_tokens = 5" in said
    prompts = [
        row["prompt"][0]["content"] for n in range(3) for row in Runs.rows(tmp_path, f"rollouts/step_{n:06d}.jsonl")
    ]
    assert len(prompts) == 3 * 8 * 4 and all(len(prompt) <= 5 for prompt in prompts)  # a token a character
    assert sum(row["rollout/num_dropped_prompts"] for row in Runs.rows(tmp_path)) > 0


def test_evaluating_model_folders_by_themselves_finds_what_the_run_found_of_the_same_weights(
    runs: Runs, straight_run: Path
) -> None:
    models = [str(straight_run / name) for name in ("base", "initial_int4", "export")]
    config = str(ROOT / "configs" / "tiny_cpu.toml")
    settings = (*SHORT, *ALL_CORES, "--max-tokens", "2,5", "--json")
    command = [sys.executable, "-m", "rl.evaluate", *models, config, *settings]
    done = subprocess.run(
        command, cwd=ROOT, text=True, capture_output=True, env=runs.environment(), timeout=PATIENCE, check=False
    )
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)["results"]
    asked = [(row["model"], row["weights"], row["gyms"]["arithmetic"].pop("max_tokens")) for row in found]
    weights = zip(models, ("BF16", "INT4", "INT4"), strict=True)
    assert asked == [(*one, length) for one in weights for length in (2, 5)]
    compared = [row["gyms"]["arithmetic"].pop("difference") for row in found]
    assert compared[:2] == [None, None] and all(one["num"] == 16 for one in compared[2:])
    of = {(Path(model).name, length): row["gyms"] for (model, _, length), row in zip(asked, found, strict=True)}
    evals = {row["stage"]: row["gyms"] for row in Runs.rows(straight_run, "evals.jsonl")}
    assert of["initial_int4", 5] == evals["rounded to INT4"] and of["export", 5] == evals["after RL"]
    short = of["export", 2]["arithmetic"]  # a sum of two numbers and its end take three tokens
    assert short["greedy"]["mean"] == 0.0 and short["length_mean"] <= 2.0


def test_a_stored_step_goes_through_the_learner_again_to_the_numbers_that_the_run_logged(
    runs: Runs, straight_run: Path
) -> None:
    """Step 5 is reached from the checkpoint of step 3; this process had another number of threads."""
    rows = runs.rows(straight_run)
    command = [sys.executable, "-m", "rl.replay", str(straight_run), "3", "--json"]
    done = subprocess.run(
        command, cwd=ROOT, text=True, capture_output=True, env=runs.environment(), timeout=PATIENCE, check=False
    )
    assert done.returncode == 0, done.stderr
    said = json.loads(done.stdout)
    assert said["checkpoint"].endswith("step_000003")
    names = [f"learner/{name}" for name in said["learner"]]
    assert [pair["replayed"] for pair in said["learner"].values()] == [rows[3][name] for name in names]
    torch.set_num_threads(1)
    found = replay(straight_run, 5)
    assert torch.get_num_threads() == rows[5]["learner/num_threads"]
    assert found.checkpoint.name == "step_000003"
    assert [found.found[name] for name in names] == [rows[5][name] for name in names]


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


def test_a_run_with_another_config_in_the_same_folder_is_refused(
    runs: Runs, straight_run: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    _, _, _, *arguments = runs.command(straight_run, ("learner.tau=0.5",))
    assert cli.main(arguments) == 2
    assert "learner.tau: the run has 0.05, now it is 0.5" in capsys.readouterr().err
