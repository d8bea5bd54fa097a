"""The `tools` environment: errands in simulated worlds (calendar, shop, bank, files, travel), judged by their end.

*Tasks* are made backwards: a first state is drawn, then changes that are possible in it, each with a sentence that
determines it; the sentences are the prompt, the changed state the goal. Task and goal are a pure function of (seed,
split, index), so there are as many as one asks for, and a hash of the prompt decides the split.

*The reward* is 1 where the final state is the goal and 0 elsewhere: a wish that was not granted and a change that
nobody wanted count alike, so a policy that tries everything gains nothing. `fraction` is how much of the way from the
first state to the goal was gone (gyms/tools/world.py measures it); with `partial_credit` it is the reward.

*Faults on purpose.* Some calls do nothing and say that the service is busy (`fault_rate`). Which ones is the task's:
the n-th well-formed call of the world's tools. Trying again is all that is wanted. *Dialects* spell tools differently
from task to task (gyms/tools/dialect.py).

*A user who is asked.* With `user = "script"` or `"model"` some wishes leave one thing out, which the user tells when
the tool `ask_user` asks for it (gyms/tools/user.py). Nobody is asked by a turn without a call: that one is the answer,
as everywhere. A problem is what was meant, not what was said of it: it is in one split with and without such a user.

Left out: errands that cross worlds; a user who sees what was done; a rubric for the last words, unread here.
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import lru_cache
from typing import Any, ClassVar, Literal

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
from gyms.episodes.calling import Calling
from gyms.episodes.episode import Unplayable
from gyms.heldout import is_heldout
from gyms.lazy import DrawnSettings, DrawnTasks
from gyms.tools.bank import Bank
from gyms.tools.calendar import Calendar
from gyms.tools.dialect import DIALECTS, canonical, spelled, spelled_arguments, spelled_name, spelled_text
from gyms.tools.files import Files
from gyms.tools.shop import Shop
from gyms.tools.travel import Travel
from gyms.tools.user import ASK_USER, TOPICS, answer, ask_user, persona, question
from gyms.tools.world import Errand, State, World, distance

__all__ = ["WORLDS", "Tools", "ToolsSettings"]

WORLDS: Mapping[str, World] = {world.name: world for world in (Calendar(), Shop(), Bank(), Files(), Travel())}
BUSY = "Error: the service is busy, nothing was done. Try again."
_MAX_DRAWS = 10_000
_MAX_ERRAND_DRAWS = 200
_MAX_FAULTY = 40
"""Calls of an episode that may be faulty; later ones never are."""

WorldName = Literal["calendar", "shop", "bank", "files", "travel"]


class ToolsSettings(DrawnSettings):
    """Which errands are asked, and how many."""

    worlds: tuple[WorldName, ...] = ("calendar", "shop", "bank", "files", "travel")
    """Worlds that tasks are drawn from, alike."""
    min_errands: int = Field(default=1, ge=1, le=8)
    """Fewest errands of a task."""
    max_errands: int = Field(default=3, ge=1, le=8)
    """Most errands of a task; in the world `bank` at most 7."""
    fault_rate: float = Field(default=0.1, ge=0.0, le=0.5)
    """Fraction of the calls that do nothing and say that the service is busy."""
    dialects: bool = True
    """Spell tools and arguments differently from task to task."""
    user: Literal["none", "script", "model"] = "none"
    """Who can be asked: nobody, with everything in the prompt; or a user who left out what half of the wishes need,
    where something can be left out, and tells it when `ask_user` asks for it. A script plays that user, or a model
    (in a run `persona.source` says which; where no model is at hand, the script stands in)."""
    partial_credit: bool = False
    """Pay `fraction` instead of 1 for all and 0 for less."""

    @model_validator(mode="after")
    def _check_together(self) -> ToolsSettings:
        if self.min_errands > self.max_errands:
            raise ValueError(f"min_errands = {self.min_errands} is above max_errands = {self.max_errands}")
        if not self.worlds or len(set(self.worlds)) < len(self.worlds):
            raise ValueError(f"worlds = {list(self.worlds)}: name at least one world, each once")
        for name in self.worlds:
            if self.max_errands > (most := WORLDS[name].max_errands):
                raise ValueError(
                    f"max_errands = {self.max_errands}: a task in the world {name!r} has at most {most}; lower "
                    f"max_errands, or leave {name!r} out of worlds"
                )
        return self


class Tools(Environment):
    """Asks for errands in simulated worlds; see the head of this file."""

    Settings = ToolsSettings
    components: ClassVar[Mapping[str, str]] = {
        "fraction": "part of the way from the first state to the wanted one",
        "unwanted": "facts of the final state that nobody wanted, and that were not there at first",
        "num_calls": "well-formed calls, questions among them",
        "num_questions": "questions to the user",
    }
    max_turns = 60
    settings: ToolsSettings

    def tasks(self, split: Split) -> Sequence[Task]:
        """Lazy: a task is drawn when it is indexed."""
        return _Tasks(self.settings, split)

    def tools(self, task: Task) -> Sequence[Tool]:
        tools = _spelled(task.data["world"], task.data["dialect"], "withheld" in task.data)
        if self.settings.user != "model" or "withheld" not in task.data:
            return tools
        *others, ask = tools
        said = "\n".join(m["content"] for m in task.prompt)
        return (*others, replace(ask, persona=persona(said, task.data["withheld"])))

    def fingerprint(self, task: Task) -> str:
        """The prompt as it is where nothing is left out."""
        meant = task.data.get("meant")
        return super().fingerprint(task if meant is None else replace(task, prompt=(message("user", meant),)))

    def start(self, task: Task, seed: int) -> Episode:
        if problem := _what_is_wrong(task.data):
            return Unplayable(f"task {task.id!r}: {problem}")
        return _Errands(task, self.tools(task), self.settings)

    def gold_turns(self, task: Task) -> Sequence[Turn]:
        """What was left out is asked for; then the calls of the task, each in its turn, again where it is busy."""
        topics = dict.fromkeys(gap["topic"] for gap in task.data.get("withheld", ()))
        calls = [(ASK_USER, {"question": question(topic)}) for topic in topics]
        num_served = 0
        for name, arguments in task.data["calls"]:
            while num_served in task.data["faults"]:
                calls.append((name, arguments))
                num_served += 1
            calls.append((name, arguments))
            num_served += 1
        return [*(_turn(number, *call, task.data["dialect"]) for number, call in enumerate(calls)), Turn(text="Done.")]


class _Errands(Calling):
    """One attempt: the state so far, and how many calls there were."""

    def __init__(self, task: Task, tools: Sequence[Tool], settings: ToolsSettings) -> None:
        super().__init__(tools)
        self._data = task.data
        self._settings = settings
        self._world = WORLDS[task.data["world"]]
        self._state: State = task.data["state"]
        self._num_questions = 0

    def run(self, call: Call) -> str:
        assert call.arguments is not None
        known = (*self._world.tools, ask_user(self._world.topics))
        name, arguments = canonical(call.tool, call.arguments, known, self._data["dialect"])
        if name == ASK_USER:
            self._num_questions += 1
            if call.heard is not None:
                return call.heard
            return answer(self._data["withheld"], arguments["question"], self._world.topics)
        if self.num_calls - self._num_questions - 1 in self._data["faults"]:
            return BUSY
        result = self._world.call(self._state, name, arguments)
        self._state = result.state
        is_error = result.text.startswith("Error: ")  # which may say what tool to look with
        return spelled_text(result.text, known, self._data["dialect"]) if is_error else result.text

    def score(self) -> Score:
        first, goal = self._facts(self._data["state"]), self._facts(self._data["goal"])
        final = self._facts(self._state)
        left = distance(final, goal)
        fraction = max(0.0, 1.0 - left / max(1, distance(first, goal)))
        return Score(
            status=Status.OK,
            value=fraction if self._settings.partial_credit else float(left == 0),
            components={
                "fraction": fraction,
                "unwanted": float((final - goal - first).total()),
                "num_calls": float(self.num_calls),
                "num_questions": float(self._num_questions),
            },
        )

    def _facts(self, state: State) -> Counter[str]:
        return self._world.facts(state)


class _Tasks(DrawnTasks):
    """The tasks of a split, drawn one by one."""

    def make(self, place: int) -> Task:
        draw = random.Random(f"tools {self._settings.seed} {self._split} {place}")
        world = WORLDS[draw.choice(self._settings.worlds)]  # before all else: a draw of no use must not favour others
        num_errands = draw.randint(self._settings.min_errands, self._settings.max_errands)
        for _ in range(_MAX_DRAWS):
            asked = _drawn(draw, world, num_errands, self._settings)
            if asked is None:
                continue
            prompt, data = asked
            meant, share = data.get("meant", prompt), self._settings.heldout_fraction
            held = is_heldout(meant, fraction=share, seed=self._settings.split_seed)
            if held == (self._split == "heldout"):
                return Task(id=f"{self._split}/{place}", prompt=(message("user", prompt),), data=data)
        raise ValueError(f"no {self._split} task was found in {_MAX_DRAWS} draws; lower min_errands")


@lru_cache(maxsize=64)
def _spelled(world: str, dialect: str, has_user: bool) -> tuple[Tool, ...]:
    known = (*WORLDS[world].tools, *((ask_user(WORLDS[world].topics),) if has_user else ()))
    return tuple(spelled(tool, known, dialect) for tool in known)


def _drawn(
    draw: random.Random, world: World, num_errands: int, settings: ToolsSettings
) -> tuple[str, dict[str, Any]] | None:
    """Prompt and data of a task; None where the draw was of no use."""
    state = first = world.begin(draw)
    facts = first_facts = world.facts(first)
    errands: list[Errand] = []
    for _ in range(_MAX_ERRAND_DRAWS):
        errand = world.errand(draw, state)
        if errand is None or errand.subject in {known.subject for known in errands}:
            continue
        behind = state
        for name, arguments in errand.calls:
            behind = world.call(behind, name, arguments).state
        if (facts_behind := world.facts(behind)) == facts:
            continue
        state, facts = behind, facts_behind
        errands.append(errand)
        if len(errands) == num_errands:
            break
    if len(errands) < num_errands or facts == first_facts:
        return None
    data = {
        "world": world.name,
        "state": first,
        "goal": state,
        "calls": [[name, dict(arguments)] for errand in errands for name, arguments in errand.calls],
        "dialect": draw.choice(sorted(DIALECTS)) if settings.dialects else "plain",
        "faults": [place for place in range(_MAX_FAULTY) if draw.random() < settings.fault_rate],
    }
    meant = _prompt(world, [errand.wish for errand in errands])
    if settings.user == "none":
        return meant, data
    # Drawn apart: what is left out must not change which problems are found.
    wishes, withheld = _left_out(random.Random(f"left out {settings.seed} {meant}"), errands)
    prompt = f"{_prompt(world, wishes)}\nWhere I left something out, ask me."
    return prompt, {**data, "withheld": withheld, "meant": meant}


def _left_out(draw: random.Random, errands: Sequence[Errand]) -> tuple[list[str], list[dict[str, str]]]:
    """The wishes as a user says them who leaves things out, and what those are."""
    wishes: list[str] = []
    withheld: list[dict[str, str]] = []
    for number, errand in enumerate(errands, start=1):
        others = [other.wish for other in errands if other is not errand]
        gaps = [gap for gap in errand.gaps if not any(gap.is_told_by(wish) for wish in others)]
        gap = draw.choice(gaps) if gaps and draw.random() < 0.5 else None
        wishes.append(gap.wish if gap else errand.wish)
        if gap:
            told = gap.told if len(errands) == 1 else f"{number}. {gap.told}"
            withheld.append({"topic": gap.topic, "told": told})
    return wishes, withheld


def _turn(number: int, name: str, arguments: Mapping[str, Any], dialect: str) -> Turn:
    """One call, spelled in a dialect."""
    tool, spelled_out = spelled_name(name, dialect), spelled_arguments(arguments, dialect)
    return Turn(text="", calls=(Call(id=f"call_{number}", tool=tool, arguments=spelled_out),))


def _prompt(world: World, wishes: Sequence[str]) -> str:
    if len(wishes) == 1:
        return f"{world.about} Do this with the tools, and nothing else: {wishes[0]}"
    steps = "\n".join(f"{number}. {wish}" for number, wish in enumerate(wishes, start=1))
    return f"{world.about} Do the following with the tools, in this order, and nothing else:\n{steps}"


def _what_is_wrong(data: Mapping[str, Any]) -> str:
    """Why the data of a stored task cannot be played; empty where they can."""
    if not isinstance(data.get("world"), str) or data["world"] not in WORLDS:
        return f"data['world'] must be one of {sorted(WORLDS)}, got {data.get('world')!r:.40}"
    if not isinstance(data.get("dialect"), str) or data["dialect"] not in DIALECTS:
        return f"data['dialect'] must be one of {sorted(DIALECTS)}, got {data.get('dialect')!r:.40}"
    if not isinstance(data.get("state"), Mapping) or not isinstance(data.get("goal"), Mapping):
        return "data['state'] and data['goal'] must be states of the world"
    if not isinstance(data.get("faults"), Sequence):
        return "data['faults'] must be a list of whole numbers"
    withheld = data.get("withheld", [])
    if not isinstance(withheld, Sequence) or not all(_is_withheld(gap) for gap in withheld):
        return "data['withheld'] must be a list of what the user left out, each with its topic and what is told of it"
    return ""


def _is_withheld(gap: Any) -> bool:
    return isinstance(gap, Mapping) and gap.get("topic") in list(TOPICS) and isinstance(gap.get("told"), str)
