"""check_gym plays an environment's episodes: it passes a good one and names what is broken in a bad one."""

from __future__ import annotations

import itertools
import json
import os
import random
import subprocess
import tempfile
import threading
from collections.abc import Sequence
from typing import Any, ClassVar

import pytest

from gyms.api import (
    Environment,
    Episode,
    GymSettings,
    Needs,
    Reply,
    Score,
    Services,
    Split,
    Status,
    Task,
    Tool,
    Turn,
    message,
    refusal,
    tool_result,
)
from gyms.episodes.arguments import read_call
from gyms.episodes.random_turns import random_turns
from gyms.testing import GymContractError, check_gym

OPEN = Tool(
    name="open",
    description="Opens a drawer.",
    parameters={
        "type": "object",
        "properties": {"drawer": {"type": "integer", "minimum": 1, "maximum": 3}},
        "required": ["drawer"],
    },
)


class Search(Episode):
    """A word lies in one of three drawers; say it."""

    def __init__(self, task: Task) -> None:
        self.task = task
        self.said: str | None = None

    def step(self, turn: Turn) -> Reply:
        if not turn.calls:
            self.said = turn.text
            return Reply(is_done=True)
        return Reply(
            messages=[  # type: ignore[arg-type]  # a list is as good
                refusal(call, [OPEN])
                if call.arguments is None
                else tool_result(call, self.task.data["drawers"][int(call.arguments["drawer"]) - 1])
                for call in turn.calls
            ]
        )

    def score(self) -> Score:
        return Score(status=Status.OK, value=float(self.said == self.task.data["word"]))


class Good(Environment):
    max_turns = 5
    episode: ClassVar[type[Search]] = Search

    def tasks(self, split: Split) -> Sequence[Task]:
        words = ["pebble", "thimble", "feather", "acorn"] if split == "train" else ["marble", "ribbon"]
        return [
            Task(
                id=word,
                prompt=(message("user", f"Drawer chest {len(word)}{word[0]}: which word lies in it?"),),
                data={"word": word, "drawers": ["nothing"] * place + [word] + ["nothing"] * (2 - place)},
            )
            for word, place in zip(words, itertools.cycle(range(3)), strict=False)
        ]

    def tools(self, task: Task) -> Sequence[Tool]:
        return [OPEN]

    def start(self, task: Task, seed: int) -> Episode:
        return self.episode(task)

    def gold_turns(self, task: Task) -> Sequence[Turn] | None:
        drawer = task.data["drawers"].index(task.data["word"]) + 1
        call = read_call([OPEN], call_id="call_0", tool="open", arguments={"drawer": drawer})
        return [Turn(text="", calls=(call,)), Turn(text=task.data["word"])]


def with_episode(**methods: Any) -> type[Good]:
    """Good, with an episode of which some methods are broken."""
    return type("Broken", (Good,), {"episode": type("Broken", (Search,), methods)})


class GoldIsWrong(Good):
    def gold_turns(self, task: Task) -> Sequence[Turn]:
        return [Turn(text="nothing")]


class GoldIsTooLong(Good):
    max_turns = 1


class GoldIsIllFormed(Good):
    def gold_turns(self, task: Task) -> Sequence[Turn]:
        call = read_call([OPEN], call_id="call_0", tool="open", arguments={"drawer": 4})
        return [Turn(text="", calls=(call,)), Turn(text=task.data["word"])]


class GoldNeedsLuck(Good):
    def start(self, task: Task, seed: int) -> Episode:
        return Search(task if seed == 0 else self.tasks("heldout")[0])


class NoTurns(Good):
    max_turns = 0


class ToolsMove(Good):
    counter = itertools.count()

    def tools(self, task: Task) -> Sequence[Tool]:
        return [Tool(name=f"open{next(self.counter)}", description="", parameters={"type": "object"})]


class SchemaIsNone(Good):
    def tools(self, task: Task) -> Sequence[Tool]:
        return [Tool(name="open", description="", parameters={"type": "drawer"})]


class NoEpisode(Good):
    def start(self, task: Task, seed: int) -> Episode:
        return None  # type: ignore[return-value]


def raising(self: Search, turn: Turn) -> Reply:
    turn.text.encode("utf-8")  # a lone surrogate
    return Search.step(self, turn)


def counted(self: Search, turn: Turn, counter: Any = itertools.count()) -> Reply:  # noqa: B008  # shared on purpose
    return Reply(messages=(*Search.step(self, turn).messages, message("user", str(next(counter)))))


def unanswered(self: Search, turn: Turn) -> Reply:
    reply = Search.step(self, turn)
    return Reply(messages=reply.messages[:1], is_done=reply.is_done)


def starting(self: Search, turn: Turn) -> Reply:
    subprocess.run(["true"])
    return Search.step(self, turn)


def scored_by_turns(self: Search) -> Score:
    self.said, said = "nothing", self.said
    return Score(status=Status.OK, value=float(said == self.task.data["word"]))


def paid_for_nothing(self: Search) -> Score:
    return Score(status=Status.OK, value=float(self.said in (None, self.task.data["word"])))


def paid_for_echo(self: Search) -> Score:
    text = self.said or ""
    return Score(status=Status.OK, value=float(self.task.data["word"] == text or "which word" in text))


class Beside(Search):
    """Forgets what it was when another one begins."""

    latest: ClassVar[Any] = None

    def __init__(self, task: Task) -> None:
        super().__init__(task)
        Beside.latest = task

    def step(self, turn: Turn) -> Reply:
        self.task = Beside.latest
        return super().step(turn)


def keeping_threads(self: Search, task: Task) -> None:
    Search.__init__(self, task)
    threading.Thread(target=threading.Event().wait, args=(20.0,), daemon=True).start()


