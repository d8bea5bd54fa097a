"""All runs of one response share one time, whatever kind of test they are for."""

from __future__ import annotations

from typing import Any

import pytest

from gyms.api import Services, Status, Task
from gyms.code.gym import Code, CodeSettings
from gyms.sandbox.program import Ending, Exam, Program, Run, SandboxError

PYTEST = "from solution import add\ndef test_{0}():\n    assert add({0}, 1) == {0} + 1\n"


class Slow:
    """A sandbox whose runs all sleep past their limit."""

    tier = "slow"

    def __init__(self) -> None:
        self.num_runs = 0

    def refusal(self, language: str) -> str:
        return ""

    def run(self, program: Program) -> Run:
        self.num_runs += 1
        return Run(ending=Ending.WALL_LIMIT, exit_status=-9, wall_seconds=program.limits.wall_seconds)

    def run_all(self, program: Program, stdins: list[bytes], stop: Any) -> list[Run]:
        runs: list[Run] = []
        for _ in stdins:
            runs.append(self.run(program))
            if stop(runs):
                break
        return runs

    def examine(self, program: Program, exam: Exam) -> tuple[Run, Run]:
        run = self.run(program)
        return run, run

    def open(self, *args: Any, **kwargs: Any) -> Any:
        raise SandboxError("not needed here")

    def close(self) -> None:
        pass


def slow_score(tests: list[dict[str, Any]], **settings: Any) -> tuple[int, Any]:
    sandbox = Slow()
    gym = Code(CodeSettings(wall_seconds=24.0, **settings), Services(sandbox=sandbox))
    score = gym.score(Task(id="t", prompt=(), data={"tests": tests}), "```python\ndef add(a, b): return a + b\n```")
    return sandbox.num_runs, score


def test_test_files_behind_the_time_of_all_runs_are_not_tried_and_have_failed() -> None:
    files = [{"pytest": PYTEST.format(number), "ids": [f"test_{number}"]} for number in range(13)]
    num_runs, score = slow_score(files)
    assert num_runs == 6, "5 x 24 s are 120 s, which is not more than total_seconds = 120"
    assert score.status is Status.TIMEOUT and len(score.cases) == 13
    assert not any(case.passed for case in score.cases)
    assert [case.id for case in score.cases if "not tried" in case.reason] == [f"test_{n}" for n in range(6, 13)]


@pytest.mark.parametrize(
    "later",
    [
        {"stdin": "1 2", "stdout": "3"},
        {"pytest": PYTEST.format(1), "ids": ["test_1"]},
        {"assert": "all(add(a, 1) == a + 1 for a in (lambda: range(3))())"},
    ],
)
def test_tests_of_one_kind_leave_no_time_to_those_of_the_next(later: dict[str, Any]) -> None:
    num_runs, score = slow_score([{"call": "add(1, 2)", "expected": 3}, later], total_seconds=20.0)
    assert num_runs == 1 and [case.passed for case in score.cases] == [False, False], score
