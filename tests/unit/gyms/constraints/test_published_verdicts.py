"""Where a rule says that it parts from the published checker it does, and where it says nothing it does not."""

import pytest

from gyms.constraints.registry import BUILT_IN
from tests.unit.gyms.constraints.published_verdicts import VERDICTS
from tests.unit.gyms.constraints.test_instruction_ids import CASES

UNSEEN = {
    *("keywords:letter_frequency", "letters:letter_counting2"),  # draw a random letter
    *("words:start_verb", "length_constraints:number_sentences", "ratio:stop_words"),  # ask data that was not there
}
"""Ids whose difference no verdict shows."""


def verdicts(instruction_id: str) -> list[tuple[str, bool, bool]]:
    """(response, ours, published) for every hand-written response to an id."""
    cases = [case for case in CASES if case[0] == instruction_id]
    texts = [(text, ours) for _id, _args, good, bad in cases for text, ours in _marked(good, bad)]
    signs = [sign for sign in VERDICTS[instruction_id] if sign in "+-"]
    return [(text, ours, sign == "+") for (text, ours), sign in zip(texts, signs, strict=True)]


def _marked(good: list[str], bad: list[str]) -> list[tuple[str, bool]]:
    return [(text, True) for text in good] + [(text, False) for text in bad]


@pytest.mark.parametrize("instruction_id", sorted(BUILT_IN))
def test_an_id_parts_from_its_published_checker_where_it_says_so_and_nowhere_else(instruction_id):
    parted = [text for text, ours, published in verdicts(instruction_id) if ours != published]
    assert bool(parted) == (bool(BUILT_IN[instruction_id].difference) and instruction_id not in UNSEEN)
