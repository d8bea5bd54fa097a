"""A worker's process by itself, and the thread that started it."""

from __future__ import annotations

import pickle
import threading
import time
from pathlib import Path

from gyms.api import Task, message
from gyms.load import GymSpec
from reward.process import Request, WorkerProcess
from tests.contract.reward.processes import children, wait_until


def test_a_worker_outlives_the_thread_that_started_it(nothing_left: None) -> None:
    file, asked = Path(__file__).with_name("bad_environments.py"), Task(id="t", prompt=(message("user", "?"),))
    worker = WorkerProcess(GymSpec(name="obedient", reference=f"{file}:Obedient"), start_seconds=120.0)
    request = Request(kind="one", payload=pickle.dumps((asked, ["well"])), num_responses=1)

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
