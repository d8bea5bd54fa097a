"""The environment `python`: another gym's tasks with an interpreter at hand."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

import pytest

from gyms.api import Call, Environment, Episode, Reply, Services, Status, Turn
from gyms.episodes.calling import MAX_CALLS_A_TURN
from gyms.load import GymSpec, load_gym
from gyms.python_tool.gym import PYTHON, PythonTool, shown
from gyms.sandbox import Cell, Ending, Sandbox
from gyms.testing import check_gym
from reward.scorer import Scorer


def python(sandbox: Sandbox | None, **args: object) -> PythonTool:
    gym = load_gym("python", "gyms.python_tool.gym:PythonTool", args, Services(sandbox=sandbox))
    assert isinstance(gym, PythonTool)
    return gym


@pytest.fixture
def episode(sandbox: Sandbox) -> Iterator[Episode]:
    gym = python(sandbox, gym="arithmetic", cpu_seconds=0.4)
    begun = gym.start(gym.tasks("train")[0], seed=0)
    yield begun
    begun.close()


def turn(*cells: str) -> Turn:
    return Turn(
        text="", calls=tuple(Call(id=f"c{n}", tool="python", arguments={"code": c}) for n, c in enumerate(cells))
    )


def said(reply: Reply) -> list[str]:
    return [message["content"] for message in reply.messages]


@pytest.mark.parametrize("args", [{"gym": "math"}, {"gym": "arithmetic", "output_chars": 200}])
def test_it_keeps_the_contract(sandbox: Sandbox, args: dict[str, object]) -> None:
    check_gym(python(sandbox, **args), max_tasks=6, num_episodes=20)


def test_names_live_from_call_to_call_and_the_other_gym_scores_the_last_turn(sandbox: Sandbox) -> None:
    gym = python(sandbox, gym="arithmetic", args={"max_operand": 9, "style": "chat"})
    task = gym.tasks("heldout")[3]
    gold = gym.gold(task)
    assert gold is not None
    episode = gym.start(task, seed=0)
    assert said(episode.step(turn(f"x = {gold!r}; y = 14; x"))) == [repr(gold)]
    assert said(episode.step(turn("print('so'); y", "z"))) == [
        "so\n14",
        'Traceback (most recent call last):\n  File "<cell 3>", line 1, in <module>\n    z\n'
        "NameError: name 'z' is not defined",
    ]
    assert episode.score().status is Status.NO_ANSWER
    assert episode.step(Turn(text=gold)) == Reply(is_done=True)
    score = episode.score()
    assert score.value == 1.0 and score.components == {"correct": 1.0, "num_calls": 3.0, "num_call_errors": 1.0}
    episode.close()
    assert gym.score(task, "no number").status is Status.NO_ANSWER


def test_a_printed_answer_is_worth_nothing(sandbox: Sandbox) -> None:
    gym = python(sandbox, gym="arithmetic")
    task = gym.tasks("train")[0]
    episode = gym.start(task, seed=0)
    episode.step(turn(f"print({gym.gold(task)!r})"))
    assert episode.score().status is Status.NO_ANSWER
    episode.step(Turn(text="See above."))
    assert not episode.score().value
    episode.close()


def test_a_call_that_overruns_costs_the_names_and_is_told(episode: Episode) -> None:
    episode.step(turn("x = 1"))
    (told,) = said(episode.step(turn("print('how far')\nwhile True: pass")))
    assert told == (
        "Error: the call took more CPU time than a call may, and was ended. The interpreter was started again: its "
        "variables and imports are gone."
    )
    assert said(episode.step(turn("'x' in dir()"))) == ["False"]
    (told,) = said(episode.step(turn("print('before')\nimport os; os._exit(3)")))
    assert told.startswith("before\nError: the interpreter ended with status 3. ")
    (told,) = said(episode.step(turn("while True: print('x' * 9999)")))
    assert "Error: the call wrote more than a call may" in told and len(told) < 4300


def test_long_output_keeps_its_two_ends_and_addresses_are_taken_out(episode: Episode) -> None:
    (told,) = said(episode.step(turn("print('a' * 5000, 'b' * 5000)\nobject()")))
    assert told.startswith("aaa") and told.endswith("bbb\n<object object at 0x...>")
    assert " characters left out) ..." in told and len(told) < 4100


def test_calls_that_cannot_be_read_and_too_many_calls_are_answered(episode: Episode) -> None:
    unread = Turn(
        text="", calls=(Call(id="c0", tool="python", arguments=None, problem="'code' is a required property"),)
    )
    assert said(episode.step(unread)) == ["Error: 'code' is a required property. python takes code (string)."]
    answers = said(episode.step(turn(*["1"] * (MAX_CALLS_A_TURN + 1))))
    assert answers[:-1] == ["1"] * MAX_CALLS_A_TURN and answers[-1].startswith("Error: not run.")
    assert not episode.step(Turn(text="7", is_truncated=True)).is_done


def test_the_same_turns_are_answered_the_same_in_another_session(sandbox: Sandbox) -> None:
    gym = python(sandbox)
    task = gym.tasks("train")[0]
    cells = (
        "import random\nrandom.random(), random.sample(range(100), 5)",
        "{'a', 'b', 'c', 'd', 'e'}, hash('text')",
        "class A: pass\nA(), A.__init__, lambda: 1",
        "import os\nos.listdir('.'), os.getcwd()",
    )
    answers = []
    for seed in (0, 1):
        episode = gym.start(task, seed)
        answers.append([said(episode.step(turn(cell))) for cell in cells])
        episode.close()
    assert answers[0] == answers[1]


def test_what_the_interpreter_lost_before_the_call_is_told() -> None:
    cell = Cell(output="1\n", ending=Ending.EXITED, is_new=True)
    assert shown(cell, max_chars=100).startswith("1\nNote: before this call, the interpreter had ended.")


@pytest.mark.parametrize(
    ("inner", "reason"),
    [("adder", "is an environment of many turns"), ("chat", "needs a judge"), ("nope", "there is no gym of that name")],
)
def test_a_gym_that_cannot_be_asked_for_its_last_turn_is_refused(inner: str, reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        python(None, gym=inner)


def test_the_driver_needs_no_sandbox_for_its_tasks() -> None:
    gym = python(None, gym="math")
    assert isinstance(gym, Environment) and list(gym.tools(gym.tasks("train")[0])) == [PYTHON]


def test_a_worker_plays_it_and_replays_what_another_one_had_begun() -> None:
    spec = GymSpec(name="py", reference="gyms.python_tool.gym:PythonTool", args={"gym": "arithmetic"})
    task = spec.build().tasks("train")[0]

    async def played() -> None:
        with Scorer([spec], num_workers=1) as scorer:
            await scorer.open_episode("e", "py", task, seed=0)
            first = await scorer.step("e", 0, turn("x = 41"))
            assert said(first) == ["(no output)"]
            await scorer.open_episode("again", "py", task, seed=0, history=[(turn("x = 41"), first)])
            assert said(await scorer.step("again", 1, turn("x + 1"))) == ["42"]
            for name in ("e", "again"):
                await scorer.close_episode(name)

    asyncio.run(played())
