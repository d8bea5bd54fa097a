"""An environment of the `verifiers` package as a gym: `verifiers:<environment>`, where that package is installed.

Single-turn, multi-turn, tool and stateful-tool environments alike: the environment's own `rollout` runs, with this
episode in the place of its client. It asks for the next response, gets what the policy said, and says something new or
ends; so its set-up, its stop conditions, its tools and its clean-up are the package's, not ours. Its data set gives
the tasks, and its rubric the value: the weighted sum of its functions over the sum of the positive weights, within
[0, 1]; functions without a weight are components.

*Faults.* The package counts a reward function that raises, or gives what is no finite number, as 0 or worse; here that
is a fault, since the rubric may be what is wrong: a control sample tells. So is an error that ends a rollout, but where
a tool raised one that its environment stops for: that is the model's. What the package calls a fault of its
infrastructure (sandboxes, tunnels), and a connection that fails, masks without a control. A call that cannot be read is
answered here, and the environment does not hear of it.

*Time.* An environment's own limit on a rollout is taken away: it would count the time that the policy takes to answer,
which is the engines' affair. `needs` bounds what the environment does in each call.

Left out: groups of environments; rubrics that score siblings together or ask a model as judge; environments that
rewrite the prompt or what was said before, for those have no history that only grows (they raise, which masks); images.
`verifiers` seeds nothing: an episode is a function of its turns as far as its environment is.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
import importlib
import inspect
import json
import math
import queue
import signal
import threading
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, ClassVar

from pydantic import ConfigDict

from gyms.api import (
    Call,
    Environment,
    Episode,
    Gym,
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
    message,
    refusal,
    tool_result,
)

__all__ = ["VerifiersEnvironment", "gym_of_environment"]

_HANDLED = (signal.SIGINT, signal.SIGTERM)
_CLOSE_SECONDS = 60.0
"""Longest that the clean-up of a rollout may take."""


class VerifiersSettings(GymSettings):
    """What the environment is loaded with."""

    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True)

    env_args: dict[str, Any] = {}  # noqa: RUF012  # pydantic copies defaults
    """Arguments of the environment's `load_environment`."""


class VerifiersEnvironment(Environment):
    """Plays in an environment, and scores by its rubric; see the head of the file."""

    Settings = VerifiersSettings
    settings: VerifiersSettings
    needs = Needs(wall_seconds=600.0, processes=True, network=True)
    environment: ClassVar[str] = ""
    max_turns: int  # type: ignore[misc]

    def __init__(self, settings: VerifiersSettings, services: Services) -> None:
        super().__init__(settings, services)
        library = _library()
        with _keeping_signal_handlers():
            self._env = library.load_environment(self.environment, **settings.env_args)
        if isinstance(self._env, library.EnvGroup):
            raise ValueError(
                f"verifiers:{self.environment} is a group of environments, whose tools and rubrics are its members': "
                "give each of them as a gym of its own"
            )
        if getattr(self._env, "timeout_seconds", None) is not None:
            self._env.timeout_seconds = None
        limit = getattr(self._env, "max_turns", 0)
        self.max_turns = limit if limit > 0 else Environment.max_turns

    def tasks(self, split: Split) -> Sequence[Task]:
        return self._train if split == "train" else self._heldout

    @functools.cached_property
    def _train(self) -> tuple[Task, ...]:
        """Made once: a run asks for its tasks at every step."""
        return tuple(_task(row, f"train/{number}") for number, row in enumerate(self._env.get_dataset()))

    @functools.cached_property
    def _heldout(self) -> tuple[Task, ...]:
        return tuple(_task(row, f"heldout/{number}") for number, row in enumerate(self._env.get_eval_dataset()))

    def tools(self, task: Task) -> Sequence[Tool]:
        info = task.data.get("info")
        info = json.loads(info) if isinstance(info, str) else info  # as the package reads it
        told = info.get("tool_defs", self._env.tool_defs) if isinstance(info, Mapping) else self._env.tool_defs
        return tuple(
            Tool(name=tool["name"], description=tool["description"], parameters=tool["parameters"])
            for tool in told or ()
        )

    def start(self, task: Task, seed: int) -> Episode:
        return _Rollout(self._env, task, self.tools(task), self._loop)

    @functools.cached_property
    def _loop(self) -> asyncio.AbstractEventLoop:
        """On a thread of its own, which ends with the process."""
        loop = asyncio.new_event_loop()
        threading.Thread(target=loop.run_forever, name="verifiers", daemon=True).start()
        return loop


