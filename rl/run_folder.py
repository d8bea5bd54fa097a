"""The run folder: where everything a run leaves behind lies, and how it is written so that a kill never tears it.

    config.json        the resolved config            metrics.jsonl   one row a step (docs/metrics.md)
    rollouts/          every sample, a file a step     evals.jsonl     one row an evaluation
    checkpoints/       step_<n>/ folders               base/           the built model (model.source = "tiny")
    initial_int4/      what the engines start from     export/         the final INT4 folder
    final.json         written last, when the run is done
    starts.jsonl       one row a start: commit, versions, machine, command
    .lock              while a run goes on, who runs it (rl/run_lock.py)

Rows of steps that a resumed or rewound run will do again are dropped before it goes on, so every step has one row.

A verifier may find half a surrogate pair in an answer, which UTF-8 cannot hold: it is written as JSON's escape of it.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

__all__ = ["LEARNER_FILE", "LEARNER_FOLDER", "RunFolder", "write_atomically"]

LEARNER_FILE, LEARNER_FOLDER = "learner.pt", "learner"
"""In a checkpoint, of a learner that is alone, and of one of several ranks (`rl.learner_state`)."""

ESCAPED = "backslashreplace"
"""Of a surrogate, Python's escape and JSON's are the same: \\ud800."""


def write_atomically(path: Path, text: str) -> None:
    """Write a file whole or not at all: beside its place, flushed to disk, then renamed."""
    temporary = path.with_name(f".{path.name}.partial")
    with temporary.open("w", encoding="utf-8", errors=ESCAPED) as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    temporary.replace(path)


class RunFolder:
    """Paths and files of one run."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.config = path / "config.json"
        self.metrics = path / "metrics.jsonl"
        self.evals = path / "evals.jsonl"
        self.rollouts = path / "rollouts"
        self.checkpoints = path / "checkpoints"
        self.base = path / "base"
        self.initial_int4 = path / "initial_int4"
        self.export = path / "export"
        self.export_ema = path / "export_ema"
        self.final = path / "final.json"
        self.starts = path / "starts.jsonl"

    def create(self) -> None:
        """Make the folders that are missing."""
        for folder in (self.path, self.rollouts, self.checkpoints):
            folder.mkdir(parents=True, exist_ok=True)

    def append(self, file: Path, row: Mapping[str, Any]) -> None:
        """Add one row to a JSONL file and flush it to disk."""
        with file.open("a", encoding="utf-8", errors=ESCAPED) as out:
            out.write(json.dumps(row, ensure_ascii=False) + "\n")
            out.flush()
            os.fsync(out.fileno())

    def rows(self, file: Path) -> list[dict[str, Any]]:
        """Complete rows of a JSONL file; a last line that a kill cut short is left out."""
        if not file.is_file():
            return []
        found = []
        for line in file.read_bytes().split(b"\n")[:-1]:  # not splitlines(): text may hold U+2028; what is last is torn
            found.append(json.loads(line))
        return found

    def write_rollouts(self, step: int, rows: Sequence[Mapping[str, Any]]) -> None:
        """Every sample of a step, in draw order."""
        text = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
        write_atomically(self.rollouts_of(step), text)

    def rollouts_of(self, step: int) -> Path:
        """Where the samples of a step are."""
        return self.rollouts / f"step_{step:06d}.jsonl"

    def drop_from(self, step: int, *, num_evals: int) -> None:
        """Forget rows of this step and later ones, and evaluations after the first `num_evals`."""
        kept = [row for row in self.rows(self.metrics) if row["step"] < step]
        write_atomically(self.metrics, "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in kept))
        evals = self.rows(self.evals)[:num_evals]
        write_atomically(self.evals, "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in evals))
        for file in self.rollouts.glob("step_*.jsonl"):
            if int(file.stem.removeprefix("step_")) >= step:
                file.unlink()
