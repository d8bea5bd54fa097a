"""IFBench ids about layout (Pyatkin et al. 2025).

Each id is the function that checks its rule as it reads; `..._upstream` before it is what the published checker does.
"""

from __future__ import annotations

import re

from gyms.constraints import arguments as a
from gyms.constraints.constraint import Family, increases
from gyms.constraints.text import PUNCTUATION as ALL_PUNCTUATION
from gyms.constraints.text import is_emoji_char, lines_of, sentences, word_tokens
from gyms.constraints.upstream_text import PUNCTUATION, split_sentences, word_tokenize
from gyms.constraints.upstream_text import without_punctuation as without_ascii_punctuation
from gyms.constraints.wordlists import MINOR_TITLE_WORDS

__all__ = ["IFBENCH_FORMATS"]

IFBENCH_FORMATS = Family("IFBench")
_EDGE = PUNCTUATION + " "
_BRACKETS = {")": "(", "]": "[", "}": "{"}
_STRAIGHT_QUOTES = str.maketrans({"\u201c": '"', "\u201d": '"', "\u2018": "'", "\u2019": "'"})
_ORDINARY_BULLET = re.compile(r"\s*(?:[*+\u2022-]|\d{1,3}[.)])\s+\S")
_STAR_BULLET = re.compile(r"[^\S\n]*\*[^\S\n]+\S")
_DASH_BULLET = re.compile(r"[^\S\n]*-[^\S\n]+\S")
_ITALICS = re.compile(r"<(i|em)>([^<]*)</\1>", re.IGNORECASE)
_HEADING = re.compile(
    r"^[^\S\n]*(?:#{1,6}[^\S\n]|<h[1-6]\b|(?:section|part|chapter)[^\S\n]+\w+[.:]?[^\S\n]*$)", re.I | re.M
)
_TEMPLATE = ("My Answer:", "My Conclusion:", "Future Outlook:")


def nested_parentheses_upstream(text: str, _: a.NoArgs) -> bool:
    stack: list[str] = []
    deepest = 0
    for character in text:
        if character in "([{":
            stack.append(character)
            deepest = max(deepest, len(stack))
        elif character in _BRACKETS:
            if stack and stack[-1] == _BRACKETS[character]:
                stack.pop()
                if 5 <= deepest > len(stack):
                    return True
            else:
                stack, deepest = [], 0
    return False


@IFBENCH_FORMATS.id(
    "format:parentheses",
    "Nest parentheses (and [brackets {and braces}]) at least 5 levels deep.",
    published=nested_parentheses_upstream,
    differs="the nest must be closed, upstream is content with its innermost pair",
)
def nested_parentheses(text: str, _: a.NoArgs) -> bool:
    stack: list[str] = []
    deepest = 0
    for character in text:
        if character in "([{":
            stack.append(character)
            deepest = max(deepest, len(stack))
        elif character in _BRACKETS:
            if not stack or stack.pop() != _BRACKETS[character]:
                stack, deepest = [], 0
            elif not stack:
                if deepest >= 5:
                    return True
                deepest = 0
    return False


def nested_quotes_upstream(text: str, _: a.NoArgs) -> bool:
    stack: list[str] = []
    deepest = 0
    for character in text:
        if stack and stack[-1] == character:
            stack.pop()
            if deepest - len(stack) >= 3:
                return True
        elif character in "\"'":
            stack.append(character)
            deepest = max(deepest, len(stack))
    return False


@IFBENCH_FORMATS.id(
    "format:quotes",
    "Include quotes within quotes within quotes, at least 3 levels deep, alternating between double quotes and "
    "single quotes.",
    published=nested_quotes_upstream,
    differs="apostrophes are no quotes, typographic quotes are",
)
def nested_quotes(text: str, _: a.NoArgs) -> bool:
    text = f" {text.translate(_STRAIGHT_QUOTES)} "
    stack: list[str] = []
    deepest = 0
    for place in range(1, len(text) - 1):
        character = text[place]
        if character not in "\"'":
            continue
        before, after = text[place - 1], text[place + 1]
        if stack and stack[-1] == character and not before.isspace() and not after.isalnum():
            stack.pop()
            if deepest >= 3 and not stack:
                return True
            deepest = deepest if stack else 0
        elif not before.isalnum() and not after.isspace():
            stack.append(character)
            deepest = max(deepest, len(stack))
    return False


def options_upstream(text: str, args: a.Options) -> bool:
    separator = "/" if "/" in args.options else "or" if "or" in args.options else ","
    parts = [part.strip() for part in args.options.split(separator)]
    if re.match(r"\W*[aA]\W*[bB]\W*[cC]\W*", args.options):
        return text in parts
    return text.strip(_EDGE).lower() in {part.strip(_EDGE).lower() for part in parts}


@IFBENCH_FORMATS.id(
    "format:options",
    "Answer with one of the following options: {options}. Do not give any explanation.",
    a.Options,
    published=options_upstream,
    differs="'or' separates as a word only (not in 'orange'); a) may be given as 'a)' or 'a'",
)
def options(text: str, args: a.Options) -> bool:
    given = " ".join(text.split()).strip(ALL_PUNCTUATION + " ").lower()
    return bool(given) and given in {option.strip(ALL_PUNCTUATION + " ").lower() for option in options_of(args.options)}


