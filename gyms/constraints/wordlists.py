"""Small closed lists of English words and names that checkers need: facts of grammar and geography.

They stand in words.txt: a paragraph each, its name before the colon. Verbs are base forms, from which their regular
inflections follow; countries stand in lower case, without accents and punctuation, with the usual variants. Stop words
are those of NLTK's English list.
"""

from __future__ import annotations

from pathlib import Path

__all__ = [
    "ABBREVIATIONS",
    "AFRICAN_COUNTRIES",
    "CONJUNCTIONS",
    "EUROPEAN_CAPITALS",
    "FINITE_VERBS",
    "IRREGULAR_VERB_FORMS",
    "MINOR_TITLE_WORDS",
    "NEVER_LAST",
    "PERSON_NAMES",
    "PRONOUNS",
    "SENTENCE_STARTERS",
    "STOP_WORDS",
    "VERBS",
    "split_words",
    "word_set",
]


def split_words(text: str) -> list[str]:
    """Words of a list that is written as running text."""
    return text.split()


def word_set(text: str) -> frozenset[str]:
    """The words of such a list."""
    return frozenset(split_words(text))


_TEXT = Path(__file__).with_name("words.txt").read_text(encoding="utf-8")
_LISTS = {name: listed for name, _, listed in (part.partition(": ") for part in _TEXT.split("\n\n"))}

STOP_WORDS = word_set(_LISTS["stop words"])
"""The closed-class words that text retrieval leaves out, split at apostrophes."""
PRONOUNS = word_set(_LISTS["pronouns"])
CONJUNCTIONS = word_set(_LISTS["conjunctions"])
"""The seven coordinating conjunctions."""
MINOR_TITLE_WORDS = word_set(_LISTS["minor title words"])
"""Articles, conjunctions and short prepositions: they may stay lower-case in a title."""
VERBS = word_set(_LISTS["verbs"])
IRREGULAR_VERB_FORMS = word_set(_LISTS["irregular verb forms"])
FINITE_VERBS = word_set(_LISTS["finite verbs"])
"""What stands behind a noun: a first word before one of these is no verb."""
ABBREVIATIONS = word_set(_LISTS["abbreviations"])
NEVER_LAST = word_set(_LISTS["never last"])
"""Abbreviations that no sentence ends with."""
SENTENCE_STARTERS = word_set(_LISTS["sentence starters"])
"""Words that start a sentence rather than follow an initial, as in "plan B. Then"."""
PERSON_NAMES = word_set(_LISTS["person names"])
"""The names that the instruction of `count:person_names` offers."""
EUROPEAN_CAPITALS = tuple(split_words(_LISTS["european capitals"]))
"""Capitals above 45 degrees north, from north to south."""
AFRICAN_COUNTRIES = frozenset(" ".join(split_words(name)) for name in _LISTS["african countries"].split(","))
