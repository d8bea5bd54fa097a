"""What goes into a sandbox and what comes out: plain data, no mechanism.

A `Program` holds source and inputs, never an expected result: whoever gives the verdict compares outside. A `Run` is
what was observed from outside; the exit status of a submitted program is a fact about it, never a verdict, and what it
reports of its calls are values, never verdicts.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Literal, Protocol

__all__ = [
    "Call",
    "Cell",
    "Ending",
    "Entry",
    "Exam",
    "File",
    "FileRefused",
    "Language",
    "Limits",
    "Outcome",
    "Program",
    "Run",
    "Sandbox",
    "SandboxError",
    "Session",
]

Language = Literal["python", "cpp", "javascript"]


class Ending(StrEnum):
    """How a run ended."""

    EXITED = "exited"
    """By itself, whatever its exit status."""
    CPU_LIMIT = "cpu_limit"
    WALL_LIMIT = "wall_limit"
    MEMORY_LIMIT = "memory_limit"
    OUTPUT_LIMIT = "output_limit"
    """Wrote more than `Limits.output_bytes`; the output is cut there."""
    KILLED = "killed"
    """By a signal that no limit of ours explains: a segmentation fault, its own kill(2), a refused system call."""
    COMPILE_FAILED = "compile_failed"


class SandboxError(RuntimeError):
    """The sandbox itself failed: ours to repair, never a fault of the program."""


class FileRefused(ValueError):
    """A file of a session cannot be read or written: what the path names, or the room that is left, is why."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """What one run may use.

    Raises ValueError where a limit is not positive.
    """

    cpu_seconds: float = 10.0
    """CPU time of all processes of the run, in seconds."""
    wall_seconds: float = 30.0
    """Wall clock from start to the last byte, in seconds; the backstop for programs that sleep. What the program waits
    for a core is not counted, up to four times the limit in all."""
    memory_bytes: int = 512 << 20
    """Memory of all processes of the run, at least 64 MiB; for Python and C++ also the address space of each."""
    processes: int = 32
    """Processes and threads at one time."""
    file_bytes: int = 16 << 20
    """Largest file, and all of the private scratch folder together."""
    output_bytes: int = 1 << 20
    """Most bytes kept of each of standard output, standard error and the result channel."""

    def __post_init__(self) -> None:
        for name in self.__slots__:
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value < 1 << 50:
                raise ValueError(f"limit {name} = {value!r}: expected a number above 0")
        if self.memory_bytes < 64 << 20:
            raise ValueError(f"limit memory_bytes = {self.memory_bytes}: an interpreter needs at least {64 << 20}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """One call of a submitted module: a function with plain arguments, or an expression over the module's names.

    Example:
        Call(function="add", arguments=(1, 2))
        Call(expression="sorted(pairs([3, 1]))")
    """

    function: str = ""
    arguments: tuple[Any, ...] = ()
    keywords: Mapping[str, Any] = field(default_factory=dict)
    expression: str = ""
    """Instead of a function. It is visible to the program: it must not hold the expected result."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Program:
    """One run of submitted code: source, standard input or calls, limits.

    Example:
        Program(source="print(input())", stdin=b"hello\n")
        Program(source="def add(a, b): return a + b", calls=(Call(function="add", arguments=(1, 2)),))
    """

    source: str
    language: Language = "python"
    stdin: bytes = b""
    files: Mapping[str, bytes] = field(default_factory=dict)
    """Plain file name -> content, put into the working folder before the run."""
    calls: tuple[Call, ...] = ()
    """Python only: the source is loaded as a module and these are called, in one process, inputs made anew for each."""
    prelude: tuple[str, ...] = ()
    """Python only: source that runs in the module's names before it. Visible to the program."""
    has_numpy: bool = False
    """Python only: numpy can be imported, where it is installed and the tier can show it (not `landlock`)."""
    setup: tuple[str, ...] = ()
    """Python only: source that runs in the module's names after it is loaded. Visible to the program."""
    limits: Limits = field(default_factory=Limits)