class _Rollout(Episode):
    """A rollout of the environment, which waits for the next turn whenever it is not asked."""

    def __init__(self, env: Any, task: Task, tools: Sequence[Tool], loop: asyncio.AbstractEventLoop) -> None:
        self._env = env
        self._tools = tools
        self._loop = loop
        self._asked: queue.SimpleQueue[list[Any] | None] = queue.SimpleQueue()
        self._client = _handover()(self._asked)
        row = {**task.data, "prompt": [dict(said) for said in task.prompt]}
        self._rollout: asyncio.Task[Any] = self._within(self._begun(row))
        self._heard: list[Any] = []
        """Messages of the conversation, as the environment has them."""
        asked = self._next()
        if asked is None:
            self.close()
            raise RuntimeError(f"the environment ended its rollout before it began: {self._state.get('error')!r}")
        if [_message(said, {}) for said in asked] != [*task.prompt]:
            self.close()
            raise ValueError(
                f"task {task.id!r}: its environment asks something else than its prompt, which cannot be followed"
            )

    def step(self, turn: Turn) -> Reply:
        calls = [call for call in turn.calls if call.arguments is not None]
        if turn.calls and not calls:
            return Reply(messages=tuple(refusal(call, self._tools) for call in turn.calls))
        response = self._client.response_of(turn, calls)
        known = [*self._heard, response.message]
        self._loop.call_soon_threadsafe(self._client.turns.put_nowait, response)
        asked = self._next()
        if asked is None:
            new = _listed(self._state.get("final_env_response"))
        elif list(map(_facts, asked[: len(known)])) == list(map(_facts, known)):
            new = asked[len(known) :]
        else:
            raise ValueError("this environment of verifiers rewrites what was said before, which cannot be followed")
        names = {call.id: call.tool for call in turn.calls}
        said = [_message(one, names) for one in new]
        answers = {one["tool_call_id"]: one for one in said if one["role"] == "tool"}
        for call in turn.calls:
            if call.arguments is None:
                answers[call.id] = refusal(call, self._tools)
            elif asked is not None:
                answers.setdefault(call.id, tool_result(call, "(no answer)"))
        others = [one for one in said if one["role"] != "tool"]
        return Reply(messages=(*answers.values(), *others), is_done=asked is None)

    def score(self) -> Score:
        state = self._state
        if state.get("timed_out"):
            raise ServiceFailed("the environment ended its rollout for the time that it took, the policy's included")
        if not state["trajectory"]:
            return Score(status=Status.NO_ANSWER, detail="no turn was taken")
        if (error := state.get("error")) is not None and not isinstance(error, _library().ToolError):
            kind = ServiceFailed if _is_services(error) else RuntimeError
            raise kind(f"the environment ended its rollout: {error!r}; cause: {error.__cause__!r}")
        with _telling_services():
            return self._within(self._scored(state))

    def close(self) -> None:
        self._within(self._ended())
        if self._client.state is not None:
            self._within(self._env.rubric.cleanup(self._client.state))

    async def _begun(self, row: Mapping[str, Any]) -> asyncio.Task[Any]:
        rollout = asyncio.create_task(self._env.rollout(row, self._client, "policy", {}))
        rollout.add_done_callback(lambda ended: self._asked.put(None))
        return rollout

    async def _ended(self) -> None:
        """End the rollout, and wait for the clean-up that its environment does there."""
        self._rollout.cancel()
        await asyncio.wait({self._rollout}, timeout=_CLOSE_SECONDS)
        if not self._rollout.done():
            raise TimeoutError(f"the environment does not clean up within {_CLOSE_SECONDS:g} s")
        if not self._rollout.cancelled():
            self._rollout.exception()  # it was told where it mattered; asyncio shall not tell it again

    @property
    def _state(self) -> Any:
        """The rollout's; raises what ended it, where it broke."""
        with _telling_services():
            return self._rollout.result() if self._rollout.done() else self._client.state

    def _next(self) -> list[Any] | None:
        """What the policy is asked now; None where the rollout has ended."""
        asked = self._asked.get()
        if asked is not None:
            self._heard = asked
        return asked

    def _within(self, work: Any) -> Any:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result()

    async def _scored(self, state: Any) -> Score:
        await self._env.render_completion(state)
        values: dict[str, float] = {}
        total = paid = 0.0
        for rubric in _rubrics(self._env.rubric):
            known = rubric.score_objects(state)
            for function, weight in zip(rubric.funcs, rubric.weights, strict=True):
                if rubric._is_group_func(function):
                    raise ValueError(f"the reward function {function.__name__} scores siblings together")
                values[function.__name__] = value = await _called(function, known)
                total += weight * value
                paid += max(weight, 0.0)
        if not paid:
            raise ValueError("the rubric has no reward function with a positive weight")
        return Score(status=Status.OK, value=min(1.0, max(0.0, _finite(total / paid, "the rubric"))), components=values)


def gym_of_environment(name: str) -> type[Gym]:
    """The gym class behind the reference `verifiers:<name>`; ValueError where the package is not installed."""
    if not name:
        raise ValueError("verifiers: expected verifiers:<environment>")
    _library()
    return type("VerifiersGym", (VerifiersEnvironment,), {"environment": name, "__module__": __name__})


