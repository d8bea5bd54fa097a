"""Splits of any size whose tasks are made when they are asked for."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from typing import overload

from gyms.api import Task

__all__ = ["LazyTasks"]


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
