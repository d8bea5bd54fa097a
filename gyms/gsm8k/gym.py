r"""Grade-school word problems (GSM8K): rows of question and worked answer, verified by their final number.

*Where rows come from.* From the hub through the `datasets` library, or from local files, in GSM8K's published form
(`question`, and `answer` ending in `#### 18`), in any form of gyms/row_formats/answers.py, or by the columns that the
settings name; an answer without `####` must be one number. Local files are read by gyms/rows.py rather than by
`datasets`: a malformed row can then be named by file and line, and scoring workers never import a large library.

*What counts as the answer.* The last number marked by `####` or `\boxed{...}` behind the thoughts (gyms/response.py),
and every other marked number must agree with it. A last marker that holds anything but one number (and perhaps its name
and unit) is unreadable rather than passed over, so echoing the instruction earns nothing. Without a marker the last
number of the text counts, unless it ends a list of guesses (flag `hedge`). A guess behind the answer ("Or maybe 18.")
must have its value, in whatever form. Thoughts without an end have no answer. Boxes are found, and signs, scales,
denials and what goes on beside them (`\boxed{18}.5`) and beside an unmarked number are read, by the math gym's code
(gyms/math/extract.py, gyms/math/beside.py).

*What a number is.* The math gym's reader (gyms/math/read.py) reads it, by a narrower rule: one number as digits, a
fraction of two, or a mixed number, with its dress: `2{,}450`, `y = 2450`, `24 \text{ pens}`, 24 euros, <24>; behind a
marker also in words. Units are not compared, for the data set's answers have none; but words that make another number
of it ("18 hundred", "5 sixths", "3 dozen") do. Numbers are compared exactly, as fractions: 18, 18.00 and $18 are
equal, 17.999 is not. A division that was left to the reader (36/2 for 18) is refused, as in the math gym; 3/4 is a
number. The data set's answers to questions about percent are bare numbers, so there 18% is 18; elsewhere it is 0.18.

Left out: expressions, text answers, times of the day; the math gym reads those. Nothing takes
a marked answer back here: another value right behind it contradicts it ("#### 17. Wait, 18."), what comes later is not
read ("#### 17. Wait, I missed one. The answer is 18.").
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any

from pydantic import ConfigDict, Field, model_validator

from gyms.api import Score, Services, Split, Status, Task, message
from gyms.columns import Reads, RowSettings
from gyms.math.beside import continued, is_compared, is_denied, signed
from gyms.math.exact import NotScalar, TooBig, exact
from gyms.math.extract import boxed
from gyms.math.guesses import guess_behind, restates
from gyms.math.normal import normalise
from gyms.math.read import read_labelled
from gyms.math.relations import FalseEquation, assigned
from gyms.math.remarks import in_digits
from gyms.math.scalars import is_plain_number
from gyms.math.tree import Node, Unreadable, walk
from gyms.math.units import CURRENCIES, changes_value, scaled
from gyms.response import final_text
from gyms.row_gym import RowGym, asked
from gyms.rows import Located, read_file, read_source, require_two_files

__all__ = ["Gsm8k", "Gsm8kSettings"]

MAX_RESPONSE_CHARS = 200_000
MAX_NUMBER_CHARS = 40
"""Longest number that is read, before it is parsed."""
MAX_MARKED_CHARS = 400
"""Longest marked text that is read."""
MAX_MARKS = 200
"""Most marked numbers that must agree, from the end."""

_DIGITS = r"(?:[0-9]{1,3}(?:,[0-9]{3})+(?![0-9])|[0-9]+)"
_NUMBER = rf"(?:{_DIGITS}(?:\.[0-9]+)?(?:/[0-9]+)?|(?<![\w.])\.[0-9]+)"
_PERCENT = r"(?:[ ]?(?:\\?%|per ?cent\b))"
_NUMBERS = re.compile(
    rf"(?<!\^)(?<!\^\{{)(?:(?<![\w)])-)?\$?{_NUMBER}{_PERCENT}?(?:[ -]?(?:hundred|thousand|[a-z]*illion|dozen)s?\b)?"
)
_HASHES = re.compile(r"(?<!#)####(?!#)(?:[ \t]*\n)?([^\n]*)")
_COUNTED = re.compile(r"([^A-Za-z]*[0-9][^A-Za-z]*?)[ -]([A-Za-z]+(?:[./-]?[ ]?[A-Za-z]+){0,7})\.?")
"""A number and words, of which none may change it."""
_GUESSES = re.compile(
    r"[0-9][^0-9\n.]{0,20}\b(?:or|maybe|perhaps)\b[^0-9\n.]{0,8}$|(?:[0-9][0-9.]*[ ]?,[ ]?){2,}(?:and |or )?\$?$"
)
_BARE_NUMBERS = re.compile(r"[-\s0-9.,;$]*")
"""A response of numbers alone, one after another."""
_SCALE = re.compile(r"[kKMB](?![A-Za-z])")
"""What makes another number of the last one: 18k, 18M."""
MAX_GUESS_CHARS = 80
"""How far before the last number a list of guesses is looked for."""
_LONG = re.compile(rf"[0-9\uff10-\uff19,.]{{{MAX_NUMBER_CHARS + 1}}}")
_DIGIT = re.compile("[0-9\uff10-\uff19\u00bc-\u00be]")
_CURRENCY = re.compile(rf"^\\(?:{'|'.join(CURRENCIES)})[ ]*(?=[0-9])")
_TEXT = re.compile(r"\\text[ ]*\{[ ]*([^{}]*?)[ ]*\}")
_ASKS_PERCENT = r"per ?cent|%"
_ANNOTATION = re.compile(r"<<[^<>]*>>")


class Gsm8kSettings(RowSettings):
    """Where the rows come from and what the prompt asks for."""

    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True)

    source: str = "openai/gsm8k"
    """Data set for `datasets.load_dataset`: a hub name, or a folder with `train` and `test` files."""
    config: str = "main"
    """Configuration of the data set; empty for a folder."""
    train_file: Path | None = None
    """Local file of train rows instead of `source`: JSONL, JSON, Parquet or CSV, packed or not."""
    heldout_file: Path | None = None
    """Local file of held-out rows; needs `train_file`."""
    heldout_fraction: float | None = Field(default=None, gt=0.0, lt=1.0)
    """Without `heldout_file`: the fraction of `train_file` that is held out, by a hash of the question."""
    suffix: str = "\n\nThink step by step. End with a line of the form: #### <number>"
    """Appended to every question."""

    @model_validator(mode="after")
    def _both_files_or_none(self) -> Gsm8kSettings:
        require_two_files(self.train_file, self.heldout_file, split="heldout_fraction")
        if self.heldout_fraction is not None:
            if self.train_file is None or self.heldout_file is not None:
                raise ValueError(
                    "heldout_fraction splits train_file where there is no heldout_file; give train_file alone"
                )
        elif self.train_file is not None and self.heldout_file is None:
            raise ValueError(
                "train_file is given without heldout_file; give both, or hold out a share: heldout_fraction = 0.1"
            )
        if self.heldout_file is not None and self.train_file is None:
            raise ValueError("heldout_file is given without train_file; local data needs both files")
        return self


class Gsm8k(RowGym):
    """Asks GSM8K's questions; see the head of this file for the verifier."""

    Settings = Gsm8kSettings
    settings: Gsm8kSettings
    reads = Reads(
        kind="answer",
        wanted=("question", "answer"),
        own=(("question", "answer"), ("problem", "answer")),
        optional=("problem", "solution"),
    )
    file_setting, share_setting = "train_file", "heldout_fraction"
    baseline = 0.05
    """Without a marker the last number counts, so a constant guess is right now and then."""

    def __init__(self, settings: Gsm8kSettings, services: Services) -> None:
        super().__init__(settings, services)
        self._splits: dict[Split, Sequence[Task]] = {}

    def tasks(self, split: Split) -> Sequence[Task]:
        """Read at the first call, so that scoring workers, which never ask, need no data."""
        if split not in self._splits:
            settings = self.settings
            made = self.tasks_of(self._rows(split))
            share = settings.heldout_fraction
            parts = {split: made} if share is None else self.parted(made, fraction=share)
            self._splits |= {part: asked(part, tasks, settings.suffix) for part, tasks in parts.items()}
        return self._splits[split]

    def task_of(self, row: Mapping[str, Any], where: str) -> Task:
        """Its prompt is the bare question."""
        question, given = row.get("question") or row.get("problem"), row.get("answer")
        if not isinstance(question, str) or not question.strip() or not isinstance(given, str | int | float):
            raise ValueError(f"{where}: a row needs 'question' and 'answer', got the keys {sorted(map(str, row))}")
        worked = str(given)
        answer = worked.rpartition("####")[2].strip() if "####" in worked else worked.strip()
        if parse_number(answer) is None:
            raise ValueError(f"{where}: 'answer' must be a number or end in '#### <number>', got {worked[-40:]!r}")
        solution = worked if "####" in worked else f"{row.get('solution') or ''}\n#### {answer}".strip()
        return Task(
            id=where,
            prompt=(message("user", question),),
            data={"answer": answer, "solution": _ANNOTATION.sub("", solution), "question": question},
        )

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

    def _rows(self, split: Split) -> Iterator[Located]:
        settings = self.settings
        path = (
            settings.train_file if split == "train" or settings.heldout_fraction is not None else settings.heldout_file
        )
        if path is not None:
            return read_file(path)
        name = "train" if split == "train" else "test"
        return read_source(settings.source, settings.config, name, instead="train_file and heldout_file")


