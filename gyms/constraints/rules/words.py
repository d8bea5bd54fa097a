"""What words begin with, what they are made of, and how neighbours and sentences relate."""

from __future__ import annotations

import math
import re
from functools import lru_cache
from itertools import pairwise

from gyms.constraints.arguments import Whole
from gyms.constraints.rule import Rules, at_least, exactly
from gyms.constraints.text import (
    increases,
    lines_of,
    low_words,
    sentences,
    tokens,
    without_accents,
    without_punctuation,
    word_tokens,
)
from gyms.constraints.verbs import starts_with_verb

RULES = Rules()
ifbench, training = (RULES.of(source) for source in ("IFBench", "open-instruct"))
MAX_SYLLABLE_CHARS = 60
_VOWELS = re.compile(r"[aeiouy]+")
_CONSONANTS = re.compile(r"[bcdfghjklmnpqrstvwxyz]{2}")


@ifbench("words:alphabet", folds=True)
def alphabet(text: str) -> bool:
    """Each word must start with the next letter of the alphabet, looping back to 'A' after 'Z'.
    Differs: typographic punctuation is punctuation too."""
    codes = [ord(word[0]) - ord("a") for word in low_words(text)]
    are_letters = bool(codes) and all(0 <= code < 26 for code in codes)
    return are_letters and all(later == (earlier + 1) % 26 for earlier, later in pairwise(codes))


@training("keywords:no_adjacent_consecutive", folds=True)
def no_adjacent_consecutive(text: str) -> bool:
    """No two adjacent words can start with consecutive letters of the alphabet.
    Differs: punctuation before a word is ignored."""
    return all(ord(later[0]) - ord(earlier[0]) != 1 for earlier, later in pairwise(low_words(text)))


@ifbench(
    "words:no_consecutive",
    excludes={
        "sentence:alliteration_increment": "neighbours must and must not alliterate",
        "words:last_first": "the same word stands twice in a row",
    },
    folds=True,
)
def no_consecutive(text: str) -> bool:
    """No two consecutive words can share the same first letter.
    Differs: typographic punctuation is punctuation too."""
    return all(earlier[0] != later[0] for earlier, later in pairwise(word_tokens(text.lower())))


@ifbench("words:vowel")
def vowel(text: str) -> bool:
    """Write a paragraph using words that contain only three types of vowels.
    Differs: accented vowels are vowels."""
    lines = lines_of(text)
    return len(lines) == 1 and len(set(without_accents(lines[0].lower())) & set("aeiou")) <= 3


@ifbench("words:consonants", folds=True)
def consonants(text: str) -> bool:
    """Ensure each word in your response has at least one consonant cluster (two or more consonants together).
    Differs: a lone dash is no word."""
    words = low_words(text)
    return bool(words) and all(_CONSONANTS.search(without_accents(word)) for word in words)


def _num_palindromes(text: str, length: int) -> int:
    """Palindromes of letters, of at least this length."""
    return sum(len(word) >= length and word.isalpha() and word == word[::-1] for word in low_words(text))


@ifbench("words:palindrome", bounds=[at_least("words", 10)], folds=True)
def ten_palindromes(text: str) -> bool:
    """Include at least 10 single-word palindromes, each at least 5 characters long.
    Differs: palindromes consist of letters, upstream takes 11111."""
    return _num_palindromes(text, 5) >= 10


@training("keywords:palindrome", folds=True)
def palindrome(text: str) -> bool:
    """Include a palindrome in your response.
    Differs: a palindrome has three letters or more, upstream takes 'a' and '-'."""
    return _num_palindromes(text, 3) >= 1


@ifbench("words:prime_lengths", folds=True)
def prime_lengths(text: str) -> bool:
    """Use only words with lengths that are prime numbers.
    Differs: typographic punctuation is removed too, and there must be a word."""
    words = without_punctuation(text).split()
    return bool(words) and all(_is_prime(len(word)) for word in words)


def _is_prime(number: int) -> bool:
    return number >= 2 and all(number % divisor for divisor in range(2, math.isqrt(number) + 1))


@lru_cache(maxsize=8192)
def _num_syllables(word: str) -> int:
    """As syllapy knows it, or groups of vowels; at least 1 for what has letters, 0 for what has none."""
    import syllapy  # its dictionary is loaded at import

    plain = without_accents(word)
    if not re.search(r"[a-z]", plain):
        return 0
    return int(syllapy.count(plain[:MAX_SYLLABLE_CHARS])) or max(1, len(_VOWELS.findall(plain.removesuffix("e"))))


@ifbench("words:odd_even_syllables", folds=True)
def odd_even_syllables(text: str) -> bool:
    """Alternate between words with odd and even numbers of syllables.
    Differs: every word must have a syllable, upstream counts 0 for numbers."""
    counts = [_num_syllables(word) for word in low_words(text)]
    return all(counts) and all(earlier % 2 != later % 2 for earlier, later in pairwise(counts))


@ifbench("words:start_verb")
def start_verb(text: str) -> bool:
    """The response must start with a verb.
    Differs: a lexicon of verbs, upstream asks a trained tagger."""
    return starts_with_verb(tokens(text[:2000]))


@ifbench("words:last_first", excludes={"count:count_unique": "the word between sentences is repeated"})
def last_first(text: str) -> bool:
    """The last word of each sentence must become the first word of the next sentence.
    Differs: there must be two sentences; sentences are split by this project's splitter."""
    found = [low_words(sentence) for sentence in sentences(text)]
    return len(found) > 1 and all(found) and all(earlier[-1] == later[0] for earlier, later in pairwise(found))


@ifbench("words:paragraph_last_first", excludes={"count:count_unique": "the word at both ends is repeated"})
def paragraph_last_first(text: str) -> bool:
    """Each paragraph must end with the same word it started with, separate paragraphs with a newline.
    Differs: punctuation at both words is ignored, and one word alone is not two."""
    paragraphs = [low_words(line) for line in lines_of(text)]
    return bool(paragraphs) and all(len(words) > 1 and words[0] == words[-1] for words in paragraphs)


@ifbench("sentence:alliteration_increment")
def alliteration_increment(text: str) -> bool:
    """Each sentence must have a longer sequence of consecutive alliterative words than the previous one.
    Differs: the longest run of a sentence counts, upstream adds all runs; there must be two sentences."""
    runs = [_longest_alliteration(low_words(sentence)) for sentence in sentences(text)]
    return len(runs) > 1 and increases(runs)


def _longest_alliteration(words: list[str]) -> int:
    """Words in the longest run of equal first letters; 0 where no two neighbours share theirs."""
    best = run = 1
    for earlier, later in pairwise(words):
        run = run + 1 if earlier[0] == later[0] else 1
        best = max(best, run)
    return best if best > 1 else 0


@ifbench("sentence:increment", bounds=[at_least("sentences", 2)])
def sentence_increment(text: str, small_n: Whole) -> bool:
    """Each sentence must contain exactly {small_n} more words than the previous one.
    Differs: there must be two sentences; sentences are split by this project's splitter."""
    counts = [len(word_tokens(sentence)) for sentence in sentences(text)]
    return len(counts) > 1 and all(later == earlier + small_n for earlier, later in pairwise(counts))


@ifbench("ratio:sentence_words", bounds=[exactly("sentences", 3), at_least("words", 3)])
def sentence_words(text: str) -> bool:
    """Respond with three sentences, all containing the same number of characters but using all different words.
    Differs: the words are compared, upstream forgets to."""
    found, words = sentences(text), low_words(text)
    return len(found) == 3 and len(set(map(len, found))) == 1 and len(words) == len(set(words))
