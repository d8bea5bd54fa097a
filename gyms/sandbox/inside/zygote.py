"""A warm interpreter that forks one fresh, isolated process for every job, and holds nothing else.

    stage 0   started by the host; gives up root; enters fresh namespaces; waits, and dies with the host
      zygote  process 1 of those namespaces: receives limits and pipe ends, forks, hands back a handle on the init
        init  process 1 of the job's namespace: a mount namespace of its own, limits, watch (job.py)
          submitted code

No program, input or output passes through the zygote: the host hands over pipe ends, and the job reads its program
itself, so the memory that the next job inherits is as clean as on the first day. The kernel ends everything below a
process 1 when it dies; so nothing outlives the zygote, and the zygote does not outlive stage 0 or the host.

User, network, IPC and host-name namespaces are the zygote's; process and mount namespaces are each job's own. Making a
network namespace costs more than all the rest, and this one is empty, has no address, and `socket` is refused.
"""

from __future__ import annotations

import ctypes
import gc
import json
import os
import resource
import select
import signal
import socket
import sys
from typing import Any

from gyms.sandbox.inside import job, kernel, root, supervisor

__all__ = ["forget_command_line", "lift_limits", "main"]

_PRELOADED = (
    "abc array ast base64 bisect cmath collections collections.abc contextlib copy dataclasses datetime decimal enum "
    "fractions functools hashlib heapq io itertools json math numbers operator random re statistics string struct "
    "textwrap time traceback types typing"
)
_MAX_MESSAGE = 1 << 16
_NUM_FDS = 8
_LEAST_FILES = 128


def main(control_fd: int) -> None:
    """Serve jobs on a control socket until the host closes it or dies; the first message configures."""
    control = socket.socket(fileno=control_fd)
    config = json.loads(control.recv(_MAX_MESSAGE))
    try:
        forget_command_line()
        lift_limits()
        job.preload(_PRELOADED)
        _isolate(config, control)
    except Exception as error:  # what this machine lacks is known by its error alone: the host tells it
        told = str(error) if isinstance(error, OSError) else f"{type(error).__name__}: {error}"
        control.send(json.dumps({"failed": told}).encode())


def lift_limits() -> None:
    """Where the host has limits of its own on memory and descriptors, they are not the jobs': take what is allowed.

    OSError where that is too little.
    """
    for kind in (resource.RLIMIT_AS, resource.RLIMIT_NOFILE):
        soft, hard = resource.getrlimit(kind)
        if soft != hard:
            resource.setrlimit(kind, (hard, hard))
    files = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    if files != resource.RLIM_INFINITY and files < _LEAST_FILES:
        raise OSError(f"only {files} files may be open (RLIMIT_NOFILE); a sandbox needs {_LEAST_FILES}: ulimit -n 1024")


def _isolate(config: dict[str, Any], control: socket.socket) -> None:
    host = os.pidfd_open(config["host_pid"])
    if os.getppid() != config["host_pid"]:
        return  # the host was gone before we could watch it
    proc = os.open("/proc", os.O_RDONLY | os.O_DIRECTORY)
    in_namespaces = config["profile"]["has_namespaces"]
    was_root = os.geteuid() == 0
    has_root = in_namespaces and was_root and bool(config["uid"]) and _may_mount()
    if has_root:
        root.build_root(config["view"])  # now: later, mounts made here are locked, and folders of root's unreadable
        root.seal_root()
    if was_root and config["uid"]:
        os.setgroups([])
        os.setresgid(config["uid"], config["uid"], config["uid"])
        os.setresuid(config["uid"], config["uid"], config["uid"])
        kernel.set_dumpable(True)  # a change of user cleared it, and /proc/self would belong to root
    if in_namespaces:
        uid, gid = os.getuid(), os.getgid()
        k = kernel
        k.unshare(k.CLONE_NEWUSER | k.CLONE_NEWPID | k.CLONE_NEWNS | k.CLONE_NEWNET | k.CLONE_NEWIPC | k.CLONE_NEWUTS)
        for name, text in (("setgroups", "deny"), ("uid_map", f"1000 {uid} 1"), ("gid_map", f"1000 {gid} 1")):
            fd = os.open(f"self/{name}", os.O_WRONLY, dir_fd=proc)
            os.write(fd, text.encode())
            os.close(fd)
    stage0 = os.getpid()
    if not in_namespaces:
        kernel.become_subreaper()  # what a killed zygote leaves behind comes to us
    zygote = os.fork()
    if zygote == 0:
        _become_zygote(config, control, proc, host, stage0, has_root)
        os._exit(0)
    control.close()
    os.close(proc)
    _wait_for_either(host, zygote)
    if not in_namespaces:
        job.kill_descendants()
        job.remove_folder(config["base"])
    os._exit(0)


