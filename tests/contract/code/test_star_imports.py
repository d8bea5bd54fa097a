"""`from solution import *` in pytest source: what the task is to define is tested, and nothing else comes in."""

from __future__ import annotations

from typing import Any

import pytest

from gyms.api import Score, Services, Status, Task
from gyms.code.gym import Code, CodeSettings
from gyms.sandbox import Sandbox


def score(sandbox: Sandbox, data: dict[str, Any], code: str) -> Score:
    gym = Code(CodeSettings(), Services(sandbox=sandbox))
    return gym.score(Task(id="t", prompt=(), data=data), f"```python\n{code}\n```")


@pytest.mark.parametrize("first_line", ["from solution import *", "import math\nfrom solution import *  # all", ""])
def test_a_star_import_brings_no_builtin_of_the_submissions(sandbox: Sandbox, first_line: str) -> None:
    body = "    assert sorted(f(3)) == [0, 1, 2]\n    assert abs(f(3)[0] - 0) < 1e-9\n"
    source = f"{first_line}\ndef test_one():\n{body}"
    task = {"prompt": "x", "tests": [{"pytest": source, "ids": ["test_one"]}]}
    forged = "def f(n):\n    return [5]\ndef sorted(xs):\n    return [0, 1, 2]\ndef abs(x):\n    return 0\n"
    assert score(sandbox, task, forged).value == 0.0
    assert score(sandbox, task, "def f(n):\n    return [0, 1, 2]\nabs = 3").value == 1.0


def test_a_star_import_brings_the_builtin_that_the_task_wants(sandbox: Sandbox) -> None:
    for data in ({}, {"entry_point": "pow"}, {"solution": "def pow(a, b):\n    return a**b"}):
        source = "from solution import *\ndef test_one():\n    assert pow(2, 3) == 8\n"
        task = {"prompt": "x", "tests": [{"pytest": source, "ids": ["test_one"]}], **data}
        assert score(sandbox, task, "def pow(a, b):\n    return a**b").value == 1.0
        assert score(sandbox, task, "def pow(a, b):\n    return a * b").value == 0.0


@pytest.mark.parametrize("line", ["WANT = 8", "import os.path\nWANT = 8 if os.path else 0"])
def test_what_the_tests_make_themselves_is_no_name_that_they_want_of_a_submission(sandbox: Sandbox, line: str) -> None:
    source = f"from solution import *\n{line}\ndef test_one():\n    assert pow(2, 3) == WANT\n"
    task = {"prompt": "x", "tests": [{"pytest": source, "ids": ["test_one"]}]}
    assert score(sandbox, task, "def pow(a, b):\n    return a**b").value == 1.0
    assert score(sandbox, task, "def pow(a, b):\n    return a * b").value == 0.0


@pytest.mark.parametrize("tests", ["def test_a():\n    from solution import *", "def test_a(x, x):\n    assert f(x)"])
def test_tests_that_no_python_compiles_are_a_bad_task(sandbox: Sandbox, tests: str) -> None:
    found = score(sandbox, {"prompt": "x", "tests": [{"pytest": tests, "ids": ["test_a"]}]}, "def f(x):\n    return x")
    assert found.status is Status.BAD_TASK and "test source is not Python" in found.detail


