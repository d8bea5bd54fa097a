"""A worker's process by itself, and the thread that started it."""

from __future__ import annotations

import pickle
import sys
import tempfile
import threading
import time
from pathlib import Path

import pytest

from gyms.api import Task, message
from gyms.load import GymSpec
from reward.process import Request, WorkerProcess
from tests.contract.reward.processes import children, wait_until

FILE = Path(__file__).with_name("bad_environments.py")


def asked(response: str) -> Request:
    """For the score of one response."""
    task = Task(id="t", prompt=(message("user", "?"),))
    return Request(kind="one", payload=pickle.dumps((task, [response])), num_responses=1)


def test_an_answer_that_came_in_time_counts_also_where_the_host_was_held_up_past_the_deadline(
    nothing_left: None,
) -> None:
    worker = WorkerProcess(GymSpec(name="impatient", reference=f"{FILE}:Impatient"), start_seconds=120.0)

    def held_up() -> bool:
        """Longer than the gym may take, whenever it is asked whether to stop."""
        time.sleep(1.2)
        return False

    try:
        assert worker.score(asked("well"), lambda: False)[0].value == 1.0  # it is started now
        assert worker.score(asked("well"), held_up)[0].value == 1.0
    finally:
        worker.kill()


def test_a_worker_outlives_the_thread_that_started_it(nothing_left: None) -> None:
    worker = WorkerProcess(GymSpec(name="obedient", reference=f"{FILE}:Obedient"), start_seconds=120.0)
    request = asked("well")

    def ask() -> None:
        assert worker.score(request, lambda: False)[0].value == 1.0

    before, starter = children(), threading.Thread(target=ask)
    try:
        starter.start()
        starter.join()
        wait_until(lambda: not Path(f"/proc/self/task/{starter.native_id}").exists())
        wait_until(lambda: bool(children() - before))  # a thread that ends hands its children to another
        (keeper,) = children() - before
        time.sleep(0.2)  # the kernel tells the keeper of the thread's end, not of the process's
        ask()
        assert children() - before == {keeper}
    finally:
        worker.kill()


@pytest.mark.parametrize("lacking", ["room for its folder", "its interpreter"])
def test_a_worker_that_cannot_be_started_leaves_no_descriptor_and_no_folder(
    lacking: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    worker = WorkerProcess(GymSpec(name="obedient", reference=f"{FILE}:Obedient"), start_seconds=120.0)
    if lacking == "its interpreter":
        monkeypatch.setattr(sys, "executable", str(tmp_path / "nowhere"))
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path if lacking == "its interpreter" else tmp_path / "nowhere"))
    with Path("/dev/null").open("rb") as stderr:
        num_fds = len(list(Path("/proc/self/fd").iterdir()))
        with pytest.raises(FileNotFoundError, match="nowhere"):
            worker._spawn(stderr)
        assert len(list(Path("/proc/self/fd").iterdir())) <= num_fds
    assert not list(tmp_path.iterdir())
