"""Instructions with drawn arguments: a response built to hold them passes, and the nearest ones that do not fail.

Each maker draws the arguments of one id and gives (arguments, responses that hold, near misses). The hand-written
examples beside this file cover every id; these cover those that count, place or copy, over many arguments.
"""

from __future__ import annotations

import json
import random
from collections.abc import Callable
from typing import Any

import pytest

from gyms.constraints.item import read_item
from gyms.constraints.text import prepared
from gyms.constraints.wordlists import split_words

Made = tuple[dict[str, Any], list[str], list[str]]
Rng = random.Random

WORDS = split_words(
    """amber bridge candle dragon engine forest garden harbor island jacket kettle ladder meadow needle orchard pepper
    quartz ribbon saddle timber umbrella velvet window yellow zephyr"""
)
NUM_DRAWS = 25


def some(rng: Rng, count: int) -> list[str]:
    return rng.sample(WORDS, count)


def text_of(rng: Rng, count: int, words: list[str] = WORDS) -> str:
    """Words in lower case, with repetitions."""
    return " ".join(rng.choices(words, k=count))


def sentences_of(rng: Rng, count: int) -> str:
    return " ".join(f"The {text_of(rng, rng.randint(2, 6))}{rng.choice('.!?')}" for _ in range(count))


def mixed(rng: Rng, parts: list[str]) -> str:
    parts = list(parts)
    rng.shuffle(parts)
    return " ".join(parts)


def with_times(rng: Rng, counts: dict[str, int]) -> str:
    """Each keyword so many times, among other words, and each once more inside of a longer word."""
    others = [word for word in WORDS if word not in counts]
    parts = [word for word, count in counts.items() for _ in range(count)]
    return mixed(rng, [*parts, *rng.choices(others, k=8), *(f"un{word}ly" for word in counts)])


def existence(rng: Rng) -> Made:
    first, second = some(rng, 2)
    return (
        {"keywords": [first, second]},
        [with_times(rng, {first: 1, second: 2}), f"{first.upper()}s, {second}!"],
        [with_times(rng, {first: 3, second: 0}), f"un{first} {second}"],
    )


def at_least(number: str, build: Callable[[Rng, int], str], relation: str = "relation") -> Any:
    """A maker for ids that count something `at least` or `less than` so many times."""

    def make(rng: Rng) -> Made:
        wanted = rng.randint(2, 12)
        if rng.random() < 0.5:
            args = {number: wanted, relation: "at least"}
            return args, [build(rng, wanted), build(rng, wanted + 3)], [build(rng, wanted - 1)]
        args = {number: wanted, relation: "less than"}
        return args, [build(rng, wanted - 1)], [build(rng, wanted), build(rng, wanted + 3)]

    return make


def keyword_frequency(rng: Rng) -> Made:
    (word,) = some(rng, 1)
    args, good, bad = at_least("frequency", lambda r, n: with_times(r, {word: n}))(rng)
    return {**args, "keyword": word}, good, bad


