"""From a task's data to a plan: what is run, and what is compared. ValueError where the task is malformed.

A task gives its tests in one of these forms:

    tests: [...]                     data, each entry one of
        {"call": "add(1, 2)", "expected": 3}             or "literal": "{1: (2, 3)}" for what JSON cannot say
        {"stdin": "1 2\\n", "stdout": "3\\n"}
        {"assert": "assert add(1, 2) == 3"}              or the assert as a plain string
        {"pytest": "source", "ids": ["test_add", ...]}   the tests `import solution`; lower trust
        {"input": ..., "output": ..., "fn_name": ...}    as published: see published.py
    HumanEval's row                  prompt, entry_point, test, canonical_solution
    MBPP's row                       text, code, test_list, test_setup_code

Asserts become data where they can; where one cannot, all of a row's asserts are run as an exam: trusted code in a job
of its own, which reaches the submission only through calls that carry plain data.
"""

from __future__ import annotations

import ast
import contextlib
import json
import re
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from gyms.code.asserts import NotPlain, constant, convert_asserts, parse, parse_call
from gyms.code.checks import CallTest, Check, InputTest
from gyms.code.compare import OUTPUT_COMPARATORS, VALUE_COMPARATORS
from gyms.code.exams import (
    called_first,
    calls_or_exam,
    has_instances,
    imports_in,
    may_change,
    with_star_import,
)
from gyms.code.extract import LANGUAGES
from gyms.code.limits import limits_of
from gyms.code.published import LEETCODE, evalplus_tests, in_own_form, listed
from gyms.sandbox.inside import values
from gyms.sandbox.program import Exam, Language, Limits

__all__ = ["Plan", "PytestTest", "is_humaneval", "is_mbpp", "make_plan"]

MAX_TESTS = 5000
MAX_DIGITS = 100_000
"""Most digits of an integer in a test."""
MAX_TEST_CHARS = 20_000_000
_IMPORTS_NUMPY = re.compile(r"^\s*(?:import|from)\s+numpy\b", re.MULTILINE)
_ENTRY_POINT = re.compile(r"(?:[A-Z]\w{0,99}\(\)\.)?[^\W\d]\w{0,199}(?:\.[^\W\d]\w{0,199}){0,3}")
"""A function, or a method of an instance: `add`, `Solution().add`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PytestTest:
    """Tests as pytest source: all ids must have passed, and nothing counts that is not among them."""

    exam: Exam
    ids: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """How a submission is verified."""

    language: Language
    limits: Limits
    calls: tuple[CallTest, ...] = ()
    inputs: tuple[InputTest, ...] = ()
    exams: tuple[Exam, ...] = ()
    pytests: tuple[PytestTest, ...] = ()
    setup: tuple[str, ...] = ()
    """Trusted source that runs with the submission, such as the trees that its tests are about. Without results."""
    prelude: tuple[str, ...] = ()
    """Imports that run before the submission: those of `setup`, and LeetCode's where it asks for a class `Solution`."""
    entry_point: str = ""
    completes: str = ""
    """Prompt that a response may continue, HumanEval's way; empty where a response is a whole program."""
    has_numpy: bool = False
    """True: the tests import numpy, so the program may."""
    allows_objects: bool = False
    """True: objects of the submission may answer comparisons of pytest sources."""
    notes: frozenset[str] = field(default_factory=frozenset)
    """What people should know of it; flags of every score."""


def make_plan(data: Mapping[str, Any], limits: Limits, *, allows_objects: bool = False) -> Plan:
    """The plan of a task's data; ValueError with what is wrong where it is malformed."""
    with _long_integers():
        return _made(data, limits, allows_objects)


@contextlib.contextmanager
def _long_integers() -> Iterator[None]:
    """Expected values of many digits are read; the limit of Python's guards against texts that nobody trusts."""
    before = sys.get_int_max_str_digits()
    sys.set_int_max_str_digits(MAX_DIGITS)
    try:
        yield
    finally:
        sys.set_int_max_str_digits(before)


def _made(data: Mapping[str, Any], limits: Limits, allows_objects: bool) -> Plan:
    language = _language(data.get("language", "python"))
    empty = Plan(language=language, limits=limits_of(data.get("limits"), limits), allows_objects=allows_objects)
    if data.get("tests") is not None:
        plan = _data_plan(data, empty)
    elif is_humaneval(data):
        plan = _humaneval_plan(data, empty)
    elif is_mbpp(data):
        plan = _mbpp_plan(data, empty)
    else:
        raise ValueError(f"the task has no tests; it has {sorted(map(str, data))}")
    trusted = [*plan.setup, *(exam.tests for exam in plan.exams), *(test.exam.tests for test in plan.pytests)]
    plan = replace(plan, has_numpy=any(map(_IMPORTS_NUMPY.search, trusted)))
    if language == "python" and _is_leetcode(data, plan):
        plan = replace(plan, prelude=(LEETCODE, *plan.prelude))
    if language != "python" and (plan.calls or plan.exams or plan.pytests or plan.setup):
        raise ValueError(f"tests that call functions need python; {language} programs are tested by stdin and stdout")
    if not (plan.calls or plan.inputs or plan.exams or plan.pytests):
        raise ValueError("the task has no tests")
    _refuse_contradictions(plan)
    _refuse_idle(plan)
    return plan


