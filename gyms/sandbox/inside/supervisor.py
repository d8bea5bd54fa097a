"""The init of a session: a folder and an interpreter that live over many calls, and the watch over each call.

It is to a session what `job.run_init` is to a job: process 1 of its namespace, which runs none of the submitted code.
Calls come one at a time over a socket, each with the pipe ends of its own program, input, outputs, results and status.
So nothing that one call holds on to reaches the next: it can write to pipes that nobody reads any more.

*A call ends* when its process ends, or, where it is the interpreter, when that stops itself (SIGSTOP); or where a limit
is met. Then everything but the interpreter is killed, and the interpreter stays stopped until its next call: no thread
of it computes between calls, and no child of it waits for the next. What stops early by its own will has only its own
output to lose.

*What a call uses is counted* from what the session had used before it: CPU time and waiting are differences, and a
folder that held too much when the call began (on disk, where a call is ended after it wrote) ends it only where it
grows further. So what is in the way can be removed.
"""

from __future__ import annotations

import contextlib
import json
import os
import select
import signal
import socket
import time
from typing import Any

from gyms.sandbox.inside import job, kernel, root, usage

__all__ = ["supervise"]

Spec = dict[str, Any]

_MAX_MESSAGE = 1 << 16
_NUM_FDS = 8
_TICK = 0.05
_NEVER_CPU_SECONDS = 10**6
"""RLIMIT_CPU of the interpreter: its life is many calls, each of which is watched."""
_MAX_ROUNDS = 1000


def supervise(spec: Spec, fds: list[int], profile: Spec) -> None:
    """Serve the calls of one session until the host closes the socket `fds[0]` or dies; never returns."""
    control = socket.socket(fileno=fds[0])
    try:
        if not profile["has_proc"]:
            raise OSError("a session needs a /proc of its own, which this container does not allow (docs/sandbox.md)")
        _isolate(spec, profile)
        supervisor = _Supervisor(spec, profile, control)
    except (OSError, ValueError) as error:
        control.send(json.dumps({"failed": str(error)}).encode())
        os._exit(1)
    control.send(json.dumps({"ready": True}).encode())
    while True:
        message, taken, _, _ = socket.recv_fds(control, _MAX_MESSAGE, _NUM_FDS)
        if not message:
            supervisor.leave()
        request = json.loads(message)
        if "call" in request:  # what else there is asks for the end of a call that has ended
            supervisor.call(request, taken)


def _isolate(spec: Spec, profile: Spec) -> None:
    kernel.set_dumpable(False)
    if profile["has_namespaces"]:
        kernel.unshare(kernel.CLONE_NEWNS)
        root.mount_scratch(spec["file_bytes"], usage.MAX_FILES)
        root.mount_proc()
        _enter_user_namespace()
        kernel.drop_bounding_set()
        kernel.drop_all_capabilities()
    elif not profile["is_init_one"]:
        kernel.become_subreaper()


def _enter_user_namespace() -> None:
    """One of the session's own, so that the number of its processes is counted apart from its neighbours'."""
    uid, gid = os.getuid(), os.getgid()
    kernel.set_dumpable(True)  # or /proc/self would not be ours to write to
    kernel.unshare(kernel.CLONE_NEWUSER)
    for name, text in (("setgroups", "deny"), ("uid_map", f"{uid} {uid} 1"), ("gid_map", f"{gid} {gid} 1")):
        fd = os.open(f"/proc/self/{name}", os.O_WRONLY)
        os.write(fd, text.encode())
        os.close(fd)
    kernel.set_dumpable(False)


