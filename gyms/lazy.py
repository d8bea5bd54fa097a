"""Splits of any size whose tasks are made when they are asked for, tasks by their ids, and settings of drawn tasks."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any, overload

from pydantic import ConfigDict, Field

from gyms.api import GymSettings, Split, Task

__all__ = ["DrawnSettings", "DrawnTasks", "LazyTasks", "find_tasks"]


class LazyTasks(Sequence[Task]):
    """A sequence of tasks by their place; a subclass says how many there are and makes one."""

    @abstractmethod
    def __len__(self) -> int: ...

    @abstractmethod
    def make(self, place: int) -> Task:
        """The task at a place in [0, len)."""

    @overload
    def __getitem__(self, index: int) -> Task: ...
    @overload
    def __getitem__(self, index: slice) -> Sequence[Task]: ...
    def __getitem__(self, index: int | slice) -> Task | Sequence[Task]:
        if isinstance(index, slice):
            return [self[i] for i in range(*index.indices(len(self)))]
        place = index + len(self) if index < 0 else index
        if not 0 <= place < len(self):
            raise IndexError(f"task index {index} is out of range: the split has {len(self)} tasks")
        return self.make(place)


def find_tasks(tasks: Sequence[Task], wanted: Mapping[str, int | None]) -> dict[str, Task]:
    """The tasks of those ids, without those that are not there: where they are said to be, else wherever they are.

    Args:
        tasks: of a split. All of it is looked through once where a task is not at its place.
        wanted: the place at which a task was, by its id; None: not known.
    """
    found = {
        name: tasks[place]
        for name, place in wanted.items()
        if place is not None and place < len(tasks) and tasks[place].id == name
    }
    missing = set(wanted) - set(found)
    for task in tasks if missing else ():
        if task.id in missing:
            found[task.id] = task
            missing.remove(task.id)
            if not missing:
                break
    return {name: found[name] for name in wanted if name in found}


class DrawnSettings(GymSettings):
    """How many tasks a gym draws, and which problems are held out; a gym adds what it asks."""

    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True)

    num_train: int = Field(default=10_000, ge=1, le=10**9)
    """Train tasks."""
    num_heldout: int = Field(default=200, ge=1, le=10**6)
    """Held-out tasks."""
    heldout_fraction: float = Field(default=0.1, gt=0.0, lt=1.0)
    """Fraction of all problems from which held-out tasks are drawn."""
    seed: int = 0
    """Seed of the tasks."""
    split_seed: int = 0
    """Seed of the split; keep it over a project, or held-out problems become train problems."""


class DrawnTasks(LazyTasks):
    """The tasks of a split by the settings of their gym; a subclass draws one."""

    def __init__(self, settings: DrawnSettings, split: Split) -> None:
        self._settings: Any = settings
        self._split: Split = split

    def __len__(self) -> int:
        return self._settings.num_train if self._split == "train" else self._settings.num_heldout
