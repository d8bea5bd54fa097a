"""Whether a task can be asked: its prompt is there, can be rendered, and is no longer than it may be.

Data kill runs late: one row of seven thousand that is too long ends the run in the step that draws it. So every prompt
that a run can draw is rendered and measured before the run starts: whole splits up to MAX_WHOLE tasks; of larger ones
(a gym may generate 10^15 tasks) what the run's own draws will take, up to MAX_DRAWS of them; beyond that a prompt is
measured when it is drawn. `rollout.long_prompts` says what becomes of those that cannot be asked; `Askable.fits` is the
one place that decides, a pure function of the task, and the draws of a step ask it again: nothing that was measured is
stored, so nothing stored can be stale. Curated conversations (`ptx.source`) are looked through in the same way.

Faults of a gym that no rule makes good are refused whatever the setting: something that is no task, that cannot be sent
to a scoring worker, or has the name of another task.
"""

from __future__ import annotations

import pickle
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

from configs.schema import Config
from gyms.api import Gym, Split, Task, Tool
from gyms.mixture import GymEntry, draws, heldout
from rl.personas import longest_persona, told
from rl.ptx import TRAIN_STREAM, WARMUP_STREAM, PtxData
from rollout.chat import ChatFormat

__all__ = ["Askable", "Problem", "check_conversations", "check_prompts"]

MAX_WHOLE = 20_000
"""Splits of at most so many tasks are measured as a whole; as many are compared by `gyms.mixture.check_disjoint`."""
MAX_DRAWS = 100_000
"""Draws of a run that are looked at in advance, where a split is larger than that."""
CHUNK = 256
"""Prompts that are tokenised together."""
SILENT_SECONDS = 10.0
"""Checks that take longer say how far they are, this often."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Problem:
    """Why a task cannot be asked."""

    kind: Literal["long", "empty", "unrenderable", "persona"]
    text: str
    """What is the matter, for people."""
    num_tokens: int = 0
    """Length of a prompt, or of a persona's, that is too long."""


class Progress:
    """Says how far a long check is, every few seconds; a quick one stays silent.

    Args:
        say: takes a line.
        what: what is counted.
        total: how many there are.
    """

    def __init__(self, say: Callable[[str], None], what: str, total: int) -> None:
        self._say, self._what, self._total = say, what, total
        self._done, self._told = 0, time.monotonic()

    def advance(self, num: int) -> None:
        """So many more are done."""
        self._done += num
        if time.monotonic() - self._told > SILENT_SECONDS:
            self._told = time.monotonic()
            self._say(f"{self._what}: {self._done} of {self._total} measured")


class Askable:
    """Which tasks can be asked, under a chat format and a limit.

    Args:
        chat: renders prompts.
        gyms: by name; their tools stand in prompts.
        max_tokens: longest prompt.
        rule: `rollout.long_prompts`.
        max_persona_tokens: longest prompt of a persona that is asked nothing (`rl.personas`); None: not known here.
    """

    def __init__(
        self,
        chat: ChatFormat,
        gyms: Mapping[str, Gym],
        *,
        max_tokens: int,
        rule: Literal["refuse", "drop"],
        max_persona_tokens: int | None = None,
    ) -> None:
        self._chat = chat
        self._gyms = gyms
        self.max_tokens = max_tokens
        self.rule = rule
        self.max_persona_tokens = max_persona_tokens

    @classmethod
    def of(cls, config: Config, chat: ChatFormat, gyms: Mapping[str, Gym]) -> Askable:
        """As a config has it."""
        return cls(
            chat,
            gyms,
            max_tokens=config.rollout.max_prompt_tokens,
            rule=config.rollout.long_prompts,
            max_persona_tokens=longest_persona(config),
        )

    def problems(self, gym: str, tasks: Sequence[Task]) -> list[Problem | None]:
        """What keeps each of a gym's tasks from being asked."""
        tools = [self._gyms[gym].tools(task) for task in tasks]
        lengths = self._chat.prompt_lengths([task.prompt for task in tasks], tools)
        return [
            self._problem(task, length) or self._unplayable(own)
            for task, length, own in zip(tasks, lengths, tools, strict=True)
        ]

    def _unplayable(self, tools: Sequence[Tool]) -> Problem | None:
        """What keeps a model from playing whom a task's tools ask."""
        for tool in tools:
            if self.max_persona_tokens is None or not tool.persona:
                continue
            try:
                length = len(self._chat.prompt_ids(told(tool.persona, ""), alone=True))
            except ValueError as error:
                return Problem(kind="unrenderable", text=f"the persona of its tool {tool.name!r}: {error}")
            if length > self.max_persona_tokens:
                text = f"the persona of its tool {tool.name!r} has {length} tokens"
                return Problem(kind="persona", text=text, num_tokens=length)
        return None

    def _problem(self, task: Task, length: int | ValueError) -> Problem | None:
        if isinstance(length, ValueError):
            return Problem(kind="unrenderable", text=str(length))
        if not length or not any(m["content"].strip() for m in task.prompt):
            return Problem(kind="empty", text="its prompt is empty")
        if length > self.max_tokens:
            return Problem(kind="long", text=f"its prompt has {length} tokens", num_tokens=length)
        return None

    def fits(self, gym: str, task: Task) -> bool:
        """Whether a task can be asked.

        Raises:
            ValueError: it cannot, and rollout.long_prompts is "refuse".
        """
        (problem,) = self.problems(gym, [task])
        if problem is not None and self.rule == "refuse":
            raise ValueError(f"gym {gym!r}: task {task.id!r} cannot be asked: {problem.text}; {self.advice(problem)}")
        return problem is None

    def advice(self, problem: Problem) -> str:
        """What to do about a problem."""
        raised = ""
        if problem.kind == "long":
            raised = f"raise rollout.max_prompt_tokens = {self.max_tokens} to {problem.num_tokens}, or "
        if problem.kind == "persona":
            assert self.max_persona_tokens is not None
            missing = problem.num_tokens - self.max_persona_tokens
            raised = f"raise model.context_length or lower persona.max_tokens by {missing}, or "
        return f'{raised}set rollout.long_prompts = "drop" to draw others instead'


