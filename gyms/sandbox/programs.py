"""Programs on a runner: what each language needs, the same for every tier.

A Python program is run by the warm interpreter itself; C++ is compiled in a job of its own, whose product then runs in
others; JavaScript is run by node, whose address space cannot be capped and whose resident memory therefore is.
"""

from __future__ import annotations

import base64
import functools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any, Protocol

from gyms.sandbox.forkserver import Launch, tasks_beside_session
from gyms.sandbox.inside import values
from gyms.sandbox.line import Line
from gyms.sandbox.program import Call, Ending, Exam, File, Language, Limits, Program, Run, SandboxError
from gyms.sandbox.session import FolderSession
from gyms.sandbox.view import LIBRARIES, NUMPY, Interpreter, test_libraries, tool

__all__ = ["ProgramSandbox", "Runner"]

MAX_SOURCE_BYTES = 1 << 20
COMPILE_LIMITS = Limits(cpu_seconds=20.0, wall_seconds=60.0, memory_bytes=1 << 30, processes=16, file_bytes=64 << 20)
EXAM_EXTRA_SECONDS = 3.0
"""What trusted tests get beyond the submission that they call."""
_ENVIRONMENT = {"PATH": "/usr/bin:/bin", "HOME": "/tmp", "TMPDIR": ".", "LANG": "C.UTF-8"}
_TOOLS = {"cpp": "g++", "javascript": "node"}


class Runner(Protocol):
    """What a tier offers: start jobs, see them to their end."""

    profile: Any

    interpreter: Interpreter

    def run(self, launches: Sequence[Launch], *, linked: bool = False) -> list[Run]:
        """Run launches at the same time."""
        ...

    def open(self, limits: Limits, facts: dict[str, Any]) -> Line:
        """Start the supervisor of a session."""
        ...

    def close(self) -> None:
        """Stop everything."""
        ...


