"""What the published checkers of IFEval do, flaws included, in linear time: the `compat` mode of ifeval.py's ids."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator

from gyms.constraints import arguments as a
from gyms.constraints.constraint import compares, keyword_pattern
from gyms.constraints.language import detect_upstream
from gyms.constraints.text import has_paragraphs
from gyms.constraints.upstream_text import count_sentences, word_tokenize

OPTIONS = ("My answer is yes.", "My answer is no.", "My answer is maybe.")


def existence(text: str, args: a.Keywords) -> bool:
    return all(keyword_pattern(keyword).search(text) for keyword in args.keywords)


def frequency(text: str, args: a.KeywordFrequency) -> bool:
    found = len(keyword_pattern(args.keyword.strip()).findall(text))
    return compares(found, args.relation, args.frequency)


def forbidden_words(text: str, args: a.ForbiddenWords) -> bool:
    return not any(keyword_pattern(word, bounded=True).search(text) for word in args.forbidden_words)


def response_language(text: str, args: a.Language) -> bool:
    found = detect_upstream(text)
    return found is None or found == args.language


def number_sentences(text: str, args: a.NumSentences) -> bool:
    return compares(count_sentences(text), args.relation, args.num_sentences)


def number_paragraphs(text: str, args: a.NumParagraphs) -> bool:
    return has_paragraphs(text.split("***"), args.num_paragraphs)


def nth_paragraph_first_word(text: str, args: a.NthParagraph) -> bool:
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
    return sum(_num_bracketed(line) for line in text.split("\n")) >= args.num_placeholders


def _num_bracketed(line: str) -> int:
    """Shortest matches of `[...]` from the left, in linear time."""
    count = start = 0
    while (start := line.find("[", start)) >= 0 and (end := line.find("]", start)) >= 0:
        count, start = count + 1, end + 1
    return count


def postscript(text: str, args: a.Postscript) -> bool:
    text = text.lower()
    if args.postscript_marker == "P.P.S":
        return re.search(r"p\.\s?p\.\s?s", text) is not None
    if args.postscript_marker == "P.S.":
        return re.search(r"p\.\s?s\.", text) is not None
    return keyword_pattern(args.postscript_marker.lower()).search(text) is not None


def number_bullet_lists(text: str, args: a.NumBullets) -> bool:
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
    return any(option in text for option in OPTIONS)


def number_highlighted_sections(text: str, args: a.NumHighlights) -> bool:
    single = re.findall(r"\*[^\n*]*\*", text)
    double = re.findall(r"\*\*[^\n*]*\*\*", text)
    count = sum(bool(found.strip("*").strip()) for found in single)
    count += sum(bool(found.removeprefix("**").removesuffix("**").strip()) for found in double)
    return count >= args.num_highlights


def multiple_sections(text: str, args: a.Sections) -> bool:
    splitter = keyword_pattern(args.section_spliter).pattern
    return len(re.findall(rf"{splitter}\s?\d+", text)) >= args.num_sections


def json_format(text: str, _: a.NoArgs) -> bool:
    text = text.strip()
    for fence in ("```json", "```Json", "```JSON", "```"):
        text = text.removeprefix(fence)
    try:
        json.loads(text.removesuffix("```").strip())
    except (ValueError, RecursionError):
        return False
    return True


def title(text: str, _: a.NoArgs) -> bool:
    return any(found.lstrip("<").rstrip(">").strip() for found in _greedy_titles(text))


def _greedy_titles(text: str) -> Iterator[str]:
    """From the first `<<` of a line to its last `>>`, with something between: upstream's pattern, in linear time."""
    for line in text.split("\n"):
        start, end = line.find("<<"), line.rfind(">>")
        if start >= 0 and end >= start + 3:
            yield line[start : end + 2]


def two_responses(text: str, _: a.NoArgs) -> bool:
    parts = text.split("*" * 6)
    if not has_paragraphs(parts, 2):
        return False
    first, second = (part.strip() for part in parts if part.strip())
    return first != second


def repeat_prompt(text: str, args: a.RepeatPrompt) -> bool:
    return text.strip().lower().startswith(args.prompt_to_repeat.strip().lower())


def end_checker(text: str, args: a.EndPhrase) -> bool:
    return text.strip().strip('"').lower().endswith(args.end_phrase.strip().lower())


def capital_word_frequency(text: str, args: a.CapitalFrequency) -> bool:
    found = sum(word.isupper() for word in word_tokenize(text))
    return compares(found, args.capital_relation, args.capital_frequency)


def english_capital(text: str, _: a.NoArgs) -> bool:
    return text.isupper() and detect_upstream(text) in ("en", None)


def english_lowercase(text: str, _: a.NoArgs) -> bool:
    return text.islower() and detect_upstream(text) in ("en", None)


def no_comma(text: str, _: a.NoArgs) -> bool:
    return "," not in text


def quotation(text: str, _: a.NoArgs) -> bool:
    text = text.strip()
    return len(text) > 1 and text[0] == text[-1] == '"'
