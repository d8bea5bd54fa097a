"""Gyms that break in every way that the scorer must survive; `Gym.score` does what the response says."""

from __future__ import annotations

import ctypes
import os
import random
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import ClassVar

from gyms.api import CaseResult, Gym, GymSettings, Needs, Score, ServiceFailed, Services, Split, Status, Task, message
from gyms.response import final_text, whole_of

ANYWHERE = "/"
"""These gyms leave marks where tests look for them."""


class Lenient(Gym):
    """Says that there is no answer, and pays for that."""

    minimum = baseline = 0.25

    def tasks(self, split: Split) -> Sequence[Task]:
        return [Task(id=f"{split}/0", prompt=(message("user", split),))]

    def score(self, task: Task, response: str) -> Score:
        return Score(status=Status.NO_ANSWER)


class Obedient(Gym):
    """Scores 1.0, unless the response asks for a disaster."""

    needs = Needs(
        wall_seconds=120.0, processes=True, writes=(ANYWHERE,)
    )  # far away: what is asked to answer must, on a busy machine too

    def tasks(self, split: Split) -> Sequence[Task]:
        return [Task(id=f"{split}/0", prompt=(message("user", split),))]

    def score(self, task: Task, response: str) -> Score:
        name, _, argument = response.partition(" ")
        return getattr(self, f"do_{name}", self.do_well)(argument)

    def do_well(self, argument: str) -> Score:
        return Score(status=Status.OK, value=1.0, answer=f"{os.getpid()}")

    def do_spoil(self, argument: str) -> Score:
        """From here on every `fragile` response raises in this process."""
        self.is_spoilt = True
        return self.do_well("")

    def do_fragile(self, argument: str) -> Score:
        if getattr(self, "is_spoilt", False):
            raise KeyError("spoilt")
        return self.do_well("")

    def do_hang(self, argument: str) -> Score:
        while True:
            pass

    def do_sleep(self, argument: str) -> Score:
        time.sleep(float(argument))
        return self.do_well("")

    def do_wait(self, argument: str) -> Score:
        """Answers once there is such a file."""
        while not Path(argument).exists():
            time.sleep(0.01)
        return self.do_well("")

    def do_exit(self, argument: str) -> Score:
        os._exit(7)

    def do_segfault(self, argument: str) -> Score:
        ctypes.string_at(0)
        raise AssertionError("still alive")

    def do_raise(self, argument: str) -> Score:
        raise KeyError("lost\nkey")

    def do_down(self, argument: str) -> Score:
        """Raises while there is such a file."""
        if Path(argument).exists():
            raise OSError("no such device")
        return self.do_well("")

    def do_unserved(self, argument: str) -> Score:
        raise ServiceFailed("status 503")

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
        for fd in range(3, 4096):
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

    def do_daemon(self, argument: str) -> Score:
        """Leaves a process that went into a session of its own, twice removed, and answers."""
        if os.fork() == 0:
            os.setsid()
            if os.fork() == 0:
                Path(argument).write_text(str(os.getpid()))
                time.sleep(600)
            os._exit(0)
        while not Path(argument).exists() or not Path(argument).read_text():
            time.sleep(0.005)
        return self.do_well("")

    def do_forkbomb(self, argument: str) -> Score:
        for _ in range(5):
            os.fork()
        time.sleep(60)
        raise AssertionError("not killed")

    def do_quit(self, argument: str) -> Score:
        sys.exit(3)

    def do_none(self, argument: str) -> Score:
        return None  # type: ignore[return-value]

    def do_true(self, argument: str) -> Score:
        return Score(status=Status.OK, value=True)

    def do_inf(self, argument: str) -> Score:
        return Score(status=Status.OK, value=float("inf"))

    def do_random(self, argument: str) -> Score:
        return Score(status=Status.OK, value=random.random())

    def do_set(self, argument: str) -> Score:
        return Score(status=Status.OK, value=1.0, answer="".join({"a", "b", "c", "d", "e"}))

    def do_kill(self, argument: str) -> Score:
        """Kills its keeper, by a signal."""
        os.kill(os.getppid(), int(argument or 9))
        time.sleep(60)
        raise AssertionError("not killed")

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


class LicenceSettings(GymSettings):
    licence: str = ""


class NeedsLicence(Obedient):
    Settings = LicenceSettings

    def __init__(self, settings: GymSettings, services: Services) -> None:
        raise ValueError(f"licence = {settings.licence!r}: expired")  # type: ignore[attr-defined]


class HangsInBuild(Obedient):
    def __init__(self, settings: GymSettings, services: Services) -> None:
        time.sleep(60)


class Impatient(Obedient):
    """For what is asked to hang: the deadline that the test waits for."""

    needs = Needs(wall_seconds=1.0, processes=True, writes=(ANYWHERE,))


class NoDeadline(Obedient):
    needs = Needs(wall_seconds=float("inf"))


class Burns(Obedient):
    """Uses CPU time; the wall clock alone would let it."""

    needs = Needs(wall_seconds=120.0, cpu_seconds=0.3)


class Hoards(Obedient):
    """Fills memory until something stops it."""

    needs = Needs(wall_seconds=120.0, memory_bytes=1 << 30)

    def do_hoard(self, argument: str) -> Score:
        held = []
        while True:
            held.append(bytearray(64 << 20))