def letter_frequency(rng: Rng) -> Made:
    def built(rng: Rng, count: int) -> str:
        return mixed(rng, ["xX"] * (count // 2) + ["x"] * (count % 2) + ["we"])

    args, good, bad = at_least("let_frequency", built, "let_relation")(rng)
    return {**args, "letter": "x"}, good, bad


def word_once(rng: Rng) -> Made:
    (word,) = some(rng, 1)
    return {"keyword": word}, [with_times(rng, {word: 1})], [with_times(rng, {word: n}) for n in (0, 2)]


def two_keywords(rng: Rng) -> Made:
    one, two = some(rng, 2)
    bad = [with_times(rng, {one: a, two: b}) for a, b in ((1, 1), (2, 2), (0, 2), (1, 3))]
    return {"keyword1": one, "keyword2": two}, [with_times(rng, {one: 1, two: 2})], bad


def five_keywords(rng: Rng) -> Made:
    words, counts = some(rng, 5), [1, 2, 3, 5, 7]
    off = list(counts)
    off[rng.randrange(5)] += rng.choice((-1, 1))
    return (
        {f"keyword{n + 1}": word for n, word in enumerate(words)},
        [with_times(rng, dict(zip(words, counts, strict=True)))],
        [with_times(rng, dict(zip(words, off, strict=True)))],
    )


def forbidden(rng: Rng) -> Made:
    words = some(rng, 2)
    return (
        {"forbidden_words": words},
        [with_times(rng, dict.fromkeys(words, 0))],
        [with_times(rng, {words[0]: 1, words[1]: 0}), f"so {words[1].upper()}!"],
    )


def starred_paragraphs(rng: Rng) -> Made:
    count = rng.randint(2, 6)
    paragraphs = [sentences_of(rng, 2) for _ in range(count + 1)]
    near = ["\n***\n".join(paragraphs), "\n***\n".join(paragraphs[:-2]), "\n\n".join(paragraphs[:-1])]
    return {"num_paragraphs": count}, ["\n***\n".join(paragraphs[:-1])], near


def nth_paragraph(rng: Rng) -> Made:
    count = rng.randint(2, 5)
    place = rng.randint(1, count)
    (word,) = some(rng, 1)
    paragraphs = [sentences_of(rng, 1) for _ in range(count)]
    right = [*paragraphs[: place - 1], f"{word.capitalize()} and so on.", *paragraphs[place:]]
    args = {"num_paragraphs": count, "nth_paragraph": place, "first_word": word}
    return args, ["\n\n".join(right)], ["\n\n".join(paragraphs), "\n\n".join([*right, "More."]), "\n".join(right)]


def placeholders(rng: Rng) -> Made:
    count = rng.randint(1, 6)
    parts = [f"[{word}]" for word in some(rng, count)]
    return {"num_placeholders": count}, [mixed(rng, [*parts, "to", "by"])], [mixed(rng, [*parts[1:], "[]", "[ ]"])]


def postscript(rng: Rng) -> Made:
    marker = rng.choice(("P.S.", "P.P.S", "N.B."))
    body = sentences_of(rng, 3)
    return {"postscript_marker": marker}, [f"{body}\n\n{marker} More."], [body, f"{body}\n\n{marker}", f"x{marker} no"]


def bullets(rng: Rng) -> Made:
    count = rng.randint(1, 7)
    lines = [f"{rng.choice('*-')} {text_of(rng, 3)}" for _ in range(count + 1)]
    return {"num_bullets": count}, ["So:\n" + "\n".join(lines[:-1])], ["\n".join(lines), "\n".join(lines[:-2]) or "no"]


def highlights(rng: Rng) -> Made:
    count = rng.randint(1, 6)
    parts = [rng.choice(("*{}*", "**{}**")).format(text_of(rng, 2)) for _ in range(count)]
    return {"num_highlights": count}, [" and ".join(parts)], [" and ".join([*parts[1:], "* no *", "**"])]


def sections(rng: Rng) -> Made:
    count = rng.randint(2, 5)
    mark = rng.choice(("Section", "PART", "Day"))
    parts = [f"{mark} {n + 1}\n{sentences_of(rng, 1)}" for n in range(count)]
    near = ["\n\n".join(parts[:-1]), "\n\n".join(part.replace(f"{mark} ", f"{mark} x") for part in parts)]
    return {"section_spliter": mark, "num_sections": count}, ["\n\n".join(parts)], near


def json_value(rng: Rng) -> Made:
    value = {word: [rng.randint(-9, 9), {word: None}, text_of(rng, 2), rng.random() < 0.5] for word in some(rng, 3)}
    text = json.dumps(value)
    return {}, [text, f"```json\n{json.dumps(value, indent=2)}\n```"], [text[:-1], f"Here: {text}", text + ","]


def title(rng: Rng) -> Made:
    name = text_of(rng, 3)
    return {}, [f"<<{name}>>\n{sentences_of(rng, 2)}"], [f"<{name}>", f"<<>> {name}", f"<<{name}>", name]


def two_responses(rng: Rng) -> Made:
    one, two = f"First, {text_of(rng, 4)}.", f"Second, {text_of(rng, 4)}."
    near = [f"{one}\n******\n{one}", f"{one}\n*****\n{two}", one, f"{one}\n******\n{two}\n******\nThird."]
    return {}, [f"{one}\n******\n{two}"], near


def repeat_prompt(rng: Rng) -> Made:
    request = f"Write about {text_of(rng, 4)}."
    return {"prompt_to_repeat": request}, [f"{request}\n\n{sentences_of(rng, 2)}"], [sentences_of(rng, 2), request[1:]]


def end_phrase(rng: Rng) -> Made:
    phrase = f"That is {text_of(rng, 3)}."
    body = sentences_of(rng, 2)
    return {"end_phrase": phrase}, [f"{body} {phrase}", f"{body} {phrase.upper()}"], [f"{phrase} {body}", body]


def all_capitals(rng: Rng) -> Made:
    text = f"We have the {text_of(rng, 4)} and it is in the {text_of(rng, 3)}."
    return {}, [text.upper()], [text, text.title(), text.lower()]


def all_lowercase(rng: Rng) -> Made:
    text = f"we have the {text_of(rng, 4)} and it is in the {text_of(rng, 3)}."
    return {}, [text], [text.capitalize(), text.upper()]


def without(sign: str) -> Callable[[Rng], Made]:
    def make(rng: Rng) -> Made:
        words = some(rng, 6)
        place = rng.randrange(1, 6)
        return {}, [" ".join(words)], [" ".join(words[:place]) + sign + " " + " ".join(words[place:])]

    return make


def quotation(rng: Rng) -> Made:
    text = sentences_of(rng, 2)
    return {}, [f'"{text}"'], [text, f'"{text}', f"'{text}'"]


def exact_copy(rng: Rng) -> Made:
    request = sentences_of(rng, 2)
    return {"prompt_to_repeat": request}, [request], [request + " More.", request[:-2], "So: " + request]


def many_copies(rng: Rng) -> Made:
    request, count = sentences_of(rng, 1), rng.randint(2, 5)
    near = ["\n******\n".join([request] * n) for n in (count - 1, count + 1)]
    return {"prompt_to_repeat": request, "N": count}, ["\n******\n".join([request] * count)], near


def blank_paragraphs(rng: Rng) -> Made:
    parts = [sentences_of(rng, 2) for _ in range(3)]
    return {}, ["\n\n".join(parts[:2])], ["\n\n".join(parts), parts[0], "\n".join(parts[:2])]


def first_word(rng: Rng) -> Made:
    word, other = some(rng, 2)
    return {"first_word": word}, [f"{word.capitalize()}, {other} and more."], [f"{other} {word}", f"{word}s {other}"]


def last_word(rng: Rng) -> Made:
    word, other = some(rng, 2)
    return {"last_word": word}, [f"And {other}, {word}."], [f"{word} {other}.", f"{other} {word}s."]


def word_range(rng: Rng) -> Made:
    low = rng.randint(2, 9)
    high = low + rng.randint(0, 5)
    near = [text_of(rng, low - 1), text_of(rng, high + 1)]
    return {"min_words": low, "max_words": high}, [text_of(rng, low), text_of(rng, high)], near


def numbers(rng: Rng) -> Made:
    count = rng.randint(1, 6)
    parts = [str(rng.randint(1, 999)) for _ in range(count + 1)]
    return {"N": count}, [" and ".join(parts[:-1])], [" and ".join(parts), " and ".join(parts[:-2]) or "none"]


def word_in_sentence(rng: Rng) -> Made:
    (word,) = some(rng, 1)
    place = rng.randint(1, 4)
    parts = [f"We saw number {n}." for n in range(4)]
    right = [*parts[: place - 1], f"The {word} was there.", *parts[place:]]
    wrong = [*parts[: place - 1], f"The un{word} was there.", *parts[place:]]
    return {"word": word, "N": place}, [" ".join(right)], [" ".join(parts), " ".join(wrong)]


def word_at_place(rng: Rng) -> Made:
    (word,) = some(rng, 1)
    sentence, place = rng.randint(1, 3), rng.randint(1, 4)
    words = ["we", "can", "see", "more"]
    filled = [*words[: place - 1], word, *words[place - 1 :]]
    parts = ["Here it is."] * (sentence - 1) + [" ".join(filled) + "."]
    args = {"keyword": word, "n": sentence, "m": place}
    shifted = ["Here it is."] * (sentence - 1) + ["So " + " ".join(filled) + "."]
    return args, [" ".join(parts)], [" ".join(shifted), "One. " + " ".join(parts)]


def second_words(rng: Rng) -> Made:
    word, other = some(rng, 2)
    return {"keyword": word}, [f"The {word} is by the {word} today."], [f"The {other} is by the {word} today.", word]


def unique_words(rng: Rng) -> Made:
    words = some(rng, 8)
    return {}, [" ".join(words)], [" ".join([*words, words[0].capitalize()])]


def few_repeats(rng: Rng) -> Made:
    count = rng.randint(1, 4)
    one, two = some(rng, 2)
    return {"small_n": count}, [mixed(rng, [one, two] * count)], [mixed(rng, [one] * (count + 1) + [two])]


def composition(rng: Rng) -> Made:
    num_sentences, num_words = rng.randint(1, 3), rng.randint(2, 5)

    def built(sentences: int, words: int) -> str:
        sentence = " ".join(["Go", *["far"] * (words - 1)]) + "."
        return "\n* * *\n".join([" ".join([sentence] * sentences)] * 3)

    near = [built(num_sentences, num_words + 1), built(num_sentences + 1, num_words)]
    return {"n_sent": num_sentences, "n_words": num_words}, [built(num_sentences, num_words)], near


def same_ends(rng: Rng) -> Made:
    word, other = some(rng, 2)
    return {}, [f"{word.capitalize()} {other} {word}"], [f"{word} {other} {word}.", f"{word} {other}"]


MAKERS: dict[str, Callable[[Rng], Made]] = {
    "keywords:existence": existence,
    "keywords:frequency": keyword_frequency,
    "keywords:word_count_different_numbers": keyword_frequency,
    "keywords:letter_frequency": letter_frequency,
    "letters:letter_counting2": letter_frequency,
    "keywords:word_once": word_once,
    "count:count_increment_word": two_keywords,
    "count:keywords_multiple": five_keywords,
    "keywords:forbidden_words": forbidden,
    "length_constraints:number_words": at_least("num_words", text_of),
    "length_constraints:number_sentences": at_least("num_sentences", sentences_of),
    "letters:letter_counting": at_least("N", lambda rng, n: "1 2, " + " ".join("a" * n)),
    "change_case:capital_word_frequency": at_least(
        "capital_frequency", lambda rng, n: mixed(rng, ["SO"] * n + ["So", "so"]), "capital_relation"
    ),
    "length_constraints:number_paragraphs": starred_paragraphs,
    "length_constraints:nth_paragraph_first_word": nth_paragraph,
    "detectable_content:number_placeholders": placeholders,
    "detectable_content:postscript": postscript,
    "detectable_format:number_bullet_lists": bullets,
    "detectable_format:number_highlighted_sections": highlights,
    "detectable_format:multiple_sections": sections,
    "detectable_format:json_format": json_value,
    "detectable_format:title": title,
    "combination:two_responses": two_responses,
    "combination:repeat_prompt": repeat_prompt,
    "startend:end_checker": end_phrase,
    "change_case:english_capital": all_capitals,
    "change_case:english_lowercase": all_lowercase,
    "punctuation:no_comma": without(","),
    "punctuation:punctuation_dot": without("."),
    "punctuation:punctuation_exclamation": without("!"),
    "startend:quotation": quotation,
    "copy:copy": exact_copy,
    "copy:copying_simple": exact_copy,
    "copy:copying_multiple": many_copies,
    "paragraphs:paragraphs2": blank_paragraphs,
    "first_word:first_word_answer": first_word,
    "last_word:last_word_answer": last_word,
    "count:word_count_range": word_range,
    "count:numbers": numbers,
    "sentence:keyword": word_in_sentence,
    "words:keywords_specific_position": word_at_place,
    "keywords:keyword_specific_position": word_at_place,
    "words:words_position": second_words,
    "count:count_unique": unique_words,
    "words:repeats": few_repeats,
    "count:counting_composition": composition,
    "keywords:start_end": same_ends,
}


@pytest.mark.parametrize("name", MAKERS)
def test_what_is_built_to_hold_holds_and_its_nearest_misses_do_not(name: str) -> None:
    for draw in range(NUM_DRAWS):
        args, good, bad = MAKERS[name](random.Random(f"{name}/{draw}"))
        instruction = read_item({"instruction_id_list": [name], "kwargs": [args]}).instructions[0]
        for text, wanted in [*((text, True) for text in good), *((text, False) for text in bad)]:
            assert instruction.holds(prepared(text)) is wanted, (args, text)