def _is_leetcode(data: Mapping[str, Any], plan: Plan) -> bool:
    """Whether the tests call a method of `Solution`, with names imported that its starter code does not import."""
    if "Solution()" in plan.entry_point:
        return True
    return any("Solution()" in (test.call.expression or test.call.function) for test in plan.calls)


def is_humaneval(data: Mapping[str, Any]) -> bool:
    """Whether the data has the fields of a HumanEval row."""
    return all(isinstance(data.get(name), str) for name in ("prompt", "entry_point", "test"))


def is_mbpp(data: Mapping[str, Any]) -> bool:
    """Whether the data has the fields of an MBPP row, or of its sanitized edition."""
    return isinstance(data.get("test_list"), list | tuple)


def _language(name: object) -> Language:
    for language, names in LANGUAGES.items():
        if isinstance(name, str) and name.strip().lower() in names:
            return language  # type: ignore[return-value]
    raise ValueError(f"language = {name!r}: expected one of {', '.join(LANGUAGES)}")


def _data_plan(data: Mapping[str, Any], plan: Plan) -> Plan:
    tests = listed(data["tests"])
    if isinstance(tests, Mapping):
        tests = [tests]
    if not isinstance(tests, Sequence) or isinstance(tests, str | bytes):
        raise ValueError(f"tests is {type(tests).__name__}, expected a list")
    if not 0 < len(tests) <= MAX_TESTS:
        raise ValueError(f"the task has {len(tests)} tests; expected 1 to {MAX_TESTS}")
    entry_point = _entry_point(data)
    comparator, tolerance = data.get("comparator"), data.get("tolerance", 1e-6)
    calls: list[CallTest] = []
    inputs: list[InputTest] = []
    pytests: list[PytestTest] = []
    asserts: list[str] = []
    for number, test in enumerate(tests):
        if isinstance(test, str):
            test = {"assert": test}
        if not isinstance(test, Mapping):
            raise ValueError(f"tests[{number}] is {type(test).__name__}, expected an object")
        where = f"tests[{number}]"
        try:
            test = in_own_form(test, data)
        except ValueError as error:
            raise ValueError(f"{where}: {error}") from None
        own = {"comparator": comparator, "tolerance": tolerance, **test}
        kinds = [kind for kind in ("call", "stdout", "assert", "pytest") if kind in test]
        if len(kinds) != 1:
            raise ValueError(
                f"{where} has {sorted(map(str, test))}: expected one of call, stdin with stdout, assert, pytest"
            )
        if kinds == ["call"]:
            calls.append(_call_test(own, where))
        elif kinds == ["stdout"]:
            inputs.append(_input_test(own, where, number))
        elif kinds == ["assert"]:
            asserts.append(_text(test["assert"], f"{where}.assert"))
        else:
            pytests.append(_pytest_test(test, where, data, allows_objects=plan.allows_objects))
    setup = tuple(_texts(data.get("setup", ()), "setup"))
    plan = replace(plan, calls=tuple(calls), inputs=tuple(inputs), pytests=tuple(pytests), setup=setup)
    plan = replace(plan, prelude=imports_in(setup))
    plan = replace(plan, entry_point=entry_point, completes=_completable(data, entry_point))
    return _with_asserts(plan, asserts, setup, _text(data.get("solution", ""), "solution")) if asserts else plan


def _entry_point(data: Mapping[str, Any]) -> str:
    name = data.get("entry_point") or ""
    if name and (not isinstance(name, str) or not _ENTRY_POINT.fullmatch(name)):
        raise ValueError(f"entry_point = {name!r}: expected the name of a function")
    return name


def _completable(data: Mapping[str, Any], entry_point: str) -> str:
    """The prompt, where it is source that defines the entry point."""
    prompt = data.get("prompt")
    if not isinstance(prompt, str) or not entry_point:
        return ""
    if not re.search(rf"^(?:async +)?def +{re.escape(entry_point)}\b", prompt, re.M):
        return ""
    for source in (prompt, f"{prompt.rstrip()}\n    pass\n"):
        try:
            parse(source)
        except ValueError:
            continue
        return prompt
    return ""  # prose around a signature: there is nothing to continue


