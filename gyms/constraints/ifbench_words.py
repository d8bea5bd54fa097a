"""IFBench ids about words, counts and ratios (Pyatkin et al. 2025), as their rules read and as they were published."""

from __future__ import annotations

import math
import re
from collections import Counter
from itertools import pairwise

from gyms.constraints import arguments as a
from gyms.constraints.constraint import times
from gyms.constraints.syllables import num_syllables, num_syllables_upstream
from gyms.constraints.text import (
    lines_of,
    plain_words,
    sentences,
    stripped,
    tokens,
    without_accents,
    without_punctuation,
    word_tokens,
)
from gyms.constraints.upstream_text import PUNCTUATION, split_sentences, word_tokenize
from gyms.constraints.upstream_text import without_punctuation as without_ascii_punctuation
from gyms.constraints.verbs import starts_with_verb
from gyms.constraints.wordlists import CONJUNCTIONS, PERSON_NAMES, PRONOUNS, STOP_WORDS

_EDGE = PUNCTUATION + " "
_NUMBER = re.compile(r"\d+(?:[.,]\d+)*")
_JAPANESE = re.compile("[\u3005\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uff66-\uff9f]")
_JAPANESE_UPSTREAM = re.compile("[\u3040-\u30ff\u4e00-\u9fff]")
_CONSONANTS = re.compile(r"[bcdfghjklmnpqrstvwxyz]{2}")
_MAIN_MARKS = frozenset(".,!?;:")
_INTERROBANGS = ("?!", "!?", "\u203d")
OVERLAP_TOLERANCE = 2.0
"""Percentage points that the overlap may be off, as the instruction says."""


def word_count_range(text: str, args: a.WordRange) -> bool:
    return args.min_words <= len(plain_words(text)) <= args.max_words


def unique_word_count(text: str, args: a.Number) -> bool:
    return len({word.lower() for word in word_tokens(text)}) >= args.N


def unique_word_count_upstream(text: str, args: a.Number) -> bool:
    return len({word.strip(_EDGE) for word in text.lower().split()}) >= args.N


def stop_words(text: str, args: a.Percentage) -> bool:
    words = plain_words(text.replace("\u2019", "'"))
    hits = sum(word.lower() in STOP_WORDS for word in words)
    return bool(words) and hits / len(words) * 100 <= args.percentage


def sentence_type(text: str, _: a.NoArgs) -> bool:
    statements, questions, _exclamations = _num_types(text)
    return questions > 0 and statements == 2 * questions


def sentence_type_upstream(text: str, _: a.NoArgs) -> bool:
    ends = [sentence[-1:] for sentence in split_sentences(text)]
    return ends.count(".") == 2 * ends.count("?")


def sentence_balance(text: str, _: a.NoArgs) -> bool:
    statements, questions, exclamations = _num_types(text)
    return 0 < statements == questions == exclamations


def sentence_balance_upstream(text: str, _: a.NoArgs) -> bool:
    ends = [sentence[-1:] for sentence in split_sentences(text)]
    return ends.count(".") == ends.count("?") == ends.count("!")


def _num_types(text: str) -> tuple[int, int, int]:
    """Sentences that end as a statement, as a question, as an exclamation; quotes and emoji behind the mark aside."""
    ends: Counter[str] = Counter()
    for sentence in sentences(text):
        marks = [c for c in sentence[-8:] if c in ".?!\u3002\uff01\uff1f\u2026"]
        ends[
            {"\u3002": ".", "\u2026": ".", "\uff1f": "?", "\uff01": "!"}.get(marks[-1], marks[-1]) if marks else ""
        ] += 1
    return ends["."], ends["?"], ends["!"]


def conjunctions(text: str, args: a.Conjunctions) -> bool:
    return len({word.lower() for word in word_tokens(text)} & CONJUNCTIONS) >= args.small_n


def conjunctions_upstream(text: str, args: a.Conjunctions) -> bool:
    found = {word for word in text.split() if word.strip(_EDGE).lower() in CONJUNCTIONS}
    return len(found) >= args.small_n


def person_names(text: str, args: a.PersonNames) -> bool:
    return len(set(plain_words(text)).intersection(PERSON_NAMES)) >= args.N


