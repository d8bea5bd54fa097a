"""The environment `openenv`, with the package's own server on loopback."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

pytest.importorskip("openenv.core", reason="the extra `openenv` is not installed")

from gyms.adapters.openenv import OpenEnv
from gyms.adapters.served import Server
from gyms.api import Call, Reply, ServiceFailed, Status, Task, Turn
from gyms.episodes.calling import MAX_CALLS_A_TURN
from gyms.load import load_gym
from gyms.testing import check_gym
from tests.answering import server_process

SERVER = """
import socket
import sys

import uvicorn
from openenv.core.env_server import create_fastapi_app
from openenv.core.env_server.interfaces import Environment
from openenv.core.env_server.types import Action, Observation, State
from pydantic import field_validator


class Guess(Action):
    number: int

    @field_validator("number")
    @classmethod
    def _is_told(cls, number):
        if number == 2**40:
            raise ValueError("too much")  # which OpenEnv cannot write into its answer: it closes the session
        return number


class Seen(Observation):
    hint: str


class Guessing(Environment):
    SUPPORTS_CONCURRENT_SESSIONS = True

    def __init__(self):
        super().__init__()
        self.secret, self.count = 0, 0

    def reset(self, seed=None, episode_id=None, **kwargs):
        if kwargs.get("game") == "none":
            raise ValueError("there is no such game")
        self.secret, self.count = (seed or 0) * 7 % 16, 0
        return Seen(hint=f"a number from 0 to 15, game {seed}")

    def step(self, action, timeout_s=None, **kwargs):
        self.count += 1
        if action.number > 15:
            return Seen(hint="zu groß")
        if action.number == self.secret:
            return Seen(hint="right", done=True, reward=2.0)
        return Seen(hint="larger" if self.secret > action.number else "smaller", reward=0.0)

    @property
    def state(self):
        return State(step_count=self.count)


app = create_fastapi_app(Guessing, Guess, Seen, max_concurrent_envs=16)
listening = socket.socket(fileno=int(sys.argv[1]))
uvicorn.Server(uvicorn.Config(app, log_level="error")).run(sockets=[listening])
"""
PATIENCE = 300.0
"""Seconds for the server's start."""


@pytest.fixture(scope="module")
def url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with serving(tmp_path_factory.mktemp("openenv")) as (found, _):
        yield found


@contextmanager
def serving(folder: Path) -> Iterator[tuple[str, subprocess.Popen[bytes]]]:
    file = folder / "server.py"
    file.write_text(SERVER)
    with server_process(file) as (found, process):
        assert Server(found, seconds=PATIENCE).get("health").status == 200
        yield found, process


def openenv(url: str, **args: object) -> OpenEnv:
    settings = {"url": url, "num_train": 8, "num_heldout": 4, "max_reward": 2.0, **args}
    gym = load_gym("openenv", "gyms.adapters.openenv:OpenEnv", settings)
    assert isinstance(gym, OpenEnv)
    return gym


def guess(*numbers: int) -> Turn:
    calls = tuple(Call(id=f"c{n}", tool="act", arguments={"number": number}) for n, number in enumerate(numbers))
    return Turn(text="", calls=calls)


def hints(reply: Reply) -> list[str]:
    return [json.loads(message["content"])["hint"] for message in reply.messages]


def test_it_keeps_the_contract(url: str) -> None:
    check_gym(openenv(url), max_tasks=3, num_episodes=10)


def test_an_episode_is_a_session_with_a_seed_of_its_own(url: str) -> None:
    gym = openenv(url)
    task = gym.tasks("train")[3]
    assert task.data == {"seed": 3} and '{"hint": "a number from 0 to 15, game 3"}' in task.prompt[0]["content"]
    assert gym.tasks("heldout")[1].data == {"seed": 9}
    first, second = gym.start(task, 0), gym.start(gym.tasks("train")[1], 0)
    assert hints(first.step(guess(4))) == ["larger"]
    assert hints(second.step(guess(8))) == ["smaller"]
    assert first.score().value == 0.0
    reply = first.step(guess(5, 6))
    assert reply.is_done and hints(reply) == ["right"], "what comes behind the end is not played"
    assert first.score().value == 1.0
    assert first.score().components == {"reward": 2.0, "num_calls": 2.0, "is_done": 1.0}
    first.close()
    second.close()


