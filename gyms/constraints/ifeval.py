"""The 25 instruction ids of IFEval (Zhou et al. 2023), each as its rule reads and as its published checker behaves.

Copied as published: case does not matter to keywords, and words are counted as runs of letters, digits and
underscores. Keywords are whole words here ("start" holds no "art"), where upstream looks for runs of characters; one
that need only be included may go on ("cats" for "cat"). What is stricter or kinder here than upstream is said in
`difference`, and docs/constraints.md shows all of it as a table.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any

from gyms.constraints import arguments as a
from gyms.constraints.constraint import compares, keyword_pattern, times, whole_word
from gyms.constraints.language import detect_upstream, is_english, is_language
from gyms.constraints.text import blank_line_paragraphs, plain_words, sentences, tokens
from gyms.constraints.upstream_text import count_sentences, word_tokenize

OPTIONS = ("My answer is yes.", "My answer is no.", "My answer is maybe.")
_COMMAS = re.compile("[,\uff0c\u060c\u3001\ufe50\uff64\ufe10]")
_DIVIDER = re.compile(r"(?<!\*)\*\*\*(?!\*)")
_BULLET = re.compile(r"[^\S\n]*[*+-][^\S\n]++(?![*+\-\s]+$)\S")  # `++`: giving back spaces only looks ahead again
_PLACEHOLDER = re.compile(r"\[([^\[\]\n]*)\]")
_EMPHASIS = re.compile(r"(?<![*\\\w])(\*{1,3})(?=[^\s*])([^*\n]+)(?<=[^\s*\\])\1(?![*\w])")
_TITLE = re.compile(r"<<([^<>\n]+)>>")


def existence(text: str, args: a.Keywords) -> bool:
    return all(whole_word(keyword, ends=False).search(text) for keyword in args.keywords)


def existence_upstream(text: str, args: a.Keywords) -> bool:
    return all(keyword_pattern(keyword).search(text) for keyword in args.keywords)


def frequency(text: str, args: a.KeywordFrequency) -> bool:
    return compares(times(text, args.keyword), args.relation, args.frequency)


def frequency_upstream(text: str, args: a.KeywordFrequency) -> bool:
    found = len(keyword_pattern(args.keyword.strip()).findall(text))
    return compares(found, args.relation, args.frequency)


def forbidden_words(text: str, args: a.ForbiddenWords) -> bool:
    return not any(whole_word(word).search(text) for word in args.forbidden_words)


def forbidden_words_upstream(text: str, args: a.ForbiddenWords) -> bool:
    return not any(keyword_pattern(word, bounded=True).search(text) for word in args.forbidden_words)


def letter_frequency(text: str, args: a.LetterFrequency) -> bool:
    return compares(text.lower().count(args.letter.lower()), args.let_relation, args.let_frequency)


def response_language(text: str, args: a.Language) -> bool:
    return is_language(text, args.language)


def response_language_upstream(text: str, args: a.Language) -> bool:
    found = detect_upstream(text)
    return found is None or found == args.language


def number_sentences(text: str, args: a.NumSentences) -> bool:
    return compares(len(sentences(text)), args.relation, args.num_sentences)


def number_sentences_upstream(text: str, args: a.NumSentences) -> bool:
    return compares(count_sentences(text), args.relation, args.num_sentences)


def asterisk_paragraphs(text: str) -> list[str]:
    """Paragraphs between `***`; more or fewer asterisks in a row are no divider."""
    return _DIVIDER.split(text)


def has_paragraphs(parts: list[str], wanted: int) -> bool:
    """As many filled parts as wanted; only the first and the last part may be empty."""
    filled = [bool(part.strip()) for part in parts]
    return sum(filled) == wanted and all(filled[1:-1])


def number_paragraphs(text: str, args: a.NumParagraphs) -> bool:
    return has_paragraphs(asterisk_paragraphs(text), args.num_paragraphs)


def number_paragraphs_upstream(text: str, args: a.NumParagraphs) -> bool:
    return has_paragraphs(text.split("***"), args.num_paragraphs)


def number_words(text: str, args: a.NumWords) -> bool:
    return compares(len(plain_words(text)), args.relation, args.num_words)


def nth_paragraph_first_word(text: str, args: a.NthParagraph) -> bool:
    paragraphs = blank_line_paragraphs(text)
    if len(paragraphs) != args.num_paragraphs:
        return False
    words = tokens(paragraphs[args.nth_paragraph - 1])
    wanted = args.first_word.strip().lower()
    first = words[0].lower() if words else ""
    return first == wanted or re.split(r"['\u2019]", first)[0] == wanted


def nth_paragraph_first_word_upstream(text: str, args: a.NthParagraph) -> bool:
    paragraphs = text.split("\n\n")
    num_filled = sum(bool(paragraph.strip()) for paragraph in paragraphs)
    if args.nth_paragraph > num_filled:
        return False
    paragraph = paragraphs[args.nth_paragraph - 1].strip()
    if not paragraph:
        return False
    word = paragraph.split()[0].lstrip("'").lstrip('"')
    first = re.split(r"[.,?!'\"]", word, maxsplit=1)[0].lower()
    return num_filled == args.num_paragraphs and first == args.first_word.lower()


def number_placeholders(text: str, args: a.NumPlaceholders) -> bool:
    return sum(bool(found.strip()) for found in _PLACEHOLDER.findall(text)) >= args.num_placeholders


def number_placeholders_upstream(text: str, args: a.NumPlaceholders) -> bool:
    return sum(_num_bracketed(line) for line in text.split("\n")) >= args.num_placeholders


def _num_bracketed(line: str) -> int:
    """Shortest matches of `[...]` from the left, in linear time."""
    count = start = 0
    while (start := line.find("[", start)) >= 0 and (end := line.find("]", start)) >= 0:
        count, start = count + 1, end + 1
    return count


def postscript(text: str, args: a.Postscript) -> bool:
    marker = _postscript_pattern(args.postscript_marker)
    text = text.strip()
    end = len(text)
    while end and not text[end - 1].isalnum():
        end -= 1
    starts = [found.start() for found in marker.finditer(text) if found.end() < end]
    return bool(starts) and (starts[-1] >= len(text) / 2 or "\n\n" not in text[starts[-1] :])


def _postscript_pattern(marker: str) -> re.Pattern[str]:
    before = r"(?:(?<=\s)|(?<=[*_>#(\"\u201c])|^)"
    if marker in ("P.S.", "P.S"):
        return re.compile(before + r"(?i:p\.\s?s\b\.?)")
    if marker in ("P.P.S", "P.P.S."):
        return re.compile(before + r"(?i:p\.\s?p\.\s?s\b\.?)")
    return re.compile(before + f"(?i:{re.escape(marker.strip())})")


def postscript_upstream(text: str, args: a.Postscript) -> bool:
    text = text.lower()
    if args.postscript_marker == "P.P.S":
        return re.search(r"p\.\s?p\.\s?s", text) is not None
    if args.postscript_marker == "P.S.":
        return re.search(r"p\.\s?s\.", text) is not None
    return keyword_pattern(args.postscript_marker.lower()).search(text) is not None


def number_bullet_lists(text: str, args: a.NumBullets) -> bool:
    return sum(_BULLET.match(line) is not None for line in text.split("\n")) == args.num_bullets


def number_bullet_lists_upstream(text: str, args: a.NumBullets) -> bool:
    lines = [line.lstrip() for line in text.split("\n")]
    return _num_starred(lines) + sum(line.startswith("-") for line in lines) == args.num_bullets


def _num_starred(lines: list[str]) -> int:
    """Lines that start with one asterisk; a lone one takes the following line with it, as upstream's pattern does."""
    count = place = 0
    while place < len(lines):
        line = lines[place]
        is_lone = line == "*" and place + 1 < len(lines)
        if is_lone or (len(line) > 1 and line[0] == "*" and line[1] != "*"):
            count += 1
        place += 2 if is_lone else 1
    return count


