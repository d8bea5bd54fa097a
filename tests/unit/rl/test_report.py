"""What people see, on a log and on a terminal."""

from __future__ import annotations

import sys
from io import StringIO
from pathlib import Path

import pytest
from rich.console import Console
from rich.text import Text

from configs.schema import Config
from gyms.api import Status, Task, message
from rl.console import view_of
from rl.page.stored import AVERAGED
from rl.report import Report
from rl.trackers import SAMPLE_COLUMNS


@pytest.fixture
def console() -> Console:
    return Console(file=StringIO(), width=160, highlight=False, soft_wrap=True)


@pytest.fixture
def report(console) -> Report:
    config = Config.model_validate(
        {
            "num_steps": 10,
            "model": {"source": "tiny", "context_length": 2048},
            "gyms": [{"name": "sums"}],
            "report": {"wandb": "off", "show_samples": 2, "show_every": 5},
        }
    )
    return Report(config, Path("/runs/mine"), view_of("auto", console))


def shown(console: Console) -> str:
    return console.file.getvalue()


def test_a_step_is_one_line_of_what_is_known(report, console):
    row = {
        "reward/mean": 0.4375,
        "rollout/truncated_frac": 0.25,
        "rollout/logprob_gap_mean": None,
        "phase/rollout_seconds": 12.34,
    }
    report.step(1, row, [])
    (line,) = shown(console).splitlines()
    assert "step 2/10  reward 0.438  truncated 0.25  rollout 12.3s" in line
    assert "gap" not in line and "None" not in line


def test_samples_are_shown_every_few_steps_the_best_and_the_worst_of_a_group_with_a_spread(
    report, console, group, scored
):
    task = Task(id="t", prompt=(message("user", "What is\n[bold]1+2[/bold]?"),))
    best, worst = scored(1.0, text="three\nindeed"), scored(status=Status.NO_ANSWER, text="[red]" + "x" * 200)
    groups = [group(0, 1.0, 1.0), group(1, worst, best, task=task)]
    report.step(4, {}, groups)
    assert len(shown(console).splitlines()) == 1
    report.step(5, {}, groups)
    *_, question, high, low = shown(console).splitlines()
    assert "sums: What is [bold]1+2[/bold]?" in question
    assert "1.00  three indeed" in high
    assert "0.00 (no_answer)  [red]xxx" in low and low.endswith("x...") and len(low) < 140


@pytest.mark.parametrize("is_terminal", [False, True], ids=["log", "terminal"])
def test_nothing_that_a_model_or_a_task_wrote_is_obeyed_by_the_terminal(report, group, scored, is_terminal):
    console = Console(file=StringIO(), width=160, highlight=False, soft_wrap=True, force_terminal=is_terminal)
    view = view_of("auto", console)
    report = Report(report.config, report.folder, view)
    hostile = "\x1b]52;c;ZXZpbA==\x07 \x1b[2J \x9b2J \u202e"
    task = Task(id="t", prompt=(message("user", f"prompt {hostile}"),))
    report.step(0, {}, [group(0, scored(1.0, text=f"response {hostile}"), task=task)])
    report.say(f"note {hostile}\nof two lines")
    told = Text.from_ansi(shown(console)).plain if is_terminal else shown(console)
    safe = "\ufffd]52;c;ZXZpbA==\ufffd \ufffd[2J \ufffd2J \ufffd"
    for what in ("prompt", "response", "note"):
        assert f"{what} {safe}\n" in told
    assert not set("\x07\x9b\u202e") & set(shown(console))


def test_in_a_log_progress_is_one_line_at_the_end(report, console):
    with report.progress("evaluate", 3, "responses") as advance:
        for _ in range(3):
            advance(1)
        assert shown(console) == ""
    assert "evaluate: 3 responses in 0.0 s" in shown(console)


def evaluation(stage: str, greedy: float, sampled: float, num: int = 300):
    result = {
        "greedy": {"mean": greedy, "stderr": 0.0123, "num": num},
        "sampled": {"mean": sampled, "stderr": 0.02, "num": num},
        "truncated_frac": 0.125,
        "masked_frac": 0.0,
    }
    return {"stage": stage, "step": 0, "weights": "INT4", "weight_version": 0, "gyms": {"sums": result}}


def test_an_evaluation_is_told_with_its_standard_error(report, console):
    report.evaluation(evaluation("after the warm-up", 0.5, 0.25))
    assert (
        "held-out sums, after the warm-up: greedy 0.500 +- 0.012, sampled 0.250 +- 0.020, truncated 0.12 (n = 300)"
        in shown(console)
    )


def test_an_accuracy_that_could_not_be_had_is_a_dash(report, console):
    row = evaluation("after RL", 0.5, 0.25)
    row["gyms"]["sums"]["greedy"] = {"mean": None, "stderr": None, "num": 0}
    report.evaluation(row)
    report.final([row], [])
    told = shown(console)
    assert "held-out sums, after RL: greedy -, sampled 0.250 +- 0.020, truncated 0.12 (n = 0)" in told
    assert "None" not in told and "nan" not in told


