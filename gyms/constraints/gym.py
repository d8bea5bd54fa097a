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

import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar, Literal

from pydantic import ConfigDict, Field, model_validator

from gyms.api import CaseResult, Needs, Score, Services, Split, Status, Task, message
from gyms.columns import Reads, RowSettings, mapped_rows
from gyms.constraints.hacks import hack_flags
from gyms.constraints.item import Contradiction, ItemError, read_item
from gyms.constraints.prompts import PromptTasks
from gyms.constraints.rule import Instruction, Item
from gyms.constraints.text import prepared
from gyms.heldout import is_heldout
from gyms.response import after_thoughts
from gyms.row_gym import RowGym
from gyms.rows import Skipped, make_all, read_file, read_source

__all__ = ["Constraints", "ConstraintsSettings"]

MAX_RESPONSE_CHARS = 2_000_000
MAX_NAMED = 20
"""Contradictory rows that are named; the others are counted."""
_log = logging.getLogger(__name__)


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
    """Asks for text under instructions that code can verify (docs/constraints.md)."""

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
        self._splits: Mapping[Split, Sequence[Task]] = {}

    def tasks(self, split: Split) -> Sequence[Task]:
        """Procedural prompts, or the rows of `path` or `source`: read at the first call, which workers never make."""
        if not self._splits:
            given = self.settings
            sizes: dict[Split, int] = {"train": given.num_train, "heldout": given.num_heldout}
            self._splits = (
                {split: PromptTasks(given.seed, split, size, given.difficulty) for split, size in sizes.items()}
                if given.path is None and given.source is None
                else self._read()
            )
        return self._splits[split]

    def _read(self) -> Mapping[Split, Sequence[Task]]:
        """A row's split depends on its prompt alone, so equal prompts never part."""
        given = self.settings
        source = (str(given.source), "", given.source_split)
        rows = read_file(given.path) if given.path is not None else read_source(*source, instead="path")
        contradictory: list[str] = []

        def kept(row: Mapping[str, Any], where: str) -> Mapping[str, Any] | None:
            try:
                return self._checked(row, where)
            except Contradiction as error:
                if not given.skip_contradictory:
                    raise ValueError(f"{error} (skip_contradictory = true leaves out such rows)") from None
                contradictory.append(str(error))
                return None

        made, skipped = make_all(mapped_rows(rows, given, self.reads), kept, skip_malformed=given.skip_malformed)
        self.skipped = skipped + _named(contradictory)
        splits: dict[Split, list[Task]] = {"train": [], "heldout": []}
        for number, row in enumerate(made):  # one that is left out keeps its number: ids of others do not depend on it
            if row is not None:
                is_held = is_heldout(row["prompt"], fraction=given.heldout_fraction)
                splits["heldout" if is_held else "train"].append(_task(row, f"row/{number}"))
        if not all(splits.values()):
            left_out = f" ({self.skipped} left out)" if self.skipped.num_rows else ""
            raise ValueError(
                f"the data gives {len(splits['train'])} train and {len(splits['heldout'])} held-out tasks with "
                f"heldout_fraction = {given.heldout_fraction}{left_out}; both splits need at least one"
            )
        return splits

    def _checked(self, row: Mapping[str, Any], where: str) -> Mapping[str, Any]:
        """The row; ValueError with its place where it is malformed, a Contradiction where no response satisfies it."""
        try:
            read_item(row, mode=self.settings.mode)
        except Contradiction as error:
            key = row.get("key")
            named = f" (key {key})" if isinstance(key, str | int) and str(key).strip() else ""
            raise Contradiction(f"{where}{named}: {error}") from None
        except ItemError as error:
            raise ValueError(f"{where}: {error}") from None
        if not isinstance(row.get("prompt"), str) or not row["prompt"].strip():
            raise ValueError(f"{where}: 'prompt' must be a string that is not empty")
        return row

    def task_of(self, row: Mapping[str, Any], where: str) -> Task:
        return _task(self._checked(row, where), where)

    def score(self, task: Task, response: str) -> Score:
        try:
            item = read_item(task.data, mode=self.settings.mode)
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
            provenance={"mode": item.mode},
        )

    def gold(self, task: Task) -> str | None:
        """The worked response of a procedural prompt; None for published rows, which have none."""
        gold = task.data.get("gold")
        return gold if isinstance(gold, str) else None


def _task(row: Mapping[str, Any], place: str) -> Task:
    data = {name: row[name] for name in ("prompt", "instruction_id_list", "kwargs", "mode") if name in row}
    return Task(id=f"{place}/{row.get('key', '')}", prompt=(message("user", row["prompt"]),), data=data)


def _named(contradictory: Sequence[str]) -> Skipped:
    """Rows that exclude themselves are well-formed, and nobody who reads the data can mend them: each is named."""
    if contradictory:
        more = f" (and {len(contradictory) - MAX_NAMED} more)" if len(contradictory) > MAX_NAMED else ""
        named = "; ".join(contradictory[:MAX_NAMED])
        _log.warning("skip_contradictory left out %d rows: %s%s", len(contradictory), named, more)
    return Skipped(num_rows=len(contradictory), reasons=tuple(contradictory))


def _topic_of(data: Any) -> tuple[str, ...]:
    topic = data.get("topic_words")
    return tuple(word for word in topic if isinstance(word, str)) if isinstance(topic, list | tuple) else ()


def _holds(instruction: Instruction, item: Item, text: str) -> bool:
    variants = [text] if item.mode == "strict" else loose_variants(text)
    return any(instruction.accepts(variant) for variant in variants)


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
