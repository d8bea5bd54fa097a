r"""Problems as rows: GSM8K's and MATH's forms, and all that gyms/row_formats/answers.py turns into them.

GSM8K: `question`, and `answer` ending in `#### 18`. MATH: `problem`, and `answer` or a `solution` whose last box is the
answer. The dialect of a row's answer is told by its `####`, or by the setting `dialect`.

Held-out problems never stand among the train problems: what they share by text (words and numbers, whatever their case
and punctuation) is dropped from train. A single source is split by that text (gyms/heldout.py).
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from gyms.api import Task, message
from gyms.math.extract import extract
from gyms.math.gold import BadGold, read_gold

__all__ = ["OWN_COLUMNS", "fingerprint", "make_task"]

OWN_COLUMNS = (("question", "answer"), ("problem", "answer"), ("question", "solution"), ("problem", "solution"))
"""What a row in one of this gym's own forms has."""

_ANNOTATION = re.compile(r"<<[^<>]*>>")
_OPTIONAL = ("type", "tolerance", "units")


def make_task(row: Mapping[str, Any], *, dialect: str, where: str) -> Task:
    """The task of a row, its prompt the bare question; ValueError with the row's place if it has no readable answer."""
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
    return Task(id=where, prompt=(message("user", question),), data=data)


def fingerprint(question: str) -> str:
    """A problem's words, numbers and signs, whatever their case, punctuation and spacing."""
    return " ".join(re.findall(r"\w+(?:\.\w+)*|[-+*/^=<>]", question.casefold()))
