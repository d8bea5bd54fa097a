"""A sandbox that keeps a warm interpreter and has it fork: the host's half of `inside/zygote.py`.

Three tiers run this way and differ in what a job is wrapped in: `zygote` (namespaces, seccomp, no capabilities),
`landlock` (Landlock and seccomp, where namespaces are refused) and `insecure` (limits alone).

The zygote is started when it is first needed, again after every few thousand jobs, and again where it died; a run that
met a dead zygote is tried once more on a new one. An answer that came too late for whoever asked is passed over.
"""

from __future__ import annotations

import contextlib
import itertools
import json
import os
import select
import socket
import subprocess
import tempfile
import threading
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from gyms.sandbox import places
from gyms.sandbox.bundle import BOOTSTRAP, bundle
from gyms.sandbox.inside.job import remove_folder
from gyms.sandbox.line import Line, ready
from gyms.sandbox.patience import START_SECONDS
from gyms.sandbox.program import Limits, Run, SandboxError
from gyms.sandbox.pump import Job, NeverEnded, drive
from gyms.sandbox.view import Interpreter

__all__ = ["ForkServer", "Launch", "Profile", "spec_of", "tasks_beside_session"]

JOBS_PER_ZYGOTE = 4000
_serials = itertools.count()
_ROOM_FOR_NEIGHBOURS = 64


@dataclass(frozen=True, slots=True, kw_only=True)
class Profile:
    """What a job is wrapped in; sent to the zygote as it is."""

    tier: str
    has_namespaces: bool
    has_seccomp: bool
    is_init_one: bool
    """True where the job's init is process 1 of a namespace."""
    landlock: dict[str, list[str]] = field(default_factory=dict)
    """`readable` and `writable` paths; empty: no Landlock."""
    uid: int = 0
    """User and group to become where the host is root; 0: none."""
    has_proc: bool = True
    view: dict[str, Any] = field(default_factory=dict)

    def as_json(self) -> dict[str, Any]:
        """For the far side, without the view."""
        names = ("tier", "has_namespaces", "has_seccomp", "is_init_one", "landlock", "has_proc")
        return {name: getattr(self, name) for name in names}


@dataclass(frozen=True, slots=True, kw_only=True)
class Launch:
    """One job as `inside.runner` reads it."""

    body: dict[str, Any]
    limits: Limits
    stdin: bytes = b""
    caps_address_space: bool = True
    results_bytes: int = 0
    """Cap of the result channel where it is not `limits.output_bytes`."""