@dataclass(slots=True)
class _Seen:
    """What was found in a split."""

    num: int = 0
    problems: dict[str, list[tuple[str, Problem]]] = field(default_factory=dict)
    """Task ids and their problems, by kind."""

    def add(self, task: Task, problem: Problem | None) -> None:
        self.num += 1
        if problem is not None:
            self.problems.setdefault(problem.kind, []).append((task.id, problem))


def check_prompts(
    config: Config,
    entries: Sequence[GymEntry],
    index: int,
    askable: Askable,
    say: Callable[[str], None] = lambda text: None,
) -> list[str]:
    """Measure what the run can draw from gym number `index`; lines for people on what will be left out.

    Raises:
        ValueError: a prompt cannot be asked and the rule is to refuse, or none of a split can.
    """
    entry = entries[index]
    where = f"gyms.{index} ({entry.name})"
    ids: dict[str, str] = {}
    notes: list[str] = []
    for split in ("train", "heldout"):
        seen = _Seen()
        for tasks in _chunks(config, entries, entry, split, say):
            for task in tasks:
                _check_task(where, split, task, ids)
            for task, problem in zip(tasks, askable.problems(entry.name, tasks), strict=True):
                seen.add(task, problem)
        notes += _told(where, split, seen, askable)
    num_heldout = len(entry.gym.tasks("heldout"))
    if num_heldout < config.eval.num_tasks:
        notes.append(
            f"{where} has {num_heldout} held-out tasks, fewer than eval.num_tasks = {config.eval.num_tasks}: all of "
            "them are used"
        )
    return notes


def check_conversations(config: Config, data: PtxData, say: Callable[[str], None] = lambda text: None) -> list[str]:
    """The same for curated conversations: measure those that the run can draw.

    Raises:
        ValueError: one is of no use and ptx.long_conversations is "refuse", or none is of use.
    """
    drawn = sorted(_drawn_conversations(config, data)) if len(data) > MAX_WHOLE else range(len(data))
    progress = Progress(say, "ptx.source, conversations", len(drawn))
    found: dict[int, str] = {}
    for first in range(0, len(drawn), CHUNK):
        chunk = drawn[first : first + CHUNK]
        found |= data.problems(chunk)
        progress.advance(len(chunk))
    if not found:
        return []
    example = min(found)
    line = (
        f"ptx.source: {len(found)} of {len(drawn)} conversations are of no use (conversation {example} "
        f"{found[example]})"
    )
    if config.ptx.long_conversations == "refuse":
        raise ValueError(f'{line}; mend the data, or set ptx.long_conversations = "drop" to take others instead')
    for position in range(config.ptx.num_conversations or 1):  # a small fixed sample may be all of no use
        data.drawn(position, min(config.ptx.num_conversations or len(data), len(data)), seed=config.seed, stream=0)
    return [f"{line}: dropped"]


