"""`k2rl sweep FILE.toml ... key=a,b`: a folder of experiments, one run after another, and a table of what came out.

Every run is a process of its own, `python -m rl.train FILE ...`, or with `--submit` a job on a Ray cluster
(rl/sweep_jobs.py); the next one starts when it has ended, which of a job only the cluster knows. What is done already
is left out and what was interrupted goes on, so the same command goes on with a sweep. A folder that holds a run of
other settings is refused before anything starts. A run that fails does not keep the others from running.

Exit status: 0 all runs are done; 1 one failed; 2 a config is not right, nothing was started; 130 Ctrl-C. A kill
ends the run, too.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import shlex
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

from rich.console import Console

from configs.load import ConfigError, check_same_run, from_json
from rl.sweep_jobs import ENDED, Job, check_files, job_of
from rl.sweep_plan import SweepRun, plan
from rl.sweep_table import Result, result_of, table_of

__all__ = ["main"]

DESCRIPTION = """\
Run a folder of experiments: every file with every combination of the listed values, one after another. What is done is
left out, what was interrupted goes on: run the same command again. Ends in a table."""

EPILOG = """\
examples:
  k2rl sweep configs/exp/*.toml seed=0,1,2                 each file with three seeds
  k2rl sweep configs/tiny_cpu.toml learner.lr=1e-4,3e-4    one file with two learning rates
  k2rl sweep configs/exp/*.toml seed=0,1 --dry-run         which runs these are, and which are done
  k2rl sweep configs/exp/*.toml seed=0,1 --table           what has come out so far
  k2rl sweep configs/exp/*.toml --submit http://127.0.0.1:8265 --output /shared/exp     as jobs on a Ray cluster

A comma inside brackets or quotes belongs to a value. Run folders are OUTPUT/NAME; `k2rl report OUTPUT/*` lays them over
each other. docs/sweep.md tells more."""
STOPPED = 130
PAUSE_SECONDS = 5.0
"""Before a job whose log broke off is followed again."""
MAX_SILENT = 12
"""Times that a cluster may leave a question for a job unanswered, one after another, before it counts as failed."""


def main(arguments: Sequence[str] | None = None, *, prog: str = "python -m rl.sweep") -> int:
    """Plan, run, show; the exit status."""
    parser = _parser(prog)
    options = parser.parse_intermixed_args(arguments)
    files = [Path(item) for item in options.items if "=" not in item]
    overrides = [item for item in options.items if "=" in item]
    if not files:
        parser.error("no config was given: FILE.toml [FILE.toml ...] [key.path=value,value ...]")
    try:
        runs = plan(files, overrides, output=options.output)
        if not options.table:
            _check_folders(runs)
        if options.submit is not None:
            check_files(runs)
    except ConfigError as error:
        print(f"not started: {error}", file=sys.stderr)
        return 2
    if options.dry_run:
        for run in runs:
            command = _train(run) if options.submit is None else job_of(run, options.submit).command
            print(f"{result_of(run).state:<10} {shlex.join(command)}")
        return 0
    with _kills():
        status = 0 if options.table else _run_all(runs, submit=options.submit)
    _show([result_of(run) for run in runs], is_json=options.json)
    return status


def _check_folders(runs: Sequence[SweepRun]) -> None:
    """Refuse to take an earlier run of other settings for one of these."""
    for run in runs:
        file = run.folder / "config.json"
        if file.is_file():
            try:
                check_same_run(from_json(file.read_text(encoding="utf-8")), run.config)
            except ConfigError as error:
                told = (f"{run.config.name}: {problem}" for problem in error.problems)
                raise ConfigError(*told, f"remove {run.folder}, or give another --output") from error


def _run_all(runs: Sequence[SweepRun], *, submit: str | None) -> int:
    """Run what is not done; 0, 1 where one failed, 130 where Ctrl-C ended it."""
    failed: list[str] = []
    for number, run in enumerate(runs, start=1):
        what = f"[{number}/{len(runs)}] {run.config.name}"
        if result_of(run).state == "done":
            print(f"{what}: done already", file=sys.stderr)
            continue
        job = None if submit is None else job_of(run, submit)
        command = _train(run) if job is None else job.command
        print(f"{what}: {shlex.join(command)}", file=sys.stderr)
        try:
            code, is_interrupted = _wait(command) if job is None else _follow(job, what)
        except SystemExit:  # of a kill
            if job is not None:
                _stop(job, what)
            raise
        if is_interrupted and job is not None:
            _stop(job, what)
        if is_interrupted or code in (STOPPED, -signal.SIGINT):
            print("stopped; run the same command to go on", file=sys.stderr)
            return STOPPED
        if reason := _failure(run, code, is_job=job is not None):
            failed.append(run.config.name)
            print(f"{what}: {reason}; going on with the next", file=sys.stderr)
    if failed:
        print(f"failed: {', '.join(failed)}", file=sys.stderr)
    return 1 if failed else 0


def _stop(job: Job, what: str) -> None:
    if not job.stop():
        told = f"{what}: job {job.id} may still run: ray job stop"
        print(f"{told} --address {job.address} {job.id}", file=sys.stderr)


def _failure(run: SweepRun, code: int, *, is_job: bool) -> str:
    """Why a run that ended is not done; empty: it is. A job that was stopped ends with 0, so the folder is asked."""
    if code:
        return f"failed with exit status {code}"
    state = result_of(run).state if is_job else "done"
    if state == "missing":
        return f"its job left nothing in {run.folder}: this machine and the cluster must share --output"
    return "" if state == "done" else f"its job ended, and it is {state}"


def _follow(job: Job, what: str, *, pause_seconds: float = PAUSE_SECONDS) -> tuple[int, bool]:
    """Submit a job and wait for its end: exit status, and whether Ctrl-C was pressed meanwhile.

    The command that follows it ends too when its connection does, with an error or without.
    """
    is_told, num_silent = False, 0
    with _presses() as pressed:
        code, is_interrupted = _wait(job.command)
        while not is_interrupted:
            status = job.status()
            if status in ENDED and not pressed:
                return {"SUCCEEDED": 0, "FAILED": code or 1}.get(status, code), False
            num_silent = 0 if status else num_silent + 1
            if num_silent > MAX_SILENT:
                told = f"{what}: the cluster does not say what became of job {job.id}; it may still run: ray job stop"
                print(f"{told} --address {job.address} {job.id}", file=sys.stderr)
                return code or 1, False
            if status and not (pressed or is_told):
                print(f"{what}: its log broke off, and job {job.id} goes on; following it again", file=sys.stderr)
                is_told = True
            time.sleep(0.0 if pressed else pause_seconds)
            if pressed:
                break
            if status:
                _, is_interrupted = _wait(job.follow)
    return code, True


@contextlib.contextmanager
def _kills() -> Iterator[None]:
    """A kill, or a terminal that is closed, leaves by an exception: then `subprocess.run` kills what it waits for."""

    def leave(number: int, _: object) -> None:
        raise SystemExit(128 + number)

    caught = [one for one in (signal.SIGTERM, signal.SIGHUP) if signal.getsignal(one) != signal.SIG_IGN]  # nohup
    before = {one: signal.signal(one, leave) for one in caught}
    try:
        yield
    finally:
        for one, handler in before.items():
            signal.signal(one, handler)


@contextlib.contextmanager
def _presses() -> Iterator[list[int]]:
    """What Ctrl-C sends meanwhile is noted, and ends nothing."""
    pressed: list[int] = []
    before = signal.signal(signal.SIGINT, lambda number, _: pressed.append(number))
    try:
        yield pressed
    finally:
        signal.signal(signal.SIGINT, before)


def _wait(command: Sequence[str]) -> tuple[int, bool]:
    """Run a command to its end: its exit status, and whether Ctrl-C was pressed meanwhile.

    Ctrl-C is its to handle: the terminal sends it to both, and a run saves a checkpoint.
    """
    with _presses() as pressed:
        return subprocess.run(command, check=False).returncode, bool(pressed)


def _train(run: SweepRun) -> list[str]:
    return [sys.executable, "-m", "rl.train", str(run.file), *run.overrides]


def _show(results: Sequence[Result], *, is_json: bool) -> None:
    if is_json:
        print(json.dumps([result.row() for result in results], indent=2))
        return
    console = Console(highlight=False, width=None if sys.stdout.isatty() else 160)
    console.print(table_of(results))
    if folders := [str(result.folder) for result in results if result.state != "missing"]:
        common = shlex.quote(os.path.commonpath([str(Path(folder).parent) for folder in folders]))
        console.print(f"see them over each other: k2rl report {common}/*", soft_wrap=True)


def _parser(prog: str) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog=prog, description=DESCRIPTION, epilog=EPILOG, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("items", nargs="+", metavar="FILE.toml | key.path=value,value", help="configs, and what varies")
    parser.add_argument(
        "--output", type=Path, default=Path("runs"), metavar="DIR", help="folder of the run folders (runs)"
    )
    parser.add_argument("--submit", metavar="ADDRESS", help="run them as jobs on the Ray cluster at this address")
    shown = parser.add_mutually_exclusive_group()
    shown.add_argument("--dry-run", action="store_true", help="show the runs and where they stand, start nothing")
    shown.add_argument("--table", action="store_true", help="show what has come out so far, start nothing")
    parser.add_argument("--json", action="store_true", help="the table as JSON")
    return parser


if __name__ == "__main__":
    sys.exit(main())
