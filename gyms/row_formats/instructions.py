"""Verifiable instructions as open-instruct publishes them: rows become `prompt`, `instruction_id_list`, `kwargs`.

Two forms. The later one names IFEval's ids in `ground_truth`, as text of a list with one object. The earlier one
(RLVR-IFeval) names a checking function there with all arguments that any function has; the functions are given as the
ids that ask the same. "Exactly n" becomes two instructions, at least n and less than n + 1. What no id asks ("around n
words", a choice between options of the prompt) is malformed rather than taken for something else.
"""

from __future__ import annotations

import ast
import json
from collections.abc import Callable, Mapping
from typing import Any

from gyms.row_formats.form import RowFormat, text_of

__all__ = ["INSTRUCTIONS"]

Row = Mapping[str, Any]
Instruction = tuple[str, dict[str, Any]]


def _plain(text: Any) -> Any:
    """A value that was written as JSON or as Python's literal; itself where it is no text."""
    if not isinstance(text, str):
        return text
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        pass
    try:
        return ast.literal_eval(text)
    except (ValueError, SyntaxError, RecursionError, MemoryError):
        raise ValueError(f"ground_truth is neither JSON nor a Python literal: {text[:60]!r}") from None


def _by_ids(row: Row) -> Row:
    found = _plain(row["ground_truth"])
    if isinstance(found, list) and len(found) == 1:
        found = _plain(found[0])
    ids, kwargs = found["instruction_id"], found["kwargs"]
    return {"prompt": text_of(row["messages"]), "instruction_id_list": ids, "kwargs": kwargs, "key": row.get("key", "")}


def _by_function(row: Row) -> Row:
    truth = _plain(row["ground_truth"])
    name = truth["func_name"]
    if name not in _FUNCTIONS:
        raise ValueError(f"no instruction of IFEval asks what {name} checks")
    found = _FUNCTIONS[name](truth)
    ids, kwargs = [i for i, _ in found], [args for _, args in found]
    return {"prompt": text_of(row["messages"]), "instruction_id_list": ids, "kwargs": kwargs}


def _one(name: str, **arguments: str) -> Callable[[Row], list[Instruction]]:
    """One instruction, its arguments by their names there and here."""
    return lambda truth: [(name, {ours: truth[theirs] for ours, theirs in arguments.items()})]


def _related(name: str, count: str, relation: str) -> Callable[[Row], list[Instruction]]:
    """A count with a quantifier: "at least n", or "at most n", which is less than n + 1."""

    def convert(truth: Row) -> list[Instruction]:
        number, quantifier = truth["N"], truth["quantifier"]
        if quantifier == "at least":
            return [(name, {count: number, relation: "at least"})]
        if quantifier == "at most":
            return [(name, {count: number + 1, relation: "less than"})]
        raise ValueError(f"no instruction of IFEval asks for {quantifier!r} {number}")

    return convert


def _exactly(name: str, what: str, theirs: str, count: str, relation: str) -> Callable[[Row], list[Instruction]]:
    def convert(truth: Row) -> list[Instruction]:
        thing, number = {what: truth[theirs]}, truth["N"]
        return [
            (name, {**thing, count: number, relation: "at least"}),
            (name, {**thing, count: number + 1, relation: "less than"}),
        ]

    return convert


_FUNCTIONS: Mapping[str, Callable[[Row], list[Instruction]]] = {
    "verify_keywords": _one("keywords:existence", keywords="keyword_list"),
    "verify_keyword_frequency": _exactly("keywords:frequency", "keyword", "word", "frequency", "relation"),
    "validate_forbidden_words": _one("keywords:forbidden_words", forbidden_words="forbidden_words"),
    "verify_letter_frequency": _exactly(
        "keywords:letter_frequency", "letter", "letter", "let_frequency", "let_relation"
    ),
    "validate_response_language": _one("language:response_language", language="language"),
    "verify_paragraph_count": _one("length_constraints:number_paragraphs", num_paragraphs="N"),
    "validate_word_constraint": _related("length_constraints:number_words", "num_words", "relation"),
    "verify_sentence_constraint": _related("length_constraints:number_sentences", "num_sentences", "relation"),
    "validate_paragraphs": _one(
        "length_constraints:nth_paragraph_first_word", num_paragraphs="N", nth_paragraph="i", first_word="first_word"
    ),
    "verify_postscript": _one("detectable_content:postscript", postscript_marker="postscript_marker"),
    "validate_placeholders": _one("detectable_content:number_placeholders", num_placeholders="N"),
    "verify_bullet_points": _one("detectable_format:number_bullet_lists", num_bullets="N"),
    "validate_title": _one("detectable_format:title"),
    "validate_highlighted_sections": _one("detectable_format:number_highlighted_sections", num_highlights="N"),
    "validate_sections": _one(
        "detectable_format:multiple_sections", section_spliter="section_splitter", num_sections="N"
    ),
    "validate_json_format": _one("detectable_format:json_format"),
    "validate_repeat_prompt": _one("combination:repeat_prompt", prompt_to_repeat="original_prompt"),
    "validate_two_responses": _one("combination:two_responses"),
    "validate_uppercase": _one("change_case:english_capital"),
    "validate_lowercase": _one("change_case:english_lowercase"),
    "validate_frequency_capital_words": _related(
        "change_case:capital_word_frequency", "capital_frequency", "capital_relation"
    ),
    "validate_end": _one("startend:end_checker", end_phrase="end_phrase"),
    "validate_quotation": _one("startend:quotation"),
    "validate_no_commas": _one("punctuation:no_comma"),
}
"""Function of open-instruct's if_functions.py -> the instructions that ask the same."""


def _ground_truth(row: Row) -> Row:
    """Which of the two forms it is, row by row: mixtures hold both."""
    truth = _plain(row["ground_truth"])
    return _by_function(row) if isinstance(truth, Mapping) and "func_name" in truth else _by_ids(row)


INSTRUCTIONS: tuple[RowFormat, ...] = (
    RowFormat(
        name="open-instruct-if",
        kind="instructions",
        published="open-instruct: IF_multi_constraints_upto5 (ids), RLVR-IFeval (functions of if_functions.py)",
        needs=("messages", "ground_truth"),
        lacks=("instruction_id_list",),
        convert=_ground_truth,
    ),
)
