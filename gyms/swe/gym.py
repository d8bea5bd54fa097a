"""The `swe` environment: a repository with a bug, an issue that tells of it, and hidden tests that say if it is mended.

The model works in a session of the sandbox (`read`, `edit`, `search`, `run`), and ends with a turn that calls nothing.
Then a second sandbox takes the source files, and nothing else, and the hidden tests run there (gyms/swe/judge.py). The
reward is 1 where all of them pass: those that the bug made fail, and those that passed before.

*Tasks* are built in (a dozen small repositories), or rows as SWE-bench publishes them, with a folder of snapshots
(gyms/swe/instances.py). A hash of the id holds some out.

*A task is tried before it is asked*: in the worker, once, its gold patch must pass and its unchanged snapshot must not;
otherwise it is a `bad_task`, whatever the model did. The result is kept for the life of the worker.

*An episode is a function of its turns* as far as what is run is one: addresses and pytest's times are taken out of what
is shown; a program that asks the clock is not.

Needs a sandbox in which an interpreter can be started anew: any tier but `landlock` (docs/sandbox.md).
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import ClassVar

from pydantic import ConfigDict, Field, model_validator

from gyms.api import (
    Call,
    Environment,
    Episode,
    GymSettings,
    Needs,
    Reply,
    Score,
    Services,
    Split,
    Status,
    Task,
    Tool,
    Turn,
    message,
)
from gyms.episodes.calling import MAX_CALLS_A_TURN, Calling
from gyms.episodes.episode import Unplayable
from gyms.heldout import is_heldout
from gyms.sandbox.patience import SharedTime
from gyms.sandbox.program import Ending, FileRefused, Limits, Run, Sandbox, Session
from gyms.sandbox.told import shortened, without_addresses
from gyms.sandbox.view import LIBRARIES
from gyms.swe.instances import Instance, built_in, published
from gyms.swe.judge import Verdict, counted, judge, submitted

__all__ = ["TOOLS", "Swe", "SweSettings"]

MAX_LISTED = 200
"""Paths of the snapshot that the prompt lists."""
TURN_SECONDS = 240.0
"""Wall clock of the calls of one turn together, counted as that of one: no further call is begun after it."""
FILE_SECONDS = 20.0
"""CPU time of reading, writing or searching files, whatever a command may use."""
WALL_PER_CPU = 3.0
"""Wall clock of a command, or of a search, for each second of CPU time that it may use."""
_ASKED = (
    "This repository has a problem. Mend its source files so that the problem is gone and everything else works as "
    "before; changes of tests and settings do not count. End with a turn that calls no tool.\n\n{issue}\n\n"
    "Files:\n{files}"
)
_TIMES = re.compile(r"\bin \d+\.\d+s( \(\d+:\d\d:\d\d\))?")
_FIRST = f"export PYTHONPATH={LIBRARIES} PYTHONDONTWRITEBYTECODE=1 PYTEST_ADDOPTS='-q -p no:cacheprovider --color=no'\n"
_REASONS = {
    Ending.CPU_LIMIT: "it took more CPU time than a call may, and was ended",
    Ending.WALL_LIMIT: "it took longer than a call may, and was ended",
    Ending.MEMORY_LIMIT: "it took more memory or room for files than it may, and was ended",
    Ending.OUTPUT_LIMIT: "it wrote more than a call may, and was ended",
}


def _tool(name: str, description: str, required: Sequence[str], **properties: object) -> Tool:
    schema = {"type": "object", "properties": properties, "required": list(required), "additionalProperties": False}
    return Tool(name=name, description=description, parameters=schema)


_PATH = {"type": "string", "description": "Relative to the repository."}
_LINE = {"type": "integer", "minimum": 1, "maximum": 10**7}
TOOLS = (
    _tool("read", "Shows a file, or its lines from `first` to `last`.", ["path"], path=_PATH, first=_LINE, last=_LINE),
    _tool(
        "edit",
        "Replaces `old`, which must stand in the file exactly once, by `new`. With an empty `old`, makes a new file.",
        ["path", "old", "new"],
        path=_PATH,
        old={"type": "string"},
        new={"type": "string"},
    ),
    _tool(
        "search", "Shows the lines of all files that contain a text.", ["text"], text={"type": "string", "minLength": 1}
    ),
    _tool(
        "run",
        "Runs a shell command in the repository and returns what it prints. `python3 -m pytest` works.",
        ["command"],
        command={"type": "string", "minLength": 1},
    ),
)


class SweSettings(GymSettings):
    """Which repositories are asked, and what a call may use."""

    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True)

    rows: Path | None = None
    """File of rows as SWE-bench publishes them; none: the built-in repositories."""
    snapshots: Path | None = None
    """Folder with a checked-out repository for each row, named by its `instance_id`; needs `rows`."""
    heldout_fraction: float = Field(default=0.25, gt=0.0, lt=1.0)
    """Fraction of the repositories that is held out."""
    split_seed: int = 0
    """Seed of the split; keep it over a project, or held-out problems become train problems."""
    cpu_seconds: float = Field(default=20.0, gt=0.0, le=200.0)
    """CPU time of one command, in seconds. Three times as much wall clock, waiting for a core not counted."""
    memory_mb: int = Field(default=512, ge=64, le=16_384)
    """Memory of one call, in MiB."""
    file_mb: int = Field(default=64, ge=1, le=1024)
    """Size of the repository's folder, in MiB."""
    output_chars: int = Field(default=6000, ge=200, le=100_000)
    """Most characters of one answer; of a longer one, the middle is left out."""

    @model_validator(mode="after")
    def _check_together(self) -> SweSettings:
        if (self.rows is None) != (self.snapshots is None):
            raise ValueError("rows and snapshots belong together; give both or none")
        return self


