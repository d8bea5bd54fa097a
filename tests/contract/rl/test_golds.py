"""The golds of a gym that runs code: all are run, once, and what fails is left out."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from configs.sections import GymConfig
from gyms.load import GymSpec, load_gym
from gyms.mixture import GymEntry
from rl.golds import replay_golds

NUM = 24
WRONG = 3
pytestmark = pytest.mark.usefixtures("sandbox")


def rows(tmp_path: Path, wrong: range) -> Path:
    path = tmp_path / "rows.jsonl"
    path.write_text(
        "".join(
            json.dumps(
                {
                    "task_id": f"add/{i}",
                    "text": f"Write add{i}(n), which adds {i}.",
                    "entry_point": f"add{i}",
                    "solution": f"def add{i}(n):\n    return n + {i + (i in wrong)}\n",
                    "tests": [{"call": f"add{i}(4)", "expected": 4 + i}],
                }
            )
            + "\n"
            for i in range(NUM)
        )
    )
    return path


def replayed(tmp_path: Path, path: Path, golds: str = "auto"):
    args = {"path": str(path)}
    gym = load_gym("code", "code", args)
    settings = [GymConfig.model_validate({"name": "code", "golds": golds, "args": args})]
    entry = GymEntry(name="code", gym=gym, share=1.0, budget=64)
    return replay_golds(settings, [entry], [GymSpec(name="code", reference="code", args=args)], folder=tmp_path), gym


def test_a_task_that_its_own_gold_fails_is_told_and_not_asked_and_a_second_start_runs_nothing(tmp_path):
    path = rows(tmp_path, range(5, 5 + WRONG))
    found, gym = replayed(tmp_path, path)
    assert found.failed == {"code": {f"add/{i}" for i in range(5, 5 + WRONG)}}
    (note,) = found.notes
    assert note.startswith(f"gyms.0 (code): {WRONG} of {NUM} gold answers fail; these tasks are not asked: ")
    asked = [task.id for split in ("train", "heldout") for task in gym.tasks(split) if found.is_asked("code", task)]
    assert len(asked) == NUM - WRONG and "add/5" not in asked
    (kept,) = (tmp_path / ".golds").iterdir()
    verdicts = [json.loads(line) for line in kept.read_text().split("\n") if line]
    assert len(verdicts) == NUM and sum(bool(row["why"]) for row in verdicts) == WRONG
    # What stands in the file is believed: nothing is run again but the row that was cut short.
    kept.write_text("".join(json.dumps({**row, "why": ""}) + "\n" for row in verdicts[:-1]) + '{"key": "cut')
    again, _ = replayed(tmp_path, path)
    num_wrong_last = int(bool(verdicts[-1]["why"]))
    assert sum(map(len, again.failed.values())) == num_wrong_last
    assert again.fingerprint != found.fingerprint


def test_a_gym_of_which_too_many_golds_fail_is_refused_and_one_whose_sample_is_enough_is_not_run(tmp_path):
    path = rows(tmp_path, range(12))
    with pytest.raises(ValueError, match=r"gyms.0 \(code\): 12 of 24 gold answers fail: .*gyms.0.golds = \"sample\""):
        replayed(tmp_path, path)
    found, _ = replayed(tmp_path, path, "sample")
    assert not found.failed and not found.notes
