"""All reference solutions of HumanEval and MBPP score 1, and a broken mutant of each scores 0."""

from __future__ import annotations

import ast

import pytest

from gyms.api import Score, Services, Status, Task
from gyms.code.gym import Code, CodeSettings
from gyms.sandbox import Sandbox
from tests.oracles.conftest import Oracles

FILES = {"humaneval/HumanEval.jsonl.gz": (5, 164), "mbpp/mbpp.jsonl": (6, 974)}
"""File -> its number of tasks, in our extract and as published."""
NOT_SCORING: dict[str, str] = {}
"""Reference solutions that do not score 1, and why: none."""


def code_gym(name: str, oracles: Oracles, sandbox: Sandbox) -> tuple[Code, list[Task]]:
    gym = Code(CodeSettings(path=oracles.path(name), heldout_fraction=0.5), Services(sandbox=sandbox))
    tasks = [*gym.tasks("train"), *gym.tasks("heldout")]
    own, published = FILES[name]
    assert len(tasks) == oracles.expected(own=own, published=published)
    return gym, tasks


def told(score: Score) -> str:
    return f"{score.status} {score.detail} {[case for case in score.cases if not case.passed][:2]}"


@pytest.mark.parametrize("name", FILES)
def test_every_reference_solution_scores_one(name: str, oracles: Oracles, sandbox: Sandbox) -> None:
    gym, tasks = code_gym(name, oracles, sandbox)
    scores = {task.id: gym.score(task, gym.gold(task) or "") for task in tasks}
    failed = {task_id: told(score) for task_id, score in scores.items() if score.value != 1.0}
    assert failed.keys() == NOT_SCORING.keys(), failed
    assert {score.provenance["sandbox_tier"] for score in scores.values()} == {sandbox.tier}


@pytest.mark.parametrize("name", FILES)
def test_a_broken_mutant_of_every_reference_solution_scores_zero(name: str, oracles: Oracles, sandbox: Sandbox) -> None:
    gym, tasks = code_gym(name, oracles, sandbox)
    survived = {}
    for task in tasks:
        source = str(task.data.get("code") or str(task.data["prompt"]) + task.data.get("canonical_solution", ""))
        score = gym.score(task, f"```python\n{broken(source, called(task))}\n```")
        if score.status is not Status.OK or score.value != 0.0:
            survived[task.id] = told(score)
    assert survived == {}


def called(task: Task) -> str:
    """The function that the tests call."""
    if "entry_point" in task.data:
        return str(task.data["entry_point"])
    defined = {n.name for n in ast.parse(task.data["code"]).body if isinstance(n, ast.FunctionDef)}
    for node in ast.walk(ast.parse(task.data["test_list"][0])):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in defined:
            return node.func.id
    raise AssertionError(task.id)


def broken(source: str, name: str) -> str:
    """The solution with its results wrapped: a value of the same kind, and never the right one."""
    return f"""{source}

def __wrap(f):
    def wrong(*a, **k):
        value = f(*a, **k)
        if isinstance(value, bool):
            return not value
        if isinstance(value, (int, float, complex)):
            return value + 1
        if isinstance(value, str):
            return value + "?"
        if isinstance(value, (list, tuple)):
            return [*value, "?"] if isinstance(value, list) else (*value, "?")
        return "?"
    return wrong

{name} = __wrap({name})
"""
