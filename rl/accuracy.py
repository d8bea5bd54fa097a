"""Held-out evaluation: the same tasks every time, greedy and sampled, with standard errors and intervals.

Accuracy is the mean score value; faults of the model and truncated responses count 0, and samples that failed through
our own fault are left out. Scores come through the same gym and scorer as rewards. With k samples a task, `sampled` is
avg@k and `best` is pass@k; a task is one observation of each, since its k samples are no independent tasks. pass@k is
of tasks whose k samples all count: the best of fewer would be less than the best of k, and no estimate of it from fewer
is without bias. `heavy` is what one more attempt gets that sees answers of the k (rl/heavy.py).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from statistics import fmean
from typing import Any

from gyms.mixture import Draw
from reward.rules import TruncationRule
from reward.together import together
from rl.batch import Group, ScoredSample
from rl.collect import Policy, ScoresResponses, collect
from rl.heavy import aggregated
from rl.intervals import interval

__all__ = ["Accuracy", "GymResult", "eval_metrics", "evaluate", "gym_results", "without_nan"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Accuracy:
    """A mean and how sure it is."""

    mean: float
    """In [0, 1]."""
    stderr: float
    """Standard error of the mean: sqrt(variance / n)."""
    num: int
    """Tasks counted."""
    low: float
    high: float
    """Ends of the 95 % interval (`rl.intervals`)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class GymResult:
    """One gym's evaluation."""

    greedy: Accuracy
    sampled: Accuracy
    """avg@k: the mean over tasks of the mean of their k samples."""
    best: Accuracy | None
    """pass@k: the mean over tasks of the best of their k samples, where all k count; None where k is 1, as it then is
    `sampled`."""
    heavy: Accuracy | None
    """Of one attempt a task that saw the answers of several; None where there was none."""
    length_mean: float
    """Mean length of the greedy responses, in tokens."""
    truncated_frac: float
    """Greedy responses that ran into their budget."""
    masked_frac: float
    """Responses left out because scoring them failed."""
    greedy_values: Mapping[str, float] = field(default_factory=dict)
    """What each task counted for in `greedy`, by its id: for comparisons task by task."""

    def row(self) -> dict[str, Any]:
        """As plain data, for files; without the values of single tasks. A number that could not be had is None."""
        return without_nan({key: value for key, value in asdict(self).items() if key != "greedy_values"})


async def evaluate(
    policy: Policy,
    scorer: ScoresResponses,
    draws: Sequence[Draw],
    *,
    temperature: float,
    seed: int,
    samples_per_task: int = 1,
    heavy: int = 0,
    on_group: Callable[[Group], None] = lambda group: None,
) -> dict[str, GymResult]:
    """Greedy and sampled accuracy of every gym on its held-out draws, both at once, then heavy mode.

    Args:
        temperature: of the sampled responses.
        seed: of the run; samples are the same function of (seed, task) at every evaluation.
        samples_per_task: k, sampled responses a task.
        heavy: sampled responses that one more attempt is shown; 0: there is none.
    """

    def run(key: str, at: float, num_samples: int, asked: Sequence[Draw] = draws) -> Any:
        return collect(
            policy, scorer, asked, samples_per_prompt=num_samples, temperature=at, seed=seed, key=key,
            truncation=TruncationRule(), minimum=lambda gym: 0.0, on_group=on_group,
        )  # fmt: skip

    greedy, sampled = await together([run("eval-greedy", 0.0, 1), run("eval-sampled", temperature, samples_per_task)])
    last = await run("eval-heavy", temperature, 1, aggregated(policy, sampled.groups, heavy)) if heavy else None
    return gym_results(greedy.groups, sampled.groups, last.groups if last else ())


def gym_results(greedy: Sequence[Group], sampled: Sequence[Group], heavy: Sequence[Group] = ()) -> dict[str, GymResult]:
    """Results by gym name; greedy and heavy groups hold one sample, sampled ones k >= 1."""
    results = {}
    for name in dict.fromkeys(group.draw.gym for group in greedy):
        cold = [g.samples[0] for g in greedy if g.draw.gym == name]
        ids = [g.draw.task.id for g in greedy if g.draw.gym == name]
        hot = [g.samples for g in sampled if g.draw.gym == name]
        whole = [samples for samples in hot if not any(s.score.status.is_masked for s in samples)]
        last = [g.samples for g in heavy if g.draw.gym == name]
        everything = [*cold, *(s for samples in (*hot, *last) for s in samples)]
        results[name] = GymResult(
            greedy=accuracy([(s,) for s in cold]),
            sampled=accuracy(hot),
            best=accuracy(whole, of=max) if max(map(len, hot)) > 1 else None,
            heavy=accuracy(last) if last else None,
            length_mean=sum(s.sample.num_sampled for s in cold) / len(cold),
            truncated_frac=sum(s.sample.is_truncated for s in cold) / len(cold),
            masked_frac=sum(s.score.status.is_masked for s in everything) / len(everything),
            greedy_values={
                task: s.score.value or 0.0 for task, s in zip(ids, cold, strict=True) if not s.score.status.is_masked
            },
        )
    return results


def eval_metrics(row: Mapping[str, Any]) -> dict[str, float | None]:
    """The numbers of a row of evals.jsonl that stand in metrics.jsonl too (`rl.metric_table`)."""
    return {
        f"eval/{name}/{key}_accuracy": result[key]["mean"]
        for name, result in row["gyms"].items()
        for key in ("greedy", "sampled", "heavy")
        if result.get(key) is not None
    }


def without_nan(value: Any) -> Any:
    """Tables with None in the place of NaN, which JSON does not have."""
    if isinstance(value, dict):
        return {key: without_nan(part) for key, part in value.items()}
    return None if isinstance(value, float) and math.isnan(value) else value


def accuracy(tasks: Sequence[Sequence[ScoredSample]], *, of: Callable[[Sequence[float]], float] = fmean) -> Accuracy:
    """Mean over tasks of the mean (or the best, `of=max`) score value of their samples; masked samples do not count."""
    counted = ([s.score.value or 0.0 for s in samples if not s.score.status.is_masked] for samples in tasks)
    values = [of(found) for found in counted if found]
    if not values:
        return Accuracy(mean=math.nan, stderr=math.nan, num=0, low=math.nan, high=math.nan)
    mean = math.fsum(values) / len(values)
    variance = math.fsum((v - mean) ** 2 for v in values) / len(values)
    low, high = interval(values)
    return Accuracy(mean=mean, stderr=math.sqrt(variance / len(values)), num=len(values), low=low, high=high)
