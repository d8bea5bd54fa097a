"""Signs, letters and language: punctuation, quotes, brackets, emoji, case, JSON, and what stands at the very end."""

from __future__ import annotations

import json
import re
from typing import Any

from gyms.constraints import marks
from gyms.constraints.arguments import Language, Text
from gyms.constraints.language import is_english, is_language
from gyms.constraints.rule import Rules, at_least, once
from gyms.constraints.text import has_word, is_emoji_char, lines_of, sentences, word_tokens
from gyms.constraints.wordlists import MINOR_TITLE_WORDS

RULES = Rules()
ifeval, ifbench, training = (RULES.of(source) for source in ("IFEval", "IFBench", "open-instruct"))
_COMMA = re.compile(rf"[{marks.COMMAS}]|(?<=\w){marks.LOW_QUOTE}")


@ifeval("punctuation:no_comma", forbids="comma", folds=True)
def no_comma(text: str) -> bool:
    """In your entire response, refrain from the use of any commas.
    Differs: commas of other scripts count."""
    return _COMMA.search(text) is None


@training("punctuation:punctuation_dot", forbids="dot", folds=True)
def no_dot(text: str) -> bool:
    """In your entire response, refrain from the use of . (i.e. dots) as punctuation and in general.
    Differs: the ellipsis and the full stops of other scripts are dots."""
    return not any(mark in text for mark in marks.DOTS)


@training("punctuation:punctuation_exclamation", forbids="exclamation", folds=True)
def no_exclamation(text: str) -> bool:
    """In your entire response, refrain from the use of ! (i.e. exclamation marks) as punctuation and in general.
    Differs: exclamation marks of other scripts count."""
    return not any(mark in text for mark in marks.EXCLAMATIONS)


@ifeval("language:response_language", language=lambda a: a.language)
def response_language(text: str, language: Language) -> bool:
    """Your ENTIRE response should be in {language} language, no other language is allowed.
    Differs: undecidable text fails, the script must fit and no long passage may be foreign; upstream passes what it
    cannot detect, looks at the start only, and is unseeded."""
    return is_language(text, language)


@ifeval(
    "change_case:english_capital",
    bounds=[at_least("words in capitals", 1), ("lower-case words", 0, 0), ("lower-case letters", 0, 0)],
    language="en",
    forbids="lower-case",
    excludes={"change_case:english_lowercase": "all capitals and no capitals"},
)
def english_capital(text: str) -> bool:
    """Your entire response should be in English, and in all capital letters.
    Differs: the language of the lower-cased text is detected, and undecidable text fails."""
    return text.isupper() and is_english(text)


@ifeval(
    "change_case:english_lowercase",
    bounds=[("words in capitals", 0, 0), at_least("lower-case words", 1), ("capital letters", 0, 0)],
    language="en",
    forbids="capital",
)
def english_lowercase(text: str) -> bool:
    """Your entire response should be in English, and in all lowercase letters. No capital letters are allowed.
    Differs: undecidable text fails."""
    return text.islower() and is_english(text)


@ifbench("format:title_case", needs="capital")
def title_case(text: str) -> bool:
    """Write the entire response in title case (capitalize the first letter of every major word).
    Differs: articles, conjunctions and short prepositions may stay lower-case, upstream fails them."""
    words = [word for word in word_tokens(text) if word[0].isalpha()]
    major = [word for place, word in enumerate(words) if place == 0 or word.lower() not in MINOR_TITLE_WORDS]
    return bool(words) and not any(word[0].islower() for word in major)


@ifbench("format:emoji")
def emoji_sentences(text: str) -> bool:
    """Please use an emoji at the end of every sentence.
    Differs: emoji of several characters are read whole, and each line ends a sentence."""
    found = [sentence for line in lines_of(text) for sentence in sentences(line)]
    ends = [sentence.rstrip(marks.PUNCTUATION + " \t\u00a0")[-1:] for sentence in found]
    return bool(ends) and all(end and is_emoji_char(end) for end in ends)


_STRAIGHT_QUOTES = dict.fromkeys(map(ord, marks.DOUBLE_QUOTES), '"') | dict.fromkeys(map(ord, marks.SINGLE_QUOTES), "'")


@ifeval("startend:quotation", forbids="json", folds=True)
def quotation(text: str) -> bool:
    """Wrap your entire response with double quotation marks.
    Differs: typographic double quotes count, and there must be text inside."""
    text = text.strip()
    return len(text) > 2 and (text[0] + text[-1]) in marks.DOUBLE_QUOTE_PAIRS and has_word(text)


@ifbench("format:quote_unquote", folds=True)
def quote_unquote(text: str) -> bool:
    """Every quoted phrase must be followed by an unquoted explanation.
    Differs: there must be a quoted phrase, quotes must be paired, and words must follow each."""
    parts = text.translate(_STRAIGHT_QUOTES).split('"')
    return len(parts) > 2 and len(parts) % 2 == 1 and all(map(has_word, parts[1:]))


