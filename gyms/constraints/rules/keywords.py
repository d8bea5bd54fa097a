"""Given words: whether they occur, how often, and where.

As published, case does not matter. Keywords are whole words ("start" holds no "art"), but for one that need only be
included, which may go on ("cats" has "cat").
"""

from __future__ import annotations

from typing import Any

from gyms.constraints.arguments import Positive, Relation, Whole, Word, Words
from gyms.constraints.rule import Bound, Rules, at_least, exactly, once, related
from gyms.constraints.text import compares, low_words, sentences, stripped, times, whole_word, word_tokens

RULES = Rules()
ifeval, ifbench, training = (RULES.of(source) for source in ("IFEval", "IFBench", "open-instruct"))
_COUNTS = (1, 2, 3, 5, 7)
"""How often the first, the second, ... of several keywords must occur."""


def _occurs(keyword: str) -> tuple[str, str]:
    return "the keyword", keyword.strip().lower()


def _are_words(*keywords: str) -> bool:
    """No white space inside."""
    return all(len(keyword.split()) == 1 for keyword in keywords)


@ifeval(
    "keywords:existence",
    keywords=lambda a: [(word.strip(), 1) for word in a.keywords],
    may_go_on="end",
    folds=lambda a: _are_words(*a.keywords),
)
def existence(text: str, keywords: Words) -> bool:
    """Include keywords {keywords} in the response.
    Differs: keywords are literal text that starts a word (cats has cat, concatenate has not), upstream takes them for
    regular expressions that may stand anywhere."""
    return all(whole_word(keyword, ends=False).search(text) for keyword in keywords)


@training(
    "keywords:word_count_different_numbers",
    rule="In your response, the word {keyword} should appear {frequency} times.",
    difference="the keyword is a literal whole word; the relation counts too, though the text omits it",
)
@ifeval(
    "keywords:frequency",
    keywords=lambda a: [(a.keyword.strip(), a.frequency)] if a.relation == "at least" and a.frequency > 0 else [],
    bounds=lambda a: [related(_occurs(a.keyword), a.relation, a.frequency)],
    folds=lambda a: _are_words(a.keyword),
)
def frequency(text: str, keyword: Word, frequency: Whole, relation: Relation) -> bool:
    """In your response, the word {keyword} should appear {relation} {frequency} times.
    Differs: the keyword is a literal whole word, upstream takes it for a regular expression that may stand inside of
    one."""
    return compares(times(text, keyword), relation, frequency)


@training(
    "keywords:word_once",
    keywords=lambda a: once(a.keyword),
    bounds=lambda a: [exactly(_occurs(a.keyword), 1)],
    folds=lambda a: _are_words(a.keyword),
)
def word_once(text: str, keyword: Word) -> bool:
    """Include keyword {keyword} in your response.
    Differs: the keyword is a literal whole word; it must occur exactly once in both."""
    return times(text, keyword) == 1


def _counted(args: Any) -> list[tuple[str, int]]:
    return [(word.strip(), count) for (_name, word), count in zip(args, _COUNTS, strict=False)]


def _counted_bounds(args: Any) -> list[Bound]:
    """How often each keyword must occur; one that is a word of another occurs with it."""
    counts = [(word.lower(), count) for word, count in _counted(args)]
    bounds = [exactly(_occurs(word), count) for word, count in counts]
    for longer, count in counts:
        bounds += [at_least(_occurs(word), count * times(longer, word)) for word, _ in counts if word != longer]
    return bounds


def _has_counts(text: str, *keywords: str) -> bool:
    return all(times(text, word) == count for word, count in zip(keywords, _COUNTS, strict=False))


def _folds(args: Any) -> bool:
    return _are_words(*(word for _name, word in args))


@training("count:count_increment_word", keywords=_counted, bounds=_counted_bounds, folds=_folds)
def count_increment_word(text: str, keyword1: Word, keyword2: Word) -> bool:
    """Include keyword {keyword1} once in your response, keyword {keyword2} twice in your response.
    Differs: keywords are literal whole words."""
    return _has_counts(text, keyword1, keyword2)


@ifbench("count:keywords_multiple", keywords=_counted, bounds=_counted_bounds, folds=_folds)
def keywords_multiple(
    text: str, keyword1: Word, keyword2: Word, keyword3: Word, keyword4: Word, keyword5: Word
) -> bool:
    """Include keyword {keyword1} once in your response, keyword {keyword2} twice in your response, keyword {keyword3}
    three times in your response, keyword {keyword4} five times in your response, and keyword {keyword5} seven times in
    your response.
    Differs: keywords are whole words, upstream also finds them inside of longer ones."""
    return _has_counts(text, keyword1, keyword2, keyword3, keyword4, keyword5)


