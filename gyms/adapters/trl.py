"""A plain Python reward function with TRL's signature, as a gym: `trl:module:function` or `trl:file.py:function`.

    def reward(prompts, completions, **kwargs) -> list[float]

`prompts` and `completions` are lists of equal length; each column of the data comes as a keyword argument, a list too.
The function is asked with one completion, or with all siblings of a task (`per_group`): TRL's functions may compare
them. Its values are divided by `max_value`; what is not a finite number in [0, max_value] is a fault of the function
and masks the sample, a None masks it too (TRL's sign for "not judged by me").

Completions are plain texts, or lists with one chat message where `chat` is true, as TRL has it for chat data. Tasks
come from a file of rows (JSONL, JSON, Parquet) with `prompt` and whatever columns the function wants.
"""

from __future__ import annotations

import importlib
import importlib.util
import inspect
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar

from pydantic import ConfigDict, Field

from gyms.api import Gym, GymSettings, Needs, Score, Services, Split, Status, Task, message
from gyms.rows import make_all, read_file

__all__ = ["RewardFunction", "RewardFunctionSettings", "gym_of_function"]

_OWN = frozenset({"prompt", "prompts", "completions"})
"""Arguments of the function that are no columns."""


class RewardFunctionSettings(GymSettings):
    """How the function is called, and where the tasks come from."""

    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True)

    function: str = ""
    """`module:function` or `file.py:function`; empty where the gym's reference names it."""
    train_file: Path | None = None
    """File of train rows: `prompt`, and the columns that the function wants."""
    heldout_file: Path | None = None
    """File of held-out rows."""
    max_value: float = Field(default=1.0, gt=0.0)
    """The function's highest value; becomes 1."""
    chat: bool = False
    """True: a completion is `[{"role": "assistant", "content": text}]`, a prompt a list of messages."""


class RewardFunction(Gym):
    """Scores by a function with TRL's signature; see the head of the file."""

    Settings = RewardFunctionSettings
    settings: RewardFunctionSettings
    needs = Needs(wall_seconds=60.0, processes=True, network=True)  # what a plain function does, it cannot declare
    components: ClassVar[Mapping[str, str]] = {"raw": "the function's own value"}
    default_function: ClassVar[str] = ""
    """The function where the settings name none."""

    def __init__(self, settings: RewardFunctionSettings, services: Services) -> None:
        super().__init__(settings, services)
        self._function = load_function(settings.function or self.default_function)

    def tasks(self, split: Split) -> Sequence[Task]:
        path = self.settings.train_file if split == "train" else self.settings.heldout_file
        if path is None:
            raise ValueError(
                f"a reward function has no tasks of its own: give {split}_file, a file of rows with `prompt`"
            )
        made, _ = make_all(read_file(path), _task, skip_malformed=None)
        return [replace(task, id=f"{split}/{number}") for number, task in enumerate(made)]

    def score(self, task: Task, response: str) -> Score:
        return self.score_group(task, [response])[0]

    def score_group(self, task: Task, responses: Sequence[str]) -> Sequence[Score]:
        count = len(responses)
        columns = {name: [value] * count for name, value in task.data.items() if name not in _OWN}
        prompt: Any = (
            [dict(m) for m in task.prompt] if self.settings.chat else "\n".join(m["content"] for m in task.prompt)
        )
        completions: list[Any] = [
            [{"role": "assistant", "content": response}] if self.settings.chat else response for response in responses
        ]
        values = self._function(prompts=[prompt] * count, completions=completions, **columns)
        if not hasattr(values, "__len__") or len(values) != count:
            raise TypeError(f"the reward function returned {values!r:.100} for {count} completions, expected a list")
        return [self._score_of(value) for value in values]

    def _score_of(self, value: Any) -> Score:
        if value is None:
            return Score(status=Status.JUDGE_FAILED, detail="the reward function gave None")
        number = float(value)
        if not math.isfinite(number) or not 0.0 <= number <= self.settings.max_value:
            raise ValueError(f"the reward function gave {number}, expected 0 to {self.settings.max_value:g}")
        return Score(status=Status.OK, value=number / self.settings.max_value, components={"raw": number})


def gym_of_function(function: str) -> type[Gym]:
    """The gym class behind the reference `trl:<module:function>`."""
    if ":" not in function:
        raise ValueError(f"trl:{function}: expected trl:module:function or trl:file.py:function")
    return type("TrlReward", (RewardFunction,), {"default_function": function, "__module__": __name__})


def load_function(reference: str) -> Callable[..., Any]:
    """The function behind `module:function` or `file.py:function`; ValueError where there is none."""
    place, _, name = reference.rpartition(":")
    if not place or not name:
        raise ValueError(f"function = {reference!r}: expected module:function or file.py:function")
    if place.endswith(".py"):
        path = Path(place).expanduser().resolve()
        spec = importlib.util.spec_from_file_location(f"_reward_{path.stem}", path) if path.is_file() else None
        if spec is None or spec.loader is None:
            raise ValueError(f"function = {reference!r}: there is no file {path}")
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
    else:
        module = importlib.import_module(place)
    function = getattr(module, name, None)
    if not callable(function):
        raise ValueError(f"function = {reference!r}: {place} has no function {name!r}")
    if inspect.iscoroutinefunction(function):
        raise ValueError(f"function = {reference!r}: it is async; reward functions are called plainly here")
    return function


def _task(row: Mapping[str, Any], where: str) -> Task:
    prompt = row.get("prompt")
    if isinstance(prompt, str):
        messages = (message("user", prompt),)
    elif isinstance(prompt, list) and all(isinstance(m, dict) and {"role", "content"} <= set(m) for m in prompt):
        messages = tuple({"role": str(m["role"]), "content": str(m["content"])} for m in prompt)
    else:
        raise ValueError(f"{where}: a row needs 'prompt', a text or a list of messages, got the keys {sorted(row)}")
    return Task(id=where, prompt=messages, data={name: value for name, value in row.items() if name != "prompt"})
