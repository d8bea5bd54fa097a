"""Verdicts cannot be forged: whatever a submission does, it is paid for right values alone."""

from __future__ import annotations

from typing import Any

import pytest

from gyms.api import Score, Services, Status, Task
from gyms.code.gym import Code, CodeSettings
from gyms.sandbox import Sandbox
from gyms.testing import check_gym

ADD = {
    "prompt": "Add two numbers.",
    "tests": [
        {"call": "add(1, 2)", "expected": 3},
        {"call": "add(-1, 1)", "expected": 0},
        {"call": "add(10, 5)", "expected": 15},
    ],
}
HUMANEVAL = {
    "task_id": "HumanEval/900",
    "prompt": 'from typing import List\n\ndef shift(c):\n    return c + 1\n\ndef add(a, b):\n    """Add."""\n',
    "entry_point": "add",
    "canonical_solution": "    return a + b\n",
    "test": (
        "METADATA = {}\n\ndef check(candidate):\n    for i in range(5):\n"
        "        assert candidate(i, shift(i)) == i + shift(i)\n    assert candidate(2, 3) == 5\n    assert True\n"
    ),
}
STDIN = {"prompt": "Sum.", "tests": [{"stdin": "1 2\n", "stdout": "3\n"}, {"stdin": "4 5\n", "stdout": "9\n"}]}
PYTEST = {
    "prompt": "Add.",
    "tests": [
        {
            "pytest": (
                "import pytest\nfrom solution import add\n\n@pytest.mark.parametrize('a', [1, 2])\n"
                "def test_add(a):\n    assert add(a, 2) == a + 2\n\n"
                "def test_bad():\n    with pytest.raises(TypeError):\n        add('a', 1)\n"
            ),
            "ids": ["test_add[1]", "test_add[2]", "test_bad"],
        }
    ],
}
TASKS: dict[str, dict[str, Any]] = {"calls": ADD, "exam": HUMANEVAL, "stdin": STDIN, "pytest": PYTEST}
RIGHT = "def add(a, b):\n    return a + b\n"


def score(sandbox: Sandbox, data: dict[str, Any], response: str, **settings: Any) -> Score:
    gym = Code(CodeSettings(**settings), Services(sandbox=sandbox))
    return gym.score(Task(id="t", prompt=(), data=data), response)


def fenced(code: str) -> str:
    return f"Here it is:\n```python\n{code}\n```\nDone."


@pytest.mark.parametrize("kind", ["calls", "exam", "pytest"])
def test_a_right_program_scores_one_and_a_wrong_one_zero(sandbox: Sandbox, kind: str) -> None:
    right = score(sandbox, TASKS[kind], fenced(RIGHT))
    assert (right.status, right.value, right.components["fraction"]) == (Status.OK, 1.0, 1.0), right
    assert right.provenance["sandbox_tier"] == sandbox.tier
    wrong = score(sandbox, TASKS[kind], fenced("def add(a, b):\n    return a - b\n"))
    assert (wrong.status, wrong.value) == (Status.OK, 0.0)


