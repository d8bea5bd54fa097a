"""The host's end of one scoring worker: start it, ask it under a deadline, kill it with all that it started.

Everything here blocks, in a thread of the scorer, and never longer than the deadline it was given: pipes are
non-blocking, and each wait looks every 20 ms whether the worker died or the caller gave up. Deadlines are the host's:
a signal in the verifier's process (SIGALRM) fails off the main thread and cannot interrupt C code.

The worker leads a session of its own, so that one killpg takes the processes which a gym started. What leaves the
group (setsid) is not followed here; that needs a sandbox.
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
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import IO, Any

from gyms.api import Score, Task
from gyms.load import MAX_WALL_SECONDS, GymSpec
from reward.wire import (
    HEADER_BYTES,
    MAX_REPLY_BYTES,
    GarbageReply,
    body_length,
    pack_frame,
    parse_reply,
    parse_score,
)

__all__ = ["Stopped", "WorkerFault", "WorkerProcess"]

_POLL_SECONDS = 0.02
_EXIT_SECONDS = 0.5
"""How long a worker that closed its pipe gets to finish dying, so that its exit status can be told."""

IsStopped = Callable[[], bool]


class WorkerFault(RuntimeError):
    """A worker gave no usable answer. `is_alive` says whether it can go on serving."""

    def __init__(self, cause: str, *, is_alive: bool = False) -> None:
        super().__init__(cause)
        self.is_alive = is_alive


class Stopped(Exception):
    """The caller no longer wants the answer."""


class WorkerProcess:
    """One worker, started on first use and again after a kill. Not thread-safe: one call at a time."""

    def __init__(self, specs: Mapping[str, GymSpec], *, start_seconds: float) -> None:
        self._specs = dict(specs)
        self._start_seconds = start_seconds
        self._process: subprocess.Popen[bytes] | None = None
        self._request_fd = self._reply_fd = -1
        self._scratch = ""
        self._serial = 0
        self._wall_seconds: dict[str, float] = {}

    def score(self, gym: str, task: Task, response: str, is_stopped: IsStopped) -> Score:
        """The gym's score; WorkerFault, GarbageReply or Stopped where there is none, and then kill() is due."""
        payload = pickle.dumps((task, response))
        if self._process is None:
            self._start(is_stopped)
        if gym not in self._wall_seconds:
            self._build(gym, is_stopped)
        seconds = self._wall_seconds[gym]
        reply = self._ask("score", gym, payload, seconds, "needs.wall_seconds", is_stopped)
        if reply["kind"] != "scored":
            raise GarbageReply(f"a reply of the kind {reply['kind']!r:.40} to a request for a score")
        return parse_score(reply.get("score"))

    def kill(self) -> None:
        """Kill the worker and its process group, take back its pipes and scratch folder; it may be used again."""
        if self._process is None:
            return
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)  # before the leader is reaped, so the number is still ours
        self._process.wait()
        os.close(self._request_fd)
        os.close(self._reply_fd)
        shutil.rmtree(self._scratch, ignore_errors=True)
        self._process = None
        self._wall_seconds = {}

    def _start(self, is_stopped: IsStopped) -> None:
        self._serial = 0
        with tempfile.TemporaryFile() as stderr:
            self._spawn(stderr)
            deadline = time.monotonic() + self._start_seconds
            try:
                self._send(pickle.dumps((self._specs, self._scratch)), deadline, is_stopped)
                reply = self._receive(deadline, is_stopped)
            except _DeadlinePassed:
                raise WorkerFault(f"the worker process did not start within {self._start_seconds:g} s") from None
            except WorkerFault as fault:
                raise WorkerFault(f"the worker process did not start: {fault}{_last_line(stderr)}") from None
        if reply["kind"] != "ready":
            raise GarbageReply(f"a reply of the kind {reply['kind']!r:.40} at the start")

    def _spawn(self, stderr: IO[bytes]) -> None:
        request_read, request_write = os.pipe()
        reply_read, reply_write = os.pipe()
        scratch = tempfile.mkdtemp(prefix="scoring-worker-")
        try:
            self._process = subprocess.Popen(
                [sys.executable, "-P", "-m", "reward.worker", str(request_read), str(reply_write), str(os.getpid())],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=stderr,
                pass_fds=(request_read, reply_write),
                start_new_session=True,
                env={**os.environ, "PYTHONPATH": os.pathsep.join(path or str(Path.cwd()) for path in sys.path)},
            )
        except OSError:
            os.close(request_write)
            os.close(reply_read)
            shutil.rmtree(scratch)
            raise
        finally:
            os.close(request_read)
            os.close(reply_write)
        os.set_blocking(request_write, False)
        os.set_blocking(reply_read, False)
        self._request_fd, self._reply_fd, self._scratch = request_write, reply_read, scratch

    def _build(self, gym: str, is_stopped: IsStopped) -> None:
        reply = self._ask("build", gym, b"", self._start_seconds, "the scorer's start_seconds", is_stopped)
        seconds = reply.get("wall_seconds")
        if reply["kind"] != "built" or not isinstance(seconds, int | float) or not 0.0 < seconds <= MAX_WALL_SECONDS:
            raise GarbageReply(f"needs.wall_seconds = {seconds!r:.40}, expected above 0 and at most {MAX_WALL_SECONDS}")
        self._wall_seconds[gym] = float(seconds)

    def _ask(
        self, kind: str, gym: str, payload: bytes, seconds: float, limit: str, is_stopped: IsStopped
    ) -> dict[str, Any]:
        self._serial += 1
        deadline = time.monotonic() + seconds
        try:
            self._send(pickle.dumps((kind, self._serial, gym, payload)), deadline, is_stopped)
            reply = self._receive(deadline, is_stopped)
        except _DeadlinePassed:
            raise WorkerFault(f"hung in {kind}: no answer within {seconds:g} s ({limit})") from None
        if reply["kind"] == "failed":
            raise WorkerFault(f"{kind} {reply.get('detail', '')!s:.2000}", is_alive=True)
        return reply

    def _send(self, body: bytes, deadline: float, is_stopped: IsStopped) -> None:
        frame = memoryview(pack_frame(body))
        while frame:
            self._wait(self._request_fd, select.POLLOUT, deadline, is_stopped)
            try:
                frame = frame[os.write(self._request_fd, frame) :]
            except BlockingIOError:
                continue
            except BrokenPipeError:
                raise WorkerFault(self._death()) from None

    def _receive(self, deadline: float, is_stopped: IsStopped) -> dict[str, Any]:
        header = self._read(HEADER_BYTES, deadline, is_stopped)
        body = self._read(body_length(header, max_bytes=MAX_REPLY_BYTES), deadline, is_stopped)
        return parse_reply(body, serial=self._serial)

    def _read(self, num_bytes: int, deadline: float, is_stopped: IsStopped) -> bytes:
        data = b""
        while len(data) < num_bytes:
            self._wait(self._reply_fd, select.POLLIN, deadline, is_stopped)
            try:
                piece = os.read(self._reply_fd, num_bytes - len(data))
            except BlockingIOError:
                continue
            if not piece:
                raise WorkerFault(self._death())
            data += piece
        return data

    def _wait(self, fd: int, event: int, deadline: float, is_stopped: IsStopped) -> None:
        """Until the pipe is ready; raises when the caller gave up, the deadline passed or the worker died."""
        poll = select.poll()
        poll.register(fd, event)
        while True:
            if is_stopped():
                raise Stopped
            seconds = deadline - time.monotonic()
            if seconds <= 0:
                raise _DeadlinePassed("no answer in time")
            was_dead = self._is_dead()  # asked before the poll: what it wrote before it died is still read
            if poll.poll(0 if was_dead else 1000 * min(seconds, _POLL_SECONDS)):
                return
            if was_dead:
                raise WorkerFault(self._death())

    def _is_dead(self) -> bool:
        """Without reaping, so that the process number stays taken until kill()."""
        assert self._process is not None
        try:
            return os.waitid(os.P_PID, self._process.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None
        except ChildProcessError:
            return True

    def _death(self) -> str:
        assert self._process is not None
        deadline = time.monotonic() + _EXIT_SECONDS
        while not self._is_dead():
            if time.monotonic() > deadline:
                return "closed its reply channel"
            time.sleep(_POLL_SECONDS)
        try:
            result = os.waitid(os.P_PID, self._process.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT)
        except ChildProcessError:
            result = None
        if result is None:
            return "its process is gone"
        if result.si_code == os.CLD_EXITED:
            return f"its process exited with status {result.si_status}"
        return f"its process was killed by {signal.Signals(result.si_status).name}"


class _DeadlinePassed(WorkerFault):
    """The deadline of the current request passed."""


def _last_line(stderr: IO[bytes]) -> str:
    stderr.seek(0)
    lines = stderr.read(1 << 16).decode("utf-8", "replace").strip().splitlines()
    return f" ({lines[-1]})" if lines else ""
