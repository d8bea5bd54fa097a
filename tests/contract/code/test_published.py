"""Tests as data sets publish them score a right program 1, a wrong one 0, and never mask."""

from __future__ import annotations

from typing import Any

import pytest

from gyms.api import Services, Status
from gyms.code.exams import may_change
from gyms.code.gym import Code, CodeSettings, make_task
from gyms.code.plan import make_plan
from gyms.sandbox import Limits, Sandbox
from gyms.sandbox.view import numpy_folders

HELPERS = """
def near(a, b):
    if isinstance(b, float):
        assert abs(a - b) < 1e-6
    else:
        assert a == b
"""
TABLE = """
def is_floats(x): ...

def assertion(out, exp, atol): ...

{head}inputs = {inputs}
{head}results = {results}
{head}for i, (inp, exp) in enumerate(zip(inputs, results)):
{head}    assertion({name}(*inp), exp, {atol})
"""
PILE = """
class Hollow(Exception):
    pass

class Pile:
    def __init__(self):
        self.held = []

    def put(self, value):
        self.held.append(value)

    def take(self):
        if not self.held:
            raise Hollow("nothing here")
        return self.held.pop()

    def __len__(self):
        return len(self.held)

    def __iter__(self):
        return iter(self.held)
"""
PILE_TESTS = """
import pytest
import solution

def test_order():
    pile = solution.Pile()
    pile.put(4)
    pile.put(5)
    assert 4 in pile and len(pile) == 2
    assert pile.take() == 5

def test_hollow():
    with pytest.raises(solution.Hollow):
        solution.Pile().take()
"""


def table(inputs: Any, results: Any, *, name: str = "candidate", atol: float = 0, module: bool = False) -> str:
    head = "" if module else "    "
    text = TABLE.format(head=head, inputs=inputs, results=results, name=name, atol=atol)
    return text if module else text.replace("    inputs", "def check(candidate):\n    inputs", 1)


def humaneval(test: str) -> dict[str, Any]:
    prompt = 'def half(n: float) -> float:\n    """Half of n."""\n'
    return {"prompt": prompt, "entry_point": "half", "canonical_solution": "    return n / 2\n", "test": test}


