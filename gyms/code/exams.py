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
from symtable import SymbolTable, symtable

from gyms.code.asserts import NotPlain, called_names, convert_asserts, parse
from gyms.code.checks import CallTest
from gyms.sandbox.program import Exam

__all__ = [
    "called_first",
    "calls_or_exam",
    "has_instances",
    "imports_in",
    "may_change",
    "with_star_import",
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


def with_star_import(source: str, modules: set[str], reference: str, entry_point: str) -> str:
    """Test source that has in its names what the task lets the submission define, and nothing else of it.

    A star import of the submission (tests that import nothing of it mean one) takes place in the first line and nowhere
    else, so whatever the tests define or import wins; it never brings a built-in (gyms/sandbox/inside/examiner.py).
    What the task names, the functions and classes of its reference and its entry point, is imported by name behind the
    last import, as far as the tests read it and an import or a built-in would hide it. Where the task names nothing and
    the tests read nothing but built-ins, the submission's come before Python's.
    """
    tree = parse(source)
    try:
        table = symtable(source, "tests", "exec")
    except (SyntaxError, RecursionError) as error:  # a parser lets pass: a star import in a function, arguments twice
        raise ValueError(f"test source is not Python: {type(error).__name__}: {error}") from None
    imports = [node for node in ast.walk(tree) if isinstance(node, ast.Import | ast.ImportFrom)]
    own = [node for node in imports if not modules.isdisjoint(_modules_of(node))]
    if own and not any(node.names[0].name == "*" for node in own):
        return source
    read = _globals_read(table)
    assigned = {s.get_name() for s in table.get_symbols() if s.is_assigned()}
    task = _named_by_task(reference, entry_point) - assigned
    names = [alias for node in imports if node not in own for alias in node.names]
    imported = {alias.asname or alias.name.split(".")[0] for alias in names}
    if task:
        hidden = {name for name in task & read if "*" in imported or name in imported or hasattr(builtins, name)}
        taken = f"from solution import {', '.join(sorted(hidden))}" if hidden else ""
    else:
        free = {name for name in read - imported - assigned if not name.startswith("__")}
        is_builtin = free and all(hasattr(builtins, name) for name in free)
        taken = f"from solution_or_builtins import {', '.join(sorted(free))}" if is_builtin else ""
    top = [node for node in tree.body if node in imports]
    future = [node for node in top if getattr(node, "module", "") == "__future__"]
    source = _behind(source, top, taken) if taken else source
    return _behind(source, future, "from solution_without_builtins import *")


def _modules_of(node: ast.Import | ast.ImportFrom) -> list[str]:
    return [node.module or ""] if isinstance(node, ast.ImportFrom) else [alias.name for alias in node.names]


def _named_by_task(reference: str, entry_point: str) -> set[str]:
    try:
        made = _made(parse(reference))
    except ValueError:  # a reference that is not Python names nothing
        made = set()
    return made | {entry_point} if entry_point.isidentifier() else made


def _globals_read(table: SymbolTable) -> set[str]:
    """Names that source reads and that are neither parameters nor locals of a function."""
    is_module = table.get_type() == "module"
    own = {s.get_name() for s in table.get_symbols() if s.is_referenced() and (is_module or s.is_global())}
    return own.union(*map(_globals_read, table.get_children()))


def _behind(source: str, nodes: Sequence[ast.stmt], statement: str) -> str:
    """The source with a statement behind the last of some nodes of its top level, in its line; first without any."""
    if not nodes:
        return f"{statement}\n{source}"
    lines = source.encode().split(b"\n")
    line, end = (nodes[-1].end_lineno or 0) - 1, nodes[-1].end_col_offset or 0
    lines[line] = lines[line][:end] + b"; " + statement.encode() + lines[line][end:]
    return b"\n".join(lines).decode()


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