def _call_test(test: Mapping[str, Any], where: str) -> CallTest:
    source = _text(test["call"], f"{where}.call")
    try:
        call = parse_call(source)
    except ValueError as error:
        raise ValueError(f"{where}.call: {error}") from None
    if ("expected" in test) == ("literal" in test):
        raise ValueError(f"{where}: a call needs 'expected', or 'literal' for what JSON cannot say; one of the two")
    if "literal" in test:
        try:
            expected = constant(ast.parse(_text(test["literal"], f"{where}.literal"), mode="eval").body)
        except (NotPlain, SyntaxError, RecursionError, MemoryError) as error:
            raise ValueError(f"{where}.literal is not a Python literal: {error}") from None
        comparator = "exact"
    else:
        expected, comparator = test["expected"], "json"
    comparator = _comparator(test.get("comparator"), comparator, VALUE_COMPARATORS, where)
    try:
        values.encode(expected)
    except (TypeError, ValueError) as error:
        raise ValueError(f"{where}.expected is no plain value: {error}") from None
    check = Check(expected=expected, comparator=comparator, tolerance=_tolerance(test, where))
    return CallTest(id=source[:200], call=call, check=check)


def _input_test(test: Mapping[str, Any], where: str, number: int) -> InputTest:
    stdin = _text(test.get("stdin", "") or "", f"{where}.stdin")
    stdout = _text(test["stdout"], f"{where}.stdout")
    comparator = _comparator(test.get("comparator"), "lines", OUTPUT_COMPARATORS, where)
    encoded = stdin.encode("utf-8", "surrogatepass")
    return InputTest(
        id=f"stdin {number}", stdin=encoded, stdout=stdout, comparator=comparator, tolerance=_tolerance(test, where)
    )


def _comparator(given: object, default: str, known: Sequence[str], where: str) -> str:
    if given is None:
        return default
    if given not in VALUE_COMPARATORS and given not in OUTPUT_COMPARATORS:
        every = dict.fromkeys((*VALUE_COMPARATORS, *OUTPUT_COMPARATORS))
        raise ValueError(f"{where}: comparator = {given!r}: expected one of {', '.join(every)}")
    if given not in known:
        raise ValueError(f"{where}: comparator = {given!r} does not fit this kind of test; expected {', '.join(known)}")
    return str(given)


def _tolerance(test: Mapping[str, Any], where: str) -> float:
    value = test.get("tolerance", 1e-6)
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value < 1e9:
        raise ValueError(f"{where}: tolerance = {value!r}: expected a number of at least 0")
    return float(value)


def _pytest_test(test: Mapping[str, Any], where: str, data: Mapping[str, Any], *, allows_objects: bool) -> PytestTest:
    source = _text(test["pytest"], f"{where}.pytest")
    ids = test.get("ids")
    if not isinstance(ids, list | tuple) or not ids or not all(isinstance(i, str) and i for i in ids):
        raise ValueError(f"{where}.ids: expected a list of the ids of the tests that must pass, got {ids!r:.100}")
    if len(set(ids)) != len(ids):
        raise ValueError(f"{where}.ids names a test twice")
    tree = parse(source)
    imported = {node.module for node in ast.walk(tree) if isinstance(node, ast.ImportFrom) and node.module}
    imported |= {alias.name for node in ast.walk(tree) if isinstance(node, ast.Import) for alias in node.names}
    own = imported & {"solution", "submission", "main", "answer", "candidate"}
    reference = data.get("solution")
    reference = reference if isinstance(reference, str) else ""
    exam = Exam(
        tests=with_star_import(source, own | {"solution"}, reference, _entry_point(data)),
        is_pytest=True,
        allows_handles=has_instances(tree),
        allows_objects=has_instances(tree) and allows_objects,
        allows_changes=True,
        module_names=tuple(sorted(own - {"solution"})),
    )
    return PytestTest(exam=exam, ids=tuple(ids))


