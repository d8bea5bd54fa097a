"""A pair of instructions that is called contradictory is one: no response that can be thought of holds for both.

For every pair of ids the arguments are drawn, so that both speak of the same words, and where the pair is refused a
response that satisfies it is searched for among the hand-written examples of the two ids and what is made of them and
of the arguments: other case, one word a line, JSON, emphasis, plurals. Found one, a stated fact is wrong. The search
must itself find what it is for: it is tried on facts that were wrong.
"""

from __future__ import annotations

import dataclasses
import json
import random
import re
from collections.abc import Iterable, Iterator
from functools import lru_cache
from itertools import combinations_with_replacement, product
from typing import Any, get_args

import pytest
from pydantic import ValidationError

from gyms.constraints.arguments import Args
from gyms.constraints.conflicts import contradiction
from gyms.constraints.item import Contradiction, read_item
from gyms.constraints.registry import BUILT_IN
from gyms.constraints.rule import Constraint, Instruction, Item, exactly
from gyms.constraints.text import prepared
from tests.unit.gyms.constraints.ifbench_examples import AFRICA
from tests.unit.gyms.constraints.test_instruction_ids import CASES
from tests.unit.gyms.constraints.test_items import row

SEED = 0
NUM_DRAWS = (1, 15, 30)
"""For a pair of ids of which none, one or both have arguments."""
SHARE_OF_EXAMPLES = 0.25
"""So many draws take the arguments of a hand-written example."""
MAX_EXAMPLE_CHARS = 2_000
BY_MEANING = "the entire response should be in"
"""A response in two languages is refused though a few words may pass for both."""

SUBJECTS = ("cat", "Note", "Hello!", "I'm here.", "write a poem. Then stop")
NUMBERS = (1, 0, 2, 1, 9, 1)
"""What both instructions of a pair speak of: one subject after the other, and then the next number."""
FIXED: dict[str, Any] = {
    "language": "en",
    "options": "yes, no or cat",
    "percentage": 50,
    "phrase": "the big cat runs",
    "n_start": 0,
    "n_end": 40,
    "num_paragraphs": 1,
    "nth_paragraph": 1,
    "instruction": None,
}
"""Arguments that are not drawn."""


def drawn(rng: random.Random, name: str, kind: Any, subject: str, number: int) -> Any:
    """A value for an argument, about the subject if it is text and near the number if it is one."""
    if name in FIXED:
        return FIXED[name]
    if "less than" in get_args(kind):
        return rng.choice(("less than", "at least"))
    if name == "letter":
        return rng.choice((subject[0], subject[-1]))
    if kind is int:
        return rng.choice((number, number, 0, 1, 2))
    text = rng.choice((subject, subject, re.split(r"\W", subject)[0]))
    return text if kind is str else [text]


