"""The 25 instruction ids of IFEval (Zhou et al. 2023), each as its rule reads.

As published: case does not matter to keywords, and words are counted as runs of letters, digits and
underscores. Keywords are whole words here ("start" holds no "art"), where upstream looks for runs of characters; one
that need only be included may go on ("cats" for "cat"). What is stricter or kinder here than upstream is said in
`differs`, and docs/constraints.md shows all of it as a table; what the published checkers do is in ifeval_published.py.
"""

from __future__ import annotations

import json
import re
from typing import Any

from gyms.constraints import arguments as a
from gyms.constraints import ifeval_published as upstream
from gyms.constraints.constraint import Family, compares, times, whole_word
from gyms.constraints.language import is_english, is_language
from gyms.constraints.text import blank_line_paragraphs, has_paragraphs, plain_words, sentences, tokens

__all__ = ["IFEVAL", "asterisk_paragraphs", "letter_frequency"]

IFEVAL = Family("IFEval")
_COMMAS = re.compile("[,\uff0c\u060c\u3001\ufe50\uff64\ufe10]")
_DIVIDER = re.compile(r"(?<!\*)\*\*\*(?!\*)")
_BULLET = re.compile(r"[^\S\n]*[*+-][^\S\n]++(?![*+\-\s]+$)\S")  # `++`: giving back spaces only looks ahead again
_PLACEHOLDER = re.compile(r"\[([^\[\]\n]*)\]")
_EMPHASIS = re.compile(r"(?<![*\\\w])(\*{1,3})(?=[^\s*])([^*\n]+)(?<=[^\s*\\])\1(?![*\w])")
_TITLE = re.compile(r"<<([^<>\n]+)>>")


@IFEVAL.id(
    "keywords:existence",
    "Include keywords {keywords} in the response.",
    a.Keywords,
    published=upstream.existence,
    differs="keywords are literal text that starts a word (cats has cat, concatenate has not), upstream takes "
    "them for regular expressions that may stand anywhere",
)
def existence(text: str, args: a.Keywords) -> bool:
    return all(whole_word(keyword, ends=False).search(text) for keyword in args.keywords)


@IFEVAL.id(
    "keywords:frequency",
    "In your response, the word {keyword} should appear {relation} {frequency} times.",
    a.KeywordFrequency,
    published=upstream.frequency,
    differs="the keyword is a literal whole word, upstream takes it for a regular expression that may stand "
    "inside of one",
)
def frequency(text: str, args: a.KeywordFrequency) -> bool:
    return compares(times(text, args.keyword), args.relation, args.frequency)


@IFEVAL.id(
    "keywords:forbidden_words",
    "Do not include keywords {forbidden_words} in the response.",
    a.ForbiddenWords,
    published=upstream.forbidden_words,
    differs="words are literal and may start or end with a sign (C++), upstream takes them for regular expressions",
)
def forbidden_words(text: str, args: a.ForbiddenWords) -> bool:
    return not any(whole_word(word).search(text) for word in args.forbidden_words)


@IFEVAL.id(
    "keywords:letter_frequency",
    "In your response, the letter {letter} should appear {let_relation} {let_frequency} times.",
    a.LetterFrequency,
    differs="a sign such as ! or # is counted as given in both modes, upstream replaces it by a random letter",
)
def letter_frequency(text: str, args: a.LetterFrequency) -> bool:
    return compares(text.lower().count(args.letter.lower()), args.let_relation, args.let_frequency)


@IFEVAL.id(
    "language:response_language",
    "Your ENTIRE response should be in {language} language, no other language is allowed.",
    a.Language,
    published=upstream.response_language,
    differs="undecidable text fails, the script must fit and no long passage may be foreign; upstream passes "
    "what it cannot detect, looks at the start only, and is unseeded (both modes are seeded here)",
)
def response_language(text: str, args: a.Language) -> bool:
    return is_language(text, args.language)


@IFEVAL.id(
    "length_constraints:number_sentences",
    "Your response should contain {relation} {num_sentences} sentences.",
    a.NumSentences,
    published=upstream.number_sentences,
    differs="none; upstream's trained sentence splitter is not available, both modes use the splitter of this project",
)
def number_sentences(text: str, args: a.NumSentences) -> bool:
    return compares(len(sentences(text)), args.relation, args.num_sentences)


def asterisk_paragraphs(text: str) -> list[str]:
    """Paragraphs between `***`; more or fewer asterisks in a row are no divider."""
    return _DIVIDER.split(text)