def keeping_files(self: Search, task: Task) -> None:
    Search.__init__(self, task)
    os.close(tempfile.mkstemp()[0])


def keeping_descriptors(self: Search, task: Task) -> None:
    Search.__init__(self, task)
    DUPLICATES.append(os.dup(0))


def keeping_children(self: Search, task: Task) -> None:
    Search.__init__(self, task)
    CHILDREN.append(subprocess.Popen(["cat"], stdin=subprocess.PIPE))


DUPLICATES: list[int] = []
CHILDREN: list[subprocess.Popen[bytes]] = []


def build(env: type[Environment]) -> Environment:
    return env(GymSettings(), Services())


def test_a_good_environment_passes() -> None:
    check_gym(build(Good), num_episodes=100)


@pytest.mark.parametrize(
    ("env", "complaint"),
    [
        (GoldIsWrong, r"the gold episode of task 'pebble' with seed 0 must score 1\.0, got ok with value 0\.0"),
        (GoldIsTooLong, r"gold_turns\('pebble'\) has 2 of 1 turns"),
        (GoldIsIllFormed, r"gold_turns\('pebble'\) calls 'open' with None"),
        (GoldNeedsLuck, r"the gold episode of task 'pebble' with seed 1 must score 1\.0"),
        (NoTurns, r"NoTurns\.max_turns is 0, expected a whole number of at least 1"),
        (ToolsMove, r"tools\('pebble'\) differs between two reads"),
        (SchemaIsNone, r"tools\('pebble'\) raised ValueError: tool 'open': its parameters are no JSON schema"),
        (NoEpisode, r"start\('pebble', seed=0\) gave NoneType, expected an Episode"),
        (with_episode(step=raising), "raised UnicodeEncodeError"),
        (with_episode(step=counted), "is answered differently when it is replayed"),
        (with_episode(step=unanswered), "leaves the call 'call_[0-9]+' without an answer"),
        (with_episode(step=starting), r"raised UndeclaredNeed: .*declare Needs\(processes=True\)"),
        (with_episode(step=lambda self, turn: "42"), "gave str, expected gyms.api.Reply"),
        (
            with_episode(score=scored_by_turns),
            "changes when it is asked twice: ok with value 1.0, then ok with value 0",
        ),
        (with_episode(score=paid_for_nothing), r"an episode without a turn scores 1\.000"),
        (with_episode(score=paid_for_echo), r"an echo of the prompt scores 1\.000"),
        (with_episode(score=lambda self: Score(status=Status.VERIFIER_ERROR)), "a fault of the gym"),
        (type("Forgets", (Good,), {"episode": Beside}), "when it is replayed"),
        (with_episode(close=lambda self: 1 / 0), "close of an episode of task 'pebble' raised ZeroDivisionError"),
    ],
)
def test_a_broken_environment_is_told_what_broke(env: type[Environment], complaint: str) -> None:
    with pytest.raises(GymContractError, match=complaint):
        check_gym(build(env), num_episodes=100)


@pytest.mark.parametrize(
    ("start", "what"),
    [
        (keeping_threads, "threads"),
        (keeping_files, "temporary files"),
        (keeping_descriptors, "open descriptors"),
        (keeping_children, "child processes"),
    ],
)
def test_what_closed_episodes_leave_behind_is_told(start: Any, what: str) -> None:
    env = with_episode(__init__=start)
    env.needs = Needs(processes=True)
    try:
        with pytest.raises(GymContractError, match=f"8 closed episodes left [0-9]+ {what}"):
            check_gym(build(env), max_tasks=1, num_episodes=2)
    finally:
        for child in CHILDREN:
            child.communicate()
        for fd in DUPLICATES:
            os.close(fd)
        CHILDREN.clear()
        DUPLICATES.clear()


def test_random_turns_are_a_function_of_their_seed_and_meet_every_kind_of_call() -> None:
    gold = build(Good).gold_turns(build(Good).tasks("train")[1]) or ()
    drawn = [random_turns(random.Random(seed), [OPEN], gold) for seed in range(200)]
    assert drawn == [random_turns(random.Random(seed), [OPEN], gold) for seed in range(200)]
    calls = [call for turns in drawn for turn in turns for call in turn.calls]
    fitting = [call for call in calls if call.arguments is not None]
    assert {call.arguments["drawer"] for call in fitting if call.arguments} >= {1, 2, 3}
    assert 0.2 < len(fitting) / len(calls) < 0.9
    for part in ("there is no tool", "not JSON", "is greater than", "is less than", "is a required property"):
        assert any(part in call.problem for call in calls), part
    assert {len(turns) for turns in drawn} == set(range(9))
    assert any(turn.is_truncated for turns in drawn for turn in turns)


def test_drawn_arguments_fit_most_schemas_that_people_write() -> None:
    schema = {
        "type": "object",
        "properties": {
            "name": {"type": "string"},
            "kind": {"enum": ["a", "b"]},
            "parts": {"type": "array", "items": {"type": "number"}, "minItems": 1},
            "where": {"type": "object", "properties": {"x": {"type": ["integer", "null"]}}, "required": ["x"]},
            "one": {"anyOf": [{"type": "boolean"}, {"const": 3}]},
        },
        "required": ["name", "kind", "parts", "where"],
        "additionalProperties": False,
    }
    tool = Tool(name="make", description="", parameters=schema)
    drawn = [random_turns(random.Random(seed), [tool]) for seed in range(100)]
    calls = [call for turns in drawn for turn in turns for call in turn.calls]
    assert sum(call.arguments is not None for call in calls) > 0.5 * len(calls)
    json.dumps([dict(call.arguments) for call in calls if call.arguments is not None])
