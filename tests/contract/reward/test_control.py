"""A response that breaks its verifier is told apart from a verifier that is broken, by a control sample."""

from __future__ import annotations

import asyncio
import itertools
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from gyms.api import Score, Status, Task, message
from gyms.load import GymSpec
from reward.control import CONTROL_FLAG
from reward.deadline import MAX_STRETCH, Deadline, waited_seconds
from reward.scorer import Scorer
from tests.contract.reward.processes import wait_until

FILE = Path(__file__).parent / "bad_gyms.py"
_names = itertools.count()


def spec(class_name: str = "HasGold", name: str = "gym") -> GymSpec:
    return GymSpec(name=name, reference=f"{FILE}:{class_name}")


def task(gold: str | None = "well", name: str = "t") -> Task:
    return Task(id=name, prompt=(message("user", "?"),), data={} if gold is None else {"gold": gold})


def ask(scorer: Scorer, asked: Task, response: str, gym: str = "gym") -> Score:
    return asyncio.run(scorer.score(f"r{next(_names)}", gym, asked, response))


def gym_for(said: str) -> str:
    """Which of the shared scorer's gyms: what hangs is not waited for as long as what answers or dies."""
    return "hasty" if said.startswith("sleep") else "gym"


@pytest.fixture(scope="module")
def scorer() -> Iterator[Scorer]:
    with Scorer([spec(), spec("HastyWithGold", "hasty")], num_workers=2) as shared:
        yield shared


@pytest.mark.parametrize(
    ("response", "status"),
    [
        ("sleep 600", Status.TIMEOUT),
        ("exit", Status.CRASHED),
        ("raise", Status.CRASHED),
        ("scribble", Status.CRASHED),
        ("float", Status.CRASHED),
        ("bad", Status.CRASHED),
    ],
)
def test_a_response_is_to_blame_where_the_gold_of_its_task_still_scores(
    scorer: Scorer, response: str, status: Status
) -> None:
    score = ask(scorer, task(), response, gym_for(response))
    assert score.status is status and score.flags == {CONTROL_FLAG}
    assert "the task's gold response was scored well" in score.detail


def test_a_service_that_fails_is_masked_without_a_control_sample(tmp_path: Path) -> None:
    calls = tmp_path / "calls"
    with Scorer([spec()]) as fresh:
        score = ask(fresh, task(f"count {calls}"), "unserved")
        assert score.status is Status.VERIFIER_ERROR and CONTROL_FLAG not in score.flags and not calls.exists()
        assert "raised ServiceFailed: status 503" in score.detail
        assert fresh.tally["gym"] == {"verifier_error": 1}
        assert ask(fresh, task(f"count {calls}"), "raise").status is Status.CRASHED and calls.exists()


def test_what_an_earlier_response_spoilt_is_not_held_against_the_next() -> None:
    with Scorer([spec()]) as fresh:
        assert ask(fresh, task(), "spoil").value == 1.0
        assert ask(fresh, task(), "fragile").value == 1.0


@pytest.mark.parametrize("gold", ["sleep 600", "exit", "float", "nothing 1", "bad"])
def test_the_gym_is_to_blame_where_the_gold_of_the_task_fails_too(scorer: Scorer, gold: str) -> None:
    asked = task(gold)
    score = ask(scorer, asked, "exit" if gold != "nothing 1" else "raise", gym_for(gold))
    if gold == "nothing 1":  # any word that is no command scores 1.0: this gold works
        assert score.status is Status.CRASHED
    else:
        assert score.status is Status.VERIFIER_ERROR and "gold response" in score.detail


def test_without_gold_an_earlier_response_that_was_scored_is_the_control(tmp_path: Path) -> None:
    with Scorer([spec()]) as fresh:
        score = ask(fresh, task(None), "exit")
        assert score.status is Status.VERIFIER_ERROR and "there is no control sample" in score.detail
        assert ask(fresh, task(None, "u"), "well").value == 1.0
        assert ask(fresh, task(None, "v"), "exit").status is Status.CRASHED
        assert ask(fresh, task(None, "v"), "bad").status is Status.BAD_TASK  # another task says nothing of this one
        assert ask(fresh, task(None, "u"), "bad").status is Status.CRASHED
        assert fresh.tally["gym"] == {"verifier_error": 1, "ok": 1, "crashed": 2, "bad_task": 1, CONTROL_FLAG: 2}


@pytest.mark.parametrize("num_workers", [1, 2])
def test_the_first_response_of_all_is_held_until_another_one_is_scored(num_workers: int) -> None:
    async def siblings(scorer: Scorer, responses: list[str]) -> list[Status]:
        asked = [scorer.score(f"{i}", "gym", task(None), text) for i, text in enumerate(responses)]
        return [score.status for score in await asyncio.gather(*asked)]

    with Scorer([spec("HastyWithGold")], num_workers=num_workers) as fresh:
        assert set(asyncio.run(siblings(fresh, ["exit", "raise", "exit 1"]))) == {Status.VERIFIER_ERROR}
        found = asyncio.run(siblings(fresh, ["sleep 600", "exit", "well", "raise"]))
        assert found == [Status.TIMEOUT, Status.CRASHED, Status.OK, Status.CRASHED]
        assert fresh.tally["gym"] == {"verifier_error": 3, "timeout": 1, "crashed": 2, "ok": 1, CONTROL_FLAG: 3}


