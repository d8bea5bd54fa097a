"""Open-ended prompts: what no verifier can score, for the critic to judge by rubrics (reward/critic.py).

*How the value arrives.* The gym declares `needs.judge`. For such a gym the pipeline hands all finished siblings of a
draw to the judge, and the judge's score is the sample's score: in [0, 1], relative to its siblings. This file's `score`
is not that. It says what code can say about one answer alone: nothing (no content, or an echo of the prompt) is worth
0, and otherwise the value is the fraction of the task's *checkable* properties that hold, each of which is a component
(gyms/chat/checks.py), with the flag "unjudged". That is what a held-out evaluation reports, where an answer has no
siblings: it shows whether a rising rubric reward is an improvement that can be counted. Nobody should train on it.

*Where prompts come from.* A small set that comes with the project, local files, or any data set of the `datasets`
library, in a form of gyms/row_formats/chat.py or this gym's own. A row of it is `{"prompt": text or messages}` with
optional `id`, `rubric` (packs joined by `+`), `criteria` (further lines of the rubric, for this prompt) and `checks`
(names of checks.py). The rubric is data for the judge and is validated there.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from itertools import islice
from pathlib import Path
from typing import Any, ClassVar

from pydantic import ConfigDict, Field, model_validator

from gyms.api import CaseResult, Message, Needs, Score, Services, Split, Status, Task, message
from gyms.chat.checks import CHECKS, MAX_CHARS, has_content
from gyms.columns import Reads, RowSettings
from gyms.heldout import is_heldout
from gyms.row_gym import RowGym
from gyms.rows import Located, read_file, read_source, require_two_files

__all__ = ["Chat", "ChatSettings"]

DEFAULT_CHECKS = ("no_opening_praise", "no_self_justification")
"""Checked of every answer: what the prescriptive rubric forbids, as far as code can see it."""
_BUILTIN = Path(__file__).parent / "prompts.jsonl"
_ROLES = {"system", "user", "assistant"}


class ChatSettings(RowSettings):
    """Where the prompts come from and what they are judged by."""

    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True)

    source: str = ""
    """Data set for `datasets.load_dataset`: a hub name or a folder. Empty: the prompts that come with the project."""
    config: str = ""
    """Configuration of the data set; empty: its default."""
    dataset_split: str = "train"
    """Split of the data set; `heldout_fraction` of its prompts are held out."""
    heldout_fraction: float = Field(default=0.1, gt=0.0, lt=1.0)
    """Fraction of a data set's prompts that is held out, chosen by a hash of the prompt. Where it is given and there is
    no `heldout_file`: of `train_file`."""
    max_prompts: int | None = Field(default=None, ge=2)
    """Read only this many rows of the data set. None: all."""
    train_file: Path | None = None
    """Local file of train rows instead of a data set: JSONL, JSON, Parquet or CSV, packed or not."""
    heldout_file: Path | None = None
    """Local file of held-out rows; needs `train_file`."""
    rubric: str = ""
    """Rubric packs joined by `+` for every prompt. Empty: what the row names, else `core+prescriptive`."""
    checks: tuple[str, ...] = ()
    """Checks of every answer besides the row's own and the default ones."""
    suffix: str = ""
    """Appended to every prompt."""

    @model_validator(mode="after")
    def _one_source(self) -> ChatSettings:
        require_two_files(self.train_file, self.heldout_file, split="heldout_fraction")
        if self.train_file and not self.heldout_file and "heldout_fraction" not in self.model_fields_set:
            raise ValueError(
                "train_file is given without heldout_file; give both, or hold out a share: heldout_fraction = 0.1"
            )
        if self.heldout_file and not self.train_file:
            raise ValueError("heldout_file is given without train_file; local data needs both files")
        if self.source and self.train_file:
            raise ValueError("source and train_file are both given; prompts come from one place")
        _require_known(self.checks, "checks")
        return self


