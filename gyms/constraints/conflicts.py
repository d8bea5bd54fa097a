"""Instructions that no response can satisfy together: found when an item is read, before a policy is blamed for it.

Four kinds of proof, each a table or a small function:

- *quantities*: every instruction bounds some of words, sentences, letters, bullets, ... from below or above; a lower
  bound above an upper one is a contradiction;
- *required text*: keywords, end phrases and the like against characters and words that are forbidden;
- *pairs* of ids that exclude each other whatever their arguments;
- *fixed responses*: where one instruction leaves a single possible response (copy this, repeat that), all others are
  checked on that response.

Only true contradictions are refused: what is merely hard, or pointless, stays.
"""

from __future__ import annotations

from typing import Any

from gyms.constraints.bounds import required_texts, unmet_bounds
from gyms.constraints.constraint import whole_word
from gyms.constraints.ifbench_sentences import SIMPLE_SENTENCE
from gyms.constraints.instruction import Instruction, Item
from gyms.constraints.text import prepared, word_tokens
from gyms.constraints.text import stripped as bare

__all__ = ["EXCLUSIVE_PAIRS", "contradiction"]

MAX_FIXED_CHARS = 1_000_000
"""A fixed response longer than this is not written out."""


_NEEDS_COMMA = frozenset(
    (
        "count:punctuation",
        "custom:csv_city",
        "custom:csv_special_character",
        "custom:european_capitals_sort",
    )
)
_NEEDS_DOT = frozenset(
    (
        "count:punctuation",
        "ratio:sentence_type",
        "ratio:sentence_balance",
        "format:no_bullets_bullets",
        "detectable_format:constrained_response",
    )
)
_NEEDS_EXCLAMATION = frozenset(("count:punctuation", "ratio:sentence_balance"))
_NEEDS_CAPITAL = frozenset(
    (
        "detectable_format:constrained_response",
        "format:title_case",
        "format:output_template",
        "custom:csv_city",
        "custom:csv_special_character",
        "custom:csv_quotes",
        "count:person_names",
    )
)
_NEEDS_LOWERCASE = frozenset(
    (
        "detectable_format:constrained_response",
        "format:output_template",
        "custom:csv_city",
        "custom:csv_quotes",
        "custom:csv_special_character",
        "count:person_names",
    )
)
_NEEDS_SPACE = frozenset(
    (
        "detectable_format:constrained_response",
        "format:output_template",
        "paragraphs:paragraphs2",
        "format:line_indent",
        "format:no_bullets_bullets",
        "format:sub-bullets",
        "custom:mcq_count_length",
        "custom:reverse_newline",
        "custom:word_reverse",
        "custom:character_reverse",
        "custom:csv_city",
        "custom:csv_special_character",
        "custom:csv_quotes",
        "detectable_format:bigram_wrapping",
        "repeat:repeat_simple",
        "ratio:sentence_words",
        "sentence:increment",
        "words:last_first",
        "custom:sentence_alphabet",
        "words:words_position",
    )
)
_NOT_JSON = frozenset(
    (
        "startend:quotation",
        "combination:two_responses",
        "detectable_format:bigram_wrapping",
        "format:options",
        "detectable_format:square_brackets",
        "keywords:start_end",
        "custom:mcq_count_length",
        "custom:multiples",
        "custom:european_capitals_sort",
        "custom:csv_city",
        "custom:csv_quotes",
        "custom:csv_special_character",
        "custom:date_format_list",
        "custom:reverse_newline",
        "format:thesis",
        "format:output_template",
        "format:sub-bullets",
        "format:no_bullets_bullets",
    )
)


def _pairs(one: str, others: frozenset[str], why: str) -> dict[frozenset[str], str]:
    return {frozenset((one, other)): why for other in others}


