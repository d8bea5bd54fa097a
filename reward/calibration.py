"""Is the judge any good? It is asked about pairs whose better answer is known, and a gate says whether it counts.

Pairs come from groups with a verifiable reward (gyms/critic/pool.py): one answer was verified right, the other wrong.
Each is judged in both orders. A judge that is the policy itself may drift with it, so this is repeated every N steps;
while the accuracy is below a threshold the rubric rewards are masked, and the gate's `reason` says so.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from gyms.critic.pool import KnownPair
from gyms.critic.verdict import Outcome
from reward.critic_report import Match
from reward.judges.api import Compares, Comparison, JudgeFailed, Pair
from reward.rubric import Rubric
from reward.together import together

__all__ = [
    "Calibration",
    "CriticGate",
    "VerifiedPair",
    "auc",
    "calibrate",
    "compare_both_orders",
    "summarise",
    "verified_pairs",
]


@dataclass(frozen=True, slots=True, kw_only=True)
class VerifiedPair:
    """One question with an answer that was verified right and one that was verified wrong.

    Example:
        VerifiedPair(id="add/3/4/1f", question="What is 3 + 4?", right="7", wrong="8")
    """

    id: str
    question: str
    right: str
    wrong: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Calibration:
    """How a judge did on verified pairs. Fractions of decided pairs; None where nothing was decided."""

    num_pairs: int
    """Pairs asked."""
    num_failed: int
    """Pairs without a verdict in one order or both."""
    accuracy: float | None = None
    """A pair counts 1 where both orders name the right answer, 0 where both name the wrong one, 1/2 otherwise."""
    auc: float | None = None
    """Chance that a right answer was preferred in more of its two orders than a wrong one of any pair; ties 1/2."""
    flip_rate: float | None = None
    """Pairs whose two orders name different winners."""
    tie_rate: float | None = None
    """Pairs that ended in a tie, flips included."""
    position_bias: float | None = None
    """(verdicts for the first - for the second) / both, in [-1, 1]; 0: no preference."""
    length_bias: float | None = None
    """How much more often the longer answer was preferred than it was right, in [-1, 1], over single verdicts."""


class CriticGate:
    """Says whether the judge's verdicts count. Closed until the first calibration.

    Args:
        min_accuracy: least accuracy, in [0, 1]; one half is a coin.
        min_pairs: least decided pairs of a calibration for it to count.
        max_flip_rate: most pairs that may be decided by position, in [0, 1].
    """

    def __init__(self, *, min_accuracy: float = 0.6, min_pairs: int = 20, max_flip_rate: float = 1.0) -> None:
        self.min_accuracy = min_accuracy
        self.min_pairs = min_pairs
        self.max_flip_rate = max_flip_rate
        self.is_open = False
        self.step: int | None = None
        self.reason = "the judge was not calibrated yet: rubric rewards are masked until it is"
        self.last: Calibration | None = None

    def update(self, step: int, calibration: Calibration) -> None:
        """Open or close, by a calibration at `step`."""
        problems = []
        num_decided = calibration.num_pairs - calibration.num_failed
        if num_decided < self.min_pairs:
            problems.append(f"{num_decided} decided pairs, at least {self.min_pairs} are needed")
        elif calibration.accuracy is None or calibration.accuracy < self.min_accuracy:
            problems.append(f"accuracy {calibration.accuracy or 0.0:.3f} is below {self.min_accuracy:g}")
        if calibration.flip_rate is not None and calibration.flip_rate > self.max_flip_rate:
            problems.append(f"flip rate {calibration.flip_rate:.3f} is above {self.max_flip_rate:g}")
        self.is_open = not problems
        self.step = step
        self.last = calibration
        told = "; ".join(problems)
        self.reason = f"rubric rewards are masked since the calibration of step {step}: {told}" if problems else ""

    def metrics(self) -> dict[str, float]:
        """`judge/calibration_...` metrics of the last calibration, and whether the gate is open."""
        found = {"judge/gate_open": float(self.is_open)}
        for name, value in asdict(self.last).items() if self.last else ():
            if value is not None:
                found[f"judge/calibration_{name}"] = float(value)
        return found

    def state_dict(self) -> dict[str, Any]:
        """Plain data for a checkpoint."""
        last = asdict(self.last) if self.last else None
        return {"is_open": self.is_open, "step": self.step, "reason": self.reason, "last": last}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on from a checkpoint."""
        self.is_open, self.step, self.reason = bool(state["is_open"]), state["step"], str(state["reason"])
        self.last = Calibration(**state["last"]) if state["last"] else None


