"""The last trusted code before a submitted program, in the program's own process: nothing here can be relied on after.

A submission may rewrite all of this in memory. What it gains is to report values of its choice for the calls that it
was asked; what the right values are is not here, and the verdict is made elsewhere.

    script    the source, as a main program, with standard input and output
    calls     the source as a module, then each call, its result encoded at once on the result channel
    serve     the source as a module, then calls as they are asked for over a link (examiner.py asks)
    exec      another program: a compiled one, node, or what a session runs
    notebook  the interpreter of a session (notebook.py)
    read, write, list   what a session does with its folder (files.py)
    compile   a compiler; the file that it makes goes to the result channel
    examine, pytest   trusted test code, in a job that never sees the submission (examiner.py)
"""

from __future__ import annotations

import atexit
import base64
import builtins
import io
import json
import os
import subprocess
import sys
import threading
import traceback
import types
from collections.abc import Callable
from typing import Any

from gyms.sandbox.inside import examiner, files, notebook, remote, values
from gyms.sandbox.inside.channel import LINK_IN, LINK_OUT, RESULT_FD, Reporter, told

__all__ = [
    "call",
    "forget_ourselves",
    "load_module",
    "prepare_streams",
    "read_body",
    "run",
    "write_files",
]

Body = dict[str, Any]
_streams: dict[str, io.TextIOWrapper] = {}


def read_body(fd: int) -> Body:
    """The program's description, to the end of its pipe."""
    parts = []
    while part := os.read(fd, 1 << 20):
        parts.append(part)
    body: Body = json.loads(b"".join(parts))
    return body


def write_files(body: Body, folder: str) -> None:
    """Put the program's files into the working folder."""
    for name, content in body["files"].items():
        path = os.path.join(folder, name)
        with open(os.open(path, os.O_CREAT | os.O_WRONLY | os.O_EXCL | os.O_NOFOLLOW, 0o755), "wb") as file:
            file.write(base64.b64decode(content))


def run(body: Body) -> None:
    """Become the program; never returns."""
    mode = body["mode"]
    if mode == "exec":
        _exec(body)
    if mode in ("read", "write", "list", "snapshot"):
        files.run(body)
    _use_standard_streams()
    if body.get("numpy"):
        sys.path.append(body["numpy"])
        os.environ["OPENBLAS_NUM_THREADS"] = "1"  # a thread for each core would not fit into the limits
    if mode == "script":
        _run_script(body)
    elif mode == "calls":
        _run_calls(body)
    elif mode == "serve":
        _serve(body)
    elif mode == "notebook":
        notebook.serve()
    elif mode == "compile":
        _compile(body)
    else:
        examiner.examine(body)
    os._exit(0)


def _exec(body: Body) -> None:
    try:
        os.execvpe(body["argv"][0], body["argv"], body["environment"])
    except OSError as error:
        os.write(2, f"{body['argv'][0]}: {error}\n".encode())
    os._exit(127)


def forget_ourselves() -> None:
    """Take this project out of the modules that a program can import; once, for all jobs."""
    for name in [name for name in sys.modules if name == "gyms" or name.startswith("gyms.")]:
        sys.modules.pop(name, None)
    sys.argv[:] = ["main.py"]
    sys.setrecursionlimit(1000)


def prepare_streams() -> None:
    """Make Python's three standard streams once, over pipes: what they then ask of their descriptors, they remember."""
    ends = os.pipe()
    for fd, end in ((0, ends[0]), (1, ends[1]), (2, ends[1])):
        os.dup2(end, fd)
    read = io.BufferedReader(io.FileIO(0, closefd=False))
    _streams["stdin"] = io.TextIOWrapper(read, "utf-8", "surrogateescape")
    for name, fd in (("stdout", 1), ("stderr", 2)):
        write = io.BufferedWriter(io.FileIO(fd, "w", closefd=False))
        _streams[name] = io.TextIOWrapper(write, "utf-8", "surrogateescape", line_buffering=fd == 2)
    null = os.open(os.devnull, os.O_RDWR)
    for fd in (0, 1, 2):
        os.dup2(null, fd)
    for fd in {null, *ends} - {0, 1, 2}:
        os.close(fd)


def _use_standard_streams() -> None:
    for name, stream in _streams.items():
        setattr(sys, name, stream)
        setattr(sys, f"__{name}__", stream)


