"""The ablations: every variant is a config that holds, and what is kept of runs is what they wrote."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks.ablations import STUDIES, bands, chosen, command, main, plot, summary
from configs.load import load_config

ALL = [(study, variant) for study in STUDIES for variant in STUDIES[study].variants]


@pytest.mark.parametrize(("study", "variant"), ALL)
def test_every_variant_is_a_config_that_differs_from_the_others_of_its_study(study, variant, tmp_path):
    def config_of(name):
        line = command(study, name, seed=3, steps=7, folder=tmp_path)
        config = load_config([Path(line[3])], line[4:])
        assert (config.seed, config.num_steps) == (3, 7)
        return config.model_dump(exclude={"run_dir"}), config.run_dir

    dumps = {name: config_of(name) for name in STUDIES[study].variants}
    others = [found for name, found in dumps.items() if name != variant]
    assert all(dumps[variant][0] != other and dumps[variant][1] != where for other, where in others)


def test_a_summary_holds_the_curve_the_reward_and_the_accuracies():
    rows = [
        {"step": 0, "reward/mean": 0.5, "x": None, "rollout/num_tokens": 7, "rollout/logprob_gap_mean": None},
        {"step": 1, "reward/mean": 0.75, "x": 2.0, "rollout/num_tokens": 5, "rollout/logprob_gap_mean": 0.25},
    ]
    evals = [{"stage": "after RL", "gyms": {"arithmetic": {"greedy": {"mean": 0.9}}}}]
    assert summary(rows, evals, "x") == {
        "curve": [[1, 2.0]], "reward": [0.5, 0.75], "greedy": {"after RL": {"arithmetic": 0.9}}, "num_tokens": 12,
        "gap_max": 0.25,
    }  # fmt: skip


def test_the_curve_of_an_accuracy_ends_with_the_last_evaluation():
    stages = [(0, "rounded to INT4", 0.0), (0, "after the warm-up", 0.4), (2, "after RL", 0.9)]
    evals = [
        {"stage": stage, "step": step, "gyms": {"arithmetic": {"greedy": {"mean": mean}}}}
        for step, stage, mean in stages
    ]
    found = summary([], evals, "eval/arithmetic/greedy_accuracy")
    assert found["curve"] == [[0, 0.0], [0, 0.4], [2, 0.9]]
    assert bands([found]) == [(0, 0.4, 0.4, 0.4), (2, 0.9, 0.9, 0.9)]


def test_bands_are_over_the_steps_that_all_seeds_have():
    runs = [{"curve": [[0, 1.0], [1, 2.0]]}, {"curve": [[1, 4.0], [2, 9.0]]}]
    assert bands(runs) == [(1, 3.0, 2.0, 4.0)]
    assert bands([]) == []


def test_studies_and_variants_are_chosen_by_name(capsys):
    assert list(chosen([])) == ALL
    assert list(chosen(["objective/grpo", "qat"])) == [("objective", "grpo"), ("qat", "grid"), ("qat", "no grid")]
    assert main(["--only", "qat/none"]) == 2
    assert "--only qat/none: there is no such variant: ['grid', 'no grid']" in capsys.readouterr().err
    assert main(["--list"]) == 0
    assert capsys.readouterr().out.count("\n") == len(ALL)


def test_a_plot_is_drawn_of_what_there_is(tmp_path):
    one = {"curve": [[0, 1.0], [1, 2.0]]}
    plot(
        {"qat": {"grid": [one, one], "no grid": []}, "ptx": {"ptx 0": [one]}, "budget": {}}, tmp_path / "a" / "plot.svg"
    )
    text = (tmp_path / "a" / "plot.svg").read_text()
    assert (text.count("<svg") == 1 and "Training through the INT4 grid" in text) or "<path" in text
