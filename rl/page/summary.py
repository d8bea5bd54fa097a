"""What the samples of one step add up to, for the curves: bands of rewards and lengths, faults by cause. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby

from rl.page.bands import Band, percentile, reward_band
from rl.page.stored import StoredSample

__all__ = ["GATE_CLOSED", "StepSummary", "groups_of", "summary_of"]

GATE_CLOSED = "gate_closed"
"""A cause of its own: the judge was not asked, since its last calibration was too poor. No fault."""


@dataclass(frozen=True, kw_only=True, slots=True)
class StepSummary:
    """One step's samples, added up."""

    step: int
    num_samples: int
    rewards: Mapping[str, Band]
    """Mean reward by gym; of a gym whose samples are all masked there is none."""
    length: Band
    """Mean number of tokens; `low` and `high` are percentiles 10 and 90, no confidence band."""
    causes: Mapping[str, float]
    """Fraction of the samples by status, `ok` left out."""


def groups_of(samples: Sequence[StoredSample]) -> Iterator[list[StoredSample]]:
    """The siblings of each draw, of one step's samples in draw order."""
    for _, siblings in groupby(samples, key=lambda sample: sample.draw):
        yield list(siblings)


def summary_of(samples: Sequence[StoredSample]) -> StepSummary:
    """Of one step's samples, at least one, in draw order."""
    groups = list(groups_of(samples))
    rewards = {}
    for gym in sorted({sample.gym for sample in samples}):
        draws = [[s.reward for s in group if not s.is_masked] for group in groups if group[0].gym == gym]
        if (band := reward_band(draws)) is not None:
            rewards[gym] = band
    lengths = [sample.num_tokens for sample in samples]
    num = len(samples)
    causes = Counter(_cause(sample) for sample in samples if sample.status != "ok")
    return StepSummary(
        step=samples[0].step,
        num_samples=num,
        rewards=rewards,
        length=Band(sum(lengths) / num, percentile(lengths, 10), percentile(lengths, 90)),
        causes={cause: count / num for cause, count in sorted(causes.items())},
    )


def _cause(sample: StoredSample) -> str:
    return GATE_CLOSED if GATE_CLOSED in sample.flags else sample.status or "no status"
