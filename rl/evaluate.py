"""Held-out evaluation: the same tasks every time, greedy and sampled, with standard errors.

Accuracy is the mean score value; faults of the model and truncated responses count 0, and samples that failed through
our own fault are left out. Scores come through the same gym and scorer as rewards.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from gyms.mixture import Draw
from reward.rules import TruncationRule
from rl.batch import Group, ScoredSample
from rl.collect import Policy, ScoresResponses, collect, gather_or_cancel

__all__ = ["Accuracy", "GymResult", "evaluate", "gym_results"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Accuracy:
    """A mean and how sure it is."""

    mean: float
    """In [0, 1]."""
    stderr: float
    """Standard error of the mean: sqrt(variance / n)."""
    num: int
    """Tasks counted."""


@dataclass(frozen=True, slots=True, kw_only=True)
class GymResult:
    """One gym's evaluation."""

    greedy: Accuracy
    sampled: Accuracy
    truncated_frac: float
    """Greedy responses that ran into their budget."""
    masked_frac: float
    """Responses left out because scoring them failed."""

    def row(self) -> dict[str, Any]:
        """As plain data, for files."""
        return asdict(self)


async def evaluate(
    policy: Policy,
    scorer: ScoresResponses,
    draws: Sequence[Draw],
    *,
    temperature: float,
    seed: int,
    on_group: Callable[[Group], None] = lambda group: None,
) -> dict[str, GymResult]:
    """Greedy and sampled accuracy of every gym on its held-out draws; both at once, one response each.

    Args:
        temperature: of the sampled responses.
        seed: of the run; samples are the same function of (seed, task) at every evaluation.
    """

    def run(key: str, heat: float) -> Any:
        return collect(
            policy, scorer, draws, samples_per_prompt=1, temperature=heat, seed=seed, key=key,
            truncation=TruncationRule(), minimum=lambda gym: 0.0, on_group=on_group,
        )  # fmt: skip

    greedy, sampled = await gather_or_cancel([run("eval-greedy", 0.0), run("eval-sampled", temperature)])
    return gym_results(greedy, sampled)


def gym_results(greedy: Sequence[Group], sampled: Sequence[Group]) -> dict[str, GymResult]:
    """Results by gym name; both lists hold one sample per group."""
    results = {}
    for name in dict.fromkeys(group.draw.gym for group in greedy):
        cold = [g.samples[0] for g in greedy if g.draw.gym == name]
        hot = [g.samples[0] for g in sampled if g.draw.gym == name]
        results[name] = GymResult(
            greedy=accuracy(cold),
            sampled=accuracy(hot),
            truncated_frac=sum(s.sample.is_truncated for s in cold) / len(cold),
            masked_frac=sum(s.score.status.is_masked for s in (*cold, *hot)) / (len(cold) + len(hot)),
        )
    return results


def accuracy(scored: Sequence[ScoredSample]) -> Accuracy:
    """Mean score value of the samples that were not masked."""
    values = [s.score.value or 0.0 for s in scored if not s.score.status.is_masked]
    if not values:
        return Accuracy(mean=math.nan, stderr=math.nan, num=0)
    mean = math.fsum(values) / len(values)
    variance = math.fsum((v - mean) ** 2 for v in values) / len(values)
    return Accuracy(mean=mean, stderr=math.sqrt(variance / len(values)), num=len(values))
