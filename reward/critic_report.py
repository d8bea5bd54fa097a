"""What became of the comparisons: one match, and a step's counters for the report."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field

from gyms.api import Score, Status
from gyms.critic.verdict import Outcome
from reward.judges.api import Comparison, JudgeCost, JudgeFailed

__all__ = ["CriticReport", "Match"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Match:
    """Two answers, judged in both orders."""

    first: int
    """Number of one player."""
    second: int
    """Number of the other."""
    forward: Comparison | JudgeFailed
    """Said of (first, second)."""
    backward: Comparison | JudgeFailed
    """Said of (second, first), in that order."""
    num_chars: tuple[int, int] = (0, 0)
    """Lengths of the first and the second answer."""

    @property
    def outcome(self) -> Outcome | None:
        """The winner that both orders agree on, a tie where they do not, None where either has no verdict."""
        said = self.said
        if said is None:
            return None
        return said[0] if said[0] == said[1] else Outcome.TIE

    @property
    def said(self) -> tuple[Outcome, Outcome] | None:
        """What either order said, both told of (first, second)."""
        if isinstance(self.forward, JudgeFailed) or isinstance(self.backward, JudgeFailed):
            return None
        return self.forward.outcome, self.backward.outcome.swapped

    @property
    def is_flip(self) -> bool:
        """True where the orders name different winners: the judge went by position."""
        return self.said in ((Outcome.FIRST, Outcome.SECOND), (Outcome.SECOND, Outcome.FIRST))

    @property
    def flags(self) -> frozenset[str]:
        """Flags of both orders."""
        found = [side.flags for side in (self.forward, self.backward) if isinstance(side, Comparison)]
        return frozenset().union(*found)

    @property
    def failures(self) -> tuple[str, ...]:
        """Why there is no verdict."""
        return tuple(str(side) for side in (self.forward, self.backward) if isinstance(side, JudgeFailed))


@dataclass(slots=True)
class CriticReport:
    """Counters of a step; `metrics` makes them rows of the run's metrics."""

    num_groups: int = 0
    statuses: Counter[str] = field(default_factory=Counter)
    """Scores by status."""
    num_barred: int = 0
    """Scores of 0 for answers that the judge takes beside no other."""
    num_gated: int = 0
    """Scores masked because the gate is closed."""
    num_pairs: int = 0
    num_undecided: int = 0
    """Pairs without a verdict in one order or both."""
    num_flips: int = 0
    """Pairs whose two orders name different winners."""
    num_ties: int = 0
    """Decided pairs that ended in a tie, flips included."""
    num_first_said: int = 0
    """Verdicts for the answer that stood first."""
    num_second_said: int = 0
    """Verdicts for the answer that stood second."""
    num_longer_wins: int = 0
    """Pairs won by the longer answer."""
    num_shorter_wins: int = 0
    """Pairs won by the shorter answer."""
    cost: JudgeCost = field(default_factory=JudgeCost)
    """Calls, tokens, seconds, failures by cause."""

    def count_match(self, match: Match) -> None:
        """Add one pair."""
        self.num_pairs += 1
        outcome = match.outcome
        if outcome is None:
            self.num_undecided += 1
            return
        self.num_flips += match.is_flip
        self.num_ties += outcome is Outcome.TIE
        for side in (match.forward, match.backward):
            if isinstance(side, Comparison):
                self.num_first_said += side.outcome is Outcome.FIRST
                self.num_second_said += side.outcome is Outcome.SECOND
        first, second = match.num_chars
        if outcome is not Outcome.TIE and first != second:
            longer_won = (outcome is Outcome.FIRST) == (first > second)
            self.num_longer_wins += longer_won
            self.num_shorter_wins += not longer_won

    def count_scores(self, scores: Iterable[Score]) -> None:
        """Add one group's scores."""
        self.num_groups += 1
        for score in scores:
            self.statuses[str(score.status)] += 1
            self.num_gated += "gate_closed" in score.flags
            self.num_barred += "barred" in score.flags

    def metrics(self) -> dict[str, float]:
        """`judge/...` metrics; fractions only where they have a denominator."""
        decided = self.num_pairs - self.num_undecided
        num_said, num_length = self.num_first_said + self.num_second_said, self.num_longer_wins + self.num_shorter_wins
        failed = self.statuses[str(Status.JUDGE_FAILED)] - self.num_gated
        found: dict[str, float] = {
            "judge/groups": self.num_groups,
            "judge/pairs": self.num_pairs,
            "judge/masked": failed,
            "judge/gated": self.num_gated,
            "judge/barred": self.num_barred,
            "judge/calls": self.cost.num_calls,
            "judge/retries": self.cost.num_retries,
            "judge/prompt_tokens": self.cost.num_prompt_tokens,
            "judge/tokens": self.cost.num_tokens,
            "judge/seconds": self.cost.seconds,
        }
        for name, part, whole in (
            ("undecided_frac", self.num_undecided, self.num_pairs),
            ("flip_frac", self.num_flips, decided),
            ("tie_frac", self.num_ties, decided),
            ("position_bias", self.num_first_said - self.num_second_said, num_said),
            ("longer_wins_frac", self.num_longer_wins, num_length),
        ):
            if whole:
                found[f"judge/{name}"] = part / whole
        return found
