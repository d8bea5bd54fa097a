"""Nothing that a program writes, anywhere, is held against us: no output leads to a masked score or to an exception."""

from __future__ import annotations

import functools
import io
import json
from collections.abc import Callable, Sequence
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gyms.api import Score, Services, Task
from gyms.code.compare import VALUE_COMPARATORS
from gyms.code.gym import Code, CodeSettings
from gyms.sandbox import Ending, Program, Run, Sandbox
from gyms.sandbox.inside.remote import Link
from gyms.sandbox.inside.values import encode
from tests.contract.code.test_verdict import HUMANEVAL, RIGHT, STDIN, fenced

HUGE = 10**5000
ENDINGS = st.sampled_from([ending for ending in Ending if ending is not Ending.COMPILE_FAILED])
NUMBERS = st.integers() | st.floats() | st.integers(-1, 1).map(lambda n: n * HUGE) | st.fractions() | st.decimals()
KEYS = st.integers(-1, 1).map(lambda n: n * HUGE)
PLAIN = st.recursive(
    st.none() | st.booleans() | NUMBERS | st.text(max_size=5) | st.binary(max_size=5) | st.complex_numbers(),
    lambda part: (
        st.lists(part, max_size=4)
        | st.tuples(part, part)
        | st.dictionaries(st.text(max_size=3) | KEYS, part, max_size=3)
    ),
    max_leaves=8,
)
CODES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda part: st.lists(part, max_size=3) | st.dictionaries(st.sampled_from([*"iftszdbacqm"]), part, max_size=2),
    max_leaves=8,
)


class Replayed:
    """A sandbox whose programs all say the same."""

    tier = "replayed"

    def __init__(self, **said: Any) -> None:
        self._run = Run(**{"ending": Ending.EXITED, "exit_status": 0, **said})

    def refusal(self, language: str) -> str:
        return ""

    def run(self, program: Program) -> Run:
        return self._run

    def run_all(
        self, program: Program, stdins: Sequence[bytes], stop: Callable[[list[Run]], bool] | None = None
    ) -> list[Run]:
        return [self._run for _ in stdins]

    def close(self) -> None: ...


def scored(sandbox: Any, data: dict[str, Any], response: str = "```python\npass\n```") -> Score:
    score = Code(CodeSettings(), Services(sandbox=sandbox)).score(Task(id="t", prompt=(), data=data), response)
    assert not score.status.is_masked, score
    for text in (score.detail, *(case.reason for case in score.cases)):
        text.encode()
    return score


EXPECTED: tuple[Any, ...] = ([1, 2], (1, "a"), {"a": [1]}, 0.5)


@given(value=PLAIN, place=st.integers(0, len(EXPECTED) - 1))
def test_no_value_masks_a_call(value: Any, place: int) -> None:
    results = b'{"n": -1, "v": true}\n' + json.dumps({"n": 0, "v": encode(value)}).encode() + b"\n"
    for comparator in VALUE_COMPARATORS:
        test = {"call": "f(1)", "expected": EXPECTED[place], "comparator": comparator}
        scored(Replayed(results=results), {"prompt": "p", "tests": [test]})


@given(code=CODES, error=st.none() | CODES, ending=ENDINGS)
def test_no_code_of_a_value_masks_a_call(code: Any, error: Any, ending: Ending) -> None:
    for line in ({"n": 0, "v": code}, {"n": 0, "e": error}, {"n": -1, "e": error, "k": code}, code):
        results = b'{"n": -1, "v": true}\n' + json.dumps(line).encode() + b"\n"
        for sent in (results, json.dumps(line).encode() + b"\n"):
            sandbox = Replayed(results=sent, ending=ending, exit_status=1)
            scored(sandbox, {"prompt": "p", "tests": [{"call": "f(1)", "expected": 1}]})


