"""Programs with tests, as published: rows become `text` and `tests` in this project's own form (gyms/code/plan.py).

HumanEval's and MBPP's rows are read as they are. Where a data set's tests call a method of a class `Solution`, so does
the test here. Tests as pytest source name those that must pass: the functions `test_...` at its top level and in
classes, as pytest collects them.
"""

from __future__ import annotations

import ast
import base64
import io
import json
import pickle
import re
import zlib
from collections.abc import Mapping, Sequence
from typing import Any

from gyms.row_formats.form import RowFormat, text_of

__all__ = ["CODE"]

Row = Mapping[str, Any]
MAX_UNPACKED = 512 << 20
"""Largest set of hidden tests that is unpacked, in bytes."""


def _json(text: Any, what: str) -> Any:
    if not isinstance(text, str):
        return text
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{what} is not JSON ({error!s:.80})") from None


def _asked(question: Any, starter: Any) -> str:
    """The question with the code that an answer begins with, where there is some."""
    text = text_of(question)
    has_code = isinstance(starter, str) and starter.strip()
    return f"{text}\n\nBegin with this code:\n\n```python\n{str(starter).rstrip()}\n```" if has_code else text


def _call(name: str, arguments: Sequence[Any], starter: Any) -> str:
    function = f"Solution().{name}" if isinstance(starter, str) and "class Solution" in starter else name
    return f"{function}({', '.join(map(repr, arguments))})"


def _stdin(given: Any, wanted: Any) -> Row:
    """Some sets hold the lines of a text as a list."""
    stdin, stdout = ("\n".join(map(str, part)) if isinstance(part, list) else part for part in (given, wanted))
    return {"stdin": stdin, "stdout": stdout}


def _inputs_and_outputs(row: Row, packed: Any, question: Any) -> Row:
    """APPS: two lists, and `fn_name` where a function is called rather than a program run.

    The expected value of a call often stands in a list of its own; it is taken out where that is so of every test.
    """
    tests, starter = _json(packed, "input_output"), row.get("starter_code")
    inputs, outputs = tests["inputs"], tests["outputs"]
    if len(inputs) != len(outputs) or not inputs:
        raise ValueError(f"{len(inputs)} inputs and {len(outputs)} outputs; expected as many of each, at least one")
    name = tests.get("fn_name")
    if not name:
        return {"text": _asked(question, starter), "tests": list(map(_stdin, inputs, outputs)), **_solution(row)}
    if all(isinstance(output, list) and len(output) == 1 for output in outputs):
        outputs = [output[0] for output in outputs]
    calls = [
        {"call": _call(name, given, starter), "expected": output} for given, output in zip(inputs, outputs, strict=True)
    ]
    text = _asked(question, starter)
    return {"text": text if starter else f"{text}\n\nName it `{name}`.", "tests": calls, **_solution(row)}


def _solution(row: Row) -> dict[str, str]:
    """The first reference solution; APPS and TACO hold them as JSON text."""
    found = row.get("solutions")
    if isinstance(found, str) and found.strip():
        try:
            found = json.loads(found)
        except (ValueError, RecursionError):
            found = None
    return {"solution": found[0]} if isinstance(found, list) and found and isinstance(found[0], str) else {}


def _livecodebench(row: Row) -> Row:
    starter = row.get("starter_code")
    cases = [
        *_json(row["public_test_cases"], "public_test_cases"),
        *_private_cases(row.get("private_test_cases") or "[]"),
    ]
    name = _json(row.get("metadata") or "{}", "metadata").get("func_name")
    tests: list[Row] = []
    for case in cases:
        if case.get("testtype") == "functional":
            given = [json.loads(line) for line in case["input"].split("\n") if line.strip()]
            tests.append({"call": _call(name, given, starter), "expected": json.loads(case["output"])})
        else:
            tests.append(_stdin(case["input"], case["output"]))
    return {"text": _asked(row["question_content"], starter), "tests": tests}


def _private_cases(packed: Any) -> list[Row]:
    """JSON, or JSON pickled as one text, compressed, in base64; whatever else the pickle holds is refused, not run."""
    if not isinstance(packed, str):
        return list(packed)
    if packed.lstrip().startswith("["):
        return list(_json(packed, "private_test_cases"))
    try:
        unpacking = zlib.decompressobj()
        data = unpacking.decompress(base64.b64decode(packed, validate=True), MAX_UNPACKED)
        if unpacking.unconsumed_tail:
            raise ValueError(f"over {MAX_UNPACKED} bytes")
        text = _TextAlone(io.BytesIO(data)).load()
        if not isinstance(text, str):
            raise ValueError(f"a pickled {type(text).__name__}, expected text")
        return list(_json(text, "private_test_cases"))
    except (ValueError, zlib.error, EOFError, pickle.UnpicklingError, LookupError, AttributeError) as error:
        raise ValueError(f"private_test_cases cannot be unpacked ({error!s:.80})") from None


