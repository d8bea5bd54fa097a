"""A sandbox by bubblewrap: a fresh interpreter for every job, for machines where our own zygote does not work.

Hardened beyond bubblewrap's defaults: never started as root; its arguments come through a pipe; root folder and all
covers read-only; /tmp the only place to write, capped; no set-up of its own devices; our init is process 1, and sets
limits and the system-call filter itself.
"""

from __future__ import annotations

import contextlib
import itertools
import json
import os
import select
import shutil
import socket
import subprocess
import threading
from collections.abc import Sequence
from typing import Any

from gyms.sandbox.bundle import BOOTSTRAP, bundle
from gyms.sandbox.forkserver import Launch, Profile, spec_of
from gyms.sandbox.line import Line, ready
from gyms.sandbox.patience import START_SECONDS
from gyms.sandbox.program import Ending, Limits, Run, SandboxError
from gyms.sandbox.pump import Job, drive
from gyms.sandbox.view import Interpreter, view

__all__ = ["BubblewrapRunner"]

_DEVICES = ("null", "zero", "full", "random", "urandom")


class BubblewrapRunner:
    """Runs each launch under a bubblewrap of its own."""

    def __init__(self, interpreter: Interpreter, uid: int) -> None:
        self.profile = Profile(tier="bwrap", has_namespaces=False, has_seccomp=True, is_init_one=True, uid=uid)
        self.interpreter = interpreter
        self._view = view(interpreter)
        self._lock = threading.Lock()
        self._bwrap = shutil.which("bwrap") or ""

    def start(self) -> None:
        """Try it once; SandboxError with the reason where it does not work."""
        if not self._bwrap:
            raise SandboxError("bwrap is not on PATH; install bubblewrap")
        body = {"mode": "script", "source": "print(1)", "setup": [], "files": {}, "calls": [], "pristine": []}
        run = self.run([Launch(body=body, limits=Limits(wall_seconds=60.0))])[0]
        if run.ending is not Ending.EXITED or run.stdout != b"1\n":
            raise SandboxError(f"a probe program ended with {run.ending}: {run.stderr.decode(errors='replace')[-200:]}")

    def close(self) -> None:
        """Nothing is kept between jobs."""

    def run(self, launches: Sequence[Launch], *, linked: bool = False) -> list[Run]:
        """Run the launches at the same time; `linked`: two of them, with a pipe each way between them."""
        try:
            return self._run(launches, linked)
        except OSError as error:
            raise SandboxError(f"the sandbox (bwrap) failed: {error}") from error

    def open(self, limits: Limits, facts: dict[str, Any]) -> Line:
        """Start a bubblewrap with the supervisor of a session; `facts` are added to what it is told."""
        launch = Launch(body={}, limits=limits)
        with self._lock, contextlib.ExitStack() as stack:
            ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
            stack.callback(ours.close)
            try:
                with theirs:
                    process, pidfd = self._spawn(launch, [theirs.fileno()], {**facts, "is_session": True})
                stack.callback(_reap, process)
                stack.callback(os.close, pidfd)
                ready(ours, START_SECONDS)
            except OSError as error:
                raise SandboxError(f"the sandbox (bwrap) failed to open a session: {error}") from error
            stack.pop_all()
            release = contextlib.ExitStack()
            release.callback(_reap, process)
            return Line(tier="bwrap", control=ours, pidfd=pidfd, release=release)

    def _run(self, launches: Sequence[Launch], linked: bool) -> list[Run]:
        with self._lock, contextlib.ExitStack() as stack:
            pipes = [os.pipe() for _ in range(2)] if linked else []
            links = contextlib.ExitStack()
            stack.callback(links.close)
            for fd in itertools.chain.from_iterable(pipes):
                links.callback(os.close, fd)
            jobs = []
            for place, launch in enumerate(launches):
                body = json.dumps(launch.body).encode()
                job = Job(body, launch.stdin, launch.limits, results_bytes=launch.results_bytes)
                stack.callback(job.close)
                job.backstop_seconds += START_SECONDS  # its init's own clock starts when the interpreter is up
                link = [pipes[place][0], pipes[1 - place][1]] if linked else []
                process = self._start(job, launch, link)
                stack.callback(_end, process, job)
                jobs.append(job)
            links.close()
            drive(jobs)
            return [job.run("bwrap") for job in jobs]

    def _start(self, job: Job, launch: Launch, link: list[int]) -> subprocess.Popen[bytes]:
        process, job.pidfd = self._spawn(launch, [*job.child_ends, *link], {})
        job.close_child_ends()
        job.begin()
        return process

    def _spawn(self, launch: Launch, fds: list[int], facts: dict[str, Any]) -> tuple[subprocess.Popen[bytes], int]:
        """Start bubblewrap; it, and a handle on its process 1."""
        spec = spec_of(launch, "/tmp", self.profile) | facts
        spec |= {"fds": fds, "profile": self.profile.as_json()}
        user: dict[str, Any] = {}
        if self.profile.uid:
            user = {"user": self.profile.uid, "group": self.profile.uid, "extra_groups": []}
        with contextlib.ExitStack() as on_failure, contextlib.ExitStack() as theirs:
            (bundle_end, bundle_ours), (spec_end, spec_ours), (args_end, args_ours) = (
                _pipe(theirs, on_failure) for _ in range(3)
            )
            info_ours, info_end = _pipe(on_failure, theirs)
            arguments = [*self._arguments(launch), "--info-fd", str(info_end)]
            command = [self._bwrap, "--args", str(args_end), self.interpreter.executable, "-S", "-s", "-P", "-B"]
            command += ["-X", "utf8", "-c", BOOTSTRAP, str(bundle_end), "once", str(spec_end)]
            streams = {  # bubblewrap's own arguments first
                args_ours: b"\0".join(argument.encode() for argument in arguments) + b"\0",
                spec_ours: json.dumps(spec).encode(),
                bundle_ours: bundle(),
            }
            try:
                process: subprocess.Popen[bytes] = subprocess.Popen(
                    command,
                    stdin=subprocess.DEVNULL,
                    stdout=subprocess.DEVNULL,
                    stderr=subprocess.DEVNULL,
                    cwd="/",
                    env={},
                    pass_fds=(*fds, bundle_end, spec_end, args_end, info_end),
                    **user,
                )
            except OSError as error:
                raise SandboxError(f"cannot start {self._bwrap}: {error}") from error
            on_failure.pop_all()
        for ours, stream in streams.items():
            with contextlib.suppress(BrokenPipeError), os.fdopen(ours, "wb") as pipe:
                pipe.write(stream)
        with os.fdopen(info_ours, "rb") as info:
            pid = _child_pid(info)
        if pid == 0:
            process.wait()
            raise SandboxError("bwrap could not make namespaces; see `python -m gyms doctor`")
        return process, os.pidfd_open(pid)

    def _arguments(self, launch: Launch) -> list[str]:
        size = str(int(launch.limits.file_bytes))
        found = ["--unshare-all", "--unshare-user", "--uid", "1000", "--gid", "1000", "--hostname", "sandbox"]
        found += ["--die-with-parent", "--as-pid-1", "--new-session", "--cap-drop", "ALL", "--clearenv"]
        found += ["--setenv", "PYTHONHASHSEED", "0"]
        for source, target in self._view["binds"]:
            found += ["--ro-bind", source, target]
        for path, target in self._view["links"]:
            found += ["--symlink", target, path]
        for folder in self._view["covers"]:
            found += ["--size", "4096", "--tmpfs", folder, "--remount-ro", folder]
        for name in _DEVICES:
            found += ["--dev-bind", f"/dev/{name}", f"/dev/{name}"]
        found += ["--symlink", "/proc/self/fd", "/dev/fd", "--symlink", "/tmp", "/dev/shm"]
        return [*found, "--proc", "/proc", "--size", size, "--tmpfs", "/tmp", "--chdir", "/tmp", "--remount-ro", "/"]


def _pipe(readers: contextlib.ExitStack, writers: contextlib.ExitStack) -> tuple[int, int]:
    """A pipe's two ends, each of them closed by a stack."""
    read, write = os.pipe()
    readers.callback(os.close, read)
    writers.callback(os.close, write)
    return read, write


def _child_pid(info: Any) -> int:
    """Process 1 of the job as the host numbers it; 0 where bubblewrap ended before there was one."""
    data = b""
    poller = select.poll()
    poller.register(info, select.POLLIN)
    while b"}" not in data:
        if not poller.poll(1000 * START_SECONDS):
            return 0
        chunk = os.read(info.fileno(), 4096)
        if not chunk:
            return 0
        data += chunk
    return int(json.loads(data)["child-pid"])


def _end(process: subprocess.Popen[bytes], job: Job) -> None:
    """After its process 1 has ended, bubblewrap itself ends; nothing is left to wait for otherwise."""
    if not job.has_ended:
        job.kill(Ending.KILLED)
    _reap(process)


def _reap(process: subprocess.Popen[bytes]) -> None:
    try:
        process.wait(10.0)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