ALWAYS_EQUAL = """
class Equal(int):
    def __eq__(self, other): return True
    def __ne__(self, other): return False
    def __bool__(self): return True
    def __hash__(self): return 3
    def __repr__(self): return '3'
    def __reduce__(self): return (int, (3,))
"""
FORGERIES = {
    "exits at import": "import sys\nsys.exit(0)",
    "exits hard at import": "import os\nos._exit(0)",
    "exits in the function": "import os\ndef add(a, b): os._exit(0)",
    "raises SystemExit in the function": "def add(a, b): raise SystemExit(0)",
    "exits on the second call": (
        "import os\nn = []\ndef add(a, b):\n    n.append(1)\n    if len(n) > 1: os._exit(0)\n    return a + b"
    ),
    "exits in an exit handler": "import atexit, os\natexit.register(os._exit, 0)\ndef add(a, b): return None",
    "an equal to everything": ALWAYS_EQUAL + "def add(a, b): return Equal(7)",
    "a class equal to everything": ALWAYS_EQUAL.replace("(int)", "") + "def add(a, b): return Equal()",
    "a list subclass": "class L(list):\n    def __eq__(self, o): return True\ndef add(a, b): return L()",
    "a float subclass": "class F(float):\n    def __eq__(self, o): return True\ndef add(a, b): return F(1)",
    "a mock": "from unittest.mock import MagicMock\ndef add(a, b): return MagicMock()",
    "a generator": "def add(a, b): yield a + b",
    "new built-ins": (
        "import builtins, operator, math\n"
        "for name in ('all', 'any', 'isinstance', 'len', 'sorted', 'abs', 'repr', 'type'):\n"
        "    setattr(builtins, name, lambda *a, **k: True)\noperator.eq = lambda a, b: True\n"
        "builtins.AssertionError = ValueError\ndef add(a, b): return None"
    ),
    "walks the frames": (
        "import sys, gc\ndef add(a, b):\n    f = sys._getframe()\n    while f:\n"
        "        for name, v in list(f.f_locals.items()):\n"
        "            if isinstance(v, list): v[:] = [True] * len(v)\n            if isinstance(v, dict):\n"
        "                for k in list(v):\n"
        "                    if 'expect' in str(k): return v[k]\n        f = f.f_back\n    return None"
    ),
    "writes results itself": (
        'import os\nfor fd in range(3, 20):\n    try:\n        os.write(fd, b\'{"n": -1, "v": true}\\n\' +\n'
        "            b''.join(b'{\"n\": %d, \"v\": true}\\n' % i for i in range(9)))\n"
        "    except OSError: pass\nos._exit(0)"
    ),
    "writes a report of the tests itself": (
        'import os\nline = b\'{"cases": [["x", true, ""]], "stopped": ""}\\n\'\n'
        'line += b\'{"pytest": [["test_add", "passed", ""]]}\\n\'\n'
        "for fd in range(3, 20):\n    try: os.write(fd, line)\n    except OSError: pass\nos._exit(0)"
    ),
    "writes a sandbox's status itself": (
        'import os\nfor fd in range(3, 20):\n    try: os.write(fd, b\'{"failed": "ours", "setup": "ours"}\\n\')\n'
        "    except OSError: pass\nos._exit(112)"
    ),
    "skips": "import pytest\npytest.skip('x', allow_module_level=True)\ndef add(a, b): return 0",
    "patches pytest": (
        "try:\n    import _pytest.reports as r\n    r.TestReport.from_item_and_call = None\nexcept Exception: pass\n"
        "def add(a, b): return None"
    ),
    "places a conftest": (
        "open('conftest.py', 'w').write('collect_ignore = [\"test_submission.py\"]')\n"
        "open('pytest.ini', 'w').write('[pytest]')\n"
        "def add(a, b): return None"
    ),
    "defines the tests' names": "def check(c): pass\ncandidate = add = lambda a, b: None\ndef test_add(): pass",
    "reads the tests": (
        "import os, re\ntext = ''.join(open(p).read() for p in os.listdir('.') if os.path.isfile(p))\n"
        "def add(a, b): return eval(text) if text else None"
    ),
    "prints every answer": "def add(a, b):\n    for i in range(100): print(i)\n    return None",
    "echoes": "def add(a, b): return (a, b)",
    "raises a passing error": "class Passed(Exception): pass\ndef add(a, b): raise Passed('passed')",
    "forks and both answer": "import os\ndef add(a, b):\n    os.fork()\n    return a * b",
}


@pytest.mark.parametrize("kind", ["calls", "exam"])
@pytest.mark.parametrize("name", FORGERIES)
def test_a_forged_verdict_is_worth_nothing(sandbox: Sandbox, kind: str, name: str) -> None:
    found = score(sandbox, TASKS[kind], fenced(FORGERIES[name]))
    assert not found.status.is_masked, found  # masked would be worth something: a bad sample that does not count
    assert found.value in (None, 0.0), found
    assert score(sandbox, TASKS[kind], fenced(RIGHT)).value == 1.0