@lru_cache(maxsize=4096)
def arguments(name: str, draw: int) -> tuple[Args, ...]:
    """The arguments of an id in one draw: those of an example, or new ones about the draw's subject, if any fit."""
    made, rng = BUILT_IN[name].args, random.Random(f"{SEED}/{name}/{draw}")
    subject, number = SUBJECTS[draw % len(SUBJECTS)], NUMBERS[draw // len(SUBJECTS)]
    if draw == 0 or rng.random() < SHARE_OF_EXAMPLES:
        kwargs = rng.choice([kwargs for case, kwargs, _good, _bad in CASES if case == name])
        return (made.model_validate({key: value for key, value in kwargs.items() if value is not None}),)
    for _ in range(20):
        given = {key: drawn(rng, key, field.annotation, subject, number) for key, field in made.model_fields.items()}
        try:
            return (made.model_validate(given),)
        except ValidationError:
            continue
    return ()


def as_json(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False)


def others_of(text: str) -> Iterator[str]:
    """A text in other shapes, many of which still satisfy what the text satisfied."""
    lines = text.split("\n")
    yield from (text, text.lower(), text.upper(), text.title(), "\n".join(text.split()), " ".join(text.split()))
    yield from (as_json([text]), as_json({"a": text}), "[" + ",\n".join(map(as_json, lines)) + "]")
    yield from (f"{text} {text}", f"{text}\n\n{text}", f"_{text}_", f"{text}s", text.replace(" ", "s ") + "s")
    yield text.translate(str.maketrans("", "", ".!?,"))
    yield "\u3002".join(text.split()[:1] * 2)


@lru_cache(maxsize=256)
def examples(name: str) -> list[str]:
    """What is made of the good examples of an id."""
    good = [text for case, _kwargs, good, _bad in CASES if case == name for text in good]
    return [prepared(other) for text in good if len(text) <= MAX_EXAMPLE_CHARS for other in others_of(text)]


def about(given: Iterable[Any]) -> Iterator[str]:
    """Responses made of the texts among some arguments."""
    texts = {text for value in given for text in (value if isinstance(value, list) else [value])}
    for text in sorted(text for text in texts if isinstance(text, str)):
        bare = text.strip(".!")
        first, _, rest = text.partition(" ")
        yield from (text, text.lower(), f"{bare} there", f"I like {bare}s.", f"One line.\n\n{bare}s on this follow")
        yield from (f"{text} Fine", f"{first.upper()} {rest}", "\n".join(text.split()), "\n\n".join(text.split(" ", 1)))
        yield from (f"_{text}_", f"One line.\n\n_{text} goes on_", f"So_{bare}")


def witness(one: Instruction, other: Instruction) -> str | None:
    """A response that satisfies both, or None where none is found."""
    given = [value for each in (one, other) for value in each.args.model_dump().values()]
    made = dict.fromkeys(prepared(text) for text in about(given))
    for text in (*made, *examples(one.id), *examples(other.id)):
        if one.holds(text) and other.holds(text):
            return text
    return None


@lru_cache(maxsize=8192)
def _is_refused_alone(name: str, draw: int) -> bool:
    drawn_ones = (Instruction(constraint=BUILT_IN[name], args=args) for args in arguments(name, draw))
    return any(contradiction(_item(one)) for one in drawn_ones)


def _item(*instructions: Instruction) -> Item:
    return Item(prompt="", instructions=instructions)


def false_contradiction(one: Constraint, other: Constraint) -> tuple[str, str] | None:
    """(the proof, a response that satisfies both) for two ids that are refused in a draw and can be satisfied."""
    for draw in range(NUM_DRAWS[bool(one.args.model_fields) + bool(other.args.model_fields)]):
        if one.id != other.id and (_is_refused_alone(one.id, draw) or _is_refused_alone(other.id, draw)):
            continue
        for left, right in product(arguments(one.id, draw), arguments(other.id, draw)):
            pair = (Instruction(constraint=one, args=left), Instruction(constraint=other, args=right))
            proof = contradiction(_item(*pair))
            if proof and not proof.startswith(BY_MEANING) and (text := witness(*pair)) is not None:
                return proof, text
    return None


def test_no_pair_that_is_refused_has_a_response_that_satisfies_it():
    for one, other in combinations_with_replacement(BUILT_IN.values(), 2):
        assert (one.id, other.id, false_contradiction(one, other)) == (one.id, other.id, None)


WRONG = [
    ("sentence:keyword", {"may_go_on": ""}, "keywords:forbidden_words"),
    ("sentence:keyword", {"may_go_on": ""}, "keywords:frequency"),
    ("keywords:existence", {"may_go_on": ""}, "keywords:exclude_word_harder"),
    ("detectable_content:postscript", {"may_go_on": ""}, "keywords:forbidden_words"),
    ("detectable_format:square_brackets", {"forbids": "json"}, "detectable_format:json_format"),
    ("format:output_template", {"forbids": "json"}, "detectable_format:json_format"),
    ("combination:two_responses", {"forbids": "json"}, "detectable_format:json_format"),
    ("format:options", {"forbids": "json"}, "detectable_format:json_format"),
    ("custom:multiples", {"forbids": "json"}, "detectable_format:json_format"),
    ("custom:date_format_list", {"forbids": "json"}, "detectable_format:json_format"),
    ("custom:reverse_newline", {"forbids": "json"}, "detectable_format:json_format"),
    ("format:newline", {"excludes": {"detectable_format:bigram_wrapping": "no"}}, "detectable_format:bigram_wrapping"),
    ("first_word:first_word_answer", {"texts": lambda a: [(a.first_word, 1)]}, "punctuation:punctuation_exclamation"),
    (
        "length_constraints:nth_paragraph_first_word",
        {"first": lambda a: a.first_word if a.nth_paragraph == 1 else None},
        "combination:repeat_prompt",
    ),
    (
        "count:counting_composition",
        {"bounds": lambda a: [exactly("sentences", 3 * a.n_sent)]},
        "length_constraints:number_sentences",
    ),
    ("count:person_names", {"needs": "capital"}, "change_case:english_lowercase"),
    ("change_case:capital_word_frequency", {"folds": True}, "copy:copy"),
    ("paragraphs:paragraphs2", {"folds": True}, "copy:copy"),
    ("sentence:increment", {"needs": "space"}, "format:no_whitespace"),
]


@pytest.mark.parametrize(("name", "facts", "other"), WRONG)
def test_a_wrong_fact_is_found_by_the_response_that_satisfies_both(name, facts, other):
    wrong = dataclasses.replace(BUILT_IN[name], **facts)
    found = false_contradiction(wrong, BUILT_IN[other])
    assert found is not None
    assert false_contradiction(BUILT_IN[name], BUILT_IN[other]) is None


JSON = ("detectable_format:json_format", {})
LOWER = ("change_case:english_lowercase", {})


def forbidden(word: str) -> tuple[str, dict[str, Any]]:
    return ("keywords:forbidden_words", {"forbidden_words": [word]})


def capitals(relation: str, number: int) -> tuple[str, dict[str, Any]]:
    return ("change_case:capital_word_frequency", {"capital_frequency": number, "capital_relation": relation})


def copy(text: str) -> tuple[str, dict[str, Any]]:
    return ("copy:copy", {"prompt_to_repeat": text})


SATISFIED = [
    ([("sentence:keyword", {"word": "cat", "N": 1}), forbidden("cat")], "I like cats."),
    (
        [
            ("sentence:keyword", {"word": "cat", "N": 1}),
            ("keywords:frequency", {"keyword": "cat", "frequency": 1, "relation": "less than"}),
        ],
        "I like cats.",
    ),
    (
        [("detectable_content:postscript", {"postscript_marker": "Note"}), forbidden("note")],
        "One line.\n\nNotes on this follow",
    ),
    (
        [("detectable_content:postscript", {"postscript_marker": "P.P.S"}), forbidden("P.S")],
        "One line.\n\nP.P. S. Bye",
    ),
    ([("format:list", {"sep": "cat"}), forbidden("cat")], "one cats two cats three"),
    ([("format:list", {"sep": "cat flap"}), forbidden("cat")], "one acat flap two acat flap three"),
    ([("combination:repeat_prompt", {"prompt_to_repeat": "my cat sat"}), forbidden("my cat")], "my\ncat sat. Fine"),
    ([("combination:repeat_prompt", {"prompt_to_repeat": "a cat"}), forbidden("cat")], "a cat_flap is it"),
    ([JSON, ("detectable_format:square_brackets", {})], '["Hello"]'),
    (
        [JSON, ("format:output_template", {})],
        '{"My Answer:": "x", "My Conclusion:": "y", "Future Outlook:": "z"}',
    ),
    ([JSON, ("combination:two_responses", {})], '{"a": "one thing ****** another thing"}'),
    ([JSON, ("format:options", {"options": "yes, no"})], '["yes"]'),
    ([JSON, ("custom:multiples", {})], "[14, 21, 28, 35, 42, 49]"),
    ([JSON, ("custom:date_format_list", {})], '["1796-04-12", "1805-12-02"]'),
    ([JSON, ("custom:reverse_newline", {})], "[" + ",\n".join(map(as_json, AFRICA)) + "]"),
    ([("format:newline", {}), ("detectable_format:bigram_wrapping", {})], "<<I\nam>>\n<<at\nhome>>"),
    (
        [("first_word:first_word_answer", {"first_word": "Hello!"}), ("punctuation:punctuation_exclamation", {})],
        "Hello there",
    ),
    (
        [
            ("combination:repeat_prompt", {"prompt_to_repeat": "I'm here."}),
            (
                "length_constraints:nth_paragraph_first_word",
                {"num_paragraphs": 1, "nth_paragraph": 1, "first_word": "I"},
            ),
        ],
        "I'm here. Fine",
    ),
    (
        [
            ("combination:repeat_prompt", {"prompt_to_repeat": "Hi"}),
            ("first_word:first_word_answer", {"first_word": "hi/ho"}),
        ],
        "Hi/ho is it",
    ),
    (
        [("startend:end_checker", {"end_phrase": "out"}), ("last_word:last_word_answer", {"last_word": "x-out"})],
        "It is an x-out",
    ),
    (
        [
            ("count:counting_composition", {"n_sent": 1, "n_words": 2}),
            ("length_constraints:number_sentences", {"num_sentences": 3, "relation": "less than"}),
        ],
        "one two\n***\nthree four\n***\nfive six",
    ),
    ([("count:person_names", {"N": 0}), LOWER], "we are here and it is so"),
    ([("count:words_japanese", {"N": 9}), LOWER], "we are here and this is what we \u732b"),
    ([("length_constraints:number_words", {"num_words": 1, "relation": "less than"})], "..."),
    ([("sentence:increment", {"small_n": 0}), ("format:no_whitespace", {})], "\u732b\u3002\u732b"),
    ([copy("write a poem now"), capitals("at least", 1), capitals("less than", 2)], "WRITE a poem now"),
    ([copy("write a poem. then stop."), ("paragraphs:paragraphs2", {})], "write a poem.\n\nthen stop."),
]


@pytest.mark.parametrize(("pairs", "response"), SATISFIED)
def test_an_item_that_a_response_satisfies_is_read(pairs, response):
    for ordered in (pairs, pairs[::-1]):
        item = read_item(row(*ordered))
        assert [one.id for one in item.instructions if not one.holds(prepared(response))] == []


@pytest.mark.parametrize(
    ("pairs", "response"),
    [
        ([("startend:end_checker", {"end_phrase": "my cat"}), forbidden("cat")], "I love my cat_"),
        ([("first_word:first_word_answer", {"first_word": "so"}), forbidden("so")], "_So_ it is"),
        ([("count:pronouns", {"N": 3}), ("count:word_count_range", {"min_words": 0, "max_words": 1})], "he_she_it"),
        ([("words:last_first", {}), ("count:count_unique", {})], "cat\u3002cat"),
        ([("words:last_first", {}), ("words:no_consecutive", {})], "\u732b\u3002\u300d\u732b"),
        (
            [("format:sub-bullets", {}), ("detectable_format:number_bullet_lists", {"num_bullets": 0})],
            "* *\n- -",
        ),
    ],
)
def test_signs_do_not_make_a_contradiction_hold(pairs, response):
    with pytest.raises(Contradiction):
        read_item(row(*pairs))
    one, other = (read_item(row(pair)).instructions[0] for pair in pairs)
    assert not (one.holds(prepared(response)) and other.holds(prepared(response)))
