"""The environment `nemo_gym`: a resources server of NVIDIA's NeMo Gym, spoken to over HTTP; its package is not needed.

`url` is the server, `rows` a file of its tasks as NeMo Gym has them, a line of JSON each: `responses_create_params`
with `input` and `tools`, and what the server wants beside. An episode seeds a session (`/seed_session`), posts each
call to the path of its tool, and has the server judge what was said and called (`/verify`), as NeMo Gym's own simple
agent does. The reward is what the server says, divided by `max_reward`, within [0, 1].

A server that is not there, or that cannot seed or judge, is our fault and masks the episode; what it says of a call,
errors included, is told to the model. A call that cannot be read is answered here, and the server does not hear of it.

Left out: starting servers (start them beside the run), servers that play the agent, tools over MCP (see `mcp`), rows
that begin in the middle of a conversation with calls. An episode is a function of its turns as far as its server is.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from functools import cached_property
from http.client import HTTPException
from http.cookiejar import CookieJar
from pathlib import Path
from typing import Any, ClassVar
from urllib.error import HTTPError
from urllib.parse import quote
from urllib.request import HTTPCookieProcessor, Request, build_opener

from pydantic import ConfigDict, Field

from gyms.api import (
    Call,
    Environment,
    Episode,
    GymSettings,
    Message,
    Needs,
    Reply,
    Score,
    Services,
    Split,
    Status,
    Task,
    Tool,
    Turn,
)
from gyms.episodes.calling import MAX_CALLS_A_TURN, Calling
from gyms.episodes.episode import Unplayable
from gyms.heldout import is_heldout
from gyms.sandbox.told import shortened

__all__ = ["NemoGym", "NemoGymSettings"]

_PARAMS = "responses_create_params"
_ROLES = {"user": "user", "assistant": "assistant", "system": "system", "developer": "system"}


class NemoGymSettings(GymSettings):
    """Which server, and which of its tasks."""

    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True)

    url: str
    """Where the resources server listens, such as http://127.0.0.1:8000."""
    rows: Path
    """File of its tasks, a line of JSON each."""
    max_reward: float = Field(default=1.0, gt=0.0)
    """The reward that is worth 1."""
    heldout_fraction: float = Field(default=0.1, gt=0.0, lt=1.0)
    """Fraction of the tasks that is held out."""
    split_seed: int = 0
    """Seed of the split; keep it over a project, or held-out problems become train problems."""
    call_seconds: float = Field(default=60.0, gt=0.0, le=600.0)
    """Longest time of one answer of the server, in seconds."""
    output_chars: int = Field(default=4000, ge=200, le=100_000)
    """Most characters of one answer that the model sees; of a longer one, the middle is left out."""


class NemoGym(Environment):
    """Plays at a resources server; see the head of this file."""

    Settings = NemoGymSettings
    needs = Needs(wall_seconds=1300.0, network=True)
    components: ClassVar[Mapping[str, str]] = {
        "reward": "what the server gave, before it is scaled",
        "num_calls": "well-formed calls",
    }
    max_turns = 300
    settings: NemoGymSettings

    def __init__(self, settings: NemoGymSettings, services: Services) -> None:
        super().__init__(settings, services)
        if not settings.url.startswith(("http://", "https://")):
            raise ValueError(f"url = {settings.url!r}: expected http://HOST:PORT or https://HOST:PORT")

    def tasks(self, split: Split) -> Sequence[Task]:
        settings = self.settings
        return [
            task
            for task in self._all
            if is_heldout(self.fingerprint(task), fraction=settings.heldout_fraction, seed=settings.split_seed)
            == (split == "heldout")
        ]

    def tools(self, task: Task) -> Sequence[Tool]:
        listed = task.data.get(_PARAMS, {}).get("tools") or ()
        return tuple(
            Tool(name=t["name"], description=t.get("description") or "", parameters=t.get("parameters") or {})
            for t in listed
            if t.get("type", "function") == "function"
        )

    def start(self, task: Task, seed: int) -> Episode:
        if not isinstance(task.data.get(_PARAMS), Mapping):
            return Unplayable(f"task {task.id!r}: data[{_PARAMS!r}] must be a table")
        return _Session(task, self.tools(task), self.settings)

    @cached_property
    def _all(self) -> tuple[Task, ...]:
        path = self.settings.rows
        try:
            lines = path.read_text(encoding="utf-8").splitlines()
        except OSError as error:
            raise ValueError(f"rows = {path}: cannot be read: {error}") from error
        return tuple(
            _task(line, where=f"rows = {path}, line {number}")
            for number, line in enumerate(lines, start=1)
            if line.strip()
        )


