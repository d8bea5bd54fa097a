"""Asserts as an exam: test code as it is, in a job of its own, which calls the submission and sees only plain data.

What may cross is the least that the tests need, read off their source:

- *Handles* of the submission's objects where the tests make instances of its classes. They have methods; they answer no
  comparison (gyms/sandbox/inside/remote.py).
- *Changes of arguments* (`sort_it(xs)`; `assert xs == [1, 2]`), except where the tests hand the same variable to other
  functions: `assert f(xs) == reference(xs)` would let a submission choose the question that it answers.
"""

from __future__ import annotations

import ast
import builtins
from collections.abc import Sequence
from symtable import symtable

from gyms.code.asserts import NotPlain, called_names, convert_asserts, parse
from gyms.code.checks import CallTest
from gyms.sandbox.program import Exam

__all__ = [
    "called_first",
    "calls_or_exam",
    "has_instances",
    "imports_in",
    "may_change",
    "names_of_task",
    "with_star_imports",
]


def calls_or_exam(
    asserts: Sequence[str], setup: Sequence[str], reference: str, entry_point: str
) -> tuple[list[CallTest], Exam | None]:
    """One call for each assert where all can be split, and otherwise one exam.

    Args:
        setup: trusted source that the tests rely on.
        reference: a solution, or nothing; its names are the submission's, even where a built-in has them.
    """
    trees = [parse(source) for source in asserts]
    own = frozenset(_defined(parse(reference))) | ({entry_point} - {""})
    try:
        return [test for tree in trees for test in convert_asserts(tree.body, {}, own)], None
    except NotPlain:
        pass
    known = {name for source in setup for name in _defined(parse(source))}
    proxied = set().union(*(called_names(tree, own) for tree in trees)) - known
    proxied -= {name for tree in trees for name in _bound(tree)}
    if not proxied:
        raise ValueError("the asserts call no function of the submission")
    whole = parse("\n".join(ast.unparse(tree) for tree in trees))
    exam = Exam(
        tests=ast.unparse(whole),
        prelude=tuple(source for source in (reference, *setup) if source.strip()),
        proxies={name: name for name in sorted(proxied)},
        allows_handles=has_instances(whole),
        allows_changes=may_change(whole, proxied),
    )
    return [], exam


def called_first(test: str, reference: str) -> str:
    """The function of the submission that an assert calls, to be named in a prompt; empty where that is not clear."""
    try:
        tree, own = parse(test), frozenset(_defined(parse(reference)))
    except ValueError:
        return ""
    names = called_names(tree, own)
    names = names & own or names
    return min(names, key=test.find) if names else ""


