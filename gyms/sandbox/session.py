"""A session: a private folder and an interpreter that live over many calls. What each call means, for every tier.

Every call is a job of its own with limits of its own (`inside/supervisor.py`): when it returns, nothing that it started
runs any more. Two things live on: the folder, capped as a whole by the `file_bytes` that the session was opened with,
and the interpreter of `python`, stopped until the next call.

*The interpreter is lost* where a call to it is ended by a limit, where it ends itself, or where a call left no line on
its own result pipe (a cell that stopped the process, or took the place of our code). It is then started anew by the
next call, and the answer says so. It is not interrupted instead: where in a cell an interrupt lands is a matter of
time, and a replay of the same calls must see the same.

Left out: interactive programs (a call's input is given with it), and images of the interpreter.
"""

from __future__ import annotations

import base64
import json
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from types import TracebackType
from typing import Any

from gyms.sandbox.inside.files import MAX_PATH_BYTES
from gyms.sandbox.line import Line
from gyms.sandbox.program import Cell, Ending, Entry, File, FileRefused, Limits, Run, SandboxError

__all__ = ["FolderSession"]


class FolderSession:
    """The `Session` that gyms are handed."""

    def __init__(self, line: Line, limits: Limits, *, path: str, tasks_beside: Callable[[], int]) -> None:
        """Args:
        limits: of each call that names none; its `file_bytes` are the folder's.
        path: where `run` looks for programs.
        tasks_beside: says how many processes the kernel counts beside those of `Limits.processes`.
        """
        self._line = line
        self._limits = limits
        self._path = path
        self._tasks_beside = tasks_beside
        self._has_interpreter = False
        self._must_restart = False

    def run(self, argv: Sequence[str], *, stdin: bytes = b"", limits: Limits | None = None) -> Run:
        """Run a program in the folder, to its end or its limit."""
        if not argv or not argv[0] or not all(map(_is_word, argv)):
            raise ValueError(f"argv = {list(argv)!r:.200}: expected a program and its arguments, as texts without NUL")
        environment = {"PATH": self._path, "HOME": "/tmp", "TMPDIR": ".", "LANG": "C.UTF-8", "PYTHONHASHSEED": "0"}
        body = {"mode": "exec", "argv": list(argv), "environment": environment, "files": {}}
        return self._call("run", body, limits, stdin=stdin)[0]

    def python(self, code: str, *, limits: Limits | None = None) -> Cell:
        """Run a cell in the session's interpreter."""
        had_one, self._has_interpreter = self._has_interpreter, False
        run, report = self._call("python", {"code": code}, limits)
        told = _line_of(run.results)
        is_answered = run.ending is Ending.EXITED and report["is_kept"] and told.get("call") == report["serial"]
        self._must_restart = not is_answered
        self._has_interpreter = is_answered
        return Cell(
            output=run.stdout.decode("utf-8", "replace"),
            ending=run.ending,
            exit_status=run.exit_status,
            has_raised=told.get("has_raised") is True,
            is_new=had_one and bool(report["is_new"]),
            is_kept=is_answered,
            cpu_seconds=run.cpu_seconds,
            wall_seconds=run.wall_seconds,
        )

    def read(self, path: str) -> bytes:
        """The content of a file."""
        run, _ = self._call("read", {"mode": "read", "path": _checked(path), "files": {}}, None)
        return _done(run, path)

    def write(self, path: str, content: bytes) -> None:
        """Make a file or replace its content; folders above it are made."""
        self.write_all({path: content})

    def write_all(self, files: Mapping[str, bytes | File]) -> None:
        """Write several files in one call."""
        given = {path: file if isinstance(file, File) else File(content=file) for path, file in files.items()}
        size = sum(len(file.content) for file in given.values())
        if size > self._limits.file_bytes:
            raise FileRefused(f"{size} bytes do not fit into a folder of file_bytes = {self._limits.file_bytes:g}")
        contents = {
            _checked(path): (base64.b64encode(file.content).decode(), file.mode) for path, file in given.items()
        }
        run, _ = self._call("write", {"mode": "write", "contents": contents, "files": {}}, None)
        _done(run, ", ".join(files))

    def list(self) -> tuple[Entry, ...]:
        """All that is in the folder, sorted by path."""
        run, _ = self._call("list", {"mode": "list", "files": {}}, None)
        lines = _done(run, ".").splitlines()
        return tuple(Entry(path=path, kind=kind, num_bytes=size) for path, kind, size in map(json.loads, lines))

    def snapshot(self, paths: Sequence[str] | None = None) -> dict[str, File]:
        """The files as they are, in one call."""
        wanted = None if paths is None else list(map(_checked, paths))
        body = {"mode": "snapshot", "paths": wanted, "files": {}}
        run, _ = self._call("snapshot", body, None, results_bytes=int(self._limits.file_bytes))
        return dict(_saved(_done(run, ".", limit="file_bytes")))

    def close(self) -> None:
        """End it; again is fine."""
        self._line.close()

    def __enter__(self) -> FolderSession:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _call(
        self,
        operation: str,
        body: dict[str, Any],
        limits: Limits | None,
        *,
        stdin: bytes = b"",
        results_bytes: int = 0,
    ) -> tuple[Run, dict[str, Any]]:
        given = replace(limits or self._limits, file_bytes=self._limits.file_bytes)
        spec = {
            "cpu_seconds": given.cpu_seconds,
            "wall_seconds": given.wall_seconds,
            "memory_bytes": int(given.memory_bytes),
            "processes": int(given.processes),
            "max_tasks": int(given.processes) + self._tasks_beside(),
        }
        told = {"limits": spec, "restart": self._must_restart}
        return self._line.call(operation, body, given, told, stdin=stdin, results_bytes=results_bytes)


