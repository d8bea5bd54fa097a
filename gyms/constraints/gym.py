"""Prompts with verifiable instructions: write about something, and keep to the rules while you do.

*Tasks.* By default procedural prompts (gyms/constraints/prompts.py), for which no data is needed; with `path` or
`source`, rows in the published form of IFEval and IFBench.

*Score.* `components["fraction"]` is the share of instructions that hold. The value is 1 when all hold and 0 otherwise,
or the fraction where `partial_credit` is set. What counts is the text behind the model's thinking; a response without
any text fails everything. A malformed or contradictory item is `bad_task` and masked.

*Hacks.* gyms/constraints/hacks.py flags responses that copy the prompt, ignore the topic, stuff keywords or repeat
themselves. Flags are always shown; they cost the reward on procedural prompts and, unless `hack_penalty` says
otherwise, nowhere else, so that published benchmarks keep their meaning.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar, Literal

from pydantic import ConfigDict, Field, model_validator

from gyms.api import CaseResult, Needs, Score, Services, Split, Status, Task
from gyms.columns import Reads, RowSettings, mapped_rows
from gyms.constraints.hacks import hack_flags
from gyms.constraints.instruction import Instruction, Item
from gyms.constraints.item import ItemError, read_item
from gyms.constraints.prompts import PromptTasks
from gyms.constraints.rows import checked_row, make_task, read_rows, split_rows
from gyms.constraints.text import prepared
from gyms.response import after_thoughts
from gyms.row_gym import RowGym

__all__ = ["Constraints", "ConstraintsSettings"]

MAX_RESPONSE_CHARS = 2_000_000


class ConstraintsSettings(RowSettings):
    """Where the tasks come from and how they are scored."""

    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True)

    path: Path | None = None
    """Local file of rows with `prompt`, `instruction_id_list` and `kwargs`, or of a published form, instead of
    procedural prompts: JSONL, JSON, Parquet or CSV, packed or not."""
    source: str | None = None
    """Data set of such rows for `datasets.load_dataset`, e.g. a hub name, instead of procedural prompts."""
    source_split: str = "train"
    """Which of its splits is read."""
    heldout_fraction: float = Field(default=0.2, gt=0.0, lt=1.0)
    """Share of the rows of `path` or `source` that is held out."""
    skip_malformed: bool = False
    """True: leave out malformed rows of `path` or `source`; False: refuse the data."""
    skip_contradictory: bool = True
    """True: leave out rows whose instructions exclude each other, and name each with the reason; False: refuse the
    data."""

    difficulty: Literal[1, 2, 3, 4] = 1
    """Procedural prompts: 1 asks for one easy instruction, 2 for up to two, 3 for up to three, 4 for up to five."""
    num_train: int = Field(default=2000, ge=1, le=1_000_000)
    """Procedural train tasks."""
    num_heldout: int = Field(default=200, ge=1, le=100_000)
    """Procedural held-out tasks; their topics are never trained on."""
    seed: int = 0
    """Seed of the procedural prompts."""

    mode: Literal["strict", "loose"] = "strict"
    """`loose` also passes a response without its first line, last line or asterisks. A row's own `mode` wins."""
    compat: bool = False
    """True: check as the published checkers do, flaws included. A row's own `compat` wins."""
    partial_credit: bool = False
    """True: the reward is the fraction of instructions that hold."""
    hack_penalty: bool | None = None
    """True: a flagged response gets 0. None: on procedural prompts only."""

    @model_validator(mode="after")
    def _one_source(self) -> ConstraintsSettings:
        if self.path is not None and self.source is not None:
            raise ValueError("path and source are both given; rows come from one of them")
        return self