@ifeval(
    "keywords:forbidden_words",
    forbidden=lambda a: a.forbidden_words,
    folds=lambda a: _are_words(*a.forbidden_words),
)
def forbidden_words(text: str, forbidden_words: Words) -> bool:
    """Do not include keywords {forbidden_words} in the response.
    Differs: words are literal and may start or end with a sign (C++), upstream takes them for regular expressions."""
    return not any(whole_word(word).search(text) for word in forbidden_words)


@training("keywords:exclude_word_harder", forbidden=lambda a: [a.keyword], folds=lambda a: _are_words(a.keyword))
def exclude_word_harder(text: str, keyword: Word, instruction: str | None = None) -> bool:
    """Do not include keyword {keyword} in the response.
    Differs: whole words in any case, upstream only finds the word between two spaces."""
    return whole_word(keyword).search(text) is None


@ifbench(
    "sentence:keyword",
    keywords=lambda a: once(a.word),
    may_go_on="end",
    bounds=lambda a: [at_least("sentences", a.N), at_least("words", a.N)],
)
def sentence_keyword(text: str, word: Word, N: Positive) -> bool:
    """The response must include keyword {word} in the {N}-th sentence.
    Differs: the keyword starts a word (cats has cat, concatenate has not), upstream finds it anywhere."""
    found = sentences(text)
    return len(found) >= N and whole_word(word, ends=False).search(found[N - 1]) is not None


def _bare(keyword: str) -> list[tuple[str, int]]:
    """The words of a keyword of which only the words count, each required by itself: signs may stand around it."""
    return [(word, 1) for word in word_tokens(keyword)]


@training("keywords:keyword_specific_position")
@ifbench(
    "words:keywords_specific_position",
    texts=lambda a: _bare(a.keyword),
    bounds=lambda a: [at_least("sentences", a.n), at_least("words", a.n + a.m - 1)],
)
def keyword_at(text: str, keyword: Word, n: Positive, m: Positive) -> bool:
    """Include keyword {keyword} in the {n}-th sentence, as the {m}-th word of that sentence.
    Differs: punctuation marks are no words, and case does not matter."""
    found, wanted = sentences(text), low_words(keyword)
    return len(found) >= n and bool(wanted) and low_words(found[n - 1])[m - 1 : m - 1 + len(wanted)] == wanted


@ifbench("words:words_position", texts=lambda a: _bare(a.keyword), bounds=[at_least("words", 3)], folds=True)
def words_position(text: str, keyword: Word) -> bool:
    """The second word in your response and the second to last word in your response should be the word {keyword}.
    Differs: punctuation marks are no words, and case does not matter."""
    words = low_words(text)
    return len(words) > 2 and words[1] == words[-2] == stripped(keyword).lower()


def _all_are(words: list[str], wanted: str) -> bool:
    """At least one word, and all the wanted one; signs around it aside."""
    return set(words) == {stripped(wanted).lower() or None}


def _at(place: int, parts: list[str]) -> list[str]:
    """The first (0) or last (-1) word of each part; "" where it has none."""
    return [(low_words(part) or [""])[place] for part in parts]


@training("first_word:first_word_answer", first=lambda a: a.first_word, texts=lambda a: _bare(a.first_word), folds=True)
def first_word_answer(text: str, first_word: Word) -> bool:
    """The first word of your response should be the word {first_word}.
    Differs: punctuation at the word is ignored."""
    return _all_are(low_words(text)[:1], first_word)


@training("first_word:first_word_sent", first=lambda a: a.first_word, texts=lambda a: _bare(a.first_word))
def first_word_sent(text: str, first_word: Word) -> bool:
    """The first word of each sentence should be the word {first_word}.
    Differs: punctuation at the word is ignored, and there must be a sentence."""
    return _all_are(_at(0, sentences(text)), first_word)


@training("last_word:last_word_answer", last=lambda a: a.last_word, texts=lambda a: _bare(a.last_word), folds=True)
def last_word_answer(text: str, last_word: Word) -> bool:
    """The last word of your response should be the word {last_word}.
    Differs: a lone mark behind the word is ignored."""
    return _all_are(low_words(text)[-1:], last_word)


@training("last_word:last_word_sent", last=lambda a: a.last_word, texts=lambda a: _bare(a.last_word))
def last_word_sent(text: str, last_word: Word) -> bool:
    """The last word of each sentence, before punctuation, should be the word {last_word}.
    Differs: punctuation at the word is ignored, and there must be a sentence."""
    return _all_are(_at(-1, sentences(text)), last_word)


@training(
    "keywords:start_end",
    bounds=[at_least("words", 2)],
    forbids="json",
    excludes={
        "startend:quotation": "a quotation mark may not follow the last word",
        "count:count_unique": "the word at both ends is repeated",
    },
    folds=True,
)
def start_end(text: str) -> bool:
    """Start and end your response with the same word (do not write anything after the last word, not even punctuation).
    Differs: nothing at all may follow the last word, and signs before the first are ignored."""
    words = word_tokens(text)
    return len(words) > 1 and words[0].lower() == words[-1].lower() and text.strip().endswith(words[-1])