@IFEVAL.id(
    "length_constraints:number_paragraphs",
    "There should be {num_paragraphs} paragraphs. Paragraphs are separated with the markdown divider: ***",
    a.NumParagraphs,
    published=upstream.number_paragraphs,
    differs="exactly three asterisks divide, upstream also splits inside of longer runs",
)
def number_paragraphs(text: str, args: a.NumParagraphs) -> bool:
    return has_paragraphs(asterisk_paragraphs(text), args.num_paragraphs)


@IFEVAL.id(
    "length_constraints:number_words",
    "Answer with {relation} {num_words} words.",
    a.NumWords,
)
def number_words(text: str, args: a.NumWords) -> bool:
    return compares(len(plain_words(text)), args.relation, args.num_words)


@IFEVAL.id(
    "length_constraints:nth_paragraph_first_word",
    "There should be {num_paragraphs} paragraphs. Paragraphs and only paragraphs are separated with "
    "each other by two new lines. Paragraph {nth_paragraph} must start with word {first_word}.",
    a.NthParagraph,
    published=upstream.nth_paragraph_first_word,
    differs="empty parts are no paragraphs, upstream counts without them but indexes with them; leading signs "
    "are skipped",
)
def nth_paragraph_first_word(text: str, args: a.NthParagraph) -> bool:
    paragraphs = blank_line_paragraphs(text)
    if len(paragraphs) != args.num_paragraphs:
        return False
    words = tokens(paragraphs[args.nth_paragraph - 1])
    wanted = args.first_word.strip().lower()
    first = words[0].lower() if words else ""
    return first == wanted or re.split(r"['\u2019]", first)[0] == wanted


@IFEVAL.id(
    "detectable_content:number_placeholders",
    "The response must contain at least {num_placeholders} placeholders represented by square brackets,"
    " such as [address].",
    a.NumPlaceholders,
    published=upstream.number_placeholders,
    differs="empty brackets are no placeholders",
)
def number_placeholders(text: str, args: a.NumPlaceholders) -> bool:
    return sum(bool(found.strip()) for found in _PLACEHOLDER.findall(text)) >= args.num_placeholders


@IFEVAL.id(
    "detectable_content:postscript",
    "At the end of your response, please explicitly add a postscript starting with {postscript_marker}",
    a.Postscript,
    published=upstream.postscript,
    differs="it must start a word, hold text and stand at the end (second half or last paragraph)",
)
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


@IFEVAL.id(
    "detectable_format:number_bullet_lists",
    "Your answer must contain exactly {num_bullets} bullet points. Use the markdown bullet points such "
    "as: * This is point 1.",
    a.NumBullets,
    published=upstream.number_bullet_lists,
    differs="a bullet is *, - or + with a space and text behind it; upstream also counts *emphasis*, --- and -5",
)
def number_bullet_lists(text: str, args: a.NumBullets) -> bool:
    return sum(_BULLET.match(line) is not None for line in text.split("\n")) == args.num_bullets


@IFEVAL.id(
    "detectable_format:constrained_response",
    "Answer with one of the following options: My answer is yes. / My answer is no. / My answer is maybe.",
    published=upstream.constrained_response,
    differs="exactly one of the options may be given, upstream passes a response that gives all of them",
)
def constrained_response(text: str, _: a.NoArgs) -> bool:
    return sum(option in text for option in upstream.OPTIONS) == 1


@IFEVAL.id(
    "detectable_format:number_highlighted_sections",
    "Highlight at least {num_highlights} sections in your answer with markdown, i.e. *highlighted section*.",
    a.NumHighlights,
    published=upstream.number_highlighted_sections,
    differs="asterisks must hug their text as in markdown, upstream also counts 2 * 3 * 4",
)
def number_highlighted_sections(text: str, args: a.NumHighlights) -> bool:
    return sum(re.search(r"\w", found[1]) is not None for found in _EMPHASIS.findall(text)) >= args.num_highlights


@IFEVAL.id(
    "detectable_format:multiple_sections",
    "Your response must have {num_sections} sections. Mark the beginning of each section with {section_spliter} X.",
    a.Sections,
    published=upstream.multiple_sections,
    differs="sections must differ in number and hold text; the splitter is literal",
)
def multiple_sections(text: str, args: a.Sections) -> bool:
    marks = list(re.finditer(rf"(?<!\w){re.escape(args.section_spliter.strip())}[^\S\n]?(\d{{1,9}})(?!\d)", text))
    ends = [mark.start() for mark in marks[1:]] + [len(text)] * bool(marks)
    filled = {mark.group(1) for mark, end in zip(marks, ends, strict=True) if re.search(r"\w", text[mark.end() : end])}
    return len(filled) >= args.num_sections


