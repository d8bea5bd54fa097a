"""Runs a plan and says what became of each test. The verdicts are made here, outside of the sandbox.

What a submission can do is to report values and to print; whether those are right is decided in this process, on plain
data, with this process's own operators. A process that ends early has failed the tests that it owed.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from gyms.api import CaseResult, Status
from gyms.code.checks import InputTest
from gyms.code.compare import outputs_match
from gyms.code.plan import Plan, PytestTest
from gyms.sandbox.patience import SharedTime
from gyms.sandbox.program import Ending, Exam, Program, Run, Sandbox, SandboxError
from gyms.sandbox.results import has_begun, read_last_line, read_results, told

__all__ = ["ProgramCheck", "verify"]

MAX_LIMITED_RUNS = 2
"""After so many inputs on which a program ran past a limit, the others are not tried."""
_LIMITS = {
    Ending.CPU_LIMIT: "ran past its CPU limit",
    Ending.WALL_LIMIT: "ran past its wall-clock limit",
    Ending.MEMORY_LIMIT: "used more memory or space than its limit",
    Ending.OUTPUT_LIMIT: "wrote more than its limit",
}
_TIMEOUTS = (Ending.CPU_LIMIT, Ending.WALL_LIMIT)


@dataclass(frozen=True, slots=True, kw_only=True)
class ProgramCheck:
    """What became of each test, and why a program as a whole failed."""

    cases: tuple[CaseResult, ...]
    fault: Status = Status.OK
    """A model fault of the program as a whole, or `bad_task`; OK: the cases say all."""
    detail: str = ""
    is_syntax: bool = False
    """The program is not valid source."""


def verify(plan: Plan, source: str, sandbox: Sandbox, max_seconds: float, has_numpy: bool = False) -> ProgramCheck:
    """Run a submission against a plan; SandboxError where the sandbox itself fails.

    Args:
        max_seconds: wall clock of all runs together; no further one is begun after it.
    """
    parts: list[ProgramCheck] = []
    shared = SharedTime(max_seconds)
    program = Program(
        source=source,
        language=plan.language,
        prelude=plan.prelude,
        setup=plan.setup,
        limits=plan.limits,
        has_numpy=has_numpy,
    )
    if plan.calls:
        parts.append(_verify_calls(plan, program, sandbox, shared))
    if plan.inputs:
        parts.append(_verify_inputs(plan.inputs, program, sandbox, shared))
    parts += [_verify_exam(exam, program, sandbox, shared) for exam in plan.exams]
    parts += [_verify_pytest(test, program, sandbox, shared) for test in plan.pytests]
    worst = max(parts, key=lambda part: _WEIGHT.get(part.fault, 0))
    cases = tuple(case for part in parts for case in part.cases)
    is_syntax = any(part.is_syntax for part in parts)
    return ProgramCheck(cases=cases, fault=worst.fault, detail=worst.detail, is_syntax=is_syntax)


_WEIGHT = {Status.OK: 0, Status.CRASHED: 1, Status.TIMEOUT: 2, Status.INVALID_ANSWER: 3, Status.BAD_TASK: 4}


def _verify_calls(plan: Plan, program: Program, sandbox: Sandbox, shared: SharedTime) -> ProgramCheck:
    calls = tuple(test.call for test in plan.calls)
    run = sandbox.run(replace(program, calls=calls))
    shared.use(run.wall_seconds)
    loaded = read_results(run.results, len(calls))
    fault, detail = _fault(run)
    if not loaded.is_loaded and fault is Status.OK:
        fault = Status.INVALID_ANSWER if loaded.is_syntax else Status.CRASHED
        detail = loaded.failure or "it ended while it was loaded"
    elif len(loaded.outcomes) < len(calls) and fault is Status.OK:
        fault, detail = Status.CRASHED, "it ended before all calls were answered"
    cases = []
    for place, test in enumerate(plan.calls):
        if place >= len(loaded.outcomes):
            cases.append(CaseResult(id=test.id, passed=False, reason=detail or "was not reached"))
            continue
        outcome = loaded.outcomes[place]
        if outcome.error:
            cases.append(CaseResult(id=test.id, passed=False, reason=outcome.error))
        elif test.check.holds(outcome.value):
            cases.append(CaseResult(id=test.id, passed=True))
        else:
            cases.append(CaseResult(id=test.id, passed=False, reason=f"got {_shown(outcome.value)}"))
    return ProgramCheck(cases=tuple(cases), fault=fault, detail=detail, is_syntax=loaded.is_syntax)


def _shown(value: object) -> str:
    try:
        return repr(value)[:200]
    except (ValueError, RecursionError):  # an integer of more digits than are printed
        return f"a {type(value).__name__}"


def _verify_inputs(tests: Sequence[InputTest], program: Program, sandbox: Sandbox, shared: SharedTime) -> ProgramCheck:
    if shared.is_spent:
        return _not_tried(test.id for test in tests)

    def stop(runs: list[Run]) -> bool:
        shared.use(runs[-1].wall_seconds)
        return sum(run.ending in _LIMITS for run in runs) >= MAX_LIMITED_RUNS or shared.is_spent

    program = replace(program, prelude=(), setup=())  # as `python main.py` runs it
    runs = sandbox.run_all(program, [test.stdin for test in tests], stop)
    if runs[0].ending is Ending.COMPILE_FAILED:
        reason = "does not compile: " + runs[0].stderr.decode("utf-8", "replace")[:300]
        cases = tuple(CaseResult(id=test.id, passed=False, reason=reason) for test in tests)
        return ProgramCheck(cases=cases, fault=Status.INVALID_ANSWER, detail=reason, is_syntax=True)
    cases_found, fault, detail = [], Status.OK, ""
    for test, run in zip(tests, runs, strict=False):
        run_fault, reason = _fault(run)
        if run_fault is Status.OK and run.exit_status != 0:
            run_fault, reason = Status.CRASHED, f"exit status {run.exit_status}: {_last_line(run.stderr)}"
        if run_fault is Status.OK and not outputs_match(test.comparator, test.stdout, run.stdout, test.tolerance):
            cases_found.append(CaseResult(id=test.id, passed=False, reason=f"printed {run.stdout[:100]!r}"))
            continue
        cases_found.append(CaseResult(id=test.id, passed=run_fault is Status.OK, reason=reason))
        if _WEIGHT[run_fault] > _WEIGHT[fault]:
            fault, detail = run_fault, reason
    is_syntax = program.language == "python" and all(
        run.exit_status == 1
        and not run.stdout
        and _last_line(run.stderr).startswith(("SyntaxError", "IndentationError"))
        for run in runs
    )
    untried = _not_tried(test.id for test in tests[len(runs) :]).cases
    return ProgramCheck(cases=(*cases_found, *untried), fault=fault, detail=detail, is_syntax=is_syntax)


def _not_tried(ids: Iterable[str]) -> ProgramCheck:
    """Tests behind too many runs that met a limit, or behind the time of all runs."""
    reason = "was not tried, for earlier ones took too much"
    return ProgramCheck(cases=tuple(CaseResult(id=one, passed=False, reason=reason) for one in ids))


def _last_line(stderr: bytes) -> str:
    lines = stderr.decode("utf-8", "replace").strip().split("\n")
    return lines[-1][:300]


def _verify_exam(exam: Exam, program: Program, sandbox: Sandbox, shared: SharedTime) -> ProgramCheck:
    if shared.is_spent:
        return _not_tried(["tests"])
    subject, tests = sandbox.examine(program, exam)
    shared.use(max(subject.wall_seconds, tests.wall_seconds))
    report, checked = _exam_report(subject, tests)
    if checked is not None:
        return checked
    found = report.get("cases")
    if not isinstance(found, list) or not found:
        return ProgramCheck(
            cases=(), fault=Status.BAD_TASK, detail=f"the tests assert nothing: {report.get('broken', '')}"
        )
    if not report.get("num_calls"):
        return ProgramCheck(cases=(), fault=Status.BAD_TASK, detail="the tests never call the submission")
    cases = tuple(CaseResult(id=told(label), passed=ok is True, reason=told(reason)) for label, ok, reason in found)
    fault, detail = _fault(subject)
    if all(case.passed for case in cases) and report.get("stopped"):
        cases = (*cases, CaseResult(id="the tests' end", passed=False, reason=told(report["stopped"])))
    return ProgramCheck(cases=cases, fault=Status.OK if all(case.passed for case in cases) else fault, detail=detail)


def _verify_pytest(test: PytestTest, program: Program, sandbox: Sandbox, shared: SharedTime) -> ProgramCheck:
    if shared.is_spent:
        return _not_tried(test.ids)
    subject, tests = sandbox.examine(program, test.exam)
    shared.use(max(subject.wall_seconds, tests.wall_seconds))
    report, checked = _exam_report(subject, tests)
    if checked is not None:
        missing = tuple(CaseResult(id=name, passed=False, reason=checked.detail) for name in test.ids)
        return ProgramCheck(cases=missing, fault=checked.fault, detail=checked.detail, is_syntax=checked.is_syntax)
    if "broken" in report:
        raise SandboxError(str(report["broken"]))
    found = {_test_name(str(name)): (str(outcome), told(reason)) for name, outcome, reason in report.get("pytest", [])}
    wanted = [_test_name(name) for name in test.ids]
    cases = []
    for name, key in zip(test.ids, wanted, strict=True):
        outcome, reason = _outcome(key, found) or ("was not collected", told(report.get("collection")))
        if outcome == "passed" and not report.get("num_calls"):
            outcome, reason = "no test", "the tests never called the submission"
        said = "" if outcome == "passed" else f"{outcome}: {reason}"[:300]
        cases.append(CaseResult(id=name, passed=outcome == "passed", reason=said))
    is_known = any(_outcome(key, found) or _is_written(key, test.exam.tests) for key in wanted)
    if found and not is_known:
        return ProgramCheck(
            cases=tuple(cases), fault=Status.BAD_TASK, detail="no test of the source has one of the ids"
        )
    fault, detail = _fault(subject)
    return ProgramCheck(cases=tuple(cases), fault=Status.OK if all(c.passed for c in cases) else fault, detail=detail)


def _outcome(name: str, found: Mapping[str, tuple[str, str]]) -> tuple[str, str] | None:
    """What became of a test; of all its parameters where it is named without any, as pytest reads it: the worst."""
    if name in found:
        return found[name]
    variants = [outcome for key, outcome in found.items() if key.startswith(f"{name}[")]
    return next((outcome for outcome in variants if outcome[0] != "passed"), variants[0] if variants else None)


def _test_name(node: str) -> str:
    """A pytest id without the name of its file."""
    return re.sub(r"^[^:\[]*\.py::", "", node.strip())


def _is_written(name: str, source: str) -> bool:
    """Whether the source has a test of this name: then it is the submission's doing that it was not collected."""
    function = name.partition("[")[0].rpartition("::")[2]
    return re.search(rf"\bdef {re.escape(function)}\b", source) is not None


