"""A reward for being right in fewer tokens than one's siblings (Kimi K1.5, section 2.3.3).

    lambda_i = 0.5 - (len_i - min_len) / (max_len - min_len)
    length reward of a right answer: lambda_i;  of any other: min(0, lambda_i);  0 for all where max_len = min_len

So of right answers the short ones gain and the long ones lose; a wrong one gains nothing by being short. It is added
to the gym's reward with the weight `reward.length.coef`, which K1.5 does not publish; K1.5 starts without it, since it
slows early training: `reward.length.from_step`. What the critic learns from verified groups is the gym's reward alone.

Choices where the paper has none. Right is a score of 1: a graded answer that is half right is not rewarded for its
brevity. Masked samples are no siblings. A truncated one under the rule `penalty` is: it is wrong, and
the longest unless it was stopped in a loop (`rollout.repetition`), where being short earns it nothing as any wrong one.
Groups that a judge compares are left alone, since none of their answers is right or wrong.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from rl.batch import Group

__all__ = ["length_rewards", "with_length_reward"]


def length_rewards(lengths: Sequence[int], is_right: Sequence[bool]) -> list[float]:
    """The length reward of each sibling, in [-0.5, 0.5], before its weight.

    Args:
        lengths: tokens of the siblings' responses.
        is_right: whether each is right.
    """
    if not lengths or min(lengths) == max(lengths):
        return [0.0] * len(lengths)
    shortest, spread = min(lengths), max(lengths) - min(lengths)
    shares = [0.5 - (length - shortest) / spread for length in lengths]
    return [share if right else min(0.0, share) for share, right in zip(shares, is_right, strict=True)]


def with_length_reward(group: Group, coef: float) -> Group:
    """The group with `coef` times the length reward added to every unmasked sample's reward."""
    counted = [k for k, scored in enumerate(group.samples) if not scored.reward.is_masked]
    found = length_rewards(
        [group.samples[k].sample.num_sampled for k in counted], [group.samples[k].score.value == 1.0 for k in counted]
    )
    samples = list(group.samples)
    for k, earned in zip(counted, found, strict=True):
        samples[k] = replace(
            samples[k], reward=replace(samples[k].reward, length=samples[k].reward.length + coef * earned)
        )
    return replace(group, samples=tuple(samples))