class _TextAlone(pickle.Unpickler):
    """Reads a pickle of plain values; one that names anything to import is refused."""

    def find_class(self, module: str, name: str) -> Any:
        """Never."""
        raise pickle.UnpicklingError(f"it holds {module}.{name}, expected text")


def _tests_in(body: Sequence[ast.stmt]) -> list[str]:
    """Functions `test...` that pytest collects: a fixture of such a name is none."""
    functions = [node for node in body if isinstance(node, ast.FunctionDef) and node.name.startswith("test")]
    return [node.name for node in functions if not any("fixture" in ast.unparse(d) for d in node.decorator_list)]


def _is_collected(node: ast.ClassDef) -> bool:
    """Whether pytest collects a class: unittest's, or `Test...` without an `__init__` or `__test__ = False`."""
    if any(ast.unparse(base).endswith("TestCase") for base in node.bases):
        return True
    methods = {part.name for part in node.body if isinstance(part, ast.FunctionDef)}
    is_refused = any(ast.unparse(part) == "__test__ = False" for part in node.body)
    return node.name.startswith("Test") and not methods & {"__init__", "__new__"} and not is_refused


def _kodcode(row: Row) -> Row:
    source = row.get("test") or row["test_code"]
    try:
        tree = ast.parse(source)
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        raise ValueError(f"its tests are not valid Python ({error!s:.80})") from None
    names = _tests_in(tree.body)
    for node in tree.body:
        if isinstance(node, ast.ClassDef) and _is_collected(node):
            names += [f"{node.name}::{name}" for name in _tests_in(node.body)]
    if not names:
        raise ValueError("its tests have no function `test_...` that pytest collects, at the top level or in a class")
    told = [
        entry["function_declaration"]
        for entry in row.get("test_info") or []
        if isinstance(entry, Mapping) and isinstance(entry.get("function_declaration"), str)
    ]
    text = text_of(row["question"])
    if told:
        text += "\n\nDefine:\n\n```python\n" + "\n".join(told) + "\n```"
    solution = row.get("solution")
    return {
        "text": text,
        "tests": [{"pytest": source, "ids": list(dict.fromkeys(names))}],
        **({"solution": solution} if isinstance(solution, str) else {}),
    }


def _acecode(row: Row) -> Row:
    tests = _json(row["test_cases"], "test_cases")
    first = re.match(r"\s*assert\s+\(*\s*([A-Za-z_]\w*)\(", tests[0])
    text = text_of(row["question"])
    name = first.group(1) if first else ""
    return {"text": f"{text}\n\nName it `{name}`." if name and name not in text else text, "tests": list(tests)}


def _prime(row: Row) -> Row:
    return _inputs_and_outputs(row, row["reward_model"]["ground_truth"], row["prompt"])


CODE: tuple[RowFormat, ...] = (
    RowFormat(
        name="apps",
        kind="code",
        published="APPS, TACO: question, input_output (JSON text of inputs, outputs, fn_name), starter_code, solutions",
        needs=("question", "input_output"),
        lacks=("tests",),
        convert=lambda row: _inputs_and_outputs(row, row["input_output"], row["question"]),
    ),
    RowFormat(
        name="livecodebench",
        kind="code",
        published="LiveCodeBench's code_generation_lite: public_test_cases, private_test_cases, metadata.func_name",
        needs=("question_content", "public_test_cases"),
        convert=_livecodebench,
    ),
    RowFormat(
        name="kodcode",
        kind="code",
        published="KodCode-V1: question, solution, test_code, pytest source that imports from `solution`",
        needs=("question", "solution", "test_code"),
        convert=_kodcode,
    ),
    RowFormat(
        name="kodcode-light",
        kind="code",
        published="KodCode-Light-RL-10K: question, solution, test, test_info",
        needs=("question", "solution", "test", "test_info"),
        convert=_kodcode,
    ),
    RowFormat(
        name="acecode",
        kind="code",
        published="AceCode-87K: question, and test_cases, a list of asserts",
        needs=("question", "test_cases"),
        lacks=("tests",),
        convert=_acecode,
    ),
    RowFormat(
        name="prime-code",
        kind="code",
        published="Eurus-2-RL-Data's programs, and verl's: ground_truth is JSON text of inputs and outputs",
        needs=("prompt", "reward_model.ground_truth"),
        lacks=("tests",),
        convert=_prime,
    ),
)
