r"""Grade-school word problems (GSM8K): rows of question and worked answer, verified by their final number.

*Where rows come from.* From the hub through the `datasets` library, or from two local JSONL files in GSM8K's published
form (`question`, and `answer` ending in `#### 18`). Local files are read line by line here rather than by `datasets`:
a malformed line can then be named by file and line number, and scoring workers never import a large library.

*What counts as the answer.* The last number marked by `####` or `\boxed{...}`, and every other marked number must agree
with it. A last marker that holds anything but one number (and perhaps its unit) is unreadable rather than passed over,
so echoing the instruction earns nothing. Without a marker the last number of the text counts. Numbers are compared
exactly, as fractions: 18, 18.00 and $18 are equal, 17.999 is not. A division that was left to the reader (36/2 for 18)
is refused, as in the math gym; 3/4 is a number. The data set's answers to questions about percent are bare numbers, so
there 18% is 18; elsewhere it is 0.18.

Left out: expressions, units and text answers; the math gym reads those.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any

from pydantic import ConfigDict, model_validator

from gyms.api import Gym, GymSettings, Score, Services, Split, Status, Task, message
from gyms.extras import require

__all__ = ["Gsm8k", "Gsm8kSettings", "load_split", "read_jsonl"]

MAX_RESPONSE_CHARS = 200_000
MAX_NUMBER_CHARS = 40
"""Longest number that is read, before it is parsed."""

_DIGITS = r"(?:[0-9]{1,3}(?:,[0-9]{3})+(?![0-9])|[0-9]+)"
_NUMBER = rf"(?:{_DIGITS}(?:\.[0-9]+)?(?:/[0-9]+)?|(?<![\w.])\.[0-9]+)"
_PERCENT = r"(?:[ ]?(?:\\?%|per ?cent\b))"
_NUMBERS = re.compile(rf"(?:(?<![\w)])-)?\$?{_NUMBER}{_PERCENT}?")
_MARKED = re.compile(r"####([^\n]*)|\\boxed[ ]?\{([^{}\n]*(?:\{[^{}\n]*\}[^{}\n]*)*)\}")
_ONE_NUMBER = re.compile(
    rf"(?:-?[$\u20ac\u00a3]?|[$\u20ac\u00a3]-)({_NUMBER})({_PERCENT}?)(?:[ -]?[A-Za-z][A-Za-z /]*)?\.?"
)
_ASKS_PERCENT = r"per ?cent|%"
_ANNOTATION = re.compile(r"<<[^<>]*>>")
_LATEX = re.compile(r"\\(?:text|mathrm|mbox)\{([^{}]*)\}|\\[!,;: ]|\\(?=[$%])")


class Gsm8kSettings(GymSettings):
    """Where the rows come from and what the prompt asks for."""

    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True)

    source: str = "openai/gsm8k"
    """Data set for `datasets.load_dataset`: a hub name or a folder with `train` and `test` files."""
    config: str = "main"
    """Configuration of the data set; empty for a folder."""
    train_file: Path | None = None
    """Local JSONL file of train rows instead of `source`; needs `heldout_file`."""
    heldout_file: Path | None = None
    """Local JSONL file of held-out rows; needs `train_file`."""
    suffix: str = "\n\nThink step by step. End with a line of the form: #### <number>"
    """Appended to every question."""

    @model_validator(mode="after")
    def _both_files_or_none(self) -> Gsm8kSettings:
        if (self.train_file is None) != (self.heldout_file is None):
            given, missing = ("train_file", "heldout_file") if self.train_file else ("heldout_file", "train_file")
            raise ValueError(f"{given} is given without {missing}; local data needs both files")
        return self


class Gsm8k(Gym):
    """Asks GSM8K's questions; see the head of this file for the verifier."""

    Settings = Gsm8kSettings
    settings: Gsm8kSettings
    baseline = 0.05
    """Without a marker the last number counts, so a constant guess is right now and then."""

    def __init__(self, settings: Gsm8kSettings, services: Services) -> None:
        super().__init__(settings, services)
        self._splits: dict[Split, Sequence[Task]] = {}

    def tasks(self, split: Split) -> Sequence[Task]:
        """Read at the first call, so that scoring workers, which never ask, need no data."""
        if split not in self._splits:
            rows = self._rows(split)
            self._splits[split] = tuple(
                make_task(row, f"{split}/{number}", self.settings.suffix, where)
                for number, (where, row) in enumerate(rows)
            )
        return self._splits[split]

    def score(self, task: Task, response: str) -> Score:
        gold = parse_number(str(task.data.get("answer", "")))
        if gold is None:
            return Score(status=Status.BAD_TASK, detail=f"task {task.id!r} has no number as data['answer']")
        if len(response) > MAX_RESPONSE_CHARS:
            return Score(status=Status.TOO_COMPLEX, detail=f"the response has over {MAX_RESPONSE_CHARS} characters")
        asked = str(task.data.get("question") or "".join(m["content"] for m in task.prompt[-1:]))
        return _score_response(response, gold, asks_percent=re.search(_ASKS_PERCENT, asked, re.I) is not None)

    def gold(self, task: Task) -> str:
        """The data set's own worked solution, without its calculator annotations."""
        return str(task.data["solution"])

    def fingerprint(self, task: Task) -> str:
        """The question's words and numbers, whatever their case, punctuation and spacing."""
        return " ".join(re.findall(r"\w+(?:\.\w+)*", str(task.data["question"]).casefold()))

    def _rows(self, split: Split) -> Iterator[tuple[str, Mapping[str, Any]]]:
        """Where each row stands, for messages, and the row."""
        path = self.settings.train_file if split == "train" else self.settings.heldout_file
        if path is not None:
            yield from ((f"{path}:{line}", row) for line, row in read_jsonl(path))
            return
        name = "train" if split == "train" else "test"
        for number, row in enumerate(load_split(self.settings.source, self.settings.config, name)):
            yield f"{self.settings.source}/{name}[{number}]", row


