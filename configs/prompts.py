"""Sections of a config that say which tasks a step asks: their sampling, their order, and what is kept out of them."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, model_validator

from configs.base import Fraction, NonNegative, Positive, Section

__all__ = ["GateConfig", "OverlapConfig", "PromptsConfig"]


class GateConfig(Section):
    """One stage of a curriculum: which tasks it lets through, from a step on until the next stage."""

    from_step: NonNegative = 0
    """First step of this stage."""
    min_rate: Fraction = 0.0
    """Least success rate of a task. A task whose rate is unknown passes: it has to be tried to be known."""
    max_rate: Fraction = 1.0
    """Highest success rate of a task."""
    min_difficulty: float | None = None
    """Least `data["difficulty"]` of a task; a task without that number does not pass. None: any."""
    max_difficulty: float | None = None
    """Highest `data["difficulty"]` of a task; a task without that number does not pass. None: any."""

    @model_validator(mode="after")
    def _ranges_are_not_empty(self) -> GateConfig:
        if self.min_rate > self.max_rate:
            raise ValueError(f"min_rate = {self.min_rate} is more than max_rate = {self.max_rate}; no task passes")
        low, high = self.min_difficulty, self.max_difficulty
        if low is not None and high is not None and low > high:
            raise ValueError(f"min_difficulty = {low} is more than max_difficulty = {high}; no task passes")
        return self


class PromptsConfig(Section):
    """Which tasks of a gym a step asks (docs/algorithm.md, "Sampling of prompts")."""

    rule: Literal["uniform", "prioritised"] = "uniform"
    """`uniform`: every task once per epoch. `prioritised`: with a probability in proportion to 1 - its success rate
    (Kimi K1.5, section 2.3.4), over and over again."""
    floor: Annotated[float, Field(gt=0.0, le=1.0)] = 0.05
    """Least weight of a task under `prioritised`, so that what is solved is looked at again. Unknown tasks have 1."""
    memory: Annotated[float, Field(ge=0.0, lt=1.0)] = 0.5
    """What is left of a task's former success rate when it is asked again; the rest is the mean of its new siblings."""
    gates: tuple[GateConfig, ...] = ()
    """Stages of a curriculum, in the order of their `from_step`; before the first one every task passes. A place for
    which no task passes goes to one that does not (`rollout/num_ungated`)."""
    rates: Path | None = None
    """File of `python -m rl.difficulty`: success rates to begin with. None: all are unknown."""
    min_rate: Fraction = 0.0
    """Tasks whose rate in `rates` is lower are never asked; tasks that the file lacks are."""
    max_rate: Fraction = 1.0
    """Tasks whose rate in `rates` is higher are never asked."""
    max_refills: NonNegative = 0
    """Most draws that a step adds in the place of groups whose rewards are all equal (dynamic sampling, DAPO). Above 0
    such groups leave the denominators of the loss too."""

    @model_validator(mode="after")
    def _gates_are_in_order(self) -> PromptsConfig:
        starts = [gate.from_step for gate in self.gates]
        if starts != sorted(set(starts)):
            raise ValueError(f"gates begin at steps {starts}; give them in order, each from_step once")
        return self

    @model_validator(mode="after")
    def _range_needs_rates(self) -> PromptsConfig:
        if self.min_rate > self.max_rate:
            raise ValueError(f"min_rate = {self.min_rate} is more than max_rate = {self.max_rate}; no task is left")
        if self.rates is None and (self.min_rate, self.max_rate) != (0.0, 1.0):
            raise ValueError("min_rate and max_rate need a file of rates; `python -m rl.difficulty` makes one")
        return self

    @property
    def uses_rates(self) -> bool:
        """Whether what is asked depends on the success rates of this run."""
        return self.rule == "prioritised" or any((gate.min_rate, gate.max_rate) != (0.0, 1.0) for gate in self.gates)

    def gate_at(self, step: int) -> GateConfig | None:
        """The stage of a step; None before the first."""
        return next((gate for gate in reversed(self.gates) if gate.from_step <= step), None)


class OverlapConfig(Section):
    """Training tasks that stand in held-out data too, or twice (docs/algorithm.md, "Contamination")."""

    rule: Literal["off", "report", "refuse", "drop"] = "report"
    """`report`: the start says how many there are. `refuse`: the run does not start. `drop`: they are not asked."""
    files: tuple[Path, ...] = ()
    """Benchmarks to keep apart from the training tasks, beside the gyms' own held-out tasks: JSONL, JSON, CSV or
    Parquet, one problem a row."""
    ngram: Positive = 13
    """Words in a row that two problems must share to count as one; shorter problems must be equal as a whole, up to
    case, punctuation and spaces."""
