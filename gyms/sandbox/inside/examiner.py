"""Trusted test code, run in a job of its own against a submission in another one (remote.py).

`assert` statements become cases: each is counted by itself, a failed one does not stop the rest, and a case passes
where it was reached and every time that it was reached it held. `assert True` is no case, nor is an assert in a branch
(`if`, `try`, `match`) that was come to and not taken, where the tests came to their end. There, `assert False` has
passed where the statement around it was come to and it was not reached (`try: f(-1); assert False` wants an error); in
a loop without a turn, or in a function that nobody called, nothing has passed. What is
reported is written once, at the end, to a channel that no submission has; a line before says that this process came up
by itself. Should there be no report after that line, what the submission sent has brought the tests down.

What tests print goes nowhere: a failed test would print what the submission sent, and may be ended for its length.
"""

from __future__ import annotations

import ast
import builtins
import os
import sys
import types
from typing import Any

from gyms.sandbox.inside import remote
from gyms.sandbox.inside.channel import LINK_IN, LINK_OUT, RESULT_FD, Reporter

__all__ = ["examine"]

_CASE = "__case__"
_ERROR = "__case_error__"
_COME_TO = "__come_to__"


def examine(body: dict[str, Any]) -> None:
    """Run the tests and report; never returns."""
    report = Reporter(RESULT_FD)
    report.send({"begun": True})
    null = os.open(os.devnull, os.O_WRONLY)
    for fd in (1, 2):
        os.dup2(null, fd)
    replies = open(LINK_IN, "rb", closefd=False)  # noqa: SIM115
    requests = open(LINK_OUT, "wb", closefd=False)  # noqa: SIM115
    rights = {name: bool(body.get(name)) for name in ("allows_handles", "allows_objects", "allows_changes")}
    link = remote.Link(replies, requests, **rights)
    link.wait_until_loaded()
    found: dict[str, Any] = {}
    if not link.failure:
        try:
            found = _run_asserts(body, link) if body["mode"] == "examine" else _run_pytest(body, link)
        except Exception as error:  # the tests' own errors are caught further in: this is what the other side sent
            link.failure = f"import: it answers garbage ({type(error).__name__})"
    report.send({"failure": link.failure} if link.failure else found)
    os._exit(0)


class _Cases(ast.NodeTransformer):
    """`assert test` -> `__case__(number, lambda: test)`, so that what it raises fails this case alone."""

    def __init__(self) -> None:
        self.labels: list[str] = []
        self.around: list[tuple[int, ...]] = []
        """Statements around each assert, up to a function's head, innermost first, as numbers."""
        self.barred: list[bool] = []
        """Asserts that never hold: they pass where they are not reached."""
        self.is_branch: list[bool] = []
        """Of each statement with a body, whether it is a branch: a loop without a turn excuses no assert."""
        self._around: tuple[int, ...] = ()

    def _visit_body(self, node: ast.AST) -> list[ast.AST]:
        number = len(self.is_branch)
        self.is_branch.append(isinstance(node, ast.If | ast.Try | ast.Match))
        before, self._around = self._around, (number, *self._around)
        self.generic_visit(node)
        self._around = before
        call = ast.Call(func=ast.Name(_COME_TO, ast.Load()), args=[ast.Constant(number)], keywords=[])
        return [ast.copy_location(ast.Expr(call), node), node]

    visit_If = visit_Try = visit_Match = _visit_body
    visit_For = visit_AsyncFor = visit_While = visit_With = visit_AsyncWith = _visit_body

    def _visit_function(self, node: ast.AST) -> ast.AST:
        """Whatever is around a definition, it says nothing of calls."""
        before, self._around = self._around, ()
        self.generic_visit(node)
        self._around = before
        return node

    visit_FunctionDef = visit_AsyncFunctionDef = _visit_function

    def visit_Assert(self, node: ast.Assert) -> ast.AST:
        """One case; `assert True` goes."""
        if isinstance(node.test, ast.Constant) and node.test.value:
            return ast.copy_location(ast.Pass(), node)
        self.barred.append(isinstance(node.test, ast.Constant))
        self.labels.append(ast.unparse(node.test)[:200])
        self.around.append(self._around)
        number = len(self.labels) - 1
        if any(isinstance(part, _BOUND_TO_PLACE) for part in ast.walk(node.test)):
            return ast.copy_location(_case_in_place(number, node.test), node)
        nothing = ast.arguments(posonlyargs=[], args=[], kwonlyargs=[], kw_defaults=[], defaults=[])
        return ast.copy_location(ast.Expr(_case_call(number, ast.Lambda(args=nothing, body=node.test))), node)


_BOUND_TO_PLACE = (ast.Await, ast.NamedExpr, ast.Yield, ast.YieldFrom)
"""What cannot move into a function of its own: it waits for, binds or gives something where it stands."""


def _case_call(number: int, test: ast.expr) -> ast.Call:
    return ast.Call(func=ast.Name(_CASE, ast.Load()), args=[ast.Constant(number), test], keywords=[])


def _case_in_place(number: int, test: ast.expr) -> ast.Try:
    """A case whose test is computed where the assert stands; what it raises is told to the case."""
    frame = ast.parse(f"try:\n    _\nexcept Exception as {_ERROR}:\n    {_CASE}({number}, None, {_ERROR})").body[0]
    assert isinstance(frame, ast.Try)
    value = ast.arguments(posonlyargs=[], args=[ast.arg("value")], kwonlyargs=[], kw_defaults=[], defaults=[test])
    frame.body = [ast.Expr(_case_call(number, ast.Lambda(args=value, body=ast.Name("value", ast.Load()))))]
    return frame