def test_exit_codes_and_extra_output_do_not_pass_for_programs(sandbox: Sandbox) -> None:
    right = "a, b = map(int, input().split())\nprint(a + b)"
    assert score(sandbox, STDIN, fenced(right)).value == 1.0
    for wrong in (
        "import sys\nsys.exit(0)",
        "for i in range(20): print(i)",
        "print(3)",
        right + "\nprint('3')",
        right + "\nraise SystemExit(1)",
        right + "\nimport os\nos.kill(os.getpid(), 9)",
    ):
        found = score(sandbox, STDIN, fenced(wrong))
        assert found.value in (None, 0.0) and not found.status.is_masked, (wrong, found)


def test_inputs_are_made_anew_for_each_test_and_results_are_taken_at_once(sandbox: Sandbox) -> None:
    data = {"tests": [{"call": "f([1, 2])", "expected": [1, 2, 0]}, {"call": "f([1, 3])", "expected": [1, 3, 0]}]}
    assert score(sandbox, data, fenced("def f(x):\n    x.append(0)\n    return x")).value == 1.0
    shared = "kept = []\ndef f(x):\n    kept[:] = [*x, 0]\n    return kept"
    assert score(sandbox, data, fenced(shared)).value == 1.0


def test_partial_credit_is_a_setting_and_the_fraction_is_always_told(sandbox: Sandbox) -> None:
    half = fenced("def add(a, b): return 3 if a == 1 else 0 if a == -1 else 7")
    assert score(sandbox, ADD, half).value == 0.0
    assert score(sandbox, ADD, half).components["fraction"] == pytest.approx(2 / 3)
    assert score(sandbox, ADD, half, partial_credit=True).value == pytest.approx(2 / 3)
    assert [case.passed for case in score(sandbox, ADD, half).cases] == [True, True, False]


def test_faults_of_the_program_have_their_status(sandbox: Sandbox) -> None:
    quick = {**ADD, "limits": {"cpu_seconds": 0.2, "wall_seconds": 1}}
    assert score(sandbox, quick, fenced("while True: pass")).status is Status.TIMEOUT
    assert score(sandbox, quick, fenced("def add(a, b):\n    while True: pass")).status is Status.TIMEOUT
    assert score(sandbox, quick, fenced("import time\ntime.sleep(99)")).status is Status.TIMEOUT
    assert score(sandbox, ADD, fenced("import nothing_of_this_name")).status is Status.CRASHED
    assert score(sandbox, ADD, fenced("def add(a, b) return")).status is Status.INVALID_ANSWER
    assert score(sandbox, ADD, fenced("import os\nos._exit(0)")).status is Status.CRASHED
    assert score(sandbox, ADD, "I would add them up.").status is Status.NO_ANSWER
    assert score(sandbox, ADD, "```python\ndef add(a, b): return a + b").status is Status.NO_ANSWER
    assert score(sandbox, ADD, RIGHT).value == 1.0
    assert score(sandbox, ADD, "x" * 2_000_000).status is Status.TOO_COMPLEX


def test_a_humaneval_completion_continues_its_prompt(sandbox: Sandbox) -> None:
    assert score(sandbox, HUMANEVAL, "    return a + b\n").value == 1.0
    assert score(sandbox, HUMANEVAL, fenced("    return a + b")).value == 1.0
    assert score(sandbox, HUMANEVAL, fenced(RIGHT.replace("(a, b)", "(a: List, b)"))).value == 1.0
    assert score(sandbox, HUMANEVAL, "    return a - b\n").value == 0.0


