"""Refills: a step goes on drawing while groups of it teach nothing, up to a bound (DAPO, arXiv 2503.14476, 3.2).

A group whose rewards are all equal has no advantage. With `rollout.prompts.max_refills` another draw takes its place,
of the same gym, until every place has a group with spread or the bound is reached. DAPO samples whole batches until
enough is there and throws the surplus away; here a round draws exactly as many groups as are missing, so nothing is
thrown away but what teaches nothing, and the cost is bounded and stands in `rollout/num_refills`. Which groups are
replaced follows from their rewards alone, and the draws from `PromptSampler.refill`, so a step that is done again after
a kill refills alike.

Groups that were replaced stay in rollouts/ and in every mean of rewards: what is learned from must not make the policy
look different from what it is. Left out: starting a refill before its round has ended; a round ends with its longest
response.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from gyms.mixture import Draw
from rl.advantage import MIN_SPREAD
from rl.batch import Group
from rl.collect import Collected, Policy, ScoresResponses, collect
from rl.partial import PartialGroup

__all__ = ["Refill", "collect_filled", "has_spread"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Refill:
    """How a step fills up."""

    max_draws: int
    """Most draws that are added; 0: none."""
    draw: Callable[[Sequence[Draw], Sequence[Draw]], Sequence[Draw]]
    """From all draws of the step so far, and those to replace, to as many new ones."""
    finish: Callable[[Group], Group]
    """What a complete group's rewards become before they are looked at (the length reward)."""


def has_spread(group: Group) -> bool:
    """The rewards of its unmasked samples are not all equal."""
    rewards = [s.reward.total for s in group.samples if not s.reward.is_masked]
    return bool(rewards) and max(rewards) - min(rewards) > MIN_SPREAD


async def collect_filled(
    refill: Refill,
    policy: Policy,
    scorer: ScoresResponses,
    draws: Sequence[Draw],
    *,
    carried: Sequence[PartialGroup] = (),
    **how: Any,
) -> Collected:
    """`rl.collect.collect`, then rounds of further draws in the place of finished groups without spread.

    Args:
        how: the other arguments of `collect`.

    Returns:
        All groups, finished, those that were replaced too: the first round's, then each refill's.
    """
    groups: list[Group] = []
    unfinished: list[PartialGroup] = []
    asked, new = list(draws), list(draws)
    while True:
        found = await collect(policy, scorer, new, carried=carried, **how)
        carried = ()
        finished = [refill.finish(group) for group in found.groups]
        groups += finished
        unfinished += found.carried
        room = refill.max_draws - (len(asked) - len(draws))
        new = list(refill.draw(asked, [group.draw for group in finished if not has_spread(group)][:room]))
        if not new:
            return Collected(groups=tuple(groups), carried=tuple(unfinished))
        asked += new
