"""Tasks by their ids, in splits that make a task when it is asked for."""

from __future__ import annotations

from gyms.api import Task
from gyms.lazy import LazyTasks, find_tasks


class Counted(LazyTasks):
    """As many tasks as one likes, and which were made."""

    def __init__(self, num: int) -> None:
        self.num = num
        self.made: list[int] = []

    def __len__(self) -> int:
        return self.num

    def make(self, place: int) -> Task:
        self.made.append(place)
        return Task(id=f"t{place}", prompt=(), data={})


def test_a_task_at_its_place_is_found_without_making_another() -> None:
    tasks = Counted(10**9)
    found = find_tasks(tasks, {"t900000000": 900_000_000, "t3": 3})
    assert [task.id for task in found.values()] == ["t900000000", "t3"]
    assert set(tasks.made) == {900_000_000, 3}


def test_a_task_that_moved_or_whose_place_is_not_known_is_looked_for_once() -> None:
    tasks = Counted(50)
    assert list(find_tasks(tasks, {"t4": 9, "t2": None, "t1": 1, "gone": 70})) == ["t4", "t2", "t1"]
    assert len(tasks.made) <= 50 + 3, "one pass, and the places that were tried"
    tasks.made.clear()
    assert find_tasks(tasks, {"t5": None}).keys() == {"t5"} and tasks.made == list(range(6))
