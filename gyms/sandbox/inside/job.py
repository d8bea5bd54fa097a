"""One job: the init that isolates, limits and watches it, and the process that becomes the submitted program.

Init is process 1 of its namespace: signals from inside do not reach it, orphans come to it, and the kernel ends
everything when it exits. It runs none of the submitted code. It decides by CPU time and resident memory of *all*
processes of the job, by the wall clock as backstop, and writes one line, how the job ended, to a pipe that the program
does not have. The wall clock does not count the time for which the program stood ready without a core, so that a busy
machine does not end a program that a quiet one would let finish.
"""

from __future__ import annotations

import contextlib
import json
import os
import resource
import select
import shutil
import signal
import time
from collections.abc import Collection
from typing import Any

from gyms.sandbox import inside
from gyms.sandbox.inside import kernel, landlock, root, runner, seccomp, usage

__all__ = [
    "MAX_STRETCH",
    "STATUS",
    "become_program",
    "kill_descendants",
    "preload",
    "prepare",
    "remove_folder",
    "run_init",
]

STATUS = 5
"""Place of the status pipe among a job's descriptors."""
_FIRST_TICK, _TICK = 0.1, 0.05
MAX_STRETCH = 4.0
"""Times the wall limit after which a program is ended however long it waited: its own children can keep it waiting."""

_filters: list[seccomp.Prepared] = []
Spec = dict[str, Any]


def prepare(profile: Spec) -> None:
    """Whatever is the same for all jobs, done before the first fork."""
    if profile["has_seccomp"] and profile["is_init_one"]:
        _filters.append(seccomp.Prepared(seccomp.program()))
    runner.prepare_streams()
    runner.forget_ourselves()


def preload(names: str) -> None:
    """Import modules for all jobs, and give `random` one state, so that what a program does with it is the same."""
    for name in names.split():
        __import__(name)
    import random

    random.seed(0)


def _release_fork_handlers() -> None:
    """From here on, forks are the program's: do at them what libraries want done (see bundle.py)."""
    os.register_at_fork = inside.register_at_fork  # type: ignore[attr-defined]
    for handlers in inside.fork_handlers:  # type: ignore[attr-defined]
        os.register_at_fork(**handlers)


def run_init(spec: Spec, fds: list[int], profile: Spec) -> None:
    """Run one job to its end and report it; never returns.

    `fds`: program, standard input, output and error, result channel, status, and a link's two ends where there is one.
    """
    program, stdin, stdout, stderr, result, init_status, *link = fds
    start = time.monotonic()
    try:
        kernel.set_dumpable(False)
        if profile["has_namespaces"]:
            kernel.unshare(kernel.CLONE_NEWNS)
            root.mount_scratch(spec["file_bytes"], usage.MAX_FILES)
            if profile["has_proc"]:
                root.mount_proc()
            kernel.drop_all_capabilities()
        elif not profile["is_init_one"]:
            kernel.become_subreaper()
        init = os.getpid()
        child = os.fork()
        if child == 0:
            become_program(spec, (program, stdin, stdout, stderr, result, init_status, *link), profile, init)
    except (OSError, ValueError) as error:
        os.write(init_status, json.dumps({"failed": f"{type(error).__name__}: {error}"}).encode())
        os._exit(1)
    for fd in (program, stdin, stdout, stderr, result, *link):
        os.close(fd)
    report = _watch(child, spec, profile, start)
    os.write(init_status, json.dumps(report).encode())
    os._exit(0)


def become_program(spec: Spec, fds: tuple[int, ...], profile: Spec, init: int) -> None:
    """In the child: arrange descriptors, give up everything, run; never returns."""
    status = fds[STATUS]
    try:
        os.setsid()
        if not profile["is_init_one"]:
            kernel.die_with_parent(signal.SIGKILL)
            if os.getppid() != init:
                os._exit(1)
        high = [_duplicate_above(fd, 100) for fd in fds]
        program, stdin, stdout, stderr, result, status, *link = high
        for source, target in ((stdin, 0), (stdout, 1), (stderr, 2), (result, 3), (program, 4)):
            os.dup2(source, target, inheritable=target < 3)
        for place, source in enumerate(link):
            os.dup2(source, 5 + place, inheritable=False)
        os.dup2(status, 4 + 1 + len(link), inheritable=False)
        status = 5 + len(link)
        os.closerange(status + 1, 1 << 20)
        os.chdir(spec["folder"])
        os.umask(0o022)
        body = runner.read_body(4)
        os.close(4)
        runner.write_files(body, spec["folder"])
        set_limits(spec)
        kernel.set_dumpable(True)
        kernel.forbid_new_privileges()
        if profile.get("landlock"):
            landlock.restrict(profile["landlock"]["readable"], [spec["folder"], *profile["landlock"]["writable"]])
        if profile["has_seccomp"]:
            (_filters[0] if _filters else seccomp.Prepared(seccomp.program(own_signals_only=True))).install()
        os.close(status)
    except BaseException as error:  # the submission has not run yet: whatever went wrong here is ours
        with contextlib.suppress(OSError):
            os.write(status, json.dumps({"failed": f"{type(error).__name__}: {error}"}).encode() + b"\n")
        os._exit(1)
    try:
        _release_fork_handlers()
        runner.run(body)
    finally:
        os._exit(1)


