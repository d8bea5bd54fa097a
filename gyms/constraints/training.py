"""The 29 instruction ids that open-instruct adds to IFEval's for training, as they read and as they were published."""

from __future__ import annotations

import re
from itertools import pairwise

from gyms.constraints import arguments as a
from gyms.constraints.constraint import compares, keyword_pattern, times, whole_word
from gyms.constraints.ifeval import asterisk_paragraphs
from gyms.constraints.text import blank_line_paragraphs, has_paragraphs, sentences, stripped, tokens, word_tokens
from gyms.constraints.upstream_text import split_sentences, word_tokenize

_DOTS = re.compile("[.\u2026\uff0e\u3002\u2024]")
_EXCLAMATIONS = re.compile("[!\uff01\u203c\u2049]")
_DIVIDER = re.compile(r"(?<!\*)(?:\*\*\*|\*[^\S\n]\*[^\S\n]\*)(?!\*)")
_BIGRAM = re.compile(r"<<\s*([^\s<>]+)\s+([^\s<>]+)\s*>>[.,!?;:]*\s*")
_SINGLE = re.compile(r"<<\s*[^\s<>]+\s*>>[.,!?;:]*\s*")
_BRACKETED = re.compile(r"\[[^\[\]\s]+\][.,!?;:]*")
_LOWERCASE_UPSTREAM = re.compile(r"\b[a-z]+\b")
_SIGNS = re.compile(r"[^\w\s]")


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


def copy(text: str, args: a.RepeatPrompt) -> bool:
    return text.lower().split() == args.prompt_to_repeat.lower().split()


def copy_upstream(text: str, args: a.RepeatPrompt) -> bool:
    return text.strip().lower() == args.prompt_to_repeat.strip().lower()


def copy_span(text: str, args: a.RepeatSpan) -> bool:
    return text.strip().lower() == args.prompt_to_repeat[args.n_start : args.n_end + 1].strip().lower()


def copy_span_upstream(text: str, args: a.RepeatSpan) -> bool:
    return text.strip().lower() == args.prompt_to_repeat[args.n_start : args.n_end].strip().lower()


def sentence_hyphens(text: str, _: a.NoArgs) -> bool:
    text = text.strip()
    parts = re.split(r"(?<=[.!?\"'\u201d])-(?=\S)", text)
    are_glued = all(part == part.strip() and len(sentences(part)) == 1 for part in parts)
    return len(parts) > 1 and are_glued and all(re.search(r"[.!?][\"'\u201d]?$", part) for part in parts[:-1])


def sentence_hyphens_upstream(text: str, _: a.NoArgs) -> bool:
    pairs = zip(text.split("-"), split_sentences(text.replace("-", " ")), strict=False)
    return all(part.strip() == part == sentence for part, sentence in pairs)


def no_adjacent_consecutive(text: str, _: a.NoArgs) -> bool:
    return _has_no_step([word.lower()[0] for word in word_tokens(text)])


def no_adjacent_consecutive_upstream(text: str, _: a.NoArgs) -> bool:
    firsts = [word[0].lower() for word in text.split()]
    is_single = len(firsts) < 2 or all(len(first) == 1 for first in firsts)
    return is_single and _has_no_step(firsts)


def _has_no_step(firsts: list[str]) -> bool:
    codes = [ord(first) for first in firsts]
    return all(later - earlier != 1 for earlier, later in pairwise(codes))


def square_brackets(text: str, _: a.NoArgs) -> bool:
    words = text.split()
    return bool(words) and all(_BRACKETED.fullmatch(word) for word in words)


def square_brackets_upstream(text: str, _: a.NoArgs) -> bool:
    return all(word.startswith("[") and word.endswith("]") for word in text.split())


def word_once(text: str, args: a.Keyword) -> bool:
    return times(text, args.keyword) == 1


def word_once_upstream(text: str, args: a.Keyword) -> bool:
    return len(keyword_pattern(args.keyword.strip()).findall(text)) == 1


def word_count(text: str, args: a.KeywordFrequency) -> bool:
    return compares(times(text, args.keyword), args.relation, args.frequency)


def word_count_upstream(text: str, args: a.KeywordFrequency) -> bool:
    return compares(len(keyword_pattern(args.keyword.strip()).findall(text)), args.relation, args.frequency)


def exclude_word_harder(text: str, args: a.ExcludedKeyword) -> bool:
    return whole_word(args.keyword).search(text) is None


def exclude_word_harder_upstream(text: str, args: a.ExcludedKeyword) -> bool:
    return f" {args.keyword.strip()} " not in text


def paragraphs(text: str, _: a.NoArgs) -> bool:
    return has_paragraphs(asterisk_paragraphs(text), 2)


def paragraphs_upstream(text: str, _: a.NoArgs) -> bool:
    return has_paragraphs(text.split("***"), 2)


def paragraphs2(text: str, _: a.NoArgs) -> bool:
    return len(blank_line_paragraphs(text)) == 2


def paragraphs2_upstream(text: str, _: a.NoArgs) -> bool:
    return has_paragraphs(text.split("\n\n"), 2)


def first_word_sent(text: str, args: a.FirstWord) -> bool:
    wanted = stripped(args.first_word).lower()
    found = [word_tokens(sentence)[:1] for sentence in sentences(text)]
    return bool(found) and all(first and _is_word(first[0], wanted) for first in found)


def first_word_sent_upstream(text: str, args: a.FirstWord) -> bool:
    firsts = [sentence.split()[:1] for sentence in split_sentences(text)]
    return all(first and first[0].lower() == args.first_word.strip().lower() for first in firsts)