def _exam_report(subject: Run, tests: Run) -> tuple[dict, ProgramCheck | None]:  # type: ignore[type-arg]
    """The exam's report, or what became of the tests where there is none to read."""
    report = read_last_line(tests.results)
    if report is not None and "failure" in report:
        kind, _, reason = told(report["failure"]).partition(": ")
        fault, detail = _fault(subject)
        if fault is Status.OK:
            fault, detail = (Status.INVALID_ANSWER if kind == "syntax" else Status.CRASHED), reason
        case = CaseResult(id="load", passed=False, reason=detail)
        return {}, ProgramCheck(cases=(case,), fault=fault, detail=detail, is_syntax=kind == "syntax")
    if report is not None and "broken" in report and "pytest" not in report and "cases" not in report:
        if str(report["broken"]).startswith("pytest cannot"):
            return report, None
        return {}, ProgramCheck(cases=(), fault=Status.BAD_TASK, detail=f"the tests cannot be run: {report['broken']}")
    if report is None:
        fault, detail = _fault(subject)
        if fault is Status.OK and tests.ending in _TIMEOUTS:
            fault, detail = Status.TIMEOUT, "the tests ran past their limit"
        if fault is Status.OK and not has_begun(tests.results):
            raise SandboxError(
                f"the tests' process ended with {tests.ending} before it began: {_last_line(tests.stderr)}"
            )
        if fault is Status.OK:  # it stood until it read what the submission sent
            fault = Status.CRASHED
            detail = f"what it answered ended the tests ({_LIMITS.get(tests.ending, tests.ending)})"
        return {}, ProgramCheck(
            cases=(CaseResult(id="tests", passed=False, reason=detail),), fault=fault, detail=detail
        )
    return report, None


def _fault(run: Run) -> tuple[Status, str]:
    """The fault of a run as a whole, from how it ended."""
    if run.ending in _LIMITS:
        return (Status.TIMEOUT if run.ending in _TIMEOUTS else Status.CRASHED), _LIMITS[run.ending]
    if run.ending is Ending.KILLED:
        return Status.CRASHED, f"killed by signal {-run.exit_status}"
    return Status.OK, ""
