"""How a response is laid out: paragraphs, sections, bullets, lists, titles and brackets."""

from __future__ import annotations

import re

from gyms.constraints.arguments import Positive, Text, Whole, Word
from gyms.constraints.rule import Rules, at_least, exactly, once
from gyms.constraints.text import (
    NO_SPACES,
    blank_line_paragraphs,
    has_paragraphs,
    has_word,
    increases,
    lines_of,
    plain_words,
    sentences,
    tokens,
    word_tokens,
)
from gyms.invisible import visible

RULES = Rules()
ifeval, ifbench, training = (RULES.of(source) for source in ("IFEval", "IFBench", "open-instruct"))
_DIVIDER = re.compile(r"(?<!\*)\*\*\*(?!\*)")
_WIDE_DIVIDER = re.compile(r"(?<!\*)(?:\*\*\*|\*[^\S\n]\*[^\S\n]\*)(?!\*)")
_STARRED, _BLANK = "paragraphs between ***", "paragraphs between empty lines"


@ifeval("length_constraints:number_paragraphs", bounds=lambda a: [exactly(_STARRED, a.num_paragraphs)], folds=True)
def number_paragraphs(text: str, num_paragraphs: Positive) -> bool:
    """There should be {num_paragraphs} paragraphs. Paragraphs are separated with the markdown divider: ***
    Differs: exactly three asterisks divide, upstream also splits inside of longer runs."""
    return has_paragraphs(_DIVIDER.split(text), num_paragraphs)


@training("paragraphs:paragraphs", bounds=[exactly(_STARRED, 2)], folds=True)
def paragraphs(text: str) -> bool:
    """There should be 2 paragraphs. Paragraphs are separated with the markdown divider: ***
    Differs: exactly three asterisks divide."""
    return number_paragraphs(text, 2)


@training("paragraphs:paragraphs2", bounds=[exactly(_BLANK, 2)], needs="space")
def paragraphs2(text: str) -> bool:
    """There should be 2 paragraphs. Paragraphs and only paragraphs are separated by two line breaks.
    Differs: several empty lines are one separation."""
    return len(blank_line_paragraphs(text)) == 2


@ifeval(
    "length_constraints:nth_paragraph_first_word",
    refuses=lambda a: (
        f"nth_paragraph = {a.nth_paragraph} is beyond num_paragraphs = {a.num_paragraphs}"
        if a.nth_paragraph > a.num_paragraphs
        else None
    ),
    opening=lambda a: a.first_word.strip() if a.nth_paragraph == 1 else None,
    texts=lambda a: once(a.first_word),
    bounds=lambda a: [exactly(_BLANK, a.num_paragraphs)],
)
def nth_paragraph_first_word(text: str, num_paragraphs: Positive, nth_paragraph: Positive, first_word: Word) -> bool:
    """There should be {num_paragraphs} paragraphs. Paragraphs and only paragraphs are separated with each other by two
    new lines. Paragraph {nth_paragraph} must start with word {first_word}.
    Differs: empty parts are no paragraphs, upstream counts without them but indexes with them; leading signs are
    skipped."""
    found = blank_line_paragraphs(text)
    if len(found) != num_paragraphs:
        return False
    first = "".join(tokens(found[nth_paragraph - 1])[:1]).lower()
    return first_word.strip().lower() in (first, re.split(r"['\u2019]", first)[0])


@training(
    "count:counting_composition",
    bounds=lambda a: [
        exactly("paragraphs between three asterisks", 3),
        ("sentences", 0, 3 * a.n_sent),  # of the whole; a divider need not end the one before it
        at_least("words", 3 * a.n_sent * a.n_words),
    ],
)
def counting_composition(text: str, n_sent: Positive, n_words: Positive) -> bool:
    """Write 3 paragraphs, delimited by the markdown divider: * * *, with exactly {n_sent} sentences each, with exactly
    {n_words} words in each sentence.
    Differs: punctuation marks are no words and both dividers, * * * and ***, count; upstream counts marks."""
    parts = _WIDE_DIVIDER.split(text)
    found = [sentences(part) for part in parts if part.strip()]
    counts = {len(word_tokens(sentence)) for paragraph in found for sentence in paragraph}
    return has_paragraphs(parts, 3) and all(len(p) == n_sent for p in found) and counts == {n_words}


@ifeval("combination:two_responses", bounds=[at_least("words", 2)], folds=True)
def two_responses(text: str) -> bool:
    """Give two different responses. Responses and only responses should be separated by 6 asterisk symbols: ******.
    Differs: the two must differ in their words, not only in signs or case."""
    parts = text.split("*" * 6)
    words = [[word.lower() for word in plain_words(part)] for part in parts if part.strip()]
    return has_paragraphs(parts, 2) and all(words) and words[0] != words[1]


_SECTION = r"(?<!\w){}[^\S\n]?(\d{{1,9}})(?!\d)"


