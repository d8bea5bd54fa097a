"""Whose fault it is that a judge takes no pair in which an answer stands: the answer's, or ours?

An endpoint's filter refuses a prompt for what stands in it; a judge with a limit (`judge.too_long = "fail"`) takes no
long text. Were that a mask, a policy could write what no judge takes where it has nothing better, and pay nothing. But
a pair that was refused does not say which of its two answers did it, or whether the question did.

So it is asked, by a control, as in scoring (reward/control.py), where a judge compared an answer with no other and
refused it beside some: two harmless answers beside each other, and then the answer beside a harmless one. Where the
harmless are compared and the answer is refused, the answer did it. It is worth 0, and its pairs are nobody's
comparisons. Everything else that fails stays no opinion: also a context without room for a pair, which is ours.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Collection, Sequence
from dataclasses import replace
from typing import TypeGuard

from reward.critic_report import Match
from reward.judges.api import Cause, Comparison, JudgeFailed, Pair
from reward.rubric import Rubric

__all__ = ["provokers", "without"]

OF_A_TEXT: frozenset[Cause] = frozenset({"refused", "too_long", "unquotable"})
"""Why a judge takes no pair, whenever it is asked, for what stands in it."""
HARMLESS = ("I do not know.", "That is hard to say.")
"""They pass every check of gyms/chat/checks.py: code decides no control."""

Compare = Callable[[Sequence[Pair]], Awaitable[Sequence[Comparison | JudgeFailed]]]


async def provokers(
    compare: Compare, texts: Sequence[str], matches: Sequence[Match], *, key: str, question: str, rubric: Rubric
) -> dict[int, JudgeFailed]:
    """Numbers of the answers that the judge takes beside no other, and what it says of them.

    Args:
        compare: asks about pairs.
        texts: the answers.
        matches: what came of their pairs.
        key: names the group.
    """
    suspects = [i for i in range(len(texts)) if _is_never_taken(i, matches)]
    if not suspects:
        return {}

    def beside_harmless(name: str, text: str) -> Pair:
        return Pair(key=f"{key}/{name}", question=question, first=text, second=HARMLESS[0], rubric=rubric)

    (control,) = await compare([beside_harmless("control", HARMLESS[1])])
    if isinstance(control, JudgeFailed):
        return {}
    found = await compare([beside_harmless(f"control-{i}", texts[i]) for i in suspects])
    return {i: said for i, said in zip(suspects, found, strict=True) if _is_barred(said)}


def without(players: Collection[int], matches: Sequence[Match]) -> list[Match]:
    """The matches of all others, by their numbers among themselves."""

    def number(player: int) -> int:
        return player - sum(other < player for other in players)

    return [
        replace(match, first=number(match.first), second=number(match.second))
        for match in matches
        if match.first not in players and match.second not in players
    ]


def _is_never_taken(player: int, matches: Sequence[Match]) -> bool:
    sides = [side for m in matches if player in (m.first, m.second) for side in (m.forward, m.backward)]
    is_taken = any(isinstance(side, Comparison) and not side.is_by_code for side in sides)
    return not is_taken and any(map(_is_barred, sides))


def _is_barred(said: Comparison | JudgeFailed) -> TypeGuard[JudgeFailed]:
    return isinstance(said, JudgeFailed) and said.cause in OF_A_TEXT
