"""What a rule states of all responses that satisfy it is true of the hand-written ones."""

import pytest

from gyms.constraints.conflicts import NEEDS
from gyms.constraints.item import read_item
from gyms.constraints.registry import BUILT_IN
from gyms.constraints.text import low_words, plain_words, prepared, sentences, stripped, times
from tests.unit.gyms.constraints.test_instruction_ids import CASES

HOLDS = {
    "comma": lambda text: "," in text,
    "dot": lambda text: "." in text,
    "exclamation": lambda text: "!" in text,
    "capital": lambda text: any(map(str.isupper, text)),
    "lower-case": lambda text: any(map(str.islower, text)),
    "space": lambda text: any(map(str.isspace, text)),
}
COUNTS = {
    "words": lambda text, _: len(plain_words(text)),
    "sentences": lambda text, _: len(sentences(text)),
    "the keyword": times,
    "the letter": lambda text, name: text.lower().count(name),
}
MARKED_OTHERWISE = "detectable_content:postscript"
"""Its text may be written with other dots and spaces."""


def test_needs_and_forbids_are_names_that_conflicts_knows():
    named = {name for one in BUILT_IN.values() for name in f"{one.needs} {one.forbids}".split()}
    assert named == set(NEEDS) == {*HOLDS, "json"}
    assert {name for one in BUILT_IN.values() for name in one.excludes} <= set(BUILT_IN)


@pytest.mark.parametrize(("instruction_id", "kwargs", "good", "bad"), CASES)
def test_a_response_that_holds_is_as_the_facts_say(instruction_id, kwargs, good, bad):
    one = read_item({"instruction_id_list": [instruction_id], "kwargs": [kwargs]}).instructions[0]
    for text in map(prepared, good):
        words, folded = low_words(text), " ".join(text.lower().split())
        for name, holds in HOLDS.items():
            assert holds(text) or name not in one.constraint.needs.split(), name
            assert not holds(text) or name not in one.constraint.forbids.split(), name
        for quantity, least, most in one.fact("bounds"):
            kind, name = (quantity, "") if isinstance(quantity, str) else quantity
            if kind in COUNTS:
                assert least <= COUNTS[kind](text, name) <= (10**9 if most is None else most), quantity
        for wanted, number in one.required():
            assert folded.count(" ".join(wanted.lower().split())) >= number or instruction_id == MARKED_OTHERWISE
        assert not set(one.fact("forbidden")) & set(text.split())
        assert one.fact("first") is None or words[0] == stripped(one.fact("first")).lower()
        assert one.fact("last") is None or words[-1] == stripped(one.fact("last")).lower()
        assert not one.fact("only") or folded.split() in [only.lower().split() for only in one.fact("only")]
