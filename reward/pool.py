"""Worker processes at rest: one process serves one gym, and is kept for its next request.

A process that serves one gym alone keeps gyms apart (patched modules, changed folders, leaked threads, memory limits);
keeping it saves the start of about 0.3 s. Beyond `max_idle` the one that was used longest ago is ended.
"""

from __future__ import annotations

import threading

from gyms.load import GymSpec
from reward.process import WorkerProcess

__all__ = ["WorkerPool"]


class WorkerPool:
    """Thread-safe: take a worker, use it, put it back."""

    def __init__(self, *, start_seconds: float, max_idle: int) -> None:
        self._start_seconds = start_seconds
        self._max_idle = max_idle
        self._idle: list[WorkerProcess] = []
        self._taken: set[WorkerProcess] = set()
        self._lock = threading.Lock()

    def take(self, spec: GymSpec) -> WorkerProcess:
        """A worker of this gym that nobody else uses; not started yet where none is at rest."""
        with self._lock:
            fitting = [worker for worker in self._idle if worker.spec is spec]
            worker = fitting[-1] if fitting else WorkerProcess(spec, start_seconds=self._start_seconds)
            if fitting:
                self._idle.remove(worker)
            self._taken.add(worker)
        return worker

    def take_fresh(self, spec: GymSpec) -> WorkerProcess:
        """A worker of this gym in which nothing ran yet; it is put back like any other."""
        worker = WorkerProcess(spec, start_seconds=self._start_seconds)
        with self._lock:
            self._taken.add(worker)
        return worker

    def put_back(self, worker: WorkerProcess, *, is_spare: bool = False) -> None:
        """Rest it for the next request.

        Args:
            is_spare: end it where another one of its gym runs and is at rest.
        """
        with self._lock:
            self._taken.discard(worker)
            if is_spare and any(one.spec is worker.spec and one.is_running for one in self._idle):
                surplus = [worker]
            else:
                self._idle.append(worker)
                surplus = self._idle[: -self._max_idle]
                del self._idle[: len(surplus)]
        for old in surplus:
            old.retire()

    def close(self) -> None:
        """End all workers; call it when none is in use, or when nothing else can be done about those that are."""
        with self._lock:
            workers = [*self._idle, *self._taken]
            self._idle.clear()
            self._taken.clear()
        for worker in workers:
            worker.retire()