class Swe(Environment):
    """Asks for mended repositories; hidden tests judge them in a second sandbox (docs/gyms.md)."""

    Settings = SweSettings
    needs = Needs(wall_seconds=3600.0, sandbox=True)  # a turn, a start or a verdict, on a busy machine
    components: ClassVar[Mapping[str, str]] = {
        "fail_to_pass": "fraction of the tests that failed before and pass now",
        "pass_to_pass": "fraction of the tests that passed before and pass now",
        "num_calls": "well-formed calls",
    }
    max_turns = 100
    settings: SweSettings

    def __init__(self, settings: SweSettings, services: Services) -> None:
        super().__init__(settings, services)
        if services.sandbox is not None and services.sandbox.tier == "landlock":
            raise ValueError(
                "the environment `swe` starts Python anew, which the sandbox tier `landlock` cannot show; allow user "
                "namespaces (docs/sandbox.md)"
            )
        self._found: Mapping[str, Instance] | None = None
        self._faults: dict[str, str] = {}
        """Instance -> what is wrong with it, empty where nothing is; of those that were tried."""

    def tasks(self, split: Split) -> Sequence[Task]:
        settings = self.settings
        chosen = [
            one
            for name, one in self._instances().items()
            if is_heldout(name, fraction=settings.heldout_fraction, seed=settings.split_seed) == (split == "heldout")
        ]
        return [Task(id=one.id, prompt=(message("user", _prompt(one)),), data={"instance": one.id}) for one in chosen]

    def tools(self, task: Task) -> Sequence[Tool]:
        return TOOLS

    def start(self, task: Task, seed: int) -> Episode:
        instance = self._instances().get(str(task.data.get("instance")))
        if instance is None:
            return Unplayable(f"task {task.id!r}: data['instance'] is none of the repositories of these settings")
        if fault := self._fault(instance):
            return Unplayable(f"task {task.id!r}: {fault}")
        return _Repair(instance, self._sandbox, self.settings)

    def gold_turns(self, task: Task) -> Sequence[Turn]:
        """The gold patch as edits, each of what a hunk replaces, or of the whole file where that is not unique."""
        instance = self._instances()[task.data["instance"]]
        calls = [("read", {"path": change.path}) for change in instance.patch if not change.is_new]
        calls += [("edit", {"path": path, "old": old, "new": new}) for path, old, new in _edits(instance)]
        calls += [("run", {"command": f"rm {shlex.quote(c.path)}"}) for c in instance.patch if c.is_deleted]
        turns = [
            Turn(text="", calls=(Call(id=f"call_{number}", tool=name, arguments=arguments),))
            for number, (name, arguments) in enumerate(calls)
        ]
        return [*turns, Turn(text="The problem is mended.")]

    def fingerprint(self, task: Task) -> str:
        return str(task.data["instance"])

    @property
    def _sandbox(self) -> Sandbox:
        if self.services.sandbox is None:
            raise RuntimeError("the environment `swe` runs code and was handed no sandbox")
        return self.services.sandbox

    def _instances(self) -> Mapping[str, Instance]:
        if self._found is None:
            settings = self.settings
            if settings.rows is None or settings.snapshots is None:
                self._found = built_in()
            else:
                self._found = published(settings.rows, settings.snapshots)
        return self._found

    def _fault(self, instance: Instance) -> str:
        if instance.id not in self._faults:
            self._faults[instance.id] = what_is_wrong(self._sandbox, instance)
        return self._faults[instance.id]


