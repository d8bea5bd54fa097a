"""When a response is in a loop."""

from __future__ import annotations

import random

from rollout.repetition import Repetition, first_repetition


def loop(min_count: int, shortest: int, longest: int) -> Repetition:
    return Repetition(min_count=min_count, min_pattern_tokens=shortest, max_pattern_tokens=longest)


def spelled_out(ids: list[int], wanted: Repetition, begin: int) -> int | None:
    """By writing each pattern out, so many times."""
    for end in range(begin + 1, len(ids) + 1):
        for size in range(wanted.min_pattern_tokens, wanted.max_pattern_tokens + 1):
            said = ids[:end]
            if size <= end and said[-size * wanted.min_count :] == said[-size:] * wanted.min_count:
                return end
    return None


def test_a_loop_is_seen_at_the_token_that_completes_it():
    assert first_repetition([5, 1, 2, 1, 2, 9], loop(2, 1, 8)) == 5
    assert first_repetition([5, 1, 2, 1, 2, 1], loop(3, 1, 8)) is None
    assert first_repetition([5, 1, 2, 1, 2, 1, 2], loop(3, 1, 8)) == 7
    assert first_repetition([7, 7, 7, 7], loop(3, 1, 8)) == 3
    assert first_repetition([], loop(2, 1, 8)) is None


def test_patterns_of_other_lengths_are_no_loop():
    assert first_repetition([7] * 5, loop(3, 2, 8)) is None
    assert first_repetition([7] * 6, loop(3, 2, 8)) == 6, "7 7 is a pattern of two tokens"
    assert first_repetition([1, 2, 3] * 4, loop(2, 1, 2)) is None


def test_a_loop_that_began_before_is_seen_and_an_older_one_is_not_seen_again():
    assert first_repetition([1, 2, 1, 2], loop(2, 1, 8), begin=3) == 4
    assert first_repetition([7, 7, 1, 2], loop(2, 1, 8), begin=2) is None


def test_it_is_what_writing_each_pattern_out_finds():
    rng, num_found = random.Random(4), 0
    for _ in range(2000):
        ids = [rng.randrange(2) for _ in range(rng.randrange(24))]
        shortest = rng.randrange(1, 4)
        wanted = loop(rng.randrange(2, 5), shortest, shortest + rng.randrange(4))
        begin = rng.randrange(len(ids) + 1)
        found = first_repetition(ids, wanted, begin=begin)
        assert found == spelled_out(ids, wanted, begin), (ids, wanted, begin)
        num_found += found is not None
    assert 200 < num_found < 1800
