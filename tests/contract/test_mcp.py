"""The environment `mcp`, with a real server in a process of its own."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

pytest.importorskip("mcp", reason="the extra `mcp` is not installed")

from gyms.adapters.mcp import Mcp
from gyms.api import Call, Episode, Reply, ServiceFailed, Status, Turn
from gyms.episodes.calling import MAX_CALLS_A_TURN
from gyms.episodes.checks import play, some_episodes
from gyms.load import load_gym

SERVER = """
import os
import time

from mcp import MCPError
from mcp.server.mcpserver import MCPServer

server = MCPServer("notes")
output = os.dup(1)  # run() takes 1 for itself
notes: list[str] = []


@server.tool()
def write(text: str) -> str:
    "Writes a note."
    notes.append(text)
    return f"{len(notes)} notes"


@server.tool()
def divide(a: int, b: int) -> float:
    "Divides."
    return a / b


@server.tool()
def crash() -> str:
    "Ends the server."
    os._exit(3)


@server.tool()
def sleep(seconds: float) -> str:
    "Waits."
    time.sleep(seconds)
    return "slept"


@server.tool()
def twice(text: str) -> str:
    "Says it twice, and then is gone."
    os.rename(__file__, __file__ + ".gone")
    return text + text


@server.tool()
def refuse(path: str) -> str:
    "Takes no path at all."
    raise MCPError(code=-32602, message=f"no such path: {path}")


@server.tool()
def garble() -> str:
    "Prints what is no text."
    os.write(output, b"\\xff\\n")
    return "printed"


