"""The process between the scorer and a worker: it lives while the worker lives, and nothing outlives it.

A worker runs foreign code, which may start processes, move them to sessions of their own and leave them behind. The
keeper makes itself their *subreaper*: whatever is orphaned below it becomes its own child instead of init's, so that
"kill my children until there are none" reaches every descendant. It does so in three cases: the worker ended, the
scorer asks for it (SIGTERM), or the scorer's process died. Of the last the kernel tells by SIGHUP, but it does so as
soon as the *thread* has ended that started the keeper; whether the process is gone, the keeper sees by its own parent.
It ends as its worker ended, so that the scorer can tell how that was.

Linux only in its guarantees; elsewhere a worker and its process group are killed.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import resource
import shutil
import signal
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NoReturn

from gyms.children import children_of

__all__ = ["fork_worker"]

_PR_SET_PDEATHSIG = 1
_PR_SET_CHILD_SUBREAPER = 36
_MAX_END_SECONDS = 10.0
"""Longest that the keeper hunts descendants which multiply while they are killed."""


def fork_worker(host_pid: int, scratch: Path, fds: Sequence[int]) -> None:
    """Split this process into keeper and worker; returns in the worker alone, which leads a session of its own.

    Args:
        host_pid: the scorer's process; the parent of this one.
        scratch: the worker's folder, removed when everything has ended.
        fds: descriptors that only the worker keeps.
    """
    _prctl(_PR_SET_CHILD_SUBREAPER, 1)

    def on_orphaned(end: Callable[[], None]) -> None:
        signal.signal(signal.SIGHUP, lambda *_: end() if os.getppid() != host_pid else None)

    on_orphaned(lambda: os._exit(1))
    _prctl(_PR_SET_PDEATHSIG, signal.SIGHUP)
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    signal.signal(signal.SIGTERM, lambda *_: os._exit(1))
    if os.getppid() != host_pid:
        os._exit(1)  # the scorer was gone before the request above
    keeper = os.getpid()
    worker = os.fork()
    if worker == 0:
        for number in (signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, signal.SIG_DFL)
        os.setsid()
        _prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != keeper:
            os._exit(1)
        return
    signal.signal(signal.SIGTERM, lambda *_: _end(worker, scratch))
    on_orphaned(lambda: _end(worker, scratch))
    for fd in fds:
        os.close(fd)
    _wait_for(worker)
    _end(worker, scratch)


def _wait_for(worker: int) -> None:
    """Until the worker ended, which is left unreaped; orphans that end before it are reaped."""
    while True:
        result = os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOWAIT)
        if result is None or result.si_pid == worker:
            return
        os.waitpid(result.si_pid, 0)


def _end(worker: int, scratch: Path) -> NoReturn:
    """Kill everything below, take back the folder, and end as the worker ended."""
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(worker, signal.SIGKILL)  # all at once: not even a fork bomb outruns this
    status = 0
    deadline = time.monotonic() + _MAX_END_SECONDS
    while time.monotonic() < deadline:
        for child in children_of(os.getpid()):
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.kill(child, signal.SIGKILL)
        try:
            pid, ended = os.waitpid(-1, 0)  # every child was killed, so this does not wait long
        except ChildProcessError:
            break
        status = ended if pid == worker else status
    shutil.rmtree(scratch, ignore_errors=True)
    if os.WIFSIGNALED(status):
        number = os.WTERMSIG(status)
        if number != signal.SIGKILL:
            signal.signal(number, signal.SIG_DFL)
        os.kill(os.getpid(), number)
    os._exit(os.waitstatus_to_exitcode(status) if os.WIFEXITED(status) else 1)


def _prctl(option: int, value: int) -> None:
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(option, value)