class _Supervisor:
    """The interpreter of a session, where there is one, and the call that runs."""

    def __init__(self, spec: Spec, profile: Spec, control: socket.socket) -> None:
        self._spec = spec
        self._profile = profile
        self._control = control
        self._interpreter = 0
        """Its pid; 0: none."""
        self._line: socket.socket | None = None
        self._far_end: socket.socket | None = None
        """The interpreter's end of the line, kept to see what it has not taken before it ended."""
        self._was_untaken = False
        self._held = (0, 0)
        """Bytes and files of the folder when the call began."""
        self._wake, wake = os.pipe()
        for fd in (self._wake, wake):
            os.set_blocking(fd, False)
        signal.signal(signal.SIGCHLD, lambda number, frame: None)
        signal.signal(signal.SIGINT, signal.SIG_DFL)  # nothing from inside reaches a process 1 that handles it not
        signal.set_wakeup_fd(wake, warn_on_full_buffer=False)
        self._poller = select.poll()
        for fd in (self._wake, control.fileno()):
            self._poller.register(fd, select.POLLIN)

    def leave(self) -> None:
        """End all of the session; never returns."""
        with contextlib.suppress(BaseException):
            if self._profile["is_init_one"]:
                os._exit(0)  # the kernel ends what is below process 1
            self._kill(self._interpreter)
            job.kill_descendants()
        os._exit(0)

    def call(self, request: Spec, fds: list[int]) -> None:
        """Run one call to its end, and say how it ended."""
        status = fds[job.STATUS]
        spec = {**self._spec, **request["limits"]}
        start, before = time.monotonic(), usage.of_job(self._profile)[0]
        self._held = usage.of_folder(spec, self._profile)
        is_new = False
        try:
            if request["op"] == "python":
                is_new = self._ensure_interpreter(spec, status, restart=request["restart"])
                report = self._run_cell(request["call"], fds, spec, start, before)
                if self._was_untaken and report["ending"] in ("exited", "killed"):  # it had been dying before
                    is_new = self._ensure_interpreter(spec, status, restart=True)
                    report = self._run_cell(request["call"], fds, spec, start, before)
            else:
                report = self._watch(self._fork(spec, tuple(fds)), spec, start, before)
        except OSError as error:
            report = {"failed": f"{type(error).__name__}: {error}"}
        report |= {"is_new": is_new, "is_kept": bool(self._interpreter)}
        with contextlib.suppress(BrokenPipeError):
            os.write(status, json.dumps(report).encode())
        for fd in fds:
            os.close(fd)
        self._control.send(json.dumps({"ended": request["call"]}).encode())

    def _ensure_interpreter(self, spec: Spec, status: int, *, restart: bool) -> bool:
        """True where it had to be started."""
        if self._interpreter and restart:
            self._kill(self._interpreter)
            self._end_all()
        if self._interpreter:
            return False
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        ours.setblocking(False)
        body, write = os.pipe()
        null = os.open(os.devnull, os.O_RDWR)
        try:
            os.write(write, json.dumps({"mode": "notebook", "files": {}, "numpy": self._spec["numpy"]}).encode())
            os.close(write)
            lifelong = {**spec, "cpu_seconds": _NEVER_CPU_SECONDS}
            self._interpreter = self._fork(lifelong, (body, null, null, null, null, status, theirs.fileno()))
            self._line, self._far_end, self._was_untaken = ours, theirs, False
        finally:
            os.close(body)
            os.close(null)
        return True

    def _run_cell(self, serial: int, fds: list[int], spec: Spec, start: float, cpu_before: float) -> Spec:
        """Let the interpreter go on, give it the call's pipes, watch; one that cannot take them is ended."""
        assert self._line is not None
        waited = usage.waited(self._interpreter)
        program, stdin, stdout, _, result, _ = fds
        with contextlib.suppress(ChildProcessError):
            while os.waitid(os.P_PID, self._interpreter, os.WSTOPPED | os.WNOHANG):
                pass  # how its last call ended
        self._signal(self._interpreter, signal.SIGCONT)  # before its cell: behind it, it could undo the cell's own stop
        try:
            socket.send_fds(self._line, [str(serial).encode()], [program, stdin, stdout, result])
        except OSError:
            self._kill(self._interpreter)
        return self._watch(self._interpreter, spec, start, cpu_before, waited)

    def _fork(self, spec: Spec, fds: tuple[int, ...]) -> int:
        supervisor = os.getpid()
        child = os.fork()
        if child == 0:
            signal.set_wakeup_fd(-1)
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            job.become_program(spec, fds, self._profile, supervisor)
        return child

    def _watch(self, child: int, spec: Spec, start: float, cpu_before: float, waited_before: float = 0.0) -> Spec:
        """Wait for the call's end, or end it where it exceeds a limit; afterwards nothing of it runs."""
        is_interpreter = child == self._interpreter
        wanted = os.WEXITED | os.WNOHANG | os.WNOWAIT | (os.WSTOPPED if is_interpreter else 0)
        deadline, look, ending, waited = start + spec["wall_seconds"], start + _TICK, "", 0.0
        while (state := os.waitid(os.P_PID, child, wanted)) is None:
            if self._was_woken(min(look, deadline + waited) - time.monotonic()):
                ending = "killed"
            now = time.monotonic()
            if not ending and now < min(look, deadline + waited):
                continue
            look = now + _TICK
            most = (job.MAX_STRETCH - 1.0) * spec["wall_seconds"]
            waited = max(0.0, min(usage.waited(child) - waited_before, most))
            ending = ending or self._exceeded(spec, now >= deadline + waited, cpu_before)
            self._reap(child)
            if ending:
                state = None
                break
        cpu = usage.of_job(self._profile)[0] - cpu_before
        if state is not None and state.si_code == os.CLD_STOPPED:
            self._end_all()
            return {"ending": "exited", "exit": 0, "cpu": cpu, "waited": waited}
        self._signal(-child, signal.SIGKILL)  # its whole group at once: faster than any bomb among them
        self._kill(child)
        _, status, used = os.wait4(child, 0)
        if is_interpreter:
            self._forget_interpreter()
        else:
            cpu = max(cpu, used.ru_utime + used.ru_stime)
        self._end_all()
        code = os.waitstatus_to_exitcode(status)
        if not ending:
            ran_out = code in (-signal.SIGXCPU, -signal.SIGKILL) and cpu >= spec["cpu_seconds"]
            ending = "cpu_limit" if ran_out else "killed" if code < 0 else "exited"
        return {"ending": ending, "exit": code, "cpu": cpu, "waited": waited}

    def _exceeded(self, spec: Spec, is_late: bool, cpu_before: float) -> str:
        if is_late:
            return "wall_limit"
        if not self._profile["is_init_one"] and usage.num_tasks() > spec["processes"]:
            return "killed"
        cpu, memory = usage.of_job(self._profile)
        if cpu - cpu_before > spec["cpu_seconds"]:
            return "cpu_limit"
        if memory > spec["memory_bytes"] or usage.has_outgrown(spec, self._profile, self._held):
            return "memory_limit"
        return ""

    def _was_woken(self, seconds: float) -> bool:
        """Wait for a child, the host or the time; True where the host asks for the call's end."""
        asked = False
        for fd, _ in self._poller.poll(max(0.0, 1000 * seconds)):
            if fd == self._wake:
                with contextlib.suppress(BlockingIOError):
                    os.read(self._wake, 4096)
            elif self._control.recv(_MAX_MESSAGE):
                asked = True
            else:
                self.leave()
        return asked

    def _end_all(self) -> None:
        """Kill all but the interpreter, and stop that; where they come faster than they go, kill it too."""
        for round_ in range(_MAX_ROUNDS):
            if self._interpreter:
                self._signal(self._interpreter, signal.SIGSTOP if round_ < _MAX_ROUNDS // 2 else signal.SIGKILL)
            left = self._stopped() if not self._profile["is_init_one"] else self._living()
            for pid in left:
                self._kill(pid)
            self._reap(0)
            if not left:
                return
            time.sleep(0.001)

    def _living(self) -> list[int]:
        return usage.living(self._profile, self._interpreter)

    def _stopped(self) -> list[int]:
        """All but the interpreter, stopped: the stopped keep their places, so that a bomb cannot outrun its end."""
        stopped: set[int] = set()
        while new := [pid for pid in self._living() if pid not in stopped]:
            for pid in new:
                self._signal(pid, signal.SIGSTOP)
            stopped.update(new)
        return list(stopped)

    def _reap(self, child: int) -> None:
        """Collect all that ended, but for the process whose end is waited for."""
        with contextlib.suppress(ChildProcessError):
            while found := os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT):
                if found.si_pid == child:
                    return
                os.waitpid(found.si_pid, 0)
                if found.si_pid == self._interpreter:
                    self._forget_interpreter()

    def _forget_interpreter(self) -> None:
        self._interpreter = 0
        if self._line is not None and self._far_end is not None:
            self._far_end.setblocking(False)
            with contextlib.suppress(BlockingIOError):
                self._was_untaken = bool(self._far_end.recv(_MAX_MESSAGE))
            self._line.close()
            self._far_end.close()
            self._line = self._far_end = None

    def _kill(self, pid: int) -> None:
        self._signal(pid, signal.SIGKILL)

    def _signal(self, pid: int, number: int) -> None:
        """Our children keep their numbers until we collect them; 0, 1 and -1 would be ourselves and everybody."""
        if abs(pid) > 1:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, number)
