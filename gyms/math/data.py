r"""Problems as rows: GSM8K's and MATH's published forms, from local JSONL or through `datasets`.

GSM8K: `question`, and `answer` ending in `#### 18`. MATH: `problem`, and `answer` or a `solution` whose last box is the
answer. Any other source can be written as `question` and `answer`. The form is told by the keys of the first row, or by
the setting `dialect`.

Held-out problems never stand among the train problems: what they share by text (words and numbers, whatever their case
and punctuation) is dropped from train. A single source is split by a keyed hash of that text, so that the split neither
depends on the order of the rows nor changes when rows are added.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from gyms.api import Task, message
from gyms.gsm8k import load_split, read_jsonl
from gyms.math.extract import extract
from gyms.math.verify import BadGold, read_gold

__all__ = ["fingerprint", "is_heldout", "make_task", "rows_of_file", "rows_of_source"]

_ANNOTATION = re.compile(r"<<[^<>]*>>")
_OPTIONAL = ("type", "tolerance", "units")


def rows_of_file(path: Path) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """Where each row of a JSONL file stands, and the row."""
    yield from ((f"{path}:{line}", row) for line, row in read_jsonl(path))


def rows_of_source(source: str, config: str, split: str) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """Where each row of a data set stands, and the row."""
    for number, row in enumerate(load_split(source, config, split)):
        yield f"{source}/{split}[{number}]", row


def make_task(row: Mapping[str, Any], task_id: str, *, dialect: str, suffix: str, where: str) -> Task:
    """The task of a row; ValueError that names where the row stands if it holds no problem or no readable answer."""
    question = row.get("question") or row.get("problem")
    if not isinstance(question, str) or not question.strip():
        raise ValueError(f"{where}: a row needs 'question' or 'problem', got the keys {sorted(map(str, row))}")
    solution = row.get("solution") if isinstance(row.get("solution"), str) else None
    answer = row.get("answer")
    is_gsm8k = dialect == "gsm8k" or (dialect == "auto" and isinstance(answer, str) and "####" in answer)
    if is_gsm8k:
        solution = _ANNOTATION.sub("", str(answer))
        answer = str(answer).rpartition("####")[2].strip() if "####" in str(answer) else None
    elif answer is None and solution is not None:
        found = extract(solution)
        answer = found.finals[-1] if found.finals else None
    if answer is None or not str(answer).strip():
        needs = "'answer' ending in '#### <number>'" if is_gsm8k else "'answer', or 'solution' with \\boxed{...}"
        raise ValueError(f"{where}: a row needs {needs}, got the keys {sorted(map(str, row))}")
    data: dict[str, Any] = {"answer": answer, "question": question}
    data |= {key: row[key] for key in _OPTIONAL if row.get(key) is not None and dialect not in ("gsm8k", "math")}
    if solution is not None:
        data["solution"] = solution
    try:
        read_gold(
            answer, answer_type=data.get("type", "auto"), tolerance=data.get("tolerance"), units=data.get("units")
        )
    except BadGold as error:
        raise ValueError(f"{where}: {error}") from None
    return Task(id=task_id, prompt=(message("user", question + suffix),), data=data)


def fingerprint(question: str) -> str:
    """A problem's words, numbers and signs, whatever their case, punctuation and spacing."""
    return " ".join(re.findall(r"\w+(?:\.\w+)*|[-+*/^=<>]", question.casefold()))


def is_heldout(question: str, *, fraction: float, seed: int) -> bool:
    """Whether a problem of a single source is held out: a keyed hash of its fingerprint, so of its text alone."""
    digest = hashlib.blake2b(fingerprint(question).encode("utf-8", "surrogatepass"), digest_size=8, key=b"%d" % seed)
    return int.from_bytes(digest.digest(), "big") < fraction * 2**64