class ForkServer:
    """Runs launches on one zygote; see the head of this file."""

    def __init__(self, interpreter: Interpreter, profile: Profile) -> None:
        self.interpreter = interpreter
        self.profile = profile
        self._lock = threading.Lock()
        self._process: subprocess.Popen[bytes] | None = None
        self._control: socket.socket | None = None
        self._owner = 0
        self._num_jobs = 0
        self._num_sessions = 0
        self._base = ""
        self._folders = contextlib.ExitStack()

    def run(self, launches: Sequence[Launch], *, linked: bool = False) -> list[Run]:
        """Run the launches at the same time; `linked`: two of them, with a pipe each way between them."""
        with self._lock:
            for is_last in (False, True):
                try:
                    self._ensure()
                    return self._run(launches, linked)
                except NeverEnded:
                    self._stop()
                    raise
                except (SandboxError, OSError) as error:
                    self._stop()
                    if is_last:
                        raise SandboxError(f"the sandbox ({self.profile.tier}) failed twice: {error}") from error
        raise AssertionError("unreachable")

    def open(self, limits: Limits, facts: dict[str, Any]) -> Line:
        """Start the supervisor of a session; `facts` are added to what it is told."""
        with self._lock:
            try:
                self._ensure()
                return self._open(limits, facts)
            except OSError as error:
                raise SandboxError(f"the sandbox ({self.profile.tier}) failed to open a session: {error}") from error

    def start(self) -> None:
        """Start the zygote now; SandboxError with the reason where it cannot be."""
        with self._lock:
            self._ensure()

    def close(self) -> None:
        """Stop the zygote and everything below it."""
        with self._lock:
            self._stop()

    def _run(self, launches: Sequence[Launch], linked: bool) -> list[Run]:
        with contextlib.ExitStack() as stack:
            jobs = []
            pipes = [os.pipe() for _ in range(2)] if linked else []
            links = stack.enter_context(contextlib.ExitStack())
            for fd in itertools.chain.from_iterable(pipes):
                links.callback(os.close, fd)
            for place, launch in enumerate(launches):
                spec = spec_of(launch, self._folder(stack), self.profile)
                body = json.dumps(launch.body).encode()
                job = Job(body, launch.stdin, launch.limits, results_bytes=launch.results_bytes)
                stack.callback(job.close)
                link = [pipes[place][0], pipes[1 - place][1]] if linked else []
                self._start_job(job, spec, link)
                jobs.append(job)
            links.close()  # the end of one job is the end of the other's input
            drive(jobs)
            self._num_jobs += len(jobs)
            return [job.run(self.profile.tier) for job in jobs]

    def _open(self, limits: Limits, facts: dict[str, Any]) -> Line:
        with contextlib.ExitStack() as stack:
            spec = spec_of(Launch(body={}, limits=limits), self._folder(stack), self.profile)
            ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
            with contextlib.ExitStack() as until_ready, theirs:
                until_ready.callback(ours.close)
                pidfd = self._ask({**spec, **facts, "is_session": True}, [theirs.fileno()])
                until_ready.callback(os.close, pidfd)
                theirs.close()
                ready(ours, START_SECONDS)
                until_ready.pop_all()
            self._num_jobs += 1
            self._num_sessions += 1
            stack.callback(self._count_closed)
            return Line(tier=self.profile.tier, control=ours, pidfd=pidfd, release=stack.pop_all())

    def _count_closed(self) -> None:
        self._num_sessions -= 1

    def _folder(self, stack: contextlib.ExitStack) -> str:
        """The working folder of a job: its own /tmp, or a folder made for it and removed after it."""
        if self.profile.has_namespaces:
            return "/tmp"
        return self._new_folder("run-", self._base, stack)

    def _new_folder(self, prefix: str, parent: str, stack: contextlib.ExitStack) -> str:
        """A folder of the jobs' user, removed when the stack ends."""
        folder = tempfile.mkdtemp(prefix=prefix, dir=parent)
        stack.callback(remove_folder, folder)
        if self.profile.uid:
            os.chown(folder, self.profile.uid, self.profile.uid)
        return folder

    def _start_job(self, job: Job, spec: dict[str, Any], link: list[int]) -> None:
        job.pidfd = self._ask(spec, [*job.child_ends, *link])
        job.close_child_ends()
        job.begin()

    def _ask(self, spec: dict[str, Any], ends: list[int]) -> int:
        """Have the zygote start an init; a handle on it."""
        assert self._control is not None
        serial = next(_serials)
        socket.send_fds(self._control, [json.dumps({"serial": serial, **spec}).encode()], ends)
        while True:
            reply, fds = _receive(self._control, START_SECONDS)
            if reply.get("started") == serial and len(fds) == 1:
                return fds[0]
            for fd in fds:
                os.close(fd)
            if reply.get("started", serial) >= serial:  # not the answer to a session that was given up
                raise SandboxError(f"the zygote answered {reply!r}, expected the start of job {serial}")

    def _ensure(self) -> None:
        if self._owner != os.getpid():
            self._forget()  # this process was forked: the zygote belongs to its parent
        is_alive = self._process is not None and self._process.poll() is None
        is_worn = self._num_jobs >= JOBS_PER_ZYGOTE and not self._num_sessions  # which would end with it
        if not is_alive or is_worn:
            self._stop()
            try:
                self._start()
            except BaseException:
                self._folders.close()  # before `_stop`, which forgets them where nothing was started yet
                self._stop()
                raise

    def _start(self) -> None:
        if not self.profile.has_namespaces:
            self._base = self._new_folder("sandbox-", places.working_place(self.profile.uid), self._folders)
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        source_read, source_write = os.pipe()
        try:
            os.set_inheritable(theirs.fileno(), True)
            arguments = [str(source_read), "zygote", str(theirs.fileno())]
            process = subprocess.Popen(
                [self.interpreter.executable, "-S", "-s", "-P", "-B", "-X", "utf8", "-c", BOOTSTRAP, *arguments],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                cwd="/",
                env=_environment(),
                pass_fds=(source_read, theirs.fileno()),
                start_new_session=True,
            )
        except OSError as error:
            ours.close()
            os.close(source_write)
            raise SandboxError(f"cannot start {self.interpreter.executable}: {error}") from error
        finally:
            theirs.close()
            os.close(source_read)
        self._process, self._control, self._owner, self._num_jobs = process, ours, os.getpid(), 0
        config = {
            "host_pid": os.getpid(),
            "uid": self.profile.uid,
            "view": self.profile.view,
            "base": self._base,
            "profile": self.profile.as_json(),
        }
        try:
            with contextlib.suppress(BrokenPipeError), os.fdopen(source_write, "wb") as pipe:
                pipe.write(bundle())
            ours.send(json.dumps(config).encode())
            reply, _ = _receive(ours, START_SECONDS)
        except (OSError, SandboxError) as error:
            self._stop()
            raise SandboxError(f"the zygote did not start: {error}") from error
        if "ready" not in reply:
            self._stop()
            raise SandboxError(str(reply.get("failed", reply)))

    def _stop(self) -> None:
        if self._owner != os.getpid():
            self._forget()
            return
        if self._control is not None:
            self._control.close()
            self._control = None
        if self._process is not None:
            try:
                self._process.wait(5.0)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()
            self._process = None
        self._folders.close()

    def _forget(self) -> None:
        if self._control is not None:
            self._control.close()
        if self._process is not None:
            self._process.returncode = 0  # not our child: nothing to wait for, and no warning about it
        self._control, self._process = None, None
        self._folders.pop_all()


