"""The ablations: variants are configs that hold, what is kept is what runs wrote, nothing runs twice."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from benchmarks.ablations import (
    MARK_END,
    MARK_START,
    NOTHING,
    PAGE,
    PLOT,
    RESULTS,
    STUDIES,
    Job,
    bands,
    chosen,
    grouped,
    main,
    page,
    summary,
    table,
    told,
    write,
)  # fmt: skip
from benchmarks.machine import machine
from configs.load import load_config

ALL = [(study, variant) for study in STUDIES for variant in STUDIES[study].variants]


def job(study: str, variant: str, *, seed: int = 0, also: tuple[str, ...] = ()) -> Job:
    return Job(study=study, variant=variant, seed=seed, steps=7, also=also)


def row(study: str, variant: str, *, seed: int = 0, accuracy: float = 0.5) -> dict[str, object]:
    curves = {study_.metric: [[0, 0.0], [1, accuracy]] for study_ in STUDIES.values()}
    greedy = {"after RL": {"arithmetic": accuracy}}
    return {**job(study, variant, seed=seed).key, "curves": curves, "greedy": greedy, "num_tokens": 9, "gap": 0.004}


@pytest.mark.parametrize(("study", "variant"), ALL)
def test_every_variant_is_a_config_that_differs_from_the_others_of_its_study(study, variant, tmp_path):
    def config_of(name):
        line = job(study, name, seed=3).command(tmp_path)
        config = load_config([Path(line[3])], line[4:])
        assert (config.seed, config.num_steps) == (3, 7)
        return config.model_dump(exclude={"run_dir"}), config.run_dir

    dumps = {name: config_of(name) for name in STUDIES[study].variants}
    others = [found for name, found in dumps.items() if name != variant]
    assert all(dumps[variant][0] != other and dumps[variant][1] != where for other, where in others)


def test_variants_that_are_one_run_share_its_key_and_folder_and_no_others_do(tmp_path):
    jobs = [job(study, variant) for study, variant in ALL] + [job("qat", "grid", also=("seed=1",))]
    keys = {json.dumps(one.key) for one in jobs}
    folders = {one.folder(tmp_path) for one in jobs}
    references = [one for one in jobs if not one.overrides and not one.also]
    assert len(references) > 3 and len(keys) == len(folders) == len(jobs) - len(references) + 1


def test_a_summary_holds_the_curves_and_the_accuracies():
    rows = [
        {"step": 0, "reward/mean": 0.5, "rollout/num_tokens": 7, "rollout/logprob_gap_mean": None},
        {"step": 1, "reward/mean": 0.75, "learner/ptx_heldout_loss": 2.0, "rollout/num_tokens": 5,
         "rollout/logprob_gap_mean": 0.25},
    ]  # fmt: skip
    stages = [(0, "rounded to INT4", 0.0), (0, "after the warm-up", 0.4), (2, "after RL", 0.9)]
    evals = [
        {"stage": stage, "step": step, "gyms": {"arithmetic": {"greedy": {"mean": mean}}}}
        for step, stage, mean in stages
    ]
    found = summary(rows, evals)
    assert found == {
        "curves": {
            "reward/mean": [[0, 0.5], [1, 0.75]],
            "learner/ptx_heldout_loss": [[1, 2.0]],
            "eval/arithmetic/greedy_accuracy": [[0, 0.0], [0, 0.4], [2, 0.9]],
        },
        "greedy": {stage: {"arithmetic": mean} for _, stage, mean in stages},
        "num_tokens": 12,
        "gap": 0.25,
    }
    assert bands([found["curves"]["eval/arithmetic/greedy_accuracy"]]) == [(0, 0.4, 0.4, 0.4), (2, 0.9, 0.9, 0.9)]


def test_bands_are_over_the_steps_that_all_seeds_have():
    assert bands([[[0, 1.0], [1, 2.0]], [[1, 4.0], [2, 9.0]]]) == [(1, 3.0, 2.0, 4.0)]
    assert bands([]) == [] and bands([[], [[1, 2.0]]]) == []


def test_studies_and_variants_are_chosen_by_name(capsys):
    assert list(chosen([])) == ALL
    assert list(chosen(["objective/grpo", "qat"])) == [("objective", "grpo"), ("qat", "grid"), ("qat", "no grid")]
    assert main(["--only", "qat/none"]) == 2
    assert "--only qat/none: there is no such variant: ['grid', 'no grid']" in capsys.readouterr().err
    assert main(["--list"]) == 0
    assert capsys.readouterr().out.count("\n") == len(ALL)


def test_the_table_has_standard_errors_over_seeds_and_pairs_differences_by_seed():
    assert told([0.5]) == "0.500" and told([0.4, 0.6]) == "0.500 +- 0.100"  # stdev .1414 / sqrt 2
    runs = [
        row("qat", "grid", seed=0, accuracy=0.5), row("qat", "grid", seed=1, accuracy=0.7),
        row("qat", "no grid", seed=1, accuracy=0.4), row("qat", "no grid", seed=0, accuracy=0.1),
        row("budget", "toggle"),
    ]  # fmt: skip
    found = grouped({"steps": 7, "runs": runs})
    assert list(found) == ["qat"]  # of the others the reference is there alone, of `budget` the reference is missing
    lines = table(found).splitlines()
    assert (
        "| `qat` | grid | 2 | 0.600 +- 0.100 |" in lines[2]
        and "|  | no grid | 2 | 0.250 +- 0.150 | -0.350 +- 0.050 |" in lines[3]
    )
    assert not grouped({"steps": 8, "runs": runs})


def test_a_run_that_is_added_changes_nothing_of_where_the_others_were_found(tmp_path):
    file, job = tmp_path / "found.json", Job(study="qat", variant="no grid", seed=0, steps=7)
    write({"machine": {"cpu": "x"}, "steps": 7, "runs": [row("qat", "grid")]}, file)
    folder = job.folder(tmp_path / machine()["commit"])
    folder.mkdir(parents=True)
    (folder / "final.json").touch()
    metrics = {"step": 0, "reward/mean": 0.5, "rollout/num_tokens": 7, "rollout/logprob_gap_mean": 0.25}
    evaluated = {"stage": "after RL", "step": 7, "gyms": {"arithmetic": {"greedy": {"mean": 0.5}}}}
    for name, one in (("metrics.jsonl", metrics), ("evals.jsonl", evaluated)):
        (folder / name).write_text(json.dumps(one) + "\n")
    assert main(["--only", "qat", "--seeds", "0", "--folder", str(tmp_path), "--output", str(file)]) == 0
    facts = json.loads(file.read_text())
    assert facts["machine"] == {"cpu": "x"} and "commit" in facts["runs"][1]["machine"]


def test_a_finished_run_of_other_code_is_not_taken_for_one_of_this(tmp_path, capsys):
    file, of_all = tmp_path / "found.json", "no_such_setting=1"  # the run that is made instead is refused at once
    folder = Job(study="qat", variant="grid", seed=0, steps=7, also=(of_all,)).folder(tmp_path)
    folder.mkdir(parents=True)
    for name in ("final.json", "metrics.jsonl", "evals.jsonl"):
        (folder / name).touch()
    given = ["--only", "qat/grid", "--seeds", "0", "--steps", "7", "--also", of_all]
    assert main([*given, "--folder", str(tmp_path), "--output", str(file)]) == 1
    assert "no_such_setting" in capsys.readouterr().err and not file.exists()


def test_a_run_whose_row_is_there_is_not_run_again(tmp_path, capsys):
    file = tmp_path / "found.json"
    runs = [row("qat", "grid"), row("qat", "no grid", accuracy=0.25)]
    write({"machine": {"cpu": "x"}, "steps": 7, "runs": runs}, file)
    plotted = tmp_path / "a" / "plot.svg"
    nowhere = ["--folder", str(tmp_path / "runs"), "--output", str(file), "--plot", str(plotted)]
    assert main(["--only", "qat,objective/k2_seq", "--seeds", "0", *nowhere]) == 0  # k2_seq is the reference
    assert "no grid | 1 | 0.250 | -0.250" in capsys.readouterr().out
    assert json.loads(file.read_text())["runs"] == runs and not (tmp_path / "runs").exists()
    text = plotted.read_text()
    assert text.count("<svg") == 1 and "Training through the INT4 grid" in text and "no grid (1 seed)" in text


def test_the_page_keeps_its_words_and_gets_the_table_that_its_numbers_give():
    facts = {"machine": {"cpu": "x"}, "steps": 7, "runs": [row("qat", "grid"), row("qat", "no grid")]}
    text = page(f"before\n{MARK_START}\nold\n{MARK_END}\nafter\n", facts)
    assert text.startswith("before\n") and text.endswith("after\n") and "old" not in text
    assert "7 steps each. Found on: cpu x." in text and page(text, facts) == text
    assert NOTHING in page(text, facts | {"runs": []})
    later = [row("qat", "grid"), {**row("qat", "no grid"), "machine": {"cpu": "y"}}]
    assert "Found on: cpu x. 1 of 2 runs on: cpu y." in page(text, facts | {"runs": later})


def test_the_page_of_the_project_is_written_from_its_numbers():
    facts = json.loads(RESULTS.read_text())
    assert page(PAGE.read_text(), facts) == PAGE.read_text(), "run: python -m benchmarks.ablations --write --table"
    drawn = PLOT.read_text() if PLOT.is_file() else ""
    results = grouped(facts)
    assert all(STUDIES[name].title in drawn for name in results) and bool(drawn) == bool(results)
