"""One decorated function is an id: its rule, its arguments, its facts."""

import pytest

from gyms.constraints.arguments import Text, Whole
from gyms.constraints.conflicts import exclusion
from gyms.constraints.rule import Instruction, Rules, at_least

RULES = Rules()
mine, yours = RULES.of("mine"), RULES.of("yours")


@yours("your:count", rule="Say {word} a number of times.", needs="dot")
@mine(
    "my:count",
    refuses=lambda a: f"most = {a.most} is too little" if a.most < len(a.word) else None,
    bounds=lambda a: [at_least("words", a.most)],
    needs="comma",
    is_short=True,
)
def count(text: str, word: Text, most: Whole = 9) -> bool:
    """Say {word} at most
    {most} times.
    Differs: signs count,
    upstream forgets them."""
    return text.count(word) <= most


@mine("my:no_comma", forbids="comma", bounds=[at_least("words", 1)])
def no_comma(text: str) -> bool:
    """No commas."""
    return "," not in text


MADE = {one.id: one for one in RULES}


def test_the_docstring_is_the_rule_and_where_it_differs():
    assert MADE["my:count"].rule == "Say {word} at most {most} times."
    assert MADE["my:count"].difference == "signs count, upstream forgets them"
    assert (MADE["my:no_comma"].rule, MADE["my:no_comma"].difference) == ("No commas.", "")


def test_an_id_without_a_rule_is_refused():
    with pytest.raises(ValueError, match="my:silent has no rule"):
        Rules().of("mine")("my:silent")(lambda text: True)


def test_the_parameters_behind_the_text_are_the_arguments():
    args = MADE["my:count"].args.model_validate({"word": "a"})
    assert args.model_dump() == {"word": "a", "most": 9}
    one = Instruction(constraint=MADE["my:count"], args=args)
    assert one.holds("a" * 9) and not one.holds("a" * 10) and not one.holds(" ")
    assert one.told() == "Say a at most 9 times."
    assert MADE["my:no_comma"].args.model_fields == {}


@pytest.mark.parametrize(
    ("given", "told"),
    [({}, "Field required"), ({"word": "a", "x": 1}, "Extra inputs"), ({"word": "abc", "most": 2}, "most = 2 is too")],
)
def test_arguments_that_do_not_fit_are_refused(given, told):
    with pytest.raises(ValueError, match=told):
        MADE["my:count"].args.model_validate(given)


def test_facts_are_values_or_functions_of_the_arguments():
    args = MADE["my:count"].args.model_validate({"word": "a", "most": 3})
    assert Instruction(constraint=MADE["my:count"], args=args).fact("bounds") == [("words", 3, None)]
    one = Instruction(constraint=MADE["my:no_comma"], args=MADE["my:no_comma"].args())
    assert one.fact("bounds") == [("words", 1, None)] and one.required() == []


def test_a_second_id_of_a_function_has_all_that_it_does_not_say_itself():
    mine, yours = MADE["my:count"], MADE["your:count"]
    assert (yours.source, yours.rule, yours.needs) == ("yours", "Say {word} a number of times.", "dot")
    assert (yours.check, yours.args, yours.bounds, yours.is_short) == (mine.check, mine.args, mine.bounds, True)


def test_what_one_needs_and_the_other_forbids_excludes_the_two_in_either_order():
    needs, forbids, other = MADE["my:count"], MADE["my:no_comma"], MADE["your:count"]
    assert exclusion(needs, forbids) == exclusion(forbids, needs) == "it needs a comma"
    assert exclusion(other, forbids) is None and exclusion(needs, needs) is None
