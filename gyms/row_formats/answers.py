"""Questions with answers, as published: rows become `question`, `answer` and, where there is one, `solution`.

Nothing else is handed on: a column `type` that holds "Algebra" is no answer type.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any

from gyms.row_formats.form import RowFormat, at, text_of

__all__ = ["ANSWERS"]

Row = Mapping[str, Any]


def one_answer(value: Any) -> Any:
    """The answer behind what data sets wrap it in: a list of one, or JSON text of such a list.

    A JSON object is none: that is how mixtures hold tests of programs, and instructions.
    """
    if isinstance(value, str) and value.lstrip().startswith(('["', '{"')):
        try:
            value = json.loads(value)
        except (ValueError, RecursionError):
            return value
    if isinstance(value, Mapping):
        raise ValueError(f"the reference answer is an object with {sorted(map(str, value))[:5]}, expected an answer")
    if isinstance(value, list):
        if len(value) != 1:
            raise ValueError(f"{len(value)} reference answers; one is wanted: {value!r:.80}")
        return value[0]
    return value


def _from(question: str, answer: str, solution: str = "") -> Callable[[Row], Row]:
    """A conversion by paths; without `answer` it is to be read from the solution."""

    def convert(row: Row) -> Row:
        found: dict[str, Any] = {"question": text_of(at(row, question))}
        if answer:
            found["answer"] = one_answer(at(row, answer))
        if solution and isinstance(row.get(solution), str):
            found["solution"] = row[solution]
        return found

    return convert


def _trl(row: Row) -> Row:
    """TRL leaves the name of the answer to the reward function: `solution` in its own examples, else `answer`."""
    answer = row["answer"] if row.get("answer") is not None else row["solution"]
    found = {"question": text_of(row["prompt"])}
    is_worked = isinstance(answer, str) and "boxed" in answer and "answer" not in row
    return {**found, "solution": answer} if is_worked else {**found, "answer": one_answer(answer)}


def _openrlhf(row: Row) -> Row:
    answer = row["label"] if row.get("label") is not None else row["answer"]
    return {"question": text_of(row["input"]), "answer": one_answer(answer)}


def _alpaca(row: Row) -> Row:
    extra = row.get("input")
    question = f"{row['instruction']}\n\n{extra}" if isinstance(extra, str) and extra.strip() else row["instruction"]
    return {"question": text_of(question), "answer": row["output"]}


def _olympiad(row: Row) -> Row:
    """Several final answers stand in one text, or in several, which then belong together."""
    answers, solutions = row["final_answer"], row.get("solution")
    found = {"question": text_of(row["question"]), "answer": ", ".join(map(str, answers))}
    return {**found, "solution": solutions[0]} if isinstance(solutions, list) and solutions else found


def _math(row: Row) -> Row:
    """Some editions have taken the answer out of the solution."""
    return _from("problem", "answer" if row.get("answer") is not None else "", "solution")(row)


def _final_answer(row: Row) -> Row:
    return _olympiad(row) if isinstance(row["final_answer"], list) else _from("question", "final_answer")(row)


ANSWERS: tuple[RowFormat, ...] = (
    RowFormat(
        name="verl",
        kind="answer",
        published="verl's preprocessed data; DAPO-Math-17k, Skywork-OR1-RL-Data (a JSON list of one), Eurus-2-RL-Data",
        needs=("prompt", "reward_model.ground_truth"),
        convert=_from("prompt", "reward_model.ground_truth"),
    ),
    RowFormat(
        name="open-instruct",
        kind="answer",
        published="open-instruct's RLVR mixtures: RLVR-GSM-MATH-IF-Mixed-Constraints and others of allenai",
        needs=("messages", "ground_truth"),
        convert=_from("messages", "ground_truth"),
    ),
    RowFormat(
        name="math",
        kind="answer",
        published="MATH of Hendrycks et al.: problem, level, type (a subject), solution with the boxed answer",
        needs=("problem", "solution", "level", "type"),
        convert=_math,
    ),
    RowFormat(
        name="final-answer",
        kind="answer",
        published="DeepMath-103K (text), OlympiadBench (a list; answer_type and unit are not used)",
        needs=("question", "final_answer"),
        lacks=("answer",),
        convert=_final_answer,
    ),
    RowFormat(
        name="nemo",
        kind="answer",
        published="OpenMathReasoning and OpenMathInstruct-2 of NVIDIA, NeMo-Skills",
        needs=("problem", "expected_answer"),
        lacks=("answer",),
        convert=_from("problem", "expected_answer", "generated_solution"),
    ),
    RowFormat(
        name="nemo-gym",
        kind="answer",
        published="NeMo Gym: the messages of a Responses request, and expected_answer",
        needs=("responses_create_params.input", "expected_answer"),
        convert=_from("responses_create_params.input", "expected_answer"),
    ),
    RowFormat(
        name="aime",
        kind="answer",
        published="AIME sets with capital columns: Problem, Answer, Solution (Maxwell-Jia/AIME_2024)",
        needs=("Problem", "Answer"),
        convert=_from("Problem", "Answer", "Solution"),
    ),
    RowFormat(
        name="trl-solution",
        kind="answer",
        published="TRL's GRPO examples: prompt (text or messages) and solution",
        needs=("prompt", "solution"),
        lacks=("reward_model", "answer", "question", "problem", "messages"),
        convert=_trl,
    ),
    RowFormat(
        name="trl",
        kind="answer",
        published="TRL: prompt (text or messages) and answer",
        needs=("prompt", "answer"),
        lacks=("reward_model", "question", "problem", "messages"),
        convert=_trl,
    ),
    RowFormat(
        name="openrlhf",
        kind="answer",
        published="OpenRLHF with its default keys: input, and label",
        needs=("input", "label"),
        lacks=("instruction", "question", "problem", "prompt"),
        convert=_openrlhf,
    ),
    RowFormat(
        name="openrlhf-answer",
        kind="answer",
        published="OpenRLHF with label_key = answer",
        needs=("input", "answer"),
        lacks=("instruction", "question", "problem", "prompt", "label"),
        convert=_openrlhf,
    ),
    RowFormat(
        name="alpaca",
        kind="answer",
        published="Alpaca: instruction, input (may be empty), output",
        needs=("instruction", "output"),
        lacks=("question", "problem", "prompt", "answer"),
        convert=_alpaca,
    ),
)
