"""An environment of the `verifiers` package as a gym: `verifiers:<environment>`, where that package is installed.

Single-turn environments only: their data set gives the tasks, and their rubric, asked once for each response with the
columns that it wants, gives the value (the weighted sum of its functions over the sum of the positive weights). A
rubric that needs a model as judge cannot be asked here; it raises, which masks the sample.
"""

from __future__ import annotations

import asyncio
import importlib
import inspect
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

from pydantic import ConfigDict

from gyms.api import Gym, GymSettings, Needs, Score, Services, Split, Status, Task, message

__all__ = ["VerifiersEnvironment", "gym_of_environment"]


class VerifiersSettings(GymSettings):
    """What the environment is loaded with."""

    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True)

    env_args: dict[str, Any] = {}  # noqa: RUF012  # pydantic copies defaults
    """Arguments of the environment's `load_environment`."""


class VerifiersEnvironment(Gym):
    """Scores by the rubric of an environment; see the head of the file."""

    Settings = VerifiersSettings
    settings: VerifiersSettings
    needs = Needs(wall_seconds=120.0, processes=True, network=True)
    environment: ClassVar[str] = ""

    def __init__(self, settings: VerifiersSettings, services: Services) -> None:
        super().__init__(settings, services)
        self._env = _library().load_environment(self.environment, **settings.env_args)

    def tasks(self, split: Split) -> Sequence[Task]:
        rows = self._env.get_dataset() if split == "train" else self._env.get_eval_dataset()
        return [_task(row, f"{split}/{number}") for number, row in enumerate(rows)]

    def score(self, task: Task, response: str) -> Score:
        completion = [message("assistant", response)]
        known = {
            **task.data,
            "prompt": list(task.prompt),
            "completion": completion,
            "answer": task.data.get("answer", ""),
            "state": {"prompt": list(task.prompt), "completion": completion, **task.data},
            "parser": getattr(self._env.rubric, "parser", None),
        }
        functions, weights = _rubric_of(self._env.rubric)
        values = {function.__name__: _call(function, known) for function in functions}
        total = sum(weight for weight in weights if weight > 0)
        value = sum(weight * part for weight, part in zip(weights, values.values(), strict=True)) / total
        return Score(status=Status.OK, value=min(1.0, max(0.0, value)), components=values)


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
    if not hasattr(found, "load_environment"):
        version = getattr(found, "__version__", "unknown")
        raise ValueError(
            f"the package `verifiers` of version {version} has no `load_environment`, by which its environments are "
            "loaded: pip install 'verifiers<0.2'"
        )
    return found


def _rubric_of(rubric: Any) -> tuple[list[Any], list[float]]:
    """The rubric's functions and weights; their names differ between versions of the package."""
    functions = getattr(rubric, "funcs", None) or getattr(rubric, "reward_funcs", None) or []
    weights = getattr(rubric, "weights", None) or getattr(rubric, "reward_weights", None) or [1.0] * len(functions)
    if not functions or len(functions) != len(weights) or not any(weight > 0 for weight in weights):
        raise ValueError(f"the rubric {type(rubric).__name__} has no reward functions with a positive weight")
    return list(functions), [float(weight) for weight in weights]


def _call(function: Any, known: Mapping[str, Any]) -> float:
    """One reward function, asked with the arguments that it names."""
    parameters = inspect.signature(function).parameters.values()
    takes_all = any(parameter.kind is inspect.Parameter.VAR_KEYWORD for parameter in parameters)
    names = {parameter.name for parameter in parameters}
    value = function(**{name: part for name, part in known.items() if takes_all or name in names})
    return float(asyncio.run(value) if inspect.iscoroutine(value) else value)


def _task(row: Mapping[str, Any], task_id: str) -> Task:
    asked = row.get("prompt", row.get("question", ""))
    if isinstance(asked, str):
        messages = (message("user", asked),)
    else:
        messages = tuple({"role": str(m["role"]), "content": str(m["content"])} for m in asked)
    return Task(id=task_id, prompt=messages, data={name: value for name, value in row.items() if name != "prompt"})
