"""How many words, letters, sentences, names and marks there are.

As IFEval has it, words are counted as runs of letters, digits and underscores where a number of words is asked for.
"""

from __future__ import annotations

import re
from collections import Counter
from typing import Annotated

from pydantic import Field

from gyms.constraints.arguments import Letter, Percent, Positive, Relation, Text, Whole
from gyms.constraints.marks import END_MARKS
from gyms.constraints.rule import Rules, at_least, exactly, related
from gyms.constraints.text import compares, low_words, plain_words, sentences, tokens, word_tokens
from gyms.constraints.wordlists import CONJUNCTIONS, PERSON_NAMES, PRONOUNS, STOP_WORDS

RULES = Rules()
ifeval, ifbench, training = (RULES.of(source) for source in ("IFEval", "IFBench", "open-instruct"))
_NUMBER = re.compile(r"\d+(?:[.,]\d+)*")
_JAPANESE = re.compile("[\u3005\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uff66-\uff9f]")
_MAIN_MARKS = frozenset(".,!?;:")
_INTERROBANGS = ("?!", "!?", "\u203d")
OVERLAP_TOLERANCE = 2.0
"""Percentage points that the overlap may be off, as the instruction says."""


@ifeval("length_constraints:number_words", bounds=lambda a: [related("words", a.relation, a.num_words)], folds=True)
def number_words(text: str, num_words: Whole, relation: Relation) -> bool:
    """Answer with {relation} {num_words} words."""
    return compares(len(plain_words(text)), relation, num_words)


@ifbench(
    "count:word_count_range",
    refuses=lambda a: (
        f"min_words = {a.min_words} is above max_words = {a.max_words}" if a.min_words > a.max_words else None
    ),
    bounds=lambda a: [("words", a.min_words, a.max_words)],
    folds=True,
)
def word_count_range(text: str, min_words: Whole, max_words: Whole) -> bool:
    """The response must contain between {min_words} and {max_words} words."""
    return min_words <= len(plain_words(text)) <= max_words


@ifbench("count:unique_word_count", bounds=lambda a: [at_least("words", a.N)], folds=True)
def unique_word_count(text: str, N: Whole) -> bool:
    """Use at least {N} unique words in the response.
    Differs: a lone punctuation mark is no word."""
    return len(set(low_words(text))) >= N


@training("count:count_unique", folds=True)
def count_unique(text: str) -> bool:
    """Only use unique words in your response, no word should be repeated!
    Differs: punctuation marks are no words, and case does not matter."""
    words = low_words(text)
    return bool(words) and len(words) == len(set(words))


@ifbench("words:repeats", folds=True)
def repeats(text: str, small_n: Positive) -> bool:
    """The response should not repeat any word more than {small_n} times.
    Differs: punctuation inside of words stays, typographic punctuation goes."""
    return max(Counter(low_words(text)).values(), default=0) <= small_n


@ifeval("length_constraints:number_sentences", bounds=lambda a: [related("sentences", a.relation, a.num_sentences)])
def number_sentences(text: str, num_sentences: Whole, relation: Relation) -> bool:
    """Your response should contain {relation} {num_sentences} sentences.
    Differs: upstream has a trained sentence splitter, which is not available here."""
    return compares(len(sentences(text)), relation, num_sentences)


def _num_types(text: str) -> tuple[int, int, int]:
    """Sentences that end as a statement, as a question, as an exclamation; quotes and emoji behind the mark aside."""
    marks = ([c for c in sentence[-8:] if END_MARKS.get(c)] for sentence in sentences(text))
    ends = Counter(END_MARKS[found[-1]] for found in marks if found)
    return ends["."], ends["?"], ends["!"]


@ifbench("ratio:sentence_type", bounds=[at_least("sentences", 3)], needs="dot")
def sentence_type(text: str) -> bool:
    """Maintain a 2:1 ratio of declarative to interrogative sentences.
    Differs: 0 to 0 is no ratio; a closing quote behind the mark does not hide it."""
    statements, questions, _exclamations = _num_types(text)
    return questions > 0 and statements == 2 * questions


@ifbench("ratio:sentence_balance", bounds=[at_least("sentences", 3)], needs="dot exclamation")
def sentence_balance(text: str) -> bool:
    """Ensure that the ratio of sentence types (declarative, interrogative, exclamatory) is balanced.
    Differs: each type must occur; a closing quote behind the mark does not hide it."""
    statements, questions, exclamations = _num_types(text)
    return 0 < statements == questions == exclamations


@training("letters:letter_counting", bounds=lambda a: [related("letters", a.relation, a.N)], folds=True, is_short=True)
def letter_counting(text: str, N: Whole, relation: Relation) -> bool:
    """Answer with {relation} {N} letters.
    Differs: letters of all scripts count."""
    return compares(sum(character.isalpha() for character in text), relation, N)