@IFEVAL.id(
    "detectable_format:json_format",
    "Entire output should be wrapped in JSON format. You can use markdown ticks such as ```.",
    published=upstream.json_format,
    differs="an object or a list; a bare number or string, NaN and a key given twice fail",
)
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


def title_in(text: str) -> str | None:
    """The first title in double angular brackets that holds a word."""
    return next((found for found in _TITLE.findall(text) if re.search(r"\w", found)), None)


@IFEVAL.id(
    "detectable_format:title",
    "Your answer must contain a title, wrapped in double angular brackets, such as <<poem of joy>>.",
    published=upstream.title,
    differs="the title must hold a word",
)
def title(text: str, _: a.NoArgs) -> bool:
    return title_in(text) is not None


@IFEVAL.id(
    "combination:two_responses",
    "Give two different responses. Responses and only responses should be separated by 6 asterisk symbols: ******.",
    published=upstream.two_responses,
    differs="the two must differ in their words, not only in signs or case",
)
def two_responses(text: str, _: a.NoArgs) -> bool:
    parts = [part for part in text.split("*" * 6) if part.strip()]
    if not upstream.two_responses(text, _):
        return False
    first, second = ([word.lower() for word in plain_words(part)] for part in parts)
    return bool(first) and bool(second) and first != second


@IFEVAL.id(
    "combination:repeat_prompt",
    "First repeat the request word for word without change, then give your answer.",
    a.RepeatPrompt,
    published=upstream.repeat_prompt,
    differs="an answer must follow; line breaks and spaces count alike",
)
def repeat_prompt(text: str, args: a.RepeatPrompt) -> bool:
    wanted, given = (" ".join(part.split()).lower() for part in (args.prompt_to_repeat, text))
    rest = given[len(wanted) :]
    return given.startswith(wanted) and not rest[:1].isalnum() and re.search(r"\w", rest) is not None


@IFEVAL.id(
    "startend:end_checker",
    "Finish your response with this exact phrase {end_phrase}. No other words should follow this phrase.",
    a.EndPhrase,
    published=upstream.end_checker,
    differs="closing quotes and asterisks may follow, and the phrase may not be the tail of a longer word",
)
def end_checker(text: str, args: a.EndPhrase) -> bool:
    wanted = " ".join(args.end_phrase.split()).lower()
    tail = " ".join(text[-4 * len(args.end_phrase) - 1000 :].split()).lower()
    for ending in (tail, tail.rstrip('"\u201d'), tail.rstrip('*_"\u201d ')):
        start = len(ending) - len(wanted)
        if ending.endswith(wanted) and not (start > 0 and wanted[0].isalnum() and ending[start - 1].isalnum()):
            return True
    return False


@IFEVAL.id(
    "change_case:capital_word_frequency",
    "In your response, words with all capital letters should appear {capital_relation} {capital_frequency} times.",
    a.CapitalFrequency,
    published=upstream.capital_word_frequency,
    differs="tokens are words with inner hyphens and apostrophes, upstream's tokenizer cuts DON'T into two",
)
def capital_word_frequency(text: str, args: a.CapitalFrequency) -> bool:
    return compares(sum(word.isupper() for word in tokens(text)), args.capital_relation, args.capital_frequency)


@IFEVAL.id(
    "change_case:english_capital",
    "Your entire response should be in English, and in all capital letters.",
    published=upstream.english_capital,
    differs="the language of the lower-cased text is detected, and undecidable text fails",
)
def english_capital(text: str, _: a.NoArgs) -> bool:
    return text.isupper() and is_english(text)


@IFEVAL.id(
    "change_case:english_lowercase",
    "Your entire response should be in English, and in all lowercase letters. No capital letters are allowed.",
    published=upstream.english_lowercase,
    differs="undecidable text fails",
)
def english_lowercase(text: str, _: a.NoArgs) -> bool:
    return text.islower() and is_english(text)


@IFEVAL.id(
    "punctuation:no_comma",
    "In your entire response, refrain from the use of any commas.",
    published=upstream.no_comma,
    differs="commas of other scripts count",
)
def no_comma(text: str, _: a.NoArgs) -> bool:
    return _COMMAS.search(text) is None


@IFEVAL.id(
    "startend:quotation",
    "Wrap your entire response with double quotation marks.",
    published=upstream.quotation,
    differs="typographic double quotes count, and there must be text inside",
)
def quotation(text: str, _: a.NoArgs) -> bool:
    text = text.strip()
    is_wrapped = len(text) > 2 and (text[0] + text[-1]) in ('""', "\u201c\u201d")
    return is_wrapped and re.search(r"\w", text) is not None
