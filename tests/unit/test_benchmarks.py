"""The page of benchmarks, and the arithmetic of a step's figures; what they measure is not for tests."""

from __future__ import annotations

import importlib.util
import json
import os
import random
import subprocess
import sys

import pytest
import torch

from benchmarks import gpu, machine, sandbox
from benchmarks.__main__ import BENCHMARKS, figures_in, main, page, value_at
from benchmarks.heavy_tail import MAX_TURNS, Walks, num_turns
from benchmarks.limit import limit_seconds, operations
from benchmarks.step import AXES, OF_TOKENS, growth_of, medians, steps_seconds
from benchmarks.vs_trl import compare, measured, spent_to
from gyms.api import Services
from gyms.testing import check_gym


@pytest.mark.parametrize("name", BENCHMARKS)
def test_a_benchmark_is_a_module_of_the_folder(name):
    assert importlib.util.find_spec(f"benchmarks.{BENCHMARKS[name].module}") is not None


def test_the_page_says_what_was_found_what_was_wanted_and_whether_that_was_reached():
    found = {"command": "python -m benchmarks.swap --json", "load": 0.25, "seconds": 61.2, "machine": {"cpu": "X"}}
    found |= {"qat": {"int4_over_bf16": 1.2}, "quantise": {"copy_bf16_over_quantise_and_pack": 0.3}}
    lines = page({"swap": found}).splitlines()
    assert "`python -m benchmarks.swap --json`, load 0.2, 61 s" in lines and "cpu X" in lines
    assert "| an update through the grid over one without it | 1.2 | at most 1.05 | **no** |" in lines
    (packed,) = (line for line in lines if line.startswith("| quantise and pack"))
    assert packed.endswith("| 0.3 | at least 0.25 | yes |")
    assert not any("stall" in line for line in lines), "a part that was not measured has no line"


def test_the_grid_on_a_gpu_is_told_in_bytes_that_must_move_against_those_of_a_copy():
    """1 G weights: a copy in 2 ms is 2 TB/s; packing fp32 moves 4 + 0.5 + 1/16 bytes a weight, here at half that."""
    found = gpu.shares({"copy_bf16": 2e-3, "pack_fp32": 4.5625e-3}, num_weights=10**9)
    assert found["copy_bf16_gb_per_second"] == pytest.approx(2000.0)
    assert found["pack_fp32_gb_per_second"] == pytest.approx(1000.0)
    assert found["pack_fp32_over_copy"] == pytest.approx(0.5)
    assert set(gpu.PARTS) == {"grid", "qat", "swap", "lent"}


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a CUDA device")
def test_without_a_device_the_gpu_benchmarks_say_so_and_measure_nothing(capsys):
    assert gpu.main(["--part", "grid"]) == 2
    shown = capsys.readouterr()
    assert shown.out == "" and "there is no CUDA device here" in shown.err and "requirements/gpu.in" in shown.err


def test_the_figures_are_the_object_in_the_last_line_and_what_is_none_is_told_apart():
    assert figures_in('started\n{"a": 1}\n\n') == {"a": 1}
    for printed in ("", "\n", "Traceback ...\n", '{"a": 1}\nbye\n', "[1]\n", '{"a": '):
        assert figures_in(printed) is None


def test_a_path_that_leads_nowhere_has_no_value():
    assert value_at({"a": {"b": 2.0}}, "a.b") == 2.0
    assert value_at({"a": {"b": 2.0}}, "a.c") is None and value_at({"a": 1.0}, "a.b") is None