@ifbench("format:quotes", folds=True)
def nested_quotes(text: str) -> bool:
    """Include quotes within quotes within quotes, at least 3 levels deep, alternating between double quotes and single
    quotes.
    Differs: apostrophes are no quotes, typographic quotes are."""
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


_BRACKETS = {")": "(", "]": "[", "}": "{"}


@ifbench("format:parentheses", folds=True)
def nested_parentheses(text: str) -> bool:
    """Nest parentheses (and [brackets {and braces}]) at least 5 levels deep.
    Differs: the nest must be closed, upstream is content with its innermost pair."""
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


_ENDS, _QUOTES = "".join(marks.END_MARKS), marks.DOUBLE_QUOTES + marks.SINGLE_QUOTES
_GLUE = re.compile(rf"(?<=[{_ENDS}{_QUOTES}])[{re.escape(marks.HYPHENS)}](?=\S)")
_ENDED = re.compile(rf"[{_ENDS}][{_QUOTES}]?$")


@training("detectable_format:sentence_hyphens")
def sentence_hyphens(text: str) -> bool:
    """All sentences must be connected using hyphens, with no spaces between them.
    Differs: there must be two sentences, and words may hold hyphens; upstream compares the first parts only."""
    parts = _GLUE.split(text.strip())
    are_glued = all(part == part.strip() and len(sentences(part)) == 1 for part in parts)
    return len(parts) > 1 and are_glued and all(map(_ENDED.search, parts[:-1]))


@ifeval("detectable_format:json_format", needs="json", is_parsed=True)
def json_format(text: str) -> bool:
    """Entire output should be wrapped in JSON format. You can use markdown ticks such as ```.
    Differs: an object or a list; a bare number or string, NaN and a key given twice fail."""
    text = text.strip()
    if text.startswith("```") and text.endswith("```") and len(text) > 6:
        text = re.sub(r"\A(?:json|Json|JSON)(?=\s)", "", text[3:-3])
    try:
        value = json.loads(
            text.strip(), object_pairs_hook=_distinct, parse_constant=_refused, parse_int=str, parse_float=str
        )
    except (ValueError, RecursionError):
        return False
    return isinstance(value, dict | list)


def _distinct(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    keys = dict(pairs)
    if len(keys) != len(pairs):
        raise ValueError("a key stands twice in one object")
    return keys


def _refused(name: str) -> Any:
    raise ValueError(f"{name} is not JSON")


_POSTSCRIPTS = {"P.S.": r"p\.\s?s\b\.?", "P.P.S": r"p\.\s?p\.\s?s\b\.?"}
_POSTSCRIPTS |= {"P.S": _POSTSCRIPTS["P.S."], "P.P.S.": _POSTSCRIPTS["P.P.S"]}


def _marked(args: Any) -> list[tuple[str, int]]:
    """What certainly stands there: the last dot of P.S. may be left out."""
    marker = args.postscript_marker.strip()
    return once(marker.rstrip(".") if marker in _POSTSCRIPTS else marker)


@ifeval("detectable_content:postscript", texts=_marked, may_go_on="start end")
def postscript(text: str, postscript_marker: Text) -> bool:
    """At the end of your response, please explicitly add a postscript starting with {postscript_marker}
    Differs: it must start a word, hold text and stand at the end (second half or last paragraph)."""
    marker = _POSTSCRIPTS.get(postscript_marker) or re.escape(postscript_marker.strip())
    text = text.strip()
    end = len(text)
    while end and not text[end - 1].isalnum():
        end -= 1
    found = re.finditer(rf"(?:(?<=\s)|(?<=[*_>#(\"\u201c])|^)(?i:{marker})", text)
    starts = [mark.start() for mark in found if mark.end() < end]
    return bool(starts) and (starts[-1] >= len(text) / 2 or "\n\n" not in text[starts[-1] :])


def _last_word(args: Any) -> str | None:
    """The last word of the phrase where there is one before it: the first may be joined to more ("out" in "x-out")."""
    return next(iter(word_tokens(" ".join(args.end_phrase.split()[1:]))[::-1]), None)


@ifeval(
    "startend:end_checker",
    last=_last_word,
    texts=lambda a: once(a.end_phrase),
    may_go_on="start",
    folds=True,
)
def end_checker(text: str, end_phrase: Text) -> bool:
    """Finish your response with this exact phrase {end_phrase}. No other words should follow this phrase.
    Differs: closing quotes and asterisks may follow, and the phrase may not be the tail of a longer word."""
    wanted = " ".join(end_phrase.split()).lower()
    tail = " ".join(text[-4 * len(end_phrase) - 1000 :].split()).lower()
    for ending in (tail, tail.rstrip('"\u201d'), tail.rstrip('*_"\u201d ')):
        start = len(ending) - len(wanted)
        if ending.endswith(wanted) and not (start > 0 and wanted[0].isalnum() and ending[start - 1].isalnum()):
            return True
    return False
