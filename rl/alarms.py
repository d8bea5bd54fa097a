"""When a run had better stop: learner and engine disagree, or the policy has collapsed. Pure functions of its rows.

An alarm is looked at once a step, after the step is recorded; the run then saves a checkpoint and ends with the reason.
Since it reads nothing but rows of metrics.jsonl, a resumed run rings where an unbroken one would.

**The gap** (`alarm.max_gap`, on by default). Learner and engine hold the same weights, so what is left between their
log-probabilities is rounding: on SmolLM2 .047 nats a token with INT4 as with BF16, on mixtures of experts of up to 235
billion parameters .007 to .041 (LMSYS, SGLang, 2026). One code in 200 that is off by one makes it .135, a learner
without the grid .795 (docs/results.md). The default, .1, lies between; a step counts only where its
mean exceeds it by three standard errors, so that a few odd tokens of a small step stop nothing. It is wide, since
what is healthy differs between models and grows as the temperature falls: a small built model without the grid is only
.06 to .07 apart, where .01 is healthy. Who knows his model's gap sets the limit to a few times that. A step of which no
token is learned from (all its groups without spread) has no gap and rings nothing; nor has one that older weights drew
ahead (`rl.ahead`): there `rollout/stale_gap_mean` is to be looked at, with the updates since in it.

**Collapse** (off by default, because what is low depends on the task): the surprise of the sampled tokens, which
estimates the entropy, or the reward fell, as means over `alarm.window` steps.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from configs.schema import AlarmConfig

__all__ = ["WATCHED", "alarm_of"]

Rows = Sequence[Mapping[str, Any]]
WATCHED = ("step", "reward/mean", "rollout/surprise_mean", "rollout/logprob_gap_mean", "rollout/logprob_gap_stderr")
"""The numbers of a row that alarms look at."""
STANDARD_ERRORS = 3.0
"""By how many the mean gap of a step must exceed `alarm.max_gap`."""


def alarm_of(rows: Rows, settings: AlarmConfig) -> str | None:
    """Why the run should stop after the last of its steps, with the setting that says so; None where it should not.

    Args:
        rows: of metrics.jsonl, from the first step on; at least `WATCHED` of each.
    """
    return _gap(rows[-1], settings) or _surprise(rows, settings) or _reward(rows, settings)


def _gap(row: Mapping[str, Any], settings: AlarmConfig) -> str | None:
    mean, stderr = row["rollout/logprob_gap_mean"], row["rollout/logprob_gap_stderr"]
    if settings.max_gap is None or mean is None or mean - STANDARD_ERRORS * stderr <= settings.max_gap:
        return None  # a gap that is no number compares as False and rings
    return (
        f"learner and engine compute different policies: in step {row['step']} the log-probabilities of the sampled "
        f"tokens differ by {mean:.3g} +- {stderr:.2g} nats on average, more than alarm.max_gap = {settings.max_gap:g}; "
        "equal weights differ by rounding alone, a few hundredths. (Without quant.fake_quantize this is to be expected)"
    )


def _surprise(rows: Rows, settings: AlarmConfig) -> str | None:
    found = _means(rows, "rollout/surprise_mean", settings.window)
    if settings.min_surprise is None or not found or found[-1] >= settings.min_surprise:
        return None
    return (
        f"the policy has collapsed: over the last {settings.window} steps its tokens surprised it by {found[-1]:.3g} "
        f"nats on average, less than alarm.min_surprise = {settings.min_surprise:g}; it draws the same answers again "
        "and again"
    )


def _reward(rows: Rows, settings: AlarmConfig) -> str | None:
    found = _means(rows, "reward/mean", settings.window)
    if settings.max_reward_drop is None or not found or max(found) - found[-1] <= settings.max_reward_drop:
        return None
    return (
        f"the reward has collapsed: its mean over {settings.window} steps was {max(found):.3f} and is {found[-1]:.3f}, "
        f"a fall of more than alarm.max_reward_drop = {settings.max_reward_drop:g}"
    )


def _means(rows: Rows, name: str, window: int) -> list[float]:
    """Means over `window` steps that followed one another, of the steps that have the number."""
    values = [row[name] for row in rows if row.get(name) is not None]
    return [math.fsum(values[i : i + window]) / window for i in range(len(values) - window + 1)]
