"""Files of success rates: what `python -m rl.difficulty` measures and `rollout.prompts.rates` reads.

One JSON object a line: `{"gym": name, "task": id, "rate": mean score in [0, 1], "num_samples": n, ...}`; other keys are
for people. A later line of a task takes the place of an earlier one, so that files of several models or days can be put
behind each other.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from gyms.api import Task
from rl.sampling import Rates

__all__ = ["in_range", "rates_digest", "read_rates"]


def read_rates(file: Path, gyms: Sequence[str]) -> Rates:
    """Rates by gym and task id; lines of other gyms are left out.

    Raises:
        ValueError: it cannot be read, a line is none of rates, or it says nothing of these gyms.
    """
    try:
        lines = file.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise ValueError(
            f"rollout.prompts.rates = {file} cannot be read ({error}); `python -m rl.difficulty` makes such a file"
        ) from error
    found: Rates = {}
    for number, line in enumerate(lines, start=1):
        if line.strip():
            row = _row(line, f"rollout.prompts.rates = {file}, line {number}")
            if row["gym"] in gyms:
                found.setdefault(row["gym"], {})[row["task"]] = float(row["rate"])
    if not found:
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
    is_row = isinstance(row, dict) and all(isinstance(row.get(key), str) for key in ("gym", "task"))
    rate = row.get("rate") if is_row else None
    if isinstance(rate, bool) or not isinstance(rate, int | float) or not 0.0 <= rate <= 1.0:
        raise ValueError(f"{where}: got {line[:80]}, {wanted}")
    return row


def in_range(rates: Mapping[str, Mapping[str, float]], gym: str, task: Task, *, low: float, high: float) -> bool:
    """Whether a task may be asked; one without a rate may."""
    rate = rates.get(gym, {}).get(task.id)
    return rate is None or low <= rate <= high


def rates_digest(rates: Rates) -> str:
    """16 hexadecimal digits that change with the rates."""
    return hashlib.sha256(json.dumps(rates, sort_keys=True).encode()).hexdigest()[:16]
