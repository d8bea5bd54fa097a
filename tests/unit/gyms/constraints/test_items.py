"""Malformed and contradictory items are refused; everything else is read."""

import dataclasses
import json
from pathlib import Path

import pytest

from gyms.constraints import registry
from gyms.constraints.document import generated
from gyms.constraints.item import ItemError, read_item
from gyms.constraints.rule import Constraint, Rules

WORDS = {"num_words": 5, "relation": "at least"}


def row(*pairs, **more):
    """An item in the published form from (id, arguments) pairs."""
    return {
        "prompt": "Write.",
        "instruction_id_list": [name for name, _kwargs in pairs],
        "kwargs": [kwargs for _name, kwargs in pairs],
        **more,
    }


MALFORMED = [
    ({"prompt": "x"}, "instruction_id_list"),
    ({"prompt": "x", "instruction_id_list": [], "kwargs": []}, "instruction_id_list"),
    ({"prompt": "x", "instruction_id_list": "punctuation:no_comma", "kwargs": [{}]}, "instruction_id_list"),
    ({"prompt": "x", "instruction_id_list": ["punctuation:no_comma"]}, "kwargs"),
    ({"prompt": "x", "instruction_id_list": ["punctuation:no_comma"], "kwargs": {}}, "kwargs"),
    ({"prompt": "x", "instruction_id_list": ["punctuation:no_comma"], "kwargs": [{}, {}]}, "must match"),
    (row(("punctuation:no_coma", {})), "did you mean 'punctuation:no_comma'"),
    (row((7, {})), "unknown instruction id"),
    (row((["a"], {})), "unknown instruction id"),
    (row(("punctuation:no_comma", "x")), "must be a dict"),
    (row(("punctuation:no_comma", {"x": 1})), "there is no argument 'x'"),
    (row(("length_constraints:number_words", {"num_words": 5})), "'relation' is missing"),
    (row(("length_constraints:number_words", {**WORDS, "num_words": None})), "'num_words' is missing"),
    (row(("length_constraints:number_words", {**WORDS, "num_words": "5"})), "num_words"),
    (row(("length_constraints:number_words", {**WORDS, "num_words": 5.5})), "num_words"),
    (row(("length_constraints:number_words", {**WORDS, "num_words": True})), "num_words"),
    (row(("length_constraints:number_words", {**WORDS, "num_words": -1})), "num_words"),
    (row(("length_constraints:number_words", {**WORDS, "num_words": float("nan")})), "num_words"),
    (row(("length_constraints:number_words", {**WORDS, "relation": "around"})), "relation"),
    (row(("keywords:existence", {"keywords": []})), "keywords"),
    (row(("keywords:existence", {"keywords": [" "]})), "keywords"),
    (row(("keywords:existence", {"keywords": "cat"})), "keywords"),
    (row(("keywords:existence", {"keywords": [1]})), "keywords"),
    (row(("keywords:letter_frequency", {"letter": "ab", "let_frequency": 1, "let_relation": "at least"})), "letter"),
    (row(("language:response_language", {"language": "klingon"})), "language"),
    (row(("combination:repeat_prompt", {})), "prompt_to_repeat"),
    (row(("copy:repeat_phrase", {"phrase": "two words", "small_n": 2})), "phrase"),
    (row(("count:word_count_range", {"min_words": 9, "max_words": 3})), "min_words"),
    (
        row(
            (
                "length_constraints:nth_paragraph_first_word",
                {"num_paragraphs": 2, "nth_paragraph": 3, "first_word": "a"},
            )
        ),
        "nth_paragraph",
    ),
    (row(("new:copy_span_idx", {"prompt_to_repeat": "abc", "n_start": 9, "n_end": 12})), "empty"),
    (row(("punctuation:no_comma", {}), mode="lenient"), "mode"),
    (row(("punctuation:no_comma", {}), compat=True), "'compat' asks for the flaws .* remove it"),
    (row(("punctuation:no_comma", {}), prompt=5), "prompt"),
]


@pytest.mark.parametrize(("data", "told"), MALFORMED)
def test_a_malformed_item_is_refused_with_its_cause(data, told):
    with pytest.raises(ItemError, match=told.replace("(", r"\(")):
        read_item(data)


LOWER, CAPITAL = ("change_case:english_lowercase", {}), ("change_case:english_capital", {})
JSON, QUOTED = ("detectable_format:json_format", {}), ("startend:quotation", {})
NO_COMMA = ("punctuation:no_comma", {})


def keywords(*words):
    return ("keywords:existence", {"keywords": list(words)})


def words(relation, number):
    return ("length_constraints:number_words", {"num_words": number, "relation": relation})


