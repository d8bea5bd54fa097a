"""A whole run in this process: the real learner and real engines on threads, and no Ray.

A run in processes of its own spends 28 of its 31 CPU seconds on starting them, most of that on importing vLLM and torch
in three of them. What a test asks of a run's algorithm, of its judge or of a checkpoint needs no process: there is one
loop, and Ray is behind `rl.processes`. That processes get what they are given, die and are started anew is asked in
tests/integration/test_runs.py and tests/contract/rl.
"""

from __future__ import annotations

import asyncio
import contextlib
import io
import subprocess
import sys
import threading
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future, wait
from pathlib import Path
from queue import SimpleQueue
from typing import Any

import torch
from rich.console import Console

from configs.load import load_config
from rl.console import view_of
from rl.faults import DeadlineExceeded
from rl.preflight import check
from rl.processes import Place
from rl.report import Report
from rl.run import Run
from rl.train import train
from rollout.engine.device import this_device
from rollout.engine.process import EngineProcess
from tests.integration.harness import PATIENCE, ROOT, SHORT, Runs


def run_here(run_dir: Path, overrides: Sequence[str] = (), *, config: str = "tiny_cpu.toml") -> str:
    """What `Runs.finish` does, here; returns what it told people.

    Raises:
        Exception: whatever ended the run, such as an alarm's `RunStopped`.
    """
    arguments = [str(ROOT / "configs" / config), *SHORT, f"run_dir={run_dir}", *overrides]
    files = [Path(item) for item in arguments if "=" not in item]
    checked = check(load_config(files, [item for item in arguments if "=" in item]))
    EngineProcess()  # imports vLLM: threads that import the same modules at once may meet a half of one
    said = io.StringIO()
    report = Report(checked.config, checked.folder.path, view_of("auto", Console(file=said, soft_wrap=True)))
    for note in checked.notes:
        report.say(note)
    with contextlib.closing(report):
        assert asyncio.run(train(Run(checked, report, processes=ProcessesHere())))
    return said.getvalue()


def run_elsewhere(run_dir: Path, overrides: Sequence[str] = (), *, config: str = "tiny_cpu.toml") -> str:
    """The same in a process of its own, with a seed of its own for hashes, at half the cost of a run on Ray."""
    command = [sys.executable, "-m", "tests.integration.here", str(run_dir), config, *overrides]
    done = subprocess.run(
        command, cwd=ROOT, env=Runs().environment(), text=True, timeout=PATIENCE, stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout
    return done.stdout


class ProcessHere:
    """An object whose methods run on threads of its own: a `rl.processes.Process`.

    Its threads are daemons and it knows one limit, whatever the setting: what hangs fails its test, not all tests.
    """

    def __init__(self, kind: type, *args: Any, name: str, num_threads: int, limit_seconds: float) -> None:
        self.name = name
        self.failure: Exception | None = None
        self._limit_seconds = limit_seconds
        self._calls: SimpleQueue[tuple[Future[Any], Callable[[], Any]] | None] = SimpleQueue()
        self._threads: list[threading.Thread] = []
        for _ in range(num_threads):
            self._start_thread()
        self._inside = self._submit(lambda: kind(*args))

    def _start_thread(self) -> None:
        self._threads.append(threading.Thread(target=self._serve, daemon=True))
        self._threads[-1].start()

    def _submit(self, call: Callable[[], Any]) -> Future[Any]:
        answer: Future[Any] = Future()
        self._calls.put((answer, call))
        return answer

    def _serve(self) -> None:
        torch.set_num_threads(1)
        while (item := self._calls.get()) is not None:
            answer, call = item
            if not answer.set_running_or_notify_cancel():
                continue
            try:
                answer.set_result(call())
            except BaseException as error:  # whoever asked is to hear of it
                answer.set_exception(error)

    async def ask(self, method: str, *args: Any, setting: str, **kwargs: Any) -> Any:
        inside = await self._answer(self._inside, "__init__")
        if method == "__ray_ready__":
            return None
        return await self._answer(self._submit(lambda: getattr(inside, method)(*args, **kwargs)), method)

    async def _answer(self, answer: Future[Any], method: str) -> Any:
        waiting = asyncio.wrap_future(answer)
        try:
            await asyncio.wait([waiting], timeout=self._limit_seconds)
            if not waiting.done():
                raise self._late(method)
            return waiting.result()
        except DeadlineExceeded as error:
            self.failure = self.failure or error
            raise
        finally:
            waiting.cancel()

    def _late(self, method: str) -> DeadlineExceeded:
        return DeadlineExceeded(f"{self.name}.{method} did not answer within {self._limit_seconds:g} s")

    async def ask_shared(self, method: str, *args: Any, setting: str, **kwargs: Any) -> tuple[Any, Any]:
        return await self.ask(method, *args, setting=setting, **kwargs)

    def end(self) -> None:
        """Close what was made. Why something was not, whoever asked has heard.

        Raises:
            DeadlineExceeded: `close` does not end within the limit.
            Exception: what `close` raised.
        """
        try:
            wait([self._inside], self._limit_seconds)
            if self._inside.done() and not self._inside.cancelled() and self._inside.exception() is None:
                self._start_thread()  # the others may all hang
                closed = self._submit(getattr(self._inside.result(), "close", lambda: None))
                wait([closed], self._limit_seconds)
                if not closed.done():
                    raise self._late("close")
                closed.result()
        finally:
            for _ in self._threads:
                self._calls.put(None)
        if self.failure is None:  # none of them hangs, and what they hold is freed
            for thread in self._threads:
                thread.join(self._limit_seconds)


class ProcessesHere:
    """A `rl.processes.StartsProcesses`."""

    host = "127.0.0.1"

    def __init__(self, *, limit_seconds: float = PATIENCE) -> None:
        self.limit_seconds = limit_seconds
        self.device = this_device()
        self.place = Place()
        self._started: list[ProcessHere] = []

    async def __aenter__(self) -> ProcessesHere:
        return self

    async def __aexit__(self, *error: object) -> None:
        with contextlib.ExitStack() as stack:  # where one does not end, the others do
            for process in self._started:
                stack.callback(self.stop, process)

    def start(
        self, kind: type, *args: Any, name: str, bundle: int, device: int | None = None,
        environment: Mapping[str, str], max_concurrency: int = 1,
    ) -> ProcessHere:  # fmt: skip
        process = ProcessHere(kind, *args, name=name, num_threads=max_concurrency, limit_seconds=self.limit_seconds)
        self._started.append(process)
        return process

    def stop(self, process: ProcessHere) -> None:
        self._started.remove(process)
        process.end()


if __name__ == "__main__":
    print(run_here(Path(sys.argv[1]), sys.argv[3:], config=sys.argv[2]))
