"""A run of a sweep as a job on a Ray cluster: `ray job submit`, which follows the job's log and ends as the job does.

The job works in a copy of the directory that the sweep was started in, so its config and that one's bases must lie
there, and are named from there. The command that follows a job is not the job: when Ctrl-C ends it, the job is stopped
with a command of its own, since it would train on otherwise, beside the next sweep's. When its connection breaks, that
says nothing of the job either: the cluster is asked, and the job followed again (rl/sweep.py).
"""

from __future__ import annotations

import re
import secrets
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from configs.files import layers
from configs.load import ConfigError
from rl.sweep_plan import SweepRun

__all__ = ["ENDED", "Job", "check_files", "job_of"]

STOP_SECONDS = 60.0
"""Until a cluster that is asked to stop a job counts as gone."""
STATUS_SECONDS = 60.0
"""Until one that is asked how a job is has not answered."""
ENDED = ("SUCCEEDED", "FAILED", "STOPPED", "MISSING")
"""What becomes of jobs, in Ray's words; missing: the cluster knows no such job, for it was never submitted."""
_SAID = {"succeeded": "SUCCEEDED", "failed": "FAILED", "was stopped": "STOPPED", "does not exist": "MISSING"}
"""What `ray job status`, which has no form for programs, says of a job that has ended."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """A job that is submitted, followed and stopped under a name of its own."""

    id: str
    """Ray's submission id; another one at every submission, as Ray wants it."""
    address: str
    """Of the cluster's dashboard."""
    entrypoint: tuple[str, ...]
    """What it runs."""

    @property
    def command(self) -> list[str]:
        """Submits and follows it."""
        where = ("--address", self.address, "--submission-id", self.id, "--working-dir", ".")
        return [_ray(), "job", "submit", *where, "--", *self.entrypoint]

    @property
    def follow(self) -> list[str]:
        """Shows the log of what was submitted, from its beginning, until the job ends."""
        return [_ray(), "job", "logs", "--follow", "--address", self.address, self.id]

    def status(self) -> str | None:
        """Ray's word for how it is: PENDING, RUNNING, or one of `ENDED`; None: the cluster does not say."""
        command = [_ray(), "job", "status", "--address", self.address, self.id]
        try:
            told = subprocess.run(command, check=False, capture_output=True, text=True, timeout=STATUS_SECONDS)
        except subprocess.TimeoutExpired:
            return None
        return _status_in(told.stdout + told.stderr)

    def stop(self) -> bool:
        """Ask the cluster to stop it; whether it did."""
        command = [_ray(), "job", "stop", "--address", self.address, self.id]
        try:
            return subprocess.run(command, check=False, timeout=STOP_SECONDS).returncode == 0
        except subprocess.TimeoutExpired:
            return False


def _status_in(text: str) -> str | None:
    if going := re.search(r"Status for job '.*': (PENDING|RUNNING)", text):
        return going[1]
    return next((status for words, status in _SAID.items() if re.search(rf"Job \S+ {words}", text)), None)


def job_of(run: SweepRun, address: str) -> Job:
    """The run as a job; its files have passed `check_files`."""
    entrypoint = ("python", "-m", "rl.train", _from_here(run.file).as_posix(), *run.overrides)
    return Job(id=f"{run.config.name}-{secrets.token_hex(4)}", address=address, entrypoint=entrypoint)


def check_files(runs: Sequence[SweepRun]) -> None:
    """Refuse configs that would not be in the copy that jobs work in.

    Raises:
        ConfigError: one, or a base of one, lies outside of the current directory.
    """
    for file in dict.fromkeys(run.file for run in runs):
        for one, _ in layers(file):
            if not one.resolve().is_relative_to(Path.cwd().resolve()):
                raise ConfigError(
                    f"--submit: {one} is not in {Path.cwd()}, of which jobs get a copy; start the sweep from a "
                    "directory that holds it"
                )


def _from_here(file: Path) -> Path:
    return file.resolve().relative_to(Path.cwd().resolve())


def _ray() -> str:
    return str(Path(sys.executable).with_name("ray"))
