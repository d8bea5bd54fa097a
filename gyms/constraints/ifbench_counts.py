"""IFBench ids about how many words, sentences and marks there are (Pyatkin et al. 2025).

Each id is the function that checks its rule as it reads; `..._upstream` before it is what the published checker does.
"""

from __future__ import annotations

import re
from collections import Counter

from gyms.constraints import arguments as a
from gyms.constraints.constraint import Family, times
from gyms.constraints.text import (
    plain_words,
    sentences,
    word_tokens,
)
from gyms.constraints.upstream_text import PUNCTUATION, split_sentences
from gyms.constraints.upstream_text import without_punctuation as without_ascii_punctuation
from gyms.constraints.wordlists import CONJUNCTIONS, PERSON_NAMES, PRONOUNS, STOP_WORDS

__all__ = ["IFBENCH_COUNTS"]

IFBENCH_COUNTS = Family("IFBench")
_EDGE = PUNCTUATION + " "
_NUMBER = re.compile(r"\d+(?:[.,]\d+)*")
_JAPANESE = re.compile("[\u3005\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uff66-\uff9f]")
_JAPANESE_UPSTREAM = re.compile("[\u3040-\u30ff\u4e00-\u9fff]")
_MAIN_MARKS = frozenset(".,!?;:")
_INTERROBANGS = ("?!", "!?", "\u203d")
OVERLAP_TOLERANCE = 2.0
"""Percentage points that the overlap may be off, as the instruction says."""


@IFBENCH_COUNTS.id(
    "count:word_count_range",
    "The response must contain between {min_words} and {max_words} words.",
    a.WordRange,
)
def word_count_range(text: str, args: a.WordRange) -> bool:
    return args.min_words <= len(plain_words(text)) <= args.max_words


def unique_word_count_upstream(text: str, args: a.Number) -> bool:
    return len({word.strip(_EDGE) for word in text.lower().split()}) >= args.N


@IFBENCH_COUNTS.id(
    "count:unique_word_count",
    "Use at least {N} unique words in the response.",
    a.Number,
    published=unique_word_count_upstream,
    differs="a lone punctuation mark is no word",
)
def unique_word_count(text: str, args: a.Number) -> bool:
    return len({word.lower() for word in word_tokens(text)}) >= args.N


@IFBENCH_COUNTS.id(
    "ratio:stop_words",
    "Ensure that stop words constitute no more than {percentage}% of the total words in your response.",
    a.Percentage,
    differs="a list of this project in both modes; a response without words fails, upstream divides by zero",
)
def stop_words(text: str, args: a.Percentage) -> bool:
    words = plain_words(text.replace("\u2019", "'"))
    hits = sum(word.lower() in STOP_WORDS for word in words)
    return bool(words) and hits / len(words) * 100 <= args.percentage


def sentence_type_upstream(text: str, _: a.NoArgs) -> bool:
    ends = [sentence[-1:] for sentence in split_sentences(text)]
    return ends.count(".") == 2 * ends.count("?")


@IFBENCH_COUNTS.id(
    "ratio:sentence_type",
    "Maintain a 2:1 ratio of declarative to interrogative sentences.",
    published=sentence_type_upstream,
    differs="0 to 0 is no ratio; a closing quote behind the mark does not hide it",
)
def sentence_type(text: str, _: a.NoArgs) -> bool:
    statements, questions, _exclamations = _num_types(text)
    return questions > 0 and statements == 2 * questions


def sentence_balance_upstream(text: str, _: a.NoArgs) -> bool:
    ends = [sentence[-1:] for sentence in split_sentences(text)]
    return ends.count(".") == ends.count("?") == ends.count("!")


@IFBENCH_COUNTS.id(
    "ratio:sentence_balance",
    "Ensure that the ratio of sentence types (declarative, interrogative, exclamatory) is balanced.",
    published=sentence_balance_upstream,
    differs="each type must occur; a closing quote behind the mark does not hide it",
)
def sentence_balance(text: str, _: a.NoArgs) -> bool:
    statements, questions, exclamations = _num_types(text)
    return 0 < statements == questions == exclamations


def _num_types(text: str) -> tuple[int, int, int]:
    """Sentences that end as a statement, as a question, as an exclamation; quotes and emoji behind the mark aside."""
    ends: Counter[str] = Counter()
    for sentence in sentences(text):
        marks = [c for c in sentence[-8:] if c in ".?!\u3002\uff01\uff1f\u2026"]
        ends[
            {"\u3002": ".", "\u2026": ".", "\uff1f": "?", "\uff01": "!"}.get(marks[-1], marks[-1]) if marks else ""
        ] += 1
    return ends["."], ends["?"], ends["!"]


def conjunctions_upstream(text: str, args: a.Conjunctions) -> bool:
    found = {word for word in text.split() if word.strip(_EDGE).lower() in CONJUNCTIONS}
    return len(found) >= args.small_n


@IFBENCH_COUNTS.id(
    "count:conjunctions",
    "Use at least {small_n} different coordinating conjunctions in the response.",
    a.Conjunctions,
    published=conjunctions_upstream,
    differs="'and', 'And' and 'and,' are one conjunction, upstream counts three",
)
def conjunctions(text: str, args: a.Conjunctions) -> bool:
    return len({word.lower() for word in word_tokens(text)} & CONJUNCTIONS) >= args.small_n


