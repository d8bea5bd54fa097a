"""Text that was written to break the checkers: no check raises, none is quadratic, and all agree with themselves."""

import functools
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gyms.constraints.gym import MAX_RESPONSE_CHARS
from gyms.constraints.hacks import hack_flags
from gyms.constraints.item import read_item
from gyms.constraints.language import is_english
from gyms.constraints.registry import BUILT_IN
from gyms.constraints.rule import Constraint, Item
from gyms.constraints.text import prepared, sentences
from gyms.response import after_thoughts
from tests.growth import FACTOR, grows_linearly
from tests.unit.gyms.constraints import ifbench_examples, instruction_examples

CASES = [*instruction_examples.CASES, *ifbench_examples.CASES]
KWARGS = {case[0]: case[1] for case in CASES}
ITEMS = {
    name: read_item({"prompt": "Write about a cat.", "instruction_id_list": [name], "kwargs": [KWARGS[name]]})
    for name in BUILT_IN
}
SIZE = 1_000
"""Characters of the shorter text of each pair; the longer one has sixteen times as many (tests/growth.py)."""
ENDLESS = {
    "letters": ("", "a", ""),
    "spaces": ("", " ", "x"),
    "newlines": ("", "\n", "x"),
    "tabs": ("a", "\t", "x"),
    "words": ("", "word ", ""),
    "short words": ("", "ab bc ", ""),
    "capitals": ("", "A b ", ""),
    "stars": ("", "*", ""),
    "starred": ("", "*a ", ""),
    "bullets": ("", "* a\n", ""),
    "dashes": ("", "- a\n", ""),
    "a bullet of spaces": ("*", " ", "*"),
    "dividers": ("", "* * *\n", ""),
    "brackets": ("", "[", ""),
    "bracketed": ("", "[a", ""),
    "nested": ("", "([{", ""),
    "closed": ("", ")]}>", ""),
    "titles": ("", "<<", ""),
    "wrapped": ("", "<<a b", ""),
    "pairs": ("", "<<a b>> ", ""),
    "comments": ("", "<!-- ", ""),
    "fences": ("", "```", ""),
    "italics": ("", "<i>", ""),
    "headings": ("", "# a\n", ""),
    "quotes": ("", "\"'", ""),
    "apostrophes": ("", "a'", ""),
    "commas": ("", ",", ""),
    "dots": ("", ".", ""),
    "lone dots": ("x", ". ", ""),
    "dotted": ("", "a.b.", ""),
    "initials": ("", "J. R. ", ""),
    "sentences": ("", "I ran. ", ""),
    "exclamations": ("", "!\n", ""),
    "digits": ("", "9", ""),
    "decimals": ("", "1.5, ", ""),
    "numbered lines": ("", "1.\n", ""),
    "English, then numbered lines": ("this is the cat and that is the dog.\n", "1.\n", ""),
    "lines": ("", "a\n", ""),
    "paragraphs": ("", "a\n\n", ""),
    "postscripts": ("", "P.S. ", ""),
    "sections": ("", "Section 1 ", ""),
    "questions": ("", "Question 1. ", ""),
    "json": ("", '{"a":', ""),
    "a list": ("[", "1,", "1]"),
    "tables": ("", "ID,Country,City,Year,Count\n", ""),
    "hyphens": ("", "a.-", ""),
    "emoji": ("x", "\U0001f600. ", ""),
    "joiners": ("", "a\u200d", ""),
    "marks": ("a", "\u0315\u0300", ""),
    "marks in one": ("a", "\u0f73", ""),
    "thinking": ("", "<think>", ""),
    "links": ("", "http://", ""),
    "mails": ("", "a@", ""),
    "phrases": ("", "the big ", ""),
    "nulls": ("", "\x00", ""),
    "cyrillic": ("", "\u0430a ", ""),
    "other scripts": ("", "\u0915\n", ""),
    "ideograms": ("", "\u4e2d", ""),
}
"""What stands before, what is repeated and what stands behind."""
PIECES = st.sampled_from(
    [
        *(text for case in CASES for text in (*case[2], *case[3])),
        "*",
        "***",
        "\n\n",
        " ",
        "\u0130",
        "\ud800",
        "\x00",
        "\u2028",
    ]
)
WILD = st.one_of(
    st.text(max_size=80), st.lists(PIECES, max_size=4).map(" ".join), st.lists(PIECES, max_size=4).map("\n".join)
)


