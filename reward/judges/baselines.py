"""Judges that know nothing, to measure others against: the longer answer, the first one, a coin."""

from __future__ import annotations

import hashlib
from collections.abc import Callable

from gyms.critic.verdict import Outcome
from reward.judges.api import Comparison, JudgeCost, Pair

__all__ = ["Baseline", "first", "longer", "random"]


class Baseline:
    """A judge that is a pure function of the pair."""

    def __init__(self, name: str, decide: Callable[[Pair], Outcome]) -> None:
        self.name = name
        self.cost = JudgeCost()
        self._decide = decide

    async def compare(self, pair: Pair) -> Comparison:
        """What the function says."""
        return Comparison(outcome=self._decide(pair))


def longer() -> Baseline:
    """Prefers the answer with more characters; a tie where they have the same number."""

    def decide(pair: Pair) -> Outcome:
        difference = len(pair.first) - len(pair.second)
        return Outcome.FIRST if difference > 0 else Outcome.SECOND if difference else Outcome.TIE

    return Baseline("longer", decide)


def first() -> Baseline:
    """Prefers whatever stands first: in both orders together, always a tie."""
    return Baseline("first", lambda pair: Outcome.FIRST)


def random(seed: int) -> Baseline:
    """Throws a coin for each order; the same coin for the same texts."""

    def decide(pair: Pair) -> Outcome:
        digest = hashlib.blake2b(digest_size=1)
        for part in (str(seed), pair.question, pair.first, pair.second):
            raw = part.encode("utf-8", "surrogatepass")
            digest.update(len(raw).to_bytes(8, "big") + raw)
        return Outcome.FIRST if digest.digest()[0] & 1 else Outcome.SECOND

    return Baseline(f"random:{seed}", decide)
