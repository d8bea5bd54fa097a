"""Code: programs as answers, run in a sandbox, judged outside of it on plain data.

The response's last complete code block (extract.py) is run against the task's tests (plan.py). `value` is 1 when every
test passed and 0 otherwise; the fraction of tests passed is the component `fraction`, and is the value where
`partial_credit` is set. A program that runs past a limit is a `timeout`, one that cannot be loaded or ends by itself
before its tests do a `crashed`, invalid source an `invalid_answer`; all of these are the model's faults. A malformed
task is a `bad_task`, and a failing sandbox raises: neither is held against the model.

Tasks: small built-in problems, or rows (`path`, `source`): HumanEval's, MBPP's, this gym's own, or one of the published
forms of gyms/row_formats/code.py. One set is split into train and held-out by a hash of each prompt.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from pydantic import ConfigDict, Field, model_validator

from gyms.api import CaseResult, Needs, Score, Services, Split, Status, Task, message
from gyms.code.builtin import PROBLEMS
from gyms.code.exams import called_first
from gyms.code.extract import Extracted, extract
from gyms.code.plan import Plan, is_humaneval, is_mbpp, make_plan
from gyms.code.published import listed
from gyms.code.verify import ProgramCheck, verify
from gyms.columns import Reads, RowSettings
from gyms.row_gym import RowGym
from gyms.rows import Located, read_file, read_source
from gyms.sandbox.program import Limits, SandboxError

__all__ = ["Code", "CodeSettings", "compose"]

MAX_RESPONSE_CHARS = 1_000_000
MAX_SOURCE_CHARS = 200_000
MAX_ANSWER_CHARS = 20_000
MAX_PLANNED_CHARS = 50_000_000
"""Tests of so many characters together are planned when rows are read, so that a malformed row is told then; those of
later rows are planned when they are first scored."""
MAX_CASES = 200
"""Test results that a score carries; failed ones first where there are more."""


class CodeSettings(RowSettings):
    """Where tasks come from, how much a program may use, and what is paid."""

    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True)

    path: Path | None = None
    """File of HumanEval's, MBPP's or this gym's own rows, or of a published form: JSONL, JSON, Parquet or CSV, packed
    or not. None: the built-in problems."""
    source: str = ""
    """Data set for `datasets.load_dataset` instead of `path`, e.g. "openai/openai_humaneval"."""
    config: str = ""
    """Configuration of that data set, where it has several."""
    source_split: str = "test"
    """Split of that data set; train and held-out tasks are both taken from it."""
    heldout_fraction: float = Field(default=0.1, gt=0.0, lt=1.0)
    """Fraction of the rows of `path` or `source` that is held out."""
    split_seed: int = 0
    """Seed of the split; keep it over a project, or held-out problems become train problems."""
    partial_credit: bool = False
    """True: the value is the fraction of tests passed. False: 1 where all passed, else 0."""
    cpu_seconds: float = Field(default=8.0, gt=0.0, le=100.0)
    """CPU time of one run, in seconds, where the task does not say: for call tests, all calls together."""
    wall_seconds: float = Field(default=24.0, gt=0.0, le=100.0)
    """Wall clock of one run, in seconds, where the task does not say: the backstop for programs that sleep."""
    memory_mb: int = Field(default=512, ge=64, le=65536)
    """Memory of one run in MiB where the task does not say."""
    allow_objects: bool = False
    """True: in pytest source that makes instances of the program's classes, these answer comparisons too, and may lie:
    for looking at programs, not for paying them. False: a test that compares such an object fails."""
    numpy: bool = False
    """True: programs may import numpy, as in the harnesses of LiveCodeBench and EvalPlus, where the sandbox's tier can
    show it (not `landlock`). Those of tasks whose tests import it may in any case."""
    total_seconds: float = Field(default=120.0, gt=0.0, le=120.0)
    """Wall clock of all runs of one response, in seconds, counted as that of one; tests after it are not tried, and
    failed."""
    suffix: str = "\n\nAnswer with one code block that holds the whole program."
    """Appended to every prompt."""

    @model_validator(mode="after")
    def _one_source(self) -> CodeSettings:
        if self.path is not None and self.source:
            raise ValueError("path and source are both given; give one of them")
        return self


class Code(RowGym):
    """Asks for programs, runs them in a sandbox, and judges outside of it (docs/sandbox.md)."""

    Settings = CodeSettings
    settings: CodeSettings
    reads = Reads(
        kind="code",
        wanted=("prompt", "tests"),
        own=(("prompt", "entry_point", "test"), ("test_list",), ("prompt", "tests"), ("text", "tests")),
        optional=(
            "text", "solution", "setup", "language", "limits", "entry_point", "comparator", "tolerance", "task_id",
        ),
    )  # fmt: skip
    file_setting, share_setting = "path", "heldout_fraction"
    needs = Needs(wall_seconds=1100.0, sandbox=True)  # all runs, and the last one, on a busy machine
    components: Mapping[str, str] = {"fraction": "fraction of the tests that passed"}  # type: ignore[misc]

    def __init__(self, settings: CodeSettings, services: Services) -> None:
        super().__init__(settings, services)
        self._splits: dict[Split, Sequence[Task]] = {}
        self._plans: dict[str, Plan] = {}
        self._num_planned_chars = 0

    def tasks(self, split: Split) -> Sequence[Task]:
        """Read at the first call, so that scoring workers, which never ask, need no data."""
        if not self._splits:
            self._splits = self._read()
        return self._splits[split]

    def task_of(self, row: Mapping[str, Any], where: str) -> Task:
        try:
            task = make_task(row, str(row.get("task_id", where)), self.settings.suffix)
            size = sum(len(str(row.get(key) or "")) for key in ("test", "tests", "test_list"))
            if self._num_planned_chars + size <= MAX_PLANNED_CHARS:
                self._num_planned_chars += size
                self._plan(task)
            return task
        except ValueError as error:
            raise ValueError(f"{where}: {error}") from None

    def score(self, task: Task, response: str) -> Score:
        if len(response) > MAX_RESPONSE_CHARS:
            return Score(status=Status.TOO_COMPLEX, detail=f"the response has over {MAX_RESPONSE_CHARS} characters")
        try:
            plan = self._plan(task)
        except ValueError as error:
            return Score(status=Status.BAD_TASK, detail=str(error)[:500])
        found = extract(response, plan.language)
        if found is None:
            return Score(status=Status.NO_ANSWER, detail="the response has no complete code block")
        if len(found.code) > MAX_SOURCE_CHARS:
            return Score(status=Status.TOO_COMPLEX, detail=f"the program has over {MAX_SOURCE_CHARS} characters")
        sandbox = self.services.sandbox
        if sandbox is None:
            raise SandboxError("the code gym was built without a sandbox; pass Services(sandbox=open_sandbox())")
        refused = sandbox.refusal(plan.language)
        if refused:
            raise SandboxError(refused)
        checked = verify(
            plan, compose(plan, found), sandbox, self.settings.total_seconds, self.settings.numpy or plan.has_numpy
        )
        return self._scored(plan, found, checked, sandbox.tier)

    def gold(self, task: Task) -> str | None:
        """The reference solution in a code block, where the task has one."""
        data = task.data
        code = data.get("solution") or data.get("code")
        if not code and data.get("starter_code"):
            code = data.get("completion")  # LeetCodeDataset's name for it
        if not code and isinstance(data.get("canonical_solution"), str):
            code = str(data.get("prompt", "")) + data["canonical_solution"]
        if not isinstance(code, str):
            return None
        fence = "`" * max(3, 1 + max((len(run) for run in re.findall(r"`+", code)), default=0))
        return f"{fence}{data.get('language', 'python')}\n{code.rstrip()}\n{fence}"

    def fingerprint(self, task: Task) -> str:
        """The prompt's words, whatever their case, punctuation and spacing."""
        return " ".join(re.findall(r"\w+", " ".join(m["content"] for m in task.prompt).casefold()))

    def _plan(self, task: Task) -> Plan:
        """Made once for the siblings of a task."""
        data = dict(task.data)
        if "prompt" not in data and task.prompt:
            data["prompt"] = task.prompt[-1]["content"]
        key = hashlib.blake2b(repr((task.id, data)).encode("utf-8", "surrogatepass"), digest_size=16).hexdigest()
        if key not in self._plans:
            settings = self.settings
            limits = Limits(
                cpu_seconds=settings.cpu_seconds,
                wall_seconds=settings.wall_seconds,
                memory_bytes=settings.memory_mb << 20,
                output_bytes=4 << 20,
            )
            plan = make_plan(data, limits, allows_objects=self.settings.allow_objects)
            if len(self._plans) >= 64:
                self._plans.clear()
            self._plans[key] = plan
        return self._plans[key]

    def _scored(self, plan: Plan, found: Extracted, checked: ProgramCheck, tier: str) -> Score:
        passed = sum(case.passed for case in checked.cases)
        fraction = passed / len(checked.cases) if checked.cases else 0.0
        is_right = bool(checked.cases) and passed == len(checked.cases)
        flags = set(plan.notes) if found.has_fence else {"no_fence", *plan.notes}
        if plan.pytests:
            flags.add("pytest")
        status, value = Status.OK, 1.0 if is_right else fraction if self.settings.partial_credit else 0.0
        if checked.is_syntax and not found.has_fence:
            status = Status.NO_ANSWER  # prose: without a fence, only valid source is a program
        elif checked.fault is Status.BAD_TASK:
            status = Status.BAD_TASK
        elif checked.fault is not Status.OK and not is_right:
            flags.add(str(checked.fault))
            if not (self.settings.partial_credit and passed):
                status = checked.fault
        return Score(
            status=status,
            value=value if status is Status.OK else None,
            components={} if status is Status.BAD_TASK else {"fraction": fraction},
            answer=found.code.strip()[:MAX_ANSWER_CHARS],
            flags=frozenset(flags),
            cases=_kept(checked.cases),
            provenance={"sandbox_tier": tier, "language": plan.language},
            detail=checked.detail[:500],
        )

    def _read(self) -> dict[Split, Sequence[Task]]:
        if self.settings.path is None and not self.settings.source:
            return {"train": self._builtin("train"), "heldout": self._builtin("heldout")}
        settings = self.settings
        made = self.tasks_of(self._rows())
        share, seed = settings.heldout_fraction, settings.split_seed
        parts = self.parted(made, fraction=share, seed=seed)
        train, heldout = parts["train"], parts["heldout"]
        if not train or not heldout:
            raise ValueError(
                f"{settings.path or settings.source}: heldout_fraction = {share} makes {len(train)} train and "
                f"{len(heldout)} held-out tasks of {len(made)} rows; both need at least one"
            )
        return {"train": tuple(train), "heldout": tuple(heldout)}

    def _builtin(self, split: Split) -> tuple[Task, ...]:
        rows = PROBLEMS[split]
        return tuple(make_task(row, f"builtin/{row['entry_point']}", self.settings.suffix) for row in rows)

    def _rows(self) -> Iterable[Located]:
        settings = self.settings
        if settings.path is not None:
            return read_file(settings.path)
        return read_source(settings.source, settings.config, settings.source_split, instead="path")


