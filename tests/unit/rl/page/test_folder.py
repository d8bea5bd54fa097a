"""Run folders are read back as they were written, whatever a kill left of them; only what is no run is an error."""

from __future__ import annotations

import json
import os

import pytest

from rl.page.folder import NotARun, labels_of, read_run
from rl.page.stored import read_samples
from tests.run_folders import CONFIG, evaluation, response, siblings, write_run, write_step


def test_a_finished_run_is_read_back_as_it_was_written(tmp_path):
    groups = [siblings(0, response("3", components={"correct": 1.0}), response("4", 0.0, answer="4"))]
    evals = [evaluation("after the warm-up", 0, 5), evaluation("after RL", 2, 15)]
    write_run(tmp_path / "run", [groups, groups], evals=evals)
    run = read_run(tmp_path / "run")
    assert (run.state, run.error, run.notes, run.config["name"]) == ("done", "", (), CONFIG["name"])
    assert [row["step"] for row in run.steps] == [0, 1] and run.steps[0]["reward/mean"] == 0.5
    assert [row["stage"] for row in run.evals] == ["after the warm-up", "after RL"]
    assert [file.name for file in run.rollouts] == ["step_000000.jsonl", "step_000001.jsonl"]
    (first, second), num_bad = read_samples(run.rollouts[0])
    assert (num_bad, first.k, second.k, first.prompt) == (0, 0, 1, (("user", "1+2="),))
    assert (first.response, first.reward, first.components, first.logprobs) == ("3", 1.0, {"correct": 1.0}, (-0.25,))
    assert (second.answer, second.status, second.reward, second.old_logprobs) == ("4", "ok", 0.0, ())


def test_what_a_kill_cut_short_is_left_out_and_what_is_broken_is_told(tmp_path):
    folder = write_run(tmp_path / "run", [[siblings(0, response("3"))]] * 2, is_done=False)
    with folder.metrics.open("a") as file:
        file.write('{"step": 2, "reward/me')
    assert read_run(folder.path).notes == () and len(read_run(folder.path).steps) == 2
    with folder.metrics.open("a") as file:
        file.write('\nnull\n{"step": 4, "reward/mean": 0.5}\n')
    run = read_run(folder.path)
    assert [row["step"] for row in run.steps] == [0, 1, 4]
    assert run.notes == ("2 lines of metrics.jsonl could not be read and were left out.",)
    file = folder.rollouts / "step_000001.jsonl"
    file.write_text(file.read_text() + '{"step": 1, "draw": 9}\n[' + "[" * 100_000 + "\n")
    samples, num_bad = read_samples(file)
    assert (len(samples), num_bad) == (1, 2)


def test_a_run_without_a_step_yet_is_a_run(tmp_path):
    run = read_run(write_run(tmp_path / "run", [], is_done=False).path)
    assert (run.steps, run.evals, run.rollouts, run.state, run.last_write) == ((), (), (), "unfinished", 0.0)


def test_a_step_that_was_done_again_has_one_row_the_later(tmp_path):
    folder = write_run(tmp_path / "run", [[siblings(0, response("3"))]], is_done=False)
    folder.append(folder.metrics, {"step": 0, "reward/mean": 0.75})
    assert [row["reward/mean"] for row in read_run(folder.path).steps] == [0.75]


def test_a_failed_run_tells_why_until_it_has_gone_on(tmp_path):
    folder = write_run(tmp_path / "run", [[siblings(0, response("3"))]], is_done=False)
    log = folder.path / "error.log"
    log.write_text("Traceback\n  ...\nTooManyFaults: 9 of 10 samples were masked\n")
    os.utime(folder.metrics, (1000, 1000))
    run = read_run(folder.path)
    assert (run.state, run.error) == ("failed", "TooManyFaults: 9 of 10 samples were masked")
    os.utime(log, (900, 900))
    assert read_run(folder.path).state == "unfinished"


def test_the_last_words_of_a_shorter_run_do_not_end_a_longer_one(tmp_path):
    folder = write_run(tmp_path / "run", [[siblings(0, response("3"))]])
    folder.final.write_text(json.dumps({"num_steps": 5}))
    assert read_run(folder.path).state == "unfinished"


def test_a_run_that_was_made_longer_and_goes_on_or_failed_is_not_done(tmp_path):
    groups = [siblings(0, response("3"))]
    folder = write_run(tmp_path / "run", [groups, groups])
    folder.config.write_text(json.dumps(CONFIG | {"num_steps": 5}))
    write_step(folder, 2, groups)
    assert read_run(folder.path).state == "unfinished"
    (folder.path / "error.log").write_text("TooManyFaults: 9 of 10 samples were masked\n")
    os.utime(folder.metrics, (1000, 1000))
    assert read_run(folder.path).state == "failed"


def test_a_path_that_is_no_run_is_one_line_that_says_what_to_give(tmp_path):
    write_run(tmp_path / "tiny_cpu", [[siblings(0, response("3"))]])
    with pytest.raises(NotARun, match=r"tiny_cup is no folder; the nearest is .*tiny_cpu; give a folder that"):
        read_run(tmp_path / "tiny_cup")
    with pytest.raises(NotARun, match=r"neither config.json nor metrics.jsonl; it holds runs: .*tiny_cpu; give"):
        read_run(tmp_path)


def test_labels_are_as_short_as_they_can_be_and_all_different(tmp_path):
    paths = [tmp_path / "a" / "seed0", tmp_path / "b" / "seed0", tmp_path / "b" / "seed1"]
    assert labels_of(paths) == ["a/seed0", "b/seed0", "b/seed1"]
    assert labels_of(paths[1:]) == ["seed0", "seed1"]
    with pytest.raises(NotARun, match="seed1 is given twice"):
        labels_of([paths[2], *paths])