def all_results(text: str) -> list[bool]:
    """What every check says of a text."""
    ready = prepared(text)
    return [item.instructions[0].holds(ready) for item in ITEMS.values()]


@settings(max_examples=5, deadline=None)
@given(WILD)
def test_no_check_raises_and_each_agrees_with_itself(text):
    results = all_results(text)
    assert all(isinstance(result, bool) for result in results)
    assert results == all_results(text)


@settings(max_examples=5, deadline=None)
@given(WILD)
def test_the_hack_check_never_raises(text):
    for item in ITEMS.values():
        assert isinstance(hack_flags(item, text, [False], ("cat",)), frozenset)


def checks_of_all_ids() -> dict[str, Callable[[str], object]]:
    """The check of every id; the text that they read is prepared once, which is measured alone."""
    once = functools.lru_cache(maxsize=4)(prepared)
    return {name: lambda text, i=item: i.instructions[0].holds(once(text)) for name, item in ITEMS.items()}


@pytest.mark.parametrize("kind", ENDLESS)
def test_no_check_takes_more_than_linear_time(kind):
    head, unit, tail = ENDLESS[kind]
    for name, check in checks_of_all_ids().items():
        assert grows_linearly(lambda text, c=check: c(head + text + tail), unit, size=SIZE), name
    assert grows_linearly(lambda text: prepared(head + text + tail), unit, size=SIZE)
    assert grows_linearly(lambda text: after_thoughts(head + text + tail), unit, size=SIZE)
    stuffed = ITEMS["keywords:existence"]
    assert grows_linearly(lambda text: hack_flags(stuffed, head + text + tail, [False], ("cat",)), unit, size=SIZE)


@pytest.mark.parametrize("kind", ["lone dots", "emoji"])
def test_what_belongs_to_a_sentence_before_it_is_not_copied_each_time(kind):
    """Copying is so cheap that only the longest response shows it."""
    head, unit, _ = ENDLESS[kind]
    assert grows_linearly(lambda text: sentences(head + text), unit, size=MAX_RESPONSE_CHARS // FACTOR)


def test_a_column_of_numbers_hides_no_foreign_passage():
    english = "The old man and the boy sat on the bench by the river and talked about the weather for an hour. "
    foreign = "Der alte Mann und der Junge sassen auf der Bank und sprachen lange ueber das Wetter. " * 2
    assert is_english(english * 4)
    assert not is_english(english * 4 + "\n" + foreign)
    assert not is_english(english * 4 + "1.\n" * 5_000 + foreign)


def test_checks_of_one_item_do_not_disturb_each_other_in_threads():
    texts = [text for case in CASES for text in (case[2][0], case[3][0])]
    alone = [all_results(text) for text in texts[:6]]
    with ThreadPoolExecutor(4) as pool:
        together = list(pool.map(all_results, texts[:6] * 2))
    assert together == alone * 2


def test_items_share_no_state():
    def item(word: str) -> Item:
        return read_item({"instruction_id_list": ["keywords:existence"], "kwargs": [{"keywords": [word]}]})

    cat, dog = item("cat"), item("dog")
    assert cat.instructions[0].holds("a cat") and not dog.instructions[0].holds("a cat")
    assert dog.instructions[0].holds("a dog") and not cat.instructions[0].holds("a dog")


def test_a_constraint_is_frozen():
    constraint = BUILT_IN["keywords:existence"]
    assert isinstance(constraint, Constraint)
    with pytest.raises(AttributeError):
        constraint.check = lambda text, args: True  # type: ignore[misc]
