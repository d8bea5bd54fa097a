"""The ids about words that open-instruct adds to IFEval's for training.

Each id is the function that checks its rule as it reads; `..._upstream` before it is what the published checker does.
"""

from __future__ import annotations

import re
from itertools import pairwise

from gyms.constraints import arguments as a
from gyms.constraints.constraint import Family, compares, keyword_pattern, times, whole_word
from gyms.constraints.ifbench_words import keyword_at, keyword_at_upstream
from gyms.constraints.ifeval import letter_frequency
from gyms.constraints.text import has_paragraphs, sentences, stripped, tokens, word_tokens
from gyms.constraints.upstream_text import split_sentences, word_tokenize

__all__ = ["TRAINING_WORDS"]

TRAINING_WORDS = Family("open-instruct")
_DIVIDER = re.compile(r"(?<!\*)(?:\*\*\*|\*[^\S\n]\*[^\S\n]\*)(?!\*)")
_LOWERCASE_UPSTREAM = re.compile(r"\b[a-z]+\b")
_SIGNS = re.compile(r"[^\w\s]")
_SIGNS_ASIDE = "punctuation at the word is ignored, and there must be a sentence"


def no_adjacent_consecutive_upstream(text: str, _: a.NoArgs) -> bool:
    firsts = [word[0].lower() for word in text.split()]
    is_single = len(firsts) < 2 or all(len(first) == 1 for first in firsts)
    return is_single and _has_no_step(firsts)


@TRAINING_WORDS.id(
    "keywords:no_adjacent_consecutive",
    "No two adjacent words can start with consecutive letters of the alphabet.",
    published=no_adjacent_consecutive_upstream,
    differs="punctuation before a word is ignored",
)
def no_adjacent_consecutive(text: str, _: a.NoArgs) -> bool:
    return _has_no_step([word.lower()[0] for word in word_tokens(text)])


def _has_no_step(firsts: list[str]) -> bool:
    codes = [ord(first) for first in firsts]
    return all(later - earlier != 1 for earlier, later in pairwise(codes))


def word_once_upstream(text: str, args: a.Keyword) -> bool:
    return len(keyword_pattern(args.keyword.strip()).findall(text)) == 1


@TRAINING_WORDS.id(
    "keywords:word_once",
    "Include keyword {keyword} in your response.",
    a.Keyword,
    published=word_once_upstream,
    differs="the keyword is a literal whole word; it must occur exactly once in both modes",
)
def word_once(text: str, args: a.Keyword) -> bool:
    return times(text, args.keyword) == 1


def word_count_upstream(text: str, args: a.KeywordFrequency) -> bool:
    return compares(len(keyword_pattern(args.keyword.strip()).findall(text)), args.relation, args.frequency)


@TRAINING_WORDS.id(
    "keywords:word_count_different_numbers",
    "In your response, the word {keyword} should appear {frequency} times.",
    a.KeywordFrequency,
    published=word_count_upstream,
    differs="the keyword is a literal whole word; the relation counts in both modes, though the text omits it",
)
def word_count(text: str, args: a.KeywordFrequency) -> bool:
    return compares(times(text, args.keyword), args.relation, args.frequency)


def exclude_word_harder_upstream(text: str, args: a.ExcludedKeyword) -> bool:
    return f" {args.keyword.strip()} " not in text


@TRAINING_WORDS.id(
    "keywords:exclude_word_harder",
    "Do not include keyword {keyword} in the response.",
    a.ExcludedKeyword,
    published=exclude_word_harder_upstream,
    differs="whole words in any case, upstream only finds the word between two spaces",
)
def exclude_word_harder(text: str, args: a.ExcludedKeyword) -> bool:
    return whole_word(args.keyword).search(text) is None


def first_word_sent_upstream(text: str, args: a.FirstWord) -> bool:
    firsts = [sentence.split()[:1] for sentence in split_sentences(text)]
    return all(first and first[0].lower() == args.first_word.strip().lower() for first in firsts)


