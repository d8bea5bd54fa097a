"""What is drawn, from which numbers."""

from __future__ import annotations

import pytest

from gyms.api import Status
from rl.metric_table import PHASES, metric_of
from rl.page.charts import PHASES as CHART_PHASES
from rl.page.charts import PLAIN, SECTIONS, figures_of
from rl.page.content import Source
from rl.page.folder import read_run
from rl.page.stored import AVERAGED, read_samples
from rl.page.summary import groups_of, summary_of
from tests.run_folders import evaluation, response, siblings, write_run


def figures(*folders):
    runs = [read_run(folder.path) for folder in folders]
    found = [[read_samples(file)[0] for file in run.rollouts] for run in runs]
    summaries = [{samples[0].step: summary_of(samples) for samples in steps} for steps in found]
    return {figure.title: figure for figure in figures_of(runs, summaries)}


def test_every_number_that_a_chart_names_is_one_that_runs_write():
    names = [name for *_, metrics, _ in PLAIN for name in metrics]
    assert len(names) > 20 and [name for name in names if metric_of(name) is None] == []
    assert set(CHART_PHASES) == set(PHASES) - {"ahead"}  # beside the learner's turn: no part of the step's wall clock


def plain(*values):
    return siblings(0, *(response("x" * 3, value) for value in values))


def test_the_line_of_an_accuracy_takes_the_last_stage_of_each_step(tmp_path):
    stages = (("rounded to INT4", 0, 0), ("after the warm-up", 0, 10), ("step 1", 1, 12), ("after RL", 2, 16),
              (AVERAGED, 2, 4))  # fmt: skip
    evals = [evaluation(*stage) for stage in stages]
    figure = figures(write_run(tmp_path / "run", [[plain(1.0)]] * 2, evals=evals))["Held-out accuracy: sums"]
    by_name = {series.name: series for series in figure.series}
    greedy, others = by_name["greedy"], by_name["greedy, other stages"]
    assert (greedy.x, greedy.y, greedy.words) == (
        [0, 1, 2],
        [0.5, 0.6, 0.8],
        ["after the warm-up", "step 1", "after RL"],
    )
    assert greedy.low[0] < 0.5 < greedy.high[0] and greedy.dash == "solid"
    assert (others.x, others.y, others.dash) == ([0, 2], [0.0, 0.2], "points")
    assert others.words == ["rounded to INT4", AVERAGED]


def test_every_accuracy_of_an_evaluation_has_a_line_and_a_cell(tmp_path):
    row = evaluation("step 0", 0, 10)
    for n, key in enumerate(("greedy", "sampled", "best", "heavy")):
        row["gyms"]["sums"][key] = {"mean": n / 4, "stderr": 0.0, "num": 20, "low": 0.0, "high": 1.0}
    folder = write_run(tmp_path / "run", [[plain(1.0)]], evals=[row])
    series = figures(folder)["Held-out accuracy: sums"].series
    shown = {one.name: one.y for one in series}
    assert shown == {"greedy": [0], "sampled": [0.25], "best of k": [0.5], "heavy": [0.75]}
    assert len({one.dash for one in series}) == 4
    (told,) = Source([folder.path], max_samples=9).read().facts["runs"][0]["evals"]
    assert told["gyms"]["sums"]["heavy"] == (0.75, 0.0, 1.0)


def test_a_gym_that_a_step_did_not_draw_leaves_a_gap(tmp_path):
    other = siblings(1, response("a"), response("b", 0.0), gym="words")
    found = figures(write_run(tmp_path / "run", [[plain(1.0, 0.0), other], [plain(1.0)], [plain(0.5), other]]))
    assert found["Reward: words"].series[0].y == [0.5, None, 0.5]
    assert found["Reward: words"].series[0].low[1] is None
    assert found["Reward: sums"].series[0].y == [0.5, 1.0, 0.5]
    assert "Reward: all gyms" in found


def test_runs_lie_over_each_other_in_the_order_given(tmp_path):
    one, two = write_run(tmp_path / "one", [[plain(1.0)]]), write_run(tmp_path / "two", [[plain(0.0)]] * 2)
    series = figures(one, two)["Reward: sums"].series
    assert [(one.run, one.y) for one in series] == [(0, [1.0]), (1, [0.0, 0.0])]


def test_phases_add_up_to_the_step(tmp_path):
    seconds = {
        "phase/generate_seconds": 10.0, "phase/rollout_seconds": 6.0, "phase/eval_seconds": 3.0,
        "phase/learn_seconds": 5.0, "phase/update_seconds": 2.0, "phase/pack_seconds": 1.0, "phase/save_seconds": 0.5,
    }  # fmt: skip
    figure = figures(write_run(tmp_path / "run", [[plain(1.0)]], rows={0: seconds}))["Seconds per step"]
    assert {series.name: series.y for series in figure.series} == {
        "rollout": [6.0], "evaluation": [3.0], "engines: the rest": [1.0], "update": [2.0], "pack": [1.0],
        "learner: the rest": [2.0], "checkpoint": [0.5],
    }  # fmt: skip


def test_faults_are_told_by_cause_and_a_closed_gate_is_one_of_its_own(tmp_path):
    gated = response("a", status=Status.JUDGE_FAILED, flags=["gate_closed"])
    samples = [gated, response("b", status=Status.JUDGE_FAILED), response("c", status=Status.TRUNCATED), response("d")]
    figure = figures(write_run(tmp_path / "run", [[siblings(0, *samples)], [plain(1.0)]]))["Faults and masks"]
    assert {series.name: series.y for series in figure.series} == {
        "truncated": [0.25, 0.0], "gate_closed": [0.25, 0.0], "judge_failed": [0.25, 0.0],
    }  # fmt: skip
    assert [series.hatched for series in figure.series] == [False, True, True]


def test_a_number_that_no_chart_names_is_shown_among_the_others(tmp_path):
    rows = {0: {"invented/number": 2.0, "invented/text": "x", "learner/ptx_loss": 0.0}, 1: {"invented/number": None}}
    found = figures(write_run(tmp_path / "run", [[plain(1.0)]] * 2, rows=rows))
    assert (found["invented/number"].section, found["invented/number"].series[0].y) == ("other", [2.0, None])
    assert "invented/text" not in found and "PTX loss" not in found  # all 0: there is no PTX
    assert all(figure.section in SECTIONS and figure.series for figure in found.values())


def test_lengths_have_a_mean_and_percentiles(tmp_path):
    samples = [response("x" * n) for n in range(1, 11)]
    figure = figures(write_run(tmp_path / "run", [[siblings(0, *samples)]]))["Response length"]
    (series,) = figure.series
    assert (series.y, series.low, series.high) == ([5.5], [1], [9])


def test_a_run_without_steps_has_no_figures(tmp_path):
    assert figures(write_run(tmp_path / "run", [], is_done=False)) == {}


def test_figures_are_plain_data_of_six_digits(tmp_path):
    rows = {0: {"rollout/surprise_mean": 1 / 3}}
    facts = figures(write_run(tmp_path / "run", [[plain(1.0)]], rows=rows))["Surprise"].facts()
    assert facts["series"][0]["y"] == [pytest.approx(0.333333, abs=1e-12)]


def test_groups_are_the_siblings_of_one_draw(tmp_path):
    folder = write_run(tmp_path / "run", [[plain(1.0, 0.0), siblings(1, response("a"))]])
    samples, _ = read_samples(read_run(folder.path).rollouts[0])
    assert [[s.k for s in group] for group in groups_of(samples)] == [[0, 1], [0]]
