"""Sums, differences and products of small numbers: a gym without data, for first runs and for tests.

*Split.* Train and held-out are split by the unordered operands: `17 + 25` is never trained on while `25 + 17` is held
out. A keyed permutation walks the ordered tuples; the first `num_heldout` different problems met are held out, each
asked in the order in which it was met; every ordered form of all other problems is a train task. Only the held-out
problems are stored, so the number of train tasks may be astronomical.

*Chat style* (`What is 17 + 25?`). The answer is an integer, and only the final one may be claimed: restated operands
are set aside ("17 + 25 =", or "the sum of 17 and 25 is"), and every integer that is left must be the answer. So "42",
"17 + 25 = 42" and "The answer is 42." are right; "41 or 42", a list of guesses and a restated question without an
answer are not, nor is an answer with a denial before it or another number behind it ("not 42", "42 thousand", 42^2).
Thoughts do not count, and those that never end leave no answer. Intermediate results count as guesses: the gym teaches
the short form, and a verifier that forgave extra numbers would pay for listing them.

*Bare style* (`17+25=`). The response without surrounding white space must be the answer, character by character;
with `reverse_digits` least significant digit first, the order in which a tiny model can compute it.
"""

from __future__ import annotations

import math
import operator
import re
from bisect import bisect_right
from collections import Counter
from collections.abc import Mapping, Sequence
from functools import reduce
from itertools import permutations
from typing import Any, Literal

from pydantic import ConfigDict, Field, model_validator

from gyms.api import Gym, GymSettings, Score, Services, Split, Status, Task, message
from gyms.lazy import LazyTasks
from gyms.math.beside import continued, is_compared, is_denied
from gyms.math.units import scaled
from gyms.permutation import permute
from gyms.response import after_thoughts

__all__ = ["Arithmetic", "ArithmeticSettings", "score_claim"]

PRESETS: Mapping[int, Mapping[str, int]] = {
    1: {"min_operand": 0, "max_operand": 9},
    2: {"min_operand": 0, "max_operand": 99},
    3: {"min_operand": 0, "max_operand": 999},
    4: {"min_operand": 0, "max_operand": 999, "num_operands": 3},
}
MAX_HELDOUT = 5000
"""Most held-out problems: they are the part of the split that is stored."""
MAX_RESPONSE_CHARS = 10_000
MAX_DIGITS = 64
"""Longest integer that is read; the longest answer has 36 digits."""

_OPERATORS = {"add": operator.add, "sub": operator.sub, "mul": operator.mul}
_SIGNS = {"add": "+", "sub": "-", "mul": "*"}
_DIGITS = r"(?:[0-9]{1,3}(?:,[0-9]{3})+(?![0-9])|[0-9]+)"
_INTEGER = re.compile(rf"(?:(?<![\w)])-)?{_DIGITS}")
_RESTATED = re.compile(rf"(?<![0-9])-?{_DIGITS}(?:[ \t]*(?:[-+*x]|\\times|\\cdot)[ \t]*-?{_DIGITS})+")
_PLAIN_SIGNS = str.maketrans({"\u2212": "-", "\u2013": "-", "\u00d7": "*", "\u00b7": "*"})
_SIGN_APART = re.compile(r"(?i:\b(?:minus|negative)[ ]+|(?<==)[ ]*-[ ]+|(?<=\bis)[ ]+-[ ]+)(?=[0-9])")
"""A minus that is a word, or stands apart from its number."""
_BOX = re.compile(r"\\boxed[ ]?\{([^{}]*)\}")
_DECIMAL = re.compile(r"(?:[0-9]|(?<![\w.]))\.[0-9]")