def test_the_share_that_no_part_accounts_for_is_idle():
    row = {
        "phase/rollout_seconds": 5.0, "phase/update_seconds": 3.0, "phase/pack_seconds": 0.25,
        "weights/sync_seconds": 0.75, "weights/swap_stall_seconds": 0.01, "rollout/tokens_per_second": 200.0,
        "rollout/num_tokens": 1000,
    }  # fmt: skip
    found = medians([row, row], seconds=[10.0, 10.0])
    assert found["step_seconds"] == 10.0 and found["swap_seconds"] == 0.5 and found["num_tokens"] == 1000
    assert found["idle_share"] == pytest.approx(1.0 - (5.0 + 3.0 + 0.25 + 0.5) / 10.0)
    # each step has 1.25 s of nothing, whichever of its parts is long
    long, learns = row | {"phase/rollout_seconds": 8.0}, row | {"phase/update_seconds": 6.0}
    found = medians([row, long, learns], seconds=[10.0, 13.0, 13.0])
    assert found["idle_share"] == pytest.approx(1.25 / 13.0)
    with pytest.raises(KeyError, match="update_seconds"):
        medians([{key: value for key, value in row.items() if key != "phase/update_seconds"}], seconds=[10.0])


def test_a_step_takes_what_passes_between_the_samples_of_two_steps(tmp_path):
    (tmp_path / "rollouts").mkdir()
    for step, time in enumerate((100.0, 110.0, 121.5)):
        file = tmp_path / "rollouts" / f"step_{step:06d}.jsonl"
        file.touch()
        os.utime(file, (time, time))
    assert steps_seconds(tmp_path, [1, 2]) == [10.0, 11.5]


def test_a_cost_is_held_against_what_was_sampled_not_against_what_was_asked_for():
    """16 times the length was allowed and twice the tokens came: 4 times the seconds are twice what they should be."""
    first = {"value": 1, "num_tokens": 100, "step_seconds": 1.0, "peak_gib": 2.0}
    last = {"value": 16, "num_tokens": 200, "step_seconds": 4.0, "peak_gib": 8.0}
    assert growth_of("length", first, last) == {"step_seconds": 2.0, "peak_gib": 2.0}
    assert growth_of("parameters", first, last) == {"step_seconds": 4.0 / 32, "peak_gib": 4.0 / 16}
    assert set(OF_TOKENS) < set(AXES)


