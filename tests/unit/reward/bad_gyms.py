"""Gyms that break in every way that the scorer must survive; `Gym.score` does what the response says."""

from __future__ import annotations

import ctypes
import os
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from pathlib import Path

from gyms.api import Gym, GymSettings, Needs, Score, Services, Split, Status, Task, message


class Obedient(Gym):
    """Scores 1.0, unless the response asks for a disaster."""

    needs = Needs(wall_seconds=0.6)

    def tasks(self, split: Split) -> Sequence[Task]:
        return [Task(id=f"{split}/0", prompt=(message("user", split),))]

    def score(self, task: Task, response: str) -> Score:
        name, _, argument = response.partition(" ")
        return getattr(self, f"do_{name}", self.do_well)(argument)

    def do_well(self, argument: str) -> Score:
        return Score(status=Status.OK, value=1.0, answer=f"{os.getpid()}")

    def do_hang(self, argument: str) -> Score:
        while True:
            pass

    def do_sleep(self, argument: str) -> Score:
        time.sleep(float(argument))
        return self.do_well("")

    def do_exit(self, argument: str) -> Score:
        os._exit(7)

    def do_segfault(self, argument: str) -> Score:
        ctypes.string_at(0)
        raise AssertionError("still alive")

    def do_raise(self, argument: str) -> Score:
        raise KeyError("lost\nkey")

    def do_recurse(self, argument: str) -> Score:
        return self.do_recurse(argument)

    def do_print(self, argument: str) -> Score:
        print("x" * 300_000)
        print("y" * 300_000, file=sys.stderr, flush=True)
        os.write(1, b"GYM1 not a frame")
        return self.do_well("")

    def do_close(self, argument: str) -> Score:
        os.closerange(0, 256)
        if argument == "hang":
            time.sleep(60)
        return self.do_well("")

    def do_scribble(self, argument: str) -> Score:
        """Writes garbage to every descriptor that takes it."""
        for fd in range(3, 64):
            try:
                os.write(fd, b"garbage " * 4)
            except OSError:
                continue
        return self.do_well("")

    def do_float(self, argument: str) -> Score:
        return 1.0  # type: ignore[return-value]

    def do_nan(self, argument: str) -> Score:
        return Score(status=Status.OK, value=1.0, components={"x": float("nan")})

    def do_truncated(self, argument: str) -> Score:
        return Score(status=Status.TRUNCATED)

    def do_fork(self, argument: str) -> Score:
        os.fork()
        return self.do_well("")

    def do_spawn(self, argument: str) -> Score:
        """Leaves a child behind and hangs."""
        child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
        Path(argument).write_text(str(child.pid))
        time.sleep(60)
        raise AssertionError("not killed")

    def do_orphan(self, argument: str) -> Score:
        """Exits while a fork of it holds the pipes open."""
        if os.fork() == 0:
            time.sleep(60)
        os._exit(0)

    def do_thread(self, argument: str) -> Score:
        threading.Thread(target=time.sleep, args=(60,)).start()
        return self.do_well("")

    def do_scratch(self, argument: str) -> Score:
        assert self.services.scratch is not None
        (self.services.scratch / "file").write_text("x")
        return Score(status=Status.OK, value=1.0, answer=str(self.services.scratch))

    def do_judge(self, argument: str) -> Score:
        with Path(argument).open("a") as calls:
            calls.write("x")
        return Score(status=Status.JUDGE_FAILED, detail="no verdict")

    def do_once(self, argument: str) -> Score:
        """Crashes at the first call only: the retry must save the sample."""
        if not Path(argument).exists():
            Path(argument).write_text("")
            os._exit(1)
        return self.do_well("")


class CannotBuild(Obedient):
    def __init__(self, settings: GymSettings, services: Services) -> None:
        raise RuntimeError("no licence")


class HangsInBuild(Obedient):
    def __init__(self, settings: GymSettings, services: Services) -> None:
        time.sleep(60)


class NoDeadline(Obedient):
    needs = Needs(wall_seconds=float("inf"))
