"""Seconds by name: what the phases and parts of a step took."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator

__all__ = ["Times"]


class Times:
    """Adds up seconds until they are taken."""

    def __init__(self) -> None:
        self._seconds: dict[str, float] = {}

    def add(self, name: str, seconds: float) -> None:
        """So many more."""
        self._seconds[name] = self._seconds.get(name, 0.0) + seconds

    @contextlib.contextmanager
    def span(self, name: str) -> Iterator[None]:
        """Adds what its body takes, if it ends well."""
        started = time.perf_counter()
        yield
        self.add(name, time.perf_counter() - started)

    def take(self) -> dict[str, float]:
        """All of them; afterwards there are none."""
        taken, self._seconds = self._seconds, {}
        return taken