@pytest.mark.parametrize(
    "data",
    [
        {},
        {"tests": []},
        {"tests": None},
        {"tests": "assert"},
        {"tests": [{}]},
        {"tests": [{"call": "add(1, 2)"}]},
        {"tests": [{"call": "add(1, 2", "expected": 3}]},
        {"tests": [{"call": "1 + 2", "expected": 3}]},
        {"tests": [{"call": "add(1, 2)", "expected": 3}, {"call": "add(1, 2)", "expected": 4}]},
        {"tests": [{"stdin": "1", "stdout": "2"}, {"stdin": "1", "stdout": "3"}]},
        {"tests": [{"stdin": "1"}]},
        {"tests": [{"stdin": 1, "stdout": "2"}]},
        {"tests": [{"call": "add(1, 2)", "expected": 3}], "language": "cobol"},
        {"tests": [{"call": "add(1, 2)", "expected": 3}], "language": "cpp"},
        {"tests": [{"call": "add(1, 2)", "expected": 3}], "comparator": "vibes"},
        {"tests": [{"call": "add(1, 2)", "expected": 3}], "limits": {"cpu_seconds": -1}},
        {"tests": [{"call": "add(1, 2)", "expected": 3}], "limits": {"colour": 1}},
        {"tests": [{"call": "add(1, 2)", "expected": 3}], "limits": 7},
        {"tests": [{"pytest": "def test_x(): pass", "ids": []}]},
        {"tests": [{"pytest": "def test_x(:", "ids": ["test_x"]}]},
        {"tests": ["assert ("]},
        {"tests": ["assert True"]},
        {"text": "x", "test_list": []},
        {"prompt": "def f():\n", "entry_point": "f", "test": "no check here"},
        {"prompt": "def f():\n", "entry_point": "f()", "test": "def check(c):\n    assert c() == 1"},
        {"prompt": "def f():\n", "entry_point": "f", "test": "def check(c):\n    assert True"},
    ],
)
def test_a_malformed_task_is_a_bad_task(sandbox: Sandbox, data: dict[str, Any]) -> None:
    found = score(sandbox, data, fenced(RIGHT))
    assert found.status is Status.BAD_TASK, found
    assert found.detail


def test_pytest_ids_must_be_there_and_pass(sandbox: Sandbox) -> None:
    def one(source: str, *ids: str) -> Score:
        return score(sandbox, {"tests": [{"pytest": source, "ids": list(ids)}]}, fenced(RIGHT))

    assert one("from solution import add\ndef test_a():\n    assert add(1, 1) == 2\n", "test_a").value == 1.0
    assert one("def test_a():\n    assert add(1, 1) == 2\n", "test_file.py::test_a").value == 1.0
    skipped = "import pytest\n@pytest.mark.skip\ndef test_a(): pass\ndef test_b(): pass\n"
    assert one(skipped, "test_a", "test_b").value == 0.0
    expected = "import pytest\n@pytest.mark.xfail\ndef test_a(): assert add(1, 1) == 3\n"
    assert one(expected, "test_a").value == 0.0
    passing = "import pytest\n@pytest.mark.xfail\ndef test_a(): assert add(1, 1) == 2\n"
    assert one(passing, "test_a").value == 0.0
    assert one("x = 1\n", "test_a").value == 0.0
    assert "pytest" in one("def test_a():\n    assert add(1, 1) == 2\n", "test_a").flags
    parts = one(
        "def test_a():\n    assert add(1, 1) == 2\ndef test_b():\n    assert add(1, 1) == 3\n", "test_a", "test_b"
    )
    assert parts.components["fraction"] == 0.5


def test_an_id_without_parameters_names_all_of_them(sandbox: Sandbox) -> None:
    task = {"prompt": "x", "tests": [{"pytest": PYTEST["tests"][0]["pytest"], "ids": ["test_add", "test_bad"]}]}
    assert score(sandbox, task, fenced(RIGHT)).value == 1.0
    wrong = score(sandbox, task, fenced("def add(a, b):\n    return a + b if a == 1 else a + [0][a]"))
    assert wrong.value == 0.0
    assert [case.passed for case in wrong.cases] == [False, True]


@pytest.mark.parametrize("more", ["", "assert f(1) == 1"])
def test_an_assert_that_never_holds_wants_an_error_before_it(sandbox: Sandbox, more: str) -> None:
    asserts = [f"try:\n    f(-1)\n    assert False\nexcept ValueError:\n    pass\n{more}"]
    task = {"text": "x", "test_list": asserts, "code": "def f(n):\n    return n"}
    raises = "def f(n):\n    if n < 0:\n        raise ValueError(n)\n    return n"
    assert score(sandbox, task, fenced(raises)).value == 1.0
    assert score(sandbox, task, fenced("def f(n):\n    return n")).value == 0.0
    assert score(sandbox, task, fenced(raises.replace("ValueError", "KeyError"))).value == 0.0


