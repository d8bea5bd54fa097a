"""What instructions demand in numbers, and in words that must stand in a response.

Every instruction bounds some quantities (words, sentences, bullets, a letter, a keyword) from below or above, and may
need certain text, which has words and letters of its own. Where a lower bound lies above an upper one, no response can
satisfy both.
"""

from __future__ import annotations

import ast
from collections.abc import Callable, Iterator
from typing import Any

from gyms.constraints.constraint import times
from gyms.constraints.instruction import Instruction
from gyms.constraints.text import plain_words

__all__ = ["required_texts", "unmet_bounds"]

Bound = tuple[str, int, int | None]
"""(quantity, at least, at most); None: no upper bound."""


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
    "count:count_increment_word": lambda a: _keyword_counts(a.counts),
    "count:keywords_multiple": lambda a: _keyword_counts(a.counts),
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


def _keyword_counts(counts: list[tuple[str, int]]) -> list[Bound]:
    """How often each keyword must occur; one that is a word of another occurs with it."""
    counts = [(word.lower(), count) for word, count in counts]
    bounds = [_exactly(f"the keyword {word!r}", count) for word, count in counts]
    for longer, count in counts:
        bounds += [(f"the keyword {word!r}", count * times(longer, word), None) for word, _ in counts if word != longer]
    return bounds


def unmet_bounds(instructions: tuple[Instruction, ...], compat: bool) -> str | None:
    """The first quantity whose lower bound lies above its upper one, in one line; None where all can be met."""
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
        for text, count in required_texts(instruction):
            low = text.lower()
            yield instruction.id, ("words", len(plain_words(text)), None)
            yield instruction.id, ("letters", sum(letter.isascii() and letter.isalpha() for letter in text), None)
            for quantity in wanted:
                if quantity.startswith(_QUOTED) and _is_certain(instruction, quantity, compat):
                    is_word = quantity.startswith(_KEYWORD) and not compat
                    number = times(text, _named(quantity)) if is_word else low.count(_named(quantity))
                    yield instruction.id, (quantity, count * number, None)


_KEYWORD, _LETTER = _QUOTED = ("the keyword ", "the letter ")
_MAY_GO_ON = frozenset(("detectable_format:multiple_sections", "format:list"))
"""Ids whose required text may be part of a longer word."""


def _named(quantity: str) -> str:
    """The keyword or letter of a quantity that names one."""
    return ast.literal_eval(quantity.removeprefix(_KEYWORD).removeprefix(_LETTER))


def _is_certain(instruction: Instruction, quantity: str, compat: bool) -> bool:
    """Whether what stands in the required text also counts: a postscript may be marked with fewer dots than its marker
    has, and a keyword that is a whole word may not be one in the response."""
    if quantity.startswith(_KEYWORD) and not compat and instruction.id in _MAY_GO_ON:
        return False
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
        case "count:count_increment_word" | "count:keywords_multiple":
            return args.counts
        case "detectable_content:postscript":
            return [(args.postscript_marker.strip(), 1)]
        case "detectable_format:multiple_sections":
            return [(args.section_spliter.strip(), args.num_sections)] if args.num_sections else []
        case "format:list":
            return [(args.sep.strip(), 2)]
    return []