def parse_number(text: str, *, is_percent_bare: bool = True) -> Fraction | None:
    """The value of one number with its usual dress (`$1,234.50`, `x = 18 \\text{ dollars}`), or None for other texts.

    18% is 18 where `is_percent_bare`, and 18/100 otherwise.
    """
    text = text if len(text) > MAX_MARKED_CHARS else in_digits(text.strip()) or text.strip()
    if len(text) > MAX_MARKED_CHARS or _LONG.search(text) or "--" in text or not _DIGIT.search(text):
        return None
    text = text[1:-1] if text[0] == "[" and text[-1] == "]" else text  # a prompt's "[number]", filled in
    node = _said(text)
    if node is None or node.op == "list":
        counted = _COUNTED.fullmatch(_CURRENCY.sub("", _TEXT.sub(r" \1 ", normalise(text))).strip())
        said = re.findall("[a-z]+", counted[2].casefold()) if counted is not None else []
        is_counted = said and not any(changes_value(word) or len(word) < 2 for word in said if word != "and")
        node = _said(counted[1]) if counted is not None and is_counted else None
    if node is None or not _is_number(node):
        return None
    is_percent = any(part.op == "percent" for part in walk(node))
    value = _value_of(node)
    return value if value is None or not (is_percent and is_percent_bare) else 100 * value


