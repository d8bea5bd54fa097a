"""Ten thousand queued scores: each is right, memory stays flat, and nothing of them is left."""

from __future__ import annotations

import asyncio
import os
import tempfile
import threading
from pathlib import Path

import pytest

from gyms.api import Score, Status, Task, message
from gyms.load import GymSpec
from reward.keeper import children_of
from reward.scorer import Scorer

pytestmark = pytest.mark.integration

NUM_SCORES = 10_000
MAX_GROWTH_BYTES = 8 << 20
"""Of the host and of each worker, while the second half is scored just as the first half was."""


def question(number: int) -> tuple[str, Task, str, float]:
    """Gym, task, response and the value that it must get; every third response is wrong."""
    first, second = number % 89, number % 97
    said = first + second + (number % 3 == 0)
    asked = (message("user", f"What is {first} + {second}?"),)
    if number % 2:
        task = Task(id=f"{number}", prompt=asked, data={"answer": f"{first + second}", "operands": [first, second]})
        return "arithmetic", task, f"{first} + {second} = {said}", float(number % 3 != 0)
    task = Task(id=f"{number}", prompt=asked, data={"answer": f"\\frac{{{first + second}}}{{7}}"})
    return "math", task, f"So it is \\boxed{{{said}/7}}.", float(number % 3 != 0)


def own(folder: str) -> set[str]:
    return {path.name for path in Path(f"/proc/self/{folder}").iterdir()}


def resident_bytes(pid: int | str = "self") -> int:
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def num_mounts() -> int:
    return len(Path("/proc/self/mounts").read_text().splitlines())


async def score_all(scorer: Scorer, numbers: range) -> list[Score]:
    jobs = []
    for number in numbers:
        gym, task, response, _ = question(number)
        jobs.append(scorer.score(f"request/{number}", gym, task, response))
    return list(await asyncio.gather(*jobs))


def workers_below(pid: int) -> list[int]:
    return [worker for keeper in children_of(pid) for worker in children_of(keeper)]


def test_ten_thousand_scores_are_right_and_leave_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr(tempfile, "tempdir", None)
    specs = [GymSpec(name=name, reference=name) for name in ("arithmetic", "math")]
    asyncio.run(asyncio.sleep(0))  # what asyncio keeps for itself is there before the count
    threads, fds, children, mounts = threading.active_count(), own("fd"), children_of(os.getpid()), num_mounts()
    with Scorer(specs, num_workers=2) as scorer:
        scores = asyncio.run(score_all(scorer, range(NUM_SCORES // 2)))  # all of them wait at one time
        workers = workers_below(os.getpid())
        before = {pid: resident_bytes(pid) for pid in ("self", *workers)}
        scores += asyncio.run(score_all(scorer, range(NUM_SCORES // 2, NUM_SCORES)))
        assert set(workers_below(os.getpid())) >= set(workers)
        growth = {pid: resident_bytes(pid) - num_bytes for pid, num_bytes in before.items()}
        tally = {gym: sum(counts.values()) for gym, counts in scorer.tally.items()}
    assert [score.status for score in scores] == [Status.OK] * NUM_SCORES
    assert [score.value for score in scores] == [question(number)[3] for number in range(NUM_SCORES)]
    assert tally == {"arithmetic": NUM_SCORES // 2, "math": NUM_SCORES // 2}
    assert workers and max(growth.values()) < MAX_GROWTH_BYTES, growth
    assert threading.active_count() == threads
    assert own("fd") == fds
    assert children_of(os.getpid()) == children
    assert num_mounts() == mounts
    assert list(tmp_path.iterdir()) == []
