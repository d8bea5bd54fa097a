"""Assert statements as data: `assert add(1, 2) == 3` is a call with literal arguments, and a value to compare with.

Only the call goes into the sandbox. So the side of the assert that goes there may hold no expected value: it is a call
of the submission, perhaps wrapped in conversions (`sorted(f(x))`, `round(f(x), 2)`, `f(x)[0]`), and never a comparison
or arithmetic around one; those are done here, on the value that comes back. What cannot be split this way
(`assert f(x) == g(y)`, loops, `isinstance`) is left to the exam: the test code as it is, in a job of its own.
"""

from __future__ import annotations

import ast
import builtins
import copy
import math
from collections.abc import Mapping
from typing import Any

from gyms.code.checks import CallTest, Check
from gyms.sandbox.inside import values
from gyms.sandbox.program import Call

__all__ = ["NotPlain", "called_names", "constant", "convert_asserts", "parse", "parse_call"]

MAX_SOURCE_CHARS = 5_000_000
WRAPPERS = frozenset(
    {"dict", "float", "frozenset", "int", "len", "list", "max", "min", "round", "set", "sorted", "str", "sum", "tuple"}
)
"""Built-ins that may stand around the submission's call: they turn a value into another and know no expected one."""
_COMPARISONS: Mapping[type[ast.cmpop], tuple[str, str]] = {
    ast.Eq: ("==", "=="),
    ast.NotEq: ("!=", "!="),
    ast.Lt: ("<", ">"),
    ast.LtE: ("<=", ">="),
    ast.Gt: (">", "<"),
    ast.GtE: (">=", "<="),
    ast.Is: ("is", "is"),
    ast.IsNot: ("is not", "is not"),
    ast.In: ("in", "contains"),
    ast.NotIn: ("not in", "contains not"),
}
"""Operator with the value on the left, and with the value on the right."""
_MAX_POWER_BITS = 100_000


class NotPlain(ValueError):
    """The source is not of the form that can be split into a call and a value."""


def parse(source: str) -> ast.Module:
    """The syntax tree of trusted test source; ValueError where there is none."""
    if len(source) > MAX_SOURCE_CHARS:
        raise ValueError(f"test source of {len(source)} characters; at most {MAX_SOURCE_CHARS} are read")
    try:
        return ast.parse(source)
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        raise ValueError(f"test source is not Python: {type(error).__name__}: {error}") from None


def parse_call(source: str) -> Call:
    """`add(1, 2)` as a call; ValueError where the source is not one call of the submission."""
    body = parse(source.strip()).body
    if len(body) != 1 or not isinstance(body[0], ast.Expr):
        raise ValueError(f"{source!r:.100} is not one expression")
    try:
        return _subject(body[0].value)
    except NotPlain as error:
        raise ValueError(f"{source!r:.100}: {error}; expected a call such as add(1, 2)") from None


def convert_asserts(
    statements: list[ast.stmt], aliases: Mapping[str, str], own: frozenset[str] = frozenset()
) -> list[CallTest]:
    """One test for each assert; NotPlain where any statement cannot be split; `assert True` goes.

    `aliases`: names in the asserts -> functions of the submission (`candidate`). `own`: names that are the submission's
    even where a built-in has them (one published task wants a function `sum`).
    """
    tests = []
    for statement in statements:
        if isinstance(statement, ast.Pass) or _is_remark(statement):
            continue
        if not isinstance(statement, ast.Assert):
            raise NotPlain(f"a {type(statement).__name__} statement")
        if isinstance(statement.test, ast.Constant):
            if not statement.test.value:
                raise NotPlain("an assert that never holds")
            continue
        label = ast.unparse(statement.test)[:200]
        call, check = _split(_renamed(statement.test, aliases), own)
        tests.append(CallTest(id=label, call=call, check=check))
    return tests


def called_names(tree: ast.AST, own: frozenset[str] = frozenset()) -> set[str]:
    """Names of functions called that are not built in, or are the submission's nevertheless."""
    calls = (node.func for node in ast.walk(tree) if isinstance(node, ast.Call))
    names = {func.id for func in calls if isinstance(func, ast.Name)}
    return {name for name in names if name in own or not hasattr(builtins, name)}


