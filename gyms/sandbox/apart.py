"""A sandbox opened and run by a thread of its own, whose rights the caller's thread may give up.

Landlock binds a thread and what it starts. A scoring worker gives up writing to the disk in the thread that runs the
gym; the sandbox has to mount file systems and to make folders, and goes on doing so from the thread that opened it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor

from gyms.sandbox.program import Cell, Entry, Exam, File, Language, Limits, Program, Run, Sandbox, Session

__all__ = ["SandboxApart"]


class SandboxApart:
    """A `Sandbox` like the one that `opening` makes; SandboxError where that cannot be opened."""

    def __init__(self, opening: Callable[[], Sandbox]) -> None:
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="sandbox")
        try:
            self._sandbox = self._thread.submit(opening).result()
        except BaseException:
            self._thread.shutdown()
            raise

    @property
    def tier(self) -> str:
        """Name of the isolation in use."""
        return self._sandbox.tier

    def refusal(self, language: Language) -> str:
        """Why programs of a language cannot be run here; empty where they can."""
        return self._sandbox.refusal(language)

    def run(self, program: Program) -> Run:
        """Run it to its end or its limit."""
        return self._thread.submit(self._sandbox.run, program).result()

    def run_all(
        self, program: Program, stdins: Sequence[bytes], stop: Callable[[list[Run]], bool] | None = None
    ) -> list[Run]:
        """Run it once for each standard input; `stop` is asked in the sandbox's thread."""
        return self._thread.submit(self._sandbox.run_all, program, stdins, stop).result()

    def examine(self, program: Program, exam: Exam) -> tuple[Run, Run]:
        """Run trusted tests in one job against the submission in another."""
        return self._thread.submit(self._sandbox.examine, program, exam).result()

    def open(
        self, files: Mapping[str, bytes | File] | None = None, *, limits: Limits | None = None, has_numpy: bool = False
    ) -> Session:
        """A session whose calls are made by the sandbox's thread, too."""
        opened = self._thread.submit(self._sandbox.open, files, limits=limits, has_numpy=has_numpy).result()
        return _SessionApart(opened, self._thread)

    def close(self) -> None:
        """Stop all processes of the sandbox, and its thread."""
        self._thread.submit(self._sandbox.close).result()
        self._thread.shutdown()


class _SessionApart:
    """A `Session` in the sandbox's thread."""

    def __init__(self, session: Session, thread: ThreadPoolExecutor) -> None:
        self._session = session
        self._thread = thread

    def run(self, argv: Sequence[str], *, stdin: bytes = b"", limits: Limits | None = None) -> Run:
        return self._thread.submit(self._session.run, argv, stdin=stdin, limits=limits).result()

    def python(self, code: str, *, limits: Limits | None = None) -> Cell:
        return self._thread.submit(self._session.python, code, limits=limits).result()

    def read(self, path: str) -> bytes:
        return self._thread.submit(self._session.read, path).result()

    def write(self, path: str, content: bytes) -> None:
        self._thread.submit(self._session.write, path, content).result()

    def list(self) -> tuple[Entry, ...]:
        return self._thread.submit(self._session.list).result()

    def snapshot(self, paths: Sequence[str] | None = None) -> dict[str, File]:
        return self._thread.submit(self._session.snapshot, paths).result()

    def close(self) -> None:
        self._thread.submit(self._session.close).result()