def person_names_upstream(text: str, args: a.PersonNames) -> bool:
    return sum(name in text for name in PERSON_NAMES) >= args.N


def overlap(text: str, args: a.Overlap) -> bool:
    found, reference = (_trigrams([w.lower() for w in plain_words(part)]) for part in (text, args.reference_text))
    return _overlaps(found, reference, args.percentage)


def overlap_upstream(text: str, args: a.Overlap) -> bool:
    return _overlaps(_trigrams(text), _trigrams(args.reference_text), args.percentage)


def _trigrams(items: list[str] | str) -> set[tuple[str, ...]]:
    return set(zip(items, items[1:], items[2:], strict=False))


def _overlaps(found: set[tuple[str, ...]], reference: set[tuple[str, ...]], percentage: float) -> bool:
    if not found:
        return False
    share = len(found & reference) / len(found)
    return percentage - OVERLAP_TOLERANCE <= share * 100 <= percentage + OVERLAP_TOLERANCE


def numbers(text: str, args: a.Number) -> bool:
    return len(_NUMBER.findall(text)) == args.N


def numbers_upstream(text: str, args: a.Number) -> bool:
    return len(re.findall(r"\d+", without_ascii_punctuation(text))) == args.N


def alphabet(text: str, _: a.NoArgs) -> bool:
    return _follows_alphabet(word_tokens(text))


def alphabet_upstream(text: str, _: a.NoArgs) -> bool:
    return _follows_alphabet(without_ascii_punctuation(text).split())


def _follows_alphabet(words: list[str]) -> bool:
    codes = [ord(word.lower()[0]) - ord("a") for word in words]
    if not codes or not all(0 <= code < 26 for code in codes):
        return False
    return all(later == (earlier + 1) % 26 for earlier, later in pairwise(codes))


def vowel(text: str, _: a.NoArgs) -> bool:
    lines = lines_of(text)
    return len(lines) == 1 and len(set(without_accents(lines[0].lower())) & set("aeiou")) <= 3


def vowel_upstream(text: str, _: a.NoArgs) -> bool:
    text = text.strip()
    return "\n" not in text and len(set(text.lower()) & set("aeiou")) <= 3


def consonants(text: str, _: a.NoArgs) -> bool:
    words = word_tokens(text)
    return bool(words) and all(_CONSONANTS.search(without_accents(word.lower())) for word in words)


def consonants_upstream(text: str, _: a.NoArgs) -> bool:
    return all(_CONSONANTS.search(word) for word in text.lower().split())


def palindrome(text: str, _: a.NoArgs) -> bool:
    words = [word.lower() for word in word_tokens(text)]
    return sum(len(word) >= 5 and word.isalpha() and word == word[::-1] for word in words) >= 10


def palindrome_upstream(text: str, _: a.NoArgs) -> bool:
    words = without_ascii_punctuation(text).lower().split()
    return sum(len(word) >= 5 and word == word[::-1] for word in words) >= 10


def punctuation(text: str, _: a.NoArgs) -> bool:
    found = next((mark for mark in _INTERROBANGS if mark in text), None)
    return found is not None and set(text.replace(found, "", 1)) >= _MAIN_MARKS


def punctuation_upstream(text: str, _: a.NoArgs) -> bool:
    if not any(mark in text for mark in _INTERROBANGS):
        return False
    rest = text.replace("?!", "", 1)
    rest = text.replace("!?", "", 1) if len(rest) == len(text) else rest
    return set(rest) >= _MAIN_MARKS


def prime_lengths(text: str, _: a.NoArgs) -> bool:
    words = without_punctuation(text).split()
    return bool(words) and all(_is_prime(len(word)) for word in words)


def prime_lengths_upstream(text: str, _: a.NoArgs) -> bool:
    return all(len(word) < 98 and _is_prime(len(word)) for word in without_ascii_punctuation(text).split())


def _is_prime(number: int) -> bool:
    return number >= 2 and all(number % divisor for divisor in range(2, math.isqrt(number) + 1))


def words_japanese(text: str, args: a.Times) -> bool:
    words = word_tokens(text)[args.N - 1 :: args.N]
    return bool(words) and all(_JAPANESE.search(word) for word in words)