def _is_remark(statement: ast.stmt) -> bool:
    """A docstring, or a bare name such as the `print` in one published test."""
    return isinstance(statement, ast.Expr) and isinstance(statement.value, ast.Constant | ast.Name)


def _renamed(test: ast.expr, aliases: Mapping[str, str]) -> ast.expr:
    return _Renamer(aliases).visit(copy.deepcopy(test)) if aliases else test


class _Renamer(ast.NodeTransformer):
    """Puts what a name stands for in its place: `candidate` -> `Solution().add`."""

    def __init__(self, aliases: Mapping[str, str]) -> None:
        self._aliases = aliases

    def visit_Name(self, node: ast.Name) -> ast.expr:
        """The expression behind an alias."""
        return ast.parse(self._aliases[node.id], mode="eval").body if node.id in self._aliases else node


def _split(test: ast.expr, own: frozenset[str]) -> tuple[Call, Check]:
    if isinstance(test, ast.UnaryOp) and isinstance(test.op, ast.Not):
        return _subject(test.operand, own), Check(expected=False, operation="truth")
    if isinstance(test, ast.Compare):
        if len(test.ops) != 1:
            raise NotPlain("a chained comparison")
        return _split_comparison(test, own)
    if isinstance(test, ast.Call) and _is_isclose(test.func):
        return _split_isclose(test, own)
    return _subject(test, own), Check(expected=True, operation="truth")


def _split_comparison(test: ast.Compare, own: frozenset[str]) -> tuple[Call, Check]:
    left, op, right = test.left, test.ops[0], test.comparators[0]
    forward, backward = _COMPARISONS[type(op)]
    if isinstance(left, ast.Call) and isinstance(left.func, ast.Name) and left.func.id == "abs" and "abs" not in own:
        if not isinstance(op, ast.Lt | ast.LtE) or len(left.args) != 1 or not isinstance(left.args[0], ast.BinOp):
            raise NotPlain("a distance that is not compared with <")
        difference = left.args[0]
        if not isinstance(difference.op, ast.Sub):
            raise NotPlain("abs of something else than a difference")
        call, expected = _subject_and_constant(difference.left, difference.right, own)
        operation = "near" if isinstance(op, ast.Lt) else "near or at"
        return call, Check(expected=expected, operation=operation, tolerance=float(constant(right)))
    try:
        expected = constant(right)
    except NotPlain:
        return _subject(right, own), Check(expected=constant(left), operation=backward)
    return _subject(left, own), Check(expected=expected, operation=forward)


def _subject_and_constant(a: ast.expr, b: ast.expr, own: frozenset[str]) -> tuple[Call, Any]:
    try:
        return _subject(a, own), constant(b)
    except NotPlain:
        return _subject(b, own), constant(a)


def _is_isclose(func: ast.expr) -> bool:
    return (isinstance(func, ast.Attribute) and func.attr == "isclose" and ast.unparse(func.value) == "math") or (
        isinstance(func, ast.Name) and func.id == "isclose"
    )


def _split_isclose(test: ast.Call, own: frozenset[str]) -> tuple[Call, Check]:
    if len(test.args) != 2 or not {keyword.arg for keyword in test.keywords} <= {"rel_tol", "abs_tol"}:
        raise NotPlain("an unusual isclose")
    tolerances = {keyword.arg: float(constant(keyword.value)) for keyword in test.keywords}
    call, expected = _subject_and_constant(test.args[0], test.args[1], own)
    relative, absolute = tolerances.get("rel_tol", 1e-9), tolerances.get("abs_tol", 0.0)
    return call, Check(expected=expected, operation="isclose", tolerance=relative, absolute=absolute)


def _subject(node: ast.expr, own: frozenset[str] = frozenset()) -> Call:
    """The call of the submission in a side of an assert; NotPlain where the side is not one."""
    _require_subject(node, own)
    wrappers = WRAPPERS - own
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id not in wrappers:
        try:
            arguments = tuple(constant(argument) for argument in node.args)
            keywords = {str(k.arg): constant(k.value) for k in node.keywords if k.arg is not None}
            if len(keywords) == len(node.keywords):
                values.encode([list(arguments), keywords])
                return Call(function=node.func.id, arguments=arguments, keywords=keywords)
        except (NotPlain, TypeError):
            pass  # arguments that are names or made by the submission's classes: the expression itself goes in
    return Call(expression=ast.unparse(node))


