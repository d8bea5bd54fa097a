"""No gym can harm the run: after every disaster the next score works, and no process, pipe or folder is left."""

from __future__ import annotations

import asyncio
import itertools
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from gyms.api import Score, Status, Task, message
from gyms.load import GymSpec
from gyms.response import Response
from reward.control import CONTROL_FLAG
from reward.scorer import Scorer
from tests.contract.reward.processes import children, wait_until

FILE = Path(__file__).parent / "bad_gyms.py"
REQUESTS = itertools.count()
TASK = Task(id="t", prompt=(message("user", "?"),))


def spec(class_name: str, name: str | None = None) -> GymSpec:
    return GymSpec(name=name or class_name, reference=f"{FILE}:{class_name}")


def is_running(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


@pytest.fixture(scope="module")
def shared(others: frozenset[int]) -> Iterator[Scorer]:
    with Scorer([spec("Obedient", "gym"), spec("Impatient", "impatient")], num_workers=1) as scorer:
        yield scorer


def ask(scorer: Scorer, response: str, gym: str = "gym") -> Score:
    return asyncio.run(scorer.score(f"r{next(REQUESTS)}", gym, TASK, response))


@pytest.mark.parametrize(
    ("response", "cause"),
    [
        ("exit", "its process exited with status 7"),
        ("segfault", "its process was killed by SIGSEGV"),
        ("raise", "score raised KeyError: 'lost\\nkey' at bad_gyms.py:"),
        ("recurse", "score raised RecursionError"),
        ("close hang", "closed its reply channel"),
        ("scribble", "bytes on the reply channel that are no frame"),
        ("float", "score returned float, expected gyms.api.Score"),
        ("nan", "a reply that is not JSON (NaN is not a number)"),
        ("truncated", "the status truncated, which only the pipeline may give"),
        ("orphan", "its process exited with status 0"),
    ],
)
def test_a_disaster_costs_one_sample_and_the_next_score_works(
    shared: Scorer, others: frozenset[int], response: str, cause: str
) -> None:
    assert ask(shared, "well").value == 1.0
    score = ask(shared, response)
    assert score.status is Status.CRASHED and CONTROL_FLAG in score.flags
    assert "gym 'gym': " in score.detail
    assert cause in score.detail
    assert ask(shared, "well").value == 1.0
    assert len(children() - others) <= 1


def test_a_gym_that_closes_everything_and_fails_is_named_by_what_is_seen_first(shared: Scorer) -> None:
    score = ask(shared, "close")
    cause = score.detail.removeprefix("gym 'gym': ").split(";")[0]
    assert cause in ("closed its reply channel", "its process exited with status 1")
    assert ask(shared, "well").value == 1.0


def test_a_gym_that_hangs_costs_one_sample_and_the_next_score_works(shared: Scorer, others: frozenset[int]) -> None:
    score = ask(shared, "hang", gym="impatient")
    assert score.status is Status.VERIFIER_ERROR  # there is no gold, and nothing that was scored well before
    assert "gym 'impatient': hung in score: no answer within 1 s (needs.wall_seconds)" in score.detail
    assert ask(shared, "well").value == 1.0
    assert len(children() - others) <= 2  # the other one is the control sample's, at rest


@pytest.mark.parametrize("response", ["print", "fork", "thread"])
def test_noise_does_not_disturb_the_score(shared: Scorer, response: str) -> None:
    assert [ask(shared, response).value for _ in range(3)] == [1.0, 1.0, 1.0]


@pytest.mark.parametrize("response", ["", "\x00", "\ud800", "x" * 3_000_000, "\u202e\U0001f600" * 1000])
def test_any_response_reaches_the_gym(shared: Scorer, response: str) -> None:
    assert ask(shared, response).value == 1.0


def test_an_exception_does_not_cost_the_worker(shared: Scorer) -> None:
    before = ask(shared, "well").answer
    ask(shared, "raise")
    assert ask(shared, "well").answer == before


def test_a_crash_that_does_not_repeat_is_saved_by_the_retry(shared: Scorer, tmp_path: Path) -> None:
    assert ask(shared, f"once {tmp_path / 'mark'}").value == 1.0


def test_a_failed_judge_is_retried_once_and_its_status_kept(shared: Scorer, tmp_path: Path) -> None:
    assert ask(shared, f"judge {tmp_path / 'calls'}").status is Status.JUDGE_FAILED
    assert (tmp_path / "calls").read_text() == "xx"


def test_a_worker_killed_while_idle_is_replaced_unseen(shared: Scorer) -> None:
    pid = int(ask(shared, "well").answer or 0)
    os.kill(pid, signal.SIGKILL)
    assert ask(shared, "well").value == 1.0


def test_children_of_a_hung_gym_die_with_it(shared: Scorer, tmp_path: Path) -> None:
    assert "hung in score" in ask(shared, f"spawn {tmp_path / 'pid'}", gym="impatient").detail
    wait_until(lambda: not is_running(int((tmp_path / "pid").read_text())))


def test_the_scratch_folder_lives_as_long_as_the_worker() -> None:
    with Scorer([spec("Obedient", "gym")]) as scorer:
        folder = Path(ask(scorer, "scratch").answer or "")
        assert (folder / "file").exists()
    assert not folder.parent.exists()


def test_close_leaves_nothing(nothing_left: None) -> None:
    with Scorer([spec("Obedient", "gym")], num_workers=2) as scorer:
        for response in ("well", "exit", "well"):
            ask(scorer, response)
    with pytest.raises(RuntimeError, match="closed"):
        ask(scorer, "well")


def test_a_neighbour_scores_while_another_gym_hangs() -> None:
    async def both(scorer: Scorer) -> list[Score]:
        await scorer.score("warmer", "gym", TASK, "well")
        await scorer.score("warm", "other", TASK, "well")
        hung = asyncio.create_task(scorer.score("a", "gym", TASK, "hang"))
        scores = [await scorer.score(str(i), "other", TASK, "well") for i in range(20)]
        assert not hung.done()
        hung.cancel()
        await asyncio.gather(hung, return_exceptions=True)
        return scores

    with Scorer([spec("Obedient", "gym"), spec("Obedient", "other")], num_workers=2) as scorer:
        scores = asyncio.run(both(scorer))
    assert [score.value for score in scores] == [1.0] * 20


def test_requests_are_served_first_in_first_out_and_all_answered() -> None:
    async def many(scorer: Scorer) -> list[str]:
        done: list[str] = []

        async def one(name: str) -> None:
            await scorer.score(name, "gym", TASK, "well")
            done.append(name)

        await asyncio.gather(*(one(str(i)) for i in range(50)))
        return done

    with Scorer([spec("Obedient", "gym")]) as scorer:
        assert asyncio.run(many(scorer)) == [str(i) for i in range(50)]


def test_cancelling_kills_the_busy_worker_and_the_scorer_goes_on(tmp_path: Path) -> None:
    async def cancelled(scorer: Scorer) -> Score:
        before = await scorer.score("w", "gym", TASK, "well")
        busy = asyncio.create_task(scorer.score("a", "gym", TASK, f"spawn {tmp_path / 'pid'}"))
        queued = asyncio.create_task(scorer.score("b", "gym", TASK, "hang"))
        while not (tmp_path / "pid").exists():
            await asyncio.sleep(0.02)
        for task in (busy, queued):
            task.cancel()
        results = await asyncio.gather(busy, queued, return_exceptions=True)
        assert all(isinstance(result, asyncio.CancelledError) for result in results)
        after = await scorer.score("c", "gym", TASK, "well")
        assert not is_running(int(before.answer or 0))
        return after

    with Scorer([spec("Obedient", "gym")]) as scorer:
        assert asyncio.run(cancelled(scorer)).value == 1.0


def test_closing_answers_what_still_waits_with_cancelled() -> None:
    async def closing(scorer: Scorer) -> list[Score]:
        tasks = [asyncio.create_task(scorer.score(str(i), "gym", TASK, "hang")) for i in range(3)]
        await asyncio.sleep(0.3)
        scorer.close()
        return await asyncio.gather(*tasks)

    scores = asyncio.run(closing(Scorer([spec("Obedient", "gym")])))
    assert [score.status for score in scores] == [Status.CANCELLED] * 3


@pytest.mark.parametrize(
    ("class_name", "cause"),
    [
        ("CannotBuild", "build raised ValueError"),
        ("NoDeadline", "wall_seconds"),
    ],
)
def test_a_gym_that_cannot_be_built_is_named(class_name: str, cause: str) -> None:
    with Scorer([spec(class_name, "broken"), spec("Obedient", "gym")]) as scorer:
        score = ask(scorer, "well", gym="broken")
        assert score.status is Status.VERIFIER_ERROR
        assert "gym 'broken': " in score.detail and cause in score.detail
        assert ask(scorer, "well").value == 1.0


def test_a_gym_that_does_not_exist_or_refuses_its_settings_is_the_fault_of_who_asked() -> None:
    refused = GymSpec(name="refused", reference=f"{FILE}:Obedient", args={"bogus": 1}, config_key="row")
    with Scorer([spec("Missing"), refused, spec("Obedient", "gym")]) as scorer:
        missing, bogus = ask(scorer, "well", gym="Missing"), ask(scorer, "well", gym="refused")
        assert missing.status is bogus.status is Status.BAD_TASK
        assert "gym 'Missing': gyms.Missing.gym = " in missing.detail and "has no 'Missing'" in missing.detail
        assert bogus.detail == "gym 'refused': row.args.bogus: unknown setting. Known settings: none"
        assert ask(scorer, "well").value == 1.0


def test_a_gym_that_hangs_while_it_is_built_is_named() -> None:
    for seconds in (1, 4, 16, 64, 256):  # on a busy machine the process itself may take longer than the first
        with Scorer([spec("HangsInBuild", "slow")], start_seconds=float(seconds)) as scorer:
            detail = ask(scorer, "well", gym="slow").detail
        if "the worker process did not start" not in detail:
            break
    assert detail == f"gym 'slow': hung in build: no answer within {seconds} s (the scorer's start_seconds)"


def test_a_task_that_cannot_be_pickled_is_a_fault_of_the_gym(shared: Scorer) -> None:
    task = Task(id="t", prompt=(), data={"f": lambda: 1})
    score = asyncio.run(shared.score("r", "gym", task, "well"))
    assert score.status is Status.VERIFIER_ERROR
    assert "pickle" in score.detail


def test_wrong_use_is_a_value_error() -> None:
    with pytest.raises(ValueError, match=r"reward\.num_workers must be at least 1, got 0"):
        Scorer([], num_workers=0)
    with pytest.raises(ValueError, match="same name"):
        Scorer([spec("Obedient"), spec("Obedient")])
    with Scorer([spec("Obedient", "gym")]) as scorer, pytest.raises(ValueError, match="no gym 'other'"):
        ask(scorer, "well", gym="other")


def test_workers_die_with_a_host_that_is_killed(tmp_path: Path) -> None:
    program = tmp_path / "host.py"
    program.write_text(
        "import asyncio, os, signal, sys\n"
        "from gyms.api import Task\nfrom gyms.load import GymSpec\nfrom reward.scorer import Scorer\n"
        f"scorer = Scorer([GymSpec(name='gym', reference={f'{FILE}:Obedient'!r})])\n"
        "score = asyncio.run(scorer.score('r', 'gym', Task(id='t', prompt=()), 'well'))\n"
        "print(score.answer, flush=True)\n"
        "os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    env = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path), "TMPDIR": str(tmp_path)}
    host = subprocess.run([sys.executable, str(program)], capture_output=True, text=True, env=env, timeout=300)
    assert host.returncode == -signal.SIGKILL, host.stderr
    wait_until(lambda: not is_running(int(host.stdout)))


def test_a_worker_is_handed_what_counts_of_a_response_and_all_of_it() -> None:
    with Scorer([spec("Reader", "gym")]) as scorer:
        assert (
            ask(scorer, Response("say <think>", "4?</plan>say <think>")).answer == "say <think> of 4?</plan>say <think>"
        )
        assert ask(scorer, "<think>4?</think>5").answer == "5 of <think>4?</think>5"
