"""The host's line to a session's supervisor: one call after another, each a job with pipes of its own.

The far side is `inside/supervisor.py`. What ends a call is the supervisor's word that it has ended, and everything of
it with it; where that does not come in time, or the supervisor is gone, the session is lost: ours to repair, for
nothing that runs in a session can reach its supervisor.
"""

from __future__ import annotations

import contextlib
import itertools
import json
import os
import select
import signal
import socket
import time
from typing import Any

from gyms.sandbox.program import Limits, Run, SandboxError
from gyms.sandbox.pump import Job, drive

__all__ = ["Line", "ready"]

CLOSE_SECONDS = 10.0
_MAX_MESSAGE = 1 << 16


class Line:
    """Used by one thread at a time; closed once, and by itself where the session is lost."""

    def __init__(self, *, tier: str, control: socket.socket, pidfd: int, release: contextlib.ExitStack) -> None:
        """Args:
        control: socket to the supervisor.
        pidfd: handle on the supervisor, ours to close.
        release: what goes with the session, once it has ended.
        """
        self.tier = tier
        self._control = control
        self._pidfd = pidfd
        self._release = release
        self._serials = itertools.count(1)
        self._owner = os.getpid()
        self._fault = ""

    def call(
        self,
        operation: str,
        body: dict[str, Any],
        limits: Limits,
        spec: dict[str, Any],
        *,
        stdin: bytes = b"",
        results_bytes: int = 0,
    ) -> tuple[Run, dict[str, Any]]:
        """Run one call to its end: what was seen of it, and what the supervisor says of the interpreter.

        Args:
            spec: limits and further facts, as `inside/supervisor.py` reads them.
            results_bytes: cap of the result channel where it is not `limits.output_bytes`.

        Raises SandboxError where the session is lost, or was closed.
        """
        if self._fault:
            raise SandboxError(self._fault)
        serial = next(self._serials)
        job = Job(json.dumps(body).encode(), stdin, limits, results_bytes=results_bytes)
        try:
            job.pidfd = os.dup(self._pidfd)
            job.end_fd = self._control.fileno()
            job.killer = self._end_call
            request = {"call": serial, "op": operation, **spec}
            socket.send_fds(self._control, [json.dumps(request).encode()], job.child_ends)
            job.close_child_ends()
            job.begin()
            job.started = time.monotonic()
            drive([job])
            if not self._has_ended(serial):
                raise SandboxError("its supervisor was killed from outside")
            return job.run(self.tier), {"serial": serial, **job.report()}
        except (OSError, SandboxError) as error:
            self.close()
            self._fault = f"the session ({self.tier}) is lost: {error}. This is no fault of what ran in it"
            raise SandboxError(self._fault) from error
        except BaseException:  # left in the middle of a call: the next one would be out of step
            self.close()
            raise
        finally:
            job.close()

    def close(self) -> None:
        """End the session: when this returns no process, mount or file of it is left."""
        if self._fault:
            return
        self._fault = "the session is closed"
        self._control.close()
        try:
            if self._owner == os.getpid() and not _ends(self._pidfd, CLOSE_SECONDS):
                signal.pidfd_send_signal(self._pidfd, signal.SIGKILL)
                _ends(self._pidfd, CLOSE_SECONDS)
        except ProcessLookupError:
            pass  # it ended meanwhile
        finally:
            os.close(self._pidfd)
            if self._owner == os.getpid():
                self._release.close()
            else:
                self._release.pop_all()  # this process was forked: the session is its parent's

    def _end_call(self) -> None:
        with contextlib.suppress(OSError):
            self._control.send(b'{"end": true}', socket.MSG_DONTWAIT)

    def _has_ended(self, serial: int) -> bool:
        try:
            message = self._control.recv(_MAX_MESSAGE, socket.MSG_DONTWAIT)
        except BlockingIOError:
            return False
        return bool(message) and json.loads(message).get("ended") == serial


def ready(control: socket.socket, seconds: float) -> None:
    """Wait for a supervisor's first word; SandboxError where it could not set up the session."""
    poller = select.poll()
    poller.register(control, select.POLLIN)
    message = control.recv(_MAX_MESSAGE) if poller.poll(1000 * seconds) else b""
    reply = json.loads(message) if message else {"failed": "its supervisor did not start"}
    if "failed" in reply:
        raise SandboxError(f"no session: {reply['failed']}")


def _ends(pidfd: int, seconds: float) -> bool:
    poller = select.poll()
    poller.register(pidfd, select.POLLIN)
    return bool(poller.poll(1000 * seconds))
