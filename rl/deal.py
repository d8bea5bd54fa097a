"""Who learns from what: a minibatch's trees dealt to the ranks of the learner, balanced by tokens.

Siblings share their prompt and are computed as one tree (`rl.packing`), so a tree goes to one rank whole. The longest
tree goes first, each to the rank that has the fewest tokens so far: no rank ends up with more than 4/3 of what the best
deal would give its fullest one (Graham 1969). It is a pure function of the sizes: every rank deals alike, and a rank
knows its share without asking. With fewer trees than ranks some get nothing, and only keep up the collectives.
"""

from __future__ import annotations

from collections.abc import Sequence

from rl.batch import LearningSample
from rl.packing import Tree
from rl.ptx import PtxSample

__all__ = ["deal", "own_conversations", "own_samples", "sample_trees"]


def deal(sizes: Sequence[int], num_ranks: int) -> tuple[int, ...]:
    """The rank of each tree, given their numbers of tokens. Equal sizes, and equal ranks, in their order."""
    loads, dealt = [0] * num_ranks, [0] * len(sizes)
    for i in sorted(range(len(sizes)), key=lambda i: -sizes[i]):
        dealt[i] = loads.index(min(loads))
        loads[dealt[i]] += sizes[i]
    return tuple(dealt)


def sample_trees(samples: Sequence[LearningSample]) -> list[Tree]:
    """A tree for every context of a group, its continuations numbered as the samples are."""
    by_context: dict[tuple[int, tuple[int, ...]], list[LearningSample]] = {}
    for sample in samples:
        by_context.setdefault((sample.group, sample.prompt_ids), []).append(sample)
    return [
        Tree(
            prefix=siblings[0].prompt_ids,
            continuations=tuple(s.token_ids for s in siblings),
            ids=tuple(s.number for s in siblings),
        )
        for siblings in by_context.values()
    ]


def own_samples(samples: Sequence[LearningSample], rank: int, num_ranks: int) -> tuple[LearningSample, ...]:
    """A rank's share of a minibatch, in the minibatch's order; siblings behind one context stay together."""
    trees = sample_trees(samples)
    dealt = deal([tree.num_tokens for tree in trees], num_ranks)
    numbers = {number for tree, owner in zip(trees, dealt, strict=True) if owner == rank for number in tree.ids}
    return tuple(sample for sample in samples if sample.number in numbers)


def own_conversations(samples: Sequence[PtxSample], rank: int, num_ranks: int) -> list[PtxSample]:
    """A rank's share of curated conversations, in their order."""
    dealt = deal([len(sample.prefix) + len(sample.token_ids) for sample in samples], num_ranks)
    return [sample for sample, owner in zip(samples, dealt, strict=True) if owner == rank]