def frequency(keyword, relation, number):
    return ("keywords:frequency", {"keyword": keyword, "frequency": number, "relation": relation})


def language(code):
    return ("language:response_language", {"language": code})


def letter(sign, relation, number):
    return ("keywords:letter_frequency", {"letter": sign, "let_frequency": number, "let_relation": relation})


CONTRADICTORY = [
    (LOWER, CAPITAL),
    (NO_COMMA, keywords("yes, sir")),
    (NO_COMMA, ("startend:end_checker", {"end_phrase": "Well, bye"})),
    (NO_COMMA, ("combination:repeat_prompt", {"prompt_to_repeat": "Hi, write"})),
    (NO_COMMA, ("custom:csv_city", {})),
    (words("at least", 100), words("less than", 50)),
    (words("less than", 0),),
    (words("less than", 10), ("count:word_count_range", {"min_words": 20, "max_words": 30})),
    (words("less than", 10), ("length_constraints:number_sentences", {"num_sentences": 20, "relation": "at least"})),
    (words("less than", 3), ("startend:end_checker", {"end_phrase": "That is all I know"})),
    (
        words("less than", 5),
        ("change_case:capital_word_frequency", {"capital_frequency": 9, "capital_relation": "at least"}),
    ),
    (
        ("length_constraints:number_sentences", {"num_sentences": 5, "relation": "at least"}),
        ("length_constraints:number_sentences", {"num_sentences": 3, "relation": "less than"}),
    ),
    (
        ("length_constraints:number_paragraphs", {"num_paragraphs": 2}),
        ("length_constraints:number_paragraphs", {"num_paragraphs": 3}),
    ),
    (("length_constraints:number_paragraphs", {"num_paragraphs": 3}), ("paragraphs:paragraphs", {})),
    (
        ("detectable_format:number_bullet_lists", {"num_bullets": 2}),
        ("detectable_format:number_bullet_lists", {"num_bullets": 3}),
    ),
    (keywords("cat flap"), ("keywords:forbidden_words", {"forbidden_words": ["Cat"]})),
    (("startend:end_checker", {"end_phrase": "my cat"}), ("keywords:exclude_word_harder", {"keyword": "cat"})),
    (frequency("cat", "at least", 3), frequency("cat", "less than", 2)),
    (("keywords:word_once", {"keyword": "cat"}), frequency("cat", "less than", 1)),
    (("startend:end_checker", {"end_phrase": "That is my cat."}), frequency("cat", "less than", 1)),
    (("keywords:word_once", {"keyword": "cat"}), frequency("Cat", "at least", 2)),
    (keywords("cat"), letter("a", "less than", 1)),
    (letter("a", "at least", 4), letter("A", "less than", 4)),
    (("letters:letter_counting", {"N": 3, "relation": "less than"}), keywords("elephant")),
    (language("de"), language("fr")),
    (language("de"), LOWER),
    (JSON, QUOTED),
    (JSON, ("startend:end_checker", {"end_phrase": "Bye."})),
    (LOWER, ("detectable_format:constrained_response", {})),
    (LOWER, ("detectable_format:multiple_sections", {"section_spliter": "SECTION", "num_sections": 2})),
    (CAPITAL, ("detectable_format:multiple_sections", {"section_spliter": "Section", "num_sections": 2})),
    (LOWER, ("change_case:capital_word_frequency", {"capital_frequency": 2, "capital_relation": "at least"})),
    (("punctuation:punctuation_dot", {}), ("startend:end_checker", {"end_phrase": "The end."})),
    (("punctuation:punctuation_exclamation", {}), ("startend:end_checker", {"end_phrase": "Peace!"})),
    (("punctuation:punctuation_dot", {}), ("detectable_content:postscript", {"postscript_marker": "P.S."})),
    (("format:no_whitespace", {}), keywords("two words")),
    (("format:no_whitespace", {}), ("paragraphs:paragraphs2", {})),
    (("first_word:first_word_answer", {"first_word": "So"}), ("first_word:first_word_answer", {"first_word": "But"})),
    (("last_word:last_word_answer", {"last_word": "now"}), ("startend:end_checker", {"end_phrase": "the end"})),
    (QUOTED, ("combination:repeat_prompt", {"prompt_to_repeat": "Write a poem"})),
    (("keywords:start_end", {}), QUOTED),
    (("copy:copying_simple", {"prompt_to_repeat": "Say hi"}), words("at least", 10)),
    (("copy:copy", {"prompt_to_repeat": "Say hi"}), keywords("cat")),
    (("repeat:repeat_simple", {}), NO_COMMA),
    (
        (
            "count:keywords_multiple",
            {"keyword1": "art", "keyword2": "modern art", "keyword3": "c", "keyword4": "d", "keyword5": "e"},
        ),
    ),
]