def verified_pairs(pairs: Iterable[KnownPair], *, max_pairs: int | None = None) -> list[VerifiedPair]:
    """What `calibrate` asks, of pairs from the critic gym's held-out pool; the newest `max_pairs`."""
    found = [VerifiedPair(id=pair.id, question=pair.question, right=pair.right, wrong=pair.wrong) for pair in pairs]
    return found if max_pairs is None else found[-max_pairs:]


async def calibrate(
    judge: Compares, pairs: Sequence[VerifiedPair], *, rubric: Rubric | None = None, key: str = "calibration"
) -> Calibration:
    """Ask the judge about every pair in both orders; concurrency is the judge's to bound.

    Args:
        rubric: what to judge by; None asks which answer is right.
        key: names the calibration (with its step), part of every call's seed and fence.
    """

    async def one(number: int, pair: VerifiedPair) -> Match:
        asked = Pair(key=f"{key}/{number}", question=pair.question, first=pair.right, second=pair.wrong, rubric=rubric)
        return await compare_both_orders(judge, asked)

    return summarise(await together([one(number, pair) for number, pair in enumerate(pairs)]))


async def compare_both_orders(judge: Compares, pair: Pair) -> Match:
    """One pair in both orders; a judge's failure is a result."""

    async def asked(order: str, first: str, second: str) -> Comparison | JudgeFailed:
        one = Pair(key=f"{pair.key}/{order}", question=pair.question, first=first, second=second, rubric=pair.rubric)
        try:
            return await judge.compare(one)
        except JudgeFailed as failure:
            return failure

    forward, backward = await together([asked("ab", pair.first, pair.second), asked("ba", pair.second, pair.first)])
    lengths = (len(pair.first), len(pair.second))
    return Match(first=0, second=1, forward=forward, backward=backward, num_chars=lengths)


def summarise(matches: Sequence[Match]) -> Calibration:
    """The calibration of matches whose first answer is the right one."""
    decided = [match for match in matches if match.outcome is not None]
    num_failed = len(matches) - len(decided)
    if not decided:
        return Calibration(num_pairs=len(matches), num_failed=num_failed)
    points = {Outcome.FIRST: 1.0, Outcome.TIE: 0.5, Outcome.SECOND: 0.0}
    said = [both for match in decided if (both := match.said) is not None]
    right = [(points[one] + points[other]) / 2 for one, other in said]
    return Calibration(
        num_pairs=len(matches),
        num_failed=num_failed,
        accuracy=sum(points[match.outcome] for match in decided if match.outcome) / len(decided),
        auc=auc(right, [1.0 - value for value in right]),
        flip_rate=sum(match.is_flip for match in decided) / len(decided),
        tie_rate=sum(match.outcome is Outcome.TIE for match in decided) / len(decided),
        position_bias=_position_bias(said),
        length_bias=_length_bias(decided),
    )


def auc(positives: Sequence[float], negatives: Sequence[float]) -> float:
    """Chance that a random positive exceeds a random negative, ties one half: the area under the ROC curve."""
    if not positives or not negatives:
        raise ValueError("auc needs at least one positive and one negative score")
    ordered = sorted([(value, 0) for value in negatives] + [(value, 1) for value in positives])
    rank_sum, place = 0.0, 0
    while place < len(ordered):
        end = place
        while end < len(ordered) and ordered[end][0] == ordered[place][0]:
            end += 1
        mean_rank = (place + 1 + end) / 2
        rank_sum += mean_rank * sum(label for _, label in ordered[place:end])
        place = end
    num = len(positives)
    return (rank_sum - num * (num + 1) / 2) / (num * len(negatives))


def _position_bias(said: Sequence[tuple[Outcome, Outcome]]) -> float:
    """Both entries are told of (right, wrong): the first call showed right first, the second wrong first."""
    firsts = sum((one is Outcome.FIRST) + (other is Outcome.SECOND) for one, other in said)
    seconds = sum((one is Outcome.SECOND) + (other is Outcome.FIRST) for one, other in said)
    return (firsts - seconds) / (firsts + seconds) if firsts + seconds else 0.0


def _length_bias(decided: Sequence[Match]) -> float | None:
    longer_said = longer_right = num_said = 0
    for match in decided:
        right_chars, wrong_chars = match.num_chars
        if right_chars == wrong_chars:
            continue
        for outcome in match.said or ():
            if outcome is not Outcome.TIE:
                num_said += 1
                longer_said += (outcome is Outcome.FIRST) == (right_chars > wrong_chars)
                longer_right += right_chars > wrong_chars
    return (longer_said - longer_right) / num_said if num_said else None
