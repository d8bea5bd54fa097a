"""Files of success rates: what `python -m rl.difficulty` measures and `rollout.prompts.rates` reads.

One JSON object a line: `{"gym": name, "task": id, "rate": mean score in [0, 1], "right_lengths": [tokens, ...], ...}`.
The lengths of right responses, from which Toggle takes budgets, may be missing, and so may "problem", a hash of what
the task asked: an id such as train/7 is another task's in another version of the data. Other keys are for people. A
later line of a task takes the place of an earlier one, so that files of several models or days can be put behind each
other.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from gyms.api import Gym, Task
from gyms.mixture import GymEntry
from rl.sampling import Rates
from rl.toggle import Budgets, quantile

__all__ = ["Known", "check_problems", "in_range", "problem_of", "read_rates"]

MAX_COMPARED = 10_000
"""Train tasks of a gym that are compared with what was measured, spread evenly."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Known:
    """What is known of tasks before a run."""

    rates: Rates = field(default_factory=dict)
    right_lengths: dict[str, dict[str, list[int]]] = field(default_factory=dict)
    """Tokens of right responses by gym and task id; of tasks that have any."""
    problems: dict[str, dict[str, str]] = field(default_factory=dict)
    """What `problem_of` made of tasks when they were measured, by gym and task id; of lines that have it."""

    @property
    def digest(self) -> str:
        """16 hexadecimal digits that change with what is known."""
        facts = json.dumps([self.rates, self.right_lengths], sort_keys=True)
        return hashlib.sha256(facts.encode()).hexdigest()[:16]

    def budgets(self, share: float) -> Budgets:
        """Token budgets: this quantile of the lengths of right responses."""
        return {
            gym: {task: quantile(lengths, share) for task, lengths in tasks.items()}
            for gym, tasks in self.right_lengths.items()
        }


def read_rates(file: Path, gyms: Sequence[str]) -> Known:
    """What a file knows of these gyms' tasks; lines of other gyms are left out.

    Raises:
        ValueError: it cannot be read, a line is none of rates, or it says nothing of these gyms.
    """
    try:
        lines = file.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise ValueError(
            f"rollout.prompts.rates = {file} cannot be read ({error}); `python -m rl.difficulty` makes such a file"
        ) from error
    found = Known()
    for number, line in enumerate(lines, start=1):
        row = _row(line, f"rollout.prompts.rates = {file}, line {number}") if line.strip() else {"gym": None}
        if row["gym"] in gyms:
            found.rates.setdefault(row["gym"], {})[row["task"]] = float(row["rate"])
            for key, kept in (("right_lengths", found.right_lengths), ("problem", found.problems)):
                kept.get(row["gym"], {}).pop(row["task"], None)
                if row.get(key):
                    kept.setdefault(row["gym"], {})[row["task"]] = row[key]
    if not found.rates:
        raise ValueError(
            f"rollout.prompts.rates = {file} has no task of {', '.join(gyms)}; was it made for other gyms?"
        )
    return found


def _row(line: str, where: str) -> dict[str, Any]:
    wanted = 'wanted {"gym": name, "task": id, "rate": number from 0 to 1}'
    try:
        row = json.loads(line)
    except json.JSONDecodeError as error:
        raise ValueError(f"{where} is not JSON ({error}); {wanted}") from error
    is_row = isinstance(row, dict) and all(isinstance(row.get(key, ""), str) for key in ("gym", "task", "problem"))
    is_row = is_row and {"gym", "task"} <= set(row)
    rate = row.get("rate") if is_row else None
    lengths = row.get("right_lengths") or [] if is_row else []
    is_counts = isinstance(lengths, list) and all(isinstance(n, int) and n > 0 for n in lengths)
    if not is_counts or isinstance(rate, bool) or not isinstance(rate, int | float) or not 0.0 <= rate <= 1.0:
        raise ValueError(f"{where}: got {line[:80]}, {wanted}")
    return row


def problem_of(gym: Gym, task: Task) -> str:
    """16 hexadecimal digits that change with what makes a task the problem that it is."""
    return hashlib.sha256(gym.fingerprint(task).encode(errors="surrogatepass")).hexdigest()[:16]


def check_problems(known: Known, gyms: Sequence[GymEntry]) -> None:
    """Tasks are still those that were measured under their ids, as far as the file says what those were.

    Raises:
        ValueError: some are not; names one.
    """
    for entry in gyms:
        measured, tasks = known.problems.get(entry.name), entry.gym.tasks("train")
        if not measured:
            continue
        num = min(len(tasks), MAX_COMPARED)
        compared = (tasks[i * len(tasks) // num] for i in range(num))
        changed = [t.id for t in compared if t.id in measured and measured[t.id] != problem_of(entry.gym, t)]
        if changed:
            raise ValueError(
                f"rollout.prompts.rates: {len(changed)} tasks of gym {entry.name!r} ask something else than when they "
                f"were measured ({changed[0]!r} is one): its data or its settings are others; measure them anew with "
                "`python -m rl.difficulty`, or delete their lines"
            )


def in_range(rates: Mapping[str, Mapping[str, float]], gym: str, task: Task, *, low: float, high: float) -> bool:
    """Whether a task may be asked; one without a rate may."""
    rate = rates.get(gym, {}).get(task.id)
    return rate is None or low <= rate <= high
