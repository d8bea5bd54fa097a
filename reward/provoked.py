"""Whose fault it is that a judge takes no pair in which an answer stands: the answer's, or ours?

An endpoint's filter refuses a prompt for what stands in it; a judge with a limit (`judge.too_long = "fail"`) takes no
long text. Were that a mask, a policy could write what no judge takes where it has nothing better, and pay nothing. But
a pair that was refused does not say which of its two answers did it, or whether the question did.

So it is asked, by a control, as in scoring (reward/control.py): an answer of which every comparison ended so is put
beside a harmless one, and two harmless ones beside each other. Where these two are compared and the answer is not, the
answer did it. It is worth 0, and its pairs are nobody's comparisons. Everything else that fails stays no opinion.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import replace

from reward.critic_report import Match
from reward.judges.api import Cause, Comparison, JudgeFailed, Pair
from reward.rubric import Rubric

__all__ = ["provokers", "without"]

OF_A_TEXT: frozenset[Cause] = frozenset({"refused", "too_long"})
"""Why a judge takes no pair, whenever it is asked, for what stands in it."""
HARMLESS = ("I do not know.", "That is hard to say.")

Compare = Callable[[Sequence[Pair]], Awaitable[Sequence[Comparison | JudgeFailed]]]


async def provokers(
    compare: Compare, texts: Sequence[str], matches: Sequence[Match], *, key: str, question: str, rubric: Rubric
) -> frozenset[int]:
    """Numbers of the answers that the judge takes beside no other.

    Args:
        compare: asks about pairs.
        texts: the answers.
        matches: what came of their pairs.
        key: names the group.
    """
    suspects = [i for i in range(len(texts)) if _is_never_taken(i, matches)]
    if not suspects:
        return frozenset()
    asked = {f"control-{i}": texts[i] for i in suspects} | {"control": HARMLESS[1]}
    *found, control = await compare(
        [
            Pair(key=f"{key}/{name}", question=question, first=text, second=HARMLESS[0], rubric=rubric)
            for name, text in asked.items()
        ]
    )
    if isinstance(control, JudgeFailed):
        return frozenset()
    return frozenset(i for i, said in zip(suspects, found, strict=True) if _is_barred(said))


def without(players: frozenset[int], matches: Sequence[Match]) -> list[Match]:
    """The matches of all others, by their numbers among themselves."""

    def number(player: int) -> int:
        return player - sum(other < player for other in players)

    return [
        replace(match, first=number(match.first), second=number(match.second))
        for match in matches
        if not players & {match.first, match.second}
    ]


def _is_never_taken(player: int, matches: Sequence[Match]) -> bool:
    sides = [side for m in matches if player in (m.first, m.second) for side in (m.forward, m.backward)]
    return bool(sides) and all(map(_is_barred, sides))


def _is_barred(said: Comparison | JudgeFailed) -> bool:
    return isinstance(said, JudgeFailed) and said.cause in OF_A_TEXT
