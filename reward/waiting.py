"""Who waits for a scoring worker, and who is next: a fair queue over gyms, and a gate that bounds it.

*Fair.* The next request comes from the gym that has the fewest requests running, and among those from the one that was
served longest ago; within a gym, first in, first out. A gym that hangs or floods takes its share and no more.

*Bounded.* A gate lets so many requests of one gym in; who comes later waits outside, before anything of the request is
copied. Its waiters are futures, so threads and event loops wait alike.
"""

from __future__ import annotations

import threading
from collections import deque
from concurrent.futures import Future
from dataclasses import dataclass, field

from gyms.api import Score
from reward.process import Request

__all__ = ["FairQueue", "Gate", "Ticket"]


def _running_future() -> Future:
    """A future that whoever waits for it cannot cancel for the others."""
    future: Future = Future()
    future.set_running_or_notify_cancel()
    return future


@dataclass(eq=False, slots=True)
class Ticket:
    """One request on its way through the scorer."""

    request_id: str
    gym: str
    request: Request
    future: Future[list[Score]] = field(default_factory=_running_future)
    num_waiting: int = 1
    """Callers that want the answer; at 0 the ticket is given up."""
    is_given_up: bool = False
    faults: list[Score] = field(default_factory=list)
    """What both attempts came to, where the gym broke: of a ticket that is served again, nothing is tried again."""


class Gate:
    """A counting semaphore that hands out futures, first in, first out."""

    def __init__(self, size: int) -> None:
        self._free = size
        self._outside: deque[Future[None]] = deque()
        self._lock = threading.Lock()

    def enter(self) -> Future[None]:
        """Done when there is room; the caller owes one leave()."""
        turn: Future[None] = _running_future()
        with self._lock:
            if self._free:
                self._free -= 1
                turn.set_result(None)
            else:
                self._outside.append(turn)
        return turn

    def leave(self) -> None:
        """Make room for the next."""
        with self._lock:
            turn = self._outside.popleft() if self._outside else None
            self._free += turn is None
        if turn is not None:
            turn.set_result(None)

    def give_up(self, turn: Future[None]) -> None:
        """No longer wait; leaves again where the turn had come already."""
        with self._lock:
            is_outside = turn in self._outside
            if is_outside:
                self._outside.remove(turn)
        if not is_outside:
            self.leave()


class FairQueue:
    """Jobs that wait for a worker; thread-safe."""

    def __init__(self) -> None:
        self._waiting: dict[str, deque[Ticket]] = {}
        self._running: dict[str, int] = {}
        self._last_turn: dict[str, int] = {}
        self._turn = 0
        self._is_closed = False
        self._changed = threading.Condition()

    def push(self, ticket: Ticket) -> bool:
        """False where the queue is closed, and then the ticket is the caller's to answer."""
        with self._changed:
            if self._is_closed:
                return False
            self._waiting.setdefault(ticket.gym, deque()).append(ticket)
            self._changed.notify()
            return True

    def pop(self) -> Ticket | None:
        """The next ticket, as soon as there is one; None when the queue is closed and empty."""
        with self._changed:
            while not self._waiting:
                if self._is_closed:
                    return None
                self._changed.wait()
            gym = min(self._waiting, key=lambda name: (self._running.get(name, 0), self._last_turn.get(name, 0)))
            ticket = self._waiting[gym].popleft()
            if not self._waiting[gym]:
                del self._waiting[gym]
            self._turn += 1
            self._last_turn[gym] = self._turn
            self._running[gym] = self._running.get(gym, 0) + 1
            return ticket

    def finished(self, ticket: Ticket) -> None:
        """The worker that had this ticket is free."""
        with self._changed:
            self._running[ticket.gym] -= 1
            if not self._running[ticket.gym]:
                del self._running[ticket.gym]

    def is_busy(self, gym: str) -> bool:
        """Whether a ticket of the gym waits or is being served."""
        with self._changed:
            return gym in self._waiting or gym in self._running

    def close(self) -> None:
        """Wake everyone; what still waits is handed out to be answered."""
        with self._changed:
            self._is_closed = True
            self._changed.notify_all()
