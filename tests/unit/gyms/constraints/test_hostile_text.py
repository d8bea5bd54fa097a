"""Text that was written to break the checkers: no check raises, none takes long, and all agree with themselves."""

import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gyms.constraints.constraint import Constraint
from gyms.constraints.hacks import hack_flags
from gyms.constraints.item import Item, read_item
from gyms.constraints.registry import BUILT_IN
from gyms.constraints.text import prepared
from tests.unit.gyms.constraints import ifbench_examples, instruction_examples

CASES = [*instruction_examples.CASES, *ifbench_examples.CASES]
KWARGS = {case[0]: case[1] for case in CASES}
ITEMS = {
    (name, compat): read_item(
        {"prompt": "Write about a cat.", "instruction_id_list": [name], "kwargs": [KWARGS[name]]}, compat=compat
    )
    for name in BUILT_IN
    for compat in (False, True)
}
SIZE = 4_000
"""Large enough that what is not linear takes much longer; 100 kB take twenty-five times as long where it is."""
LONG = {
    "letters": "a" * SIZE,
    "spaces": " " * SIZE + "x",
    "newlines": "\n" * SIZE + "x",
    "tabs": "a" + "\t" * SIZE + "x",
    "words": "word " * (SIZE // 5),
    "stars": "*" * SIZE,
    "starred": "*a " * (SIZE // 3),
    "brackets": "[" * SIZE,
    "bracketed": "[a" * (SIZE // 2),
    "nested": "([{" * (SIZE // 3),
    "titles": "<<" * (SIZE // 2),
    "wrapped": "<<a b" * (SIZE // 5),
    "comments": "<!-- " * (SIZE // 5),
    "fences": "```" * (SIZE // 3),
    "italics": "<i>" * (SIZE // 3),
    "quotes": "\"'" * (SIZE // 2),
    "commas": "," * SIZE,
    "dots": "." * SIZE,
    "dotted": "a.b." * (SIZE // 4),
    "initials": "J. R. " * (SIZE // 6),
    "sentences": "I ran. " * (SIZE // 7),
    "digits": "9" * SIZE,
    "postscripts": "P.S. " * (SIZE // 5),
    "sections": "Section 1 " * (SIZE // 10),
    "json": '{"a":' * (SIZE // 5),
    "hyphens": "a.-" * (SIZE // 3),
    "emoji": "\U0001f600. " * (SIZE // 3),
    "joiners": "a\u200d" * (SIZE // 2),
    "thinking": "<think>" * (SIZE // 7),
    "links": "http://" * (SIZE // 7),
    "mails": "a@" * (SIZE // 2),
    "questions": "Question 1. " * (SIZE // 12),
    "phrases": "the big " * (SIZE // 8),
    "tables": "ID,Country,City,Year,Count\n" * (SIZE // 27),
    "nulls": "\x00" * SIZE,
    "cyrillic": "\u0430a " * (SIZE // 3),
}
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
    """What every check says of a text, in both modes."""
    ready = prepared(text)
    return [item.instructions[0].holds(text if item.compat else ready, compat=item.compat) for item in ITEMS.values()]


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


def cpu_seconds(call: Callable[[], object]) -> float:
    """Of the fastest of three calls; one that is fast at once is not repeated. A busy machine slows single calls."""
    fastest = float("inf")
    for _ in range(3):
        start = time.process_time()
        call()
        fastest = min(fastest, time.process_time() - start)
        if fastest < 0.3:
            break
    return fastest


@pytest.mark.parametrize("kind", LONG)
def test_a_long_hostile_text_takes_no_check_long(kind):
    text = LONG[kind]
    ready = prepared(text)
    for key, item in ITEMS.items():
        shown = text if item.compat else ready
        assert cpu_seconds(lambda i=item, t=shown: i.instructions[0].holds(t, compat=i.compat)) < 0.3, key
    assert cpu_seconds(lambda: hack_flags(ITEMS["keywords:existence", False], text, [False], ("cat",))) < 0.3


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