@TRAINING_WORDS.id(
    "first_word:first_word_sent",
    "The first word of each sentence should be the word {first_word}.",
    a.FirstWord,
    published=first_word_sent_upstream,
    differs=_SIGNS_ASIDE,
)
def first_word_sent(text: str, args: a.FirstWord) -> bool:
    wanted = stripped(args.first_word).lower()
    found = [word_tokens(sentence)[:1] for sentence in sentences(text)]
    return bool(found) and all(first and _is_word(first[0], wanted) for first in found)


def first_word_answer_upstream(text: str, args: a.FirstWord) -> bool:
    words = text.split()
    return bool(words) and words[0].lower() == args.first_word.strip().lower()


@TRAINING_WORDS.id(
    "first_word:first_word_answer",
    "The first word of your response should be the word {first_word}.",
    a.FirstWord,
    published=first_word_answer_upstream,
    differs="punctuation at the word is ignored",
)
def first_word_answer(text: str, args: a.FirstWord) -> bool:
    words = word_tokens(text)
    return bool(words) and _is_word(words[0], stripped(args.first_word).lower())


def last_word_sent_upstream(text: str, args: a.LastWord) -> bool:
    lasts = [sentence.split()[-1:] for sentence in split_sentences(text)]
    return all(last and _SIGNS.sub("", last[0]).lower() == args.last_word.strip().lower() for last in lasts)


@TRAINING_WORDS.id(
    "last_word:last_word_sent",
    "The last word of each sentence, before punctuation, should be the word {last_word}.",
    a.LastWord,
    published=last_word_sent_upstream,
    differs=_SIGNS_ASIDE,
)
def last_word_sent(text: str, args: a.LastWord) -> bool:
    wanted = stripped(args.last_word).lower()
    found = [word_tokens(sentence)[-1:] for sentence in sentences(text)]
    return bool(found) and all(last and _is_word(last[0], wanted) for last in found)


def last_word_answer_upstream(text: str, args: a.LastWord) -> bool:
    words = text.split()
    return bool(words) and _SIGNS.sub("", words[-1]).lower() == args.last_word.strip().lower()


@TRAINING_WORDS.id(
    "last_word:last_word_answer",
    "The last word of your response should be the word {last_word}.",
    a.LastWord,
    published=last_word_answer_upstream,
    differs="a lone mark behind the word is ignored",
)
def last_word_answer(text: str, args: a.LastWord) -> bool:
    words = word_tokens(text)
    return bool(words) and _is_word(words[-1], stripped(args.last_word).lower())


def _is_word(given: str, wanted: str) -> bool:
    return given.lower() == wanted


def lowercase_counting_upstream(text: str, args: a.Number) -> bool:
    return len(_LOWERCASE_UPSTREAM.findall(text)) <= args.N


@TRAINING_WORDS.id(
    "count:lowercase_counting",
    "In your response, all lowercase words should appear at most {N} times.",
    a.Number,
    published=lowercase_counting_upstream,
    differs="letters of all scripts, and don't is one word",
)
def lowercase_counting(text: str, args: a.Number) -> bool:
    return sum(word.islower() for word in tokens(text)) <= args.N


def letter_counting_upstream(text: str, args: a.LetterCount) -> bool:
    return compares(len(re.findall(r"[a-zA-Z]", text)), args.relation, args.N)


@TRAINING_WORDS.id(
    "letters:letter_counting",
    "Answer with {relation} {N} letters.",
    a.LetterCount,
    published=letter_counting_upstream,
    differs="letters of all scripts count",
)
def letter_counting(text: str, args: a.LetterCount) -> bool:
    return compares(sum(character.isalpha() for character in text), args.relation, args.N)