@given(stdout=st.binary(max_size=80), stderr=st.binary(max_size=80), ending=ENDINGS, status=st.integers(-64, 255))
def test_nothing_printed_masks_a_program(stdout: bytes, stderr: bytes, ending: Ending, status: int) -> None:
    sandbox = Replayed(stdout=stdout, stderr=stderr, results=stdout, ending=ending, exit_status=status)
    scored(sandbox, STDIN)
    scored(sandbox, {"prompt": "p", "tests": [{"call": "f(1)", "expected": 1}]})


@given(st.binary(max_size=60) | CODES.map(lambda code: json.dumps(code).encode() + b"\n"))
def test_no_reply_over_the_link_gets_past_an_exception(reply: bytes) -> None:
    """What the tests' process catches is Exception: nothing sent may become an exit, or end it otherwise."""
    for kind in (b"", b'{"e": "x", "t": "SystemExit"}\n', b'{"e": ["x"], "t": ["KeyboardInterrupt"]}\n'):
        link = Link(
            io.BytesIO(kind + reply), io.BytesIO(), allows_handles=True, allows_objects=True, allows_changes=True
        )
        call = functools.partial(link.ask, kind="call", name="f", a=[], k={})
        for ask in (link.wait_until_loaded, link.exported, call):
            try:
                ask()
            except Exception as error:
                assert len(str(error)) < 2000


ATTACKS = {
    "an error of 9 MB": "def add(a, b):\n    raise ValueError('x' * (9 << 20))",
    "9 MB written to the link as an error": (
        'import os\ndef add(a, b):\n    data = b\'{"e": "\' + b\'x\' * (9 << 20) + b\'", "t": "ValueError"}\\n\'\n'
        "    while data: data = data[os.write(6, data):]\n    os._exit(0)"
    ),
    "a text of 9 MB": "def add(a, b):\n    return 'x' * (9 << 20)",
    "a list of a million parts": "def add(a, b):\n    return [[]] * 900_000",
    "15 MB of empty lists": (
        "import os\ndef add(a, b):\n    data = b'{\"v\": [' + b'[],' * (5 << 20) + b'1]}\\n'\n"
        "    while data: data = data[os.write(6, data):]\n    os._exit(0)"
    ),
    "an exit of the tests": (
        'import os\ndef add(a, b):\n    os.write(6, b\'{"e": "0", "t": "SystemExit"}\\n\')\n    os._exit(0)'
    ),
    "an error at its import of 9 MB": "raise ValueError('x' * (9 << 20))",
    "an integer that cannot be written": "def add(a, b):\n    return 10**5000",
    "an error whose text is an error": (
        "class E(Exception):\n    def __str__(self): raise SystemExit\ndef add(a, b):\n    raise E"
    ),
    "an error with half of a surrogate pair": "def add(a, b):\n    raise ValueError('\\ud800')",
}


ASKED_ONCE: tuple[dict[str, Any], ...] = (
    {**HUMANEVAL, "test": "def check(f):\n    for i in (1,):\n        assert f(i, shift(i)) == 3\n"},
    {"tests": [{"pytest": "from solution import add\ndef test_a():\n    assert add(1, 2) == 3\n", "ids": ["test_a"]}]},
)
"""Every further call would take as long again."""


def test_a_right_answer_is_worth_a_point_where_it_is_asked_once(sandbox: Sandbox) -> None:
    assert [scored(sandbox, data, fenced(RIGHT)).value for data in ASKED_ONCE] == [1.0, 1.0]


@pytest.mark.parametrize("name", ATTACKS)
def test_tests_that_are_brought_down_by_an_answer_are_the_models_fault(sandbox: Sandbox, name: str) -> None:
    for data in ASKED_ONCE:
        score = scored(sandbox, data, fenced(ATTACKS[name]))
        assert not score.value, score


def test_tests_that_end_themselves_keep_what_they_found(sandbox: Sandbox) -> None:
    check = "def check(f):\n    for i in (1, 2):\n        assert f(i, 2) == i + 2\n    raise SystemExit\n"
    data = {**HUMANEVAL, "test": check}
    assert scored(sandbox, data, fenced("def add(a, b):\n    return a + b")).value == 1.0
    assert scored(sandbox, data, fenced("def add(a, b):\n    return a")).value == 0.0
