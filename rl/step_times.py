"""Where a step's seconds went, and how long the rest of a run will take. Pure functions of rows of metrics.jsonl."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from statistics import median
from typing import Any

from rl.metric_table import PHASES

__all__ = ["WITHIN", "own_seconds", "seconds_left", "seconds_of"]

WITHIN = {"generate": ("start", "rollout", "eval", "calibrate"), "learn": ("old_logprobs", "update", "pack")}
"""Phases that hold others (docs/metrics.md): what is left of them is shown as their own."""
WINDOW = 5
"""Steps whose times say how long the next ones take."""


def own_seconds(row: Mapping[str, Any]) -> dict[str, float]:
    """Seconds of each phase without those of the phases inside it: they add up to the step.

    What was drawn ahead took its time beside the learner's turn of the step before: it is left out.
    """
    seconds = {name: _number(row.get(f"phase/{name}_seconds")) for name in PHASES if name != "ahead"}
    for outer, inner in WITHIN.items():
        seconds[outer] = max(0.0, seconds[outer] - sum(seconds[name] for name in inner))
    return seconds


def seconds_of(row: Mapping[str, Any]) -> float:
    """Seconds of a whole step."""
    return math.fsum(own_seconds(row).values())


def seconds_left(rows: Sequence[Mapping[str, Any]], *, num_left: int, num_evals_left: int) -> float | None:
    """An estimate for the steps and evaluations that are to come; None where no step says anything yet.

    Engines start once: that counts for none. The first step also holds a warm-up: it counts only while it is alone, and
    without what the two turns are beside rollout and updates.

    Args:
        rows: of the steps that this process did, in order.
    """
    own = [own_seconds(row) for row in rows]
    if not own:
        return None
    left_out = ("eval", "start") if len(own) > 1 else ("eval", "start", "generate", "learn")
    evals = [one["eval"] for one in own if one["eval"]]
    step = median(
        math.fsum(value for name, value in one.items() if name not in left_out) for one in own[1:][-WINDOW:] or own
    )
    return step * num_left + (evals[-1] if evals else 0.0) * num_evals_left


def _number(value: Any) -> float:
    is_one = isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
    return float(value) if is_one else 0.0
