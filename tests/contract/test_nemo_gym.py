"""The environment `nemo_gym`, with a resources server of the package itself on loopback, where it is installed."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

pytest.importorskip("nemo_gym", reason="the package `nemo-gym` is not installed (Python 3.12 or later)")

from gyms.adapters.nemo import NemoGym, NemoGymSettings
from gyms.adapters.served import Server
from gyms.api import Call, Episode, Reply, Services, Status, Task, Turn
from tests.answering import server_process

SERVER = """
import socket
import sys

import uvicorn
from fastapi import Request
from nemo_gym.base_resources_server import (
    BaseResourcesServerConfig, BaseSeedSessionRequest, BaseSeedSessionResponse, BaseVerifyRequest, BaseVerifyResponse,
    SimpleResourcesServer,
)
from nemo_gym.server_utils import SESSION_ID_KEY, ServerClient
from omegaconf import DictConfig
from pydantic import BaseModel, Field


class Count(BaseModel):
    step: int


class Seed(BaseSeedSessionRequest):
    first: int


class Verify(BaseVerifyRequest):
    expected: int


class Counter(SimpleResourcesServer):
    counts: dict = Field(default_factory=dict)

    def setup_webserver(self):
        app = super().setup_webserver()
        app.post("/count")(self.count)
        return app

    async def seed_session(self, request: Request, body: Seed) -> BaseSeedSessionResponse:
        self.counts[request.session[SESSION_ID_KEY]] = body.first
        return BaseSeedSessionResponse()

    async def count(self, request: Request, body: Count) -> dict:
        self.counts[request.session[SESSION_ID_KEY]] += body.step
        return {"count": self.counts[request.session[SESSION_ID_KEY]]}

    async def verify(self, request: Request, body: Verify) -> BaseVerifyResponse:
        said = [part.text for one in body.response.output if one.type == "message" for part in one.content]
        calls = [one for one in body.response.output if one.type == "function_call"]
        is_right = self.counts[request.session[SESSION_ID_KEY]] == body.expected and said[-1:] == ["done"]
        return BaseVerifyResponse(**body.model_dump(), reward=2.0 * is_right + 0.5 * bool(calls and not is_right))


listening = socket.socket(fileno=int(sys.argv[1]))
host, port = listening.getsockname()
config = BaseResourcesServerConfig(host=host, port=port, entrypoint="", domain="other", name="counter")
client = ServerClient.model_construct(head_server_config=None, global_config_dict=DictConfig({}))
app = Counter(config=config, server_client=client).setup_webserver()
uvicorn.Server(uvicorn.Config(app)).run(sockets=[listening])
"""
COUNT = {
    "type": "function", "name": "count", "description": "Counts on.", "strict": True,
    "parameters": {"type": "object", "properties": {"step": {"type": "integer"}}, "required": ["step"]},
}  # fmt: skip

PATIENCE = 300.0
"""Seconds for the server's start."""


@pytest.fixture(scope="module")
def url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    script = tmp_path_factory.mktemp("nemo") / "server.py"
    script.write_text(SERVER)
    with server_process(script) as (address, _):
        assert Server(address, seconds=PATIENCE).get("openapi.json").status == 200
        yield address


@pytest.fixture
def env(url: str, tmp_path: Path) -> NemoGym:
    rows = [
        {"responses_create_params": {"input": [{"role": "user", "content": f"count to {n}"}], "tools": [COUNT]},
         "first": 1, "expected": n}
        for n in range(2, 12)
    ]  # fmt: skip
    file = tmp_path / "rows.jsonl"
    file.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return NemoGym(NemoGymSettings(url=url, rows=file, max_reward=2.0, heldout_fraction=0.3), Services())


def call(number: int, **arguments: object) -> Turn:
    return Turn(text="", calls=(Call(id=f"call_{number}", tool="count", arguments=arguments),))


def begun(env: NemoGym, place: int = 0) -> tuple[Task, Episode]:
    task = env.tasks("train")[place]
    return task, env.start(task, seed=0)


def text(reply: Reply) -> str:
    (said,) = reply.messages
    return said["content"]


def test_a_session_is_seeded_called_and_judged_by_the_server(env: NemoGym) -> None:
    task, episode = begun(env)
    _, other = begun(env, 1)
    assert task.prompt[0]["content"].startswith("count to") and env.tools(task)[0].name == "count"
    wanted = task.data["expected"]
    assert json.loads(text(episode.step(call(0, step=wanted - 1)))) == {"count": wanted}
    assert json.loads(text(other.step(call(0, step=1)))) == {"count": 2}, "a session of its own"
    half = episode.score()
    assert (half.value, half.components) == (0.25, {"reward": 0.5, "num_calls": 1.0})
    assert episode.step(Turn(text="done")) == Reply(is_done=True)
    assert episode.score().value == 1.0 and episode.score().status is Status.OK
    assert other.score().value == 0.25


def test_what_the_server_says_of_a_bad_call_is_told_and_an_unreadable_one_stays_here(env: NemoGym) -> None:
    _, episode = begun(env)
    assert text(episode.step(call(0, step="many"))).startswith("Error 422")
    broken = Turn(text="", calls=(Call(id="call_1", tool="count", arguments=None, problem="not JSON"),))
    assert text(episode.step(broken)).startswith("Error: not JSON. count takes step (integer)")
    assert episode.score().components["num_calls"] == 1.0


def test_both_splits_together_are_all_rows_and_share_none(env: NemoGym) -> None:
    ids = [{task.id for task in env.tasks(split)} for split in ("train", "heldout")]
    assert ids[0] | ids[1] == {str(n) for n in range(1, 11)} and not ids[0] & ids[1] and all(ids)