def test_a_response_that_is_held_is_tried_no_further(tmp_path: Path) -> None:
    tries = tmp_path / "tries"

    async def both(scorer: Scorer) -> list[Score]:
        asked = [scorer.score(text, "gym", task(None), text) for text in (f"crash {tries}", "well")]
        return await asyncio.gather(*asked)

    with Scorer([spec()], num_workers=1) as fresh:
        assert [score.status for score in asyncio.run(both(fresh))] == [Status.CRASHED, Status.OK]
    assert tries.read_text() == "xx"


def test_what_is_held_when_scoring_stops_is_cancelled(tmp_path: Path) -> None:
    mark = tmp_path / "mark"

    async def stop(scorer: Scorer) -> list[Score]:
        waiting = asyncio.create_task(scorer.score("b", "gym", task(None), f"waitmark {mark}"))
        while not mark.exists():
            await asyncio.sleep(0.02)
        held = asyncio.create_task(scorer.score("a", "gym", task(None), "raise"))
        while not scorer._desk._undecided:
            await asyncio.sleep(0.02)
        scorer.close()
        return await asyncio.gather(held, waiting)

    with Scorer([spec()], num_workers=2) as fresh:
        assert {score.status for score in asyncio.run(stop(fresh))} == {Status.CANCELLED}


def test_no_control_runs_where_nothing_faults(tmp_path: Path) -> None:
    calls = tmp_path / "calls"
    with Scorer([spec()]) as fresh:
        for _ in range(3):
            ask(fresh, task(f"count {calls}"), "well")
    assert not calls.exists()


def test_a_control_that_worked_before_an_outage_does_not_speak_of_what_the_outage_breaks(tmp_path: Path) -> None:
    outage = tmp_path / "outage"
    asked = task(f"down {outage}")
    with Scorer([spec()]) as fresh:
        assert ask(fresh, asked, "raise").status is Status.CRASHED
        outage.touch()
        score = ask(fresh, asked, f"down {outage}")
    assert score.status is Status.VERIFIER_ERROR and "the task's gold response fails too" in score.detail


def test_a_control_that_fails_serves_the_next_faults_of_its_task(tmp_path: Path) -> None:
    tries = tmp_path / "tries"
    with Scorer([spec()]) as fresh:
        scores = [ask(fresh, task(f"crash {tries}"), f"raise {i}") for i in range(3)]
    assert [score.status for score in scores] == [Status.VERIFIER_ERROR] * 3
    assert tries.read_text() == "x"


def test_of_a_group_only_the_responses_that_break_the_gym_are_blamed() -> None:
    responses = ["a", "none", "b", "c"]
    with Scorer([spec("GroupsWithGold")]) as fresh:
        scores = asyncio.run(fresh.score_group("g", "gym", task(), responses))
        batch = asyncio.run(fresh.score_batch("b", "gym", [(task(), text) for text in ("well", "exit", "well")]))
    assert scores[1].status is Status.CRASHED
    assert [score.value for score in scores if score.value is not None] == [0.0, 1 / 3, 2 / 3]
    assert [score.status for score in batch] == [Status.OK, Status.CRASHED, Status.OK]


def test_cancelling_while_a_control_runs_leaves_it_to_the_next(tmp_path: Path) -> None:
    mark = tmp_path / "mark"

    async def leave(scorer: Scorer) -> Score:
        first = asyncio.create_task(scorer.score("a", "gym", task(f"waitmark {mark}"), "raise"))
        while not mark.exists():
            await asyncio.sleep(0.02)
        first.cancel()
        await asyncio.gather(first, return_exceptions=True)
        Path(f"{mark}.go").touch()
        return await scorer.score("b", "gym", task(f"waitmark {mark}"), "raise")

    with Scorer([spec()], num_workers=2) as fresh:
        assert asyncio.run(leave(fresh)).status is Status.CRASHED


@pytest.mark.skipif(not Path("/proc/self/schedstat").exists(), reason="this kernel counts no waiting")
def test_a_deadline_does_not_count_the_time_that_a_process_waits_for_a_core() -> None:
    """Second method: the kernel's own sum over a process that shares one core with three others."""
    core = str(min(os.sched_getaffinity(0)))
    busy = [subprocess.Popen(["taskset", "-c", core, sys.executable, "-c", "while True: pass"]) for _ in range(4)]
    try:
        pid = busy[0].pid
        wait_until(lambda: waited_seconds(pid) >= 0.05)
        deadline = Deadline(0.2, pid=pid)
        before, started = waited_seconds(pid), time.monotonic()
        while deadline.left() > 0:
            time.sleep(0.002)
        waited, lasted = waited_seconds(pid) - before, time.monotonic() - started
        assert lasted >= min(0.2 + waited - 0.1, 0.2 * MAX_STRETCH - 0.1)
        assert lasted > 0.2 and waited > 0.0
    finally:
        for process in busy:
            process.kill()
            process.wait()


def test_a_process_that_sleeps_gets_no_extra_time() -> None:
    sleeper = subprocess.Popen(["sleep", "60"])
    try:
        wait_until(lambda: Path(f"/proc/{sleeper.pid}/stat").read_text().rpartition(")")[2].split()[0] == "S")
        before = waited_seconds(sleeper.pid)
        deadline = Deadline(0.1, pid=sleeper.pid)
        time.sleep(0.15)
        assert deadline.left() <= waited_seconds(sleeper.pid) - before - 0.04
    finally:
        sleeper.kill()
        sleeper.wait()