class ArithmeticSettings(GymSettings):
    """Which problems are asked, how, and which of them are held out."""

    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True)

    operation: Literal["add", "sub", "mul"] = "add"
    """What is done with the operands, left to right."""
    difficulty: Literal[1, 2, 3, 4] | None = None
    """Preset of the operands: 1 = 0-9, 2 = 0-99, 3 = 0-999, 4 = three of 0-999. Keys given beside it win."""
    min_operand: int = Field(default=0, ge=0, le=10**9)
    """Smallest operand."""
    max_operand: int = Field(default=99, ge=1, le=10**9)
    """Largest operand."""
    num_operands: int = Field(default=2, ge=2, le=4)
    """Operands of a problem."""
    style: Literal["chat", "bare"] = "chat"
    """`chat`: "What is 17 + 25?". `bare`: "17+25=", for models over single characters."""
    reverse_digits: bool = False
    """Bare style only: the answer's digits in reverse order, a minus sign stays in front."""
    heldout_fraction: float = Field(default=0.1, gt=0.0, lt=1.0)
    """Fraction of the unordered problems that is held out, at most 5000 problems."""
    num_heldout: int | None = Field(default=None, ge=1, le=MAX_HELDOUT)
    """Number of held-out problems instead of `heldout_fraction`."""
    split_seed: int = 0
    """Seed of the split; keep it over a project, or held-out problems become train problems."""

    @model_validator(mode="before")
    @classmethod
    def _fill_preset(cls, values: Any) -> Any:
        if not isinstance(values, Mapping):
            return values
        difficulty = values.get("difficulty")
        preset = PRESETS.get(difficulty, {}) if isinstance(difficulty, int) else {}
        return {**preset, **values}

    @model_validator(mode="after")
    def _check_together(self) -> ArithmeticSettings:
        if self.min_operand >= self.max_operand:
            raise ValueError(f"min_operand = {self.min_operand} must be below max_operand = {self.max_operand}")
        if self.reverse_digits and self.style != "bare":
            raise ValueError('reverse_digits needs style = "bare"; chat answers are read in normal order')
        if self.num_ordered >= 2**62:
            raise ValueError(
                f"{self.num_operands} operands of {self.min_operand} to {self.max_operand} make more than 2**62 tasks; "
                f"lower num_operands or max_operand"
            )
        if self.num_heldout is not None and self.num_heldout >= self.num_problems:
            raise ValueError(
                f"num_heldout = {self.num_heldout} leaves nothing to train on: there are {self.num_problems} problems"
            )
        return self

    @property
    def num_values(self) -> int:
        """Different operands."""
        return self.max_operand - self.min_operand + 1

    @property
    def num_ordered(self) -> int:
        """Ordered operand tuples."""
        return self.num_values**self.num_operands

    @property
    def num_problems(self) -> int:
        """Unordered problems, counted as multisets."""
        return math.comb(self.num_values + self.num_operands - 1, self.num_operands)

    @property
    def num_heldout_problems(self) -> int:
        """Problems that are held out, at least 1."""
        if self.num_heldout is not None:
            return self.num_heldout
        return max(1, min(MAX_HELDOUT, int(self.heldout_fraction * self.num_problems)))


class Arithmetic(Gym):
    """Asks sums, differences or products; see the head of this file for the split and the verifier."""

    Settings = ArithmeticSettings
    settings: ArithmeticSettings

    def __init__(self, settings: ArithmeticSettings, services: Services) -> None:
        super().__init__(settings, services)
        self._splits: dict[Split, Sequence[Task]] = {}

    def tasks(self, split: Split) -> Sequence[Task]:
        """Lazy: the split is made at the first call, a task when it is indexed."""
        if not self._splits:
            ranks = heldout_ranks(self.settings)
            skipped = {form for rank in ranks for form in _forms(rank, self.settings)}
            self._splits["heldout"] = _Tasks(self.settings, chosen=ranks)
            self._splits["train"] = _Tasks(self.settings, skipped=tuple(sorted(skipped)))
        return self._splits[split]

    def score(self, task: Task, response: str) -> Score:
        answer, operands = task.data.get("answer"), task.data.get("operands")
        if not isinstance(answer, str) or not answer or not isinstance(operands, Sequence):
            return Score(status=Status.BAD_TASK, detail=f"task {task.id!r} lacks data['answer'] or data['operands']")
        if self.settings.style == "bare":
            return _score_bare(response, answer)
        try:
            gold, numbers = int(answer), [int(number) for number in operands]
        except (TypeError, ValueError, OverflowError):
            detail = f"task {task.id!r}: data['answer'] and data['operands'] must be whole numbers"
            return Score(status=Status.BAD_TASK, detail=detail)
        return score_claim(response, gold, numbers)

    def gold(self, task: Task) -> str:
        """Chat style: the whole equation, `17 + 25 = 42`; bare style: the answer.

        Restating the operands beside the answer is what small models learn from the fewest examples: 256 of them teach
        SmolLM2-135M 65 % of held-out additions, against 14 % with the bare number.
        """
        answer = str(task.data["answer"])
        if self.settings.style == "bare":
            return answer
        return f"{_expression(task.data['operands'], self.settings)} = {answer}"

    def fingerprint(self, task: Task) -> str:
        operands = sorted(task.data["operands"])
        return f"{self.settings.operation} {operands}"


def heldout_ranks(settings: ArithmeticSettings) -> tuple[int, ...]:
    """Ranks of the held-out ordered tuples, one for each held-out problem, in the order of the permutation."""
    key = f"arithmetic split {settings.split_seed}"
    seen: set[tuple[int, ...]] = set()
    ranks: list[int] = []
    place = 0
    while len(ranks) < settings.num_heldout_problems:
        rank = permute(place, settings.num_ordered, key)
        problem = tuple(sorted(_operands(rank, settings)))
        if problem not in seen:
            seen.add(problem)
            ranks.append(rank)
        place += 1
    return tuple(ranks)


def make_task(operands: tuple[int, ...], settings: ArithmeticSettings) -> Task:
    """The task that asks for these operands in this order."""
    answer = str(reduce(_OPERATORS[settings.operation], operands))
    if settings.style == "chat":
        prompt = f"What is {_expression(operands, settings)}?"
    else:
        prompt = f"{_expression(operands, settings)}="
        if settings.reverse_digits:
            answer = answer[0] + answer[:0:-1] if answer.startswith("-") else answer[::-1]
    return Task(
        id=f"{settings.operation}/{'/'.join(map(str, operands))}",
        prompt=(message("user", prompt),),
        data={"answer": answer, "operands": operands},
    )