def person_names_upstream(text: str, args: a.PersonNames) -> bool:
    return sum(name in text for name in PERSON_NAMES) >= args.N


@IFBENCH_COUNTS.id(
    "count:person_names",
    "Mention at least {N} different person names in the response, from this list of person names: Emma, Liam, ...",
    a.PersonNames,
    published=person_names_upstream,
    differs="names are whole words, upstream finds Leo in Leopard",
)
def person_names(text: str, args: a.PersonNames) -> bool:
    return len(set(plain_words(text)).intersection(PERSON_NAMES)) >= args.N


def overlap_upstream(text: str, args: a.Overlap) -> bool:
    return _overlaps(_trigrams(text), _trigrams(args.reference_text), args.percentage)


@IFBENCH_COUNTS.id(
    "ratio:overlap",
    "Maintain a trigram overlap of {percentage}% (±2%) with the provided reference text.",
    a.Overlap,
    published=overlap_upstream,
    differs="trigrams of words, upstream takes trigrams of characters",
)
def overlap(text: str, args: a.Overlap) -> bool:
    found, reference = (_trigrams([w.lower() for w in plain_words(part)]) for part in (text, args.reference_text))
    return _overlaps(found, reference, args.percentage)


def _trigrams(items: list[str] | str) -> set[tuple[str, ...]]:
    return set(zip(items, items[1:], items[2:], strict=False))


def _overlaps(found: set[tuple[str, ...]], reference: set[tuple[str, ...]], percentage: float) -> bool:
    if not found:
        return False
    share = len(found & reference) / len(found)
    return percentage - OVERLAP_TOLERANCE <= share * 100 <= percentage + OVERLAP_TOLERANCE


def numbers_upstream(text: str, args: a.Number) -> bool:
    return len(re.findall(r"\d+", without_ascii_punctuation(text))) == args.N


@IFBENCH_COUNTS.id(
    "count:numbers",
    "Include exactly {N} numbers in the response.",
    a.Number,
    published=numbers_upstream,
    differs="10-20 are two numbers, upstream joins them; 3.14 and 1,000 are one in both",
)
def numbers(text: str, args: a.Number) -> bool:
    return len(_NUMBER.findall(text)) == args.N


def punctuation_upstream(text: str, _: a.NoArgs) -> bool:
    if not any(mark in text for mark in _INTERROBANGS):
        return False
    rest = text.replace("?!", "", 1)
    rest = text.replace("!?", "", 1) if len(rest) == len(text) else rest
    return set(rest) >= _MAIN_MARKS


@IFBENCH_COUNTS.id(
    "count:punctuation",
    "Use every standard punctuation mark at least once, including semicolons, colons, and the interrobang (?!).",
    published=punctuation_upstream,
)
def punctuation(text: str, _: a.NoArgs) -> bool:
    found = next((mark for mark in _INTERROBANGS if mark in text), None)
    return found is not None and set(text.replace(found, "", 1)) >= _MAIN_MARKS


def words_japanese_upstream(text: str, args: a.Times) -> bool:
    words = (word.strip(_EDGE) for word in text.split()[args.N - 1 :: args.N])
    return all(_JAPANESE_UPSTREAM.search(word) or not word or word.isdigit() for word in words)


@IFBENCH_COUNTS.id(
    "count:words_japanese",
    "Every {N}th word of your response must be in Japanese.",
    a.Times,
    published=words_japanese_upstream,
    differs="there must be an N-th word, and digits are not Japanese",
)
def words_japanese(text: str, args: a.Times) -> bool:
    words = word_tokens(text)[args.N - 1 :: args.N]
    return bool(words) and all(_JAPANESE.search(word) for word in words)


def pronouns_upstream(text: str, args: a.Number) -> bool:
    words = without_ascii_punctuation(text.replace("/", " ").lower()).split()
    return sum(word in PRONOUNS for word in words) >= args.N


@IFBENCH_COUNTS.id(
    "count:pronouns",
    "The response should include at least {N} pronouns.",
    a.Number,
    published=pronouns_upstream,
    differs="the pronoun of I'm or they've counts",
)
def pronouns(text: str, args: a.Number) -> bool:
    parts = re.findall(r"[a-z]+", text.lower())
    return sum(word in PRONOUNS for word in parts) >= args.N


def keywords_multiple_upstream(text: str, args: a.FiveKeywords) -> bool:
    low = text.lower()
    return all(low.count(word.lower()) == count for word, count in args.counts)


@IFBENCH_COUNTS.id(
    "count:keywords_multiple",
    "Include keyword {keyword1} once in your response, keyword {keyword2} twice in your response, keyword "
    "{keyword3} three times in your response, keyword {keyword4} five times in your response, and keyword "
    "{keyword5} seven times in your response.",
    a.FiveKeywords,
    published=keywords_multiple_upstream,
    differs="keywords are whole words, upstream also finds them inside of longer ones",
)
def keywords_multiple(text: str, args: a.FiveKeywords) -> bool:
    return all(times(text, word) == count for word, count in args.counts)