def _duplicate_above(fd: int, lowest: int) -> int:
    import fcntl

    return fcntl.fcntl(fd, fcntl.F_DUPFD_CLOEXEC, lowest)


def set_limits(spec: Spec) -> None:
    """rlimits of the program and all that it starts, each by itself; the watch counts them together."""
    cpu = int(spec["cpu_seconds"]) + 1
    limits = [
        (resource.RLIMIT_CPU, cpu, cpu + 1),
        (resource.RLIMIT_FSIZE, spec["file_bytes"], spec["file_bytes"]),
        (resource.RLIMIT_NOFILE, usage.OPEN_FILES, usage.OPEN_FILES),
        (resource.RLIMIT_CORE, 0, 0),
        (resource.RLIMIT_MEMLOCK, 0, 0),
        (resource.RLIMIT_MSGQUEUE, 0, 0),
        (resource.RLIMIT_RTPRIO, 0, 0),
        (resource.RLIMIT_NPROC, spec["max_tasks"], spec["max_tasks"]),
    ]
    if spec["caps_address_space"]:
        limits.append((resource.RLIMIT_AS, spec["memory_bytes"], spec["memory_bytes"]))
    for kind, soft, hard in limits:
        highest = resource.getrlimit(kind)[1]
        if highest != resource.RLIM_INFINITY:
            soft, hard = min(soft, highest), min(hard, highest)
        resource.setrlimit(kind, (soft, hard))


def _watch(child: int, spec: Spec, profile: Spec, start: float) -> Spec:
    """Wait for the program's end, or end it where all of the job together exceeds a limit."""
    pidfd = os.pidfd_open(child)
    poller = select.poll()
    poller.register(pidfd, select.POLLIN)
    deadline = start + spec["wall_seconds"]
    ending, seen_cpu, waited, wait = "", 0.0, 0.0, _FIRST_TICK
    while not poller.poll(1000 * max(0.0, min(wait, deadline + waited - time.monotonic()))):
        wait = _TICK
        if profile["has_proc"]:
            waited = min(usage.waited(child), (MAX_STRETCH - 1.0) * spec["wall_seconds"])
        if time.monotonic() >= deadline + waited:
            ending = "wall_limit"
        elif profile["has_proc"]:
            cpu, memory = usage.of_job(profile)
            seen_cpu = max(seen_cpu, cpu)
            if cpu > spec["cpu_seconds"]:
                ending = "cpu_limit"
            elif memory > spec["memory_bytes"] or usage.has_outgrown(spec, profile):
                ending = "memory_limit"
            _reap_orphans(child)
        if ending:
            os.kill(child, signal.SIGKILL)
            break
    _, status, used = os.wait4(child, 0)
    cpu = max(seen_cpu, used.ru_utime + used.ru_stime)
    code = os.waitstatus_to_exitcode(status)
    if not ending:
        ran_out = code in (-signal.SIGXCPU, -signal.SIGKILL) and cpu >= spec["cpu_seconds"]
        ending = "cpu_limit" if ran_out else "killed" if code < 0 else "exited"
    if not profile["is_init_one"]:
        kill_descendants()
    return {"ending": ending, "exit": code, "cpu": cpu, "waited": waited}


def _reap_orphans(child: int) -> None:
    """Collect what was left to us, without taking the program's own end."""
    with contextlib.suppress(ChildProcessError):
        while (found := os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)) and found.si_pid != child:
            os.waitpid(found.si_pid, 0)


def remove_folder(path: str) -> None:
    """Remove a working folder and all in it, whatever modes a program gave them."""
    for folder, _, _ in os.walk(path, onerror=None):
        with contextlib.suppress(OSError):
            os.chmod(folder, 0o700)
            for name in os.listdir(folder):
                below = os.path.join(folder, name)
                if not os.path.islink(below):
                    os.chmod(below, 0o700)
    shutil.rmtree(path, ignore_errors=True)


def kill_descendants(*, but: Collection[int] = ()) -> None:
    """Without a process namespace: kill until nothing is below us. New ones are capped in number, so this ends.

    Children `but` these, and what is below them, which are collected elsewhere.
    """
    for _ in range(1000):
        left = usage.descendants(but)
        for pid, *_ in left:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        for pid, *_ in left:
            with contextlib.suppress(ChildProcessError):
                os.waitpid(pid, os.WNOHANG)
        if not left:
            return
        time.sleep(0.002)
