"""Rewards written for other libraries score as gyms; what they return is checked like any gym's."""

from __future__ import annotations

import json
import sys
import types
from pathlib import Path

import pytest

from gyms.api import Status, Task, message
from gyms.load import load_gym

FUNCTION = """
def right(prompts, completions, answer, **kwargs):
    assert len(prompts) == len(completions) == len(answer)
    return [2.0 if c == a else 0.0 for c, a in zip(completions, answer)]

def short(prompts, completions, **kwargs):
    return []

def odd(prompts, completions, **kwargs):
    return [{"nan": float("nan"), "inf": float("inf"), "big": 9, "none": None}[c] for c in completions]

def chatty(prompts, completions, **kwargs):
    return [float(c[0]["content"] == "7" and p[0]["role"] == "user") for p, c in zip(prompts, completions)]

async def later(prompts, completions):
    return [1.0]
"""
TASK = Task(id="t", prompt=(message("user", "3 + 4?"),), data={"answer": "7"})


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "rewards.py"
    path.write_text(FUNCTION)
    return path


def test_a_trl_function_scores_one_completion_and_a_group(file: Path) -> None:
    gym = load_gym("r", f"trl:{file}:right", {"max_value": 2.0})
    assert gym.score(TASK, "7").value == 1.0 and gym.score(TASK, "8").value == 0.0
    assert [score.value for score in gym.score_group(TASK, ["7", "8", "7"])] == [1.0, 0.0, 1.0]
    assert gym.score(TASK, "7").components == {"raw": 2.0}


def test_a_column_with_the_name_of_an_argument_of_a_trl_function_is_left_out(file: Path) -> None:
    columns = {"answer": "7", "prompt": "?", "prompts": ["?"], "completions": ["8"]}
    gym = load_gym("r", f"trl:{file}:right", {"max_value": 2.0})
    assert gym.score(Task(id="t", prompt=TASK.prompt, data=columns), "7").value == 1.0


def test_a_trl_function_of_chat_data_gets_messages(file: Path) -> None:
    assert load_gym("r", f"trl:{file}:chatty", {"chat": True}).score(TASK, "7").value == 1.0


def test_what_is_no_reward_is_refused_or_masked(file: Path) -> None:
    gym = load_gym("r", f"trl:{file}:odd", {})
    for response in ("nan", "inf", "big"):
        with pytest.raises(ValueError, match="the reward function gave"):
            gym.score(TASK, response)
    assert gym.score(TASK, "none").status is Status.JUDGE_FAILED
    with pytest.raises(TypeError, match="for 1 completions"):
        load_gym("r", f"trl:{file}:short", {}).score(TASK, "7")


def test_a_trl_gym_reads_its_tasks_from_files(file: Path, tmp_path: Path) -> None:
    rows = tmp_path / "rows.jsonl"
    rows.write_text(json.dumps({"prompt": "3 + 4?", "answer": "7"}) + "\n")
    gym = load_gym("r", f"trl:{file}:right", {"train_file": str(rows), "max_value": 2.0})
    (task,) = gym.tasks("train")
    assert task.data == {"answer": "7"} and gym.score(task, "7").value == 1.0
    with pytest.raises(ValueError, match="give heldout_file"):
        gym.tasks("heldout")


@pytest.mark.parametrize(
    ("reference", "message"),
    [
        ("trl:nothing", "expected trl:module:function"),
        ("trl:math:nothing", "has no function 'nothing'"),
        ("trl:no_such_module:f", "No module named"),
        ("verifiers:", "expected verifiers:<environment>"),
    ],
)
def test_a_reference_without_a_function_is_refused(reference: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        load_gym("r", reference, {})


def test_an_async_function_is_refused(file: Path) -> None:
    with pytest.raises(ValueError, match="it is async"):
        load_gym("r", f"trl:{file}:later", {})


def test_a_missing_verifiers_package_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "verifiers", None)
    with pytest.raises(ValueError, match="`verifiers` is not installed"):
        load_gym("r", "verifiers:gsm8k", {})


def test_a_verifiers_package_of_another_kind_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "verifiers", types.SimpleNamespace(__version__="0.4.0"))  # type: ignore[arg-type]
    with pytest.raises(ValueError, match=r"version 0\.4\.0 has no `load_environment`"):
        load_gym("r", "verifiers:gsm8k", {})


def test_what_a_verifiers_package_lacks_to_load_environments_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    def lacking(name: str) -> object:
        raise AttributeError(f"to use {name}, install more") from ModuleNotFoundError("No module named 'tenacity'")

    module = types.ModuleType("verifiers")
    module.__getattr__ = lacking  # type: ignore[method-assign]
    monkeypatch.setitem(sys.modules, "verifiers", module)
    with pytest.raises(ValueError, match=r"has no `load_environment`.*No module named 'tenacity'"):
        load_gym("r", "verifiers:gsm8k", {})