def _require_subject(node: ast.expr, own: frozenset[str]) -> None:
    if isinstance(node, ast.Subscript):
        constant_index(node.slice)
        _require_subject(node.value, own)
    elif isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
        if isinstance(node.func.value, ast.Constant):
            raise NotPlain("a method of a literal")
        _refuse_verdicts(node)
    elif isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
        name = node.func.id
        if name in WRAPPERS - own and node.args:
            _require_subject(node.args[0], own)
            for other in [*node.args[1:], *(keyword.value for keyword in node.keywords)]:
                constant(other)
        elif hasattr(builtins, name) and name not in own:
            raise NotPlain(f"a call of {name}")
        else:
            _refuse_verdicts(node)
    else:
        raise NotPlain(f"a {type(node).__name__}, not a call")


def constant_index(node: ast.expr) -> None:
    """Raise NotPlain unless a subscript is a literal or a slice of literals."""
    parts = [node.lower, node.upper, node.step] if isinstance(node, ast.Slice) else [node]
    for part in parts:
        if part is not None:
            constant(part)


def _refuse_verdicts(node: ast.Call) -> None:
    """Arguments that compare may hold expected values."""
    for part in ast.walk(node):
        if isinstance(part, ast.Compare | ast.BoolOp | ast.Lambda | ast.NamedExpr | ast.Await | ast.Yield):
            raise NotPlain(f"a {type(part).__name__} among the arguments")


def constant(node: ast.expr) -> Any:
    """The value of a literal, of arithmetic on literals, or of a conversion of one; NotPlain otherwise."""
    try:
        return ast.literal_eval(node)
    except (ValueError, TypeError, SyntaxError, MemoryError, RecursionError):
        pass
    if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.USub | ast.UAdd):
        value = constant(node.operand)
        if isinstance(value, int | float | complex):
            return -value if isinstance(node.op, ast.USub) else +value
    if isinstance(node, ast.BinOp):
        return _arithmetic(node.op, constant(node.left), constant(node.right))
    if isinstance(node, ast.Tuple | ast.List | ast.Set):
        parts = [constant(part) for part in node.elts]
        return tuple(parts) if isinstance(node, ast.Tuple) else parts if isinstance(node, ast.List) else set(parts)
    if isinstance(node, ast.Dict) and all(key is not None for key in node.keys):
        pairs = zip(node.keys, node.values, strict=True)
        return {constant(key): constant(value) for key, value in pairs if key is not None}
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and not node.keywords and len(node.args) <= 1:
        return _conversion(node.func.id, [constant(argument) for argument in node.args])
    raise NotPlain(f"{ast.unparse(node)[:60]} is not a literal")


def _conversion(name: str, arguments: list[Any]) -> Any:
    kinds = {"set": set, "frozenset": frozenset, "tuple": tuple, "list": list, "sorted": sorted, "float": float}
    if name not in kinds or (name == "sorted" and not arguments):
        raise NotPlain(f"a call of {name}")
    try:
        return kinds[name](*arguments)
    except (TypeError, ValueError):
        raise NotPlain(f"a call of {name}") from None


def _arithmetic(op: ast.operator, a: Any, b: Any) -> Any:
    if not isinstance(a, int | float | complex) or not isinstance(b, int | float | complex):
        raise NotPlain("arithmetic on something else than numbers")
    try:
        if isinstance(op, ast.Add):
            return a + b
        if isinstance(op, ast.Sub):
            return a - b
        if isinstance(op, ast.Mult):
            return a * b
        if isinstance(op, ast.Div):
            return a / b
        if isinstance(op, ast.FloorDiv) and not isinstance(a, complex) and not isinstance(b, complex):
            return a // b
        if isinstance(op, ast.Mod) and not isinstance(a, complex) and not isinstance(b, complex):
            return a % b
        if isinstance(op, ast.Pow) and not (isinstance(a, complex) or isinstance(b, complex)):
            if isinstance(a, int) and isinstance(b, int) and abs(b) * math.log2(abs(a) + 2) > _MAX_POWER_BITS:
                raise NotPlain("a power that is too large")
            return a**b
    except ArithmeticError as error:
        raise NotPlain(str(error)) from None
    raise NotPlain(f"{type(op).__name__} on numbers")