def _run_asserts(body: dict[str, Any], link: remote.Link) -> dict[str, Any]:
    names: dict[str, Any] = {"__builtins__": builtins, "__name__": "tests"}
    try:
        tree = ast.parse(body["tests"])
        for source in body["prelude"]:
            exec(compile(source, "prelude.py", "exec", dont_inherit=True), names)
    except (Exception, SystemExit) as error:
        return {"broken": f"{type(error).__name__}: {error}"[:300]}
    rewriter = _Cases()
    tree = ast.fix_missing_locations(rewriter.visit(tree))
    ran = [0] * len(rewriter.labels)
    reasons = [""] * len(rewriter.labels)

    def case(number: int, test: Any, raised: Exception | None = None) -> None:
        ran[number] += 1
        try:
            if raised is not None:
                raise raised
            held = bool(test())
            reason = "" if held else "does not hold"
        except Exception as error:  # whatever the submission raised, or the test of what it returned: the case fails
            reason = f"{type(error).__name__}: {error}"[:300]
        reasons[number] = reasons[number] or reason

    come_to: set[int] = set()
    names |= {_CASE: case, _COME_TO: come_to.add}
    for name, target in body["proxies"].items():
        names[name] = link.function(target)
    stopped = ""
    try:
        exec(compile(tree, "tests.py", "exec", dont_inherit=True), names)
    except SystemExit as error:  # the tests' own: an exit of the submission does not cross
        stopped = f"SystemExit: {error}"[:300] if error.code else ""
    except Exception as error:  # as above, between the asserts: those behind it were not reached
        stopped = f"{type(error).__name__}: {error}"[:300]
    cases = _what_became(rewriter, ran, reasons, come_to, stopped)
    return {"cases": cases, "stopped": stopped, "num_calls": link.num_calls}


def _what_became(found: _Cases, ran: list[int], reasons: list[str], come_to: set[int], stopped: str) -> list[list[Any]]:
    """Label, verdict and reason of each case."""
    avoided = [
        barred and not count and bool(around) and around[0] in come_to
        for barred, count, around in zip(found.barred, ran, found.around, strict=True)
    ]
    came_to_nothing = not any(ran) and not any(avoided)
    cases: list[list[Any]] = []
    for number, label in enumerate(found.labels):
        nearest = next((place for place in found.around[number] if place in come_to), None)
        is_excused = nearest is not None and found.is_branch[nearest] and not came_to_nothing
        if ran[number]:
            cases.append([label, not reasons[number], reasons[number]])
        elif stopped or not (avoided[number] or is_excused):
            cases.append([label, False, stopped or "was not reached"])
        elif avoided[number]:
            cases.append([label, True, ""])
    return cases


def _solution_modules(names: dict[str, Any], further: list[str]) -> dict[str, types.ModuleType]:
    """The submission as pytest source imports it (gyms/code/exams.py): by name, and by a star without built-ins.

    A submission's own `sorted`, or `close`, would take part in the verdict otherwise. The tests' own star imports bind
    nothing: one in the first line of their source has done it.
    """
    names = {name: value for name, value in names.items() if not name.startswith("_")}
    new = {name: value for name, value in names.items() if not hasattr(builtins, name)}
    new = {name: value for name, value in new.items() if not name.startswith(_CALLED_BY_PYTEST)}
    solution = _module("solution", names | {"__all__": []})
    return {
        "solution_without_builtins": _module("solution_without_builtins", new),
        "solution_or_builtins": _module("solution_or_builtins", vars(builtins) | names),
        **dict.fromkeys(("solution", *further), solution),
    }


_CALLED_BY_PYTEST = ("test", "Test", "setup", "setUp", "teardown", "tearDown", "pytest")
"""What pytest would call by itself, were it in the tests' module."""


def _module(name: str, names: dict[str, Any]) -> types.ModuleType:
    module = types.ModuleType(name)
    vars(module).update(names)
    return module


class _Plugin:
    """Collects what became of every test."""

    def __init__(self) -> None:
        self.collected: list[str] = []
        self.outcomes: dict[str, str] = {}
        self.reasons: dict[str, str] = {}

    def pytest_collection_finish(self, session: Any) -> None:
        """Which tests there are."""
        self.collected = [item.nodeid for item in session.items]

    def pytest_runtest_logreport(self, report: Any) -> None:
        """A test passed only if its set-up, call and tear-down all did, without an expected failure."""
        word = "xfail" if hasattr(report, "wasxfail") else report.outcome
        seen = self.outcomes.get(report.nodeid, "passed")
        self.outcomes[report.nodeid] = word if seen == "passed" else seen
        if word != "passed":
            self.reasons.setdefault(report.nodeid, str(report.longrepr)[-300:])

    def pytest_collectreport(self, report: Any) -> None:
        """A file that cannot be collected has no tests; say why."""
        if report.failed:
            self.reasons["collection"] = str(report.longrepr)[-300:]


def _run_pytest(body: dict[str, Any], link: remote.Link) -> dict[str, Any]:
    sys.path.insert(0, body["libraries"])
    try:
        import pytest
    except ImportError as error:
        return {"broken": f"pytest cannot be imported in the sandbox: {error}"}
    sys.modules |= _solution_modules(link.exported(), body["module_names"])
    plugin = _Plugin()
    arguments = ["-q", "-c", os.devnull, "--rootdir=.", "--noconftest", "-pno:cacheprovider", "-pno:faulthandler"]
    status = int(pytest.main([*arguments, body["file"]], plugins=[plugin]))
    cases = [[node, plugin.outcomes.get(node, "not run"), plugin.reasons.get(node, "")] for node in plugin.collected]
    collection = plugin.reasons.get("collection", "")
    return {"pytest": cases, "status": status, "collection": collection, "num_calls": link.num_calls}
