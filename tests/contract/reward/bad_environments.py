"""Environments that break in every way that a seat must survive; an episode does what its turns say."""

from __future__ import annotations

import ctypes
import os
import time
from collections.abc import Sequence
from pathlib import Path

from gyms.api import Environment, Episode, Needs, Reply, Score, ServiceFailed, Split, Status, Task, Turn, message

is_spoilt = False


class Doing(Episode):
    """Answers a turn with how many there were and what they said; scores 1.0 where one of them said "well"."""

    def __init__(self, task: Task) -> None:
        self.task = task
        self.said: list[str] = []

    def step(self, turn: Turn) -> Reply:
        self.said.append(turn.text)
        name, _, argument = turn.text.partition(" ")
        getattr(self, f"do_{name}", self.do_nothing)(argument)
        if name == "float":
            return 1.0  # type: ignore[return-value]
        if name == "silent":
            return Reply()
        told = {"pid": str(os.getpid()), "large": "x" * 2_000_000}.get(name, f"{len(self.said)} {' '.join(self.said)}")
        return Reply(messages=(message("user", told),), is_done=name == "done")

    def score(self) -> Score:
        if self.said and self.said[-1] == "unscored":
            raise KeyError("lost")
        if self.said and self.said[-1] == "unjudged":
            raise ServiceFailed("status 503")
        if self.said and self.said[-1] == "bad":
            return Score(status=Status.BAD_TASK, detail="says the environment")
        return Score(status=Status.OK, value=float("well" in self.said), answer=" ".join(self.said))

    def close(self) -> None:
        if (mark := self.task.data.get("mark")) is not None:
            with Path(mark).open("a") as file:
                file.write(f"{' '.join(self.said)}\n")
        if "unclosed" in self.said:
            raise OSError("stuck")
        if "unending" in self.said:
            self.do_hang("")

    def do_nothing(self, argument: str) -> None:
        pass

    def do_hang(self, argument: str) -> None:
        time.sleep(1000.0)

    def do_spin(self, argument: str) -> None:
        while True:
            pass

    def do_wait(self, argument: str) -> None:
        while not Path(argument).exists():
            time.sleep(0.01)

    def do_exit(self, argument: str) -> None:
        os._exit(7)

    def do_segfault(self, argument: str) -> None:
        ctypes.string_at(0)

    def do_raise(self, argument: str) -> None:
        raise KeyError("lost")

    def do_unserved(self, argument: str) -> None:
        """Finds its service away; where a file is named, the first time alone."""
        if argument and Path(argument).exists():
            return
        if argument:
            Path(argument).touch()
        raise ServiceFailed("status 503")

    def do_scribble(self, argument: str) -> None:
        for fd in range(3, 4096):
            try:
                os.write(fd, b"garbage " * 4)
            except OSError:
                continue

    def do_once(self, argument: str) -> None:
        """Ends its process, unless it did so before."""
        if not Path(argument).exists():
            Path(argument).touch()
            os._exit(3)

    def do_spoil(self, argument: str) -> None:
        """From here on every `fragile` turn in this process raises."""
        global is_spoilt
        is_spoilt = True

    def do_fragile(self, argument: str) -> None:
        if is_spoilt:
            raise KeyError("spoilt")

    def do_mark(self, argument: str) -> None:
        with Path(argument).open("a") as file:
            file.write("x")

    def do_later(self, argument: str) -> None:
        """Ends its process, unless it is here for the first time."""
        if Path(argument).exists():
            os._exit(3)
        Path(argument).touch()

    def do_children(self, argument: str) -> None:
        if os.fork() == 0:
            time.sleep(1000.0)


class Obedient(Environment):
    needs = Needs(wall_seconds=120.0, processes=True, writes=("/",))  # far away: what is asked to answer must

    def tasks(self, split: Split) -> Sequence[Task]:
        return [Task(id=f"{split}/0", prompt=(message("user", split),))]

    def start(self, task: Task, seed: int) -> Episode:
        if task.data.get("start") == "raises":
            raise KeyError("no such place")
        if task.data.get("start") == "nothing":
            return None  # type: ignore[return-value]
        return Doing(task)

    def gold_turns(self, task: Task) -> Sequence[Turn] | None:
        gold = task.data.get("gold", ["well"])
        return None if gold is None else [Turn(text=text) for text in gold]


class RunsCode(Obedient):
    needs = Needs(wall_seconds=120.0, processes=True, writes=("/",), sandbox=True)


class Impatient(Obedient):
    needs = Needs(wall_seconds=1.0, processes=True, writes=("/",))


class Thrifty(Obedient):
    needs = Needs(wall_seconds=120.0, cpu_seconds=0.3, processes=True, writes=("/",))


class Undeclared(Obedient):
    needs = Needs(wall_seconds=120.0)