def _said(text: str) -> Node | None:
    """What a text says, without its name and unit; None where the math gym's reader cannot read it."""
    try:
        node = read_labelled(text)
        gives = assigned(node) if node.op == "rel" else None
    except (Unreadable, FalseEquation):
        return None
    node = gives.value if gives is not None else node
    return node.args[0] if node.op == "quantity" else node


def _value_of(node: Node) -> Fraction | None:
    try:
        return exact(node).as_rational()
    except (NotScalar, TooBig, Unreadable):
        return None


def _contradicts(guess: str, answer: str) -> bool:
    """Whether a guess has another value than the answer, whatever its form and unit, and however percent is meant."""
    claimed, said = ({parse_number(text, is_percent_bare=bare) for bare in (True, False)} for text in (answer, guess))
    if said == {None}:
        node = _said(guess)
        said = {_value_of(node) if node is not None else None}
    return said != {None} and not said & claimed and not restates(guess, answer)


def _is_number(node: Node) -> bool:
    """True for digits, a fraction of two and a mixed number; a power of ten is left to the math gym."""
    is_scientific = any(part.op == "pow" or (part.op == "num" and part.note.form == "sci") for part in walk(node))
    return is_plain_number(node) and not is_scientific and node.op not in ("deg", "based")


def _marks(said: str) -> tuple[list[tuple[int, int, str]], tuple[int, str] | None]:
    """Start, end and text of the marked answers, in order; and where a box is never closed, or that all are denied."""
    hashes = [(match.start(), match.end(), match[1].strip()) for match in _HASHES.finditer(said)][-MAX_MARKS:]
    boxes, problem = boxed(said)
    free = [box[:3] for box in boxes if not any(start < box.start < end for start, end, _ in hashes)]
    marks = [mark for mark in (*hashes, *free) if not (is_denied(said, mark[0]) or is_compared(said, mark[0]))]
    if (hashes or free) and not marks:
        problem = problem or (-1, "the marked answer is denied")
    return sorted(marks)[-MAX_MARKS:], problem


