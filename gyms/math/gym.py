r"""Mathematics with verified final answers: tasks from rows, GSM8K, MATH or a small built-in set; see docs/math.md.

The verifier is `verify`: extraction, our own parser, comparison by type. It evaluates nothing that the model wrote with
another library, waits for nothing, and is bounded by caps, so a score takes a fraction of a millisecond in most cases.
Scoring needs no data source: a task that is handed in brings its gold answer in `task.data`:

    answer      the gold answer, as LaTeX or plain text (a string or a number); `\boxed{...}` around it is allowed
    question    the problem's text (else the prompt's last user message); an echo of it is no answer
    type        one of gyms.math.gold.ANSWER_TYPES
    tolerance   largest absolute difference of numbers
    units       the unit of the gold answer, or true: an answer must have its unit

*Rows.* GSM8K's form: `question`, and `answer` ending in `#### 18`. MATH's: `problem`, and `answer` or a `solution`
whose last box is the answer. And all that gyms/row_formats/answers.py turns into them. The dialect of a row's answer is
told by its `####`, or by the setting `dialect`. Held-out problems never stand among the train problems: what they share
by text is dropped from train. A single source is split by that text (gyms/heldout.py).
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar, Literal

from pydantic import ConfigDict, Field, model_validator

from gyms.api import Needs, Score, Services, Split, Status, Task, message
from gyms.columns import Reads, RowSettings
from gyms.math.builtin import problems
from gyms.math.extract import extract
from gyms.math.gold import BadGold, Gold, read_gold
from gyms.math.verify import AnswerCheck, partial_value, verify_gold
from gyms.row_gym import RowGym, asked
from gyms.rows import Located, read_file, read_source, require_two_files

__all__ = ["Math", "MathSettings"]

_ANNOTATION = re.compile(r"<<[^<>]*>>")


class MathSettings(RowSettings):
    """Where the problems come from, what the prompt asks for, and how strictly an answer is read."""

    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True)

    source: str = ""
    """Data set for `datasets.load_dataset`: a hub name or a folder. Empty, and no file: the built-in problems."""
    config: str = ""
    """Configuration of the data set; empty for its default."""
    train_split: str = "train"
    """Name of the data set's split to train on."""
    heldout_split: str = "test"
    """Name of the data set's held-out split; empty: `heldout_fraction` of the train split is held out."""
    train_file: Path | None = None
    """Local file of train rows, instead of `source`: JSONL, JSON, Parquet or CSV, packed or not."""
    heldout_file: Path | None = None
    """Local file of held-out rows; without it `heldout_fraction` of `train_file` is held out."""
    dialect: Literal["auto", "gsm8k", "math", "rows"] = "auto"
    """Form of the rows; `auto` tells GSM8K by the `####` in its answers."""
    heldout_fraction: float = Field(default=0.1, gt=0.0, lt=1.0)
    """Fraction of a single source that is held out, by the hash of the problem's text."""
    split_seed: int = Field(default=0, ge=0)
    """Key of that hash; keep it over a project, or held-out problems become train problems."""
    suffix: str = "\n\nThink step by step, and put the final answer in \\boxed{}."
    """Appended to every question."""
    finals: Literal["last", "agree"] = "last"
    """`last`: the last box is the answer, where it takes back an earlier one, once; a second change of mind, and marks
    of other kinds that differ, score 0. `agree`: all final answers must agree."""
    require_mark: bool = False
    """True: an answer counts only in a box, behind `####`, in answer tags or behind "the answer is"."""
    significant_digits: int = Field(default=6, ge=3, le=30)
    """Digits that a decimal needs in order to stand for a gold value without a finite decimal (1/3, pi)."""
    partial_credit: bool = False
    """True: the value of a list, set, point or matrix of the right size is the share of its parts that are right."""

    @model_validator(mode="after")
    def _one_source(self) -> MathSettings:
        if self.source and self.train_file is not None:
            raise ValueError("source and train_file are both given; the train rows come from one of them")
        if self.heldout_file is not None and not (self.source or self.train_file is not None):
            raise ValueError("heldout_file is given without train_file or source")
        require_two_files(self.train_file, self.heldout_file, split="heldout_fraction")
        return self