def constrained_response(text: str, _: a.NoArgs) -> bool:
    return sum(option in text for option in OPTIONS) == 1


def constrained_response_upstream(text: str, _: a.NoArgs) -> bool:
    return any(option in text for option in OPTIONS)


def number_highlighted_sections(text: str, args: a.NumHighlights) -> bool:
    return sum(re.search(r"\w", found[1]) is not None for found in _EMPHASIS.findall(text)) >= args.num_highlights


def number_highlighted_sections_upstream(text: str, args: a.NumHighlights) -> bool:
    single = re.findall(r"\*[^\n*]*\*", text)
    double = re.findall(r"\*\*[^\n*]*\*\*", text)
    count = sum(bool(found.strip("*").strip()) for found in single)
    count += sum(bool(found.removeprefix("**").removesuffix("**").strip()) for found in double)
    return count >= args.num_highlights


def multiple_sections(text: str, args: a.Sections) -> bool:
    marks = list(re.finditer(rf"(?<!\w){re.escape(args.section_spliter.strip())}[^\S\n]?(\d{{1,9}})(?!\d)", text))
    ends = [mark.start() for mark in marks[1:]] + [len(text)] * bool(marks)
    filled = {mark.group(1) for mark, end in zip(marks, ends, strict=True) if re.search(r"\w", text[mark.end() : end])}
    return len(filled) >= args.num_sections


def multiple_sections_upstream(text: str, args: a.Sections) -> bool:
    splitter = keyword_pattern(args.section_spliter).pattern
    return len(re.findall(rf"{splitter}\s?\d+", text)) >= args.num_sections


def json_format(text: str, _: a.NoArgs) -> bool:
    """One object or list, strictly JSON: no NaN, no key twice, nothing before or after it but a code fence."""
    text = text.strip()
    if text.startswith("```") and text.endswith("```") and len(text) > 6:
        text = re.sub(r"\A(?:json|Json|JSON)(?=\s)", "", text[3:-3])
    try:
        value = json.loads(
            text.strip(),
            object_pairs_hook=_distinct_keys,
            parse_constant=_no_constant,
            parse_int=str,
            parse_float=str,
        )
    except (ValueError, RecursionError):
        return False
    return isinstance(value, dict | list)