@dataclass(frozen=True, slots=True, kw_only=True)
class Exam:
    """Trusted test code for a submission that runs elsewhere: every call crosses the wall as plain data.

    Example:
        Exam(tests="def check(f):\\n    assert f(2) == 4\\ncheck(candidate)", proxies={"candidate": "square"})
    """

    tests: str
    """Python source. Each `assert` is a case; with `is_pytest`, a test file whose tests `import solution`."""
    prelude: tuple[str, ...] = ()
    """Trusted source that runs before: helpers, a reference solution."""
    proxies: Mapping[str, str] = field(default_factory=dict)
    """Name in the tests -> function of the submission."""
    is_pytest: bool = False
    allows_handles: bool = False
    """True where the tests make instances of the submission's classes: they stay there, and answer by their methods."""
    allows_objects: bool = False
    """True where such instances answer comparisons and arithmetic too: lower trust, for they may lie."""
    allows_changes: bool = False
    """True where a list, dict or set that the submission changes in place changes in the tests too."""
    module_names: tuple[str, ...] = ()
    """Further module names under which the tests may import the submission, besides `solution`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What a program says of one call: a plain value, or that it raised. Its own word: never a verdict."""

    value: Any = None
    error: str = ""
    """Type and text of the exception; empty where there is a value."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """What was seen of one run, from outside."""

    ending: Ending
    exit_status: int
    """Exit status, or minus the signal's number."""
    stdout: bytes = b""
    stderr: bytes = b""
    results: bytes = b""
    """The result channel, undecoded; `gyms.sandbox.results` reads it."""
    cpu_seconds: float = 0.0
    wall_seconds: float = 0.0
    """Without what it waited for a core."""
    tier: str = ""
    """Name of the isolation that it ran under; see `python -m gyms doctor`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Cell:
    """What was seen of one cell that the interpreter of a session ran.

    Example:
        session.python("x = 6 * 7\\nx").output == "42\n"
    """

    output: str
    """Standard output and error together, the value of a last expression and an exception's traceback included."""
    ending: Ending
    exit_status: int = 0
    """Where the interpreter ended: its exit status, or minus the signal's number."""
    has_raised: bool = False
    """The interpreter's own word for it, which a cell can forge: never a verdict."""
    is_new: bool = False
    """True where the interpreter of earlier cells was gone, and this cell ran in a new one."""
    is_kept: bool = True
    """False where the interpreter has ended or cannot be relied on: names and imports are gone."""
    cpu_seconds: float = 0.0
    wall_seconds: float = 0.0
    """Without what it waited for a core."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """Something in the folder of a session."""

    path: str
    """Relative to the folder."""
    kind: Literal["file", "folder", "link", "other"]
    num_bytes: int = 0
    """Of a file."""


@dataclass(frozen=True, slots=True, kw_only=True)
class File:
    """A file of a session, as it was kept or is to be made."""

    content: bytes
    mode: int | None = None
    """Permissions, as 0o755; None: those that a new file gets, or those that it has."""


class Session(Protocol):
    """A private folder and an interpreter that live over many calls. SandboxError where it is lost, which is ours.

    When a call returns, nothing that it started runs any more, and the interpreter is stopped. Limits hold for each
    call by itself, but for `file_bytes`: that is the folder's, and set when the session is opened. Used by one thread
    at a time.
    """

    def run(self, argv: Sequence[str], *, stdin: bytes = b"", limits: Limits | None = None) -> Run:
        """Run a program in the folder, to its end or its limit; it is found on the PATH of the sandbox."""
        ...

    def python(self, code: str, *, limits: Limits | None = None) -> Cell:
        """Run a cell in the session's interpreter, which keeps its names from cell to cell, as a notebook does."""
        ...

    def read(self, path: str) -> bytes:
        """The content of a file; FileRefused where there is none, or it lies behind a symbolic link."""
        ...

    def write(self, path: str, content: bytes) -> None:
        """Make a file or replace its content, and make the folders above it; FileRefused where that cannot be."""
        ...

    def list(self) -> tuple[Entry, ...]:
        """All that is in the folder, sorted by path; links are named and not followed."""
        ...

    def snapshot(self, paths: Sequence[str] | None = None) -> dict[str, File]:
        """Content and permissions of all regular files in the folder, or of these, by path; FileRefused where one
        cannot be read, or they and their names are more than `file_bytes`. Links and empty folders are not in it.

        Example:
            sandbox.open(session.snapshot())  # a session with the same files
        """
        ...

    def close(self) -> None:
        """End it: no process, mount or file of it is left. Again is fine."""
        ...


class Sandbox(Protocol):
    """Runs programs; SandboxError where the sandbox itself fails. Safe to call from any thread, one at a time."""

    @property
    def tier(self) -> str:
        """Name of the isolation in use."""
        ...

    def refusal(self, language: Language) -> str:
        """Why programs of a language cannot be run here; empty where they can."""
        ...

    def run(self, program: Program) -> Run:
        """Run it to its end or its limit; nothing of it is left when this returns."""
        ...

    def run_all(
        self, program: Program, stdins: Sequence[bytes], stop: Callable[[list[Run]], bool] | None = None
    ) -> list[Run]:
        """Run it once for each standard input, each time in a fresh process; it is compiled once.

        Fewer runs than inputs where `stop` said so of the runs up to now, or where compiling failed: then one run says
        why.
        """
        ...

    def examine(self, program: Program, exam: Exam) -> tuple[Run, Run]:
        """Run trusted tests in one job against the submission in another; the submission's run and the tests'."""
        ...

    def open(
        self, files: Mapping[str, bytes | File] | None = None, *, limits: Limits | None = None, has_numpy: bool = False
    ) -> Session:
        """A session with these files (relative path -> content) in its folder; the caller closes it.

        Raises FileRefused where a file cannot be written.

        Example:
            session = sandbox.open({"data.txt": b"1 2 3"})
            session.python("numbers = [int(n) for n in open('data.txt').read().split()]")
            session.python("sum(numbers)").output == "6\n"
        """
        ...

    def close(self) -> None:
        """Stop all processes of the sandbox, its sessions included."""
        ...
