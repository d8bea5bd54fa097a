"""The arguments of instructions, typed: what a data set gives is checked before anything is verified.

One model for each set of argument names. Numbers come as `3` or, in some published files, as `3.0`; both are whole
numbers. `true`, `2.5`, "3" and empty strings are refused: an argument that has to be guessed at makes the item
malformed, and a malformed item is masked rather than scored.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, model_validator

from gyms.constraints.language import LANGUAGES

__all__ = ["Args"]

MAX_COUNT = 1_000_000
MAX_TEXT = 50_000


def _whole(value: Any) -> Any:
    """3.0 is 3; a truth value is no number."""
    if isinstance(value, bool):
        raise ValueError("expected a whole number, got a truth value")
    if isinstance(value, float) and value.is_integer():
        return int(value)
    return value


def _filled(value: Any) -> Any:
    if isinstance(value, str) and not value.strip():
        raise ValueError("expected some text, got an empty string")
    return value


def _word_of(value: Any) -> Any:
    """Some published rows wrap a single word into a list."""
    if isinstance(value, list) and len(value) == 1:
        value = value[0]
    return _filled(value)


Whole = Annotated[int, BeforeValidator(_whole), Field(strict=True, ge=0, le=MAX_COUNT)]
Positive = Annotated[int, BeforeValidator(_whole), Field(strict=True, ge=1, le=MAX_COUNT)]
Percent = Annotated[float, BeforeValidator(_whole), Field(ge=0, le=100, allow_inf_nan=False)]
Text = Annotated[str, BeforeValidator(_filled), Field(strict=True, max_length=MAX_TEXT)]
Word = Annotated[str, BeforeValidator(_word_of), Field(strict=True, max_length=1000)]
Words = Annotated[list[Text], Field(min_length=1, max_length=200)]
Relation = Literal["less than", "at least"]
Letter = Annotated[str, BeforeValidator(_filled), Field(strict=True, min_length=1, max_length=1)]


class Args(BaseModel):
    """Base of all arguments: unknown names are refused, values are not converted."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class NoArgs(Args):
    """An instruction without arguments."""


class Keywords(Args):
    keywords: Words


class KeywordFrequency(Args):
    keyword: Word
    frequency: Whole
    relation: Relation


class ForbiddenWords(Args):
    forbidden_words: Words


class LetterFrequency(Args):
    letter: Letter
    let_frequency: Whole
    let_relation: Relation


class Language(Args):
    language: Text

    @model_validator(mode="after")
    def _is_known(self) -> Language:
        if self.language.lower() not in LANGUAGES:
            raise ValueError(f"language = {self.language!r} is not a code that can be detected, e.g. 'en', 'de', 'hi'")
        return self


class NumSentences(Args):
    num_sentences: Whole
    relation: Relation


class NumParagraphs(Args):
    num_paragraphs: Positive


class NumWords(Args):
    num_words: Whole
    relation: Relation


class NthParagraph(Args):
    num_paragraphs: Positive
    nth_paragraph: Positive
    first_word: Word

    @model_validator(mode="after")
    def _is_within(self) -> NthParagraph:
        if self.nth_paragraph > self.num_paragraphs:
            raise ValueError(f"nth_paragraph = {self.nth_paragraph} is beyond num_paragraphs = {self.num_paragraphs}")
        return self


class NumPlaceholders(Args):
    num_placeholders: Whole


class Postscript(Args):
    postscript_marker: Text


class NumBullets(Args):
    num_bullets: Whole


class NumHighlights(Args):
    num_highlights: Whole


class Sections(Args):
    section_spliter: Text
    num_sections: Whole


class RepeatPrompt(Args):
    prompt_to_repeat: Text


class EndPhrase(Args):
    end_phrase: Text


class CapitalFrequency(Args):
    capital_frequency: Whole
    capital_relation: Relation


class WordRange(Args):
    min_words: Whole
    max_words: Whole

    @model_validator(mode="after")
    def _is_ordered(self) -> WordRange:
        if self.min_words > self.max_words:
            raise ValueError(f"min_words = {self.min_words} is above max_words = {self.max_words}")
        return self


class Number(Args):
    N: Whole


class Times(Args):
    N: Positive


class PersonNames(Args):
    N: Annotated[int, BeforeValidator(_whole), Field(strict=True, ge=0, le=50)]


class Percentage(Args):
    percentage: Percent


class Overlap(Args):
    reference_text: Text
    percentage: Percent


class SmallNumber(Args):
    small_n: Whole


class Repeats(Args):
    small_n: Positive


class Conjunctions(Args):
    small_n: Annotated[int, BeforeValidator(_whole), Field(strict=True, ge=0, le=7)]


class Options(Args):
    options: Text

    @model_validator(mode="after")
    def _has_options(self) -> Options:
        if not any(character.isalnum() for character in self.options):
            raise ValueError(f"options = {self.options!r} names no option")
        return self


class SentenceKeyword(Args):
    word: Word
    N: Positive


class Separator(Args):
    sep: Text


class FiveKeywords(Args):
    keyword1: Word
    keyword2: Word
    keyword3: Word
    keyword4: Word
    keyword5: Word

    @property
    def counts(self) -> list[tuple[str, int]]:
        """Each keyword, and how often it must occur."""
        words = (self.keyword1, self.keyword2, self.keyword3, self.keyword4, self.keyword5)
        return [(word.strip(), count) for word, count in zip(words, (1, 2, 3, 5, 7), strict=True)]


class TwoKeywords(Args):
    keyword1: Word
    keyword2: Word

    @property
    def counts(self) -> list[tuple[str, int]]:
        """Each keyword, and how often it must occur."""
        return [(self.keyword1.strip(), 1), (self.keyword2.strip(), 2)]


class KeywordPosition(Args):
    keyword: Word
    n: Positive
    m: Positive


class Keyword(Args):
    keyword: Word


class ExcludedKeyword(Args):
    keyword: Word
    instruction: str | None = None


class RepeatSpan(Args):
    prompt_to_repeat: Text
    n_start: Whole
    n_end: Whole

    @model_validator(mode="after")
    def _is_span(self) -> RepeatSpan:
        if self.n_start > self.n_end:
            raise ValueError(f"n_start = {self.n_start} is behind n_end = {self.n_end}")
        if not self.prompt_to_repeat[self.n_start : self.n_end + 1].strip():
            raise ValueError(f"characters {self.n_start} to {self.n_end} of prompt_to_repeat are empty")
        return self


class Phrase(Args):
    phrase: Text
    small_n: Positive

    @model_validator(mode="after")
    def _has_center(self) -> Phrase:
        if len(self.phrase.split()) < 3:
            raise ValueError(f"phrase = {self.phrase!r} has no word between its first and its last")
        return self


class FirstWord(Args):
    first_word: Word


class LastWord(Args):
    last_word: Word


class CopyTimes(Args):
    prompt_to_repeat: Text
    N: Positive


class LetterCount(Args):
    N: Whole
    relation: Relation


class Composition(Args):
    n_sent: Positive
    n_words: Positive