def options_of(listed: str) -> list[str]:
    """The options of `yes/no/maybe`, `this or that`, `a), b), c)`."""
    parts = re.split(r"/" if "/" in listed else r",|\bor\b", listed)
    return [" ".join(part.split()) for part in parts if part.strip()]


def newline_upstream(text: str, _: a.NoArgs) -> bool:
    text = without_ascii_punctuation(text).strip()
    return sum(bool(line) for line in text.split("\n")) == len(text.split())


@IFBENCH_FORMATS.id(
    "format:newline",
    "Write each word on a new line.",
    published=newline_upstream,
    differs="every line must hold one word, upstream compares two totals",
)
def newline(text: str, _: a.NoArgs) -> bool:
    lines = lines_of(text)
    return bool(lines) and all(len(line.split()) == 1 for line in lines)


def emoji_sentences_upstream(text: str, _: a.NoArgs) -> bool:
    found = [without_ascii_punctuation(sentence).strip() for sentence in split_sentences(text)]
    for place, sentence in enumerate(found):
        if not sentence:
            return False
        if _is_emoji(sentence[-1]) or _is_emoji(sentence[-2:-1] or sentence[-1]):
            continue
        if place + 1 == len(found) or not found[place + 1] or not _is_emoji(found[place + 1][0]):
            return False
    return True


@IFBENCH_FORMATS.id(
    "format:emoji",
    "Please use an emoji at the end of every sentence.",
    published=emoji_sentences_upstream,
    differs="emoji of several characters are read whole, and each line ends a sentence",
)
def emoji_sentences(text: str, _: a.NoArgs) -> bool:
    found = [sentence for line in lines_of(text) for sentence in sentences(line)]
    ends = [sentence.rstrip(ALL_PUNCTUATION + " \t\u00a0")[-1:] for sentence in found]
    return bool(ends) and all(end and is_emoji_char(end) for end in ends)


def _is_emoji(character: str) -> bool:
    import emoji

    return emoji.is_emoji(character)


def line_indent_upstream(text: str, _: a.NoArgs) -> bool:
    kept: list[str] = []
    was_removed = False
    for line in text.split("\n"):
        # Upstream removes blank lines while it walks the list, and so steps over the line behind each removed one.
        was_removed = not was_removed and not line.strip()
        if not was_removed:
            kept.append(line)
    return increases([len(line) - len(line.lstrip(" ")) for line in kept])


@IFBENCH_FORMATS.id(
    "format:line_indent",
    "Create stairs by incrementally indenting each new line.",
    published=line_indent_upstream,
    differs="tabs indent, all blank lines are skipped, and there must be two lines",
)
def line_indent(text: str, _: a.NoArgs) -> bool:
    lines = [line.expandtabs(4).rstrip() for line in lines_of(text)]
    return len(lines) > 1 and increases([len(line) - len(line.lstrip()) for line in lines])


def quote_unquote_upstream(text: str, _: a.NoArgs) -> bool:
    text = text.replace("\u201c", '"').replace("\u201d", '"').replace("'\"'", "")
    text = "".join(text.split())
    rest = text.strip("0123456789" + PUNCTUATION.replace('"', ""))
    return '""' not in text and rest != "" and rest[-1] != '"'


@IFBENCH_FORMATS.id(
    "format:quote_unquote",
    "Every quoted phrase must be followed by an unquoted explanation.",
    published=quote_unquote_upstream,
    differs="there must be a quoted phrase, quotes must be paired, and words must follow each",
)
def quote_unquote(text: str, _: a.NoArgs) -> bool:
    parts = text.replace("\u201c", '"').replace("\u201d", '"').split('"')
    if len(parts) < 3 or len(parts) % 2 == 0:
        return False
    quoted, explained = parts[1::2], parts[2::2]
    return all(re.search(r"\w", part) for part in quoted) and all(re.search(r"\w", part) for part in explained)


def list_separator_upstream(text: str, args: a.Separator) -> bool:
    return text.count(args.sep) >= 2


@IFBENCH_FORMATS.id(
    "format:list",
    "Answer with a list of items, instead of bullet points use {sep}.",
    a.Separator,
    published=list_separator_upstream,
    differs="items must hold text, and ordinary bullets fail",
)
def list_separator(text: str, args: a.Separator) -> bool:
    separator = args.sep.strip()
    parts = text.split(separator)
    has_bullets = any(
        _ORDINARY_BULLET.match(line) for line in text.split("\n") if not line.strip().startswith(separator)
    )
    return len(parts) > 2 and not has_bullets and all(re.search(r"\w", part) for part in parts[1:-1])


def thesis_upstream(text: str, _: a.NoArgs) -> bool:
    start = text.find("<i>") if "<i>" in text else text.find("<em>")
    text = text[start:] if start >= 0 else ""
    end = text.find("</i>") if "</i>" in text else text.find("</em>")
    return end >= 0 and bool(text[3:end].strip()) and bool(text[end + 4 :].strip())


