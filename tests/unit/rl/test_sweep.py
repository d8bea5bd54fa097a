"""Which runs a sweep is, what of it is done, and what it shows."""

from __future__ import annotations

import json
import os
import signal
import sys
from io import StringIO
from pathlib import Path

import pytest
from rich.console import Console

from configs.load import ConfigError, to_json
from rl.page.stored import AVERAGED
from rl.provenance import git_state, start_facts
from rl.sweep import MAX_SILENT, STOPPED, _failure, _follow, _kills, _run_all, _wait, main
from rl.sweep_jobs import Job, check_files, job_of
from rl.sweep_plan import plan, values_of
from rl.sweep_table import result_of, table_of
from tests.run_folders import evaluation, response, siblings, write_run

TINY = """
num_steps = 2
[model]
source = "tiny"
context_length = 2048
[[gyms]]
name = "sums"
gym = "arithmetic"
"""


@pytest.fixture
def files(tmp_path: Path) -> list[Path]:
    (tmp_path / "base.toml").write_text(TINY)
    (tmp_path / "hot.toml").write_text('base = "base.toml"\n[rollout]\ntemperature = { start = 1.5 }\n')
    return [tmp_path / "base.toml", tmp_path / "hot.toml"]


@pytest.mark.parametrize(
    ("text", "values"),
    [
        ("0,1,2", ["0", "1", "2"]),
        ("[0.9,0.95]", ["[0.9,0.95]"]),
        ("[0.9,0.95],[0.8,0.9]", ["[0.9,0.95]", "[0.8,0.9]"]),
        ("{a=1,b=[2,3]}", ["{a=1,b=[2,3]}"]),
        ("'a,b',c", ["'a,b'", "c"]),
        ("", [""]),
    ],
)
def test_values_are_split_at_commas_that_stand_outside(text: str, values: list[str]) -> None:
    assert values_of(text) == values


def test_every_file_runs_with_every_combination_in_a_folder_of_its_own(files: list[Path], tmp_path: Path) -> None:
    runs = plan(files, ["seed=0,1", "learner.lr=1e-4,3e-4", "num_steps=5"], output=tmp_path / "runs")
    assert [run.config.name for run in runs[:3]] == ["base-seed0-lr1e_4", "base-seed0-lr3e_4", "base-seed1-lr1e_4"]
    assert len(runs) == 8 and len({run.folder for run in runs}) == 8
    last = runs[-1]
    assert (last.config.seed, last.config.learner.lr, last.config.num_steps) == (1, 3e-4, 5)
    assert last.config.rollout.temperature.start == 1.5 and last.label == "hot-lr3e_4"
    assert last.folder == tmp_path / "runs" / "hot-seed1-lr3e_4"


def test_what_cannot_be_a_sweep_is_refused_with_the_run_that_is_wrong(files: list[Path], tmp_path: Path) -> None:
    for overrides, told in (
        (["name=x"], "name cannot be set in a sweep"),
        (["seed=0,1", "seed=2"], "seed is given twice"),
        (["seed=0,0"], "two runs would be called base-seed0"),
        (["learner.lr=fast"], f"{files[0]}: learner.lr: got"),
    ):
        with pytest.raises(ConfigError, match=told.replace("[", ".")):
            plan(files, overrides, output=tmp_path)


def done(folder: Path, run, right: int, reward: float) -> None:
    groups = [siblings(0, response("3", reward))]
    written = write_run(folder, [groups, groups], evals=[evaluation("after RL", 2, right), evaluation(AVERAGED, 2, 0)])
    written.config.write_text(to_json(run.config))


def test_results_are_a_row_a_run_and_a_mean_over_seeds(files: list[Path], tmp_path: Path) -> None:
    runs = plan(files, ["seed=0,1"], output=tmp_path / "runs")
    done(runs[0].folder, runs[0], right=10, reward=0.25)
    done(runs[1].folder, runs[1], right=16, reward=0.75)
    write_run(runs[2].folder, [[siblings(0, response("3"))]], is_done=False)
    results = [result_of(run) for run in runs]
    assert [result.state for result in results] == ["done", "done", "unfinished", "missing"]
    assert (results[0].accuracy, results[1].reward, results[2].num_steps) == ({"sums": 0.5}, 0.75, 1)
    assert results[0].minutes == pytest.approx(2 * 7.0 / 60)
    console = Console(file=StringIO(), width=160)
    console.print(table_of(results))
    text = console.file.getvalue()
    (mean,) = [line for line in text.splitlines() if "base, mean of 2" in line]
    assert "0.500 +- 0.250" in mean and "0.650 +- 0.150" in mean
    assert "hot, mean" not in text and "2/2" in text and "0/2" in text