FACT = "def factorial(n):\n    return 1 if n < 2 else n * factorial(n - 1)"
STARS: dict[str, tuple[str, str, list[str]]] = {
    "a star of a module before": (
        "from math import *\nfrom solution import *\ndef test_a():\n    assert factorial(5) == 120",
        FACT,
        ["x = 1", "def factorial(n):\n    return 7"],
    ),
    "a star of a module behind": (
        "from solution import *\nfrom math import *\ndef test_a():\n    assert factorial(5) == 120 and sqrt(4) == 2",
        FACT,
        ["x = 1", "def sqrt(n):\n    return 2", "def factorial(n):\n    return 7"],
    ),
    "an import of the same name": (
        "from math import factorial\nfrom solution import *\ndef test_a():\n    assert factorial(5) == 120",
        FACT,
        ["x = 1", "def factorial(n):\n    return 7"],
    ),
    "names that the interpreter may lack": (
        "import pytest\nfrom solution import *\n@pytest.mark.parametrize('license', ['MIT'])\n"
        "def test_a(license):\n    assert __debug__ and __name__ and f(license) == 'MIT'\n"
        "def test_b():\n    f(exit if False else 'MIT')",
        "def f(x):\n    return x",
        ["def f(x):\n    return 1"],
    ),
    "names of the tests' own": (
        "def close(a, b):\n    return abs(a - b) < EPS\nEPS = 1e-6\nfrom solution import *\n"
        "def test_a():\n    assert close(f(1), 2.0)",
        "def f(x):\n    return x + 1.0",
        ["def f(x):\n    return 9\ndef close(a, b):\n    return True", "def f(x):\n    return 9\nEPS = 100"],
    ),
    "a built-in's name by assignment": (
        "from solution import *\ndef test_a():\n    assert f(hash(-1)) == 1 and sorted([2, 1]) == [1, 2]",
        "hash = lambda x: x * x\ndef f(x):\n    return x",
        ["def f(x):\n    return 1 if x == -2 else 0", "hash = abs\ndef f(x):\n    return 7"],
    ),
    "a module that the tests make": (
        "from __future__ import annotations\nimport sys, types\nsys.modules['db'] = types.ModuleType('db')\nimport db\n"
        "def test_a():\n    assert f(1) == 2",
        "def f(x):\n    return x + 1",
        ["def f(x):\n    return x"],
    ),
}


@pytest.mark.parametrize("name", STARS)
def test_a_star_import_binds_what_the_task_wants_and_leaves_what_the_tests_have(sandbox: Sandbox, name: str) -> None:
    source, right, wrong = STARS[name]
    task = {"prompt": "x", "tests": [{"pytest": source, "ids": ["test_a"]}], "solution": right}
    found = score(sandbox, task, right)
    assert found.value == 1.0, found.cases
    for other in wrong:
        assert score(sandbox, task, other).value == 0.0, other


def test_pytest_source_that_passes_without_a_call_pays_nothing(sandbox: Sandbox) -> None:
    source = "from math import *\nfrom solution import *\ndef test_a():\n    assert factorial(5) == 120"
    task = {"prompt": "x", "tests": [{"pytest": source, "ids": ["test_a"]}]}
    for code in ("x = 1", "def setup_function():\n    pass\ndef test_b():\n    pass"):
        assert score(sandbox, task, code).value == 0.0


def test_names_of_the_task_that_the_tests_do_not_read_may_be_missing(sandbox: Sandbox) -> None:
    body = "    result = f(1)\n    assert result == floor(2.5)"
    source = f"from math import *\nfrom solution import *\ndef test_a():\n{body}"
    reference = "def step():\n    return 1\ndef f(x):\n    return x + step()\nresult = f(3)"
    task = {"prompt": "x", "tests": [{"pytest": source, "ids": ["test_a"]}], "solution": reference}
    assert score(sandbox, task, "def f(x):\n    return x + 1").value == 1.0
    assert score(sandbox, task, "def f(x):\n    return x").value == 0.0


def test_a_star_import_within_a_statement_binds_nothing_that_the_tests_have(sandbox: Sandbox) -> None:
    star = "try:\n    from solution import *\nexcept ImportError:\n    pass\n"
    source = f"EPS = 1\n{star}def test_a():\n    assert f(1) == EPS"
    task = {"prompt": "x", "tests": [{"pytest": source, "ids": ["test_a"]}]}
    assert score(sandbox, task, "def f(x):\n    return 1").value == 1.0
    assert score(sandbox, task, "EPS = 2\ndef f(x):\n    return 2").value == 0.0
