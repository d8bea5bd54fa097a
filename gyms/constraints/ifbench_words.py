"""IFBench ids about which words stand where (Pyatkin et al. 2025).

Each id is the function that checks its rule as it reads; `..._upstream` before it is what the published checker does.
"""

from __future__ import annotations

import math
import re
from collections import Counter
from itertools import pairwise

from gyms.constraints import arguments as a
from gyms.constraints.constraint import Family
from gyms.constraints.syllables import num_syllables, num_syllables_upstream
from gyms.constraints.text import (
    lines_of,
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

__all__ = ["IFBENCH_WORDS"]

IFBENCH_WORDS = Family("IFBench")
_EDGE = PUNCTUATION + " "
_CONSONANTS = re.compile(r"[bcdfghjklmnpqrstvwxyz]{2}")


def alphabet_upstream(text: str, _: a.NoArgs) -> bool:
    return _follows_alphabet(without_ascii_punctuation(text).split())


@IFBENCH_WORDS.id(
    "words:alphabet",
    "Each word must start with the next letter of the alphabet, looping back to 'A' after 'Z'.",
    published=alphabet_upstream,
    differs="typographic punctuation is punctuation too",
)
def alphabet(text: str, _: a.NoArgs) -> bool:
    return _follows_alphabet(word_tokens(text))


def _follows_alphabet(words: list[str]) -> bool:
    codes = [ord(word.lower()[0]) - ord("a") for word in words]
    if not codes or not all(0 <= code < 26 for code in codes):
        return False
    return all(later == (earlier + 1) % 26 for earlier, later in pairwise(codes))


def vowel_upstream(text: str, _: a.NoArgs) -> bool:
    text = text.strip()
    return "\n" not in text and len(set(text.lower()) & set("aeiou")) <= 3


@IFBENCH_WORDS.id(
    "words:vowel",
    "Write a paragraph using words that contain only three types of vowels.",
    published=vowel_upstream,
    differs="accented vowels are vowels",
)
def vowel(text: str, _: a.NoArgs) -> bool:
    lines = lines_of(text)
    return len(lines) == 1 and len(set(without_accents(lines[0].lower())) & set("aeiou")) <= 3


def consonants_upstream(text: str, _: a.NoArgs) -> bool:
    return all(_CONSONANTS.search(word) for word in text.lower().split())


@IFBENCH_WORDS.id(
    "words:consonants",
    "Ensure each word in your response has at least one consonant cluster (two or more consonants together).",
    published=consonants_upstream,
    differs="a lone dash is no word",
)
def consonants(text: str, _: a.NoArgs) -> bool:
    words = word_tokens(text)
    return bool(words) and all(_CONSONANTS.search(without_accents(word.lower())) for word in words)


def palindrome_upstream(text: str, _: a.NoArgs) -> bool:
    words = without_ascii_punctuation(text).lower().split()
    return sum(len(word) >= 5 and word == word[::-1] for word in words) >= 10


@IFBENCH_WORDS.id(
    "words:palindrome",
    "Include at least 10 single-word palindromes, each at least 5 characters long.",
    published=palindrome_upstream,
    differs="palindromes consist of letters, upstream takes 11111",
)
def palindrome(text: str, _: a.NoArgs) -> bool:
    words = [word.lower() for word in word_tokens(text)]
    return sum(len(word) >= 5 and word.isalpha() and word == word[::-1] for word in words) >= 10


def prime_lengths_upstream(text: str, _: a.NoArgs) -> bool:
    return all(len(word) < 98 and _is_prime(len(word)) for word in without_ascii_punctuation(text).split())


@IFBENCH_WORDS.id(
    "words:prime_lengths",
    "Use only words with lengths that are prime numbers.",
    published=prime_lengths_upstream,
    differs="typographic punctuation is removed too, and there must be a word",
)
def prime_lengths(text: str, _: a.NoArgs) -> bool:
    words = without_punctuation(text).split()
    return bool(words) and all(_is_prime(len(word)) for word in words)


def _is_prime(number: int) -> bool:
    return number >= 2 and all(number % divisor for divisor in range(2, math.isqrt(number) + 1))


@IFBENCH_WORDS.id(
    "words:start_verb",
    "The response must start with a verb.",
    differs="a lexicon of verbs in both modes, upstream asks a trained tagger",
)
def start_verb(text: str, _: a.NoArgs) -> bool:
    return starts_with_verb(tokens(text[:2000]))


def repeats_upstream(text: str, args: a.Repeats) -> bool:
    counts = Counter(without_ascii_punctuation(text.lower()).split())
    return not counts or max(counts.values()) <= args.small_n


@IFBENCH_WORDS.id(
    "words:repeats",
    "The response should not repeat any word more than {small_n} times.",
    a.Repeats,
    published=repeats_upstream,
    differs="punctuation inside of words stays, typographic punctuation goes",
)
def repeats(text: str, args: a.Repeats) -> bool:
    counts = Counter(word.lower() for word in word_tokens(text))
    return not counts or max(counts.values()) <= args.small_n


def odd_even_syllables_upstream(text: str, _: a.NoArgs) -> bool:
    words = without_ascii_punctuation(text).lower().split()
    return _alternates([num_syllables_upstream(word) % 2 for word in words])


@IFBENCH_WORDS.id(
    "words:odd_even_syllables",
    "Alternate between words with odd and even numbers of syllables.",
    published=odd_even_syllables_upstream,
    differs="every word must have a syllable, upstream counts 0 for numbers",
)
def odd_even_syllables(text: str, _: a.NoArgs) -> bool:
    counts = [num_syllables(word) for word in word_tokens(text)]
    return all(counts) and _alternates([count % 2 for count in counts])


def _alternates(parities: list[int]) -> bool:
    return all(earlier != later for earlier, later in pairwise(parities))


def paragraph_last_first_upstream(text: str, _: a.NoArgs) -> bool:
    paragraphs = [line.strip().lower().strip(_EDGE).split() for line in text.split("\n") if line.strip()]
    return all(words and words[0] == words[-1] for words in paragraphs)


@IFBENCH_WORDS.id(
    "words:paragraph_last_first",
    "Each paragraph must end with the same word it started with, separate paragraphs with a newline.",
    published=paragraph_last_first_upstream,
    differs="punctuation at both words is ignored, and one word alone is not two",
)
def paragraph_last_first(text: str, _: a.NoArgs) -> bool:
    paragraphs = [[word.lower() for word in word_tokens(line)] for line in lines_of(text)]
    return bool(paragraphs) and all(len(words) > 1 and words[0] == words[-1] for words in paragraphs)


def no_consecutive_upstream(text: str, _: a.NoArgs) -> bool:
    return _alternates([ord(word[0]) for word in without_ascii_punctuation(text.lower()).split()])


@IFBENCH_WORDS.id(
    "words:no_consecutive",
    "No two consecutive words can share the same first letter.",
    published=no_consecutive_upstream,
    differs="typographic punctuation is punctuation too",
)
def no_consecutive(text: str, _: a.NoArgs) -> bool:
    return _alternates([ord(word[0]) for word in word_tokens(text.lower())])


def keyword_at_upstream(text: str, args: a.KeywordPosition) -> bool:
    found = split_sentences(text)
    if len(found) < args.n:
        return False
    words = word_tokenize(found[args.n - 1])
    return len(words) >= args.m and words[args.m - 1] == args.keyword.strip()


@IFBENCH_WORDS.id(
    "words:keywords_specific_position",
    "Include keyword {keyword} in the {n}-th sentence, as the {m}-th word of that sentence.",
    a.KeywordPosition,
    published=keyword_at_upstream,
    differs="punctuation marks are no words, and case does not matter",
)
def keyword_at(text: str, args: a.KeywordPosition) -> bool:
    """The m-th word of the n-th sentence is the keyword, whatever its case; punctuation marks are no words."""
    found = sentences(text)
    if len(found) < args.n:
        return False
    words = word_tokens(found[args.n - 1])
    keyword = [part.lower() for part in word_tokens(args.keyword)]
    here = [word.lower() for word in words[args.m - 1 : args.m - 1 + len(keyword)]]
    return bool(keyword) and here == keyword


def words_position_upstream(text: str, args: a.Keyword) -> bool:
    words = word_tokenize(text)
    return len(words) > 1 and words[1] == words[-2] == args.keyword.strip()


@IFBENCH_WORDS.id(
    "words:words_position",
    "The second word in your response and the second to last word in your response should be the word {keyword}.",
    a.Keyword,
    published=words_position_upstream,
    differs="punctuation marks are no words, and case does not matter",
)
def words_position(text: str, args: a.Keyword) -> bool:
    words = [word.lower() for word in word_tokens(text)]
    keyword = stripped(args.keyword).lower()
    return len(words) > 2 and words[1] == words[-2] == keyword
