"""What is checked before models are evaluated, and how results are shown. That they are right: the integration test."""

from __future__ import annotations

import io
import json
import math
import os
import re
from pathlib import Path

import pytest
import torch
from rich.console import Console

from configs.load import load_config
from rl.accuracy import Accuracy, GymResult
from rl.comparison import Result, difference, plan, tables, with_differences
from rl.evaluate import main
from rollout.quant.scheme import QuantScheme

TINY = str(Path(__file__).parents[3] / "configs" / "tiny_cpu.toml")


def refused(capsys, *arguments: str) -> str:
    assert main([*arguments, TINY]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    (line,) = err.splitlines()
    return line.removeprefix("not started: ")


def test_without_a_model_or_a_config_the_command_says_what_is_missing(capsys, tiny_folder):
    assert "no model folder was given" in refused(capsys)
    assert main([str(tiny_folder)]) == 2
    assert "no config (a .toml file) was given" in capsys.readouterr().err


def test_a_setting_whose_value_is_the_name_of_a_toml_file_is_no_config(capsys, tmp_path):
    assert f"{tmp_path} is no model folder" in refused(capsys, str(tmp_path), "gyms.0.args.rules=mine.toml")


def test_a_folder_without_a_model_is_refused_and_a_run_folder_is_told_where_its_models_are(capsys, tmp_path):
    assert f"{tmp_path} is no model folder" in refused(capsys, str(tmp_path))
    (tmp_path / "export").mkdir()
    (tmp_path / "export" / "config.json").write_text("{}")
    assert f"the run folder's model is {tmp_path}/export" in refused(capsys, str(tmp_path))


def test_weights_of_another_format_are_refused_by_name(capsys, tmp_path):
    (tmp_path / "model.safetensors").touch()
    (tmp_path / "config.json").write_text(json.dumps({"quantization_config": {"quant_method": "fp8"}}))
    assert "is quantised by 'fp8'" in refused(capsys, str(tmp_path))


def test_a_length_beyond_the_context_names_the_setting_that_raises_it(capsys, tiny_folder):
    line = refused(capsys, str(tiny_folder), "--max-tokens", "16,128")
    assert "--max-tokens 128" in line and line.endswith("add model.context_length=144")
    line = refused(capsys, str(tiny_folder), "model.context_length=4096")
    assert "exceeds what the model knows (max_position_embeddings = 128" in line


def test_a_gym_of_which_a_model_can_be_asked_nothing_is_refused_before_anything_is_sampled(tiny_folder):
    args = 'style="bare", operation="add", min_operand'
    gyms = [f'{{name="short",gym="arithmetic",budget=9,args={{{args}=10,max_operand=99}}}}',
            f'{{name="long",gym="arithmetic",budget=9,args={{{args}=10000000,max_operand=99999999}}}}']  # fmt: skip
    overrides = [f"gyms=[{','.join(gyms)}]", "ptx.source.gym=short", "rollout.long_prompts=drop"]
    told = f"no held-out task of long can be asked of {re.escape(str(tiny_folder))} .*max_prompt_tokens = 16"
    with pytest.raises(ValueError, match=told):
        plan(load_config([TINY], overrides), [str(tiny_folder)], ())


def test_processes_of_an_engine_must_be_able_to_share_each_model(capsys, tiny_folder, tmp_path, monkeypatch):
    """Two heads; 96 rows of the MLP are 48 for each of two, which packed matrices cannot have and others may."""
    monkeypatch.setattr(os, "cpu_count", lambda: 4)
    told = refused(capsys, str(tiny_folder), "engine.tensor_parallel=3", "cluster.cpus_per_bundle=3")
    assert told.startswith("engine.tensor_parallel = 3 does not divide num_attention_heads = 2 ")
    two = "engine.tensor_parallel=2", "cluster.cpus_per_bundle=2"
    facts = json.loads((tiny_folder / "config.json").read_text())
    (tmp_path / "model.safetensors").touch()
    (tmp_path / "config.json").write_text(
        json.dumps(facts | {"quantization_config": QuantScheme().quantization_config()})
    )
    told = refused(capsys, str(tmp_path), *two)
    assert told.startswith("engine.tensor_parallel = 2 leaves a process [out=48, in=64] of ") and "gate_proj" in told
    assert plan(load_config([TINY], two), [str(tiny_folder)], ()).contenders[0].weights == "BF16"
    with pytest.raises(ValueError, match=r"room for 0 bundles of engine\.tensor_parallel = 2 "):
        elsewhere = load_config([TINY], [*two, "cluster.address=10.0.0.1:6379"])
        plan(elsewhere, [str(tiny_folder)], (), nodes=lambda config: [{"CPU": 8.0, "GPU": 1.0}])


def test_engines_that_this_machine_has_no_room_for_are_refused_before_anything_starts_and_ranks_need_none(
    capsys, tiny_folder, monkeypatch
):
    monkeypatch.setattr(os, "cpu_count", lambda: 2)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 0)
    told = refused(capsys, str(tiny_folder), "engine.num_engines=3")
    assert told.startswith("this machine has 2 CPUs, room for 2 bundles of 1 ") and "engine.num_engines needs 3" in told
    found = plan(load_config([TINY], ["learner.num_ranks=9", "cluster.separate=true"]), [str(tiny_folder)], ())
    assert found.config.learner.num_ranks == 1 and not found.config.cluster.separate


def test_engines_whose_model_nobody_learns_are_not_asked_which_experts_they_chose(tiny_folder):
    found = plan(load_config([TINY], ["learner.replay_routing=true", "learner.router_aux=0.1"]), [str(tiny_folder)], ())
    assert not found.config.learner.replay_routing and found.config.learner.router_aux == 0.0


