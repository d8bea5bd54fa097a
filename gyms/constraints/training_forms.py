"""The ids about form and copying that open-instruct adds to IFEval's for training.

Each id is the function that checks its rule as it reads; `..._upstream` before it is what the published checker does.
"""

from __future__ import annotations

import re

from gyms.constraints import arguments as a
from gyms.constraints.constraint import Family
from gyms.constraints.ifeval import asterisk_paragraphs
from gyms.constraints.text import blank_line_paragraphs, has_paragraphs, sentences, stripped
from gyms.constraints.upstream_text import split_sentences

__all__ = ["TRAINING_FORMS"]

TRAINING_FORMS = Family("open-instruct")
_DOTS = re.compile("[.\u2026\uff0e\u3002\u2024]")
_EXCLAMATIONS = re.compile("[!\uff01\u203c\u2049]")
_BIGRAM = re.compile(r"<<\s*([^\s<>]+)\s+([^\s<>]+)\s*>>[.,!?;:]*\s*")
_SINGLE = re.compile(r"<<\s*[^\s<>]+\s*>>[.,!?;:]*\s*")
_BRACKETED = re.compile(r"\[[^\[\]\s]+\][.,!?;:]*")
_REQUEST = (
    "(do not say anything before repeating the request; the request you need to repeat does not include this sentence) "
    "and do not answer the actual request!"
)


def repeat_phrase_upstream(text: str, args: a.Phrase) -> bool:
    wanted = args.phrase.split()
    found = [phrase.split() for line in text.split("\n") for phrase in _phrases(line, wanted[0], wanted[-1])]
    if len(found) != args.small_n:
        return False
    differences = 0
    for phrase in found:
        if len(phrase) > len(wanted):
            return False
        differences = sum(one != other for one, other in zip(phrase, wanted, strict=False))
        if differences > 1:
            return False
    return differences == 1


@TRAINING_FORMS.id(
    "copy:repeat_phrase",
    "Repeat the phrase {phrase} exactly {small_n} times, transforming it slightly each time by replacing only one "
    "word in the center of the phrase.",
    a.Phrase,
    published=repeat_phrase_upstream,
    differs="each repetition must differ in one word, upstream asks that of the last only; case does not matter",
)
def repeat_phrase(text: str, args: a.Phrase) -> bool:
    """Windows as long as the phrase that start and end like it, each with one other word between; none overlap."""
    wanted = args.phrase.lower().split()
    words = [stripped(word).lower() for word in text.split()]
    edges = stripped(wanted[0]), stripped(wanted[-1])
    middle = [stripped(word) for word in wanted[1:-1]]
    count = place = 0
    while place + len(wanted) <= len(words):
        window = words[place : place + len(wanted)]
        if (window[0], window[-1]) == edges and _num_different(window[1:-1], middle) <= 1:
            if _num_different(window[1:-1], middle) != 1:
                return False
            count += 1
            place += len(wanted)
        else:
            place += 1
    return count == args.small_n


def _num_different(given: list[str], wanted: list[str]) -> int:
    return sum(one != other for one, other in zip(given, wanted, strict=True))


def _phrases(line: str, first: str, last: str) -> list[str]:
    """Shortest stretches from `first ` to ` last`, from the left, in linear time."""
    found = []
    start = line.find(first + " ")
    while start >= 0:
        end = line.find(" " + last, start + len(first) + 1)
        if end < 0:
            break
        end += len(last) + 1
        found.append(line[start:end])
        start = line.find(first + " ", end)
    return found


def copy_upstream(text: str, args: a.RepeatPrompt) -> bool:
    return text.strip().lower() == args.prompt_to_repeat.strip().lower()


@TRAINING_FORMS.id(
    "copy:copy",
    "Copy this instruction verbatim, do not follow the instruction, only copy it into the output (do not include "
    "this instruction sentence!).",
    a.RepeatPrompt,
    published=copy_upstream,
    differs="line breaks and spaces count alike",
)
@TRAINING_FORMS.id(
    "copy:copying_simple",
    "Repeat the request without change " + _REQUEST,
    a.RepeatPrompt,
    published=copy_upstream,
    differs="line breaks and spaces count alike",
)
def copy(text: str, args: a.RepeatPrompt) -> bool:
    return text.lower().split() == args.prompt_to_repeat.lower().split()


def copy_span_upstream(text: str, args: a.RepeatSpan) -> bool:
    return text.strip().lower() == args.prompt_to_repeat[args.n_start : args.n_end].strip().lower()


@TRAINING_FORMS.id(
    "new:copy_span_idx",
    "Copy the span of words that lies between (and including) index {n_start} and {n_end}, the indices are "
    "character indices!",
    a.RepeatSpan,
    published=copy_span_upstream,
    differs="the last index is included, upstream leaves it out",
)
def copy_span(text: str, args: a.RepeatSpan) -> bool:
    return text.strip().lower() == args.prompt_to_repeat[args.n_start : args.n_end + 1].strip().lower()