class Chat(RowGym):
    """Asks open questions; a judge gives the reward. See the head of this file."""

    Settings = ChatSettings
    settings: ChatSettings
    reads = Reads(kind="chat", wanted=("prompt",), own=(("prompt",),), optional=("id", "rubric", "criteria", "checks"))
    file_setting, share_setting = "train_file", "heldout_fraction"
    needs = Needs(judge=True)
    baseline = 1.0
    """Code cannot tell a good answer from a bad one: short nonsense holds every checkable property."""
    components: ClassVar = {
        **{name: f"1 where the property {name!r} holds" for name in CHECKS},
        "judge_wins": "fraction of the judged comparisons with siblings that were won",
        "judge_ties": "fraction of them that were tied",
    }

    def __init__(self, settings: ChatSettings, services: Services) -> None:
        super().__init__(settings, services)
        self._splits: dict[Split, Sequence[Task]] = {}

    def tasks(self, split: Split) -> Sequence[Task]:
        """Read at the first call, so that scoring workers, which never ask, need no data."""
        if not self._splits:
            found: dict[Split, list[Task]] = {"train": [], "heldout": []}
            seen: set[str] = set()
            for place, rows in self._sources():
                for task in self.tasks_of(rows):
                    problem = self.fingerprint(task)
                    if problem not in seen:  # data sets repeat prompts; the first one stays
                        seen.add(problem)
                        split_of = place or self._split_of(problem)
                        number = len(found[split_of])
                        found[split_of].append(replace(task, id=f"{split_of}/{task.id or number}"))
            self._splits.update(found)
        return self._splits[split]

    def task_of(self, row: Mapping[str, Any], where: str) -> Task:
        if self.settings.source:  # what else a data set has under the names of this gym's columns is not for it
            named = {"prompt", *self.settings.columns}
            row = {name: value for name, value in row.items() if name in named}
            prompt = row.get("prompt")
            if isinstance(prompt, Sequence) and not isinstance(prompt, str):
                row = {**row, "prompt": _up_to_last_user(prompt)}
        return make_task(row, str(row.get("id") or ""), self.settings, where)

    def score(self, task: Task, response: str) -> Score:
        names = task.data.get("checks", ())
        if not isinstance(names, list | tuple) or not all(_is_known(name) for name in names):
            return Score(status=Status.BAD_TASK, detail=f"task {task.id!r}: data['checks'] must name chat_checks")
        if len(response) > MAX_CHARS:
            return Score(status=Status.TOO_COMPLEX, detail=f"the response has over {MAX_CHARS} characters")
        flag = "" if has_content(response) else "contentless"
        if not flag and any(_normal(response) == _normal(m["content"]) for m in task.prompt):
            flag = "echo"
        if flag:
            return Score(status=Status.OK, value=0.0, flags=frozenset({flag}))
        held = {name: bool(CHECKS[name](response)) for name in dict.fromkeys((*DEFAULT_CHECKS, *names))}
        return Score(
            status=Status.OK,
            value=sum(held.values()) / len(held),
            components={name: float(is_held) for name, is_held in held.items()},
            cases=tuple(CaseResult(id=name, passed=is_held) for name, is_held in held.items()),
            flags=frozenset({"unjudged"}),
        )

    def fingerprint(self, task: Task) -> str:
        """The prompt's words, whatever their case and spacing."""
        return _normal("\n".join(m["content"] for m in task.prompt)).casefold()

    def _split_of(self, problem: str) -> Split:
        return "heldout" if is_heldout(problem, fraction=self.settings.heldout_fraction) else "train"

    def _sources(self) -> Iterable[tuple[Split | None, Iterable[Located]]]:
        """Rows with the split that they belong to; None: each by its prompt."""
        settings = self.settings
        if settings.source:
            rows = read_source(
                settings.source, settings.config, settings.dataset_split, instead="train_file and heldout_file"
            )
            yield None, islice(rows, settings.max_prompts)
        elif settings.train_file and settings.heldout_file:
            yield "train", read_file(settings.train_file)
            yield "heldout", read_file(settings.heldout_file)
        elif settings.train_file:
            yield None, read_file(settings.train_file)
        else:
            own = [(where, row) for where, row in read_file(_BUILTIN) if isinstance(row, Mapping)]
            for split in ("train", "heldout"):
                yield split, [(where, row) for where, row in own if row["split"] == split]


def make_task(row: Mapping[str, Any], task_id: str, settings: ChatSettings, where: str) -> Task:
    """The task of one row; ValueError naming where the row stands if it is malformed."""
    prompt = _messages(row.get("prompt"), where)
    if settings.suffix:
        prompt = (*prompt[:-1], message("user", prompt[-1]["content"] + settings.suffix))
    rubric, criteria, checks = row.get("rubric", ""), row.get("criteria", ()), row.get("checks", ())
    if not isinstance(rubric, str):
        raise ValueError(f"{where}: 'rubric' must be packs joined by '+', got {rubric!r:.60}")
    if not isinstance(criteria, list | tuple) or not all(isinstance(line, Mapping) for line in criteria):
        raise ValueError(f"{where}: 'criteria' must be a list of tables, got {criteria!r:.60}")
    if not isinstance(checks, list | tuple):
        raise ValueError(f"{where}: 'checks' must be a list of names, got {checks!r:.60}")
    _require_known(checks, where)
    return Task(
        id=task_id,
        prompt=prompt,
        data={
            "rubric": settings.rubric or rubric,
            "criteria": tuple(dict(line) for line in criteria),
            "checks": tuple(dict.fromkeys((*checks, *settings.checks))),
        },
    )


def _messages(prompt: Any, where: str) -> tuple[Message, ...]:
    if isinstance(prompt, str) and prompt.strip():
        return (message("user", prompt),)
    if isinstance(prompt, Sequence) and prompt and not isinstance(prompt, str):
        found = [m for m in prompt if isinstance(m, Mapping) and m.get("role") in _ROLES]
        if len(found) == len(prompt) and all(isinstance(m.get("content"), str) for m in found):
            if found[-1]["role"] == "user":
                return tuple(message(m["role"], m["content"]) for m in found)
            raise ValueError(f"{where}: the last message of 'prompt' must be the user's")
    raise ValueError(f"{where}: 'prompt' must be text, or messages of role and content; got {prompt!r:.80}")


def _up_to_last_user(messages: Sequence[Any]) -> list[Any]:
    """A conversation without what follows the user's last message."""
    places = [i for i, m in enumerate(messages) if isinstance(m, Mapping) and m.get("role") == "user"]
    return list(messages[: places[-1] + 1]) if places else list(messages)


def _require_known(checks: Iterable[Any], where: str) -> None:
    unknown = [name for name in checks if not _is_known(name)]
    if unknown:
        raise ValueError(f"{where}: there is no check {unknown[0]!r}. Known checks: {', '.join(CHECKS)}")


def _is_known(name: Any) -> bool:
    return isinstance(name, str) and name in CHECKS


def _normal(text: str) -> str:
    return " ".join(text.split())