class _Session(Calling):
    """One session with the server, seeded."""

    max_calls = MAX_CALLS_A_TURN

    def __init__(self, task: Task, tools: Sequence[Tool], settings: NemoGymSettings) -> None:
        super().__init__(tools)
        self._row = dict(task.data)
        self._settings = settings
        self._opener = build_opener(HTTPCookieProcessor(CookieJar()))  # a session is a cookie
        self._said: list[dict[str, Any]] = []
        """What was said, called and answered, in OpenAI's form of a response."""
        self._asked("seed_session", self._row)

    def step(self, turn: Turn) -> Reply:
        if turn.text or not turn.calls:
            part = {"type": "output_text", "text": turn.text, "annotations": []}
            self._said.append(
                {"id": f"msg_{len(self._said)}", "type": "message", "role": "assistant", "status": "completed",
                 "content": [part]}
            )  # fmt: skip
        return super().step(turn)

    def run(self, call: Call) -> str:
        assert call.arguments is not None
        status, text = self._post(quote(call.tool, safe=""), dict(call.arguments))
        told = shortened(text if status < 400 else f"Error {status}: {text}", self._settings.output_chars)
        arguments = json.dumps(dict(call.arguments))
        self._said += [
            {"type": "function_call", "call_id": call.id, "name": call.tool, "arguments": arguments},
            {"type": "function_call_output", "call_id": call.id, "output": text},
        ]
        return told

    def score(self) -> Score:
        response = {
            "id": "resp_0", "object": "response", "created_at": 0, "model": "policy", "output": self._said,
            "parallel_tool_calls": True, "tool_choice": "auto", "tools": self._row[_PARAMS].get("tools") or [],
        }  # fmt: skip
        reward = float(self._asked("verify", {**self._row, "response": response})["reward"])
        return Score(
            status=Status.OK,
            value=min(1.0, max(0.0, reward / self._settings.max_reward)),
            components={"reward": reward, "num_calls": float(self.num_calls)},
        )

    def _asked(self, path: str, body: Mapping[str, Any]) -> dict[str, Any]:
        """What the server answers where it must; raises where it does not."""
        status, text = self._post(path, body)
        if status >= 400:
            raise RuntimeError(f"{self._settings.url}/{path} answers with status {status}: {text[:500]}")
        return json.loads(text)

    def _post(self, path: str, body: Mapping[str, Any]) -> tuple[int, str]:
        """Status and text of an answer; RuntimeError where there is none."""
        url = f"{self._settings.url.rstrip('/')}/{path}"
        request = Request(url, json.dumps(body).encode(), {"Content-Type": "application/json"})
        try:
            with self._opener.open(request, timeout=self._settings.call_seconds) as answer:
                return answer.status, answer.read().decode("utf-8", "replace")
        except HTTPError as error:
            return error.code, error.read().decode("utf-8", "replace")
        except (OSError, HTTPException) as error:
            raise RuntimeError(
                f"url = {self._settings.url!r}: the resources server does not answer ({error})"
            ) from error


def _task(line: str, *, where: str) -> Task:
    try:
        row = json.loads(line)
        asked = row[_PARAMS]["input"]
    except (ValueError, KeyError, TypeError) as error:
        raise ValueError(f"{where}: expected a JSON object with {_PARAMS}.input ({error!r})") from error
    told = [{"role": "user", "content": asked}] if isinstance(asked, str) else asked
    if instructions := row[_PARAMS].get("instructions"):
        told = [{"role": "system", "content": instructions}, *told]
    prompt = tuple(_message(said, where=where) for said in told)
    return Task(id=where.rpartition(" ")[2], prompt=prompt, data=row)


def _message(said: Any, *, where: str) -> Message:
    role = said.get("role") if isinstance(said, Mapping) else None
    content = said.get("content") if isinstance(said, Mapping) else None
    if isinstance(content, list) and all(isinstance(p, Mapping) and isinstance(p.get("text"), str) for p in content):
        content = "\n".join(part["text"] for part in content)
    if role not in _ROLES or not isinstance(content, str):
        raise ValueError(f"{where}: {said!r:.200} is no message of text with one of the roles {sorted(_ROLES)}")
    return {"role": _ROLES[role], "content": content}
