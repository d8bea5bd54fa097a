"""The channels of a job: which descriptor is which, and how a line of JSON is written to one."""

from __future__ import annotations

import json
import os
from typing import Any

__all__ = ["LINK_IN", "LINK_OUT", "RESULT_FD", "Reporter", "told"]

RESULT_FD, LINK_IN, LINK_OUT = 3, 5, 6
_MAX_ERROR = 300


class Reporter:
    """Writes one JSON line after another to a descriptor, from the process that made it alone."""

    def __init__(self, fd: int) -> None:
        self._fd = fd
        self._pid = os.getpid()
        self._write, self._getpid, self._exit, self._dumps = os.write, os.getpid, os._exit, json.dumps

    def send(self, line: Any) -> None:
        """One line; a forked copy of this process ends here instead."""
        if self._getpid() != self._pid:
            self._exit(0)
        data = self._dumps(line).encode("ascii") + b"\n"
        while data:
            data = data[self._write(self._fd, data) :]


def told(error: BaseException) -> str:
    """An exception in one line, whatever its own `__str__` does."""
    name = type(error).__name__
    try:
        return f"{name}: {error}"[:_MAX_ERROR]
    except BaseException:  # a submission's `__str__` may raise anything, an exit included
        return name
