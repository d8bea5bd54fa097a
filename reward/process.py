"""The host's end of one scoring worker: start it, ask it under a deadline, kill it with all that it started.

Everything here blocks, in a thread of the scorer, and never longer than the deadline it was given: pipes are
non-blocking, and each wait looks every 20 ms whether the worker died, used up its CPU time, or the caller gave up.
Deadlines are the host's: a signal in the verifier's process (SIGALRM) fails off the main thread and cannot interrupt C
code; and CPU time is read from the kernel, not asked of the worker.

A worker serves one gym, so that what a gym does to its process (a patched module, a changed folder, a leaked thread)
is nobody else's problem. It runs below a keeper (reward/keeper.py), which leaves nothing of it behind.
"""

from __future__ import annotations

import contextlib
import os
import pickle
import select
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import IO, Any, Literal

from gyms.api import Score
from gyms.confinement.confine import tell_unconfined
from gyms.load import GymSpec
from reward.deadline import Deadline, cpu_seconds, kill_tree
from reward.wire import (
    HEADER_BYTES,
    MAX_REPLY_BYTES,
    BuiltGym,
    GarbageReply,
    body_length,
    pack_frame,
    parse_built,
    parse_reply,
    parse_scores,
)

__all__ = [
    "HUNG",
    "NOT_THE_RESPONSE",
    "IsStopped",
    "Refused",
    "Request",
    "Stopped",
    "WorkerFault",
    "WorkerProcess",
]

HUNG = "hung"
"""Flag of a fault: a limit on time was passed."""
NOT_THE_RESPONSE = "not_the_response"
"""Flag of a fault that no response can be blamed for."""

_POLL_SECONDS = 0.02
_EXIT_SECONDS = 5.0
"""How long a worker that closed its pipe gets to finish dying, so that its exit status can be told."""
_KILL_SECONDS = 2.0
"""How long a keeper gets to end what is below it, before the host does so itself."""
_LEAK_CHECK_EVERY = 64
"""Requests between two looks at what a worker has leaked."""
_MAX_LEAKED = 256
"""Threads or descriptors beyond which a worker is replaced."""

IsStopped = Callable[[], bool]


class WorkerFault(RuntimeError):
    """A worker gave no usable answer. `is_alive` says whether it can go on serving; `flags` are `HUNG`, ...."""

    def __init__(self, cause: str, *, is_alive: bool = False, flags: frozenset[str] = frozenset()) -> None:
        super().__init__(cause)
        self.is_alive = is_alive
        self.flags = flags


class Refused(Exception):
    """There is no such gym, or it refuses its settings; the worker can go on serving."""