EXCLUSIVE_PAIRS: dict[frozenset[str], str] = {
    frozenset(("change_case:english_capital", "change_case:english_lowercase")): "all capitals and no capitals",
    **_pairs("punctuation:no_comma", _NEEDS_COMMA, "it needs a comma"),
    **_pairs("punctuation:punctuation_dot", _NEEDS_DOT, "it needs a dot"),
    **_pairs("punctuation:punctuation_exclamation", _NEEDS_EXCLAMATION, "it needs an exclamation mark"),
    **_pairs("change_case:english_lowercase", _NEEDS_CAPITAL, "it needs capital letters"),
    **_pairs("change_case:english_capital", _NEEDS_LOWERCASE, "it needs lower-case letters"),
    **_pairs("format:no_whitespace", _NEEDS_SPACE, "it needs white space"),
    **_pairs("detectable_format:json_format", _NOT_JSON, "it cannot be one JSON value"),
    frozenset(("keywords:start_end", "startend:quotation")): "a quotation mark may not follow the last word",
    frozenset(("keywords:start_end", "count:count_unique")): "the word at both ends is repeated",
    frozenset(
        ("startend:quotation", "detectable_format:square_brackets")
    ): "a quotation mark stands outside of a bracket",
    frozenset(
        ("startend:quotation", "detectable_format:bigram_wrapping")
    ): "quotation marks stand outside of a bracket",
    frozenset(("count:count_unique", "words:paragraph_last_first")): "the word at both ends is repeated",
    frozenset(("count:count_unique", "words:last_first")): "the word between sentences is repeated",
    frozenset(("words:no_consecutive", "sentence:alliteration_increment")): "neighbours must and must not alliterate",
    frozenset(("words:no_consecutive", "words:last_first")): "the same word stands twice in a row",
    frozenset(("count:words_japanese", "change_case:english_capital")): "all English and partly Japanese",
    frozenset(("count:words_japanese", "change_case:english_lowercase")): "all English and partly Japanese",
    frozenset(("format:newline", "detectable_format:bigram_wrapping")): "two words and one word a line",
}
"""Ids that exclude each other whatever their arguments, and why."""


def contradiction(item: Item) -> str | None:
    """Why no response can satisfy all instructions of an item, in one line; None where nothing is proved.

    In compat mode the flaws of the published checkers are allowed for, where they make a contradiction satisfiable.
    """
    for find in (_excluded, unmet_bounds, _languages, _required_text, _fixed_words, _fixed_response):
        found = find(item.instructions, item.compat)
        if found:
            return found
    return None


def _excluded(instructions: tuple[Instruction, ...], compat: bool) -> str | None:
    ids = [instruction.id for instruction in instructions]
    if compat:  # the published JSON check takes a quoted string
        ids = [name for name in ids if name != "detectable_format:json_format"]
    for place, one in enumerate(ids):
        for other in ids[place + 1 :]:
            why = EXCLUSIVE_PAIRS.get(frozenset((one, other)))
            if why:
                return f"{one} and {other} ({why})"
    return None


def _languages(instructions: tuple[Instruction, ...], compat: bool) -> str | None:
    wanted: dict[str, str] = {}
    for instruction in instructions:
        if instruction.id in ("change_case:english_capital", "change_case:english_lowercase"):
            wanted["en"] = instruction.id
        elif instruction.id == "language:response_language":
            language = instruction.args.language.lower()  # type: ignore[attr-defined]
            wanted["zh" if language.startswith("zh") else language] = instruction.id
    if len(wanted) > 1:
        return "the entire response should be in " + " and in ".join(f"{one} ({name})" for one, name in wanted.items())
    return None


_FORBIDDEN_SIGNS = {
    "punctuation:no_comma": ",",
    "punctuation:punctuation_dot": ".",
    "punctuation:punctuation_exclamation": "!",
    "format:no_whitespace": " ",
}


def _required_text(instructions: tuple[Instruction, ...], compat: bool) -> str | None:
    needed = [(one, text) for one in instructions for text, _times in required_texts(one)]
    ids = {instruction.id for instruction in instructions}
    for instruction in instructions:
        sign = _FORBIDDEN_SIGNS.get(instruction.id)
        for other, text in needed:
            if sign and sign in " ".join(text.split()):
                return f"{other.id} needs {text!r:.80}, {instruction.id} forbids {sign!r}"
            for word in _forbidden_words(instruction):
                if whole_word(word).search(text):
                    return f"{other.id} needs {text!r:.80}, {instruction.id} forbids {word!r}"
    for other, text in needed:
        found = _misplaced(other, text, ids, compat)
        if found:
            return found
    return None


