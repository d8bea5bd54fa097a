"""The host's end of a job: six pipes, filled and drained at once, whatever the program does with its ends.

Nothing waits for a program to read its input, and nothing it writes waits for us; what it writes beyond a cap ends it.
The end of a job is the end of its init, seen through a pidfd, never the end of a file: a descriptor that some process
kept open cannot hold the caller.
"""

from __future__ import annotations

import contextlib
import json
import os
import select
import signal
import time
from collections.abc import Callable, Sequence
from typing import Any

from gyms.sandbox.patience import BACKSTOP_SECONDS, END_SECONDS, MAX_STRETCH
from gyms.sandbox.program import Ending, Limits, Run, SandboxError

__all__ = ["Job", "NeverEnded", "drive"]

_CHUNK = 1 << 16
_STATUS_BYTES = 1 << 16
_INCOMING = ("stdout", "stderr", "results", "status")


class NeverEnded(SandboxError):
    """A job did not end when it was killed, however long it was waited for: a second try would wait as long again."""


class Job:
    """Pipes and limits of one job; `child_ends` are to be handed over and then closed."""

    def __init__(self, body: bytes, stdin: bytes, limits: Limits, *, results_bytes: int = 0) -> None:
        self.limits = limits
        self.pidfd = -1
        self.end_fd = -1
        """Becomes readable at the end of a job whose init lives on: a call of a session. Not ours to close."""
        self.killer: Callable[[], None] | None = None
        """Ends such a job, where its init must not be killed for it."""
        self.kill_reason: Ending | None = None
        self.has_ended = False
        self.started = time.monotonic()
        self.ended = 0.0
        self._outgoing: dict[int, memoryview] = {}
        self._incoming: dict[int, str] = {}
        self._received = {name: bytearray() for name in _INCOMING}
        self._caps = dict.fromkeys(_INCOMING, limits.output_bytes) | {"status": _STATUS_BYTES}
        if results_bytes:
            self._caps["results"] = results_bytes
        self.backstop_seconds = MAX_STRETCH * limits.wall_seconds + BACKSTOP_SECONDS
        """From the start of the job to when the host ends it, should its init not have done so."""
        self.child_ends: list[int] = []
        for content in (body, stdin):
            theirs, ours = os.pipe()
            self.child_ends.append(theirs)
            os.set_blocking(ours, False)
            self._outgoing[ours] = memoryview(content)
        for name in _INCOMING:
            ours, theirs = os.pipe()
            self.child_ends.append(theirs)
            os.set_blocking(ours, False)
            self._incoming[ours] = name

    def close_child_ends(self) -> None:
        """After they were handed over."""
        while self.child_ends:
            os.close(self.child_ends.pop())

    def begin(self) -> None:
        """Close what has nothing to send: the program reads the end of its input at once."""
        for fd in [fd for fd, content in self._outgoing.items() if not content]:
            self._close(fd)

    @property
    def fds(self) -> dict[int, int]:
        """Descriptors to poll, with the events to wait for."""
        events = dict.fromkeys(self._outgoing, select.POLLOUT) | dict.fromkeys(self._incoming, select.POLLIN)
        if not self.has_ended:
            events |= {fd: select.POLLIN for fd in (self.pidfd, self.end_fd) if fd >= 0}
        return events

    def handle(self, fd: int) -> None:
        """Do what can be done with a descriptor that is ready."""
        if fd in self._outgoing:
            self._send(fd)
        elif fd in self._incoming:
            self._receive(fd)
        elif fd in (self.pidfd, self.end_fd):
            self._finish()

    def kill(self, reason: Ending) -> None:
        """End the job: its init, and with it all of it, unless something else knows how."""
        self.kill_reason = self.kill_reason or reason
        if self.killer is not None:
            self.killer()
        elif self.pidfd >= 0:
            with contextlib.suppress(ProcessLookupError):
                signal.pidfd_send_signal(self.pidfd, signal.SIGKILL)

    def close(self) -> None:
        """Close every descriptor of the host's."""
        self.close_child_ends()
        for fd in [*self._outgoing, *self._incoming]:
            self._close(fd)
        if self.pidfd >= 0:
            os.close(self.pidfd)
            self.pidfd = -1

    def run(self, tier: str) -> Run:
        """What was seen; SandboxError where the job could not be set up."""
        report = self.report()
        if "failed" in report:
            raise SandboxError(f"the sandbox ({tier}) could not set up a job: {report['failed']}")
        ending = self.kill_reason or Ending(report.get("ending", "killed"))
        return Run(
            ending=ending,
            exit_status=int(report.get("exit", -signal.SIGKILL)),
            stdout=bytes(self._received["stdout"]),
            stderr=bytes(self._received["stderr"]),
            results=bytes(self._received["results"]),
            cpu_seconds=float(report.get("cpu", 0.0)),
            wall_seconds=self.ended - self.started - float(report.get("waited", 0.0)),
            tier=tier,
        )

    def report(self) -> dict[str, Any]:
        """What its init said of its end."""
        return _read_status(bytes(self._received["status"]))

    def _send(self, fd: int) -> None:
        content = self._outgoing[fd]
        try:
            sent = os.write(fd, content[:_CHUNK])
        except BlockingIOError:
            return
        except BrokenPipeError:
            self._close(fd)
            return
        self._outgoing[fd] = content[sent:]
        if sent == len(content):
            self._close(fd)

    def _receive(self, fd: int) -> bool:
        """Read once; False where there is nothing more now."""
        name = self._incoming[fd]
        try:
            chunk = os.read(fd, _CHUNK)
        except BlockingIOError:
            return False
        if not chunk:
            self._close(fd)
            return False
        held, cap = self._received[name], self._caps[name]
        is_too_much = len(held) + len(chunk) > cap
        held += chunk[: cap - len(held)]
        if is_too_much and self.kill_reason is None:
            self.kill(Ending.OUTPUT_LIMIT)
        return True

    def _finish(self) -> None:
        """The job is over: take what is still in the pipes, and wait for nobody who may hold them open."""
        self.has_ended = True
        self.ended = time.monotonic()
        for fd in list(self._incoming):
            budget = 2 * self._caps[self._incoming[fd]] // _CHUNK + 32
            while budget and fd in self._incoming and self._receive(fd):
                budget -= 1
        for fd in [*self._outgoing, *self._incoming]:
            self._close(fd)

    def _close(self, fd: int) -> None:
        os.close(fd)
        self._outgoing.pop(fd, None)
        self._incoming.pop(fd, None)