def _new_module(name: str) -> types.ModuleType:
    module = types.ModuleType(name)
    module.__dict__["__builtins__"] = builtins
    sys.modules[name] = module
    return module


def _run_script(body: Body) -> None:
    """As `python main.py` would: exit status, exit handlers and threads included."""
    status = 0
    module = _new_module("__main__")
    try:
        exec(compile(body["source"], "main.py", "exec", dont_inherit=True), module.__dict__)
    except SystemExit as error:
        status = _exit_status(error.code)
    except BaseException:
        status = 1
        traceback.print_exc()
    try:
        threading._shutdown()  # type: ignore[attr-defined]  # waits for threads, as the interpreter's own end does
        atexit._run_exitfuncs()
    finally:
        for stream in (sys.stdout, sys.stderr):
            try:
                stream.flush()
            except (OSError, ValueError):
                status = status or 120
        os._exit(status)


def _exit_status(code: object) -> int:
    if code is None:
        return 0
    if isinstance(code, int):
        return code & 0xFF
    print(code, file=sys.stderr)
    return 1


def load_module(body: Body, report: Reporter) -> dict[str, Any]:
    """The submission's names, after running it as a module; reports and ends where that fails."""
    module = _new_module("solution")
    try:
        code = compile(body["source"], "solution.py", "exec", dont_inherit=True)
    except BaseException as error:
        report.send({"n": -1, "e": told(error), "k": "syntax"})
        os._exit(0)
    try:
        for before in body.get("prelude", ()):
            exec(compile(before, "prelude.py", "exec", dont_inherit=True), module.__dict__)
        exec(code, module.__dict__)
        for extra in body.get("setup", ()):
            exec(compile(extra, "setup.py", "exec", dont_inherit=True), module.__dict__)
    except BaseException as error:
        report.send({"n": -1, "e": told(error), "k": "import"})
        os._exit(0)
    report.send({"n": -1, "v": True})
    return module.__dict__


def _run_calls(body: Body) -> None:
    report = Reporter(RESULT_FD)
    names = load_module(body, report)
    pristine = {name: getattr(builtins, name) for name in body["pristine"]}
    for number, request in enumerate(body["calls"]):
        if "x" in request:
            environment = {"Solution": lambda: types.SimpleNamespace(**names), **names, **pristine}
            code = compile(request["x"], "call", "eval", dont_inherit=True)
            call(lambda c=code, e=environment: eval(c, e), number, report)
        else:
            function, arguments, keywords = request["f"], values.decode(request["a"]), values.decode(request["k"])
            call(lambda f=function, a=arguments, k=keywords: _function(f, names)(*a, **k), number, report)
    os._exit(0)


def _function(name: str, names: dict[str, Any]) -> Any:
    """What a test calls; a method of `Solution` where the program has no such function.

    Data sets pair solutions of both forms with tests of one, and public harnesses take either.
    """
    solution = names.get("Solution")
    return names[name] if name in names or not isinstance(solution, type) else getattr(solution(), name)


def call(function: Callable[[], Any], number: int, report: Reporter) -> None:
    """Call, encode at once, report; an exit of the program, rather than an error, ends it here."""
    ends = False
    try:
        line = {"n": number, "v": values.encode(function())}
    except Exception as error:
        line = {"n": number, "e": told(error), "t": type(error).__name__}
    except BaseException as error:
        line = {"n": number, "e": told(error), "t": type(error).__name__}
        ends = True
    report.send(line)
    if ends:
        os._exit(0)


def _serve(body: Body) -> None:
    report = Reporter(LINK_OUT)
    names = load_module(body, report)
    remote.serve(names, open(LINK_IN, "rb", closefd=False), report)  # noqa: SIM115
    os._exit(0)


def _compile(body: Body) -> None:
    """Run the compiler; standard error goes where the program's would; its product to the result channel."""
    done = subprocess.run(body["argv"], input=body["source"].encode("utf-8", "replace"), env=body["environment"])
    if done.returncode == 0:
        try:
            fd = os.open(body["product"], os.O_RDONLY | os.O_NOFOLLOW)
        except OSError:
            os._exit(1)
        while chunk := os.read(fd, 1 << 16):
            while chunk:
                chunk = chunk[os.write(RESULT_FD, chunk) :]
    os._exit(0 if done.returncode == 0 else 1)