def has_instances(tree: ast.AST) -> bool:
    """Whether tests call something with a capital letter that is not built in: they make instances."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name | ast.Attribute):
            name = node.func.id if isinstance(node.func, ast.Name) else node.func.attr
            if name[:1].isupper() and not hasattr(builtins, name):
                return True
    return False


def may_change(tree: ast.AST, functions: set[str]) -> bool:
    """Whether changes that the submission makes to its arguments may reach the tests.

    `functions`: the submission's, by the names that the tests call them by.
    """
    given: set[str] = set()
    elsewhere: set[str] = set()
    for node in ast.walk(tree):
        if not isinstance(node, ast.Call):
            continue
        arguments = [*node.args, *(keyword.value for keyword in node.keywords)]
        names = {part.id for argument in arguments for part in ast.walk(argument) if isinstance(part, ast.Name)}
        if isinstance(node.func, ast.Name) and node.func.id in functions:
            given |= names
        elif not isinstance(node.func, ast.Name) or not hasattr(builtins, node.func.id):
            elsewhere |= names
    return not given & elsewhere


def imports_in(sources: Sequence[str]) -> tuple[str, ...]:
    """The imports at the top level of set-up source, to be run before the submission too; ValueError if not Python."""
    found = [
        ast.unparse(node)
        for source in sources
        for node in parse(source).body
        if isinstance(node, ast.Import | ast.ImportFrom)
        and getattr(node, "module", "") not in ("__future__", "solution")
    ]
    return tuple(dict.fromkeys(found))


def names_of_task(source: str, reference: str, entry_point: str) -> dict[str, bool]:
    """Names that a star import takes from the submission although the tests, or Python, have them; and whether it must.

    They are what the reference makes at its top level, but for what the tests make themselves, and the entry point.
    Where there is neither, and the tests name nothing but built-ins, those that they call may be the submission's.
    """
    tree = parse(source)
    try:
        made = _made(parse(reference))
        of_tests = {part.get_name() for part in symtable(source, "tests", "exec").get_symbols() if part.is_assigned()}
    except (ValueError, SyntaxError):  # a reference that is not Python names nothing
        made, of_tests = set(), set()
    own = (made - of_tests) | ({entry_point} if entry_point.isidentifier() else set())
    if own:
        return dict.fromkeys(sorted(own), True)
    bound = _bound(tree) | {node.arg for node in ast.walk(tree) if isinstance(node, ast.arg)}
    named = {node.id for node in ast.walk(tree) if isinstance(node, ast.Name)} - bound
    called = {node.func.id for node in ast.walk(tree) if isinstance(node, ast.Call) and isinstance(node.func, ast.Name)}
    return dict.fromkeys(sorted(called & named), False) if all(hasattr(builtins, name) for name in named) else {}


def with_star_imports(source: str, modules: set[str]) -> str:
    """Test source that imports the submission by a star where it did not import it, and again behind its last import.

    So an import of the tests does not hide the function under test; what such an import binds is decided where it is
    run (gyms/sandbox/inside/examiner.py).
    """
    tree = parse(source)
    nodes = [node for node in ast.walk(tree) if isinstance(node, ast.Import | ast.ImportFrom)]
    has_any = any(_names_module(node, modules) for node in nodes)
    if has_any and not any(_names_module(node, modules) and node.names[0].name == "*" for node in nodes):
        return source
    imports = [node for node in tree.body if node in nodes]
    future = [node for node in imports if getattr(node, "module", "") == "__future__"]
    lines = source.encode().split(b"\n")
    for node in dict.fromkeys([*imports[-1:], *([] if has_any else future[-1:])]):
        assert node.end_lineno is not None
        line, end = lines[node.end_lineno - 1], node.end_col_offset
        lines[node.end_lineno - 1] = line[:end] + b"; " + _STAR + line[end or 0 :]
    return b"\n".join(lines if has_any or future else [_STAR, *lines]).decode()


_STAR = b"from solution import *"


def _names_module(node: ast.Import | ast.ImportFrom, modules: set[str]) -> bool:
    names = [node.module] if isinstance(node, ast.ImportFrom) else [alias.name for alias in node.names]
    return not modules.isdisjoint(names)


def _made(tree: ast.Module) -> set[str]:
    """Names that source makes at its top level: functions, classes, and values that are not written out."""
    found: set[str] = set()
    for node in tree.body:
        if isinstance(node, ast.FunctionDef | ast.ClassDef | ast.AsyncFunctionDef):
            found.add(node.name)
        elif isinstance(node, ast.Assign) and isinstance(node.value, ast.Lambda | ast.Name | ast.Attribute | ast.Call):
            found |= {target.id for target in node.targets if isinstance(target, ast.Name)}
    return found


def _defined(tree: ast.Module) -> set[str]:
    """Names that source makes or imports at its top level."""
    imports = [node for node in tree.body if isinstance(node, ast.Import | ast.ImportFrom)]
    return _made(tree) | {(alias.asname or alias.name).split(".")[0] for node in imports for alias in node.names}


def _bound(tree: ast.Module) -> set[str]:
    """Names that tests bind anywhere: these are not the submission's."""
    stored = {node.id for node in ast.walk(tree) if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store)}
    return _defined(tree) | stored