def test_of_several_samples_a_task_the_best_is_told_and_has_a_column(tmp_path, console):
    facts = {"model": {"source": "tiny"}, "gyms": [{"name": "sums"}], "eval": {"samples_per_task": 4}}
    report = Report(Config.model_validate(facts | {"report": {"wandb": "off"}}), tmp_path, view_of("auto", console))
    before, after = evaluation("rounded to INT4", 0.0, 0.01), evaluation("after RL", 0.9, 0.85)
    after["gyms"]["sums"]["best"] = {"mean": 0.98, "stderr": 0.01, "num": 300}
    report.evaluation(after)
    report.final([before, after], [])
    text = shown(console)
    assert "sampled 0.850 +- 0.020, pass@4 0.980 +- 0.010, truncated 0.12" in text
    assert "avg@4, T = 1" in text and "pass@4" in text
    (row,) = [line for line in text.splitlines() if "rounded to INT4" in line]
    assert " - " in row


def test_the_final_table_has_a_row_for_every_policy_and_says_where_the_run_is(report, console):
    evals = [evaluation("rounded to INT4", 0.0, 0.01, num=48), evaluation("after RL", 0.9, 0.85)]
    metrics = [
        {"rollout/logprob_gap_mean": gap, "weights/sync_seconds": s, "rollout/truncated_frac": t}
        for gap, s, t in ((0.01, 0.5, 0.5), (None, None, 0.3), (0.03, 0.1, 0.0), (0.02, 0.2, 0.1))
    ]
    report.final(evals, metrics)
    text = shown(console)
    assert "held-out sums" in text
    (before,) = [line for line in text.splitlines() if "rounded to INT4" in line]
    assert " 48 " in before
    (after,) = [line for line in text.splitlines() if "after RL" in line]
    assert " 300 " in after and "0.900 +- 0.012" in after and "0.850 +- 0.020" in after and "INT4" in after
    assert "log-probability gap, mean over steps: 0.0200 nats" in text
    assert "pack and swap, median: 0.200 s" in text
    assert "truncated in training, last step: 0.100" in text
    assert "engine stall" not in text  # no data
    assert "run folder: /runs/mine" in text
    see, serve, further = text.splitlines()[-3:]
    assert see.endswith("k2rl report /runs/mine") and serve.endswith("--model /runs/mine/export")
    assert further.endswith("num_steps=20")


@pytest.mark.parametrize("is_active", [True, False])
def test_what_to_do_next_can_be_pasted_whether_or_not_the_environment_is_active(
    is_active, report, console, tmp_path, monkeypatch
):
    program = tmp_path / "my env" / "python"
    program.parent.mkdir()
    program.symlink_to(sys.executable)
    monkeypatch.setattr(sys, "executable", str(program))
    monkeypatch.setenv("PATH", str(program.parent) if is_active else "/nowhere")
    report.final([], [])
    see, serve, _ = shown(console).splitlines()[-3:]
    place = "" if is_active else f"'{program.parent}'/"
    assert see.endswith(f"  {place}k2rl report /runs/mine") and f"  {place}python -m vllm" in serve


class Kept:
    """A tracker that keeps what it gets."""

    def __init__(self) -> None:
        self.rows: list = []
        self.tables: list = []
        self.is_closed = False

    def log(self, row, step) -> None:
        self.rows.append((step, dict(row)))

    def samples(self, rows, step) -> None:
        self.tables.append((step, rows))

    def close(self) -> None:
        self.is_closed = True


def test_trackers_get_every_row_samples_now_and_then_and_the_last_evaluation(report, console, group, scored):
    kept = Kept()
    report = Report(report.config, report.folder, view_of("auto", console), [kept])
    for step in range(6):
        report.step(step, {"reward/mean": step / 10}, [group(0, 1.0, scored(0.0, text="half \ud800"))])
    last = {**evaluation("after RL", 0.9, 0.85), "step": 6}
    averaged = {**evaluation(AVERAGED, 0.5, 0.5), "step": 6}
    report.final([evaluation("rounded to INT4", 0.0, 0.01), last, averaged], [])
    report.close()
    assert kept.rows[:6] == [(step, {"reward/mean": step / 10}) for step in range(6)]
    assert kept.rows[6:] == [(6, {"eval/sums/greedy_accuracy": 0.9, "eval/sums/sampled_accuracy": 0.85})]
    assert [step for step, _ in kept.tables] == [0, 5] and kept.is_closed
    _, (right, wrong) = kept.tables[1]
    row = dict(zip(SAMPLE_COLUMNS, wrong, strict=True))
    assert (row["step"], row["gym"], row["response"], row["reward"]) == (5, "sums", "half ?", 0.0)
    assert len(right) == len(SAMPLE_COLUMNS)


def test_a_run_without_evaluations_or_steps_has_a_final_word_too(report, console):
    report.final([], [])
    assert "run folder: /runs/mine" in shown(console)