def counting_composition_upstream(text: str, args: a.Composition) -> bool:
    parts = text.split("***")
    if not has_paragraphs(parts, 3) or not all(part.strip() for part in parts):
        return False
    found = [split_sentences(part) for part in parts]
    counts = [len(word_tokenize(sentence)) for paragraph in found for sentence in paragraph]
    return all(len(paragraph) == args.n_sent for paragraph in found) and set(counts) == {args.n_words}


@TRAINING_WORDS.id(
    "count:counting_composition",
    "Write 3 paragraphs, delimited by the markdown divider: * * *, with exactly {n_sent} sentences each, with "
    "exactly {n_words} words in each sentence.",
    a.Composition,
    published=counting_composition_upstream,
    differs="punctuation marks are no words and both dividers, * * * and ***, count; upstream counts marks",
)
def counting_composition(text: str, args: a.Composition) -> bool:
    parts = _DIVIDER.split(text)
    if not has_paragraphs(parts, 3):
        return False
    found = [sentences(part) for part in parts if part.strip()]
    counts = [len(word_tokens(sentence)) for paragraph in found for sentence in paragraph]
    return all(len(paragraph) == args.n_sent for paragraph in found) and set(counts) == {args.n_words}


def count_unique_upstream(text: str, _: a.NoArgs) -> bool:
    words = word_tokenize(text)
    return len(words) == len(set(words))


@TRAINING_WORDS.id(
    "count:count_unique",
    "Only use unique words in your response, no word should be repeated!",
    published=count_unique_upstream,
    differs="punctuation marks are no words, and case does not matter",
)
def count_unique(text: str, _: a.NoArgs) -> bool:
    words = [word.lower() for word in word_tokens(text)]
    return bool(words) and len(words) == len(set(words))


def count_increment_word_upstream(text: str, args: a.TwoKeywords) -> bool:
    return all(len(keyword_pattern(word).findall(text)) == count for word, count in args.counts)


@TRAINING_WORDS.id(
    "count:count_increment_word",
    "Include keyword {keyword1} once in your response, keyword {keyword2} twice in your response.",
    a.TwoKeywords,
    published=count_increment_word_upstream,
    differs="keywords are literal whole words",
)
def count_increment_word(text: str, args: a.TwoKeywords) -> bool:
    return all(times(text, word) == count for word, count in args.counts)


def palindrome_upstream(text: str, _: a.NoArgs) -> bool:
    return any(word == word[::-1] for word in text.split())


@TRAINING_WORDS.id(
    "keywords:palindrome",
    "Include a palindrome in your response.",
    published=palindrome_upstream,
    differs="a palindrome has three letters or more, upstream takes 'a' and '-'",
)
def palindrome(text: str, _: a.NoArgs) -> bool:
    words = (word.lower() for word in word_tokens(text))
    return any(len(word) >= 3 and word.isalpha() and word == word[::-1] for word in words)


def start_end_upstream(text: str, _: a.NoArgs) -> bool:
    words = word_tokenize(text)
    return len(words) > 1 and words[0].lower() == words[-1].lower()


@TRAINING_WORDS.id(
    "keywords:start_end",
    "Start and end your response with the same word (do not write anything after the last word, not even punctuation).",
    published=start_end_upstream,
    differs="nothing at all may follow the last word, and signs before the first are ignored",
)
def start_end(text: str, _: a.NoArgs) -> bool:
    words, text = word_tokens(text), text.strip()
    return len(words) > 1 and words[0].lower() == words[-1].lower() and text.endswith(words[-1])


TRAINING_WORDS.id(
    "letters:letter_counting2",
    "In your response, the letter {letter} should appear {let_relation} {let_frequency} times.",
    a.LetterFrequency,
    differs="a sign is counted as given in both modes, upstream replaces it by a random letter",
)(letter_frequency)


TRAINING_WORDS.id(
    "keywords:keyword_specific_position",
    "Include keyword {keyword} in the {n}-th sentence, as the {m}-th word of that sentence.",
    a.KeywordPosition,
    published=keyword_at_upstream,
    differs="punctuation marks are no words, and case does not matter",
)(keyword_at)