def drive(jobs: Sequence[Job]) -> None:
    """Fill and drain until every job has ended, or was ended at its backstop; NeverEnded where even that fails."""
    poller = select.poll()
    registered: dict[int, int] = {}
    owners: dict[int, Job] = {}
    while waiting := [job for job in jobs if not job.has_ended]:
        wanted = {fd: events for job in waiting for fd, events in job.fds.items()}
        if wanted != registered:
            for fd in registered.keys() - wanted.keys():
                poller.unregister(fd)
            for fd in wanted.keys() - registered.keys():
                poller.register(fd, wanted[fd])
            registered = wanted
            owners = {fd: job for job in waiting for fd in job.fds}
        now = time.monotonic()
        deadline = min(job.started + job.backstop_seconds for job in waiting)
        if now > deadline + END_SECONDS:
            raise NeverEnded("a job did not end when it was killed")
        for fd, _ in poller.poll(1000 * max(0.05, min(1.0, deadline - now))):
            if fd in owners[fd].fds:
                owners[fd].handle(fd)
        if time.monotonic() > deadline:
            for job in waiting:
                if not job.has_ended and time.monotonic() > job.started + job.backstop_seconds:
                    job.kill(Ending.WALL_LIMIT)


def _read_status(data: bytes) -> dict[str, Any]:
    """Init's line. A set-up that failed reports first, and that is what counts; nothing at all: init was killed."""
    lines = data.split(b"\n")
    try:
        first = json.loads(lines[0]) if lines[0] else {}
    except ValueError:
        first = {}
    return first if isinstance(first, dict) else {}