@pytest.mark.parametrize("end", ["", "assert f([]) == []"])
def test_an_assert_that_never_holds_passes_only_where_the_branch_around_it_was_come_to(
    sandbox: Sandbox, end: str
) -> None:
    loop = "for a, b in zip(f([1, 2, 4]), [2, 4]):\n    if a != b:\n        assert False\n"
    right = "def f(v):\n    return [n for n in v if n % 2 == 0]"
    task = {"text": "x", "test_list": [loop + end], "code": right}
    assert score(sandbox, task, fenced(right)).value == 1.0
    assert score(sandbox, task, fenced("def f(v):\n    return []")).value == 0.0
    uncalled = "f([])\ndef check():\n    try:\n        assert False\n    finally: f([])"
    never_called = {"text": "x", "test_list": [uncalled]}
    assert score(sandbox, never_called, fenced("def f(v):\n    return []")).value == 0.0


def test_an_assert_in_a_branch_behind_one_that_was_not_taken_is_no_case(sandbox: Sandbox) -> None:
    near = "def near(a, b):\n    if type(b) is float:\n        if abs(a - b) > 1e-6:\n            assert False\n"
    tests = near + "    else:\n        assert a == b\nfor n in range(3):\n    near(f(n), 2 * n)"
    task = {"text": "x", "test_list": [tests], "code": "def f(n):\n    return 2 * n"}
    assert score(sandbox, task, fenced("def f(n):\n    return 2 * n")).value == 1.0
    assert score(sandbox, task, fenced("def f(n):\n    return n")).value == 0.0


def test_a_submission_that_decides_which_tests_there_are_is_wrong_and_the_task_is_not_bad(sandbox: Sandbox) -> None:
    source = "import pytest, solution\n@pytest.mark.parametrize('n', solution.numbers())\ndef test_a(n): assert n < 3\n"
    data = {"tests": [{"pytest": source, "ids": ["test_a[1]", "test_a[2]"]}]}
    right = score(sandbox, data, fenced("def numbers():\n    return [1, 2]"))
    assert right.status is Status.OK and right.value == 1
    for other in ("[7]", "[]", "['x']"):
        wrong = score(sandbox, data, fenced(f"def numbers():\n    return {other}"))
        assert wrong.status is Status.OK and wrong.value == 0
    unknown = score(
        sandbox, {"tests": [{"pytest": source, "ids": ["test_b"]}]}, fenced("def numbers():\n    return [1]")
    )
    assert unknown.status is Status.BAD_TASK


def test_pytest_can_use_classes_of_the_submission(sandbox: Sandbox) -> None:
    source = (
        "from solution import Stack\ndef test_stack():\n    s = Stack()\n    s.push(1)\n    s.push(2)\n"
        "    assert s.pop() == 2\n    assert len(s) == 1\n    assert s.items == [1]\n"
        "def test_empty():\n    import pytest\n    with pytest.raises(IndexError):\n        Stack().pop()\n"
    )
    data = {"tests": [{"pytest": source, "ids": ["test_stack", "test_empty"]}]}
    stack = (
        "class Stack:\n    def __init__(self): self.items = []\n    def push(self, x): self.items.append(x)\n"
        "    def pop(self): return self.items.pop()\n    def __len__(self): return len(self.items)\n"
    )
    assert score(sandbox, data, fenced(stack)).value == 1.0
    equal = (
        "class Stack:\n    def __getattr__(self, n): return lambda *a: Stack()\n"
        "    def __eq__(self, o): return True\n    def __len__(self): return 1\n"
    )
    assert score(sandbox, data, fenced(equal)).value == 0.0


def test_classes_and_set_up_of_asserts_live_beside_the_submission(sandbox: Sandbox) -> None:
    data = {
        "text": "depth",
        "test_list": ["assert depth(tree) == 2", "assert depth(Node(Node(Node(None)))) == 3"],
        "test_setup_code": "tree = Node(Node(None))",
        "challenge_test_list": [],
    }
    code = (
        "class Node:\n    def __init__(self, child): self.child = child\n"
        "def depth(node):\n    return 0 if node is None else 1 + depth(node.child)\n"
    )
    assert score(sandbox, data, fenced(code)).value == 1.0


