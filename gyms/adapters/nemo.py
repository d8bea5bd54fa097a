"""The environment `nemo_gym`: a resources server of NVIDIA's NeMo Gym, spoken to over HTTP; its package is not needed.

`url` is the server, `rows` a file of its tasks as NeMo Gym has them, a line of JSON each: `responses_create_params`
with `input` and `tools`, and what the server wants beside. An episode seeds a session (`/seed_session`), posts each
call to the path of its tool, and has the server judge what was said and called (`/verify`), as NeMo Gym's own simple
agent does. The reward is what the server says, divided by `max_reward`, within [0, 1].

*Faults.* A server that is not there or too busy, that answers a judgement with an error of its own (5xx), or with what
is none, has failed: that masks the episode, and no control sample makes it the model's fault. So a server that a model
can make fail is masked, too, until `reward.max_masked_frac` ends the run: mend it. A judgement that is refused (4xx) or
takes too long may be for what the model said: there a control tells. What the server says of a call, errors included,
is told to the model, and so is that it took too long; the server may go on with it. A call that cannot be read is
answered here, and the server does not hear of it.

Left out: starting servers (start them beside the run), servers that play the agent, tools over MCP (see `mcp`), rows
that begin in the middle of a conversation with calls. An episode is a function of its turns as far as its server is.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar
from urllib.parse import quote

from pydantic import ConfigDict, Field

from gyms.adapters.served import BUSY, Server, TooLong, TooSlow, check_url, object_of, reward_of
from gyms.api import (
    Call,
    Environment,
    Episode,
    GymSettings,
    Message,
    Needs,
    Reply,
    Score,
    ServiceFailed,
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
from gyms.rows import make_all, read_file
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
    call_seconds: float = Field(default=60.0, gt=0.0, le=150.0)
    """Longest time of one answer of the server, in seconds; at most what lets all calls of a turn end in time."""
    output_chars: int = Field(default=4000, ge=200, le=100_000)
    """Most characters of one answer that the model sees; of a longer one, the middle is left out."""


class NemoGym(Environment):
    """Plays at a resources server; see the head of this file."""

    Settings = NemoGymSettings
    needs = Needs(wall_seconds=1300.0, network=True)  # MAX_CALLS_A_TURN times the longest call, and some
    components: ClassVar[Mapping[str, str]] = {
        "reward": "what the server gave, before it is scaled",
        "num_calls": "well-formed calls",
    }
    max_turns = 300
    settings: NemoGymSettings

    def __init__(self, settings: NemoGymSettings, services: Services) -> None:
        super().__init__(settings, services)
        check_url(settings.url)

    def tasks(self, split: Split) -> Sequence[Task]:
        return self._splits[split]

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
    def _splits(self) -> Mapping[Split, tuple[Task, ...]]:
        """Made once: a run asks for its tasks at every step."""
        found: dict[Split, list[Task]] = {"train": [], "heldout": []}
        fraction, seed = self.settings.heldout_fraction, self.settings.split_seed
        for task in self._all():
            is_held = is_heldout(self.fingerprint(task), fraction=fraction, seed=seed)
            found["heldout" if is_held else "train"].append(task)
        return {split: tuple(tasks) for split, tasks in found.items()}

    def _all(self) -> tuple[Task, ...]:
        try:
            return tuple(make_all(read_file(self.settings.rows), _task, skip_malformed=None)[0])
        except ValueError as error:
            raise ValueError(f"rows: {error}") from error


class _Session(Calling):
    """One session with the server, seeded."""

    max_calls = MAX_CALLS_A_TURN

    def __init__(self, task: Task, tools: Sequence[Tool], settings: NemoGymSettings) -> None:
        super().__init__(tools)
        self._row = dict(task.data)
        self._settings = settings
        self._server = Server(settings.url, seconds=settings.call_seconds)
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
        status, text = self._called(call)
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
        judged = self._asked("verify", {**self._row, "response": response})
        reward = reward_of(judged.get("reward"), f"{self._settings.url}/verify")
        return Score(
            status=Status.OK,
            value=min(1.0, max(0.0, reward / self._settings.max_reward)),
            components={"reward": reward, "num_calls": float(self.num_calls)},
        )

    def _called(self, call: Call) -> tuple[int, str]:
        """Status and text of what a tool answers, or of why there is no answer that the model could see."""
        seconds = self._settings.call_seconds
        try:
            answer = self._server.post(quote(call.tool, safe=""), dict(call.arguments or {}))
        except TooSlow:
            return 0, f"Error: the call took over {seconds:g} s; what it does may still have its effect."
        except TooLong:
            return 0, "Error: the answer is too long to be read."
        if answer.status in BUSY:
            raise ServiceFailed(f"{self._settings.url} is too busy: it answers a call with status {answer.status}")
        return answer

    def _asked(self, path: str, body: Mapping[str, Any]) -> dict[str, Any]:
        """What the server answers where it must; raises where it does not."""
        answer, where = self._server.post(path, body), f"{self._settings.url}/{path}"
        if answer.status >= 400:
            is_its_own = answer.status >= 500 or answer.status in BUSY
            kind = ServiceFailed if is_its_own else RuntimeError
            raise kind(f"{where} answers with status {answer.status}: {answer.text[:500]}")
        return object_of(answer, where)


def _task(row: Mapping[str, Any], where: str) -> Task:
    given = row.get(_PARAMS)
    params = given if isinstance(given, Mapping) else {}
    asked = params.get("input")
    if not asked or not isinstance(asked, str | list):
        raise ValueError(f"{where}: expected {_PARAMS}.input, a text or messages that are not empty; got {asked!r:.60}")
    told = [{"role": "user", "content": asked}] if isinstance(asked, str) else asked
    if instructions := params.get("instructions"):
        told = [{"role": "system", "content": instructions}, *told]
    prompt = tuple(_message(said, where=where) for said in told)
    return Task(id=where.rpartition(":")[2], prompt=prompt, data=row)


def _message(said: Any, *, where: str) -> Message:
    role = said.get("role") if isinstance(said, Mapping) else None
    content = said.get("content") if isinstance(said, Mapping) else None
    if isinstance(content, list) and all(isinstance(p, Mapping) and isinstance(p.get("text"), str) for p in content):
        content = "\n".join(part["text"] for part in content)
    if role not in _ROLES or not isinstance(content, str):
        raise ValueError(f"{where}: {said!r:.200} is no message of text with one of the roles {sorted(_ROLES)}")
    return {"role": _ROLES[role], "content": content}
