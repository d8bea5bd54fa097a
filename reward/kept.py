"""One run for all who want its result at the same time, kept for a while for those who come later.

Under a storm of faults the faulting responses of one task share one control sample: whoever comes while it runs waits
for it. Who runs it may give up; then the next one runs it anew.
"""

from __future__ import annotations

import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Hashable
from concurrent.futures import Future
from concurrent.futures import TimeoutError as NotYet
from typing import Generic, TypeVar

__all__ = ["Kept"]

_MAX_KEPT = 1024
_POLL_SECONDS = 0.05

_Result = TypeVar("_Result")


class _GaveUp(Exception):
    """Who ran it left without a result."""


class Kept(Generic[_Result]):
    """Results by key. Thread-safe."""

    def __init__(self, *, seconds: float) -> None:
        """Args:
        seconds: how long a result serves.
        """
        self._seconds = seconds
        self._lock = threading.Lock()
        self._known: OrderedDict[Hashable, tuple[float, Future[_Result]]] = OrderedDict()

    def get(self, key: Hashable, run: Callable[[], _Result], check: Callable[[], None]) -> _Result:
        """The kept result, or that of `run`, in this thread or in the one that runs it already.

        Args:
            check: called while waiting for another thread; raises where the caller gave up.
        """
        while True:
            found, is_mine = self._entry(key)
            if is_mine:
                try:
                    result = run()
                except BaseException:
                    self._drop(key)
                    found.set_exception(_GaveUp())
                    raise
                self._keep(key, found)
                found.set_result(result)
                return result
            while True:
                check()
                try:
                    return found.result(_POLL_SECONDS)
                except NotYet:
                    continue
                except _GaveUp:
                    break  # it is run anew

    def _entry(self, key: Hashable) -> tuple[Future[_Result], bool]:
        """The future of a result, and whether the caller has to run it."""
        with self._lock:
            until, found = self._known.get(key, (0.0, Future()))
            if key in self._known and time.monotonic() < until:
                return found, False
            fresh: Future[_Result] = Future()
            self._known[key] = (float("inf"), fresh)
            self._known.move_to_end(key)
            while len(self._known) > _MAX_KEPT:
                self._known.popitem(last=False)
            return fresh, True

    def _drop(self, key: Hashable) -> None:
        with self._lock:
            self._known.pop(key, None)

    def _keep(self, key: Hashable, future: Future[_Result]) -> None:
        with self._lock:
            if key in self._known:
                self._known[key] = (time.monotonic() + self._seconds, future)
