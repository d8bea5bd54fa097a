"""The verdict on a repository: hidden tests, run in a sandbox that takes nothing from the first one but source files.

*What counts of a submission* is decided by names (`is_source`): tests, what configures tests or Python itself
(`conftest.py`, `pytest.ini`, `sitecustomize.py`, `*.pth`, plug-ins, compiled files) and what is hidden (`.git`) come
from the snapshot, whatever was made of them. Then the hidden tests are laid over it. So a test that was weakened, a
planted conftest and a forged result file are nothing; a source file that was deleted is gone.

*A test has passed* where the report of its own run says so by its id: all of FAIL_TO_PASS and of PASS_TO_PASS must.
Skipped, expected failures and what is not there have failed.

*A report* is the one line with the number drawn for this run (gyms/swe/inside.py). Beside the tests run decoys that
cannot pass: where one is not reported as failed, whoever was tested has changed the tester, and nothing of it is
believed (flag `tampered`).

Left out: the submission runs in the same process as its tests, as in SWE-bench. A module that finds the report's number
in that process's memory, or answers comparisons as it likes, can still lie; what decides is not out of its reach as in
the code gym (docs/sandbox.md).
"""

from __future__ import annotations

import fnmatch
import json
import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path, PurePosixPath
from typing import Any

from gyms.sandbox.program import Ending, FileRefused, Limits, Run, Sandbox, Session
from gyms.sandbox.view import LIBRARIES, test_libraries
from gyms.swe.inside import RESULT
from gyms.swe.instances import Instance

__all__ = ["Verdict", "counted", "is_source", "judge", "submitted"]

SCRIPT = Path(__file__).with_name("inside.py")
MAX_SOURCE_BYTES = 8 << 20
"""Most bytes of source files that are taken from a submission, beside as many as its snapshot has."""
MAX_SOURCE_FILES = 1000
"""As MAX_SOURCE_BYTES, of files."""
LIMITS = Limits(cpu_seconds=60.0, wall_seconds=180.0, memory_bytes=1 << 30, file_bytes=96 << 20, output_bytes=8 << 20)
"""Of one run of the hidden tests."""
_TESTING = ("conftest.py", "test_*.py", "*_test.py", "pytest.ini", "tox.ini", "setup.cfg", "setup.py", "pyproject.toml",
            "noxfile.py", "sitecustomize.py", "usercustomize.py", "*.pth", "*.egg-link")  # fmt: skip
"""Files that configure tests or Python itself."""
_COMPILED = ("*.pyc", "*.pyo", "*.pyd", "*.so", "*.dylib", "*.dll")
_FOLDERS = ("test", "tests", "__pycache__", "*.egg-info", "*.dist-info", ".*")
_DECOY = "def {name}():\n    assert {number} == {number} + 1\n"


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """What the hidden tests say of a repository."""

    passed: frozenset[str] = frozenset()
    """Ids of the wanted tests that passed."""
    ending: Ending = Ending.EXITED
    """How their run ended."""
    has_report: bool = False
    """Whether it reported at all."""
    is_tampered: bool = False
    """Whether tests that cannot pass were not reported as failed."""
    reasons: Mapping[str, str] = field(default_factory=dict)
    """Test id -> why it did not pass, as pytest says it."""

    def fraction(self, tests: Sequence[str]) -> float:
        """Of these tests, those that passed; 1 where there are none."""
        return len(self.passed.intersection(tests)) / len(tests) if tests else 1.0

    def is_solved(self, instance: Instance) -> bool:
        """Whether every wanted test passed."""
        return self.passed >= {*instance.fail_to_pass, *instance.pass_to_pass}


def is_source(path: str) -> bool:
    """Whether a file of a submission counts.

    Example:
        is_source("shop/cart.py") and not is_source("shop/conftest.py")
    """
    *folders, name = PurePosixPath(path).parts
    if any(fnmatch.fnmatch(folder.lower(), pattern) for folder in folders for pattern in _FOLDERS):
        return False
    return not any(fnmatch.fnmatch(name.lower(), pattern) for pattern in (*_TESTING, *_COMPILED, ".*"))