def _may_mount() -> bool:
    """Enter a mount namespace with the rights that we have; False for a root without the right to mount."""
    try:
        kernel.unshare(kernel.CLONE_NEWNS)
    except PermissionError:
        return False
    return True


def _wait_for_either(host: int, zygote: int) -> None:
    """Stage 0's life: ends with the zygote, and ends the zygote when the host ends, however it ended."""
    child = os.pidfd_open(zygote)
    poller = select.poll()
    poller.register(host, select.POLLIN)
    poller.register(child, select.POLLIN)
    if not any(fd == child for fd, _ in poller.poll()):
        os.kill(zygote, signal.SIGKILL)
    os.waitpid(zygote, 0)


def _become_zygote(
    config: dict[str, Any], control: socket.socket, proc: int, host: int, stage0: int, has_root: bool
) -> None:
    kernel.die_with_parent(signal.SIGKILL)
    os.close(host)
    own_pids = -1
    if config["profile"]["has_namespaces"]:
        own_pids = os.open("self/ns/pid", os.O_RDONLY, dir_fd=proc)
        if has_root:
            has_proc = root.try_mount_proc()
        else:
            root.build_root(config["view"])
            has_proc = root.seal_root()
        config["profile"]["has_proc"] = has_proc
        socket.sethostname("sandbox")
        kernel.drop_bounding_set()
    elif os.getppid() != stage0:
        return
    else:
        kernel.become_subreaper()
    os.close(proc)
    null = os.open(os.devnull, os.O_RDWR)
    for fd in (0, 1, 2):
        os.dup2(null, fd)
    job.prepare(config["profile"])
    gc.collect()
    gc.freeze()
    control.send(json.dumps({"ready": os.getpid(), "has_proc": config["profile"].get("has_proc", True)}).encode())
    serve(control, config["profile"], own_pids)


def serve(control: socket.socket, profile: dict[str, Any], own_pids: int) -> None:
    """The zygote's loop: start jobs as they are asked for, collect each init that ended."""
    jobs: dict[int, int] = {}  # pidfd: pid of the job's init
    poller = select.poll()
    poller.register(control, select.POLLIN)
    while True:
        for fd, _ in poller.poll():
            if fd in jobs:
                pid = jobs.pop(fd)
                poller.unregister(fd)
                _, status = os.waitpid(pid, 0)
                os.close(fd)
                if own_pids < 0 and status != 0:
                    job.kill_descendants(but=set(jobs.values()))  # an init that was killed left its job to us
                continue
            message, fds, _, _ = socket.recv_fds(control, _MAX_MESSAGE, _NUM_FDS)
            if not message:
                return  # the host closed its end: whatever still runs dies with this process
            request = json.loads(message)
            pid = _start_init(request, fds, profile, own_pids, control)
            for taken in fds:
                os.close(taken)
            pidfd = os.pidfd_open(pid)
            jobs[pidfd] = pid
            poller.register(pidfd, select.POLLIN)
            socket.send_fds(control, [json.dumps({"started": request["serial"]}).encode()], [pidfd])


def _start_init(
    request: dict[str, Any], fds: list[int], profile: dict[str, Any], own_pids: int, control: socket.socket
) -> int:
    if own_pids >= 0:
        kernel.setns(own_pids, kernel.CLONE_NEWPID)  # children go to our own namespace again, and from there
        kernel.unshare(kernel.CLONE_NEWPID)  # ... the next one is process 1 of a new one
    zygote = os.getpid()
    pid = os.fork()
    if pid:
        return pid
    try:
        kernel.die_with_parent(signal.SIGKILL)
        if own_pids < 0 and os.getppid() != zygote:
            os._exit(1)
        control.close()
        if request.get("is_session"):
            supervisor.supervise(request, fds, profile)
        job.run_init(request, fds, profile)
    except BaseException:
        os._exit(1)
    os._exit(1)  # neither returns


def forget_command_line() -> None:
    """Overwrite this process's arguments and environment in memory: /proc/1/cmdline is there for every job to read."""
    with open("/proc/self/stat", "rb") as stat:
        fields = stat.read().rpartition(b")")[2].split()
    for start, end in ((45, 46), (47, 48)):  # arg_start, arg_end; env_start, env_end, counted from after the name
        first, last = int(fields[start]), int(fields[end])
        if 0 < first < last:
            ctypes.memset(first, 0, last - first)
            ctypes.memmove(first, b"python3", min(7, last - first - 1) if start == 45 else 0)
    os.environ.clear()
    sys.argv[:] = [""]
    sys.orig_argv[:] = [""]
