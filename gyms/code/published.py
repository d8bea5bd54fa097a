"""Tests under the names that published data sets give them, as this gym's own form; and EvalPlus's tables as data.

APPS, TACO, LiveCodeBench, DeepCoder and their like:

    {"input": "1 2\\n", "output": "3\\n"}                  standard input and output
    {"input": [1, 2], "output": 3, "fn_name": "add"}     a call: arguments as a list, or as lines of JSON
    {"inputs": [...], "outputs": [...], "fn_name": ...}  many of either kind in one object
    inputs = [[1, 2]]; results = [3]; for ...: assertion(f(*inp), exp, 0)     HumanEval+ and MBPP+

The name of the function may stand in the test (`fn_name`, `func_name`, `metadata.func_name`) or in the task. EvalPlus's
`assertion` compares with `==`, and floats by numpy's `allclose`; as data it needs no numpy, and results stay outside.
"""

from __future__ import annotations

import ast
import json
from collections.abc import Mapping, Sequence
from typing import Any

from gyms.code.asserts import NotPlain, constant
from gyms.code.checks import CallTest, Check
from gyms.sandbox.inside import values
from gyms.sandbox.program import Call

__all__ = ["LEETCODE", "evalplus_tests", "in_own_form", "listed"]

LEETCODE = """
import array, bisect, collections, copy, datetime, functools, heapq, itertools, json, math, operator, random, re
import statistics, string, sys
from bisect import bisect_left, bisect_right, insort
from collections import ChainMap, Counter, OrderedDict, defaultdict, deque, namedtuple
from functools import cache, cmp_to_key, lru_cache, partial, reduce
from heapq import heapify, heappop, heappush, heappushpop, heapreplace, nlargest, nsmallest
from itertools import accumulate, chain, combinations, count, cycle, groupby, pairwise, permutations, product
from math import ceil, comb, factorial, floor, gcd, inf, isqrt, lcm, log, log2, sqrt
from typing import *
"""
"""What LeetCode and the harnesses of its data sets import before a program: its starters use `List` as it is. No name
hides a built-in."""
_ABSOLUTE = 1e-6
"""`atol` that EvalPlus gives to floats where its table says 0."""


def listed(tests: Any) -> Any:
    """Tests as a list, where they are JSON text or APPS's object of two lists; anything else as it is."""
    if isinstance(tests, str):
        try:
            tests = json.loads(tests)
        except (ValueError, RecursionError):
            raise ValueError("tests is text, and not JSON") from None
    if not isinstance(tests, Mapping) or not {"inputs", "outputs"} <= tests.keys():
        return tests
    inputs, outputs = tests["inputs"], tests["outputs"]
    if not isinstance(inputs, list) or not isinstance(outputs, list) or len(inputs) != len(outputs):
        raise ValueError("tests.inputs and tests.outputs: expected two lists of one length")
    name = {"fn_name": tests["fn_name"]} if tests.get("fn_name") else {}
    if name and all(isinstance(output, list) and len(output) == 1 for output in outputs):
        outputs = [output[0] for output in outputs]  # APPS wraps the value of each call
    return [{"input": given, "output": wanted, **name} for given, wanted in zip(inputs, outputs, strict=True)]


def in_own_form(test: Mapping[str, Any], data: Mapping[str, Any]) -> Mapping[str, Any]:
    """A test with the keys `input` and `output` as `stdin` and `stdout`, or as a `call`; other tests as they are."""
    if "output" not in test or {"call", "stdout", "assert", "pytest"} & test.keys():
        return test
    given, wanted = test.get("input", ""), test["output"]
    rest = {key: test[key] for key in ("comparator", "tolerance") if key in test}
    name = _function_name(test, data)
    if not name:
        stdin, stdout = ("\n".join(map(str, part)) if isinstance(part, list) else part for part in (given, wanted))
        return {"stdin": stdin, "stdout": stdout, **rest}
    if isinstance(given, str):
        given = [_json(line, "input") for line in given.split("\n") if line.strip()]
        wanted = _json(wanted, "output") if isinstance(wanted, str) else wanted
    if not isinstance(given, list):
        raise ValueError(f"input of a call of {name} is {type(given).__name__}, expected a list of arguments")
    return {"call": f"{name}({', '.join(map(repr, given))})", "expected": wanted, **rest}


