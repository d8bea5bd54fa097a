"""Refuses what a gym's `needs` do not declare: starting processes and talking to the network while it scores.

A verifier that starts processes or asks a server without saying so is slow, unrepeatable and open to whatever the
network does; this names it at its first score. It is protection against accidents, not against attackers: it is a hook
in the gym's own interpreter (`sys.addaudithook`), which sees what goes through Python's own modules and not what a C
library does by itself. Submitted code belongs into the sandbox, whose processes are no business of the hook.

A gym that catches the refusal has scored on broken ground, so the first refusal is kept for the host to see.
"""

from __future__ import annotations

import contextlib
import socket
import sys
import threading
from collections.abc import Iterator
from typing import Any

from gyms.api import Needs

__all__ = ["UndeclaredNeed", "Watch", "watched"]

_STARTS = frozenset(
    {"subprocess.Popen", "os.fork", "os.forkpty", "os.posix_spawn", "os.system", "os.exec", "os.spawn", "pty.spawn"}
)
_TALKS = frozenset({"socket.connect", "socket.sendto", "socket.sendmsg", "socket.bind"})
_ASKS_NAMES = frozenset({"socket.getaddrinfo", "socket.gethostbyname", "socket.gethostbyaddr"})
_EVENTS = _STARTS | _TALKS | _ASKS_NAMES


class UndeclaredNeed(RuntimeError):
    """A gym did what its `needs` do not declare."""


class Watch:
    """What is refused while it lasts, and the first refusal."""

    def __init__(self, needs: Needs, thread: int | None) -> None:
        self.refusal = ""
        """What the gym tried first; empty where it tried nothing."""
        self._may_start = needs.processes or needs.sandbox
        self._may_talk = needs.network
        self._thread = thread

    def look_at(self, event: str, arguments: tuple[Any, ...]) -> None:
        """UndeclaredNeed where the event is not declared."""
        if self._thread is not None and threading.get_ident() != self._thread:
            return
        if event in _STARTS:
            is_declared, what, key = self._may_start, "started a process", "processes"
        else:
            is_local = event in _TALKS and getattr(arguments[0], "family", None) not in _INTERNET
            is_declared, what, key = self._may_talk or is_local, "talked to the network", "network"
        if is_declared:
            return
        refusal = f"the verifier {what} ({event}), which its gym does not declare; declare Needs({key}=True)"
        if key == "processes":
            refusal += ", or run submitted code in services.sandbox"
        self.refusal = self.refusal or refusal
        raise UndeclaredNeed(refusal)


_INTERNET = frozenset({socket.AF_INET, socket.AF_INET6})
_watch: Watch | None = None
_is_hooked = False


@contextlib.contextmanager
def watched(needs: Needs, *, only_this_thread: bool = False) -> Iterator[Watch]:
    """Around calls of a verifier: what `needs` do not declare raises UndeclaredNeed in it, and is kept.

    Args:
        only_this_thread: leave other threads alone, where they are not the gym's.
    """
    global _watch, _is_hooked
    outer, watch = _watch, Watch(needs, threading.get_ident() if only_this_thread else None)
    if not _is_hooked:
        sys.addaudithook(_hook)  # it can never be taken back, so there is one, and it does nothing outside of a watch
        _is_hooked = True
    _watch = watch
    try:
        yield watch
    finally:
        _watch = outer


def _hook(event: str, arguments: tuple[Any, ...]) -> None:
    if _watch is not None and event in _EVENTS:
        _watch.look_at(event, arguments)
