"""A gym over given tasks, for tests that choose among tasks."""

from __future__ import annotations

from collections.abc import Sequence

from gyms.api import Gym, GymSettings, Score, Services, Status, Task, message
from gyms.mixture import GymEntry

__all__ = ["ListedGym", "entry", "task"]


class ListedGym(Gym):
    """Its tasks are those that it is given."""

    def __init__(self, train: Sequence[Task], heldout: Sequence[Task] = ()) -> None:
        super().__init__(GymSettings(), Services())
        self._splits = {"train": tuple(train), "heldout": tuple(heldout)}

    def tasks(self, split):
        return self._splits[split]

    def score(self, task, response):
        return Score(status=Status.OK, value=float(response == "right"))


def task(name: str, text: str = "", **data) -> Task:
    """A task that asks for `text`, or for its name."""
    return Task(id=name, prompt=(message("user", text or name),), data=data)


def entry(name: str, tasks: Sequence[Task], heldout: Sequence[Task] = (), *, share: float = 1.0) -> GymEntry:
    """A gym over those tasks."""
    return GymEntry(name=name, gym=ListedGym(tasks, heldout), share=share, budget=8)