@ifeval(
    "detectable_format:multiple_sections",
    texts=lambda a: [(a.section_spliter.strip(), a.num_sections)] if a.num_sections else [],
    may_go_on="end",
    bounds=lambda a: [at_least("words", a.num_sections)],
)
def multiple_sections(text: str, section_spliter: Text, num_sections: Whole) -> bool:
    """Your response must have {num_sections} sections. Mark the beginning of each section with {section_spliter} X.
    Differs: sections must differ in number and hold text; the splitter is literal."""
    marks = list(re.finditer(_SECTION.format(re.escape(section_spliter.strip())), text))
    ends = [*(mark.start() for mark in marks[1:]), len(text)]
    filled = {mark.group(1) for mark, end in zip(marks, ends, strict=False) if has_word(text[mark.end() : end])}
    return len(filled) >= num_sections


_ITALICS = re.compile(r"<(i|em)>([^<]*)</\1>", re.IGNORECASE)
_HEADING = re.compile(
    r"^[^\S\n]*(?:#{1,6}[^\S\n]|<h[1-6]\b|(?:section|part|chapter)[^\S\n]+\w+[.:]?[^\S\n]*$)", re.I | re.M
)


@ifbench("format:thesis", forbids="json", is_parsed=True)
def thesis(text: str) -> bool:
    """Each section must begin with a thesis statement in italics, use HTML to indicate the italics.
    Differs: each section under a heading is checked and must begin in italics, upstream looks for one pair of tags."""
    starts = [found.start() for found in _HEADING.finditer(text)]
    if not starts or text[: starts[0]].strip():
        starts = [0, *starts]
    ends = [*starts[1:], len(text)]
    return all(_starts_in_italics(text[start:end]) for start, end in zip(starts, ends, strict=True))


def _starts_in_italics(section: str) -> bool:
    section = section.strip()
    if _HEADING.match(section):
        section = section.partition("\n")[2].strip()
    section = re.sub(r"^(?:<p>|<div>|\s)+", "", section)
    found = _ITALICS.match(section)
    has_text = found is not None and bool(visible(found[2]).strip())
    return found is not None and has_text and has_word(re.sub(r"<[^<>]*>", "", section[found.end() :]))


_TEMPLATE = {
    "My Answer:": "[answer]",
    "My Conclusion:": "[conclusion]",
    "Future Outlook:": "[outlook]",
}
"""Each label, and the blank behind it that must be filled."""


@ifbench("format:output_template", needs="capital lower-case space")
def output_template(text: str) -> bool:
    """Use this exact template for your response: My Answer: [answer] My Conclusion: [conclusion] Future Outlook:
    [outlook]
    Differs: in this order, from the start, each with text of its own."""
    places = [text.find(label) for label in _TEMPLATE]
    if min(places) < 0 or places != sorted(places) or has_word(text[: places[0]]):
        return False
    ends = [*places[1:], len(text)]
    parts = [text[place + len(label) : end] for place, label, end in zip(places, _TEMPLATE, ends, strict=True)]
    return all(has_word(part) and part.strip() not in _TEMPLATE.values() for part in parts)


_BULLET = re.compile(r"[^\S\n]*[*+-][^\S\n]++(?![*+\-\s]+$)\S")  # `++`: giving back spaces only looks ahead again
_STAR_BULLET = re.compile(r"[^\S\n]*\*[^\S\n]++(?![*+\-\s]+$)\S")
_DASH_BULLET = re.compile(r"[^\S\n]*-[^\S\n]++(?![*+\-\s]+$)\S")
_ORDINARY_BULLET = re.compile(r"\s*(?:[*+\u2022-]|\d{1,3}[.)])\s+\S")


@ifeval("detectable_format:number_bullet_lists", bounds=lambda a: [exactly("bullet points", a.num_bullets)])
def number_bullet_lists(text: str, num_bullets: Whole) -> bool:
    """Your answer must contain exactly {num_bullets} bullet points. Use the markdown bullet points such as: * This is
    point 1.
    Differs: a bullet is *, - or + with a space and text behind it; upstream also counts *emphasis*, --- and -5."""
    return sum(_BULLET.match(line) is not None for line in text.split("\n")) == num_bullets


@ifbench("format:sub-bullets", bounds=[at_least("bullet points", 2)], needs="space", forbids="json")
def sub_bullets(text: str) -> bool:
    """Your response must include bullet points denoted by * and at least one sub-bullet point denoted by - for each
    bullet point.
    Differs: bullets are lines and there must be one, upstream passes text without any."""
    num_sub: list[int] = []
    for line in text.split("\n"):
        if _STAR_BULLET.match(line):
            num_sub.append(0)
        elif num_sub and _DASH_BULLET.match(line):
            num_sub[-1] += 1
    return bool(num_sub) and all(num_sub)