def _humaneval_plan(data: Mapping[str, Any], plan: Plan) -> Plan:
    entry_point = _entry_point(data)
    if not entry_point:
        raise ValueError("entry_point is empty")
    source = data["test"]
    tree = parse(source)
    check = next((n for n in tree.body if isinstance(n, ast.FunctionDef) and n.name == "check"), None)
    if check is None or not check.args.args:
        raise ValueError("test defines no function check(candidate)")
    plan = replace(plan, entry_point=entry_point, completes=_completable(data, entry_point))
    plan = replace(plan, prelude=(*plan.prelude, *_imports_of(data["prompt"])))
    alias = check.args.args[0].arg
    helpers = [n for n in tree.body if not isinstance(n, ast.Assign) and n is not check]
    try:
        if helpers:
            return replace(plan, calls=tuple(evalplus_tests(check.body, entry_point, {alias: entry_point})))
        tests = convert_asserts(check.body, {alias: entry_point}, frozenset({entry_point}))
        if not tests:
            raise ValueError("test asserts nothing")
        if all(test.call.function == entry_point or entry_point in test.call.expression for test in tests):
            return replace(plan, calls=tuple(tests))
    except NotPlain:
        pass
    solution = data.get("canonical_solution")
    reference = data["prompt"] + (solution if isinstance(solution, str) else "    pass\n")
    if not plan.completes:  # a prompt that is no beginning of the solution
        reference = "\n".join(plan.prelude)
    proxies = {"candidate": entry_point}
    is_used = any(isinstance(n, ast.Name) and n.id == alias for n in ast.walk(check))
    if entry_point.isidentifier() and (not isinstance(solution, str) or not is_used):
        proxies[entry_point] = entry_point
    exam = Exam(
        tests=f"{source}\n\ncheck(candidate)\n",
        prelude=(reference,),
        proxies=proxies,
        allows_changes=may_change(tree, {alias, entry_point}),
    )
    return replace(plan, exams=(exam,))


def _imports_of(prompt: str) -> tuple[str, ...]:
    """A prompt that is nothing but imports, as LeetCode's data sets have it."""
    try:
        tree = parse(prompt)
    except ValueError:
        return ()
    is_imports = tree.body and all(isinstance(n, ast.Import | ast.ImportFrom) for n in tree.body)
    return (ast.unparse(tree),) if is_imports else ()


def _mbpp_plan(data: Mapping[str, Any], plan: Plan) -> Plan:
    asserts = _texts(data["test_list"], "test_list")
    if not asserts:
        raise ValueError("test_list is empty")
    setup = [_text(data.get("test_setup_code") or "", "test_setup_code")]
    setup += _texts(data.get("test_imports") or (), "test_imports")
    setup = [source for source in setup if source.strip()]
    plan = replace(plan, setup=tuple(setup), prelude=imports_in(setup))
    plan = _with_asserts(plan, asserts, setup, _text(data.get("code") or "", "code"))
    table = data.get("test")
    if isinstance(table, str) and len(plan.calls) == len(asserts):  # MBPP+: the published tests are all of these
        name = called_first(asserts[0], data.get("code") or "")
        try:
            return replace(plan, calls=(*plan.calls, *evalplus_tests(parse(table).body, name, {})))
        except NotPlain:
            return replace(plan, notes=plan.notes | {"base_tests_only"})
    return plan


def _with_asserts(plan: Plan, asserts: Sequence[str], setup: Sequence[str], reference: str) -> Plan:
    """Asserts as calls where each can be split, otherwise as one exam."""
    calls, exam = calls_or_exam(asserts, setup, reference, plan.entry_point)
    return replace(plan, exams=(*plan.exams, exam)) if exam is not None else replace(plan, calls=(*plan.calls, *calls))


def _text(value: object, where: str) -> str:
    if not isinstance(value, str):
        raise ValueError(f"{where} is {type(value).__name__}, expected text")
    if len(value) > MAX_TEST_CHARS:
        raise ValueError(f"{where} has {len(value)} characters; at most {MAX_TEST_CHARS} are read")
    return value


def _texts(given: object, where: str) -> list[str]:
    if isinstance(given, str):
        given = [given]
    if not isinstance(given, Sequence) or isinstance(given, bytes):
        raise ValueError(f"{where} is {type(given).__name__}, expected a list of texts")
    return [_text(value, where) for value in given]


def _refuse_contradictions(plan: Plan) -> None:
    """One call, or one input, with two different results can never pass."""
    seen: dict[str, str] = {}
    for test in plan.calls:
        check = test.check
        if check.comparator or check.operation == "==":
            wanted = json.dumps(values.encode(check.expected), sort_keys=True) + check.comparator
            call = test.call
            asked = call.expression or f"{call.function} {values.encode([list(call.arguments), dict(call.keywords)])}"
            if seen.setdefault(asked, wanted) != wanted:
                raise ValueError(f"two tests want different results of {test.id:.100}")
    outputs: dict[bytes, str] = {}
    for given in plan.inputs:
        if outputs.setdefault(given.stdin, given.stdout) != given.stdout:
            raise ValueError(f"two tests want different outputs for the input of {given.id}")


def _refuse_idle(plan: Plan) -> None:
    """A program that does nothing must not pass."""
    if (
        plan.inputs
        and not (plan.calls or plan.exams or plan.pytests)
        and not any(g.stdout.strip() for g in plan.inputs)
    ):
        raise ValueError("every test wants an empty output, which a program that does nothing has")