def _forbidden_words(instruction: Instruction) -> list[str]:
    args: Any = instruction.args
    if instruction.id == "keywords:forbidden_words":
        return list(args.forbidden_words)
    return [args.keyword] if instruction.id == "keywords:exclude_word_harder" else []


def _misplaced(instruction: Instruction, text: str, ids: set[str], compat: bool) -> str | None:
    """Required text that cannot stand where or as it must."""
    if instruction.id == "detectable_format:multiple_sections":
        for name, cased in (
            ("change_case:english_lowercase", text.lower()),
            ("change_case:english_capital", text.upper()),
        ):
            if name in ids and cased != text:
                return f"the section mark {text!r} of {instruction.id} is against {name}"
    if instruction.id == "combination:repeat_prompt":
        if "startend:quotation" in ids and text[0] not in '"\u201c':
            return "startend:quotation needs a quotation mark where combination:repeat_prompt needs the request"
        if "detectable_format:json_format" in ids and text[0] not in '{[`"':
            return "detectable_format:json_format cannot start with the request that is to be repeated"
    is_json = "detectable_format:json_format" in ids and not compat
    if is_json and instruction.id == "startend:end_checker" and text[-1] not in "}]`":
        return f"detectable_format:json_format cannot end in {text!r:.80}"
    return None


def _fixed_words(instructions: tuple[Instruction, ...], compat: bool) -> str | None:
    firsts: dict[str, str] = {}
    lasts: dict[str, str] = {}
    for instruction in instructions:
        args: Any = instruction.args
        match instruction.id:
            case "first_word:first_word_answer" | "first_word:first_word_sent":
                firsts[bare(args.first_word).lower()] = instruction.id
            case "length_constraints:nth_paragraph_first_word" if args.nth_paragraph == 1:
                firsts[bare(args.first_word).lower()] = instruction.id
            case "combination:repeat_prompt":
                firsts.update({word.lower(): instruction.id for word in word_tokens(args.prompt_to_repeat)[:1]})
            case "last_word:last_word_answer" | "last_word:last_word_sent":
                lasts[bare(args.last_word).lower()] = instruction.id
            case "startend:end_checker":
                lasts.update({word.lower(): instruction.id for word in word_tokens(args.end_phrase)[-1:]})
    for what, found in (("first", firsts), ("last", lasts)):
        if len(found) > 1:
            return f"the {what} word must be " + " and ".join(f"{word!r} ({name})" for word, name in found.items())
    is_same = any(instruction.id == "keywords:start_end" for instruction in instructions)
    if is_same and firsts and lasts and set(firsts) != set(lasts):
        return f"keywords:start_end wants one word at both ends, which must be {[*firsts, *lasts]}"
    return None


def _fixed_response(instructions: tuple[Instruction, ...], compat: bool) -> str | None:
    for instruction in instructions:
        responses = _only_responses(instruction, compat)
        others = [other for other in instructions if other is not instruction]
        failing = None
        for response in responses:
            text = response if compat else prepared(response)
            failing = next((other.id for other in others if not other.holds(text, compat=compat)), None)
            if failing is None:
                break
        if failing:
            return f"{instruction.id} leaves one response, and {failing} fails on it"
    return None


def _only_responses(instruction: Instruction, compat: bool) -> list[str]:
    """All responses but for spaces that an instruction allows; empty where it leaves a choice."""
    args: Any = instruction.args
    match instruction.id:
        case "copy:copy" | "copy:copying_simple":
            texts = [args.prompt_to_repeat]
        case "copy:copying_multiple" if args.N * len(args.prompt_to_repeat) <= MAX_FIXED_CHARS:
            texts = [mark.join([args.prompt_to_repeat.strip()] * args.N) for mark in ("******", "\n******\n")]
        case "repeat:repeat_simple":
            texts = [SIMPLE_SENTENCE]
        case "new:copy_span_idx":
            texts = [args.prompt_to_repeat[args.n_start : args.n_end + (not compat)]]
        case "repeat:repeat_span" if not compat:
            texts = [args.prompt_to_repeat[args.n_start : args.n_end + 1]]
        case _:
            return []
    return [cased.strip() for text in texts for cased in (text, text.lower(), text.upper())]