class Constraints(RowGym):
    """Asks for text under verifiable instructions; see the head of this file."""

    Settings = ConstraintsSettings
    settings: ConstraintsSettings
    reads = Reads(
        kind="instructions",
        wanted=("prompt", "instruction_id_list", "kwargs"),
        own=(("prompt", "instruction_id_list"),),
        optional=("mode", "compat", "key"),
    )
    file_setting, share_setting = "path", "heldout_fraction"
    needs = Needs(wall_seconds=60.0, cpu_seconds=45.0)
    components: ClassVar[Mapping[str, str]] = {
        "fraction": "share of the instructions that hold",
        "hacks": "1 where a hack was flagged, else 0",
    }

    def __init__(self, settings: ConstraintsSettings, services: Services) -> None:
        super().__init__(settings, services)
        self._splits: dict[Split, Sequence[Task]] = {}

    def tasks(self, split: Split) -> Sequence[Task]:
        """Procedural prompts, or the rows of `path` or `source`: read at the first call, which workers never make."""
        if not self._splits:
            self._splits = self._read()
        return self._splits[split]

    def _read(self) -> dict[Split, Sequence[Task]]:
        given = self.settings
        if given.path is None and given.source is None:
            return {
                "train": PromptTasks(given.seed, "train", given.num_train, given.difficulty),
                "heldout": PromptTasks(given.seed, "heldout", given.num_heldout, given.difficulty),
            }
        train, heldout, self.skipped = split_rows(
            mapped_rows(read_rows(given.path, given.source, given.source_split), given, self.reads),
            heldout_fraction=given.heldout_fraction,
            skip_malformed=given.skip_malformed,
            skip_contradictory=given.skip_contradictory,
            mode=given.mode,
            compat=given.compat,
        )
        return {"train": train, "heldout": heldout}

    def task_of(self, row: Mapping[str, Any], where: str) -> Task:
        return make_task(checked_row(row, where, mode=self.settings.mode, compat=self.settings.compat), where)

    def score(self, task: Task, response: str) -> Score:
        try:
            item = read_item(task.data, mode=self.settings.mode, compat=self.settings.compat)
        except ItemError as error:
            return Score(status=Status.BAD_TASK, detail=str(error)[:500])
        if len(response) > MAX_RESPONSE_CHARS:
            return Score(
                status=Status.TOO_COMPLEX,
                components={"fraction": 0.0},
                detail=f"the response has over {MAX_RESPONSE_CHARS} characters",
            )
        text = after_thoughts(response)
        if text is None or not prepared(text).strip():
            cases = _cases(item, [False] * len(item.instructions))
            why = "the thinking is not closed" if text is None else "the response is empty"
            return Score(status=Status.NO_ANSWER, components={"fraction": 0.0}, cases=cases, detail=why)
        return self._scored(task, item, text)

    def _scored(self, task: Task, item: Item, text: str) -> Score:
        passed = [_holds(instruction, item, text) for instruction in item.instructions]
        flags = hack_flags(item, text, passed, _topic_of(task.data))
        fraction = sum(passed) / len(passed)
        value = fraction if self.settings.partial_credit else float(all(passed))
        is_costly = self.settings.hack_penalty
        if is_costly is None:
            is_costly = bool(task.data.get("penalise_hacks"))
        return Score(
            status=Status.OK,
            value=0.0 if flags and is_costly else value,
            components={"fraction": fraction, "hacks": float(bool(flags))},
            answer=text.strip()[:200],
            flags=flags,
            cases=_cases(item, passed),
            provenance={"mode": item.mode, "compat": str(item.compat).lower()},
        )

    def gold(self, task: Task) -> str | None:
        """The worked response of a procedural prompt; None for published rows, which have none."""
        gold = task.data.get("gold")
        return gold if isinstance(gold, str) else None


def _topic_of(data: Any) -> tuple[str, ...]:
    topic = data.get("topic_words")
    return tuple(word for word in topic if isinstance(word, str)) if isinstance(topic, list | tuple) else ()


def _holds(instruction: Instruction, item: Item, text: str) -> bool:
    variants = [text] if item.mode == "strict" else loose_variants(text)
    return any(
        instruction.holds(variant if item.compat else prepared(variant), compat=item.compat) for variant in variants
    )


def loose_variants(text: str) -> list[str]:
    """The eight readings of IFEval's loose mode: without first line, last line or both, each also without asterisks."""
    lines = text.split("\n")
    cut = [text, "\n".join(lines[1:]).strip(), "\n".join(lines[:-1]).strip(), "\n".join(lines[1:-1]).strip()]
    return list(dict.fromkeys([*cut, *(variant.replace("*", "") for variant in cut)]))


def _cases(item: Item, passed: Sequence[bool]) -> tuple[CaseResult, ...]:
    return tuple(
        CaseResult(id=instruction.id, passed=holds, reason="" if holds else f"not met: {instruction.told()}"[:300])
        for instruction, holds in zip(item.instructions, passed, strict=True)
    )
