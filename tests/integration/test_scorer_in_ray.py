"""A scorer inside a Ray worker: deadlines hold there too, and what a gym does there stays there."""

from __future__ import annotations

import os
import select
from collections.abc import Iterator
from pathlib import Path

import pytest
import ray

from gyms.api import Score, Status, Task, message
from gyms.load import GymSpec
from reward.scorer import Scorer
from tests.integration.harness import PATIENCE, ROOT

pytestmark = pytest.mark.integration

BAD_GYMS = ROOT / "tests" / "contract" / "reward" / "bad_gyms.py"
SUM = Task(id="sum", prompt=(message("user", "What is 17 + 25?"),), data={"answer": "42", "operands": [17, 25]})
ASKED = Task(id="t", prompt=(message("user", "?"),))

GYMS = {"bad": "Obedient", "impatient": "Impatient"}


@ray.remote(num_cpus=1, max_restarts=0)
class Rewarder:
    """Scores in an actor with an event loop, as a rollout worker would."""

    def __init__(self, specs: list[GymSpec]) -> None:
        self._scorer = Scorer(specs, num_workers=2)

    async def score(self, request_id: str, gym: str, task: Task, response: str) -> Score:
        return await self._scorer.score(request_id, gym, task, response)

    async def pid(self) -> int:
        return os.getpid()

    async def tally(self) -> dict[str, dict[str, int]]:
        return {gym: dict(counts) for gym, counts in self._scorer.tally.items()}

    async def close(self) -> list[int]:
        """Close the scorer; what is then left below this process."""
        self._scorer.close()
        return [int(pid) for file in Path("/proc/self/task").glob("*/children") for pid in file.read_text().split()]


@pytest.fixture(scope="module")
def cluster() -> Iterator[None]:
    environment = {"env_vars": {"PYTHONPATH": str(ROOT)}}
    ray.init("local", num_cpus=1, include_dashboard=False, log_to_driver=False, runtime_env=environment)
    yield
    ray.shutdown()


@pytest.fixture
def rewarder(cluster: None) -> Iterator[ray.actor.ActorHandle]:
    sums = GymSpec(name="sums", reference="arithmetic")
    bad, impatient = (GymSpec(name=name, reference=f"{BAD_GYMS}:{kind}") for name, kind in GYMS.items())
    actor = Rewarder.remote([sums, bad, impatient])
    yield actor
    ray.kill(actor)  # frees its CPU for the next


def is_running(pid: int) -> bool:
    stat = Path(f"/proc/{pid}/stat")
    return stat.exists() and stat.read_text().rpartition(")")[2].split()[0] != "Z"


def test_a_hanging_gym_in_an_actor_costs_its_own_sample(rewarder: ray.actor.ActorHandle, tmp_path: Path) -> None:
    child = tmp_path / "child"
    asked = [
        rewarder.score.remote("sum/0", "sums", SUM, "17 + 25 = 42"),
        rewarder.score.remote("hang", "impatient", ASKED, "hang"),
        rewarder.score.remote("spawn", "impatient", ASKED, f"spawn {child}"),
        rewarder.score.remote("exit", "bad", ASKED, "exit"),
        rewarder.score.remote("sum/1", "sums", SUM, "41"),
    ]
    right, hung, spawned, ended, wrong = ray.get(asked, timeout=PATIENCE)
    assert (right.status, right.value, wrong.value) == (Status.OK, 1.0, 0.0)
    assert hung.status is spawned.status is ended.status is Status.VERIFIER_ERROR and hung.status.is_masked
    assert "gym 'impatient': hung in score: no answer within 1 s (needs.wall_seconds)" in hung.detail
    assert "exited with status 7" in ended.detail
    assert not is_running(int(child.read_text()))
    after = [("bad", ASKED, "well"), ("sums", SUM, "42")]
    asked = [rewarder.score.remote(f"after/{gym}", gym, task, said) for gym, task, said in after]
    scores = ray.get(asked, timeout=PATIENCE)
    assert [score.value for score in scores] == [1.0, 1.0]
    assert ray.get(rewarder.tally.remote(), timeout=PATIENCE) == {
        "sums": {"ok": 3},
        "bad": {"verifier_error": 1, "ok": 1},
        "impatient": {"verifier_error": 2},
    }
    assert ray.get(rewarder.close.remote(), timeout=PATIENCE) == []


def test_a_killed_actor_takes_its_workers_with_it(rewarder: ray.actor.ActorHandle) -> None:
    score = ray.get(rewarder.score.remote("warm", "bad", ASKED, "well"), timeout=PATIENCE)
    worker = int(score.answer)  # this gym answers with the number of its process
    assert is_running(worker) and worker != ray.get(rewarder.pid.remote(), timeout=PATIENCE)
    ray.kill(rewarder)
    assert wait_for_end(worker), f"the scoring worker {worker} outlived its actor"


def wait_for_end(pid: int, seconds: float = 240.0) -> bool:
    descriptor = os.pidfd_open(pid) if is_running(pid) else None
    if descriptor is None:
        return True
    try:
        return bool(select.select([descriptor], [], [], seconds)[0])
    finally:
        os.close(descriptor)