server.run()
"""


def written(folder: Path) -> Path:
    (folder / "server.py").write_text(SERVER)
    return folder


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return written(tmp_path_factory.mktemp("mcp"))


@pytest.fixture(scope="module")
def gym(folder: Path) -> Mcp:
    """It keeps the tools that its server has listed, and nothing else: every episode starts a server."""
    return mcp(folder)


def mcp(folder: Path, **args: object) -> Mcp:
    settings = {"command": [sys.executable, str(folder / "server.py")], "args": {"style": "chat"}, **args}
    found = load_gym("mcp", "gyms.adapters.mcp:Mcp", settings)
    assert isinstance(found, Mcp)
    return found


@pytest.fixture
def episode(gym: Mcp) -> Iterator[Episode]:
    begun = gym.start(gym.tasks("train")[0], seed=0)
    yield begun
    begun.close()


def turn(*named: tuple[str, dict[str, object]]) -> Turn:
    return Turn(text="", calls=tuple(Call(id=f"c{n}", tool=t, arguments=a) for n, (t, a) in enumerate(named)))


def said(reply: Reply) -> list[str]:
    return [message["content"] for message in reply.messages]


def test_an_episode_is_replayed_and_the_gold_one_scores(folder: Path) -> None:
    """As `check_gym` would see it, with few of the servers that it would start."""
    gym = mcp(folder, tools=["write", "divide"])
    task = gym.tasks("train")[0]
    assert play(gym, task, gym.gold_turns(task) or ()).score.value == 1.0
    (turns,) = some_episodes(gym, task, num=2)[1:]
    assert play(gym, task, turns) == play(gym, task, turns)
    assert not play(gym, task, [Turn(text=task.prompt[0]["content"])]).score.value


def test_tools_are_what_the_server_lists(gym: Mcp) -> None:
    tools = {tool.name: tool for tool in gym.tools(gym.tasks("train")[0])}
    assert set(tools) == {"write", "divide", "crash", "sleep", "twice", "refuse", "garble"}
    assert tools["write"].description == "Writes a note."
    assert tools["divide"].parameters["required"] == ["a", "b"]


def test_an_episode_has_a_server_of_its_own_and_the_other_gym_scores_its_last_turn(gym: Mcp) -> None:
    task = gym.tasks("train")[0]
    first, second = gym.start(task, 0), gym.start(task, 0)
    assert said(first.step(turn(("write", {"text": "a"}), ("write", {"text": "b"})))) == ["1 notes", "2 notes"]
    assert said(second.step(turn(("write", {"text": "c"})))) == ["1 notes"]
    (told,) = said(first.step(turn(("divide", {"a": 1, "b": 0}))))
    assert told.startswith("Error: ")
    assert first.step(Turn(text=gym.gold(task) or "")) == Reply(is_done=True)
    score = first.score()
    assert (score.value, score.components["num_calls"], score.components["num_call_errors"]) == (1.0, 3.0, 1.0)
    assert second.score().status is Status.NO_ANSWER
    first.close()
    second.close()


def test_a_server_that_ends_or_hangs_costs_its_state(folder: Path) -> None:
    short = mcp(folder, call_seconds=5.0)
    episode = short.start(short.tasks("train")[0], 0)
    episode.step(turn(("write", {"text": "a"})))
    for call, end in ((("crash", {}), "failed ("), (("sleep", {"seconds": 600}), "took over 5 s.")):
        (told,) = said(episode.step(turn(call)))
        assert told.startswith(f"Error: the call {end}") and told.endswith("what it kept is gone.")
        assert said(episode.step(turn(("write", {"text": "b"})))) == ["1 notes"]
    episode.close()


def test_a_call_that_the_server_refuses_by_the_protocol_costs_no_state(episode: Episode) -> None:
    note: tuple[str, dict[str, object]] = ("write", {"text": "a"})
    told = said(episode.step(turn(note, ("refuse", {"path": "/x"}), note)))
    assert told == ["1 notes", "Error: no such path: /x", "2 notes"]


def test_a_server_that_prints_what_is_no_utf8_is_heard(episode: Episode) -> None:
    assert said(episode.step(turn(("garble", {}), ("write", {"text": "a"})))) == ["printed", "1 notes"]


def test_a_session_that_breaks_is_told_to_the_model(episode: Episode) -> None:
    broken, after = said(episode.step(turn(("write", {"text": "\ud800"}), ("write", {"text": "a"}))))
    assert broken.startswith("Error: the call failed (") and broken.endswith("what it kept is gone.")
    assert after == "1 notes"


def test_a_server_that_cannot_be_started_has_failed(tmp_path: Path) -> None:
    gym = mcp(written(tmp_path))
    episode = gym.start(gym.tasks("train")[0], 0)
    assert said(episode.step(turn(("twice", {"text": "a"}), ("crash", {}))))[0] == "aa"
    with pytest.raises(ServiceFailed, match=r"server\.py.*: the server does not start"):
        episode.step(turn(("write", {"text": "b"})))
    episode.close()
    with pytest.raises(ServiceFailed, match="the server does not start"):
        mcp(tmp_path, command=["/no/such/program"]).tools(gym.tasks("train")[0])


def test_calls_that_cannot_be_read_and_too_many_calls_are_answered(episode: Episode) -> None:
    unread = Turn(text="", calls=(Call(id="c", tool="write", arguments=None, problem="'text' is missing"),))
    assert said(episode.step(unread)) == ["Error: 'text' is missing. write takes text (string)."]
    many = said(episode.step(turn(*[("write", {"text": "x"})] * (MAX_CALLS_A_TURN + 1))))
    assert many[-2] == f"{MAX_CALLS_A_TURN} notes" and many[-1].startswith("Error: not run.")


def test_settings_that_do_not_fit_are_refused(folder: Path) -> None:
    wrong = mcp(folder, tools=["nope"])
    with pytest.raises(
        ValueError, match="the server has no tool 'nope'; it has write, divide, crash, sleep, twice, refuse, garble"
    ):
        wrong.tools(wrong.tasks("train")[0])
    with pytest.raises(ValueError, match="is an environment of many turns"):
        mcp(folder, gym="tools", args={})