def first_word_answer(text: str, args: a.FirstWord) -> bool:
    words = word_tokens(text)
    return bool(words) and _is_word(words[0], stripped(args.first_word).lower())


def first_word_answer_upstream(text: str, args: a.FirstWord) -> bool:
    words = text.split()
    return bool(words) and words[0].lower() == args.first_word.strip().lower()


def last_word_sent(text: str, args: a.LastWord) -> bool:
    wanted = stripped(args.last_word).lower()
    found = [word_tokens(sentence)[-1:] for sentence in sentences(text)]
    return bool(found) and all(last and _is_word(last[0], wanted) for last in found)


def last_word_sent_upstream(text: str, args: a.LastWord) -> bool:
    lasts = [sentence.split()[-1:] for sentence in split_sentences(text)]
    return all(last and _SIGNS.sub("", last[0]).lower() == args.last_word.strip().lower() for last in lasts)


def last_word_answer(text: str, args: a.LastWord) -> bool:
    words = word_tokens(text)
    return bool(words) and _is_word(words[-1], stripped(args.last_word).lower())


def last_word_answer_upstream(text: str, args: a.LastWord) -> bool:
    words = text.split()
    return bool(words) and _SIGNS.sub("", words[-1]).lower() == args.last_word.strip().lower()


def _is_word(given: str, wanted: str) -> bool:
    return given.lower() == wanted


def bigram_wrapping(text: str, _: a.NoArgs) -> bool:
    text = text.strip()
    place = num_pairs = 0
    while found := _BIGRAM.match(text, place):
        place, num_pairs = found.end(), num_pairs + 1
    return num_pairs > 0 and (place == len(text) or _SINGLE.fullmatch(text, place) is not None)


def bigram_wrapping_upstream(text: str, _: a.NoArgs) -> bool:
    words = text.split()
    return all(one.startswith("<<") and two.endswith(">>") for one, two in zip(words[::2], words[1::2], strict=False))


def copying_multiple(text: str, args: a.CopyTimes) -> bool:
    parts = [part.lower().split() for part in text.split("*" * 6)]
    return len(parts) == args.N and all(part == args.prompt_to_repeat.lower().split() for part in parts)


def copying_multiple_upstream(text: str, args: a.CopyTimes) -> bool:
    parts = text.split("*" * 6)
    wanted = args.prompt_to_repeat.strip().lower()
    return len(parts) == args.N and all(part.strip().lower() == wanted for part in parts)


def no_dot(text: str, _: a.NoArgs) -> bool:
    return _DOTS.search(text) is None


def no_dot_upstream(text: str, _: a.NoArgs) -> bool:
    return "." not in text


def no_exclamation(text: str, _: a.NoArgs) -> bool:
    return _EXCLAMATIONS.search(text) is None


def no_exclamation_upstream(text: str, _: a.NoArgs) -> bool:
    return "!" not in text


def lowercase_counting(text: str, args: a.Number) -> bool:
    return sum(word.islower() for word in tokens(text)) <= args.N


def lowercase_counting_upstream(text: str, args: a.Number) -> bool:
    return len(_LOWERCASE_UPSTREAM.findall(text)) <= args.N


def letter_counting(text: str, args: a.LetterCount) -> bool:
    return compares(sum(character.isalpha() for character in text), args.relation, args.N)


def letter_counting_upstream(text: str, args: a.LetterCount) -> bool:
    return compares(len(re.findall(r"[a-zA-Z]", text)), args.relation, args.N)


def counting_composition(text: str, args: a.Composition) -> bool:
    parts = _DIVIDER.split(text)
    if not has_paragraphs(parts, 3):
        return False
    found = [sentences(part) for part in parts if part.strip()]
    counts = [len(word_tokens(sentence)) for paragraph in found for sentence in paragraph]
    return all(len(paragraph) == args.n_sent for paragraph in found) and set(counts) == {args.n_words}


def counting_composition_upstream(text: str, args: a.Composition) -> bool:
    parts = text.split("***")
    if not has_paragraphs(parts, 3) or not all(part.strip() for part in parts):
        return False
    found = [split_sentences(part) for part in parts]
    counts = [len(word_tokenize(sentence)) for paragraph in found for sentence in paragraph]
    return all(len(paragraph) == args.n_sent for paragraph in found) and set(counts) == {args.n_words}


def count_unique(text: str, _: a.NoArgs) -> bool:
    words = [word.lower() for word in word_tokens(text)]
    return bool(words) and len(words) == len(set(words))


def count_unique_upstream(text: str, _: a.NoArgs) -> bool:
    words = word_tokenize(text)
    return len(words) == len(set(words))


def count_increment_word(text: str, args: a.TwoKeywords) -> bool:
    return times(text, args.keyword1) == 1 and times(text, args.keyword2) == 2


def count_increment_word_upstream(text: str, args: a.TwoKeywords) -> bool:
    found = [len(keyword_pattern(word.strip()).findall(text)) for word in (args.keyword1, args.keyword2)]
    return found == [1, 2]


def palindrome(text: str, _: a.NoArgs) -> bool:
    words = (word.lower() for word in word_tokens(text))
    return any(len(word) >= 3 and word.isalpha() and word == word[::-1] for word in words)


def palindrome_upstream(text: str, _: a.NoArgs) -> bool:
    return any(word == word[::-1] for word in text.split())


def start_end(text: str, _: a.NoArgs) -> bool:
    words, text = word_tokens(text), text.strip()
    return len(words) > 1 and words[0].lower() == words[-1].lower() and text.endswith(words[-1])


def start_end_upstream(text: str, _: a.NoArgs) -> bool:
    words = word_tokenize(text)
    return len(words) > 1 and words[0].lower() == words[-1].lower()