def _expression(operands: Sequence[int], settings: ArithmeticSettings) -> str:
    """`17 + 25` in chat style, `17+25` in bare style."""
    sign = _SIGNS[settings.operation]
    return (f" {sign} " if settings.style == "chat" else sign).join(map(str, operands))


class _Tasks(LazyTasks):
    """Tasks by ordered rank: the chosen ranks, or all but the skipped ones (sorted)."""

    def __init__(
        self, settings: ArithmeticSettings, *, chosen: tuple[int, ...] | None = None, skipped: tuple[int, ...] = ()
    ) -> None:
        self._settings = settings
        self._chosen = chosen
        # The i-th rank that is not skipped is i plus the number of skipped ranks s_j with s_j - j <= i.
        self._gaps = [rank - place for place, rank in enumerate(skipped)]

    def __len__(self) -> int:
        return self._settings.num_ordered - len(self._gaps) if self._chosen is None else len(self._chosen)

    def make(self, place: int) -> Task:
        rank = self._chosen[place] if self._chosen is not None else place + bisect_right(self._gaps, place)
        return make_task(_operands(rank, self._settings), self._settings)


def _operands(rank: int, settings: ArithmeticSettings) -> tuple[int, ...]:
    """The ordered tuple of a rank: its digits in base `num_values`, most significant first."""
    digits = []
    for _ in range(settings.num_operands):
        rank, digit = divmod(rank, settings.num_values)
        digits.append(settings.min_operand + digit)
    return tuple(reversed(digits))


def _forms(rank: int, settings: ArithmeticSettings) -> set[int]:
    """Ranks of all ordered forms of the problem that a rank belongs to."""
    digits = [operand - settings.min_operand for operand in _operands(rank, settings)]
    return {reduce(lambda high, digit: high * settings.num_values + digit, form, 0) for form in permutations(digits)}


def score_claim(response: str, expected: int, operands: Sequence[int]) -> Score:
    """The score of a response that claims one number, `expected`, beside operands that it may restate.

    Example:
        score_claim("17 + 25 = 42", 42, [17, 25]).value == 1.0
    """
    if len(response) > MAX_RESPONSE_CHARS:
        return _too_long()
    final = after_thoughts(response)
    if final is None:
        return Score(status=Status.NO_ANSWER, detail="the thinking is not closed")
    text = _SIGN_APART.sub(" -", _BOX.sub(r"\1", final).translate(_PLAIN_SIGNS))
    if any(_num_digits(found) > MAX_DIGITS for found in _INTEGER.findall(text)):
        return Score(status=Status.TOO_COMPLEX, detail=f"an integer has over {MAX_DIGITS} digits")
    found = _claims(text, operands)
    if not found:
        return Score(status=Status.NO_ANSWER)
    claimed = [_to_int(claim.group()) for claim in found]
    is_changed = _DECIMAL.search(text) is not None or any(map(_is_changed, found))  # 5.5 is no 5 said twice
    is_single = len(set(claimed)) == 1 and not is_changed
    value = float(is_single and claimed[-1] == expected)
    flags = frozenset() if is_single else frozenset({"conflict"})
    return Score(status=Status.OK, value=value, answer=str(claimed[-1]), components={"correct": value}, flags=flags)


def _score_bare(response: str, expected: str) -> Score:
    if len(response) > MAX_RESPONSE_CHARS:
        return _too_long()
    answer = response.strip()
    if not answer:
        return Score(status=Status.NO_ANSWER)
    value = float(answer == expected)
    return Score(status=Status.OK, value=value, answer=answer[:MAX_DIGITS], components={"correct": value})


def _too_long() -> Score:
    return Score(status=Status.TOO_COMPLEX, detail=f"the response has over {MAX_RESPONSE_CHARS} characters")


def _claims(text: str, operands: Sequence[int]) -> list[re.Match[str]]:
    """The integers of a response, without those that restate the operands as an expression or in words."""
    restated = Counter(operands)

    def blank(match: re.Match[str]) -> str:
        # "17 -25" is an expression of 17 and 25: signs between operands are operators here.
        found = [_to_int(digits) for digits in re.findall(_DIGITS, match.group())]
        return " " if Counter(found) == restated else match.group()

    numbers = list(_INTEGER.finditer(_RESTATED.sub(blank, text)))
    if Counter(_to_int(number.group()) for number in numbers[: len(operands)]) == restated:
        return numbers[len(operands) :]
    return numbers


def _is_changed(claim: re.Match[str]) -> bool:
    """Whether what stands beside an integer denies it, or makes another number of it: "not 42", 42^2, "42 thousand"."""
    text, start, end = claim.string, claim.start(), claim.end()
    is_other = is_denied(text, start) or is_compared(text, start)
    return is_other or continued("0", text, end)[1] > end or scaled(text, end)


def _to_int(text: str) -> int:
    return int(text.replace(",", ""))


def _num_digits(text: str) -> int:
    return sum(character.isdigit() for character in text)
