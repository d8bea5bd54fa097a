"""Forged verdicts against tests as pytest source, each of which starts pytest anew; and the command line."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from gyms.sandbox import Sandbox
from tests.contract.code.test_verdict import ADD, FORGERIES, PYTEST, RIGHT, fenced, score

pytestmark = pytest.mark.integration


def test_forged_pytest_verdicts_are_worth_nothing_and_a_right_answer_behind_them_a_point(sandbox: Sandbox) -> None:
    found = {name: score(sandbox, PYTEST, fenced(forgery)) for name, forgery in FORGERIES.items()}
    assert {name: one for name, one in found.items() if one.status.is_masked or one.value} == {}
    assert score(sandbox, PYTEST, fenced(RIGHT)).value == 1.0


def test_stored_answers_are_scored_by_the_command_line(tmp_path: Path) -> None:
    answers = {"right": (RIGHT, "ok", 1.0), "wrong": ("def add(a, b): return 0", "ok", 0.0)}
    answers |= {
        "bomb": ("import os\nwhile True: os.fork()", None, 0.0),
        "exit": ("import os\nos._exit(0)", "crashed", 0.0),
    }
    task = {**ADD, "language": "python", "limits": {"cpu_seconds": 5, "wall_seconds": 100}}
    rows = [{"id": i, "gym": "code", "task": task, "response": fenced(a[0])} for i, a in answers.items()]
    given, taken = tmp_path / "rows.jsonl", tmp_path / "scores.jsonl"
    given.write_text("".join(json.dumps(row) + "\n" for row in rows))
    command = [sys.executable, "-m", "gyms", "score", "--input", str(given), "--output", str(taken)]
    subprocess.run(command, cwd=Path(__file__).parents[2], check=True, capture_output=True)
    found = [json.loads(line) for line in taken.read_text().splitlines()]
    assert [row["id"] for row in found] == list(answers)
    for row in found:
        _, status, reward = answers[row["id"]]
        assert row["reward"] == reward, row
        assert not row["masked"], row
        assert status is None or row["status"] == status, row