@pytest.mark.parametrize("pairs", CONTRADICTORY)
def test_a_contradictory_item_is_refused(pairs):
    for ordered in (pairs, pairs[::-1]):
        with pytest.raises(ItemError, match="contradict"):
            read_item(row(*ordered))


@pytest.mark.parametrize(
    "pairs",
    [
        (LOWER, keywords("Cat")),
        (words("at least", 5), words("less than", 50)),
        (keywords("cats"), ("keywords:forbidden_words", {"forbidden_words": ["cat"]})),
        (QUOTED, ("startend:end_checker", {"end_phrase": "Bye."})),
        (LOWER, ("detectable_content:postscript", {"postscript_marker": "P.S."})),
        (JSON, keywords("a", "b")),
        (keywords("category"), frequency("cat", "less than", 1)),
        (keywords("cat"), frequency("cat", "less than", 1)),  # "cats"
        (keywords("cat"), ("keywords:forbidden_words", {"forbidden_words": ["Cat"]})),
        (keywords("Section"), ("detectable_format:multiple_sections", {"section_spliter": "Part", "num_sections": 3})),
        (LOWER, language("en")),
        (NO_COMMA, NO_COMMA),
        (("copy:copying_simple", {"prompt_to_repeat": "Say hi to the cat and to me"}), LOWER),
        (("length_constraints:number_paragraphs", {"num_paragraphs": 3}), ("paragraphs:paragraphs2", {})),
    ],
)
def test_what_can_be_satisfied_is_not_refused(pairs):
    assert len(read_item(row(*pairs)).instructions) == 2


def test_nulls_stand_for_what_is_not_given():
    item = read_item(row(("length_constraints:number_words", {**WORDS, "keyword": None, "N": None})))
    assert item.instructions[0].args.model_dump() == WORDS


def test_whole_floats_of_published_files_are_whole_numbers():
    item = read_item(row(("count:numbers", {"N": 3.0})))
    assert item.instructions[0].args.model_dump() == {"N": 3}


def test_the_mode_of_the_row_wins():
    assert read_item(row(NO_COMMA, mode="loose"), mode="strict").mode == "loose"
    assert read_item(row(NO_COMMA, mode=None, compat=False), mode="loose").mode == "loose"


def test_the_documentation_is_up_to_date():
    page = Path(__file__).parents[4] / "docs" / "constraints.md"
    assert page.read_text(encoding="utf-8").endswith(generated())


class Offer:
    """An entry point that offers a constraint."""

    name, value = "offer", "my_ids:NO_Z"

    def __init__(self, constraint):
        self.constraint = constraint

    def load(self):
        return self.constraint


@pytest.fixture
def offer(monkeypatch):
    """Let another package offer something; what is offered is looked up once, so it is forgotten behind the test."""

    def offered(entry):
        monkeypatch.setattr(registry, "entry_points", lambda group: [Offer(entry)])
        registry._offered.cache_clear()

    yield offered
    registry._offered.cache_clear()


def test_another_package_may_offer_an_id_but_not_a_built_in_one(offer):
    no_z = Constraint(id="my:no_z", rule="No z.", source="mine", check=lambda text, args: "z" not in text)
    offer(no_z)
    assert read_item(row(("my:no_z", {}))).instructions[0].holds("abc")
    offer(dataclasses.replace(no_z, id="keywords:existence"))
    with pytest.raises(ValueError, match="taken"):
        read_item(row(("my:no_z", {})))


def test_another_package_may_offer_decorated_functions_and_its_facts_are_heard(offer):
    rules = Rules()

    @rules.of("mine")("my:no_letter", forbids="comma")
    def no_letter(text: str, letter: str) -> bool:
        """Do not use the letter {letter}."""
        return letter not in text

    offer(rules)
    pair = ("my:no_letter", {"letter": "z"})
    assert [read_item(row(pair)).instructions[0].holds(text) for text in ("abc", "xyz")] == [True, False]
    with pytest.raises(ItemError, match="it needs a comma"):
        read_item(row(pair, ("custom:csv_city", {})))


def test_a_huge_number_of_copies_is_not_written_out():
    pair = ("copy:copying_multiple", {"prompt_to_repeat": "x" * 40_000, "N": 1_000_000})
    assert len(read_item(row(pair, NO_COMMA)).instructions) == 2


def test_either_list_may_be_json_text():
    item = row(("length_constraints:number_words", WORDS), NO_COMMA)
    packed = {**item, **{name: json.dumps(item[name]) for name in ("instruction_id_list", "kwargs")}}
    assert read_item(packed) == read_item(item)
    with pytest.raises(ItemError, match="must be a list"):
        read_item({**item, "kwargs": "[{}"})