def make_task(row: Mapping[str, Any], task_id: str, suffix: str, where: str) -> Task:
    """The task of one row; ValueError naming where the row stands if it is not a GSM8K row."""
    question, solution = row.get("question"), row.get("answer")
    if not isinstance(question, str) or not question.strip() or not isinstance(solution, str):
        raise ValueError(
            f"{where}: a row needs the strings 'question' and 'answer', got the keys {sorted(map(str, row))}"
        )
    answer = solution.rpartition("####")[2].strip() if "####" in solution else ""
    if parse_number(answer) is None:
        raise ValueError(f"{where}: 'answer' must end in '#### <number>', got {solution[-40:]!r}")
    return Task(
        id=task_id,
        prompt=(message("user", question + suffix),),
        data={"answer": answer, "solution": _ANNOTATION.sub("", solution), "question": question},
    )


def read_jsonl(path: Path) -> Iterator[tuple[int, Mapping[str, Any]]]:
    """Line number and object of each non-empty line; ValueError with file and line where one is not an object."""
    if not path.is_file():
        raise ValueError(f"there is no file {path} (looked for {path.resolve()}); give the path of a JSONL file")
    with path.open("rb") as lines:
        for number, line in enumerate(lines, start=1):
            if not line.strip():
                continue
            try:
                row = json.loads(line.decode("utf-8"))
            except (ValueError, RecursionError) as error:
                raise ValueError(f"{path}:{number}: not a line of JSON ({error}); got {_start(line)}") from None
            if not isinstance(row, Mapping):
                raise ValueError(f"{path}:{number}: expected a JSON object, got {_start(line)}")
            yield number, row


def parse_number(text: str, *, is_percent_bare: bool = True) -> Fraction | None:
    """The value of one number with its usual dress (`$1,234.50`, `18 dollars.`), or None where the text is not one.

    18% is 18 where `is_percent_bare`, and 18/100 otherwise.
    """
    plain = _LATEX.sub(lambda match: match.group(1) or "", text).strip().strip("*$ ").translate({0x2212: "-"})
    if len(plain) > 4 * MAX_NUMBER_CHARS:
        return None
    match = _ONE_NUMBER.fullmatch(plain)
    if match is None or len(match.group(1)) > MAX_NUMBER_CHARS:
        return None
    top, _, bottom = match.group(1).replace(",", "").partition("/")
    if bottom and not int(bottom):
        return None
    value = Fraction(top) / (int(bottom) if bottom else 1) / (100 if match.group(2) and not is_percent_bare else 1)
    return -value if "-" in plain[: match.start(1)] else value


def _score_response(response: str, gold: Fraction, *, asks_percent: bool) -> Score:
    marked = [heading or box for heading, box in _MARKED.findall(response)]
    if marked:
        values = [parse_number(text, is_percent_bare=asks_percent) for text in marked]
        if values[-1] is None:
            answer = marked[-1].strip()[:MAX_NUMBER_CHARS]
            return Score(status=Status.INVALID_ANSWER, answer=answer, detail="the marked answer is not one number")
        flags = frozenset() if set(values) <= {None, values[-1]} else frozenset({"conflict"})
        return _verdict(marked[-1].strip(), values[-1], gold, flags)
    numbers = _NUMBERS.findall(response)
    if not numbers:
        return Score(status=Status.NO_ANSWER)
    if len(numbers[-1]) > MAX_NUMBER_CHARS:
        return Score(status=Status.TOO_COMPLEX, detail=f"the last number has over {MAX_NUMBER_CHARS} characters")
    number = parse_number(numbers[-1], is_percent_bare=asks_percent)
    return _verdict(numbers[-1], number, gold, frozenset({"unmarked"}))


def _verdict(answer: str, number: Fraction | None, gold: Fraction, flags: frozenset[str]) -> Score:
    if number is not None and number.denominator == 1 and re.search(r"[0-9]/[0-9]", answer):
        flags |= {"unevaluated"}
    value = float(number == gold and not flags & {"conflict", "unevaluated"})
    return Score(
        status=Status.OK, value=value, answer=answer[:MAX_NUMBER_CHARS], components={"correct": value}, flags=flags
    )


def load_split(source: str, config: str, split: str) -> Iterable[Mapping[str, Any]]:
    """Rows of a split through `datasets`; imported here because it is slow to import and only the driver needs it."""
    datasets = require("datasets", user=f"source = {source!r}")

    try:
        rows: Any = datasets.load_dataset(source, config or None, split=split)
        return rows
    except (OSError, ValueError) as error:
        raise ValueError(
            f"data set source = {source!r}, config = {config!r}, split {split!r} cannot be loaded ({error}); check the "
            f"name and the network, or give local files as train_file and heldout_file"
        ) from error


def _start(line: bytes) -> str:
    return repr(line[:60])
