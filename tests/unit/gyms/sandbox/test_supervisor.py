"""The watch over a session's calls, where what comes first decides: a process that does what an interpreter does."""

from __future__ import annotations

import os
import signal
import socket
import time
from collections.abc import Iterator
from typing import Any

import pytest

from gyms.sandbox.inside import supervisor, usage

PROFILE = {"is_init_one": False, "has_namespaces": True, "has_proc": True}
SPEC: dict[str, Any] = {
    "cpu_seconds": 60.0, "wall_seconds": 10.0, "memory_bytes": 1 << 40, "processes": 1 << 20, "file_bytes": 1 << 30
}  # fmt: skip


@pytest.fixture
def interpreter() -> Iterator[tuple[int, socket.socket]]:
    """Pid and line of a process that stops itself after each message, as an interpreter does at the end of a cell."""
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    pid = os.fork()
    if pid == 0:
        ours.close()
        while theirs.recv(256):
            os.kill(os.getpid(), signal.SIGSTOP)
        os._exit(0)
    yield pid, ours
    os.kill(pid, signal.SIGKILL)
    os.waitpid(pid, 0)
    ours.close()
    theirs.close()


def test_a_cell_that_ends_before_its_supervisor_goes_on_has_ended(
    interpreter: tuple[int, socket.socket], monkeypatch: pytest.MonkeyPatch
) -> None:
    pid, line = interpreter
    before = {number: signal.getsignal(number) for number in (signal.SIGCHLD, signal.SIGINT)}
    control, host = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    monkeypatch.setattr(usage, "living", lambda profile, kept: [])  # else all below the test's process ends
    watch = supervisor._Supervisor(SPEC, PROFILE | {"is_init_one": True}, control)
    watch._interpreter, watch._line = pid, line
    send = socket.send_fds

    def send_and_be_kept_from_going_on(*arguments: Any) -> int:
        sent = send(*arguments)
        os.waitid(os.P_PID, pid, os.WSTOPPED | os.WNOWAIT)  # the whole cell runs while the supervisor has no core
        return sent

    monkeypatch.setattr(socket, "send_fds", send_and_be_kept_from_going_on)
    pipes = list(os.pipe())
    try:
        for serial in (1, 2):  # a new interpreter, which waits for its first cell, and one that its last cell stopped
            start = time.monotonic()
            report = watch._run_cell(serial, [*pipes, pipes[0], pipes[0], pipes[0], pipes[0]], SPEC, start, 0.0)
            assert report["ending"] == "exited", report
    finally:
        signal.set_wakeup_fd(-1)
        for number, handler in before.items():
            signal.signal(number, handler)
        for fd in (*pipes, control.detach(), host.detach()):
            os.close(fd)
