"""Ten thousand queued scores: each is right, no object is kept of them, and nothing of them is left.

Objects are counted, in this process and, by a gym that answers with its own count, in the workers: resident memory also
moves with what the allocator thinks of its neighbours.
"""

from __future__ import annotations

import asyncio
import gc
import os
import tempfile
import threading
from pathlib import Path

import pytest

from gyms.api import Status, Task, message
from gyms.children import children_of
from gyms.load import GymSpec
from reward.scorer import Scorer

pytestmark = pytest.mark.integration

NUM_SCORES = 10_000
MAX_NEW_OBJECTS = 500
"""Of the host and of each worker, over the second half, which asks what the first half asked: a tenth of an object for
each of its scores, where keeping anything of a score would be one at least."""
COUNTING_GYM = """
import gc
import os
from gyms.api import Score, Status
from gyms.arithmetic.gym import Arithmetic


class Counting(Arithmetic):
    def score(self, task, response):
        if response != "count":
            return super().score(task, response)
        gc.collect()
        return Score(status=Status.OK, value=1.0, answer=f"{os.getpid()} {len(gc.get_objects())}")
"""
NUM_COUNTS = 16
"""Asked at one time, so that no worker stays idle."""


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


async def num_objects(scorer: Scorer, name: str) -> dict[str, int]:
    """Objects that the garbage collector knows, in this process and in the workers, by process."""
    gc.collect()
    found = {"host": len(gc.get_objects())}
    task = Task(id="count", prompt=())
    jobs = [scorer.score(f"{name}/{number}", "arithmetic", task, "count") for number in range(NUM_COUNTS)]
    for score in await asyncio.gather(*jobs):
        pid, count = (score.answer or "").split()
        found[pid] = int(count)
    return found


def mounts_below(folder: Path) -> list[str]:
    return [line for line in Path("/proc/self/mounts").read_text().splitlines() if str(folder) in line]


async def score_all(scorer: Scorer, numbers: range, *, half: str) -> list[str]:
    """What is wrong with the scores, which are not kept."""
    jobs = []
    for number in numbers:
        gym, task, response, _ = question(number)
        jobs.append(scorer.score(f"{half}/{number}", gym, task, response))
    scores = await asyncio.gather(*jobs)
    wanted = [question(number)[3] for number in numbers]
    return [
        f"{score}: not {value}"
        for score, value in zip(scores, wanted, strict=True)
        if score.status is not Status.OK or score.value != value
    ]


def workers_below(pid: int) -> list[int]:
    return [worker for keeper in children_of(pid) for worker in children_of(keeper)]


def test_ten_thousand_scores_are_right_and_leave_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr(tempfile, "tempdir", None)
    (tmp_path / "counting.py").write_text(COUNTING_GYM)
    specs = [GymSpec(name="arithmetic", reference=f"{tmp_path / 'counting.py'}:Counting")]
    specs.append(GymSpec(name="math", reference="math"))
    half = range(NUM_SCORES // 2)
    asyncio.run(asyncio.sleep(0))  # what asyncio keeps for itself is there before the count
    threads, fds, children = threading.active_count(), own("fd"), children_of(os.getpid())
    with Scorer(specs, num_workers=2) as scorer:
        wrong = asyncio.run(score_all(scorer, half, half="first"))  # all of them wait at one time
        workers = workers_below(os.getpid())
        before = asyncio.run(num_objects(scorer, "before"))
        wrong += asyncio.run(score_all(scorer, half, half="second"))
        after = asyncio.run(num_objects(scorer, "after"))
        assert set(workers_below(os.getpid())) >= set(workers)
        tally = {gym: sum(counts.values()) for gym, counts in scorer.tally.items()}
    assert wrong == []
    assert tally == {"arithmetic": NUM_SCORES // 2 + 2 * NUM_COUNTS, "math": NUM_SCORES // 2}
    grown = {process: after[process] - before[process] for process in before.keys() & after.keys()}
    assert len(grown) >= 2 and max(grown.values()) < MAX_NEW_OBJECTS, grown
    assert threading.active_count() <= threads
    assert own("fd") <= fds
    assert set(children_of(os.getpid())) <= set(children)
    assert mounts_below(tmp_path) == []
    assert {path.name for path in tmp_path.iterdir()} <= {"counting.py", "__pycache__"}