def _distinct_keys(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    keys = dict(pairs)
    if len(keys) != len(pairs):
        raise ValueError("a key stands twice in one object")
    return keys


def _no_constant(name: str) -> Any:
    raise ValueError(f"{name} is not JSON")


def json_format_upstream(text: str, _: a.NoArgs) -> bool:
    text = text.strip()
    for fence in ("```json", "```Json", "```JSON", "```"):
        text = text.removeprefix(fence)
    try:
        json.loads(text.removesuffix("```").strip())
    except (ValueError, RecursionError):
        return False
    return True


def title_in(text: str) -> str | None:
    """The first title in double angular brackets that holds a word."""
    return next((found for found in _TITLE.findall(text) if re.search(r"\w", found)), None)


def title(text: str, _: a.NoArgs) -> bool:
    return title_in(text) is not None


def title_upstream(text: str, _: a.NoArgs) -> bool:
    return any(found.lstrip("<").rstrip(">").strip() for found in _greedy_titles(text))


def _greedy_titles(text: str) -> Iterator[str]:
    """From the first `<<` of a line to its last `>>`, with something between: upstream's pattern, in linear time."""
    for line in text.split("\n"):
        start, end = line.find("<<"), line.rfind(">>")
        if start >= 0 and end >= start + 3:
            yield line[start : end + 2]


def two_responses(text: str, _: a.NoArgs) -> bool:
    parts = [part for part in _split_at_six(text) if part.strip()]
    if not two_responses_upstream(text, _):
        return False
    first, second = ([word.lower() for word in plain_words(part)] for part in parts)
    return bool(first) and bool(second) and first != second


def _split_at_six(text: str) -> list[str]:
    return text.split("*" * 6)


def two_responses_upstream(text: str, _: a.NoArgs) -> bool:
    parts = _split_at_six(text)
    if not has_paragraphs(parts, 2):
        return False
    first, second = (part.strip() for part in parts if part.strip())
    return first != second


def repeat_prompt(text: str, args: a.RepeatPrompt) -> bool:
    wanted, given = (" ".join(part.split()).lower() for part in (args.prompt_to_repeat, text))
    rest = given[len(wanted) :]
    return given.startswith(wanted) and not rest[:1].isalnum() and re.search(r"\w", rest) is not None


def repeat_prompt_upstream(text: str, args: a.RepeatPrompt) -> bool:
    return text.strip().lower().startswith(args.prompt_to_repeat.strip().lower())


def end_checker(text: str, args: a.EndPhrase) -> bool:
    wanted = " ".join(args.end_phrase.split()).lower()
    tail = " ".join(text[-4 * len(args.end_phrase) - 1000 :].split()).lower()
    for ending in (tail, tail.rstrip('"\u201d'), tail.rstrip('*_"\u201d ')):
        start = len(ending) - len(wanted)
        if ending.endswith(wanted) and not (start > 0 and wanted[0].isalnum() and ending[start - 1].isalnum()):
            return True
    return False


def end_checker_upstream(text: str, args: a.EndPhrase) -> bool:
    return text.strip().strip('"').lower().endswith(args.end_phrase.strip().lower())


def capital_word_frequency(text: str, args: a.CapitalFrequency) -> bool:
    return compares(sum(word.isupper() for word in tokens(text)), args.capital_relation, args.capital_frequency)


def capital_word_frequency_upstream(text: str, args: a.CapitalFrequency) -> bool:
    found = sum(word.isupper() for word in word_tokenize(text))
    return compares(found, args.capital_relation, args.capital_frequency)


def english_capital(text: str, _: a.NoArgs) -> bool:
    return text.isupper() and is_english(text)


def english_capital_upstream(text: str, _: a.NoArgs) -> bool:
    return text.isupper() and detect_upstream(text) in ("en", None)


def english_lowercase(text: str, _: a.NoArgs) -> bool:
    return text.islower() and is_english(text)


def english_lowercase_upstream(text: str, _: a.NoArgs) -> bool:
    return text.islower() and detect_upstream(text) in ("en", None)


def no_comma(text: str, _: a.NoArgs) -> bool:
    return _COMMAS.search(text) is None


def no_comma_upstream(text: str, _: a.NoArgs) -> bool:
    return "," not in text


def quotation(text: str, _: a.NoArgs) -> bool:
    text = text.strip()
    is_wrapped = len(text) > 2 and (text[0] + text[-1]) in ('""', "\u201c\u201d")
    return is_wrapped and re.search(r"\w", text) is not None


def quotation_upstream(text: str, _: a.NoArgs) -> bool:
    text = text.strip()
    return len(text) > 1 and text[0] == text[-1] == '"'