def submitted(session: Session, snapshot: Mapping[str, str]) -> dict[str, bytes] | None:
    """The repository as it is judged: source files from the session, all else from the snapshot.

    None where the session holds more than can be taken, or what cannot be read.
    """
    max_files = MAX_SOURCE_FILES + len(snapshot)
    max_bytes = MAX_SOURCE_BYTES + sum(len(text.encode()) for text in snapshot.values())
    try:
        entries = [entry for entry in session.list() if entry.kind == "file" and is_source(entry.path)]
        if len(entries) > max_files or sum(entry.num_bytes for entry in entries) > max_bytes:
            return None
        taken = {path: file.content for path, file in session.snapshot([entry.path for entry in entries]).items()}
    except FileRefused:
        return None
    return counted(taken, snapshot)


def counted(files: Mapping[str, bytes], snapshot: Mapping[str, str]) -> dict[str, bytes]:
    """What is judged of these files of a repository: the sources; all else is the snapshot's."""
    taken = {path: content for path, content in files.items() if is_source(path)}
    return taken | {path: text.encode() for path, text in snapshot.items() if not is_source(path)}


def judge(
    sandbox: Sandbox, instance: Instance, files: Mapping[str, bytes], *, cpu_seconds: float = LIMITS.cpu_seconds
) -> Verdict:
    """Run the hidden tests over a repository, in a sandbox of their own.

    Raises:
        SandboxError: the sandbox itself failed.
    """
    number = secrets.token_hex(16)
    wanted = [*instance.fail_to_pass, *instance.pass_to_pass]
    tests = dict.fromkeys(test.split("::")[0] for test in wanted)
    decoys = _decoys(wanted[0], number)
    hidden = {path: text.encode() for path, text in {**instance.hidden, **decoys}.items()}
    first, last = decoys
    told = {
        "number": number,
        "files": [first, *tests, last],
        "libraries": [LIBRARIES, *dict.fromkeys(str(Path(path).parent) for path in test_libraries())],
    }
    try:
        session = sandbox.open({**files, **hidden}, limits=replace(LIMITS, cpu_seconds=cpu_seconds))
    except FileRefused as error:  # names that the file system does not take: the submission's
        return Verdict(reasons={"": str(error)})
    try:
        run = session.run(
            ["python3", "-I", "-S", "-B", "-c", SCRIPT.read_text(encoding="utf-8")], stdin=json.dumps(told).encode()
        )
    finally:
        session.close()
    report = _report(run, number)
    if report is None:
        return Verdict(ending=run.ending, reasons={"": run.stderr[-300:].decode("utf-8", "replace")})
    outcomes = report["outcomes"]
    fooled = any(outcomes.get(f"{path}::{_name(wanted[0])}") != "failed" for path in decoys)
    passed = frozenset() if fooled else frozenset(test for test in wanted if outcomes.get(test) == "passed")
    reasons = {test: str(report["reasons"].get(test, "not run"))[:300] for test in wanted if test not in passed}
    return Verdict(passed=passed, ending=run.ending, has_report=True, is_tampered=fooled, reasons=reasons)


def _decoys(like: str, number: str) -> dict[str, str]:
    """Two files, each with a test that cannot pass, named like a hidden one: it runs before and behind all others."""
    path = PurePosixPath(like.split("::")[0])
    return {
        str(path.parent / f"d{number[:8]}{place}" / path.name): _DECOY.format(name=_name(like), number=place)
        for place in (1, 2)
    }


def _name(test: str) -> str:
    return test.rpartition("::")[2].partition("[")[0]


def _report(run: Run, number: str) -> dict[str, Any] | None:
    """The report of a run; None where there is none, or not this one alone."""
    lines = run.stdout.splitlines()
    if run.ending is not Ending.EXITED or run.exit_status != 0 or len(lines) != 1:
        return None
    try:
        found = json.loads(lines[0])
    except (ValueError, RecursionError):
        return None
    is_report = isinstance(found, dict) and found.get(RESULT) == number
    is_whole = is_report and all(isinstance(found.get(part), dict) for part in ("outcomes", "reasons"))
    return found if is_whole else None