def what_is_wrong(sandbox: Sandbox, instance: Instance) -> str:
    """Why an instance cannot be asked: its gold patch does not pass, or nothing has to be done; empty where it can."""
    mended = {path: text.encode() for path, text in instance.mended().items()}
    gold = judge(sandbox, instance, counted(mended, instance.files))  # as a submission of it would be
    if not gold.is_solved(instance):
        test, reason = next(iter(gold.reasons.items()), ("", ""))
        return f"its gold patch does not pass {test or 'its tests'}: {reason}"
    empty = judge(sandbox, instance, {path: text.encode() for path, text in instance.files.items()})
    if passed := sorted(empty.passed.intersection(instance.fail_to_pass)):
        return f"{passed[0]} of FAIL_TO_PASS passes without a change"
    if failed := sorted(set(instance.pass_to_pass) - empty.passed):
        return f"{failed[0]} of PASS_TO_PASS fails without a change"
    return ""


class _Repair(Calling):
    """One attempt: its session, where a call has opened one."""

    max_calls = MAX_CALLS_A_TURN

    def __init__(self, instance: Instance, sandbox: Sandbox, settings: SweSettings) -> None:
        super().__init__(TOOLS)
        self._instance = instance
        self._sandbox = sandbox
        self._settings = settings
        self._session: Session | None = None
        self._shared = SharedTime(TURN_SECONDS)
        self._score: Score | None = None

    def step(self, turn: Turn) -> Reply:
        self._score = None
        self._shared = SharedTime(TURN_SECONDS)
        return super().step(turn)

    def run(self, call: Call) -> str:
        assert call.arguments is not None
        if self._shared.is_spent:
            return "Error: not run. The calls before it took the time of a turn; call again."
        try:
            told = getattr(self, f"_{call.tool}")(self._opened(), **call.arguments)
        except FileRefused as error:
            told = f"Error: {error}"
        return shortened(told, self._settings.output_chars)

    def score(self) -> Score:
        if self._score is None:
            self._score = self._judged()
        return self._score

    def close(self) -> None:
        if self._session is not None:
            self._session.close()

    def _judged(self) -> Score:
        instance, counts = self._instance, {"num_calls": float(self.num_calls)}
        snapshot = {path: text.encode() for path, text in instance.files.items()}
        files = submitted(self._session, instance.files) if self._session is not None else snapshot
        if files is None:
            return Score(status=Status.TOO_COMPLEX, detail="the source files are too many, too large or unreadable")
        if files == snapshot:  # it is known to fail
            components = {"fail_to_pass": 0.0, "pass_to_pass": 1.0, **counts}
            return Score(status=Status.OK, value=0.0, components=components, detail="no source file was changed")
        verdict = judge(self._sandbox, instance, files)
        return _score_of(verdict, instance, counts)

    def _opened(self) -> Session:
        if self._session is None:
            files = {path: text.encode() for path, text in self._instance.files.items()}
            self._session = self._sandbox.open(files, limits=self._limits(FILE_SECONDS))
        return self._session

    def _limits(self, cpu_seconds: float) -> Limits:
        settings = self._settings
        return Limits(
            cpu_seconds=cpu_seconds,
            wall_seconds=WALL_PER_CPU * cpu_seconds,
            memory_bytes=settings.memory_mb << 20,
            file_bytes=settings.file_mb << 20,
        )

    def _read(self, session: Session, path: str, first: float = 1, last: float | None = None) -> str:
        lines = _text(session.read(path)).splitlines()
        shown = lines[int(first) - 1 : None if last is None else int(last)]
        numbered = "\n".join(f"{number:5} {line}" for number, line in enumerate(shown, start=int(first)))
        return numbered or f"(no such lines; the file has {len(lines)})"

    def _edit(self, session: Session, path: str, old: str, new: str) -> str:
        try:
            content = new.encode()
            if not old:
                if path in {entry.path for entry in session.list()}:
                    return f"Error: {path} is there already; give the text to replace as `old`."
                session.write(path, content)
                return "made"
            before = session.read(path)
            count = before.count(old.encode())
        except UnicodeEncodeError:
            return "Error: half a surrogate pair is no text."
        if count != 1:
            return (
                f"Error: `old` stands in {path} {count} times; it must stand there exactly once. Nothing was changed."
            )
        session.write(path, before.replace(old.encode(), content))
        return "changed"

    def _search(self, session: Session, text: str) -> str:
        try:
            run = session.run(["grep", "-rnIF", "-e", text, "."])
        except ValueError as error:
            return f"Error: {error}"
        self._shared.use(run.wall_seconds)
        if run.ending in _REASONS:  # as of a command: what it had found by then is a matter of time
            return f"Error: {_REASONS[run.ending]}."
        lines = sorted(_text(run.stdout).splitlines(), key=_place)
        return "\n".join(line.removeprefix("./") for line in lines) or "Nothing was found."

    def _run(self, session: Session, command: str) -> str:
        limits = self._limits(self._settings.cpu_seconds)
        try:
            run = session.run(["sh", "-c", f"{_FIRST}exec 2>&1\n{command}"], limits=limits)
        except ValueError as error:
            return f"Error: {error}"
        self._shared.use(run.wall_seconds)
        return _shown(run)


