"""What came out of a sweep, from its run folders: a row a run, and means over runs that differ in their seed alone."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import fmean, stdev
from typing import Any

from rich.table import Table

from rl.page.folder import NotARun, RunRecord, read_run
from rl.page.stored import number, of_policy
from rl.step_times import seconds_of
from rl.sweep_plan import SweepRun

__all__ = ["Result", "result_of", "table_of"]

WINDOW = 5
"""Last steps whose mean reward is shown."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """One run of a sweep, as its folder tells it."""

    name: str
    label: str
    """Its name without the seed."""
    folder: Path
    state: str
    """`done`, `failed`, `unfinished` or `missing`."""
    num_steps: int
    """Steps that are done."""
    wanted_steps: int
    reward: float | None
    """Mean of reward/mean over the last `WINDOW` steps."""
    accuracy: dict[str, float]
    """Greedy held-out accuracy of the policy's last evaluation, by gym."""
    minutes: float
    """Of the steps' phases."""
    error: str
    """Why it failed."""

    def row(self) -> dict[str, Any]:
        """As plain data."""
        return asdict(self) | {"folder": str(self.folder)}


def result_of(run: SweepRun) -> Result:
    """What the folder of a run says now."""
    try:
        record = read_run(run.folder)
    except NotARun:
        record = None
    facts = {"name": run.config.name, "label": run.label, "folder": run.folder, "wanted_steps": run.config.num_steps}
    if record is None:
        return Result(**facts, state="missing", num_steps=0, reward=None, accuracy={}, minutes=0.0, error="")
    is_short = record.state == "done" and len(record.steps) < run.config.num_steps  # it was made longer
    return Result(
        **facts,
        state="unfinished" if is_short else record.state,
        num_steps=len(record.steps),
        reward=_last_reward(record),
        accuracy=_accuracy(record),
        minutes=math.fsum(seconds_of(row) for row in record.steps) / 60,
        error=record.error,
    )


def table_of(results: Sequence[Result]) -> Table:
    """A row a run; behind runs that differ in their seed alone, their mean and its standard error."""
    gyms = list(dict.fromkeys(gym for result in results for gym in result.accuracy))
    table = Table(title="sweep", title_justify="left")
    for column in ("run", "state", "steps", f"reward, last {WINDOW}", *(f"held-out {gym}" for gym in gyms), "minutes"):
        table.add_column(column, justify="left" if column in ("run", "state") else "right")
    for label in dict.fromkeys(result.label for result in results):
        mine = [result for result in results if result.label == label]
        for one in mine:
            state = one.state if not one.error else f"{one.state}: {one.error[:60]}"
            accuracy = (_told([one.accuracy.get(gym)]) for gym in gyms)
            steps = f"{one.num_steps}/{one.wanted_steps}"
            table.add_row(one.name, state, steps, _told([one.reward]), *accuracy, f"{one.minutes:.1f}")
        done = [one for one in mine if one.state == "done"]
        if len(done) > 1:
            accuracy = (_told([one.accuracy.get(gym) for one in done]) for gym in gyms)
            reward = _told([one.reward for one in done])
            table.add_row(f"{label}, mean of {len(done)}", "", "", reward, *accuracy, "", style="bold")
    return table


def _told(values: Sequence[float | None]) -> str:
    """One number, or the mean of several and its standard error."""
    found = [value for value in values if value is not None]
    if not found or len(found) < len(values):
        return "-"
    if len(found) == 1:
        return f"{found[0]:.3f}"
    return f"{fmean(found):.3f} +- {stdev(found) / math.sqrt(len(found)):.3f}"


def _last_reward(record: RunRecord) -> float | None:
    values = [value for row in record.steps[-WINDOW:] if (value := number(row.get("reward/mean"))) is not None]
    return fmean(values) if values else None


def _accuracy(record: RunRecord) -> dict[str, float]:
    evals = of_policy(record.evals)
    found = evals[-1]["gyms"] if evals else {}
    means = {gym: number(result["greedy"]["mean"]) for gym, result in found.items()}
    return {gym: mean for gym, mean in means.items() if mean is not None}