@ifbench(
    "format:no_bullets_bullets",
    bounds=[at_least("bullet points", 2), at_least("sentences", 2), at_least("words", 2)],
    needs="dot space",
    forbids="json",
)
def no_bullets_bullets(text: str) -> bool:
    """Your answer must contain at least two sentences ending in a period followed by at least two bullet points denoted
    by *.
    Differs: blank lines do not matter, and the sentences must end in a period."""
    lines = text.split("\n")
    bullets = [place for place, line in enumerate(lines) if _STAR_BULLET.match(line)]
    if len(bullets) < 2:
        return False
    before = sentences("\n".join(lines[: bullets[0]]))
    return sum(sentence.rstrip("\"'*_)\u201d").endswith(".") for sentence in before) >= 2


@ifbench("format:list", texts=lambda a: [(a.sep.strip(), 2)], may_go_on="start end")
def list_separator(text: str, sep: Text) -> bool:
    """Answer with a list of items, instead of bullet points use {sep}.
    Differs: items must hold text, and ordinary bullets fail."""
    parts = text.split(sep.strip())
    others = (line for line in text.split("\n") if not line.strip().startswith(sep.strip()))
    return len(parts) > 2 and not any(map(_ORDINARY_BULLET.match, others)) and all(map(has_word, parts[1:-1]))


@ifbench("format:line_indent", needs="space")
def line_indent(text: str) -> bool:
    """Create stairs by incrementally indenting each new line.
    Differs: tabs indent, all blank lines are skipped, and there must be two lines."""
    lines = [line.expandtabs(4).rstrip() for line in lines_of(text)]
    return len(lines) > 1 and increases([len(line) - len(line.lstrip()) for line in lines])


@ifbench("format:newline")
def newline(text: str) -> bool:
    """Write each word on a new line.
    Differs: every line must hold one word, upstream compares two totals."""
    lines = lines_of(text)
    return bool(lines) and all(len(line.split()) == 1 for line in lines)


@ifbench("format:no_whitespace", forbids="space", folds=True, is_short=True)
def no_whitespace(text: str) -> bool:
    """The output should not contain any whitespace."""
    return not any(character.isspace() for character in text)


_PLACEHOLDER = re.compile(r"\[([^\[\]\n]*)\]")
_LETTER = rf"[^\W{NO_SPACES}\uac00-\ud7a3]"
"""At which no emphasis begins or ends: of a script with spaces (2*3*4), but for Korean, where particles follow it."""
_EMPHASIS = re.compile(rf"(?<![*\\])(?<!{_LETTER})(\*{{1,3}})(?=[^\s*])([^*\n]+)(?<=[^\s*\\])\1(?!\*|{_LETTER})")
_TITLE = re.compile(r"<<([^<>\n]+)>>")
_BIGRAM = re.compile(r"<<\s*([^\s<>]+)\s+([^\s<>]+)\s*>>[.,!?;:]*\s*")
_SINGLE = re.compile(r"<<\s*[^\s<>]+\s*>>[.,!?;:]*\s*")
_BRACKETED = re.compile(r"\[[^\[\]\s]+\][.,!?;:]*")


@ifeval("detectable_content:number_placeholders")
def number_placeholders(text: str, num_placeholders: Whole) -> bool:
    """The response must contain at least {num_placeholders} placeholders represented by square brackets, such as
    [address].
    Differs: empty brackets are no placeholders."""
    return sum(bool(found.strip()) for found in _PLACEHOLDER.findall(text)) >= num_placeholders


@ifeval(
    "detectable_format:number_highlighted_sections",
    bounds=lambda a: [at_least("words", (a.num_highlights + 1) // 2)],
)
def number_highlighted_sections(text: str, num_highlights: Whole) -> bool:
    """Highlight at least {num_highlights} sections in your answer with markdown, i.e. *highlighted section*.
    Differs: asterisks must hug their text as in markdown, upstream also counts 2 * 3 * 4."""
    return sum(has_word(found[1]) for found in _EMPHASIS.findall(text)) >= num_highlights


@ifeval("detectable_format:title")
def title(text: str) -> bool:
    """Your answer must contain a title, wrapped in double angular brackets, such as <<poem of joy>>.
    Differs: the title must hold a word."""
    return any(map(has_word, _TITLE.findall(text)))


@training(
    "detectable_format:bigram_wrapping",
    needs="space",
    forbids="json",
    excludes={"startend:quotation": "quotation marks stand outside of a bracket"},
)
def bigram_wrapping(text: str) -> bool:
    """Wrap every word bigram in double angular brackets, such as <<I am>> <<at home>> <<with my>> <<cute dog>>.
    Differs: each bracket holds exactly two words, the last may hold one; upstream passes a single unwrapped word."""
    text = text.strip()
    place = num_pairs = 0
    while found := _BIGRAM.match(text, place):
        place, num_pairs = found.end(), num_pairs + 1
    return num_pairs > 0 and (place == len(text) or _SINGLE.fullmatch(text, place) is not None)


@training(
    "detectable_format:square_brackets",
    excludes={"startend:quotation": "a quotation mark stands outside of a bracket"},
    folds=True,
)
def square_brackets(text: str) -> bool:
    """Enclose every word in your response within square brackets.
    Differs: a punctuation mark may follow the bracket, and brackets may not be empty."""
    words = text.split()
    return bool(words) and all(map(_BRACKETED.fullmatch, words))
