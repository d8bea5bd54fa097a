"""The estimate of how hard tasks are: which tasks, what a line says, and how it goes on."""

from __future__ import annotations

import json

import pytest

from gyms.api import Status
from rl.difficulty import Job, done_before, main, rate_row, train_draws
from rl.rates import read_rates
from tests.unit.rl.listed import entry, task

TASKS = [task(f"t{i}") for i in range(10)]


def job(tmp_path, **changes) -> Job:
    given = {"model": "m", "output": tmp_path / "rates.jsonl", "num_samples": 4, "temperature": 1.0, "max_tasks": None}
    return Job(**{**given, **changes})


def test_all_tasks_that_can_be_asked_are_or_some_that_the_seed_chooses():
    entries = [entry("a", TASKS), entry("b", TASKS[:2])]

    def found(max_tasks, seed=0, fits=lambda gym, task: True):
        draws = train_draws(entries, max_tasks=max_tasks, seed=seed, fits=fits)
        return [(draw.gym, draw.task.id, draw.index) for draw in draws]

    assert found(None) == [("a", f"t{i}", i) for i in range(10)] + [("b", "t0", 0), ("b", "t1", 1)]
    assert len({name for gym, name, _ in found(4) if gym == "a"}) == 4
    assert found(4) == found(4) != found(4, seed=1)
    assert [name for _, name, _ in found(None, fits=lambda gym, task: task.id == "t1")] == ["t1", "t1"]


def test_a_line_says_how_often_the_task_was_solved_and_is_read_back(tmp_path, group, scored):
    samples = [scored(1.0), scored(0.5), scored(status=Status.TRUNCATED), scored(status=Status.VERIFIER_ERROR)]
    row = rate_row(group(3, *samples), job(tmp_path))
    assert row == {
        "gym": "sums", "task": "sums/1", "rate": 0.5, "right_lengths": [3], "num_scored": 3, "tokens_mean": 3.0,
        "truncated_frac": pytest.approx(1 / 3), "model": "m", "num_samples": 4, "temperature": 1.0,
    }  # fmt: skip
    assert rate_row(group(3, scored(status=Status.JUDGE_FAILED)), job(tmp_path)) is None
    job(tmp_path).output.write_text(json.dumps(row) + "\n")
    known = read_rates(job(tmp_path).output, ["sums"])
    assert (known.rates, known.right_lengths) == ({"sums": {"sums/1": 0.5}}, {"sums": {"sums/1": [3]}})


def test_a_command_goes_on_behind_whole_lines_of_the_same_settings(tmp_path):
    one = job(tmp_path)
    assert done_before(one) == set()
    line = json.dumps({"gym": "a", "task": "t1", "rate": 0.0, **one.facts})
    one.output.write_text(f"{line}\n{line[:20]}")
    assert done_before(one) == {("a", "t1")} and one.output.read_text() == f"{line}\n"
    with pytest.raises(ValueError, match=r"holds what .*'num_samples': 4.* did, now it is .*'num_samples': 8"):
        done_before(job(tmp_path, num_samples=8))
    one.output.write_text("{}\n")
    with pytest.raises(ValueError, match="line 1, is no line of this command"):
        done_before(one)


def test_wrong_use_is_told_before_anything_starts(tmp_path, capsys):
    assert main([str(tmp_path), "--output", str(tmp_path / "x")]) == 2
    assert "wanted one model folder and a config" in capsys.readouterr().err
    for wrong in (["--samples", "0"], ["--temperature", "9"]):
        with pytest.raises(SystemExit, match="2"):
            main(["m", "c.toml", "--output", "x", *wrong])
        assert "wanted a " in capsys.readouterr().err