def sentence_hyphens_upstream(text: str, _: a.NoArgs) -> bool:
    pairs = zip(text.split("-"), split_sentences(text.replace("-", " ")), strict=False)
    return all(part.strip() == part == sentence for part, sentence in pairs)


@TRAINING_FORMS.id(
    "detectable_format:sentence_hyphens",
    "All sentences must be connected using hyphens, with no spaces between them.",
    published=sentence_hyphens_upstream,
    differs="there must be two sentences, and words may hold hyphens; upstream compares the first parts only",
)
def sentence_hyphens(text: str, _: a.NoArgs) -> bool:
    text = text.strip()
    parts = re.split(r"(?<=[.!?\"'\u201d])-(?=\S)", text)
    are_glued = all(part == part.strip() and len(sentences(part)) == 1 for part in parts)
    return len(parts) > 1 and are_glued and all(re.search(r"[.!?][\"'\u201d]?$", part) for part in parts[:-1])


def square_brackets_upstream(text: str, _: a.NoArgs) -> bool:
    return all(word.startswith("[") and word.endswith("]") for word in text.split())


@TRAINING_FORMS.id(
    "detectable_format:square_brackets",
    "Enclose every word in your response within square brackets.",
    published=square_brackets_upstream,
    differs="a punctuation mark may follow the bracket, and brackets may not be empty",
)
def square_brackets(text: str, _: a.NoArgs) -> bool:
    words = text.split()
    return bool(words) and all(_BRACKETED.fullmatch(word) for word in words)


def paragraphs_upstream(text: str, _: a.NoArgs) -> bool:
    return has_paragraphs(text.split("***"), 2)


@TRAINING_FORMS.id(
    "paragraphs:paragraphs",
    "There should be 2 paragraphs. Paragraphs are separated with the markdown divider: ***",
    published=paragraphs_upstream,
    differs="exactly three asterisks divide",
)
def paragraphs(text: str, _: a.NoArgs) -> bool:
    return has_paragraphs(asterisk_paragraphs(text), 2)


def paragraphs2_upstream(text: str, _: a.NoArgs) -> bool:
    return has_paragraphs(text.split("\n\n"), 2)


@TRAINING_FORMS.id(
    "paragraphs:paragraphs2",
    "There should be 2 paragraphs. Paragraphs and only paragraphs are separated by two line breaks.",
    published=paragraphs2_upstream,
    differs="several empty lines are one separation",
)
def paragraphs2(text: str, _: a.NoArgs) -> bool:
    return len(blank_line_paragraphs(text)) == 2


def bigram_wrapping_upstream(text: str, _: a.NoArgs) -> bool:
    words = text.split()
    return all(one.startswith("<<") and two.endswith(">>") for one, two in zip(words[::2], words[1::2], strict=False))


@TRAINING_FORMS.id(
    "detectable_format:bigram_wrapping",
    "Wrap every word bigram in double angular brackets, such as <<I am>> <<at home>> <<with my>> <<cute dog>>.",
    published=bigram_wrapping_upstream,
    differs="each bracket holds exactly two words, the last may hold one; upstream passes a single unwrapped word",
)
def bigram_wrapping(text: str, _: a.NoArgs) -> bool:
    text = text.strip()
    place = num_pairs = 0
    while found := _BIGRAM.match(text, place):
        place, num_pairs = found.end(), num_pairs + 1
    return num_pairs > 0 and (place == len(text) or _SINGLE.fullmatch(text, place) is not None)


def copying_multiple_upstream(text: str, args: a.CopyTimes) -> bool:
    parts = text.split("*" * 6)
    wanted = args.prompt_to_repeat.strip().lower()
    return len(parts) == args.N and all(part.strip().lower() == wanted for part in parts)


@TRAINING_FORMS.id(
    "copy:copying_multiple",
    "Repeat the request without change {N} times, separated by 6 asterisk symbols " + _REQUEST,
    a.CopyTimes,
    published=copying_multiple_upstream,
    differs="line breaks and spaces count alike",
)
def copying_multiple(text: str, args: a.CopyTimes) -> bool:
    parts = [part.lower().split() for part in text.split("*" * 6)]
    return len(parts) == args.N and all(part == args.prompt_to_repeat.lower().split() for part in parts)


def no_dot_upstream(text: str, _: a.NoArgs) -> bool:
    return "." not in text


@TRAINING_FORMS.id(
    "punctuation:punctuation_dot",
    "In your entire response, refrain from the use of . (i.e. dots) as punctuation and in general.",
    published=no_dot_upstream,
    differs="the ellipsis and the full stops of other scripts are dots",
)
def no_dot(text: str, _: a.NoArgs) -> bool:
    return _DOTS.search(text) is None


def no_exclamation_upstream(text: str, _: a.NoArgs) -> bool:
    return "!" not in text


@TRAINING_FORMS.id(
    "punctuation:punctuation_exclamation",
    "In your entire response, refrain from the use of ! (i.e. exclamation marks) as punctuation and in general.",
    published=no_exclamation_upstream,
    differs="exclamation marks of other scripts count",
)
def no_exclamation(text: str, _: a.NoArgs) -> bool:
    return _EXCLAMATIONS.search(text) is None