def test_a_run_that_was_made_longer_is_not_done(files: list[Path], tmp_path: Path) -> None:
    (run,) = plan(files[:1], [], output=tmp_path / "runs")
    done(run.folder, run, right=10, reward=0.25)
    (longer,) = plan(files[:1], ["num_steps=3"], output=tmp_path / "runs")
    assert (result_of(run).state, result_of(longer).state) == ("done", "unfinished")


def test_what_is_done_is_not_run_again_and_a_folder_of_other_settings_is_refused(
    files: list[Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (run,) = plan(files[:1], [], output=tmp_path / "runs")
    done(run.folder, run, right=10, reward=0.25)
    command = [str(files[0]), "--output", str(tmp_path / "runs")]
    assert main([*command, "--json"]) == 0
    captured = capsys.readouterr()
    assert captured.err == "[1/1] base: done already\n" and json.loads(captured.out)[0]["state"] == "done"
    assert main([*command, "seed=5"]) == 2
    told = capsys.readouterr().err
    assert "base: seed: the run has 0, now it is 5" in told and "or give another --output" in told
    assert main([*command, "seed=5", "--table"]) == 0


def test_a_dry_run_shows_the_commands(files: list[Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([*map(str, files), "seed=0,1", "--output", str(tmp_path), "--dry-run"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 4 and all(line.startswith("missing ") and "-m rl.train" in line for line in lines)


def test_a_job_is_the_same_command_with_files_named_from_the_directory_that_is_copied(
    files: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    (run,) = plan([files[1].absolute()], [], output=tmp_path / "runs")
    check_files([run])
    job = job_of(run, "http://127.0.0.1:8265")
    assert job.entrypoint == (
        "python", "-m", "rl.train", "hot.toml", "name=hot", f"run_dir={tmp_path / 'runs' / 'hot'}",
    )  # fmt: skip
    assert tuple(job.command[job.command.index("--") + 1 :]) == job.entrypoint and job.id in job.command
    assert job_of(run, "http://127.0.0.1:8265").id != job.id  # Ray refuses an id that it has seen
    assert main([str(files[1]), "--submit", "http://127.0.0.1:8265", "--dry-run"]) == 0
    assert "job submit --address http://127.0.0.1:8265 --submission-id hot-" in capsys.readouterr().out


def test_a_config_whose_base_would_not_be_in_the_copy_is_refused(
    files: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    inside = tmp_path / "inside"
    inside.mkdir()
    (inside / "cold.toml").write_text('base = "../base.toml"\n')
    monkeypatch.chdir(inside)
    assert main(["cold.toml", "--submit", "http://127.0.0.1:8265", "--dry-run"]) == 2
    assert f"base.toml is not in {inside}, of which jobs get a copy" in capsys.readouterr().err
    assert main(["cold.toml", "--dry-run"]) == 0


def test_a_job_that_ended_well_counts_as_failed_until_its_run_is_done(files: list[Path], tmp_path: Path) -> None:
    missing, _ = plan(files, [], output=tmp_path / "runs")
    assert "left nothing in" in _failure(missing, 0, is_job=True) and "share" in _failure(missing, 0, is_job=True)
    assert not _failure(missing, 0, is_job=False) and _failure(missing, 2, is_job=True) == "failed with exit status 2"
    write_run(missing.folder, [[siblings(0, response("3"))]], is_done=False)
    assert _failure(missing, 0, is_job=True) == "its job ended, and it is unfinished"  # as after `ray job stop`
    done(missing.folder, missing, right=10, reward=0.25)
    assert not _failure(missing, 0, is_job=True)


RAY = """\
#!/bin/sh
echo "$2" >> {folder}/asked
case "$2" in
  submit) exit {code} ;;
  status)
    answer=$(head -n 1 {folder}/answers)
    sed -i 1d {folder}/answers
    printf '%b\n' "$answer"
    test "$answer" != "no route" ;;
esac
"""
"""A program `ray` whose submissions end at once, with an exit status; of the job it says one line after another."""


@pytest.mark.parametrize(
    ("code", "answers", "expected", "asked"),
    [
        (0, ["Job 'j' succeeded"], 0, "submit status"),
        (1, ["Job 'j' failed\\nStatus message: Job j does not exist"], 1, "submit status"),
        (1, ["Job j does not exist"], 1, "submit status"),  # it was never submitted
        (0, ["Job 'j' was stopped"], 0, "submit status"),  # then the run's folder says that it is not done
        (1, ["Status for job 'j': PENDING", "Status for job 'j': RUNNING", "Job 'j' succeeded"], 0,
         "submit status logs status logs status"),
        (0, ["Status for job 'j': RUNNING", "Job 'j' failed"], 1, "submit status logs status"),  # it ended politely
        (1, ["no route", "no route", "Status for job 'j': RUNNING", "no route", "Job 'j' succeeded"], 0,
         "submit status status status logs status status"),
        (1, [], 1, " ".join(["submit", *["status"] * (MAX_SILENT + 1)])),
    ],
)  # fmt: skip
def test_a_job_whose_log_breaks_off_is_followed_until_the_cluster_says_that_it_ended(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str],
    code: int, answers: list[str], expected: int, asked: str,
) -> None:  # fmt: skip
    (tmp_path / "answers").write_text("".join(f"{answer}\n" for answer in answers))
    (tmp_path / "ray").write_text(RAY.format(folder=tmp_path, code=code))
    (tmp_path / "ray").chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(tmp_path / "python"))
    job = Job(id="j", address="http://head:8265", entrypoint=("true",))
    assert _follow(job, "[1/1] j", pause_seconds=0.0) == (expected, False)
    assert (tmp_path / "asked").read_text().split() == asked.split()
    told = capsys.readouterr().err
    assert told.count("its log broke off, and job j goes on; following it again") == int("logs" in asked)
    assert ("it may still run: ray job stop --address http://head:8265 j" in told) == (not answers)


def test_ctrl_c_is_told_and_left_to_the_command() -> None:
    press = "import os, signal, sys; os.kill(os.getppid(), signal.SIGINT); sys.exit(3)"
    assert _wait([sys.executable, "-c", press]) == (3, True)
    assert _wait([sys.executable, "-c", ""]) == (0, False)


KILLED = """
import os, signal, sys, time
from pathlib import Path
Path(sys.argv[1]).write_text(str(os.getpid()))
time.sleep(1)  # until whoever started this waits for it
os.kill(os.getppid(), signal.SIGTERM)
time.sleep(600)
"""


def test_a_kill_of_the_sweep_kills_its_run(tmp_path: Path) -> None:
    with pytest.raises(SystemExit) as caught, _kills():
        _wait([sys.executable, "-c", KILLED, str(tmp_path / "pid")])
    assert caught.value.code == 128 + signal.SIGTERM
    with pytest.raises(ProcessLookupError):
        os.kill(int((tmp_path / "pid").read_text()), 0)


def test_a_kill_of_the_sweep_stops_its_job(files: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ray = f'echo "$2" >> {tmp_path}/asked\n[ "$2" = stop ] || {{ sleep 1; kill -TERM $PPID; exec sleep 600; }}\n'
    (tmp_path / "ray").write_text(f"#!/bin/sh\n{ray}")
    (tmp_path / "ray").chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(tmp_path / "python"))
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit), _kills():
        _run_all(plan(files, [], output=tmp_path / "runs"), submit="http://head:8265")
    assert (tmp_path / "asked").read_text().split() == ["submit", "stop"]


def test_ctrl_c_ends_the_sweep_whatever_its_run_made_of_it(
    files: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    program = tmp_path / "python"
    program.write_text(f"#!/bin/sh\necho started >> {tmp_path}/asked\nkill -INT $PPID\nexit 1\n")
    program.chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(program))
    assert _run_all(plan(files, [], output=tmp_path / "runs"), submit=None) == STOPPED
    assert (tmp_path / "asked").read_text().split() == ["started"]


def test_a_start_says_what_it_was_made_with(tmp_path: Path) -> None:
    facts = start_facts(step=3, arguments=["k2rl", "train", "a b.toml"])
    assert facts["step"] == 3 and facts["command"] == "k2rl train 'a b.toml'"
    assert facts["libraries"]["numpy"] and json.loads(json.dumps(facts)) == facts
    assert git_state(tmp_path) is None
