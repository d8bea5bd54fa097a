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


class Kept(Generic[_Result]):
    """Results by key. Thread-safe."""

    def __init__(self, *, seconds: float) -> None:
        """Args:
        seconds: how long a result serves.
        """
        self._seconds = seconds
        self._lock = threading.Lock()
        self._known: OrderedDict[Hashable, tuple[float, Future[_Result | None]]] = OrderedDict()

    def get(self, key: Hashable, run: Callable[[], _Result], check: Callable[[], None]) -> _Result:
        """The kept result, or that of `run`, in this thread or in the one that runs it already.

        Args:
            check: called while waiting for another thread; raises where the caller gave up.
        """
        while True:
            found, is_mine = self._entry(key)
            if is_mine:
                result = None
                try:
                    result = run()
                    return result
                finally:
                    self._settle(key, found, result)
            while True:
                check()
                try:
                    known = found.result(_POLL_SECONDS)
                    break
                except NotYet:
                    continue
            if known is not None:
                return known  # None: who ran it gave up, so it is run anew

    def _entry(self, key: Hashable) -> tuple[Future[_Result | None], bool]:
        """The future of a result, and whether the caller has to run it."""
        with self._lock:
            until, found = self._known.get(key, (0.0, Future()))
            if key in self._known and time.monotonic() < until:
                return found, False
            fresh: Future[_Result | None] = Future()
            self._known[key] = (float("inf"), fresh)
            self._known.move_to_end(key)
            while len(self._known) > _MAX_KEPT:
                self._known.popitem(last=False)
            return fresh, True

    def _settle(self, key: Hashable, future: Future[_Result | None], result: _Result | None) -> None:
        with self._lock:
            if result is None:
                self._known.pop(key, None)
            elif key in self._known:
                self._known[key] = (time.monotonic() + self._seconds, future)
        future.set_result(result)