class Math(RowGym):
    """Asks for final answers in mathematics, and compares them as values (docs/math.md)."""

    Settings = MathSettings
    settings: MathSettings
    reads = Reads(
        kind="answer",
        wanted=("question", "answer"),
        own=(("question", "answer"), ("problem", "answer"), ("question", "solution"), ("problem", "solution")),
        optional=("problem", "solution", "type", "tolerance", "units"),
    )
    file_setting, share_setting = "train_file", "heldout_fraction"
    needs = Needs(wall_seconds=20.0, cpu_seconds=10.0)
    components: ClassVar[Mapping[str, str]] = {
        "correct": "1 where the final answer is right, else 0",
        "marked": "1 where the final answer is marked (a box, ####, answer tags), else 0; never part of the value",
    }
    baseline = 0.05
    """Unmarked answers count by default, so a constant guess is right now and then."""

    def __init__(self, settings: MathSettings, services: Services) -> None:
        super().__init__(settings, services)
        self._splits: dict[Split, Sequence[Task]] = {}

    def tasks(self, split: Split) -> Sequence[Task]:
        """Read at the first call, so that scoring workers, which never ask, need no data."""
        if not self._splits:
            if self._is_split_by_hash():
                share, seed = self.settings.heldout_fraction, self.settings.split_seed
                parts = self.parted(self._made("train"), fraction=share, seed=seed)
                heldout, train = parts["heldout"], parts["train"]
            else:
                heldout, train = self._made("heldout"), self._made("train")
            taken = {self.fingerprint(task) for task in heldout}
            train = [task for task in train if self.fingerprint(task) not in taken]
            suffix = self.settings.suffix
            self._splits = {"train": asked("train", train, suffix), "heldout": asked("heldout", heldout, suffix)}
        return self._splits[split]

    def task_of(self, row: Mapping[str, Any], where: str) -> Task:
        """Its prompt is the bare question."""
        dialect = self.settings.dialect
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
        if dialect not in ("gsm8k", "math"):
            data |= {key: row[key] for key in ("type", "tolerance", "units") if row.get(key) is not None}
        if solution is not None:
            data["solution"] = solution
        try:
            read_gold(
                answer, answer_type=data.get("type", "auto"), tolerance=data.get("tolerance"), units=data.get("units")
            )
        except BadGold as error:
            raise ValueError(f"{where}: {error}") from None
        return Task(id=where, prompt=(message("user", question),), data=data)

    def score(self, task: Task, response: str) -> Score:
        try:
            gold = self._gold(task)
        except BadGold as error:
            return Score(status=Status.BAD_TASK, detail=f"task {task.id!r}: {error}")
        checked = verify_gold(gold, response)
        if self.settings.require_mark and "unmarked" in checked.flags:
            checked = AnswerCheck(status=Status.NO_ANSWER, flags=checked.flags, detail="no final answer is marked")
        if checked.status is not Status.OK:
            return Score(status=checked.status, answer=checked.answer, flags=checked.flags, detail=checked.detail)
        value = float(checked.is_right)
        components = {"correct": value, "marked": float("unmarked" not in checked.flags)}
        if self.settings.partial_credit and not checked.is_right and checked.answer is not None:
            value = partial_value(gold, checked)
        return Score(
            status=Status.OK, value=value, components=components, answer=checked.answer, flags=checked.flags,
            detail="" if checked.detail == "words" else checked.detail,
        )  # fmt: skip

    def gold(self, task: Task) -> str:
        """The worked solution where the source has one that ends in the answer, else the boxed answer."""
        solution = task.data.get("solution")
        if isinstance(solution, str) and self.score(task, solution).value == 1.0:
            return solution
        answer = str(task.data["answer"])
        return answer if "boxed" in answer else rf"The answer is $\boxed{{{answer}}}$."

    def fingerprint(self, task: Task) -> str:
        """A problem's words, numbers and signs, whatever their case, punctuation and spacing."""
        return " ".join(re.findall(r"\w+(?:\.\w+)*|[-+*/^=<>]", _question(task).casefold()))

    def _gold(self, task: Task) -> Gold:
        data = task.data
        if "answer" not in data or data["answer"] is None:
            raise BadGold("data['answer'] is missing")
        question = data.get("question")
        if question is not None and not isinstance(question, str):
            raise BadGold(f"data['question'] must be a string, got {type(question).__name__}")
        return read_gold(
            data["answer"],
            question=question or _question(task),
            answer_type=data.get("type") or "auto",
            tolerance=data.get("tolerance"),
            units=data.get("units"),
            significant_digits=self.settings.significant_digits,
            finals=self.settings.finals,
        )

    def _made(self, split: Split) -> list[Task]:
        """Tasks of a split, each problem once."""
        settings = self.settings
        if not settings.source and settings.train_file is None:
            return [
                Task(id="", prompt=(message("user", question),), data={"answer": answer, "question": question})
                for question, answer in problems(split)
            ]
        made = self.tasks_of(self._rows(split))
        return list({self.fingerprint(task): task for task in reversed(made)}.values())[::-1]

    def _is_split_by_hash(self) -> bool:
        """Whether train and held-out rows come from one file or one split of a data set."""
        settings = self.settings
        is_builtin = not settings.source and settings.train_file is None
        return not is_builtin and settings.heldout_file is None and not (settings.source and settings.heldout_split)

    def _rows(self, split: Split) -> Iterable[Located]:
        """Rows of a split of its own; where there is one source, all are read as train."""
        settings = self.settings
        own_file = settings.train_file if split == "train" else settings.heldout_file
        if own_file is not None:
            return read_file(own_file)
        name = settings.train_split if split == "train" else settings.heldout_split
        return read_source(settings.source, settings.config, name, instead="train_file and heldout_file")


def _question(task: Task) -> str:
    given = task.data.get("question")
    if isinstance(given, str):
        return given
    users = [entry["content"] for entry in task.prompt if entry.get("role") == "user"]
    return users[-1] if users else ""