def test_the_products_of_a_step_are_eight_operations_for_a_weight_and_each_token_that_it_sees(tmp_path):
    facts = {
        "vocab_size": 10, "hidden_size": 4, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 8,
        "tie_word_embeddings": True,
    }  # fmt: skip
    layers, head = 2 * (4 * 4 * 4 + 3 * 4 * 8), 10 * 4
    rows = [
        {"prompt_ids": [1, 2, 3], "token_ids": [4, 5], "num_tokens": 2},
        {"prompt_ids": [1, 2, 3], "token_ids": [4, 5, 6], "num_tokens": 2},  # of which one is a tool's
        {"prompt_ids": [1, 2, 7, 8], "token_ids": [4], "num_tokens": 1},
    ]
    # prompts: 1, 2 and 3 once, then 7 and 8; of responses all but the last token; what was sampled passed the head
    wanted = 8 * (layers * (5 + 1 + 2 + 0) + head * 5)
    assert operations(facts, rows) == operations({"text_config": facts}, rows) == wanted
    for name in ("initial_int4/config.json", "rollouts/step_000001.jsonl"):
        (tmp_path / name).parent.mkdir()
    (tmp_path / "initial_int4" / "config.json").write_text(json.dumps(facts))
    (tmp_path / "rollouts" / "step_000001.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    assert limit_seconds(tmp_path, [1], speed=2.0) == wanted / 2.0


def test_time_to_an_accuracy_counts_the_steps_before_its_evaluation():
    run = {"seconds": [9.0, 1.0, 2.0, 3.0], "tokens": [8.0] * 4, "accuracy": {0: 0.1, 2: 0.5, 4: 0.7}, "peak_bytes": 0}
    assert [spent_to(run, "seconds", level) for level in (0.1, 0.6, 0.8)] == [10.0, 15.0, None]
    slow = {"seconds": [20.0] * 4, "tokens": [8.0] * 4, "accuracy": {0: 0.1, 2: 0.3, 4: 0.6}, "peak_bytes": 2**30}
    found = compare([(run, slow)])
    assert found["step_ratio"] == 2.0 / 20.0, "without the first step, which starts things"
    assert found["ours"]["tokens_per_second"] == 24.0 / 6.0 and found["trl"]["peak_gib"] == 1.0
    assert found["to_same_accuracy"] == [
        {"accuracy": 0.6, "ours_seconds": 15.0, "trl_seconds": 80.0, "ours_tokens": 32.0, "trl_tokens": 32.0}
    ]
    assert found["to_accuracy_ratio"] == 15.0 / 80.0 and found["to_accuracy_tokens_ratio"] == 1.0
    fell = {**slow, "accuracy": {0: 0.9, 2: 0.4, 4: 0.5}}
    assert compare([(run, fell)])["to_accuracy_ratio"] == 10.0 / 80.0, "the warm start is nobody's work"


def test_the_tail_of_episodes_is_a_paretos_and_its_environment_keeps_the_contract():
    turns = sorted(num_turns(random.Random(f"{n}")) for n in range(2000))
    assert turns[1000] == 4 and turns[0] >= 1 and turns[-1] == MAX_TURNS
    # P(more than n) = (4 / n)^1.2 / 2: .0827 behind 18, with a standard error of sqrt(.0827 * .9173 / 2000) = .0062
    assert sum(n > 18 for n in turns) / 2000 == pytest.approx((4 / 18) ** 1.2 / 2, abs=4 * 0.0062)
    check_gym(Walks(Walks.Settings(num_train=20, num_heldout=5), Services()))


def test_a_round_of_the_sandbox_makes_all_of_its_runs_and_ends_with_one_that_goes_wrong():
    made: list[int] = []

    def right() -> bytes:
        made.append(1)
        return sandbox.EXPECTED

    _, each = sandbox._round([right, right], 5)
    assert len(each) == len(made) == 5, "a worker more than its neighbour: none is left out"
    with pytest.raises(RuntimeError, match="another output"):
        sandbox._round([right, lambda: b"something else\n"], 4)


def test_a_run_that_is_kept_is_one_of_the_same_job_and_commit(tmp_path):
    out, note = tmp_path / "out", tmp_path / "note"
    command = [sys.executable, "-c", f"open({str(out)!r}, 'a').write('x')"]
    for _ in range(2):
        measured(command, note, out=out, job={"num_steps": 8}, here={"commit": "1234567"})
        assert out.read_text() == "x", "once"
    for commit, num_steps in (("1234567", 20), ("89abcde", 20), ("89abcde-dirty", 20), ("89abcde-dirty", 20)):
        out.write_text("of another")
        measured(command, note, out=out, job={"num_steps": num_steps}, here={"commit": commit})
        assert out.read_text() == "x", "made anew, and nothing of the old one is left in it"
    with pytest.raises(SystemExit, match="status 3"):
        measured([sys.executable, "-c", "raise SystemExit(3)"], note, out=out, job={}, here={"commit": "1234567"})
    assert not note.exists()


def test_what_a_benchmark_writes_into_docs_makes_no_commit_dirty(tmp_path):
    def git(*arguments: str) -> None:
        subprocess.run(["git", "-C", str(tmp_path), "-c", "user.name=a", "-c", "user.email=a", *arguments], check=True)

    for name in ("docs/benchmarks.json", "benchmarks/machine.py"):
        (tmp_path / name).parent.mkdir()
        (tmp_path / name).write_text("1")
    git("init", "-q")
    git("add", ".")
    git("commit", "-qm", "one")
    clean = machine._commit(tmp_path)
    (tmp_path / "docs" / "benchmarks.json").write_text("2")
    assert machine._commit(tmp_path) == clean and clean.isalnum()
    (tmp_path / "benchmarks" / "machine.py").write_text("2")
    assert machine._commit(tmp_path) == f"{clean}-dirty"


def test_quick_refuses_what_has_no_quick_mode(capsys):
    with pytest.raises(SystemExit) as stopped:
        main(["--quick", "--only", "growth", "sandbox"])
    assert stopped.value.code == 2 and "growth takes minutes" in capsys.readouterr().err