class ProgramSandbox:
    """The `Sandbox` that gyms are handed."""

    def __init__(self, runner: Runner) -> None:
        self._runner = runner

    @property
    def tier(self) -> str:
        """Name of the isolation in use."""
        return self._runner.profile.tier

    def refusal(self, language: Language) -> str:
        """Why programs of a language cannot be run here; empty where they can."""
        if language == "python":
            return ""
        if language not in _TOOLS:
            return f"language {language!r} is not known; expected python, cpp or javascript"
        name = _TOOLS[language]
        path = tool(name)
        if not path:
            return f"{language} programs need {name}, which is not installed"
        return "" if path.startswith(("/usr/", "/bin/")) else f"{name} lies at {path}, outside of what a sandbox shows"

    def run(self, program: Program) -> Run:
        """Run it to its end or its limit."""
        return self.run_all(program, [program.stdin])[0]

    def run_all(
        self, program: Program, stdins: Sequence[bytes], stop: Callable[[list[Run]], bool] | None = None
    ) -> list[Run]:
        """Run it once for each standard input, each time in a fresh process; it is compiled once."""
        refused = self.refusal(program.language)
        if refused:
            raise SandboxError(refused)
        if program.language == "cpp":
            compiled = self._compile(program)
            if compiled.ending is not Ending.EXITED or compiled.exit_status != 0 or not compiled.results:
                return [replace(compiled, ending=Ending.COMPILE_FAILED, results=b"")]
            body = _exec_body(["./main"], {"main": compiled.results, **program.files})
            launch = Launch(body=body, limits=_with_room(program.limits, len(compiled.results)))
        elif program.language == "javascript":
            heap = max(16, int(program.limits.memory_bytes) * 3 // 4 >> 20)
            argv = [tool("node"), f"--max-old-space-size={heap}", "main.js"]
            body = _exec_body(argv, {"main.js": program.source.encode("utf-8", "replace"), **program.files})
            launch = Launch(body=body, limits=program.limits, caps_address_space=False)
        else:
            launch = Launch(body=python_body(program), limits=program.limits)
        runs: list[Run] = []
        for stdin in stdins:
            runs += self._runner.run([replace(launch, stdin=stdin)])
            if stop is not None and stop(runs):
                break
        return runs

    def examine(self, program: Program, exam: Exam) -> tuple[Run, Run]:
        """Run trusted tests in one job against the submission in another."""
        if exam.is_pytest and not test_libraries():
            raise SandboxError("tests as pytest source need pytest, which is not installed beside this project")
        submission = Launch(body={**python_body(program), "mode": "serve"}, limits=program.limits)
        limits = replace(
            program.limits,
            cpu_seconds=program.limits.cpu_seconds + EXAM_EXTRA_SECONDS,
            wall_seconds=program.limits.wall_seconds + EXAM_EXTRA_SECONDS,
            output_bytes=max(1 << 20, program.limits.output_bytes),
        )
        subject, tests = self._runner.run(
            [submission, Launch(body={**_exam_body(exam), "numpy": NUMPY if program.has_numpy else ""}, limits=limits)],
            linked=True,
        )
        return subject, tests

    def open(
        self, files: Mapping[str, bytes | File] | None = None, *, limits: Limits | None = None, has_numpy: bool = False
    ) -> FolderSession:
        """A session with these files in its folder; the caller closes it."""
        given = limits or Limits()
        line = self._runner.open(given, {"numpy": NUMPY if has_numpy else ""})
        path = f"{self._runner.interpreter.prefix}/bin:/usr/bin:/bin"
        tasks_beside = functools.partial(tasks_beside_session, self._runner.profile)
        session = FolderSession(line, given, path=path, tasks_beside=tasks_beside)
        try:
            if files:
                session.write_all(files)
        except BaseException:
            session.close()
            raise
        return session

    def close(self) -> None:
        """Stop all processes of the sandbox, its sessions included."""
        self._runner.close()

    def _compile(self, program: Program) -> Run:
        return _compiled(self._runner, program.source)


def _compiled(runner: Runner, source: str) -> Run:
    argv = [tool("g++"), "-std=c++17", "-O1", "-pipe", "-fmax-errors=5", "-ftemplate-depth=256", "-x", "c++", "-"]
    body = {
        "mode": "compile",
        "argv": [*argv, "-o", "main"],
        "source": source,
        "product": "main",
        "environment": _ENVIRONMENT,
        "files": {},
    }
    return runner.run([Launch(body=body, limits=COMPILE_LIMITS, results_bytes=32 << 20)])[0]


def python_body(program: Program) -> dict[str, Any]:
    """A Python program as `inside.runner` reads it."""
    calls = [_call_body(call) for call in program.calls]
    return {
        "mode": "calls" if calls or program.setup or program.prelude else "script",
        "source": program.source,
        "numpy": NUMPY if program.has_numpy else "",
        "prelude": list(program.prelude),
        "setup": list(program.setup),
        "files": _encoded(program.files),
        "calls": calls,
        "pristine": sorted(_wrappers() - {call.function for call in program.calls}) if calls else [],
    }


@functools.cache
def _wrappers() -> frozenset[str]:
    """Built-ins that a test's expression means as they are, even where the submission has its own of that name."""
    return frozenset({"abs", "bool", "dict", "float", "int", "len", "list", "max", "min", "round", "set", "sorted"}) | {
        "str",
        "sum",
        "tuple",
        "frozenset",
    }


def _call_body(call: Call) -> dict[str, Any]:
    if call.expression:
        return {"x": call.expression}
    keywords = dict(call.keywords)
    return {"f": call.function, "a": values.encode(list(call.arguments)), "k": values.encode(keywords)}


def _exam_body(exam: Exam) -> dict[str, Any]:
    body = {
        "mode": "pytest" if exam.is_pytest else "examine",
        "tests": exam.tests,
        "prelude": list(exam.prelude),
        "proxies": dict(exam.proxies),
        "allows_handles": exam.allows_handles,
        "allows_objects": exam.allows_objects,
        "allows_changes": exam.allows_changes,
        "module_names": list(exam.module_names),
        "libraries": LIBRARIES,
        "file": "test_submission.py",
        "files": {},
    }
    if exam.is_pytest:
        body["files"] = _encoded({"test_submission.py": exam.tests.encode("utf-8", "replace")})
    return body


def _exec_body(argv: list[str], files: dict[str, bytes]) -> dict[str, Any]:
    return {"mode": "exec", "argv": argv, "environment": _ENVIRONMENT, "files": _encoded(files)}


def _encoded(files: Any) -> dict[str, str]:
    for name in files:
        if not name or "/" in name or name in (".", "..") or "\0" in name:
            raise ValueError(f"file name {name!r}: expected a plain name without folders")
    return {name: base64.b64encode(content).decode() for name, content in files.items()}


def _with_room(limits: Limits, num_bytes: int) -> Limits:
    """The compiled program lies in the scratch folder; it is not counted against what the program may write."""
    return replace(limits, file_bytes=limits.file_bytes + num_bytes + (1 << 20))