def spec_of(launch: Launch, folder: str, profile: Profile) -> dict[str, Any]:
    """Limits of a job as `inside.job` reads them."""
    limits = launch.limits
    return {
        "folder": folder,
        "cpu_seconds": limits.cpu_seconds,
        "wall_seconds": limits.wall_seconds,
        "memory_bytes": int(limits.memory_bytes),
        "file_bytes": int(limits.file_bytes),
        "max_tasks": int(limits.processes) + _tasks_beside(profile),
        "caps_address_space": launch.caps_address_space,
    }


def _tasks_beside(profile: Profile) -> int:
    """Tasks that the kernel counts beside the job's own: its user's, in its user namespace."""
    if profile.is_init_one and _kernel() >= (5, 14):
        return 4  # the zygote, and an init for each of two linked jobs
    return 5 + (0 if profile.uid else _tasks_of(os.getuid()))


def _tasks_of(uid: int) -> int:
    count = 0
    for folder in Path("/proc").iterdir():
        if folder.name.isdigit():
            with contextlib.suppress(OSError):
                if folder.stat().st_uid == uid:
                    count += sum(1 for _ in (folder / "task").iterdir())
    return count


def tasks_beside_session(profile: Profile) -> int:
    """Tasks that the kernel may count beside those of a session's own, now.

    Where a session has a user namespace of its own, its init. Elsewhere its neighbours count too, whose number changes
    while its interpreter lives: the kernel's limit is then a further one, and the watch of the session's own tasks ends
    what has more. Not much further, for hundreds of processes would take the cores from the watch.
    """
    if profile.is_init_one and _kernel() >= (5, 14):
        return 1
    return _tasks_of(profile.uid or os.getuid()) + _ROOM_FOR_NEIGHBOURS


def _kernel() -> tuple[int, int]:
    major, minor = os.uname().release.split(".")[:2]
    return int(major), int("".join(itertools.takewhile(str.isdigit, minor)))


def _environment() -> dict[str, str]:
    """A fixed hash seed, so that a program that prints a set prints the same each time; and what the loader needs."""
    library_path = os.environ.get("LD_LIBRARY_PATH")
    return {"PYTHONHASHSEED": "0"} | ({"LD_LIBRARY_PATH": library_path} if library_path else {})


def _receive(control: socket.socket, seconds: float) -> tuple[dict[str, Any], list[int]]:
    poller = select.poll()
    poller.register(control, select.POLLIN)
    if not poller.poll(1000 * seconds):
        raise SandboxError(f"the zygote did not answer within {seconds:g} s")
    message, fds, _, _ = socket.recv_fds(control, 1 << 16, 4)
    if not message:
        raise SandboxError("the zygote ended")
    reply = json.loads(message)
    return reply, fds