def _drawn_conversations(config: Config, data: PtxData) -> set[int]:
    """What the first MAX_DRAWS positions of each stream show."""
    ptx, warmup = config.ptx, config.warmup
    num_updates = config.num_steps * config.learner.num_minibatches if ptx.coef else 0
    streams = (
        (TRAIN_STREAM, num_updates * ptx.batch_size, min(ptx.num_conversations or len(data), len(data))),
        (WARMUP_STREAM, warmup.num_steps * warmup.batch_size, len(data)),
    )
    return {
        data.drawn(position, size, seed=config.seed, stream=stream)
        for stream, num, size in streams
        for position in range(min(num, MAX_DRAWS))
    }


def _chunks(
    config: Config, entries: Sequence[GymEntry], entry: GymEntry, split: Split, say: Callable[[str], None]
) -> Iterator[list[Task]]:
    """The tasks of a split, or those that the run will draw from it."""
    tasks = entry.gym.tasks(split)
    size = len(tasks)
    if size <= MAX_WHOLE:
        progress = Progress(say, f"{entry.name}, {split} prompts", size)
        for first in range(0, size, CHUNK):
            chunk = [tasks[place] for place in range(first, min(first + CHUNK, size))]
            yield chunk
            progress.advance(len(chunk))
        return
    if split == "heldout":
        yield [draw.task for draw in heldout([entry], min(config.eval.num_tasks, MAX_WHOLE), config.seed)]
        return
    num = config.rollout.prompts_per_step
    num_steps = min(config.num_steps, MAX_DRAWS // num)
    progress = Progress(say, f"{entry.name}, prompts that this run draws", num_steps * num)
    known: set[str] = set()
    for step in range(num_steps):
        drawn = {draw.task.id: draw.task for draw in draws(config.seed, step, num, entries) if draw.gym == entry.name}
        yield [task for name, task in drawn.items() if name not in known]
        known |= drawn.keys()
        progress.advance(num)


def _check_task(where: str, split: str, task: Task, ids: dict[str, str]) -> None:
    """A task is one, has a name of its own, and can be sent to a worker. `ids`: names seen so far, and their split."""
    if not isinstance(task, Task):
        raise ValueError(f"{where}: a {split} task is of type {type(task).__name__}, expected gyms.api.Task")
    if not isinstance(task.id, str) or any(0xD800 <= ord(c) < 0xE000 for c in task.id):
        raise ValueError(f"{where}: a {split} task has the id {task.id!r:.80}, expected text")
    if task.id in ids:
        raise ValueError(
            f"{where}: a {ids[task.id]} task and a {split} task have the same id {task.id!r}; ids must be unique "
            "within a gym"
        )
    ids[task.id] = split
    try:
        pickle.dumps(task)
    except Exception as error:  # a plug-in's data may raise anything
        raise ValueError(
            f"{where}: {split} task {task.id!r} cannot be pickled for its scoring worker: {type(error).__name__}: "
            f"{error}; keep to plain data in Task.data"
        ) from error


def _told(where: str, split: str, seen: _Seen, askable: Askable) -> list[str]:
    """What is to be said of a split; ValueError where the run cannot go on."""
    notes = []
    word = "held-out" if split == "heldout" else split
    for kind, found in seen.problems.items():
        worst_id, worst = max(found, key=lambda pair: pair[1].num_tokens)
        what = {
            "long": f"are longer than rollout.max_prompt_tokens = {askable.max_tokens}",
            "empty": "are empty",
            "unrenderable": "cannot be rendered",
            "persona": "have a persona that leaves no room for an answer of persona.max_tokens",
        }[kind]
        line = f"{where}: {len(found)} of {seen.num} {word} prompts {what} (task {worst_id!r}: {worst.text})"
        if askable.rule == "refuse":
            raise ValueError(f"{line}; {askable.advice(worst)}")
        if len(found) == seen.num:
            raise ValueError(f"{line}; that leaves no {word} tasks")
        notes.append(f"{line}: dropped")
    if seen.num and sum(map(len, seen.problems.values())) == seen.num:
        raise ValueError(f"{'; '.join(notes)}; that leaves no {word} tasks")
    return notes
