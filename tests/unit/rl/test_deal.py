"""Trees dealt to ranks: whole, each once, evenly, and the same for everybody."""

from __future__ import annotations

from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from rl.batch import LearningSample
from rl.deal import deal, own_conversations, own_samples, sample_trees
from rl.ptx import PtxSample


def sample(number: int, group: int, length: int) -> LearningSample:
    return LearningSample(
        number=number, group=group, prompt_ids=(1, 2, 3), token_ids=(4,) * length, loss_mask=(True,) * length,
        engine_logprobs=(-1.0,) * length, temperatures=(1.0,) * length, advantage=0.5,
    )  # fmt: skip


def test_the_longest_goes_first_to_the_rank_with_least_by_hand() -> None:
    assert deal([3, 9, 4, 5], 2) == (0, 0, 1, 1)  # 9 | 5, 4, then 3 to the first of equals
    assert deal([5, 5, 5], 2) == (0, 1, 0)
    assert deal([7], 3) == (0,) and deal([], 3) == ()


@given(st.lists(st.integers(1, 50), max_size=12), st.integers(1, 5))
def test_a_deal_is_fair(sizes: list[int], num_ranks: int) -> None:
    dealt = deal(sizes, num_ranks)
    loads = [sum(size for size, rank in zip(sizes, dealt, strict=True) if rank == r) for r in range(num_ranks)]
    assert sum(loads) == sum(sizes)
    # The fullest rank got its last tree when it had least: at most an even share of the others, and that tree.
    largest = max(sizes, default=0)
    assert max(loads) <= (sum(sizes) - largest) / num_ranks + largest


@given(st.lists(st.tuples(st.integers(0, 4), st.integers(1, 9)), max_size=20), st.integers(1, 4))
def test_siblings_stay_together_and_every_sample_is_dealt_once_in_its_order(
    groups: list[tuple[int, int]], num_ranks: int
) -> None:
    samples = [sample(number, group, length) for number, (group, length) in enumerate(groups)]
    shares = [own_samples(samples, rank, num_ranks) for rank in range(num_ranks)]
    assert sorted(one.number for share in shares for one in share) == list(range(len(samples)))
    for share in shares:
        assert [one.number for one in share] == sorted(one.number for one in share)
    owners = [{one.group for one in share} for share in shares]
    assert sum(map(len, owners)) == len(set().union(*owners))


def test_a_prompt_is_counted_once_for_all_siblings() -> None:
    """3 + 4 and 3 + 1 + 1: two siblings of one token weigh less than one of four."""
    samples = [sample(0, 0, 1), sample(1, 0, 1), sample(2, 1, 4), sample(3, 2, 6)]
    assert [one.number for one in own_samples(samples, 0, 2)] == [3]
    assert [one.number for one in own_samples(samples, 1, 2)] == [0, 1, 2]


def test_conversations_are_dealt_by_their_tokens() -> None:
    conversations = [PtxSample(prefix=(1,), token_ids=(2,) * n, loss_mask=(True,) * n) for n in (2, 8, 3)]
    assert own_conversations(conversations, 0, 2) == conversations[1:2]
    assert own_conversations(conversations, 1, 2) == [conversations[0], conversations[2]]


def test_siblings_whose_context_was_rewritten_are_trees_of_their_own() -> None:
    samples = [sample(0, 0, 4), replace(sample(1, 0, 2), prompt_ids=(9,)), sample(2, 0, 4)]
    assert [tree.ids for tree in sample_trees(samples)] == [(0, 2), (1,)]
    assert [one.number for one in own_samples(samples, 0, 2)] == [0, 2]
    assert [one.number for one in own_samples(samples, 1, 2)] == [1]