def compose(plan: Plan, found: Extracted) -> str:
    """The program to run: the extracted code, with the part of the prompt that it continues or relies on."""
    prompt, code = plan.completes, found.code
    if not prompt:
        return code
    name = re.escape(plan.entry_point)
    if re.search(rf"^(?:async +)?def +{name}\b|^{name} *=|^class +{name}\b", code, re.M):
        if "from __future__" in code:
            return code
        before = re.search(rf"^(?:async +)?def +{name}\b", prompt, re.M)
        return f"{prompt[: before.start()] if before else ''}\n{code}"
    return f"{prompt}{code}" if prompt.endswith("\n") else f"{prompt}\n{code}"


def make_task(row: Mapping[str, Any], task_id: str, suffix: str) -> Task:
    """The task of one row; ValueError where the row is of no known form."""
    if is_humaneval(row) and isinstance(row.get("problem_description"), str) and row.get("starter_code"):
        starter = str(row["starter_code"]).rstrip()
        text = f"{row['problem_description']}\n\nBegin with this code:\n\n```python\n{starter}\n```"
    elif is_humaneval(row):
        text = f"Complete this function.\n\n```python\n{str(row['prompt']).rstrip()}\n```"
    elif is_mbpp(row):
        request, tests = row.get("text") or row.get("prompt"), row["test_list"]
        if not isinstance(request, str) or not request.strip() or not tests:
            raise ValueError("an MBPP row needs text and test_list")
        name = called_first(str(tests[0]), str(row.get("code") or ""))
        text = f"{request}\n\nName it `{name}`." if name else request
    elif row.get("tests") is not None:
        if not isinstance(listed(row["tests"]), list | tuple):
            raise ValueError("tests: expected a list")
        text = str(row.get("text") or row.get("prompt") or "")
        if not text.strip():
            raise ValueError("a row needs text or prompt")
    else:
        raise ValueError(f"not a row of HumanEval, MBPP or this gym; it has the keys {sorted(map(str, row))}")
    data = {key: value for key, value in row.items() if value is not None}
    return Task(id=task_id, prompt=(message("user", text + suffix),), data=data)


def _kept(cases: tuple[CaseResult, ...]) -> tuple[CaseResult, ...]:
    if len(cases) <= MAX_CASES:
        return cases
    return tuple(sorted(cases, key=lambda case: case.passed)[:MAX_CASES])