@IFBENCH_FORMATS.id(
    "format:thesis",
    "Each section must begin with a thesis statement in italics, use HTML to indicate the italics.",
    published=thesis_upstream,
    differs="each section under a heading is checked and must begin in italics, upstream looks for one pair of tags",
)
def thesis(text: str, _: a.NoArgs) -> bool:
    starts = [found.start() for found in _HEADING.finditer(text)]
    if not starts or text[: starts[0]].strip():
        starts = [0, *starts]
    ends = [*starts[1:], len(text)]
    return all(_starts_in_italics(text[start:end]) for start, end in zip(starts, ends, strict=True))


def _starts_in_italics(section: str) -> bool:
    section = section.strip()
    if _HEADING.match(section):
        section = section.partition("\n")[2].strip()
    found = _ITALICS.match(re.sub(r"^(?:<p>|<div>|\s)+", "", section))
    if found is None:
        return False
    rest = re.sub(r"<[^<>]*>", "", section[section.index(found.group()) + len(found.group()) :])
    return bool(found.group(2).strip()) and re.search(r"\w", rest) is not None


def sub_bullets_upstream(text: str, _: a.NoArgs) -> bool:
    return all("-" in bullet for bullet in text.split("*")[1:])


@IFBENCH_FORMATS.id(
    "format:sub-bullets",
    "Your response must include bullet points denoted by * and at least one sub-bullet point denoted by - for each "
    "bullet point.",
    published=sub_bullets_upstream,
    differs="bullets are lines and there must be one, upstream passes text without any",
)
def sub_bullets(text: str, _: a.NoArgs) -> bool:
    num_sub: list[int] = []
    for line in text.split("\n"):
        if _STAR_BULLET.match(line):
            num_sub.append(0)
        elif num_sub and _DASH_BULLET.match(line):
            num_sub[-1] += 1
    return bool(num_sub) and all(num_sub)


def no_bullets_bullets_upstream(text: str, _: a.NoArgs) -> bool:
    reads_sentences = True
    num_sentences = num_bullets = 0
    for line in text.split("\n"):
        if line.strip().startswith("*"):
            reads_sentences = False
            num_bullets += 1
            if num_sentences < 2:
                return False
        elif reads_sentences:
            found = split_sentences(line.strip())
            reads_sentences = bool(found)
            num_sentences += len(found)
        else:
            return False
    return num_bullets >= 2


@IFBENCH_FORMATS.id(
    "format:no_bullets_bullets",
    "Your answer must contain at least two sentences ending in a period followed by at least two bullet points "
    "denoted by *.",
    published=no_bullets_bullets_upstream,
    differs="blank lines do not matter, and the sentences must end in a period",
)
def no_bullets_bullets(text: str, _: a.NoArgs) -> bool:
    lines = text.split("\n")
    bullets = [place for place, line in enumerate(lines) if _STAR_BULLET.match(line)]
    if len(bullets) < 2:
        return False
    before = sentences("\n".join(lines[: bullets[0]]))
    return sum(sentence.rstrip("\"'*_)\u201d").endswith(".") for sentence in before) >= 2


def title_case_upstream(text: str, _: a.NoArgs) -> bool:
    for word in word_tokenize(text):
        is_mixed = word[1:].islower() or word[1:].isupper()
        if word[0].islower() and is_mixed:
            return False
    return True


@IFBENCH_FORMATS.id(
    "format:title_case",
    "Write the entire response in title case (capitalize the first letter of every major word).",
    published=title_case_upstream,
    differs="articles, conjunctions and short prepositions may stay lower-case, upstream fails them",
)
def title_case(text: str, _: a.NoArgs) -> bool:
    words = [word for word in word_tokens(text) if word[0].isalpha()]
    major = [word for place, word in enumerate(words) if place == 0 or word.lower() not in MINOR_TITLE_WORDS]
    return bool(words) and all(not word[0].islower() for word in major)


def output_template_upstream(text: str, _: a.NoArgs) -> bool:
    return all(label in text for label in _TEMPLATE)


@IFBENCH_FORMATS.id(
    "format:output_template",
    "Use this exact template for your response: My Answer: [answer] My Conclusion: [conclusion] Future Outlook: "
    "[outlook]",
    published=output_template_upstream,
    differs="in this order, from the start, each with text of its own",
)
def output_template(text: str, _: a.NoArgs) -> bool:
    places = [text.find(label) for label in _TEMPLATE]
    if min(places) < 0 or places != sorted(places) or re.search(r"\w", text[: places[0]]):
        return False
    ends = [*places[1:], len(text)]
    parts = [text[place + len(label) : end] for place, label, end in zip(places, _TEMPLATE, ends, strict=True)]
    return all(re.search(r"\w", part) and part.strip() not in _BLANKS for part in parts)


_BLANKS = ("[answer]", "[conclusion]", "[outlook]")


@IFBENCH_FORMATS.id(
    "format:no_whitespace",
    "The output should not contain any whitespace.",
)
def no_whitespace(text: str, _: a.NoArgs) -> bool:
    return not any(character.isspace() for character in text)
