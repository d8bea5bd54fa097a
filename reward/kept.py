"""One run for all who wait for its result; some results are kept for a while for those who come later.

Under a storm of faults the faulting responses of one task share control samples. Who comes while one runs waits for its
end: it began before he came, and may have nothing to say of what has happened since. All who came meanwhile then share
the next. Who runs it may give up; then the next one runs it anew.
"""

from __future__ import annotations

import math
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Hashable
from concurrent.futures import Future
from concurrent.futures import TimeoutError as NotYet
from dataclasses import dataclass, field
from typing import Generic, TypeVar

__all__ = ["Kept"]

_MAX_KEPT = 1024
_POLL_SECONDS = 0.05

_Result = TypeVar("_Result")


class _GaveUp(Exception):
    """Who ran it left without a result."""


@dataclass(eq=False, slots=True)
class _Run(Generic[_Result]):
    began: float
    """On the monotonic clock, as the next."""
    until: float = math.inf
    """When its result serves nobody any more; infinite while it runs."""
    result: Future[_Result] = field(default_factory=Future)


class Kept(Generic[_Result]):
    """Results by key. Thread-safe.

    Args:
        seconds: how long a result that lasts serves.
        lasts: whether a result serves who comes after its run began, too.
    """

    def __init__(self, *, seconds: float, lasts: Callable[[_Result], bool] = lambda result: True) -> None:
        self._seconds, self._lasts = seconds, lasts
        self._lock = threading.Lock()
        self._runs: OrderedDict[Hashable, _Run[_Result]] = OrderedDict()

    def get(self, key: Hashable, run: Callable[[], _Result], check: Callable[[], None]) -> _Result:
        """A result that serves who comes now: a kept one, or that of `run`, in this thread or in another.

        Args:
            check: called while waiting for another thread; raises where the caller gave up.
        """
        came = time.monotonic()
        while True:
            found, is_mine = self._run_of(key, came)
            if is_mine:
                try:
                    result = run()
                except BaseException:
                    self._drop(key, found)
                    found.result.set_exception(_GaveUp())
                    raise
                found.until = time.monotonic() + self._seconds
                found.result.set_result(result)
                return result
            while True:
                check()
                try:
                    result = found.result.result(_POLL_SECONDS)
                except NotYet:
                    continue
                except _GaveUp:
                    break  # it is run anew
                if self._serves(found, came):
                    return result
                break  # so is what is out of date

    def _run_of(self, key: Hashable, came: float) -> tuple[_Run[_Result], bool]:
        """A run that is under way or may serve, and whether it is a new one, which the caller does."""
        with self._lock:
            now, known = time.monotonic(), self._runs.get(key)
            if known is not None and now < known.until and (not known.result.done() or self._serves(known, came)):
                return known, False
            fresh: _Run[_Result] = _Run(now)
            self._runs[key] = fresh
            self._runs.move_to_end(key)
            while len(self._runs) > _MAX_KEPT:
                self._runs.popitem(last=False)
            return fresh, True

    def _serves(self, run: _Run[_Result], came: float) -> bool:
        return run.began >= came or self._lasts(run.result.result())

    def _drop(self, key: Hashable, run: _Run[_Result]) -> None:
        with self._lock:
            if self._runs.get(key) is run:
                del self._runs[key]