def _score_of(verdict: Verdict, instance: Instance, counts: Mapping[str, float]) -> Score:
    components = {
        "fail_to_pass": verdict.fraction(instance.fail_to_pass),
        "pass_to_pass": verdict.fraction(instance.pass_to_pass),
        **counts,
    }
    test, reason = next(iter(verdict.reasons.items()), ("", ""))
    detail = f"{test}: {reason}".removeprefix(": ")[:300]
    if not verdict.has_report:
        is_slow = verdict.ending in (Ending.CPU_LIMIT, Ending.WALL_LIMIT)
        return Score(status=Status.TIMEOUT if is_slow else Status.CRASHED, detail=detail or "the tests gave no report")
    return Score(
        status=Status.OK,
        value=float(verdict.is_solved(instance)),
        components=components,
        flags=frozenset({"tampered"} if verdict.is_tampered else ()),
        detail=detail,
    )


def _edits(instance: Instance) -> list[tuple[str, str, str]]:
    """(path, old, new) of every edit that the gold patch is."""
    found: list[tuple[str, str, str]] = []
    behind = instance.mended()
    for change in instance.patch:
        if change.is_deleted:
            continue
        before = instance.files.get(change.path, "")
        is_unique = not change.is_new and all(hunk.old and before.count(hunk.old) == 1 for hunk in change.hunks)
        if is_unique:
            found += [(change.path, hunk.old, hunk.new) for hunk in change.hunks]
        else:
            found.append((change.path, before, behind[change.path]))
    return found


def _prompt(instance: Instance) -> str:
    paths = sorted(instance.files)
    more = f"\n... and {len(paths) - MAX_LISTED} more" if len(paths) > MAX_LISTED else ""
    return _ASKED.format(issue=instance.issue, files="\n".join(paths[:MAX_LISTED]) + more)


def _text(content: bytes) -> str:
    return content.decode("utf-8", "replace")


def _place(line: str) -> tuple[str, int, str]:
    """Sorts what grep finds by path and line."""
    path, _, rest = line.partition(":")
    number, _, text = rest.partition(":")
    return path, int(number) if number.isdecimal() else 0, text


def _shown(run: Run) -> str:
    if run.ending in _REASONS:  # how far it came is a matter of time
        return f"Error: {_REASONS[run.ending]}."
    output = _TIMES.sub("in ...", without_addresses(_text(run.stdout))).rstrip("\n")
    status = f"(exit status {run.exit_status})" if run.exit_status else ""
    return "\n".join(part for part in (output, status) if part) or "(no output)"