def words_japanese_upstream(text: str, args: a.Times) -> bool:
    words = (word.strip(_EDGE) for word in text.split()[args.N - 1 :: args.N])
    return all(_JAPANESE_UPSTREAM.search(word) or not word or word.isdigit() for word in words)


def start_verb(text: str, _: a.NoArgs) -> bool:
    return starts_with_verb(tokens(text[:2000]))


def repeats(text: str, args: a.Repeats) -> bool:
    counts = Counter(word.lower() for word in word_tokens(text))
    return not counts or max(counts.values()) <= args.small_n


def repeats_upstream(text: str, args: a.Repeats) -> bool:
    counts = Counter(without_ascii_punctuation(text.lower()).split())
    return not counts or max(counts.values()) <= args.small_n


def pronouns(text: str, args: a.Number) -> bool:
    parts = re.findall(r"[a-z]+", text.lower())
    return sum(word in PRONOUNS for word in parts) >= args.N


def pronouns_upstream(text: str, args: a.Number) -> bool:
    words = without_ascii_punctuation(text.replace("/", " ").lower()).split()
    return sum(word in PRONOUNS for word in words) >= args.N


def odd_even_syllables(text: str, _: a.NoArgs) -> bool:
    counts = [num_syllables(word) for word in word_tokens(text)]
    return all(counts) and _alternates([count % 2 for count in counts])


def odd_even_syllables_upstream(text: str, _: a.NoArgs) -> bool:
    words = without_ascii_punctuation(text).lower().split()
    return _alternates([num_syllables_upstream(word) % 2 for word in words])


def _alternates(parities: list[int]) -> bool:
    return all(earlier != later for earlier, later in pairwise(parities))


def paragraph_last_first(text: str, _: a.NoArgs) -> bool:
    paragraphs = [[word.lower() for word in word_tokens(line)] for line in lines_of(text)]
    return bool(paragraphs) and all(len(words) > 1 and words[0] == words[-1] for words in paragraphs)


def paragraph_last_first_upstream(text: str, _: a.NoArgs) -> bool:
    paragraphs = [line.strip().lower().strip(_EDGE).split() for line in text.split("\n") if line.strip()]
    return all(words and words[0] == words[-1] for words in paragraphs)


def no_consecutive(text: str, _: a.NoArgs) -> bool:
    return _alternates([ord(word[0]) for word in word_tokens(text.lower())])


def no_consecutive_upstream(text: str, _: a.NoArgs) -> bool:
    return _alternates([ord(word[0]) for word in without_ascii_punctuation(text.lower()).split()])


def keywords_multiple(text: str, args: a.FiveKeywords) -> bool:
    words = (args.keyword1, args.keyword2, args.keyword3, args.keyword4, args.keyword5)
    return all(times(text, word) == count for word, count in zip(words, (1, 2, 3, 5, 7), strict=True))


def keywords_multiple_upstream(text: str, args: a.FiveKeywords) -> bool:
    words = (args.keyword1, args.keyword2, args.keyword3, args.keyword4, args.keyword5)
    low = text.lower()
    return all(low.count(word.strip().lower()) == count for word, count in zip(words, (1, 2, 3, 5, 7), strict=True))


def keyword_at(text: str, args: a.KeywordPosition) -> bool:
    """The m-th word of the n-th sentence is the keyword, whatever its case; punctuation marks are no words."""
    found = sentences(text)
    if len(found) < args.n:
        return False
    words = word_tokens(found[args.n - 1])
    keyword = [part.lower() for part in word_tokens(args.keyword)]
    here = [word.lower() for word in words[args.m - 1 : args.m - 1 + len(keyword)]]
    return bool(keyword) and here == keyword


def keyword_at_upstream(text: str, args: a.KeywordPosition) -> bool:
    found = split_sentences(text)
    if len(found) < args.n:
        return False
    words = word_tokenize(found[args.n - 1])
    return len(words) >= args.m and words[args.m - 1] == args.keyword.strip()


def words_position(text: str, args: a.Keyword) -> bool:
    words = [word.lower() for word in word_tokens(text)]
    keyword = stripped(args.keyword).lower()
    return len(words) > 2 and words[1] == words[-2] == keyword


def words_position_upstream(text: str, args: a.Keyword) -> bool:
    words = word_tokenize(text)
    return len(words) > 1 and words[1] == words[-2] == args.keyword.strip()