def _function_name(test: Mapping[str, Any], data: Mapping[str, Any]) -> str:
    kind = test.get("type") or test.get("testtype") or ""
    if kind in ("stdin", "stdin_stdout"):
        return ""
    places = [test, test.get("metadata"), data, data.get("metadata")]
    names = [place.get(key) for place in places if isinstance(place, Mapping) for key in ("fn_name", "func_name")]
    name = next((name for name in names if isinstance(name, str) and name), "")
    if not name and kind in ("functional", "function_call"):
        raise ValueError(f"a test of the type {kind!r} needs fn_name")
    if name and not all(part.isidentifier() for part in name.removeprefix("Solution().").split(".")):
        raise ValueError(f"fn_name = {name!r}: expected the name of a function")
    starter = " ".join(str(data.get(key) or "") for key in ("starter_code", "prompt", "text"))
    return f"Solution().{name}" if "class Solution" in starter and "." not in name else name


def _json(text: str, what: str) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        raise ValueError(f"{what} of a call is not JSON: {text!r:.60}") from None


def evalplus_tests(body: Sequence[ast.stmt], function: str, names: Mapping[str, str]) -> list[CallTest]:
    """The tests of EvalPlus's table in the body of `check`, or of a module; NotPlain where there is none.

    Args:
        function: the submission's function.
        names: names that the table may call it by, such as `candidate`, each with `function` as value.
    """
    tables: dict[str, Any] = {}
    for statement in body:
        if isinstance(statement, ast.Assign) and len(statement.targets) == 1:
            target = statement.targets[0]
            if isinstance(target, ast.Name) and target.id in ("inputs", "results"):
                tables[target.id] = constant(statement.value)
    loops = [statement for statement in body if isinstance(statement, ast.For)]
    if len(loops) != 1 or not all(isinstance(tables.get(name), list) for name in ("inputs", "results")):
        raise NotPlain("no table of inputs and results")
    tolerance = _asserted(loops[0], {function, *names})
    inputs, results = tables["inputs"], tables["results"]
    if len(inputs) != len(results) or not inputs or not all(isinstance(given, list) for given in inputs):
        raise NotPlain("inputs and results of different lengths")
    tests = []
    for given, wanted in zip(inputs, results, strict=True):
        try:
            values.encode([given, wanted])
        except (TypeError, ValueError) as error:
            raise NotPlain(str(error)) from None
        absolute = _ABSOLUTE if tolerance == 0 and _is_floats(wanted) else tolerance
        check = Check(expected=wanted, operation="allclose" if absolute else "==", tolerance=1e-7, absolute=absolute)
        label = f"{function}({', '.join(map(repr, given))})" if len(given) < 50 else f"{function}(...)"
        tests.append(CallTest(id=label[:200], call=Call(function=function, arguments=tuple(given)), check=check))
    return tests


def _asserted(loop: ast.For, functions: set[str]) -> float:
    """The tolerance in `for ..., (inp, exp) in enumerate(zip(inputs, results)): assertion(f(*inp), exp, 0)`."""
    if ast.unparse(loop.iter) != "enumerate(zip(inputs, results))" or len(loop.body) != 1:
        raise NotPlain("another loop")
    call = loop.body[0].value if isinstance(loop.body[0], ast.Expr) else None
    if not isinstance(call, ast.Call) or ast.unparse(call.func) != "assertion" or len(call.args) != 3:
        raise NotPlain("another assertion")
    subject, wanted, tolerance = call.args
    if ast.unparse(wanted) != "exp" or ast.unparse(subject) not in {f"{name}(*inp)" for name in functions}:
        raise NotPlain("another subject")
    found = constant(tolerance)
    if not isinstance(found, int | float):
        raise NotPlain("a tolerance that is no number")
    return float(found)


def _is_floats(value: Any) -> bool:
    if isinstance(value, list | tuple):
        return all(isinstance(part, float) for part in value)
    return isinstance(value, float)
