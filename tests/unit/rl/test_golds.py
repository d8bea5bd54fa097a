"""What becomes of golds that do not simply score or fail, and of those that a run left out when it began."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable
from concurrent.futures import Future
from pathlib import Path
from typing import Any

import pytest

from configs.sections import GymConfig
from gyms.api import Gym, GymSettings, Score, Services, Status, Task, message
from gyms.load import GymSpec
from gyms.mixture import GymEntry
from reward.process import NOT_THE_RESPONSE
from rl import golds
from rl.golds import Replayed, replay_golds
from rl.gym_checks import check_gyms

NUM = 12


class Sums(Gym):
    """Tasks "0+1=" to "11+1=", the last four held out."""

    Settings = GymSettings

    def tasks(self, split):
        numbers = range(8) if split == "train" else range(8, NUM)
        return [Task(id=f"sum/{a}", prompt=(message("user", f"{a}+1="),), data={"answer": a + 1}) for a in numbers]

    def score(self, task, response):
        return Score(status=Status.OK, value=float(response == str(task.data["answer"])))

    def gold(self, task):
        return str(task.data["answer"])


def replayed(monkeypatch: pytest.MonkeyPatch, folder: Path, scores: Callable[[str, int], Score]) -> tuple[Any, Counter]:
    """With a scorer that answers by the task's id and how often it was run before; and how often each was run.

    It remembers what it answered to a request's id, as the real one does.
    """
    asked: Counter = Counter()
    remembered: dict[str, Future] = {}

    class Scripted:
        def __init__(self, specs, *, num_workers):
            pass

        def __enter__(self):
            return self

        def __exit__(self, *error):
            pass

        def submit(self, key, name, task, gold):
            if key not in remembered:
                remembered[key] = Future()
                remembered[key].set_result([scores(task.id, asked[task.id])])
                asked[task.id] += 1
            return remembered[key]

    monkeypatch.setattr(golds, "Scorer", Scripted)
    entry = GymEntry(name="sums", gym=Sums(GymSettings(), Services()), share=1.0, budget=8)
    settings = [GymConfig.model_validate({"name": "sums", "golds": "all"})]
    return replay_golds(settings, [entry], [GymSpec(name="sums", reference="sums")], folder=folder), asked


RIGHT, WRONG = Score(status=Status.OK, value=1.0), Score(status=Status.OK, value=0.0)


@pytest.mark.parametrize("status", [Status.TIMEOUT, Status.VERIFIER_ERROR])
def test_a_gold_that_broke_its_verifier_is_asked_once_more_and_never_believed_for_good(monkeypatch, tmp_path, status):
    broken = Score(status=status, detail="no end")

    def scores(name, times):
        return broken if name == "sum/3" or (name == "sum/5" and not times) else RIGHT

    found, asked = replayed(monkeypatch, tmp_path, scores)
    assert found.failed == {"sums": {"sum/3"}} and f"'sum/3' ({status}: no end)" in found.notes[0]
    assert [name for name, times in asked.items() if times == 2] == ["sum/3", "sum/5"]
    (file,) = (tmp_path / ".golds").iterdir()
    assert len([line for line in file.read_text().splitlines() if line]) == NUM - 1
    _, asked = replayed(monkeypatch, tmp_path, lambda name, times: RIGHT)
    assert asked == {"sum/3": 1}  # the others' verdicts are known


@pytest.mark.parametrize(
    ("status", "flags"),
    [(Status.JUDGE_FAILED, frozenset()), (Status.VERIFIER_ERROR, frozenset({NOT_THE_RESPONSE}))],
    ids=["judge", "service"],
)
def test_a_judge_or_service_that_fails_stops_the_start_with_the_task_and_the_way_out(
    monkeypatch, tmp_path, status, flags
):
    failed = Score(status=status, detail="down", flags=flags)
    with pytest.raises(ValueError, match=rf"task 'sum/4' could not be scored: {status}: down; .*gyms\.0\.golds"):
        replayed(monkeypatch, tmp_path, lambda name, times: failed if name == "sum/4" else RIGHT)


def test_a_split_of_which_no_task_is_left_is_refused(monkeypatch, tmp_path):
    with pytest.raises(ValueError, match=r"4 of 12 gold answers fail, and no heldout task is left: 'sum/8'"):
        replayed(monkeypatch, tmp_path, lambda name, times: WRONG if int(name[4:]) >= 8 else RIGHT)


def test_a_run_that_goes_on_leaves_out_what_it_left_out_when_it_began():
    began = Replayed({"sums": frozenset({"sum/2", "sum/1"})})
    stored = json.loads(json.dumps(began.fingerprint))
    assert stored == {"golds": {"sums": ["sum/1", "sum/2"]}}
    assert Replayed.before(stored).failed == began.failed
    assert Replayed.before({"gyms": {}}).fingerprint == {}


def test_a_gym_whose_golds_are_all_run_is_not_refused_for_its_first_one(tmp_path):
    (tmp_path / "wrong_first.py").write_text(
        "from gyms.api import *\n"
        "class WrongFirst(Gym):\n"
        "    Settings = GymSettings\n"
        "    def tasks(self, split):\n"
        "        names = [f'{split}/{a}' for a in range(9)]\n"
        "        return [Task(id=name, prompt=(message('user', name),), data={}) for name in names]\n"
        "    def score(self, task, response):\n"
        "        return Score(status=Status.OK, value=float(response == 'right'))\n"
        "    def gold(self, task):\n"
        "        return 'wrong' if task.id == 'train/0' else 'right'\n"
    )

    class Wanted:
        gyms = (GymConfig.model_validate({"name": "x", "gym": str(tmp_path / "wrong_first.py"), "golds": "all"}),)

    entries, _ = check_gyms(Wanted())  # type: ignore[arg-type]
    assert [entry.name for entry in entries] == ["x"]
    Wanted.gyms = (Wanted.gyms[0].model_copy(update={"golds": "sample"}),)
    with pytest.raises(ValueError, match="the gold answer 'wrong' of task 'train/0' scores 0"):
        check_gyms(Wanted())  # type: ignore[arg-type]