def _score_response(response: str, gold: Fraction, *, asks_percent: bool) -> Score:
    said = final_text(response)
    if said is None:
        return Score(status=Status.NO_ANSWER, detail="thinking is never closed")
    marks, problem = _marks(said)
    if problem and (not marks or problem[0] >= marks[-1][1]):
        return Score(status=Status.NO_ANSWER, detail=problem[1])
    if marks:
        claim = marks[-1][2]
        guess = guess_behind(said, marks[-1][1])
        values = [parse_number(text, is_percent_bare=asks_percent) for _, _, text in marks]
        if values[-1] is None:
            answer = claim[:MAX_NUMBER_CHARS]
            return Score(status=Status.INVALID_ANSWER, answer=answer, detail="the marked answer is not one number")
        is_sure = guess is None or not _contradicts(guess.text, claim)
        flags = frozenset() if is_sure and set(values) <= {None, values[-1]} else frozenset({"conflict"})
        return _verdict(claim, values[-1], gold, flags)
    numbers = list(_NUMBERS.finditer(said))
    if not numbers:
        return Score(status=Status.NO_ANSWER)
    last = numbers[-1]
    if len(last.group()) > MAX_NUMBER_CHARS:
        return Score(status=Status.TOO_COMPLEX, detail=f"the last number has over {MAX_NUMBER_CHARS} characters")
    is_column = _BARE_NUMBERS.fullmatch(said) and len({match.group() for match in numbers}) > 1
    before = numbers[-2] if len(numbers) > 1 else last
    guess = guess_behind(said, before.end(), is_claim=False)
    is_guess = guess is not None and not guess.is_correction and _contradicts(guess.text, before.group())
    is_hedged = is_guess or (is_column and parse_number(said) is None)
    if is_hedged or _GUESSES.search(said, max(0, last.start() - MAX_GUESS_CHARS), last.start()):
        return _verdict(last.group(), None, gold, frozenset({"unmarked", "hedge"}))
    if is_denied(said, last.start()) or is_compared(said, last.start()):
        return _verdict(last.group(), None, gold, frozenset({"unmarked"}))
    text, end = continued(signed(last.group(), said, last.start()), said, last.end())
    is_scaled = scaled(said, end) or _SCALE.match(said, end) is not None
    number = None if is_scaled else parse_number(text, is_percent_bare=asks_percent)
    return _verdict(text, number, gold, frozenset({"unmarked"}))


def _verdict(answer: str, number: Fraction | None, gold: Fraction, flags: frozenset[str]) -> Score:
    divided = re.search(r"[0-9][ ]?/[ ]?[0-9]|\\[dt]?frac[ {]*[0-9]", answer.rpartition("=")[2])
    if number is not None and number.denominator == 1 and divided is not None:
        flags |= {"unevaluated"}
    value = float(number == gold and not flags & {"conflict", "unevaluated"})
    return Score(
        status=Status.OK, value=value, answer=answer[:MAX_NUMBER_CHARS], components={"correct": value}, flags=flags
    )
