"""How far a judge agrees with people, ties included.

People tie too: in published sets a fifth to a third of the pairs. So three outcomes are compared with three. The judge
is asked in both orders, and its outcome is a tie where the orders disagree. Pairs without a verdict are counted and
left out. Agreement alone flatters a judge that always says the commonest thing, which is why kappa stands beside it.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from gyms.critic.verdict import Outcome
from reward.critic_report import Match

__all__ = ["Agreement", "agreement"]

_OUTCOMES = (Outcome.FIRST, Outcome.SECOND, Outcome.TIE)


@dataclass(frozen=True, slots=True, kw_only=True)
class Agreement:
    """A judge against human labels. Fractions of the decided pairs; None where there is nothing to divide by."""

    num_pairs: int
    """Pairs asked."""
    num_failed: int
    """Pairs without a verdict in one order or both; in none of the fractions."""
    agreement: float | None = None
    """Judge and people say the same of first, second and tie."""
    agreement_stderr: float | None = None
    """Its standard error, sqrt(p (1 - p) / n)."""
    agreement_preferred: float | None = None
    """Over the pairs where people preferred one: 1 for the same, 1/2 for a tie of the judge, 0 for the other."""
    agreement_one_order: float | None = None
    """As `agreement`, of the file's order alone: what a judge without the swap would get."""
    kappa: float | None = None
    """Cohen's kappa of the three outcomes: 0 is chance, 1 is perfect."""
    human_tie_rate: float | None = None
    """Pairs that people tied."""
    judge_tie_rate: float | None = None
    """Pairs that the judge tied, by itself or by contradicting itself."""
    flip_rate: float | None = None
    """Pairs whose two orders name different winners."""
    position_bias: float | None = None
    """(verdicts for what stood first - for what stood second) / both, in [-1, 1]."""
    longer_rate: float | None = None
    """Of the pairs that the judge decided for an answer, those where it is the longer one."""
    human_longer_rate: float | None = None
    """The same of people."""
    confusion: tuple[tuple[int, int, int], ...] = ()
    """Pairs by human (row) and judge (column), each in the order first, second, tie."""


def agreement(labels: Sequence[Outcome], matches: Sequence[Match]) -> Agreement:
    """Agreement of a judge's matches with labels, both told of the same pairs in the same order."""
    if len(labels) != len(matches):
        raise ValueError(f"{len(labels)} labels and {len(matches)} matches; they must be the same pairs")
    decided = [
        (label, outcome, match)
        for label, match in zip(labels, matches, strict=True)
        if (outcome := match.outcome) is not None
    ]
    num_failed = len(matches) - len(decided)
    if not decided:
        return Agreement(num_pairs=len(matches), num_failed=num_failed)
    num = len(decided)
    table = [[sum(label is a and said is b for label, said, _ in decided) for b in _OUTCOMES] for a in _OUTCOMES]
    same = sum(table[i][i] for i in range(3)) / num
    preferred = [(label, outcome) for label, outcome, _ in decided if label is not Outcome.TIE]
    credit = [1.0 if label is outcome else 0.5 if outcome is Outcome.TIE else 0.0 for label, outcome in preferred]
    said = [both for _, _, match in decided if (both := match.said) is not None]
    firsts = sum((one is Outcome.FIRST) + (other is Outcome.SECOND) for one, other in said)
    seconds = sum((one is Outcome.SECOND) + (other is Outcome.FIRST) for one, other in said)
    return Agreement(
        num_pairs=len(matches),
        num_failed=num_failed,
        agreement=same,
        agreement_stderr=math.sqrt(same * (1.0 - same) / num),
        agreement_preferred=_ratio(sum(credit), len(credit)),
        agreement_one_order=sum(label is both[0] for (label, _, _), both in zip(decided, said, strict=True)) / num,
        kappa=_kappa(table),
        human_tie_rate=sum(table[2]) / num,
        judge_tie_rate=sum(row[2] for row in table) / num,
        flip_rate=sum(match.is_flip for _, _, match in decided) / num,
        position_bias=_ratio(firsts - seconds, firsts + seconds),
        longer_rate=_longer_rate([(outcome, match) for _, outcome, match in decided]),
        human_longer_rate=_longer_rate([(label, match) for label, _, match in decided]),
        confusion=tuple((row[0], row[1], row[2]) for row in table),
    )


def _kappa(table: Sequence[Sequence[int]]) -> float | None:
    num = sum(map(sum, table))
    observed = sum(table[i][i] for i in range(3)) / num
    chance = sum(sum(table[i]) * sum(row[i] for row in table) for i in range(3)) / num**2
    return _ratio(observed - chance, 1.0 - chance)


def _longer_rate(outcomes: Sequence[tuple[Outcome, Match]]) -> float | None:
    won = [
        (outcome is Outcome.FIRST) == (match.num_chars[0] > match.num_chars[1])
        for outcome, match in outcomes
        if outcome is not Outcome.TIE and match.num_chars[0] != match.num_chars[1]
    ]
    return _ratio(sum(won), len(won))


def _ratio(part: float, whole: float) -> float | None:
    return part / whole if whole else None