def test_the_built_in_gym_keeps_the_contract(sandbox: Sandbox) -> None:
    check_gym(Code(CodeSettings(), Services(sandbox=sandbox)), max_tasks=1)


def test_a_function_that_is_named_like_a_built_in_is_the_submissions_own(sandbox: Sandbox) -> None:
    """Found by a mutant of MBPP 126: its tests were run against the reference instead of the submission."""
    data = {"text": "x", "code": "def sum(a, b):\n    return a * b\n", "test_list": ["assert sum(10, 15) == 150"]}
    assert score(sandbox, data, fenced("def sum(a, b):\n    return a * b\n")).value == 1.0
    assert score(sandbox, data, fenced("def sum(a, b):\n    return a + b\n")).value == 0.0
    mixed = {**data, "test_list": ["assert sum(10, 15) == sum(15, 10) == 150"]}
    assert score(sandbox, mixed, fenced("def sum(a, b):\n    return a * b\n")).value == 1.0
    assert score(sandbox, mixed, fenced("def sum(a, b):\n    return a + b\n")).value == 0.0


def test_tests_that_never_reach_the_submission_are_a_bad_task(sandbox: Sandbox) -> None:
    check = "def check(candidate):\n    for i in range(3):\n        assert i + 1 > i\n"
    row = {**HUMANEVAL, "test": check}
    assert score(sandbox, row, fenced(RIGHT)).status is Status.BAD_TASK
    by_name = {
        **HUMANEVAL,
        "test": "def check(candidate):\n    for i in range(3):\n        assert add(i, 1) == i + 1\n",
    }
    assert score(sandbox, by_name, fenced(RIGHT)).value == 1.0
    assert score(sandbox, by_name, fenced("def add(a, b):\n    return 0\n")).value == 0.0
    unreachable = {"tests": ["assert all(x == x for x in range(3))"]}
    assert score(sandbox, unreachable, fenced(RIGHT)).status is Status.BAD_TASK


def test_a_prompt_in_prose_with_a_signature_is_not_continued(sandbox: Sandbox) -> None:
    prompt = "Write this function:\n\ndef add(a, b):\n\nIt adds."
    assert score(sandbox, {**ADD, "prompt": prompt, "entry_point": "add"}, fenced(RIGHT)).value == 1.0
    source = "import math\n\ndef add(a, b):\n"
    body = fenced("    return int(math.fsum((a, b)))")
    assert score(sandbox, {**ADD, "prompt": source, "entry_point": "add"}, body).value == 1.0


@pytest.mark.parametrize(
    "tests",
    [
        "assert (total := add(1, 2)) == 3\nassert total + add(0, 1) == 4",
        "import asyncio\n\nasync def later(x):\n    return add(x, 1)\n\n"
        "async def main():\n    assert await later(1) == 2\n    assert await later(5) == 6\n\nasyncio.run(main())",
    ],
    ids=["bound in the assert", "awaited in the assert"],
)
def test_an_assert_may_bind_and_await_and_what_it_raises_fails_it_alone(sandbox: Sandbox, tests: str) -> None:
    data = {"prompt": "Add two numbers.", "tests": [{"assert": tests}]}
    assert score(sandbox, data, fenced(RIGHT)).value == 1
    assert score(sandbox, data, fenced("def add(a, b):\n    return a - b")).value == 0
    raising = score(sandbox, data, fenced("def add(a, b):\n    raise ValueError('no')"))
    assert raising.status is Status.OK and raising.value == 0


def test_outputs_that_a_program_without_lines_has_are_a_bad_task_unless_another_test_wants_more(
    sandbox: Sandbox,
) -> None:
    idle = {"prompt": "Print it.", "tests": [{"stdin": "a\n", "stdout": ""}, {"stdin": "b\n", "stdout": " \n"}]}
    found = score(sandbox, idle, fenced("pass"))
    assert found.status is Status.BAD_TASK and "empty output" in found.detail
    more = {"prompt": "Print it.", "tests": [*idle["tests"], {"stdin": "c\n", "stdout": "c\n"}]}
    assert score(sandbox, more, fenced("pass")).value == 0