def test_an_action_that_does_not_fit_is_told_to_the_model(url: str) -> None:
    gym = openenv(url)
    (tool,) = gym.tools(gym.tasks("train")[0])
    assert set(tool.parameters["properties"]) == {"number"}
    episode = gym.start(gym.tasks("train")[0], 0)
    unread = Turn(text="", calls=(Call(id="c", tool="act", arguments=None, problem="'number' is missing"),))
    assert episode.step(unread).messages[0]["content"].startswith("Error: 'number' is missing. act takes number")
    wrong = Turn(text="", calls=(Call(id="c", tool="act", arguments={"number": "x"}),))
    assert episode.step(wrong).messages[0]["content"].startswith("Error: ")
    assert hints(episode.step(guess(0))) == ["right"]
    episode.close()


def test_what_is_observed_is_shown_in_its_own_letters(url: str) -> None:
    gym = openenv(url)
    episode = gym.start(gym.tasks("train")[0], 0)
    assert "zu groß" in episode.step(guess(16)).messages[0]["content"]
    episode.close()


def test_an_action_that_ends_the_session_is_no_refusal_and_whose_fault_it_is_is_left_to_a_control(url: str) -> None:
    gym = openenv(url)
    episode = gym.start(gym.tasks("train")[0], 0)
    with pytest.raises(RuntimeError, match="SESSION_ERROR") as raised:
        episode.step(guess(2**40))
    assert not isinstance(raised.value, ServiceFailed)
    episode.close()


def test_a_server_that_does_not_reset_has_failed(url: str) -> None:
    with pytest.raises(ServiceFailed, match=r"the server fails: .*there is no such game"):
        openenv(url, reset={"game": "none"}).tasks("train")[0]


def test_no_proxy_of_the_environment_is_asked(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("http_proxy", "https_proxy", "all_proxy"):
        for each in (name, name.upper()):
            monkeypatch.setenv(each, "http://127.0.0.1:9")
    for each in ("no_proxy", "NO_PROXY"):
        monkeypatch.delenv(each, raising=False)
    elsewhere = url.replace("127.0.0.1", "127.1")  # the package's client goes round proxies for two names of this host
    assert openenv(elsewhere).tasks("train")[3].data == {"seed": 3}


def test_a_server_that_is_not_there_is_told_by_its_setting() -> None:
    with pytest.raises(ValueError, match=r"url = 'http://127.0.0.1:9': no OpenEnv server answers there"):
        openenv("http://127.0.0.1:9").tools(Task(id="t", prompt=()))
    with pytest.raises(ValueError, match="expected http://HOST:PORT"):
        openenv("127.0.0.1:9")
    score = openenv("http://127.0.0.1:9", seed=0)
    assert score.settings.num_train == 8


def test_a_server_that_goes_away_has_failed(tmp_path: Path) -> None:
    with serving(tmp_path) as (url, process):
        gym = openenv(url)
        task = gym.tasks("train")[0]
        episode = gym.start(task, 0)
        assert hints(episode.step(guess(4))) == ["smaller"]
        process.kill()
        process.wait(30)
        with pytest.raises(ServiceFailed, match="the server fails"):
            episode.step(guess(5))
        episode.close()
        with pytest.raises(ServiceFailed, match="the server fails"):
            gym.start(task, 0)


def test_actions_beyond_a_limit_come_in_a_later_turn(url: str) -> None:
    gym = openenv(url)
    episode = gym.start(gym.tasks("train")[0], 0)
    said = [message["content"] for message in episode.step(guess(*[4] * (MAX_CALLS_A_TURN + 1))).messages]
    assert "smaller" in said[-2] and said[-1].startswith("Error: not run.")
    assert episode.score().components["num_calls"] == MAX_CALLS_A_TURN
    episode.close()


def test_a_malformed_task_is_told_apart(url: str) -> None:
    gym = openenv(url)
    gym_score = gym.score(Task(id="t", prompt=(), data={"seed": "x"}), "")
    assert gym_score.status is Status.BAD_TASK
