"""The environment `openenv`: a server that speaks OpenEnv, asked with its own client (`openenv-core`).

`url` is the server. Every episode is a session of its own: `reset(seed=...)`, then an action a call, through the one
tool `act`, whose arguments are what the server's `/schema` says an action has. What the server answers is shown as
JSON. The reward is what the server gave: the last one or the sum (`reward`), divided by `max_reward`, within [0, 1].

*Tasks* are seeds: the n-th train task resets with `seed` + n, held-out ones behind all train ones, and the prompt is
`prompt` with what the reset showed. An episode is a function of (task, turns) as far as the server keeps its seed.

*Faults.* A server that is not there, goes away or answers what is no answer has failed: that masks the episode, and no
control sample makes it the model's fault; so has one that does not reset. An action that it refuses is told to the
model. One that it does not answer in time ends the episode, since its answer would be taken for the next one's, and so
does one behind which it closes the session; a control tells whose fault that is.

Left out: servers that are started from images (start them beside the run), and OpenEnv's MCP mode (see `mcp`).
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import cache, cached_property
from typing import Any, ClassVar, Literal

from pydantic import ConfigDict, Field

from gyms.adapters.served import Server, check_url, object_of, reward_of
from gyms.api import (
    Call,
    Environment,
    Episode,
    GymSettings,
    Needs,
    Score,
    ServiceFailed,
    Services,
    Split,
    Status,
    Task,
    Tool,
    message,
)
from gyms.episodes.calling import MAX_CALLS_A_TURN, Calling
from gyms.episodes.episode import Unplayable
from gyms.extras import require
from gyms.lazy import LazyTasks
from gyms.sandbox.told import shortened

__all__ = ["OpenEnv", "OpenEnvSettings"]

REFUSALS = ("(code: VALIDATION_ERROR)", "(code: EXECUTION_ERROR)")
"""How the server's words end for an action behind which the session goes on."""


class OpenEnvSettings(GymSettings):
    """Which server, and what is asked of it."""

    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True)

    url: str
    """Where the server listens, such as http://127.0.0.1:8000."""
    prompt: str = "Act in this environment with the tool `act` until it is done.\n\n{observation}"
    """What the model is told; {observation} is what the reset showed."""
    reward: Literal["last", "sum"] = "last"
    """Which of the server's rewards counts: the last one, or all together."""
    max_reward: float = Field(default=1.0, gt=0.0)
    """The reward that is worth 1."""
    reset: dict[str, Any] = Field(default_factory=dict)
    """Further arguments of every reset."""
    num_train: int = Field(default=1000, ge=1, le=10**9)
    """Train tasks."""
    num_heldout: int = Field(default=100, ge=1, le=10**6)
    """Held-out tasks."""
    seed: int = Field(default=0, ge=0)
    """Seed of the first train task."""
    step_seconds: float = Field(default=60.0, gt=0.0, le=150.0)
    """Longest time of one answer of the server, in seconds; at most what lets all actions of a turn end in time."""
    output_chars: int = Field(default=4000, ge=200, le=100_000)
    """Most characters of one observation; of a longer one, the middle is left out."""


class OpenEnv(Environment):
    """Plays in a server's environment; see the head of this file."""

    Settings = OpenEnvSettings
    needs = Needs(wall_seconds=1300.0, network=True)  # MAX_CALLS_A_TURN times the longest action, and some
    components: ClassVar[Mapping[str, str]] = {
        "reward": "what the server gave, before it is scaled",
        "num_calls": "actions that the server took",
        "is_done": "1 where the server ended the episode",
    }
    max_turns = 300
    settings: OpenEnvSettings

    def __init__(self, settings: OpenEnvSettings, services: Services) -> None:
        super().__init__(settings, services)
        require("openenv", user="the environment `openenv`")
        check_url(settings.url)

    def tasks(self, split: Split) -> Sequence[Task]:
        """Lazy: a task is reset, to see what it shows, when it is indexed."""
        return _Seeds(self, split)

    def tools(self, task: Task) -> Sequence[Tool]:
        return (self._tool,)

    def start(self, task: Task, seed: int) -> Episode:
        if type(task.data.get("seed")) is not int:
            return Unplayable(f"task {task.id!r}: data['seed'] must be a whole number")
        return _Session(self.settings, task.data["seed"], self._tool)

    def fingerprint(self, task: Task) -> str:
        return f"seed {task.data['seed']}"

    @cached_property
    def _tool(self) -> Tool:
        """An action of this server; what OpenEnv adds to every action is left out."""
        url = self.settings.url
        try:
            answer = Server(url, seconds=self.settings.step_seconds).get("schema")
            action = object_of(answer, f"{url}/schema")["action"]
        except (OSError, ServiceFailed, KeyError) as error:
            raise ValueError(f"url = {url!r}: no OpenEnv server answers there ({error}); start it") from error
        parameters = dict(action)
        parameters["properties"] = {name: s for name, s in action.get("properties", {}).items() if name != "metadata"}
        return Tool(name="act", description="Takes one action in the environment.", parameters=parameters)


