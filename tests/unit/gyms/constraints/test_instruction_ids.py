"""Every instruction id on hand-written responses: some that satisfy it and some that do not."""

import pytest

from gyms.constraints.item import read_item
from gyms.constraints.registry import BUILT_IN
from tests.unit.gyms.constraints import ifbench_examples, instruction_examples

CASES = [*instruction_examples.CASES, *ifbench_examples.CASES]


def holds(instruction_id: str, kwargs: dict, response: str) -> bool:
    """Does the only instruction of an item hold."""
    item = read_item({"instruction_id_list": [instruction_id], "kwargs": [kwargs]})
    return item.instructions[0].accepts(response)


def test_every_built_in_id_has_an_example():
    assert {case[0] for case in CASES} == set(BUILT_IN)
    assert len(BUILT_IN) == 25 + 58 + 29


@pytest.mark.parametrize(("instruction_id", "kwargs", "good", "bad"), CASES)
def test_an_instruction_holds_where_it_should_and_nowhere_else(instruction_id, kwargs, good, bad):
    assert [text for text in good if not holds(instruction_id, kwargs, text)] == []
    assert [text for text in bad if holds(instruction_id, kwargs, text)] == []


@pytest.mark.parametrize(("instruction_id", "kwargs", "good", "bad"), CASES)
def test_an_empty_response_satisfies_nothing(instruction_id, kwargs, good, bad):
    for empty in ("", " ", "\n\t\u00a0"):
        assert not holds(instruction_id, kwargs, empty)
