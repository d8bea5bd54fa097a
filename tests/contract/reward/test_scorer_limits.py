"""Limits from outside, escaping processes, groups, fair shares, back-pressure, and asking twice."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from gyms.api import CaseResult, Score, Status, Task, message
from gyms.load import GymSpec
from reward.scorer import Scorer
from tests.contract.reward.processes import wait_until

FILE = Path(__file__).parent / "bad_gyms.py"
TASK = Task(id="t", prompt=(message("user", "?"),))


def spec(class_name: str, name: str = "gym") -> GymSpec:
    return GymSpec(name=name, reference=f"{FILE}:{class_name}")


def is_running(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


@pytest.fixture(scope="module")
def shared() -> Iterator[Scorer]:
    names = {
        "gym": "Obedient",
        "impatient": "Impatient",
        "declares": "Declares",
        "groups": "Groups",
        "nothing": "DeclaresNothing",
    }
    specs = [spec(class_name, name) for name, class_name in names.items()]
    with Scorer(specs, num_workers=1) as scorer:
        yield scorer


_count = iter(range(10**9))


def ask(scorer: Scorer, response: str, gym: str = "gym") -> Score:
    return asyncio.run(scorer.score(f"r{next(_count)}", gym, TASK, response))


@pytest.mark.parametrize(
    ("response", "cause"),
    [
        ("quit", "score raised SystemExit: 3"),
        ("none", "score returned NoneType, expected gyms.api.Score"),
        ("inf", "must be a number in [0, 1]"),
        ("kill", "its process was killed by SIGKILL"),
        ("kill 40", "its process was killed by signal 40"),
    ],
)
def test_what_is_no_score_is_held_against_the_response_that_led_to_it(
    shared: Scorer, response: str, cause: str
) -> None:
    assert ask(shared, "well").value == 1.0
    score = ask(shared, response)
    assert score.status is Status.CRASHED and cause in score.detail
    assert ask(shared, "well").value == 1.0


def test_a_truth_value_counts_as_a_number(shared: Scorer) -> None:
    score = ask(shared, "true")
    assert score.value == 1.0 and type(score.value) is float


def test_a_process_that_left_the_group_dies_with_the_worker(tmp_path: Path) -> None:
    with Scorer([spec("Obedient")]) as scorer:
        assert ask(scorer, f"daemon {tmp_path / 'pid'}").value == 1.0
        pid = int((tmp_path / "pid").read_text())
        assert is_running(pid)
        ask(scorer, "exit")
        assert not is_running(pid)


def test_a_fork_bomb_leaves_nothing(shared: Scorer) -> None:
    assert ask(shared, "well").value == ask(shared, "well", gym="impatient").value == 1.0
    before = workers_of_this_process()
    assert before
    assert ask(shared, "forkbomb", gym="impatient").status is Status.TIMEOUT
    assert len(workers_of_this_process() - before) <= 2  # keeper and worker of the control sample, at rest
    assert ask(shared, "well").value == 1.0


def workers_of_this_process() -> set[str]:
    """Processes whose command line is that of a worker and names this process, forks of workers included."""
    marker = f"{os.getpid()}".encode()
    lines = {path.parent.name: _read(path).split(b"\0") for path in Path("/proc").glob("[0-9]*/cmdline")}
    return {pid for pid, line in lines.items() if line[2:4] == [b"-m", b"reward.worker"] and marker in line}


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError:
        return b""


def test_nothing_is_left_of_a_killed_host_either(tmp_path: Path) -> None:
    program = tmp_path / "host.py"
    program.write_text(
        "import asyncio, os, signal\n"
        "from gyms.api import Task\nfrom gyms.load import GymSpec\nfrom reward.scorer import Scorer\n"
        f"scorer = Scorer([GymSpec(name='gym', reference={f'{FILE}:Obedient'!r})])\n"
        f"asyncio.run(scorer.score('r', 'gym', Task(id='t', prompt=()), {f'daemon {tmp_path / chr(112)}'!r}))\n"
        "os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    env = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path), "TMPDIR": str(scratch)}
    host = subprocess.run([sys.executable, str(program)], capture_output=True, text=True, env=env, timeout=300)
    assert host.returncode == -signal.SIGKILL, host.stderr
    pid = int((tmp_path / "p").read_text())
    wait_until(lambda: not is_running(pid))
    wait_until(lambda: list(scratch.iterdir()) == [])


def test_cpu_time_is_limited_from_outside() -> None:
    with Scorer([spec("Burns")]) as scorer:
        score = ask(scorer, "hang")
        assert "gym 'gym': hung in score: used over 0.3 s of CPU time (needs.cpu_seconds)" in score.detail
        assert ask(scorer, "sleep 0.6").value == 1.0  # time asleep is not CPU time


def test_memory_is_limited_and_the_next_score_works() -> None:
    with Scorer([spec("Hoards")]) as scorer:
        score = ask(scorer, "hoard")
        assert score.status is Status.VERIFIER_ERROR and "MemoryError" in score.detail
        assert ask(scorer, "well").value == 1.0


def test_undeclared_components_are_a_fault_and_all_else_of_a_score_arrives(shared: Scorer) -> None:
    score = ask(shared, "extra", "declares")
    assert score.status is Status.VERIFIER_ERROR and "undeclared component ['wrong']" in score.detail
    score = ask(shared, "right", "declares")
    assert score.cases == (CaseResult(id="a", passed=True), CaseResult(id="b", passed=False, reason="no"))
    assert score.provenance == {"tier": "none"} and score.seconds > 0.0


@pytest.mark.parametrize(
    ("response", "key"),
    [
        ("popen", "processes"),
        ("system", "processes"),
        ("fork", "processes"),
        ("swallow", "processes"),
        ("in_thread", "processes"),
        ("connect", "network"),
        ("lookup", "network"),
    ],
)
def test_what_a_gym_does_not_declare_is_refused_and_named(shared: Scorer, response: str, key: str) -> None:
    score = ask(shared, response, gym="nothing")
    assert score.status is Status.VERIFIER_ERROR and score.value is None
    assert f"declare Needs({key}=True)" in score.detail
    assert ask(shared, "well", gym="nothing").value == 1.0


def test_what_is_declared_or_local_is_let_through(shared: Scorer) -> None:
    assert ask(shared, "local", gym="nothing").value == 1.0
    with Scorer([spec("DeclaresAll")]) as scorer:
        for response in ("popen", "system", "swallow", "connect", "lookup"):
            assert ask(scorer, response).value == 1.0


def test_a_group_is_scored_together_and_its_length_checked(shared: Scorer) -> None:
    def group(responses: list[str]) -> list[Score]:
        return asyncio.run(shared.score_group(f"g{next(_count)}", "groups", TASK, responses))

    assert [score.value for score in group(["a", "b", "c", "d"])] == [0.0, 0.25, 0.5, 0.75]
    short = group(["b", "short"])  # no harm where it is not the first, nor where it is alone
    assert [score.value for score in short] == [0.0, 0.5]
    faults = group(["short", "b"])
    assert all("score_group returned 1 scores for 2 responses" in score.detail for score in faults)
    assert all(score.status is Status.VERIFIER_ERROR for score in faults)
    found = group(["none", "b", "c"])
    assert found[0].status is Status.CRASHED and "score_group returned NoneType" in found[0].detail
    assert [score.value for score in found[1:]] == [0.0, 0.5]
    assert group([]) == []


def test_a_batch_is_scored_in_order(shared: Scorer) -> None:
    scores = asyncio.run(shared.score_batch("b", "gym", [(TASK, "well"), (TASK, "true"), (TASK, "well")]))
    assert [score.value for score in scores] == [1.0, 1.0, 1.0]


def test_asking_again_gives_the_same_answer_without_verifying_again(shared: Scorer, tmp_path: Path) -> None:
    async def twice() -> list[Score]:
        both = [shared.score("same", "gym", TASK, "sleep 0.1") for _ in range(2)]
        return [*await asyncio.gather(*both), await shared.score("same", "gym", TASK, "sleep 0.1")]

    first, second, third = asyncio.run(twice())
    assert first is second is third
    assert asyncio.run(shared.score("same", "gym", TASK, "well")) is not first


def test_a_fault_is_not_remembered(shared: Scorer, tmp_path: Path) -> None:
    calls = tmp_path / "calls"
    for _ in range(2):
        asyncio.run(shared.score("judged", "gym", TASK, f"judge {calls}"))
    assert calls.read_text() == "xxxx"


def test_one_caller_may_leave_and_the_other_still_gets_the_answer(shared: Scorer) -> None:
    async def both() -> Score:
        one, other = (asyncio.create_task(shared.score("pair", "gym", TASK, "sleep 0.2")) for _ in range(2))
        await asyncio.sleep(0.05)
        one.cancel()
        return await other

    assert asyncio.run(both()).value == 1.0


def test_scores_depend_on_neither_order_nor_thread_nor_worker() -> None:
    responses = ["random", "set", "well 1", "random", "set"] * 4

    def all_of(scorer: Scorer, order: list[int]) -> list[tuple[float | None, str | None]]:
        with ThreadPoolExecutor(4) as threads:
            jobs = {i: threads.submit(ask, scorer, responses[i]) for i in order}
            scores = [jobs[i].result() for i in range(len(order))]
        return [(s.value, s.answer if responses[i] == "set" else None) for i, s in enumerate(scores)]

    with Scorer([spec("Obedient")], num_workers=2) as scorer:
        forward = all_of(scorer, list(range(20)))
        assert all_of(scorer, list(range(20))[::-1]) == forward


def test_a_flood_of_one_gym_does_not_starve_another() -> None:
    async def flood(scorer: Scorer) -> int:
        done: list[str] = []

        async def one(name: str, gym: str) -> None:
            await scorer.score(name, gym, TASK, "sleep 0.01")
            done.append(gym)

        await asyncio.gather(one("w1", "gym"), one("w2", "other"))
        done.clear()
        jobs = [asyncio.create_task(one(f"flood{i}", "gym")) for i in range(40)]
        await asyncio.sleep(0)
        await one("late", "other")
        place = len(done)
        await asyncio.gather(*jobs)
        return place

    with Scorer([spec("Obedient"), spec("Obedient", "other")], num_workers=1, max_pending=8) as scorer:
        assert asyncio.run(flood(scorer)) <= 4


def test_a_full_queue_makes_callers_wait_and_loses_nobody(tmp_path: Path) -> None:
    with Scorer([spec("Obedient")], num_workers=1, max_pending=2) as scorer:
        ask(scorer, "well")
        started = threading.Event()
        futures = []

        def submit() -> None:
            for i in range(6):
                futures.append(scorer.submit(f"s{i}", "gym", TASK, f"wait {tmp_path / 'go'}"))
            started.set()

        thread = threading.Thread(target=submit)
        thread.start()
        wait_until(lambda: len(futures) >= 2)
        time.sleep(0.2)  # in which all six would be submitted, did nothing hold them back
        assert len(futures) <= 3 and not started.is_set()
        (tmp_path / "go").touch()
        thread.join()
        assert started.is_set() and [future.result()[0].value for future in futures] == [1.0] * 6
        assert scorer.tally["gym"]["ok"] == 7