class Declares(Obedient):
    """Declares one component."""

    components: ClassVar[Mapping[str, str]] = {"right": "1 where it is right"}

    def do_extra(self, argument: str) -> Score:
        return Score(status=Status.OK, value=1.0, components={"wrong": 1.0})

    def do_right(self, argument: str) -> Score:
        cases = (CaseResult(id="a", passed=True, seconds=0.5), CaseResult(id="b", passed=False, reason="no"))
        return Score(status=Status.OK, value=1.0, components={"right": 1.0}, cases=cases, provenance={"tier": "none"})


class NeedsJudge(Obedient):
    needs = Needs(wall_seconds=120.0, judge=True)


class DeclaresNothing(Obedient):
    """Does what it does not declare."""

    needs = Needs(wall_seconds=120.0)

    def do_popen(self, argument: str) -> Score:
        subprocess.run(["true"], check=True)
        return self.do_well("")

    def do_system(self, argument: str) -> Score:
        os.system("true")
        return self.do_well("")

    def do_swallow(self, argument: str) -> Score:
        """Starts a process and hides that it could not."""
        try:
            return self.do_popen("")
        except Exception:
            return Score(status=Status.OK, value=0.0)

    def do_connect(self, argument: str) -> Score:
        with socket.socket() as stream:
            stream.connect_ex(("127.0.0.1", 9))
        return self.do_well("")

    def do_lookup(self, argument: str) -> Score:
        socket.getaddrinfo("localhost", 80)
        return self.do_well("")

    def do_in_thread(self, argument: str) -> Score:
        thread = threading.Thread(target=lambda: self.do_swallow(""))
        thread.start()
        thread.join()
        return self.do_well("")

    def do_local(self, argument: str) -> Score:
        """What is neither: a pair of sockets, one of them by name, a file, a loop of events."""
        import asyncio  # here: each worker of each gym of this file would import it for nothing

        one, other = socket.socketpair()
        with one, other:
            one.sendall(b"x")
        asyncio.run(asyncio.sleep(0))
        return self.do_well("")


class DeclaresAll(DeclaresNothing):
    needs = Needs(wall_seconds=120.0, processes=True, network=True, writes=(ANYWHERE,))


class Groups(Obedient):
    """Scores siblings together."""

    scores_groups = True

    def score_group(self, task: Task, responses: Sequence[str]) -> Sequence[Score]:
        if responses[0] == "short":
            return [self.do_well("")]
        if responses[0] == "none":
            return None  # type: ignore[return-value]
        return [Score(status=Status.OK, value=i / len(responses)) for i in range(len(responses))]


class HasGold(Obedient):
    """Has a known answer to every task but those of its held-out split, and one of its own to what it must survive."""

    def gold(self, task: Task) -> str | None:
        return str(task.data["gold"]) if "gold" in task.data else None

    def do_bad(self, argument: str) -> Score:
        return Score(status=Status.BAD_TASK, detail="it says that the task is bad")

    def do_count(self, argument: str) -> Score:
        with Path(argument).open("a") as calls:
            calls.write("x")
        return self.do_well("")

    def do_crash(self, argument: str) -> Score:
        """As `exit`, and says how often."""
        self.do_count(argument)
        return self.do_exit("")

    def do_waitmark(self, argument: str) -> Score:
        """Says that it has begun, and answers once there is a file that says go."""
        Path(argument).touch()
        return self.do_wait(f"{argument}.go")


class HastyWithGold(HasGold):
    """For what hangs; what is asked to answer, or to die, may take longer on a busy machine."""

    needs = Needs(wall_seconds=5.0, processes=True, writes=(ANYWHERE,))


class GroupsWithGold(HasGold):
    """Scores siblings together, and breaks on one of them."""

    scores_groups = True

    def score_group(self, task: Task, responses: Sequence[str]) -> Sequence[Score]:
        if "none" in responses:
            return None  # type: ignore[return-value]
        return [Score(status=Status.OK, value=i / len(responses)) for i in range(len(responses))]


class Writes(Gym):
    """Declares no writing, and writes where the response says."""

    needs = Needs(wall_seconds=120.0)

    def tasks(self, split: Split) -> Sequence[Task]:
        return [Task(id=f"{split}/0", prompt=(message("user", split),))]

    def score(self, task: Task, response: str) -> Score:
        how, _, path = response.partition(" ")
        if how == "sql":
            import sqlite3

            with sqlite3.connect(":memory:") as database:
                database.execute(f"ATTACH DATABASE '{path}' AS other")
                database.execute("CREATE TABLE other.t (x)")
        elif how == "thread":
            thread = threading.Thread(target=Path(path).write_text, args=("x",))
            thread.start()
            thread.join()
        elif how == "folder":
            Path(path).mkdir()
        elif how == "remove":
            Path(path).unlink()
        elif how == "read":
            return Score(status=Status.OK, value=1.0, answer=Path(path).read_text())
        elif how == "temporary":
            with tempfile.NamedTemporaryFile() as file, Path(os.devnull).open("w") as null:
                print("x", file=null)
                return Score(status=Status.OK, value=1.0, answer=file.name)
        else:
            Path(path).write_text("x")
        return Score(status=Status.OK, value=1.0)


class WritesDeclared(Writes):
    needs = Needs(wall_seconds=120.0, writes=(tempfile.gettempdir(),))


class WritesAnywhere(Writes):
    needs = Needs(wall_seconds=120.0, writes=("/",))


class Reader(Obedient):
    """Tells what it was given to read."""

    def score(self, task: Task, response: str) -> Score:
        return Score(status=Status.OK, value=1.0, answer=f"{final_text(response)} of {whole_of(response)}")
