"""check_gym passes a good gym and names what is broken in a bad one."""

from __future__ import annotations

import contextlib
import itertools
import socket
import subprocess
import threading
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

import pytest

from gyms.api import Gym, GymSettings, Needs, Score, Services, Split, Status, Task, message
from gyms.confinement.declared import UndeclaredNeed, watched
from gyms.testing import GymContractError, check_gym


class Good(Gym):
    """Say the number in words' length: the right answer is the number of letters."""

    def tasks(self, split: Split) -> Sequence[Task]:
        start = 1 if split == "train" else 11
        return [
            Task(
                id=f"{split}/{n}", prompt=(message("user", f"How many letters: {'q' * n}"),), data={"answer": f"<{n}>"}
            )
            for n in range(start, start + 10)
        ]

    def score(self, task: Task, response: str) -> Score:
        return Score(status=Status.OK, value=float(response == task.data["answer"]))

    def gold(self, task: Task) -> str:
        return str(task.data["answer"])


class GoldIsWrong(Good):
    def gold(self, task: Task) -> str:
        return "<0>"


class PaysForAnything(Good):
    def score(self, task: Task, response: str) -> Score:
        return Score(status=Status.OK, value=1.0)


class PaysForEcho(Good):
    def score(self, task: Task, response: str) -> Score:
        is_echo = "How many letters" in response
        return Score(status=Status.OK, value=float(is_echo or response == task.data["answer"]))


class RaisesOnSurrogates(Good):
    def score(self, task: Task, response: str) -> Score:
        response.encode("utf-8")
        return super().score(task, response)


class ReturnsAFloat(Good):
    def score(self, task: Task, response: str) -> Score:
        return 1.0  # type: ignore[return-value]


class Flickers(Good):
    counter = itertools.count()

    def score(self, task: Task, response: str) -> Score:
        value = super().score(task, response).value
        return Score(status=Status.OK, value=value, components={"call": float(next(self.counter) % 2)})


class Overlaps(Good):
    def fingerprint(self, task: Task) -> str:
        return "same"


class CannotBePickled(Good):
    lock = threading.Lock()

    def tasks(self, split: Split) -> Sequence[Task]:
        return [Task(id=t.id, prompt=t.prompt, data={**t.data, "lock": self.lock}) for t in super().tasks(split)]


class Leaks(Good):
    def tasks(self, split: Split) -> Sequence[Task]:
        return [
            Task(id=t.id, prompt=(message("user", f"{t.prompt[0]['content']} {t.data['answer']}"),), data=t.data)
            for t in super().tasks(split)
        ]


class TasksMove(Good):
    counter = itertools.count()

    def tasks(self, split: Split) -> Sequence[Task]:
        return [Task(id=f"{t.id}/{next(self.counter)}", prompt=t.prompt, data=t.data) for t in super().tasks(split)]


class SameIds(Good):
    def tasks(self, split: Split) -> Sequence[Task]:
        return [Task(id="one", prompt=t.prompt, data=t.data) for t in super().tasks(split)]


class NoHeldout(Good):
    def tasks(self, split: Split) -> Sequence[Task]:
        return super().tasks(split) if split == "train" else []


class SaysTruncated(Good):
    def score(self, task: Task, response: str) -> Score:
        score = super().score(task, response)
        return score if score.value else Score(status=Status.TRUNCATED)


class BlamesItself(Good):
    def score(self, task: Task, response: str) -> Score:
        score = super().score(task, response)
        return score if score.value else Score(status=Status.VERIFIER_ERROR, detail="oops")


class StartsProcesses(Good):
    def score(self, task: Task, response: str) -> Score:
        subprocess.run(["true"], check=True)
        return super().score(task, response)


class HidesItsLookup(Good):
    def score(self, task: Task, response: str) -> Score:
        with contextlib.suppress(Exception):
            socket.getaddrinfo("localhost", 80)
        return super().score(task, response)


class SaysThatItStartsProcesses(StartsProcesses):
    needs = Needs(processes=True)


class BaselineTooHigh(Good):
    baseline = 1.5


def build(gym_class: type[Gym]) -> Gym:
    return gym_class(GymSettings(), Services())


def test_a_good_gym_passes() -> None:
    check_gym(build(Good))


def test_a_gym_may_do_what_it_declares_and_its_checks_leave_others_alone() -> None:
    check_gym(build(SaysThatItStartsProcesses), max_tasks=1)
    subprocess.run(["true"], check=True)
    with watched(Needs(), only_this_thread=True), ThreadPoolExecutor(1) as pool:
        pool.submit(subprocess.run, ["true"], check=True).result()
        with pytest.raises(UndeclaredNeed):
            subprocess.run(["true"], check=True)


@pytest.mark.parametrize(
    ("gym_class", "message"),
    [
        (GoldIsWrong, r"GoldIsWrong: the gold response of task 'train/1' must score 1\.0, got ok with value 0\.0"),
        (
            PaysForAnything,
            r"PaysForAnything: .* scores 1\.000 on average over 20 tasks, above the declared baseline 0\.0",
        ),
        (PaysForEcho, r"an echo of the prompt scores 1\.000"),
        (RaisesOnSurrogates, r"score\('train/1', '\\ud800.*raised UnicodeEncodeError"),
        (ReturnsAFloat, "score returned float, expected gyms.api.Score"),
        (Flickers, r"scoring task 'train/1' is not deterministic"),
        (Overlaps, "are the same problem"),
        (CannotBePickled, "pickling task 'train/1' raised"),
        (Leaks, "20 of 20 prompts hold their own gold response"),
        (TasksMove, r"tasks\('train'\)\[0\] differs between two reads"),
        (SameIds, r"the task id \['one'\] is used more than once"),
        (NoHeldout, r"tasks\('heldout'\) is empty"),
        (SaysTruncated, "returned the status truncated, which only the pipeline may give"),
        (BlamesItself, r"is verifier_error with value None \(oops\), a fault of the gym"),
        (StartsProcesses, r"raised UndeclaredNeed: .*declare Needs\(processes=True\)"),
        (HidesItsLookup, r"raised UndeclaredNeed: .*declare Needs\(network=True\)"),
        (BaselineTooHigh, "baseline is 1.5, expected a number in"),
    ],
)
def test_a_broken_gym_is_told_what_broke(gym_class: type[Gym], message: str) -> None:
    with pytest.raises(GymContractError, match=message):
        check_gym(build(gym_class))