@training("letters:letter_counting2")
@ifeval(
    "keywords:letter_frequency",
    bounds=lambda a: [related(("the letter", a.letter.lower()), a.let_relation, a.let_frequency)],
    folds=True,
)
def letter_frequency(text: str, letter: Letter, let_frequency: Whole, let_relation: Relation) -> bool:
    """In your response, the letter {letter} should appear {let_relation} {let_frequency} times.
    Differs: a sign such as ! or # is counted as given, upstream replaces it by a random letter."""
    return compares(text.lower().count(letter.lower()), let_relation, let_frequency)


@ifeval(
    "change_case:capital_word_frequency",
    bounds=lambda a: [
        related("words in capitals", a.capital_relation, a.capital_frequency),
        at_least("words", a.capital_frequency if a.capital_relation == "at least" else 0),
    ],
)
def capital_word_frequency(text: str, capital_frequency: Whole, capital_relation: Relation) -> bool:
    """In your response, words with all capital letters should appear {capital_relation} {capital_frequency} times.
    Differs: tokens are words with inner hyphens and apostrophes, upstream's tokenizer cuts DON'T into two."""
    return compares(sum(word.isupper() for word in tokens(text)), capital_relation, capital_frequency)


@training("count:lowercase_counting", bounds=lambda a: [("lower-case words", 0, a.N)], is_short=True)
def lowercase_counting(text: str, N: Whole) -> bool:
    """In your response, all lowercase words should appear at most {N} times.
    Differs: letters of all scripts, and don't is one word."""
    return sum(word.islower() for word in tokens(text)) <= N


@ifbench("count:numbers", bounds=lambda a: [at_least("words", min(a.N, 1)), exactly("numbers", a.N)], folds=True)
def numbers(text: str, N: Whole) -> bool:
    """Include exactly {N} numbers in the response.
    Differs: 10-20 are two numbers, upstream joins them; 3.14 and 1,000 are one in both."""
    return len(_NUMBER.findall(text)) == N


@ifbench("count:pronouns", bounds=lambda a: [at_least("words", a.N)], folds=True)
def pronouns(text: str, N: Whole) -> bool:
    """The response should include at least {N} pronouns.
    Differs: the pronoun of I'm or they've counts."""
    return sum(word.strip("_") in PRONOUNS for word in plain_words(text.lower())) >= N


@ifbench("count:conjunctions", bounds=lambda a: [at_least("words", a.small_n)], folds=True)
def conjunctions(text: str, small_n: Annotated[Whole, Field(le=len(CONJUNCTIONS))]) -> bool:
    """Use at least {small_n} different coordinating conjunctions in the response.
    Differs: 'and', 'And' and 'and,' are one conjunction, upstream counts three."""
    return len(CONJUNCTIONS.intersection(low_words(text))) >= small_n


@ifbench(
    "count:person_names",
    bounds=lambda a: [at_least(what, a.N) for what in ("words", "capital letters", "lower-case letters")],
)
def person_names(text: str, N: Annotated[Whole, Field(le=len(PERSON_NAMES))]) -> bool:
    """Mention at least {N} different person names in the response, from this list of person names: Emma, Liam, ...
    Differs: names are whole words, upstream finds Leo in Leopard."""
    return len(PERSON_NAMES.intersection(plain_words(text))) >= N


@ifbench("ratio:stop_words", folds=True)
def stop_words(text: str, percentage: Percent) -> bool:
    """Ensure that stop words constitute no more than {percentage}% of the total words in your response.
    Differs: a list of this project; a response without words fails, upstream divides by zero."""
    words = plain_words(text.replace("\u2019", "'"))
    hits = sum(word.lower() in STOP_WORDS for word in words)
    return bool(words) and hits / len(words) * 100 <= percentage


@ifbench("ratio:overlap", copies=True, folds=True)
def overlap(text: str, reference_text: Text, percentage: Percent) -> bool:
    """Maintain a trigram overlap of {percentage}% (±2%) with the provided reference text.
    Differs: trigrams of words, upstream takes trigrams of characters."""
    words = ([word.lower() for word in plain_words(part)] for part in (text, reference_text))
    found, reference = (set(zip(w, w[1:], w[2:], strict=False)) for w in words)
    if not found:
        return False
    share = len(found & reference) / len(found) * 100
    return percentage - OVERLAP_TOLERANCE <= share <= percentage + OVERLAP_TOLERANCE


@ifbench("count:punctuation", needs="comma dot exclamation", folds=True)
def punctuation(text: str) -> bool:
    """Use every standard punctuation mark at least once, including semicolons, colons, and the interrobang (?!)."""
    found = next((mark for mark in _INTERROBANGS if mark in text), None)
    return found is not None and set(text.replace(found, "", 1)) >= _MAIN_MARKS


@ifbench("count:words_japanese", folds=True)
def words_japanese(text: str, N: Positive) -> bool:
    """Every {N}th word of your response must be in Japanese.
    Differs: there must be an N-th word, and digits are not Japanese."""
    words = word_tokens(text)[N - 1 :: N]
    return bool(words) and all(_JAPANESE.search(word) for word in words)
