"""The interpreter of a session: one cell after another in the same names, each with pipes of its own.

This process is the submission's: a cell may rewrite all of this. What it gains is to choose what its own cells seem to
print. The host keeps to three facts that no cell can forge for another one: the pipes of a call are made for that call,
how a process ended is seen from outside, and a call that left no line with its own number on its own result pipe was
not answered, whereupon the interpreter is started anew.

A cell runs as in a notebook: standard output and error are one stream, the value of a last expression is shown,
exceptions are shown with the lines of the cell and end nothing.
"""

from __future__ import annotations

import ast
import builtins
import contextlib
import io
import json
import linecache
import os
import signal
import socket
import sys
import traceback
import types
from typing import Any

from gyms.sandbox.inside.channel import LINK_IN, RESULT_FD

__all__ = ["serve"]

MAX_FRAMES = 8
"""Innermost frames of a traceback that are shown."""
_MAX_MESSAGE = 256
_OURSELVES_LOST = 3
"""Exit status where a cell has taken away what the next one would come by."""


def serve() -> None:
    """Run cells as they come over the socket; never returns."""
    signal.signal(signal.SIGINT, signal.default_int_handler)
    names = _new_main()
    sys.path.append("")  # modules that it wrote to its folder; behind the library's, so that they replace nothing
    control = socket.socket(fileno=LINK_IN)
    identity = os.fstat(LINK_IN).st_ino
    null = os.open(os.devnull, os.O_RDWR)
    null_identity = os.fstat(null).st_rdev
    own, kill, leave = os.getpid(), os.kill, os._exit
    getpid, fstat, dup2, close, write, recv_fds = os.getpid, os.fstat, os.dup2, os.close, os.write, socket.recv_fds
    num_cells = 0
    while True:
        message, fds, _, _ = recv_fds(control, _MAX_MESSAGE, 8)
        if not message:
            leave(0)
        _collect_children()
        program, stdin, stdout, result = fds
        for source, target in ((stdin, 0), (stdout, 1), (stdout, 2)):
            dup2(source, target)
        dup2(result, RESULT_FD, inheritable=False)
        text = _read_all(program)
        for fd in fds:
            close(fd)
        num_cells += 1
        _use_new_streams()
        has_raised = _run_cell(text, f"<cell {num_cells}>", names)
        _flush()
        try:
            if getpid() != own:  # a copy of this process that came to the end of the cell
                leave(0)
            write(RESULT_FD, json.dumps({"call": int(message), "has_raised": has_raised}).encode() + b"\n")
            if fstat(LINK_IN).st_ino != identity or fstat(null).st_rdev != null_identity:
                leave(_OURSELVES_LOST)
            for fd in (0, 1, 2, RESULT_FD):
                dup2(null, fd, inheritable=fd < 3)
        except OSError:
            leave(_OURSELVES_LOST)
        kill(own, signal.SIGSTOP)


def _new_main() -> dict[str, Any]:
    module = types.ModuleType("__main__")
    module.__dict__["__builtins__"] = builtins
    sys.modules["__main__"] = module
    return module.__dict__


def _collect_children() -> None:
    """What a cell left running was killed at its end: take notice, or the dead count as processes."""
    with contextlib.suppress(OSError):
        while os.waitpid(-1, os.WNOHANG)[0]:
            pass


def _read_all(fd: int) -> str:
    parts = []
    while part := os.read(fd, 1 << 16):
        parts.append(part)
    code: str = json.loads(b"".join(parts))["code"]
    return code


def _use_new_streams() -> None:
    """Each cell's are made anew: an earlier one may have closed or replaced them."""
    out = io.TextIOWrapper(
        io.BufferedWriter(io.FileIO(1, "w", closefd=False)), "utf-8", "backslashreplace", line_buffering=True
    )
    sys.stdin = sys.__stdin__ = io.TextIOWrapper(
        io.BufferedReader(io.FileIO(0, closefd=False)), "utf-8", "surrogateescape"
    )
    sys.stdout = sys.stderr = sys.__stdout__ = sys.__stderr__ = out


def _run_cell(text: str, name: str, names: dict[str, Any]) -> bool:
    """True where it raised, which has been shown then."""
    try:
        tree = ast.parse(text, name)
        last = None
        if tree.body and isinstance(tree.body[-1], ast.Expr):
            last = ast.Expression(tree.body.pop().value)  # type: ignore[attr-defined]
        linecache.cache[name] = (len(text), None, text.splitlines(keepends=True), name)
        exec(compile(tree, name, "exec", dont_inherit=True), names)
        if last is not None:
            value = eval(compile(last, name, "eval", dont_inherit=True), names)
            if value is not None:
                names["_"] = value
                print(repr(value))
    except BaseException as error:
        _show(error)
        return True
    return False


def _show(error: BaseException) -> None:
    """The exception as a notebook shows it, without our own frames; whatever its own code does."""
    try:
        tb = error.__traceback__
        while tb is not None and tb.tb_frame.f_code.co_filename == _OWN_FILE:
            tb = tb.tb_next
        if isinstance(error, SyntaxError):
            tb = None
        lines = traceback.format_exception(type(error), error, tb, limit=-MAX_FRAMES)
        sys.stderr.write("".join(lines))
    except BaseException:
        with contextlib.suppress(BaseException):
            sys.stderr.write(f"{type(error).__name__}\n")


_OWN_FILE = _show.__code__.co_filename


def _flush() -> None:
    for stream in (sys.stdout, sys.stderr, sys.__stdout__):
        with contextlib.suppress(BaseException):
            stream.flush()  # type: ignore[union-attr]