FLIP = {
    "text": "x",
    "code": "def flip(xs):\n    xs.reverse()",
    "test_list": ["v = [3, 1]\nflip(v)\nassert v == [1, 3]"],
}
CASES: list[tuple[str, dict[str, Any], str, str]] = [
    ("in place, MBPP", FLIP, "def flip(xs):\n    xs.reverse()", "def flip(xs):\n    return xs[::-1]"),
    (
        "in place, with keywords and a dict",
        {"text": "x", "tests": ["d = {1: 2}\nfill(into=d)\nassert d == {1: 2, 3: 4}"]},
        "def fill(into):\n    into[3] = 4",
        "def fill(into):\n    into = {1: 2, 3: 4}",
    ),
    (
        "in place, pytest",
        {
            "text": "x",
            "tests": [
                {
                    "pytest": "from solution import flip\n"
                    "def test_a():\n    v = [3, 1]\n    flip(v)\n    assert v == [1, 3]",
                    "ids": ["test_a"],
                }
            ],
        },
        "def flip(xs):\n    xs.reverse()",
        "def flip(xs):\n    pass",
    ),
    (
        "in place, HumanEval",
        {
            **humaneval("def check(f):\n    v = [4]\n    f(v)\n    assert v == [4, 2]"),
            "canonical_solution": "    n.append(n[0] // 2)\n",
        },
        "def half(v):\n    v.append(v[0] // 2)",
        "def half(v):\n    return v + [2]",
    ),
    (
        "asserts in branches that are not taken",
        {"text": "x", "tests": [HELPERS + "for n in range(3):\n    near(twice(n), 2 * n)"]},
        "def twice(n):\n    return 2 * n",
        "def twice(n):\n    return 2 * n if n < 2 else 0",
    ),
    ("a table, HumanEval+", humaneval(table([[2.0], [1]], [1.0, 0.5])), "def half(n):\n    return n / 2", "half = abs"),
    (
        "a table, with a float that is off by little",
        humaneval(table([[3.0]], [1.5])),
        "def half(n):\n    return n / 2 + 1e-7",
        "def half(n):\n    return n / 2 + 1e-5",
    ),
    (
        "a table, MBPP+",
        {
            "prompt": "x",
            "code": "def inc(n):\n    return n + 1",
            "test_list": ["assert inc(1) == 2"],
            "test_imports": [],
            "test": table([[1], [7]], [2, 8], name="inc", module=True),
        },
        "def inc(n):\n    return n + 1",
        "def inc(n):\n    return 2",
    ),
    (
        "a class in asserts",
        {"text": "x", "tests": ["pile = Pile()\npile.put(4)\nassert pile.take() == 4\nassert len(pile) == 0"]},
        PILE,
        PILE.replace(".pop()", "[0] + 1"),
    ),
    (
        "a class and its exception in pytest",
        {"text": "x", "tests": [{"pytest": PILE_TESTS, "ids": ["test_order", "test_hollow"]}]},
        PILE,
        PILE.replace('Hollow("nothing here")', "IndexError"),
    ),
    (
        "a generator without an end",
        {"text": "x", "tests": ["import itertools\nassert list(itertools.islice(ones(2), 3)) == [2, 2, 2]"]},
        "def ones(n):\n    while True:\n        yield n",
        "def ones(n):\n    yield n",
    ),
    (
        "LeetCode's starter",
        {
            "text": "class Solution:\n    def total(self, v: List[int]) -> int:",
            "tests": [{"call": "Solution().total([1, 2])", "expected": 3}],
        },
        "class Solution:\n    def total(self, v: List[int]) -> int:\n        return reduce(operator.add, v, 0)",
        "class Solution:\n    def total(self, v: List[int]) -> int:\n        return 0",
    ),
    (
        "a function where the tests know a method",
        {"text": "x", "tests": [{"call": "Solution().total([1, 2])", "expected": 3}]},
        "def total(v):\n    return sum(v)",
        "def total(v):\n    return 4",
    ),
    (
        "a method where the tests know a function",
        {"text": "x", "tests": [{"call": "total([1, 2])", "expected": 3}]},
        "class Solution:\n    def total(self, v):\n        return sum(v)",
        "class Solution:\n    def total(self, v):\n        return 4",
    ),
    (
        "LeetCode's method as entry point",
        {
            "prompt": "from typing import *\n\n",
            "problem_description": "Add them up.",
            "starter_code": "class Solution:\n    def total(self, v: List[int]) -> int:\n        ",
            "completion": "class Solution:\n    def total(self, v: List[int]) -> int:\n        return sum(v)\n",
            "entry_point": "Solution().total",
            "test": "def check(candidate):\n    assert candidate(v = [1, 2]) == 3\n",
        },
        "class Solution:\n    def total(self, v: List[int]) -> int:\n        return sum(v)",
        "class Solution:\n    def total(self, v: List[int]) -> int:\n        return 4",
    ),
    (
        "imports of the set-up come before the program",
        {"text": "x", "setup": ["from typing import Optional"], "tests": [{"call": "f(None)", "expected": 1}]},
        "def f(x: Optional[int]) -> int:\n    return 1",
        "def f(x: Optional[int]) -> int:\n    return 2",
    ),
    (
        "input and output",
        {"text": "x", "tests": [{"input": "4\n", "output": "5\n"}]},
        "print(int(input()) + 1)",
        "print(input())",
    ),
    (
        "input and output of a function",
        {"text": "x", "tests": [{"input": "[1, 2]\n3", "output": "[1, 2, 3]", "fn_name": "put"}]},
        "def put(v, n):\n    return v + [n]",
        "def put(v, n):\n    return v",
    ),
    (
        "lists of inputs and outputs as text",
        {"text": "x", "tests": '{"inputs": [[1], [2]], "outputs": [[2], [3]], "fn_name": "inc"}'},
        "def inc(n):\n    return n + 1",
        "def inc(n):\n    return 2",
    ),
    (
        "an integer of thousands of digits",
        {"text": "x", "tests": [{"call": "power(20000)", "literal": "1" + "0" * 20000}]},
        "def power(n):\n    return 10 ** n",
        "def power(n):\n    return 10 ** (n - 1)",
    ),
]


@pytest.mark.parametrize(("name", "row", "right", "wrong"), CASES, ids=[case[0] for case in CASES])
def test_a_published_form_pays_the_right_program_alone(
    sandbox: Sandbox, name: str, row: dict[str, Any], right: str, wrong: str
) -> None:
    gym = Code(CodeSettings(wall_seconds=60.0), Services(sandbox=sandbox))
    task = make_task(row, name, "")
    scores = [gym.score(task, f"```python\n{code}\n```") for code in (right, wrong)]
    gold = gym.gold(task)
    assert gold is None or gym.score(task, gold).value == 1.0
    assert scores[0].value == 1.0, (scores[0].detail, scores[0].cases)
    assert not scores[1].status.is_masked and scores[1].value in (None, 0.0), scores[1]


NUMPY_TESTS = "import numpy as np\nassert np.allclose(upto(3), [0, 1, 2])"


