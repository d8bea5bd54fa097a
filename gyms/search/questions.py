"""What is asked: chains through the generated world, or rows with their answers and the documents that are needed.

A generated question starts at a named entity, follows one relation after another and asks for a fact of what it comes
to: "In which year was the birthplace of the founder of Tabex Works founded?" needs three documents. Each hop must be
looked up before the next one can be searched for. A chain never comes back to an entity that it has passed.
"""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gyms.rows import make_all, read_file
from gyms.search.corpus import World

__all__ = ["MAX_ANSWER_CHARS", "Question", "drawn_question", "read_questions"]

MAX_ANSWERS = 50
MAX_ANSWER_CHARS = 500
"""Longest answer that can be given."""

_RELATIONS: Mapping[str, tuple[tuple[str, str], ...]] = {
    "person": (("birthplace", "town"), ("employer", "company"), ("teacher", "person")),
    "town": (("river", "river"), ("twin", "town"), ("mayor", "person")),
    "company": (("seat", "town"), ("founder", "person")),
    "river": (("source", "town"),),
}
_CALLED = {
    "birthplace": "the birthplace of {}",
    "employer": "the employer of {}",
    "teacher": "the teacher of {}",
    "river": "the river of {}",
    "twin": "the twin town of {}",
    "mayor": "the mayor of {}",
    "seat": "the town where {} has its seat",
    "founder": "the founder of {}",
    "source": "the town near which {} rises",
}
_ASKED: Mapping[str, Mapping[str, str]] = {
    "person": {"born": "In which year was {} born?", "trade": "What is the trade of {}?"},
    "town": {"founded": "In which year was {} founded?"},
    "company": {"founded": "In which year was {} founded?", "goods": "What does {} make?"},
    "river": {"length": "How long is {}, in km?"},
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """One question, its answers and its evidence."""

    text: str
    answers: tuple[str, ...]
    """Each of them is right."""
    evidence: tuple[str, ...]
    """Ids of the documents that are needed, in the order in which they are found."""
    searches: tuple[str, ...] = ()
    """What to search for, to find each of them; empty: unknown."""


def drawn_question(draw: random.Random, known: World, *, num_hops: int) -> Question | None:
    """A question that needs `num_hops` documents; None where the draw was of no use."""
    place = draw.randrange(len(known.entities))
    passed, phrase = [place], known.entities[place].name
    for _ in range(num_hops - 1):
        relation, _ = draw.choice(_RELATIONS[known.entities[place].kind])
        place, phrase = known.entities[place].links[relation], _CALLED[relation].format(phrase)
        if place in passed:
            return None
        passed.append(place)
    last = known.entities[place]
    attribute = draw.choice(sorted(_ASKED[last.kind]))
    return Question(
        text=_ASKED[last.kind][attribute].format(phrase),
        answers=(last.facts[attribute],),
        evidence=tuple(known.entities[found].document for found in passed),
        searches=tuple(known.entities[found].name for found in passed),
    )


def read_questions(path: Path, known: frozenset[str], *, max_evidence: int) -> tuple[Question, ...]:
    """Questions of a file: rows of `question`, `answer` (or `answers`) and `evidence`, a list of document ids.

    Args:
        known: ids of the corpus.
        max_evidence: most documents that an answer may name.

    Raises:
        ValueError: in one line, where a row is no question, needs a document that the corpus lacks, or cannot be
            answered right.
    """

    def question_of(row: Mapping[str, Any], where: str) -> Question:
        given = row.get("answers")
        given = row.get("answer") if given is None else given  # a table has both columns, one of them empty
        answers = [given] if isinstance(given, str | int | float) else given
        evidence = row.get("evidence") or ()
        text = row.get("question")
        is_fine = isinstance(text, str) and text.strip() and _are_texts(answers) and _are_texts(evidence, at_least=0)
        if not is_fine:
            raise ValueError(
                f"{where}: a row needs `question`, `answer` or `answers`, and may have `evidence`, a list of document "
                f"ids; got the keys {sorted(map(str, row))}"
            )
        needed = tuple(dict.fromkeys(map(_as_text, evidence)))
        missing = [found for found in needed if found not in known]
        if missing:
            raise ValueError(f"{where}: evidence {missing[0]!r:.100} is no document of the corpus")
        if len(needed) > max_evidence:
            raise ValueError(
                f"{where}: the question needs {len(needed)} documents, and with max_evidence = {max_evidence} no "
                f"answer may name so many; raise max_evidence"
            )
        short = tuple(answer for answer in map(_as_text, answers or ()) if len(answer) <= MAX_ANSWER_CHARS)
        if not short:
            raise ValueError(f"{where}: every answer has over {MAX_ANSWER_CHARS} characters, which nobody can give")
        return Question(text=str(text), answers=short, evidence=needed)

    made, _ = make_all(read_file(path), question_of, skip_malformed=None)
    return tuple(made)


def _as_text(given: object) -> str:
    """A column of whole numbers with a gap in it comes as 1820.0."""
    return str(int(given)) if isinstance(given, float) and given.is_integer() else str(given)


def _are_texts(found: object, *, at_least: int = 1) -> bool:
    is_list = isinstance(found, Sequence) and not isinstance(found, str) and at_least <= len(found) <= MAX_ANSWERS
    return is_list and all(isinstance(one, str | int | float) and str(one).strip() for one in found)  # type: ignore[union-attr]