class _Seeds(LazyTasks):
    """The tasks of a split."""

    def __init__(self, env: OpenEnv, split: Split) -> None:
        self._env = env
        self._split: Split = split

    def __len__(self) -> int:
        settings = self._env.settings
        return settings.num_train if self._split == "train" else settings.num_heldout

    def make(self, place: int) -> Task:
        settings = self._env.settings
        seed = settings.seed + place + (settings.num_train if self._split == "heldout" else 0)
        session = _Session(settings, seed, self._env.tools(Task(id="", prompt=()))[0])
        try:
            shown = session.shown
        finally:
            session.close()
        prompt = settings.prompt.replace("{observation}", shown)
        return Task(id=f"{self._split}/{place}", prompt=(message("user", prompt),), data={"seed": seed})


class _Session(Calling):
    """One session with the server, reset."""

    cut_off = "Your turn was cut off. Go on: call `act`."
    max_calls = MAX_CALLS_A_TURN

    def __init__(self, settings: OpenEnvSettings, seed: int, tool: Tool) -> None:
        super().__init__((tool,))
        self._settings = settings
        self._client = _direct_client()(base_url=settings.url, message_timeout_s=settings.step_seconds).sync()
        self._rewards: list[float] = []
        self._num_taken = 0
        try:
            with _failing(settings.url):
                self._client.connect()
                self.shown = self._told(self._client.reset(seed=seed, **settings.reset))
        except BaseException:
            self.close()
            raise

    def score(self) -> Score:
        rewards = self._rewards if self._settings.reward == "sum" else self._rewards[-1:]
        reward = reward_of(sum(rewards), f"the sum of {len(rewards)} rewards of {self._settings.url}")
        return Score(
            status=Status.OK,
            value=min(1.0, max(0.0, reward / self._settings.max_reward)),
            components={"reward": reward, "num_calls": float(self._num_taken), "is_done": float(self.is_over)},
        )

    def close(self) -> None:
        self._client.close()

    def run(self, call: Call) -> str:
        assert call.arguments is not None
        try:
            with _failing(self._settings.url, but_for=RuntimeError):
                told = self._told(self._client.step(dict(call.arguments)))
        except ServiceFailed:
            raise
        except RuntimeError as error:  # the server's word for an action that it refuses
            if not str(error).endswith(REFUSALS):  # it has closed the session
                raise
            return shortened(f"Error: {error}", self._settings.output_chars)
        self._num_taken += 1
        return told

    def _told(self, result: Any) -> str:
        if result.reward is not None:
            self._rewards.append(reward_of(result.reward, self._settings.url))
        self.is_over = bool(result.done)
        shown = {name: value for name, value in result.observation.items() if name != "metadata"}
        text = json.dumps(shown, sort_keys=True, ensure_ascii=False)
        text = text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")  # halves of pairs are no text
        return shortened(text, self._settings.output_chars)


@cache
def _direct_client() -> Any:
    """OpenEnv's client, but that it connects as `gyms.adapters.served` does: by no proxy of the environment."""
    core = require("openenv.core", user="the environment `openenv`")
    from websockets.asyncio.client import connect

    class Direct(core.GenericEnvClient):
        async def connect(self) -> Any:
            limits = {"open_timeout": self._connect_timeout, "max_size": self._max_message_size}
            try:
                self._ws = self._ws or await connect(self._ws_url, proxy=None, **limits)
            except Exception as error:  # also a wait in vain: nobody has asked anything yet
                raise ConnectionError(f"no connection to {self._ws_url}: {error}") from error
            return self

    return Direct


@contextmanager
def _failing(url: str, *, but_for: type[Exception] = TimeoutError) -> Iterator[None]:
    """Around a question by OpenEnv's client: what is neither a wait in vain nor `but_for` is the server's failure.

    Args:
        but_for: RuntimeError, the server's word, where the question is a model's.
    """
    try:
        yield
    except (ServiceFailed, but_for, TimeoutError):
        raise
    except Exception as error:  # of sockets, websockets, JSON: no list of its own
        raise ServiceFailed(f"url = {url!r}: the server fails: {type(error).__name__}: {error}") from error
