"""Run folders as facts: what `rl.run_folder` wrote, read back whole, from a run that is done, killed or still going on.

Nothing here fails over what a kill leaves behind: a torn last line, a step without its row, a folder without any. What
could not be read is left out and said in `notes`, never guessed. Only a folder that is no run at all is an error. Old
and new runs lie side by side: a column that a version did not write has its neutral value, an unknown one is ignored.
"""

from __future__ import annotations

import difflib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from rl.page.stored import lines_of, number, step_of
from rl.run_folder import RunFolder

__all__ = ["NotARun", "RunRecord", "labels_of", "read_run"]

State = Literal["done", "failed", "unfinished"]


class NotARun(ValueError):
    """A path that is no run folder."""


@dataclass(frozen=True, kw_only=True, slots=True)
class RunRecord:
    """One run as its folder tells it, samples left in their files."""

    path: Path
    """Absolute."""
    config: Mapping[str, Any]
    """config.json as it is; empty where there is none."""
    steps: tuple[Mapping[str, Any], ...]
    """Rows of metrics.jsonl, one a step, by step."""
    evals: tuple[Mapping[str, Any], ...]
    """Rows of evals.jsonl, in the order in which they were made."""
    rollouts: tuple[Path, ...]
    """Files of samples, by step."""
    state: State
    """`done`: its last words are written. `failed`: an error ended it. `unfinished`: going on, killed or stopped."""
    error: str
    """The last line of error.log where it failed, else empty."""
    last_write: float
    """Seconds since the epoch when a row or a file of samples was written last; 0 where there is none."""
    notes: tuple[str, ...]
    """What could not be read, a sentence each."""


def read_run(path: Path) -> RunRecord:
    """The run in a folder.

    Raises:
        NotARun: the folder does not exist, or holds neither config.json nor metrics.jsonl.
    """
    folder = RunFolder(path.absolute())
    if not folder.config.is_file() and not folder.metrics.is_file():
        raise NotARun(_no_run(path))
    notes: list[str] = []
    config = _table(folder.config, notes)
    steps = {step: row for row in _rows(folder.metrics, notes) if (step := step_of(row)) is not None}
    evals = [
        row for row in _rows(folder.evals, notes) if step_of(row) is not None and isinstance(row.get("gyms"), dict)
    ]
    rollouts = sorted(file for file in folder.rollouts.glob("step_*.jsonl") if file.stem[5:].isdigit())
    final = _table(folder.final, notes) if folder.final.is_file() else None
    state, error = _state(folder, final, num_steps=len(steps), wanted_steps=number(config.get("num_steps")) or 0)
    written = [file.stat().st_mtime for file in (folder.metrics, *rollouts[-1:]) if file.is_file()]
    return RunRecord(
        path=folder.path,
        config=config,
        steps=tuple(steps[step] for step in sorted(steps)),
        evals=tuple(evals),
        rollouts=tuple(rollouts),
        state=state,
        error=error,
        last_write=max(written, default=0.0),
        notes=tuple(notes),
    )


def labels_of(paths: Sequence[Path]) -> list[str]:
    """A short name for each folder, all different: its last part, and as many parents as that takes."""
    parts = [path.absolute().parts for path in paths]
    for depth in range(1, max(map(len, parts), default=0) + 1):
        labels = ["/".join(one[-depth:]) for one in parts]
        if len(set(labels)) == len(labels):
            return labels
    raise NotARun(f"{_twice([str(path) for path in paths])} is given twice; name each run once")


def _twice(names: Sequence[str]) -> str:
    return next(name for name in names if names.count(name) > 1)


def _no_run(path: Path) -> str:
    wanted = "give a folder that `k2rl train` wrote (its run_dir), such as runs/tiny_cpu"
    if not path.is_dir():
        near = path.parent.iterdir() if path.parent.is_dir() else ()
        names = {other.name: other for other in near if other.is_dir()}
        nearest = difflib.get_close_matches(path.name, names, n=1)
        hint = f"; the nearest is {names[nearest[0]]}" if nearest else ""
        return f"{path} is no folder{hint}; {wanted}"
    inside = sorted(child for child in path.iterdir() if (child / "config.json").is_file() and child.is_dir())
    runs = [child for child in inside if (child / "metrics.jsonl").is_file() or (child / "rollouts").is_dir()]
    hint = f"; it holds runs: {' '.join(map(str, runs[:4]))}" if runs else ""
    return f"{path} is no run: it has neither config.json nor metrics.jsonl{hint}; {wanted}"


def _state(
    folder: RunFolder, final: Mapping[str, Any] | None, *, num_steps: int, wanted_steps: float
) -> tuple[State, str]:
    if final is not None:
        last = number(final.get("num_steps")) or 0
        if num_steps >= last >= wanted_steps:  # else the run was made longer, and goes on
            return "done", ""
    log = folder.path / "error.log"
    if log.is_file() and not (folder.metrics.is_file() and folder.metrics.stat().st_mtime > log.stat().st_mtime):
        lines = [line for line in log.read_text(encoding="utf-8", errors="replace").splitlines() if line.strip()]
        return "failed", lines[-1].strip()[:500] if lines else "error.log is empty"
    return "unfinished", ""


def _table(file: Path, notes: list[str]) -> dict[str, Any]:
    try:
        found = json.loads(file.read_bytes())
    except FileNotFoundError:
        notes.append(f"There is no {file.name}.")
        return {}
    except (ValueError, RecursionError):
        found = None
    if not isinstance(found, dict):
        notes.append(f"{file.name} is not an object of JSON and was left out.")
        return {}
    return found


def _rows(file: Path, notes: list[str]) -> list[dict[str, Any]]:
    rows, num_bad = lines_of(file)
    if num_bad:
        notes.append(f"{num_bad} lines of {file.name} could not be read and were left out.")
    return rows