def _is_word(text: str) -> bool:
    """Whether the kernel can be given it."""
    try:
        return isinstance(text, str) and b"\0" not in os.fsencode(text)
    except UnicodeEncodeError:
        return False


def _checked(path: str) -> str:
    """A relative path without tricks, as the far side walks it."""
    is_fine = _is_word(path) and len(os.fsencode(path)) <= MAX_PATH_BYTES
    if not is_fine or any(part in ("", ".", "..") for part in path.split("/")):
        raise FileRefused(
            f"path {path!r:.200}: expected a path below the folder, without '.', '..' and doubled slashes"
        )
    return path


def _saved(results: bytes) -> Iterator[tuple[str, File]]:
    """What `inside/files.py` saved: for each file a line of JSON, then so many bytes as that says."""
    at = 0
    while at < len(results):
        end = results.index(b"\n", at)
        path, mode, size = json.loads(results[at:end])
        at = end + 1 + size
        yield path, File(content=results[end + 1 : at], mode=mode)


def _done(run: Run, path: str, *, limit: str = "output_bytes") -> bytes:
    """The result of a call of our own code; what it refuses, or has no room for, is what the session made of it."""
    if run.ending is Ending.EXITED and run.exit_status == 0:
        return run.results
    if run.ending is Ending.EXITED and run.exit_status == 1 and run.stderr:
        raise FileRefused(run.stderr.decode("utf-8", "replace"))
    if run.ending is Ending.OUTPUT_LIMIT:
        raise FileRefused(f"{path!r:.200}: more than the session's limit {limit}")
    if run.ending in (Ending.CPU_LIMIT, Ending.WALL_LIMIT, Ending.MEMORY_LIMIT) or run.exit_status < 0:
        raise FileRefused(f"{path!r:.200}: not within the session's limits ({run.ending})")
    raise SandboxError(
        f"{path!r:.200}: the session's own code ended with status {run.exit_status}: {run.stderr[-300:]!r}"
    )


def _line_of(results: bytes) -> dict[str, Any]:
    """What the interpreter says of its cell; nothing where it is not a line of the right form. A cell may forge it."""
    try:
        told = json.loads(results)
    except (ValueError, RecursionError):
        return {}
    return told if isinstance(told, dict) else {}