def _library() -> Any:
    try:
        found = importlib.import_module("verifiers")
    except ImportError as error:
        raise ValueError(f"the package `verifiers` is not installed ({error}): pip install 'verifiers<0.2'") from error
    try:
        found.load_environment  # noqa: B018 - imported when it is asked for
    except (AttributeError, ImportError) as error:
        version = getattr(found, "__version__", "unknown")
        raise ValueError(
            f"the package `verifiers` of version {version} has no `load_environment`, by which its environments are "
            f"loaded ({error.__cause__ or error}): pip install 'verifiers<0.2'"
        ) from error
    return found


@functools.cache
def _handover() -> type[Any]:
    """The class of clients that hand the conversation over and wait for a turn."""
    base: Any = importlib.import_module("verifiers.clients").Client
    types: Any = importlib.import_module("verifiers.types")

    class Handover(base):
        def __init__(self, asked: queue.SimpleQueue[list[Any] | None]) -> None:
            super().__init__(asked)
            self.turns: asyncio.Queue[Any] = asyncio.Queue()
            self.state: Any = None
            """Of the rollout, once it has asked for a response."""

        def response_of(self, turn: Turn, calls: Sequence[Call]) -> Any:
            """What the policy said, as the package has it."""
            told = [types.ToolCall(id=c.id, name=c.tool, arguments=json.dumps(dict(c.arguments or {}))) for c in calls]
            reason = "length" if turn.is_truncated else "tool_calls" if told else "stop"
            said = types.ResponseMessage(
                content=turn.text, tool_calls=told or None, finish_reason=reason, is_truncated=turn.is_truncated
            )
            return types.Response(id="", created=0, model="policy", message=said)

        async def get_native_response(self, prompt, model, sampling_args, tools=None, **kwargs):
            self.state = kwargs["state"]
            self.client.put(list(prompt))
            return await self.turns.get()

        def setup_client(self, config):
            raise NotImplementedError

        async def to_native_tool(self, tool):
            return tool

        async def to_native_prompt(self, messages):
            return messages, {}

        async def raise_from_native_response(self, response):
            return None

        async def from_native_response(self, response):
            return response

        async def close(self):
            return None

    return Handover


@contextlib.contextmanager
def _keeping_signal_handlers() -> Iterator[None]:
    """The package's environments take Ctrl-C and SIGTERM for themselves; a run has handlers of its own."""
    kept = {number: signal.getsignal(number) for number in _HANDLED}
    try:
        yield
    finally:
        for number, handler in kept.items():
            if handler is not None:
                signal.signal(number, handler)


def _rubrics(rubric: Any) -> Iterator[Any]:
    """A rubric, or those of a group."""
    inner = getattr(rubric, "rubrics", None)
    if inner is None:
        yield rubric
    for one in inner or ():
        yield from _rubrics(one)


async def _called(function: Any, known: Mapping[str, Any]) -> float:
    """One reward function, asked with the arguments that it names."""
    parameters = inspect.signature(function).parameters.values()
    takes_all = any(parameter.kind is inspect.Parameter.VAR_KEYWORD for parameter in parameters)
    names = {parameter.name for parameter in parameters}
    value = function(**{name: part for name, part in known.items() if takes_all or name in names})
    return _finite(float(await value if inspect.isawaitable(value) else value), f"the function {function.__name__}")


def _finite(value: float, what: str) -> float:
    if not math.isfinite(value):
        raise ValueError(f"{what} gave {value}, expected a finite number")
    return value


def _is_services(error: BaseException) -> bool:
    """Whether an error says that something failed which no turn can be blamed for."""
    return isinstance(error, ConnectionError | _library().InfraError)


@contextlib.contextmanager
def _telling_services() -> Iterator[None]:
    """Around what the package does: ServiceFailed for such an error."""
    try:
        yield
    except Exception as error:
        if _is_services(error):
            raise ServiceFailed(f"{type(error).__name__}: {error}; cause: {error.__cause__!r}") from error
        raise


def _task(row: Mapping[str, Any], task_id: str) -> Task:
    messages = tuple(message(said["role"], _text(said["content"])) for said in row["prompt"])
    return Task(id=task_id, prompt=messages, data={name: value for name, value in row.items() if name != "prompt"})


def _listed(said: Any) -> list[Any]:
    """What an environment says at the end: nothing, a text, or messages."""
    return [] if said is None else [{"role": "user", "content": said}] if isinstance(said, str) else list(said)


def _message(said: Any, names: Mapping[str, str]) -> Message:
    """A message of the package as one of ours; `names` are those of the tools that were called, by call."""
    if said["role"] == "tool":
        call = Call(id=said["tool_call_id"], tool=names.get(said["tool_call_id"], ""), arguments=None)
        return tool_result(call, _text(said["content"]))
    return {"role": said["role"], "content": _text(said["content"])}


def _facts(said: Any) -> tuple[Any, ...]:
    """What makes a message the same one."""
    calls = [(call["id"], call["name"], call["arguments"]) for call in said.get("tool_calls") or ()]
    return said["role"], _text(said["content"]), calls


def _text(content: Any) -> str:
    if isinstance(content, str) or content is None:
        return content or ""
    return "\n".join(part["text"] if part["type"] == "text" else f"({part['type']}, not shown)" for part in content)
