"""What importing or building a plug-in does to the process on the side, undone: folder, signal handlers, logging.

A library that changes the working folder, installs a signal handler or configures logging when it is imported would
change the run around it. In a scoring worker that hurts nobody; in the driver, which builds gyms for their tasks, it
would. What was changed is put back and logged with the plug-in's name.
"""

from __future__ import annotations

import contextlib
import logging
import os
import signal
import sys
import threading
from collections.abc import Iterator

__all__ = ["contained"]

_log = logging.getLogger(__name__)
_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGALRM, signal.SIGCHLD, signal.SIGHUP, signal.SIGUSR1)


@contextlib.contextmanager
def contained(what: str) -> Iterator[None]:
    """Around one call into a plug-in; restores what it changed, whether it returned or raised."""
    folder = _folder()
    is_main = threading.current_thread() is threading.main_thread()  # only there can handlers be set
    handlers = {number: signal.getsignal(number) for number in _SIGNALS} if is_main else {}
    had_alarm = signal.getitimer(signal.ITIMER_REAL)[0] > 0
    root = logging.getLogger()
    level, log_handlers, disabled = root.level, list(root.handlers), logging.root.manager.disable
    streams = sys.stdout, sys.stderr
    try:
        yield
    finally:
        changed = []
        if folder is not None and _folder() != folder:
            os.chdir(folder)
            changed.append("the working folder")
        for number, handler in handlers.items():
            if handler is not None and signal.getsignal(number) is not handler:
                signal.signal(number, handler)
                changed.append(f"the handler of {number.name}")
        if not had_alarm and signal.getitimer(signal.ITIMER_REAL)[0]:
            signal.setitimer(signal.ITIMER_REAL, 0)
            changed.append("the alarm")
        if root.level != level or root.handlers != log_handlers or logging.root.manager.disable != disabled:
            root.setLevel(level)
            root.handlers[:] = log_handlers
            logging.disable(disabled)
            changed.append("logging")
        if (sys.stdout, sys.stderr) != streams:
            sys.stdout, sys.stderr = streams
            changed.append("the standard streams")
        if changed:
            _log.warning("%s: it changed %s; put back", what, ", ".join(changed))


def _folder() -> str | None:
    with contextlib.suppress(OSError):
        return os.getcwd()  # noqa: PTH109  # as it is, not resolved
    return None