class Stopped(Exception):
    """The caller no longer wants the answer."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """What a worker is asked: one response, a batch of pairs, or the siblings of one task."""

    kind: Literal["one", "batch", "group", "gold"]
    payload: bytes
    """Pickle of (task, responses); for a batch of (tasks, responses); for the gold response in place of all responses
    of (task, (kind, number of responses))."""
    num_responses: int


class WorkerProcess:
    """One worker, started on first use and again after a kill. Not thread-safe: one call at a time."""

    def __init__(self, spec: GymSpec, *, start_seconds: float) -> None:
        self.spec = spec
        self.built: BuiltGym | None = None
        """Known once the gym was built in this worker; kept over a kill."""
        self._start_seconds = start_seconds
        self._process: subprocess.Popen[bytes] | None = None
        self._worker_pid = 0
        self._request_fd = self._reply_fd = -1
        self._scratch = ""
        self._serial = 0
        self._is_built = False
        self._cpu_deadline: float | None = None
        self._num_served = 0
        self._has_episodes = False

    def score(self, request: Request, is_stopped: IsStopped) -> list[Score]:
        """The gym's scores; WorkerFault, GarbageReply or Stopped where there is none, and then kill() is due.

        Empty where the gold response was asked for and there is none. Refused where the gym does not
        exist or refuses its settings.
        """
        started = time.monotonic()
        reply = self.ask(request.kind, request.payload, is_stopped, call="score", num_scores=request.num_responses)
        if request.kind == "gold" and reply["kind"] == "no_gold":
            return []
        if reply["kind"] != "scored":
            raise GarbageReply(f"a reply of the kind {reply['kind']!r:.40} to a request for a score")
        assert self.built is not None  # ask() builds first
        each = (time.monotonic() - started) / max(1, request.num_responses)
        scores = parse_scores(reply.get("scores"), num_wanted=request.num_responses, components=self.built.components)
        self._replace_if_leaking()
        return [replace(score, seconds=each) for score in scores]

    def ask(
        self, kind: str, payload: bytes, is_stopped: IsStopped, *, call: str, num_scores: int = 1
    ) -> dict[str, Any]:
        """The reply to one request of the gym, within its limits; what is raised is as for score().

        Args:
            call: the gym's call, in messages.
            num_scores: how many scores are asked for; the limits hold for each.
        """
        if self._process is None:
            self._start(is_stopped)
        if not self._is_built:
            self._build(is_stopped)
        assert self.built is not None
        if self.built.cpu_seconds is not None:
            self._cpu_deadline = cpu_seconds(self._worker_pid) + self.built.cpu_seconds * num_scores
        seconds = self.built.wall_seconds * num_scores
        self._has_episodes |= kind == "open"
        try:
            return self._ask(kind, payload, seconds, "needs.wall_seconds", is_stopped, call, num_scores)
        except _CpuUsedUp:
            seconds = self.built.cpu_seconds
            raise WorkerFault(
                f"hung in {call}: used over {seconds:g} s of CPU time (needs.cpu_seconds)", flags=frozenset({HUNG})
            ) from None
        finally:
            self._cpu_deadline = None

    def kill(self) -> None:
        """Kill the worker and all below it, take back its pipes and scratch folder; it may be used again."""
        if self._process is None:
            return
        with contextlib.suppress(ProcessLookupError):
            self._process.send_signal(signal.SIGTERM)  # to the keeper, which knows what is below it
        if not self._has_ended(_KILL_SECONDS):
            kill_tree(self._process.pid)
        self._process.wait()
        os.close(self._request_fd)
        os.close(self._reply_fd)
        shutil.rmtree(self._scratch, ignore_errors=True)
        self._process = None
        self._is_built = self._has_episodes = False
        self._num_served = 0

    @property
    def is_running(self) -> bool:
        """Whether it was started, and not killed since."""
        return self._process is not None

    def has_died(self) -> bool:
        """Whether it was started and has ended since, without being asked to."""
        if self._process is None:
            return False
        poll = select.poll()
        poll.register(self._request_fd, 0)  # tells of one thing alone: that nobody reads, before the keeper has ended
        return bool(poll.poll(0)) or self._is_dead()

    def retire(self) -> None:
        """As kill(), but a worker with a sandbox or episodes first gets the time to close them."""
        has_sandbox = self._is_built and self.built is not None and self.built.has_sandbox
        if self._process is not None and (has_sandbox or self._has_episodes):
            os.close(self._request_fd)
            self._request_fd = os.open(os.devnull, os.O_WRONLY)
            self._has_ended(_KILL_SECONDS)
        self.kill()

    def _start(self, is_stopped: IsStopped) -> None:
        self._serial = 0
        with tempfile.TemporaryFile() as stderr:
            self._spawn(stderr)
            deadline = Deadline(self._start_seconds)
            try:
                self._send(pickle.dumps(self.spec), deadline, is_stopped)
                reply = self._receive(deadline, is_stopped)
            except _DeadlinePassed:
                cause = f"the worker process did not start within {self._start_seconds:g} s"
                raise WorkerFault(cause, flags=frozenset({NOT_THE_RESPONSE})) from None
            except WorkerFault as fault:
                cause = f"the worker process did not start: {fault}{_last_line(stderr)}"
                raise WorkerFault(cause, flags=frozenset({NOT_THE_RESPONSE})) from None
        if reply["kind"] != "ready":
            raise GarbageReply(f"a reply of the kind {reply['kind']!r:.40} at the start")
        self._worker_pid = int(reply["pid"])  # said before any code of the gym has run

    def _spawn(self, stderr: IO[bytes]) -> None:
        with contextlib.ExitStack() as on_failure, contextlib.ExitStack() as theirs:
            scratch = tempfile.mkdtemp(prefix="scoring-worker-")
            on_failure.callback(shutil.rmtree, scratch)
            request_read, request_write = os.pipe()
            theirs.callback(os.close, request_read)
            on_failure.callback(os.close, request_write)
            reply_read, reply_write = os.pipe()
            theirs.callback(os.close, reply_write)
            on_failure.callback(os.close, reply_read)
            self._process = subprocess.Popen(
                [
                    *(sys.executable, "-P", "-m", "reward.worker"),
                    *(str(request_read), str(reply_write), str(os.getpid()), scratch),
                ],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=stderr,
                pass_fds=(request_read, reply_write),
                start_new_session=True,
                env={
                    **os.environ,
                    "PYTHONPATH": os.pathsep.join(path or str(Path.cwd()) for path in sys.path),
                    "PYTHONHASHSEED": "0",  # the order of a set must not differ between two workers
                },
            )
            on_failure.pop_all()
        os.set_blocking(request_write, False)
        os.set_blocking(reply_read, False)
        self._request_fd, self._reply_fd, self._scratch = request_write, reply_read, scratch

    def _build(self, is_stopped: IsStopped) -> None:
        reply = self._ask("build", b"", self._start_seconds, "the scorer's start_seconds", is_stopped, "build")
        if reply["kind"] == "refused":
            raise Refused(f"{reply.get('detail', '')!s:.2000}")
        self.built = parse_built(reply)
        if reply.get("is_confined") is not True:
            tell_unconfined()
        self._is_built = True

    def _ask(
        self,
        kind: str,
        payload: bytes,
        seconds: float,
        limit: str,
        is_stopped: IsStopped,
        call: str,
        num_scores: int = 1,
    ) -> dict[str, Any]:
        self._serial += 1
        deadline = Deadline(seconds, pid=self._worker_pid)
        try:
            self._send(pickle.dumps((kind, self._serial, payload)), deadline, is_stopped)
            reply = self._receive(deadline, is_stopped, num_scores)
        except _DeadlinePassed:
            flags = frozenset({NOT_THE_RESPONSE if call == "build" else HUNG})
            raise WorkerFault(f"hung in {call}: no answer within {seconds:g} s ({limit})", flags=flags) from None
        if reply["kind"] == "failed":
            detail = f"{reply.get('detail', '')!s:.2000}"
            is_ours = call == "build" or reply.get("is_undeclared") is True or reply.get("is_service") is True
            raise WorkerFault(
                detail if detail.startswith(call) else f"{call} {detail}",
                is_alive=reply.get("is_spent") is False,
                flags=frozenset({NOT_THE_RESPONSE} if is_ours else ()),
            )
        return reply

    def _send(self, body: bytes, deadline: Deadline, is_stopped: IsStopped) -> None:
        frame = memoryview(pack_frame(body))
        while frame:
            self._wait(self._request_fd, select.POLLOUT, deadline, is_stopped)
            try:
                frame = frame[os.write(self._request_fd, frame) :]
            except BlockingIOError:
                continue
            except BrokenPipeError:
                raise WorkerFault(self._death()) from None

    def _receive(self, deadline: Deadline, is_stopped: IsStopped, num_scores: int = 1) -> dict[str, Any]:
        header = self._read(HEADER_BYTES, deadline, is_stopped)
        body = self._read(body_length(header, max_bytes=num_scores * MAX_REPLY_BYTES), deadline, is_stopped)
        return parse_reply(body, serial=self._serial)

    def _read(self, num_bytes: int, deadline: Deadline, is_stopped: IsStopped) -> bytes:
        data = bytearray()
        while len(data) < num_bytes:
            self._wait(self._reply_fd, select.POLLIN, deadline, is_stopped)
            try:
                piece = os.read(self._reply_fd, num_bytes - len(data))
            except BlockingIOError:
                continue
            if not piece:
                raise WorkerFault(self._death())
            data += piece
        return bytes(data)

    def _wait(self, fd: int, event: int, deadline: Deadline, is_stopped: IsStopped) -> None:
        """Until the pipe is ready; raises when the caller gave up, the deadline passed or the worker died."""
        poll = select.poll()
        poll.register(fd, event)
        while True:
            if is_stopped():
                raise Stopped
            seconds = deadline.left()
            if seconds <= 0 and not poll.poll(0):  # a host that was held up itself takes what came in the meantime
                raise _DeadlinePassed("no answer in time")
            if self._cpu_deadline is not None and cpu_seconds(self._worker_pid) > self._cpu_deadline:
                raise _CpuUsedUp("no CPU time left")
            was_dead = self._is_dead()  # asked before the poll: what it wrote before it died is still read
            if poll.poll(0 if was_dead else 1000 * max(0.0, min(seconds, _POLL_SECONDS))):
                return
            if was_dead:
                raise WorkerFault(self._death())

    def _has_ended(self, seconds: float) -> bool:
        """Whether the keeper ends within a time."""
        deadline = time.monotonic() + seconds
        pause = 0.0005
        while not self._is_dead():
            if time.monotonic() > deadline:
                return False
            time.sleep(pause)
            pause = min(2 * pause, _POLL_SECONDS)
        return True

    def _replace_if_leaking(self) -> None:
        """Now and then: a worker that gathers threads or descriptors is killed, and starts again when next used."""
        self._num_served += 1
        if self._num_served % _LEAK_CHECK_EVERY:
            return
        with contextlib.suppress(OSError):
            process = Path(f"/proc/{self._worker_pid}")
            counts = [sum(1 for _ in (process / folder).iterdir()) for folder in ("task", "fd")]
            if max(counts) > _MAX_LEAKED:
                self.kill()

    def _is_dead(self) -> bool:
        """Without reaping, so that the process number stays taken until kill()."""
        assert self._process is not None
        try:
            return os.waitid(os.P_PID, self._process.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None
        except ChildProcessError:
            return True

    def _death(self) -> str:
        assert self._process is not None
        if not self._has_ended(_EXIT_SECONDS):
            return "closed its reply channel"
        try:
            result = os.waitid(os.P_PID, self._process.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT)
        except ChildProcessError:
            result = None
        if result is None:
            return "its process is gone"
        if result.si_code == os.CLD_EXITED:
            return f"its process exited with status {result.si_status}"
        names = {number.value: number.name for number in signal.Signals}  # without most of the real-time ones
        return f"its process was killed by {names.get(result.si_status, f'signal {result.si_status}')}"


class _DeadlinePassed(WorkerFault):
    """The deadline of the current request passed."""


class _CpuUsedUp(WorkerFault):
    """The current request used more CPU time than its gym declared."""


def _last_line(stderr: IO[bytes]) -> str:
    stderr.seek(0)
    lines = stderr.read(1 << 16).decode("utf-8", "replace").strip().splitlines()
    return f" ({lines[-1]})" if lines else ""
