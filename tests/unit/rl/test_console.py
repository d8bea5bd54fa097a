"""Views: what a terminal, a log and a program get to see."""

from __future__ import annotations

import json
from io import StringIO

import pytest
from rich.console import Console
from rich.text import Text

from rl.console import JsonView, LiveView, PlainView, QuietView, Standing, step_line, view_of

ROW = {
    "step": 1, "reward/mean": 0.5, "reward/sums/mean": 0.75, "reward/words/mean": 0.25, "reward/words/correct": 0.2,
    "rollout/truncated_frac": 0.25, "rollout/turns_mean": 2.5, "rollout/logprob_gap_mean": 0.0123,
    "rollout/tokens_per_second": 312.4, "phase/generate_seconds": 6.0, "phase/rollout_seconds": 5.0,
    "phase/learn_seconds": 4.0,
}  # fmt: skip


def standing(**changes) -> Standing:
    return Standing(**{"name": "tiny", "num_steps": 4, "rows": [{**ROW, "step": 0}, ROW]} | changes)


def console(**settings) -> Console:
    return Console(file=StringIO(), width=140, highlight=False, soft_wrap=True, **settings)


def test_a_line_tells_every_gym_where_there_are_several_and_what_is_left():
    assert step_line(standing()) == (
        "step 2/4  reward 0.500  (sums 0.750, words 0.250)  truncated 0.25  turns 2.5  gap 0.0123  rollout 5.0s  "
        "tokens/s 312  step 10.0s  left 0:20"
    )
    one = {key: value for key, value in ROW.items() if "words" not in key} | {"step": 3, "rollout/turns_mean": None}
    line = step_line(standing(rows=[one]))
    assert line.startswith("step 4/4  reward 0.500  truncated 0.25  gap") and "left" not in line


def test_evaluations_that_are_still_due_count_in_what_is_left():
    timed = {**ROW, "phase/generate_seconds": 8.0, "phase/eval_seconds": 2.0}
    assert standing(rows=[timed, timed]).seconds_left == 2 * 10.0 + 2.0  # the last one alone
    assert standing(rows=[timed, timed], eval_every=2).seconds_left == 2 * 10.0 + 2 * 2.0  # before step 2, and the last
    assert standing(rows=[]).seconds_left is None


def test_the_view_follows_the_console_and_the_mode():
    assert isinstance(view_of("auto", console()), PlainView)
    assert isinstance(view_of("auto", console(force_terminal=True)), LiveView)
    assert type(view_of("quiet", console(force_terminal=True))) is QuietView
    assert isinstance(view_of("json", console(force_terminal=True)), JsonView)


def test_on_a_terminal_the_step_stands_below_the_lines_with_phase_progress_and_times():
    view = LiveView(console(force_terminal=True))
    view.step(standing())
    with view.progress("step 3: rollout", 16, "groups") as advance:
        advance(5)
        view.say("a note")
        view._live.refresh()
        text = view.console.file.getvalue()
    view.close()
    for wanted in ("a note", "step 2/4", "sums 0.750  words 0.250", "about 0:20 left", "tokens/s 312",
                   "rollout 5.0 (50%)", "learn 4.0 (40%)", "step 3: rollout", "5/16", "groups"):  # fmt: skip
        assert wanted in text, wanted
    shown = view.console.file.getvalue()
    assert shown.count("\x1b[?25l") == shown.count("\x1b[?25h") == 1  # the cursor is given back


def test_between_counted_phases_a_terminal_says_what_goes_on():
    view = LiveView(console(force_terminal=True))
    with view.progress("x", 1, "things"):
        pass
    view._live.refresh()
    assert "hand-over, packing, saving" in view.console.file.getvalue()
    view.close()


def test_a_log_gets_whole_lines_and_nothing_that_writes_over_others():
    view = PlainView(console())
    with view.progress("evaluate", 3, "responses") as advance:
        advance(3)
    view.step(standing())
    view.event("evaluation", {}, [Text("held-out sums: [0.5]")])
    text = view.console.file.getvalue()
    assert "\r" not in text and "\x1b" not in text and len(text.splitlines()) == 3
    assert "evaluate: 3 responses in" in text and "held-out sums: [0.5]" in text


def test_a_phase_that_ends_early_says_what_was_done():
    view = PlainView(console())
    with view.progress("warm-up", 400, "updates") as advance:
        advance(100)
        advance(20)
    assert "warm-up: 120 updates in" in view.console.file.getvalue()


def test_quiet_keeps_notes_and_the_last_page():
    view = QuietView(console())
    with view.progress("evaluate", 3, "responses") as advance:
        advance(3)
    view.step(standing())
    view.event("evaluation", {}, [Text("held-out")])
    view.event("samples", {}, [Text("sample")])
    view.say("engine 0 was lost; rebuilding")
    view.event("final", {}, [Text("run folder: x")])
    assert [line[-20:] for line in view.console.file.getvalue().splitlines()] == [
        "was lost; rebuilding",
        "run folder: x",
    ]


def test_json_is_an_object_a_line_with_the_names_of_the_metrics(capsys: pytest.CaptureFixture[str]):
    view = JsonView(console())
    with view.progress("evaluate", 3, "responses") as advance:
        advance(3)
    view.say("a note")
    view.step(standing())
    view.event("evaluation", {"stage": "after RL", "gyms": {}}, [Text("words")])
    view.event("samples", {}, [Text("sample")])
    view.table(Text("table"))
    view.event("final", {"folder": "/runs/x"}, [Text("words")])
    note, step, evaluation, final = map(json.loads, view.console.file.getvalue().splitlines())
    assert (note["event"], note["text"]) == ("note", "a note")
    assert step["event"] == "step" and step["reward/sums/mean"] == 0.75 and step["seconds_left"] == 20.0
    assert (evaluation["stage"], final["folder"]) == ("after RL", "/runs/x")
