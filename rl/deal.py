"""Who learns from what: a minibatch's trees dealt to the ranks of the learner, balanced by tokens.

Siblings share their prompt and are computed as one tree (`rl.packing`), so a tree goes to one rank whole. The longest
tree goes first, each to the rank that has the fewest tokens so far: no rank ends up with more than 4/3 of what the best
deal would give its fullest one (Graham 1969). It is a pure function of the sizes: every rank deals alike, and a rank
knows its share without asking. With fewer trees than ranks some get nothing, and only keep up the collectives.
"""

from __future__ import annotations

from collections.abc import Sequence

from rl.batch import LearningSample
from rl.ptx import PtxSample

__all__ = ["deal", "own_conversations", "own_samples"]


def deal(sizes: Sequence[int], num_ranks: int) -> tuple[int, ...]:
    """The rank of each tree, given their numbers of tokens. Equal sizes, and equal ranks, in their order."""
    loads, dealt = [0] * num_ranks, [0] * len(sizes)
    for i in sorted(range(len(sizes)), key=lambda i: -sizes[i]):
        dealt[i] = loads.index(min(loads))
        loads[dealt[i]] += sizes[i]
    return tuple(dealt)


def own_samples(samples: Sequence[LearningSample], rank: int, num_ranks: int) -> tuple[LearningSample, ...]:
    """A rank's share of a minibatch, in the minibatch's order; siblings stay together."""
    sizes: dict[int, int] = {}
    for sample in samples:
        sizes[sample.group] = sizes.get(sample.group, len(sample.prompt_ids)) + len(sample.token_ids)
    dealt = dict(zip(sizes, deal(list(sizes.values()), num_ranks), strict=True))
    return tuple(sample for sample in samples if dealt[sample.group] == rank)


def own_conversations(samples: Sequence[PtxSample], rank: int, num_ranks: int) -> list[PtxSample]:
    """A rank's share of curated conversations, in their order."""
    dealt = deal([len(sample.prefix) + len(sample.token_ids) for sample in samples], num_ranks)
    return [sample for sample, owner in zip(samples, dealt, strict=True) if owner == rank]
