"""Sums of many numbers with a tool that adds two: the smallest environment, for first runs and for tests.

A model that cannot add five numbers in its head can call `add` four times and say the result. Nothing else is paid: the
last turn, which calls nothing, must claim exactly one number besides the restated operands, the right one (read as the
`arithmetic` gym reads it). How it came to the number is its own affair.

*Tasks* are a pure function of (seed, split, index): operands are drawn until they fall on the wanted side of the split,
which a hash of the unordered operands decides. So the splits never share a problem, whatever their sizes.

*Turns.* Every call is answered, an ill-formed one with what was wrong. A turn that was cut off is no answer; the model
is told so and goes on.
"""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import accumulate
from math import comb
from typing import ClassVar, Literal

from pydantic import Field, model_validator

from gyms.api import (
    Call,
    Environment,
    Episode,
    Score,
    Split,
    Status,
    Task,
    Tool,
    Turn,
    message,
)
from gyms.arithmetic.gym import score_claim
from gyms.episodes.calling import Calling
from gyms.heldout import is_heldout
from gyms.lazy import DrawnSettings, DrawnTasks

__all__ = ["Adder", "AdderSettings"]

MAX_MAGNITUDE = 10**15
"""Largest number that the tool adds."""
MIN_PROBLEMS = 5
"""Fewest problems that each side of the split must have, on average over split seeds."""
_MAX_DRAWS = 10_000
_INTEGER = {"type": "integer", "minimum": -MAX_MAGNITUDE, "maximum": MAX_MAGNITUDE}
ADD = Tool(
    name="add",
    description="Adds two whole numbers.",
    parameters={
        "type": "object",
        "properties": {"a": _INTEGER, "b": _INTEGER},
        "required": ["a", "b"],
        "additionalProperties": False,
    },
)


class AdderSettings(DrawnSettings):
    """Which sums are asked, and which of them are held out."""

    num_operands: int = Field(default=5, ge=2, le=16)
    """Numbers of a sum."""
    min_operand: int = Field(default=0, ge=0, le=10**9)
    """Smallest number."""
    max_operand: int = Field(default=99, ge=1, le=10**9)
    """Largest number."""
    style: Literal["chat", "bare"] = "chat"
    """`chat`: "What is 17 + 25 + 3?". `bare`: "17+25+3=", for models over single characters."""

    @model_validator(mode="after")
    def _check_together(self) -> AdderSettings:
        if self.min_operand >= self.max_operand:
            raise ValueError(f"min_operand = {self.min_operand} must be below max_operand = {self.max_operand}")
        num_problems = comb(self.max_operand - self.min_operand + self.num_operands, self.num_operands)
        if min(self.heldout_fraction, 1.0 - self.heldout_fraction) * num_problems < MIN_PROBLEMS:
            raise ValueError(
                f"{self.num_operands} numbers of {self.min_operand} to {self.max_operand} make {num_problems} "
                f"problems, too few to hold out heldout_fraction = {self.heldout_fraction:g} of them; raise max_operand"
            )
        return self


class Adder(Environment):
    """Asks sums of many numbers and offers a tool that adds two; see the head of this file."""

    Settings = AdderSettings
    components: ClassVar[Mapping[str, str]] = {
        "correct": "1 where the one number claimed is the sum, else 0",
        "num_calls": "well-formed calls of the tool",
    }
    max_turns = 32
    settings: AdderSettings

    def tasks(self, split: Split) -> Sequence[Task]:
        """Lazy: a task is drawn when it is indexed."""
        return _Tasks(self.settings, split)

    def tools(self, task: Task) -> Sequence[Tool]:
        return (ADD,)

    def start(self, task: Task, seed: int) -> Episode:
        return _Sum(task)

    def gold_turns(self, task: Task) -> Sequence[Turn]:
        """One call a turn, each with the sum so far, then the sum."""
        first, *others = task.data["operands"]
        sums = list(accumulate(others, initial=first))
        calls = [
            Call(id=f"call_{place}", tool=ADD.name, arguments={"a": so_far, "b": other})
            for place, (so_far, other) in enumerate(zip(sums, others, strict=False))
        ]
        return [*(Turn(text="", calls=(call,)) for call in calls), Turn(text=str(sums[-1]))]

    def fingerprint(self, task: Task) -> str:
        return _problem(task.data["operands"])


class _Sum(Calling):
    """One attempt: what was said last, and how often the tool was called."""

    cut_off = "Your turn was cut off. Go on: call the tool, or say the sum."

    def __init__(self, task: Task) -> None:
        super().__init__((ADD,))
        self._task = task

    def run(self, call: Call) -> str:
        assert call.arguments is not None
        return str(int(call.arguments["a"]) + int(call.arguments["b"]))  # 2.0 is whole, too

    def score(self) -> Score:
        operands = self._task.data.get("operands")
        is_task = isinstance(operands, Sequence) and all(type(number) is int for number in operands)
        if not is_task or not operands:
            detail = f"task {self._task.id!r}: data['operands'] must be whole numbers"
            return Score(status=Status.BAD_TASK, detail=detail)
        if self.answer is None:
            return Score(status=Status.NO_ANSWER, detail="no turn without a call was reached")
        score = score_claim(self.answer, sum(operands), operands)
        return replace(score, components={**score.components, "num_calls": float(self.num_calls)})


class _Tasks(DrawnTasks):
    """The tasks of a split, drawn one by one."""

    def make(self, place: int) -> Task:
        operands = _operands(self._settings, self._split, place)
        sign = " + " if self._settings.style == "chat" else "+"
        sum_ = sign.join(map(str, operands))
        asked = f"What is {sum_}?" if self._settings.style == "chat" else f"{sum_}="
        return Task(id=f"{self._split}/{place}", prompt=(message("user", asked),), data={"operands": operands})


def _operands(settings: AdderSettings, split: Split, place: int) -> tuple[int, ...]:
    """The first drawn operands that belong to the split."""
    for attempt in range(_MAX_DRAWS):
        draw = random.Random(f"adder {settings.seed} {split} {place} {attempt}")
        operands = tuple(draw.randint(settings.min_operand, settings.max_operand) for _ in range(settings.num_operands))
        held = is_heldout(_problem(operands), fraction=settings.heldout_fraction, seed=settings.split_seed)
        if held == (split == "heldout"):
            return operands
    raise ValueError(
        f"no {split} sum of {settings.num_operands} numbers was found in {_MAX_DRAWS} draws; raise max_operand"
    )


def _problem(operands: Sequence[int]) -> str:
    return f"sum {sorted(operands)}"