@pytest.mark.parametrize("lengths", ["0", "16,x", "16,", "-1"])
def test_lengths_are_whole_numbers_above_zero(capsys, tiny_folder, lengths):
    with pytest.raises(SystemExit) as caught:
        main([str(tiny_folder), TINY, f"--max-tokens={lengths}"])
    assert caught.value.code == 2 and "wanted whole numbers above 0, as in 16,64,256" in capsys.readouterr().err


def result(
    model: str, budget: int, *, best: bool = True, heavy: bool = False, values: dict[str, float] | None = None
) -> Result:
    def accuracy(mean: float) -> Accuracy:
        return Accuracy(mean=mean, stderr=0.01, num=40, low=mean - 0.125, high=mean + 0.125)

    found = GymResult(
        greedy=accuracy(0.5), sampled=accuracy(0.25), best=accuracy(0.75) if best else None,
        heavy=accuracy(0.875) if heavy else None, length_mean=7.25, truncated_frac=0.125, masked_frac=0.0,
        greedy_values=values or {},
    )  # fmt: skip
    return Result(model=model, weights="INT4", budgets={"sums": budget}, gyms={"sums": found})


def shown(results: list[Result], **changes) -> list[str]:
    console = Console(file=io.StringIO(), width=200)
    for table in tables(results, **{"samples_per_task": 4, "temperature": 0.9} | changes):
        console.print(table)
    return console.file.getvalue().splitlines()


def test_a_table_has_a_row_for_each_model_and_length_with_intervals():
    lines = shown([result("a", 16), result("a", 64), result("b", 16)])
    assert lines[0].startswith("held-out sums")
    assert all(word in lines[2] for word in ("greedy", "avg@4, T = 0.9", "pass@4", "max tokens"))
    rows = [[cell.strip() for cell in line.strip("\u2502").split("\u2502")] for line in lines if "INT4" in line]
    assert [row[:4] for row in rows] == [["a", "INT4", n, "40"] for n in ("16", "64")] + [["b", "INT4", "16", "40"]]
    accuracies = ["0.500 [0.375, 0.625]", "0.250 [0.125, 0.375]", "0.750 [0.625, 0.875]"]
    assert rows[0][4:] == [*accuracies, "7.2", "0.125", "0.000"]


def test_models_are_compared_task_by_task_with_the_first_at_the_same_length():
    right, wrong = dict.fromkeys("abcd", 1.0), dict.fromkeys("abcd", 0.0)
    found = with_differences(
        [result("x", 16, values=right), result("x", 64, values=wrong), result("y", 16, values=right),
         result("y", 64, values=right), result("z", 16, values=wrong), result("z", 64, values=wrong)],
        num_lengths=2,
    )  # fmt: skip
    assert [{name: one.mean for name, one in r.difference.items()} for r in found] == [
        {}, {}, {"sums": 0.0}, {"sums": 1.0}, {"sums": -1.0}, {"sums": 0.0}
    ]  # fmt: skip
    lines = shown(found)
    assert "to the first" in lines[2]
    rows = [[cell.strip() for cell in line.strip("\u2502").split("\u2502")] for line in lines if "INT4" in line]
    assert [row[5] for row in rows][1:4] == ["-", "+0.000 [+0.000, +0.000]", "+1.000 [+1.000, +1.000]"]
    assert found[3].row()["gyms"]["sums"]["difference"] == {"mean": 1.0, "low": 1.0, "high": 1.0, "num": 4}
    assert found[0].row()["gyms"]["sums"]["difference"] is None


def test_a_difference_is_over_the_tasks_that_both_were_scored_on_and_surer_than_two_intervals():
    first = {str(i): float(i % 2) for i in range(100)}
    other = first | {"0": 1.0, "2": 1.0, "4": 1.0, "99": 0.0}
    del other["50"]
    found = difference(first, other | {"new": 1.0})
    assert (found.num, found.mean) == (99, pytest.approx(2 / 99))
    # 3 gains and 1 loss: variance 4 / 99 - mean^2; the interval is within 1.96 standard errors, give or take a task
    half = 1.96 * (4 / 99 - (2 / 99) ** 2) ** 0.5 / 99**0.5
    assert (found.low, found.high) == pytest.approx((2 / 99 - half, 2 / 99 + half), abs=1 / 99)
    assert difference({"a": 1.0}, {"b": 1.0}).num == 0


def test_a_single_sample_a_task_is_called_sampled_and_has_no_best_of_k():
    lines = shown([result("a", 16, best=False)], samples_per_task=1)
    assert "sampled, T = 0.9" in lines[2] and "pass@" not in lines[2]


def test_the_attempt_that_saw_the_others_has_a_column_of_its_own():
    lines = shown([result("a", 16, heavy=True)], heavy=8)
    assert (
        "heavy of 8" in lines[2] and "0.875 [0.750, 1.000]" in lines[4] and "heavy" not in shown([result("a", 16)])[2]
    )


def test_rows_are_plain_json_without_not_a_number():
    nothing = Accuracy(mean=math.nan, stderr=math.nan, num=0, low=math.nan, high=math.nan)
    found = GymResult(
        greedy=nothing, sampled=nothing, best=None, heavy=None, length_mean=1.0, truncated_frac=0.0, masked_frac=1.0
    )  # fmt: skip
    row = Result(model="a", weights="BF16", budgets={"sums": 3}, gyms={"sums": found}).row()
    assert row["gyms"]["sums"]["max_tokens"] == 3 and row["gyms"]["sums"]["greedy"]["mean"] is None
    assert "NaN" not in json.dumps(row)