@pytest.mark.parametrize(
    ("numpy", "tests", "works"),
    [
        (True, [{"call": "upto(3)", "expected": [0, 1, 2]}], True),
        (False, [{"call": "upto(3)", "expected": [0, 1, 2]}], False),
        (False, [NUMPY_TESTS], True),
        (True, [{"stdin": "", "stdout": "3\n"}], True),
    ],
)
def test_numpy_is_there_where_it_is_asked_for(sandbox: Sandbox, numpy: bool, tests: list[Any], works: bool) -> None:
    if not numpy_folders() or sandbox.tier == "landlock":
        pytest.skip("numpy is not installed, or this tier cannot show it")
    gym = Code(CodeSettings(wall_seconds=60.0, numpy=numpy), Services(sandbox=sandbox))
    code = "import numpy as np\ndef upto(n):\n    return np.arange(n)\nprint(len(upto(3)))"
    score = gym.score(make_task({"text": "x", "tests": tests}, "t", ""), f"```python\n{code}\n```")
    assert (score.value == 1.0) is works and not score.status.is_masked, score


@pytest.mark.parametrize("special", ["__eq__", "__ne__", "__bool__", "__lt__", "__sub__", "__contains__"])
@pytest.mark.parametrize("form", ["asserts", "pytest"])
def test_objects_of_a_submission_decide_no_test(sandbox: Sandbox, special: str, form: str) -> None:
    body = {
        "__eq__": "assert Box().get() == 3",
        "__ne__": "assert Box().get() != 3",
        "__bool__": "assert Box().get()",
        "__lt__": "assert Box().get() < 3",
        "__sub__": "assert abs(Box().get() - 3) < 1e-6",
        "__contains__": "assert 3 in Box().get()",
    }[special]
    liar = (
        "class Liar:\n    def __init__(self, *a): pass\n"
        + "".join(f"    def {name}(self, *a): return {'0' if name == '__sub__' else 'True'}\n" for name in (special,))
        + "class Box:\n    def get(self): return Liar()\n"
    )
    test: Any = body
    if form == "pytest":
        source = f"from solution import Box\ndef test_a():\n    {body}\n"
        test = {"pytest": source, "ids": ["test_a"]}
    gym = Code(CodeSettings(wall_seconds=60.0), Services(sandbox=sandbox))
    score = gym.score(make_task({"text": "x", "tests": [test]}, "t", ""), f"```python\n{liar}```")
    assert score.status is Status.OK and score.value == 0.0, score


def test_a_submission_cannot_choose_the_question_that_a_reference_answers(sandbox: Sandbox) -> None:
    row = {
        "text": "x",
        "setup": ["def reference(v):\n    return sorted(v)"],
        "tests": ["v = [3, 1]\nassert order(v) == reference(v)"],
    }
    cheat = "def order(v):\n    v.clear()\n    return []"
    gym = Code(CodeSettings(wall_seconds=60.0), Services(sandbox=sandbox))
    assert gym.score(make_task(row, "t", ""), f"```python\n{cheat}\n```").value == 0.0


def test_branches_that_no_program_reaches_are_failed_tests(sandbox: Sandbox) -> None:
    row = {"text": "x", "tests": ["if pick(1) == 5:\n    assert pick(2) == 6"]}
    gym = Code(CodeSettings(wall_seconds=60.0), Services(sandbox=sandbox))
    score = gym.score(make_task(row, "t", ""), "```python\ndef pick(n):\n    return 0\n```")
    assert score.value == 0.0


def test_changes_reach_the_tests_only_where_nobody_else_reads_the_variable() -> None:
    import ast

    free = ast.parse("v = [1]\nf(v)\nassert v == [2] and len(v) == 1")
    shared = ast.parse("v = [1]\nassert f(v) == g(v)")
    assert may_change(free, {"f"}) and not may_change(shared, {"f"})


def test_long_calls_that_begin_alike_are_different_calls() -> None:
    long = list(range(200))
    tests = [{"call": f"f({[*long, n]})", "expected": n} for n in (1, 2)]
    assert len(make_plan({"tests": tests}, Limits()).calls) == 2
    with pytest.raises(ValueError, match="two tests want different results"):
        make_plan({"tests": [{**test, "call": "f(1)"} for test in tests]}, Limits())


def test_tables_become_calls_and_keep_their_results_outside() -> None:
    plan = make_plan(humaneval(table([[1.0], [2]], [0.5, 1.0])), Limits())
    assert [(test.call.function, test.call.arguments) for test in plan.calls] == [("half", (1.0,)), ("half", (2,))]
    assert not plan.exams
    assert [test.check.holds(0.5000005) for test in plan.calls] == [True, False]


@pytest.mark.parametrize(
    ("tests", "cause"),
    [
        ([{"input": "1", "output": "2", "type": "function_call"}], "needs fn_name"),
        ([{"input": "1", "output": "2", "fn_name": "a b"}], "expected the name of a function"),
        ([{"input": "{", "output": "2", "fn_name": "f"}], "input of a call is not JSON"),
        ({"inputs": [1], "outputs": []}, "two lists of one length"),
        ("{", "not JSON"),
    ],
)
def test_malformed_published_tests_are_named(tests: Any, cause: str) -> None:
    with pytest.raises(ValueError, match=cause):
        make_plan({"text": "x", "tests": tests}, Limits())
