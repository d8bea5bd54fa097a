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

import ast
from collections.abc import Callable, Iterator
from typing import Any

from gyms.constraints.constraint import whole_word
from gyms.constraints.ifbench_formats import SIMPLE_SENTENCE
from gyms.constraints.item import Instruction, Item
from gyms.constraints.text import plain_words, prepared, word_tokens
from gyms.constraints.text import stripped as bare

__all__ = ["EXCLUSIVE_PAIRS", "contradiction"]

MAX_FIXED_CHARS = 1_000_000
"""A fixed response longer than this is not written out."""

Bound = tuple[str, int, int | None]
"""(quantity, at least, at most); None: no upper bound."""

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
    for find in (_excluded, _unmet_bounds, _languages, _required_text, _fixed_words, _fixed_response):
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


def _relation(quantity: str, relation: str, number: int) -> Bound:
    return (quantity, number, None) if relation == "at least" else (quantity, 0, number - 1)


def _exactly(quantity: str, number: int) -> Bound:
    return (quantity, number, number)


_BOUNDS: dict[str, Callable[[Any], list[Bound]]] = {
    "keywords:frequency": lambda a: [_relation(f"the keyword {a.keyword.strip().lower()!r}", a.relation, a.frequency)],
    "keywords:word_count_different_numbers": lambda a: [
        _relation(f"the keyword {a.keyword.strip().lower()!r}", a.relation, a.frequency)
    ],
    "keywords:word_once": lambda a: [_exactly(f"the keyword {a.keyword.strip().lower()!r}", 1)],
    "keywords:existence": lambda a: [(f"the keyword {word.strip().lower()!r}", 1, None) for word in a.keywords],
    "count:count_increment_word": lambda a: _keyword_counts((a.keyword1, a.keyword2), (1, 2)),
    "count:keywords_multiple": lambda a: _keyword_counts(
        (a.keyword1, a.keyword2, a.keyword3, a.keyword4, a.keyword5), (1, 2, 3, 5, 7)
    ),
    "keywords:letter_frequency": lambda a: [
        _relation(f"the letter {a.letter.lower()!r}", a.let_relation, a.let_frequency)
    ],
    "letters:letter_counting2": lambda a: _BOUNDS["keywords:letter_frequency"](a),
    "letters:letter_counting": lambda a: [_relation("letters", a.relation, a.N)],
    "length_constraints:number_sentences": lambda a: [_relation("sentences", a.relation, a.num_sentences)],
    "length_constraints:number_words": lambda a: [_relation("words", a.relation, a.num_words)],
    "count:word_count_range": lambda a: [("words", a.min_words, a.max_words)],
    "count:unique_word_count": lambda a: [("words", max(a.N - 1, 0), None)],
    "count:pronouns": lambda a: [("words", a.N, None)],
    "count:conjunctions": lambda a: [("words", a.small_n, None)],
    "count:person_names": lambda a: [("words", a.N, None)],
    "count:numbers": lambda a: [("words", min(a.N, 1), None), _exactly("numbers", a.N)],
    "length_constraints:number_paragraphs": lambda a: [_exactly("paragraphs between ***", a.num_paragraphs)],
    "paragraphs:paragraphs": lambda a: [_exactly("paragraphs between ***", 2)],
    "length_constraints:nth_paragraph_first_word": lambda a: [
        _exactly("paragraphs between empty lines", a.num_paragraphs)
    ],
    "paragraphs:paragraphs2": lambda a: [_exactly("paragraphs between empty lines", 2)],
    "detectable_format:number_bullet_lists": lambda a: [_exactly("bullet points", a.num_bullets)],
    "format:no_bullets_bullets": lambda a: [("bullet points", 2, None), ("sentences", 2, None), ("words", 2, None)],
    "format:sub-bullets": lambda a: [("bullet points", 2, None), ("words", 2, None)],
    "detectable_format:number_placeholders": lambda a: [("words", 0, None)],
    "change_case:capital_word_frequency": lambda a: [
        _relation("words in capitals", a.capital_relation, a.capital_frequency),
        ("words", a.capital_frequency if a.capital_relation == "at least" else 0, None),
    ],
    "change_case:english_capital": lambda a: [("words in capitals", 1, None), ("lower-case words", 0, 0)],
    "change_case:english_lowercase": lambda a: [("words in capitals", 0, 0), ("lower-case words", 1, None)],
    "count:lowercase_counting": lambda a: [("lower-case words", 0, a.N)],
    "sentence:keyword": lambda a: [("sentences", a.N, None), ("words", a.N, None)],
    "words:keywords_specific_position": lambda a: [("sentences", a.n, None), ("words", a.n + a.m - 1, None)],
    "keywords:keyword_specific_position": lambda a: [("sentences", a.n, None), ("words", a.n + a.m - 1, None)],
    "ratio:sentence_words": lambda a: [_exactly("sentences", 3), ("words", 3, None)],
    "ratio:sentence_type": lambda a: [("sentences", 3, None)],
    "ratio:sentence_balance": lambda a: [("sentences", 3, None)],
    "custom:sentence_alphabet": lambda a: [_exactly("sentences", 26), ("words", 26, None)],
    "count:counting_composition": lambda a: [
        _exactly("paragraphs between three asterisks", 3),
        _exactly("sentences", 3 * a.n_sent),
        ("words", 3 * a.n_sent * a.n_words, None),
    ],
    "words:palindrome": lambda a: [("words", 10, None)],
    "words:words_position": lambda a: [("words", 3, None)],
    "keywords:start_end": lambda a: [("words", 2, None)],
    "detectable_format:sentence_hyphens": lambda a: [("sentences joined", 2, None)],
    "combination:two_responses": lambda a: [("words", 2, None)],
    "detectable_format:multiple_sections": lambda a: [("words", a.num_sections, None)],
    "detectable_format:number_highlighted_sections": lambda a: [("words", (a.num_highlights + 1) // 2, None)],
}


def _keyword_counts(keywords: tuple[str, ...], counts: tuple[int, ...]) -> list[Bound]:
    """How often each keyword must occur; one inside of another occurs with it."""
    words = [keyword.strip().lower() for keyword in keywords]
    bounds = [_exactly(f"the keyword {word!r}", count) for word, count in zip(words, counts, strict=True)]
    for longer, count in zip(words, counts, strict=True):
        bounds += [(f"the keyword {word!r}", count * longer.count(word), None) for word in words if word != longer]
    return bounds


def _unmet_bounds(instructions: tuple[Instruction, ...], compat: bool) -> str | None:
    lows: dict[str, tuple[int, str]] = {"words": (1, "any response"), "sentences": (1, "any response")}
    highs: dict[str, tuple[int, str]] = {}
    for name, (quantity, low, high) in _all_bounds(instructions, compat):
        if low > lows.get(quantity, (-1, ""))[0]:
            lows[quantity] = (low, name)
        if high is not None and high < highs.get(quantity, (high + 1, ""))[0]:
            highs[quantity] = (high, name)
    if lows["sentences"][0] > lows["words"][0]:
        lows["words"] = lows["sentences"]
    for quantity, (high, above) in highs.items():
        low, below = lows.get(quantity, (0, "any response"))
        if low > high:
            return f"{below} needs at least {low} of {quantity}, {above} allows at most {max(high, 0)}"
    return None


def _all_bounds(instructions: tuple[Instruction, ...], compat: bool) -> Iterator[tuple[str, Bound]]:
    """(id, bound) of every instruction; the flaws of published checkers outside of IFEval void their bounds."""
    bounds = [
        (instruction.id, bound)
        for instruction in instructions
        if instruction.id in _BOUNDS and (not compat or instruction.constraint.source == "IFEval")
        for bound in _BOUNDS[instruction.id](instruction.args)
    ]
    yield from bounds
    wanted = {quantity for _name, (quantity, _low, high) in bounds if high is not None}
    for instruction in instructions:
        for text, times in required_texts(instruction):
            low = text.lower()
            yield instruction.id, ("words", len(plain_words(text)), None)
            yield instruction.id, ("letters", sum(letter.isascii() and letter.isalpha() for letter in text), None)
            for quantity in wanted:
                if quantity.startswith(_QUOTED) and _is_certain(instruction, quantity):
                    yield instruction.id, (quantity, times * low.count(_named(quantity)), None)


_QUOTED = ("the keyword ", "the letter ")


def _named(quantity: str) -> str:
    """The keyword or letter of a quantity that names one."""
    return ast.literal_eval(quantity.removeprefix(_QUOTED[0]).removeprefix(_QUOTED[1]))


def _is_certain(instruction: Instruction, quantity: str) -> bool:
    """A postscript may be marked with fewer dots than its marker has."""
    return instruction.id != "detectable_content:postscript" or _named(quantity).isalnum()


def required_texts(instruction: Instruction) -> list[tuple[str, int]]:
    """(text, times): what must stand in a response for an instruction to hold."""
    args: Any = instruction.args
    match instruction.id:
        case "keywords:existence":
            return [(word.strip(), 1) for word in args.keywords]
        case "keywords:frequency" | "keywords:word_count_different_numbers":
            is_needed = args.relation == "at least" and args.frequency > 0
            return [(args.keyword.strip(), args.frequency)] if is_needed else []
        case (
            "keywords:word_once"
            | "words:keywords_specific_position"
            | "keywords:keyword_specific_position"
            | "words:words_position"
        ):
            return [(args.keyword.strip(), 1)]
        case "sentence:keyword":
            return [(args.word.strip(), 1)]
        case "startend:end_checker":
            return [(args.end_phrase.strip(), 1)]
        case "combination:repeat_prompt":
            return [(args.prompt_to_repeat.strip(), 1)]
        case (
            "first_word:first_word_sent"
            | "first_word:first_word_answer"
            | "length_constraints:nth_paragraph_first_word"
        ):
            return [(args.first_word.strip(), 1)]
        case "last_word:last_word_sent" | "last_word:last_word_answer":
            return [(args.last_word.strip(), 1)]
        case "count:count_increment_word":
            return [(args.keyword1.strip(), 1), (args.keyword2.strip(), 2)]
        case "count:keywords_multiple":
            words = (args.keyword1, args.keyword2, args.keyword3, args.keyword4, args.keyword5)
            return [(word.strip(), times) for word, times in zip(words, (1, 2, 3, 5, 7), strict=True)]
        case "detectable_content:postscript":
            return [(args.postscript_marker.strip(), 1)]
        case "detectable_format:multiple_sections":
            return [(args.section_spliter.strip(), args.num_sections)] if args.num_sections else []
        case "format:list":
            return [(args.sep.strip(), 2)]
    return []


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
