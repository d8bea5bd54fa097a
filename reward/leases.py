"""Episodes that are leased to workers: who is open, and in which seat.

An episode is opened by name and stays in its seat until it is closed. A gym has at most as many seats as the scorer has
workers; a new episode goes where the fewest are. Opening only writes it down: a worker meets it with its first call.

Everything is plain data and names, so that the caller may sit in another process. Asking again is safe: opening what is
open, a turn that was answered, closing what is closed.
"""

from __future__ import annotations

import itertools
import threading
from collections.abc import Sequence
from concurrent.futures import Future

from gyms.api import Reply, Score, Task, Turn
from reward.seat import Floor, Lease, Seat, cannot_travel

__all__ = ["History", "Leases"]

History = Sequence[tuple[Turn, Reply]]
"""Turns of an episode and what they were answered."""


class Leases:
    """Thread-safe; every future has a result, also where the environment breaks (reward/seat.py)."""

    def __init__(self, floor: Floor, *, max_seats: int) -> None:
        """Args:
        max_seats: workers that may hold episodes of one gym.
        """
        self._floor = floor
        self._max_seats = max_seats
        self._lock = threading.RLock()  # a future that is done already runs its callback at once
        self._numbers = itertools.count(1)
        self._open: dict[str, tuple[Lease, Seat]] = {}
        self._seats: dict[str, list[Seat]] = {}
        self._leaving: set[Seat] = set()
        """Given up, but busy with their last close."""

    def open(self, episode_id: str, gym: str, task: Task, seed: int, history: History = ()) -> None:
        """Begin an episode, or go on with one that has a history; ValueError where another one has that name."""
        with self._lock:
            if episode_id in self._open:
                lease, _ = self._open[episode_id]
                if (lease.gym, lease.task, lease.seed) != (gym, task, seed):
                    raise ValueError(f"episode {episode_id!r} is open with another task, gym or seed; close it first")
                return
            self._open[episode_id] = self._placed(episode_id, gym, task, seed, history)

    def step(self, episode_id: str, place: int, turn: Turn) -> Future[Reply]:
        """The answer to the episode's turn at `place`; done, where a fault ended it."""
        lease, seat = self._known(episode_id)
        return seat.submit(seat.step, lease, place, turn)

    def score(self, episode_id: str) -> Future[Score]:
        """The score so far, or the fault that ended the episode."""
        lease, seat = self._known(episode_id)
        return seat.submit(seat.score, lease)

    def close(self, episode_id: str) -> Future[None]:
        """End an episode, behind whatever it is busy with."""
        with self._lock:
            lease, seat = self._open.pop(episode_id, (None, None))
            if lease is None or seat is None or self._floor.closing.is_set():
                done: Future[None] = Future()
                done.set_result(None)
                return done
            return self._left(seat, lease)

    def play(self, episode_id: str, gym: str, task: Task, seed: int, turns: Sequence[Turn]) -> Future[Score]:
        """The score of a whole episode, by replay."""
        with self._lock:
            lease, seat = self._placed(episode_id, gym, task, seed, ())
            return seat.submit(self._played, lease, seat, turns)

    @property
    def num_open(self) -> int:
        """Episodes that were opened and not closed."""
        return len(self._open)

    def end(self) -> None:
        """Return when no call runs any more; the floor is closing, so what runs is stopped."""
        with self._lock:
            seats = [*self._leaving, *(seat for of_gym in self._seats.values() for seat in of_gym)]
            self._open.clear()
        for seat in seats:
            seat.end()

    def _played(self, lease: Lease, seat: Seat, turns: Sequence[Turn]) -> Score:
        """In the seat's thread."""
        try:
            for place, turn in enumerate(turns):
                if seat.step(lease, place, turn).is_done:
                    break
            return seat.score(lease)
        finally:
            with self._lock:
                self._left(seat, lease)

    def _left(self, seat: Seat, lease: Lease) -> Future[None]:
        """Done when the episode is closed; a seat without another one is given up, so that idle gyms hold no thread."""
        seat.num_leases -= 1
        is_last = not seat.num_leases
        closed = seat.submit(seat.close, lease, is_last=is_last)
        if is_last:
            self._seats[lease.gym].remove(seat)
            self._leaving.add(seat)
            closed.add_done_callback(lambda _: self._has_left(seat))
            seat.leave()
        return closed

    def _has_left(self, seat: Seat) -> None:
        with self._lock:
            self._leaving.discard(seat)

    def _placed(self, episode_id: str, gym: str, task: Task, seed: int, history: History) -> tuple[Lease, Seat]:
        if gym not in self._floor.specs:
            raise ValueError(f"the scorer has no gym {gym!r}; it was built with {sorted(self._floor.specs)}")
        seats = self._seats.setdefault(gym, [])
        seat = min(seats, key=lambda known: known.num_leases, default=None)
        if seat is None or (seat.num_leases and len(seats) < self._max_seats):
            seat = Seat(gym, self._floor, name=f"episodes-{gym}-{len(seats)}")
            seats.append(seat)
        seat.num_leases += 1
        lease = Lease(id=episode_id, number=next(self._numbers), gym=gym, task=task, seed=seed, history=list(history))
        lease.fault = cannot_travel(gym, task)
        return lease, seat

    def _known(self, episode_id: str) -> tuple[Lease, Seat]:
        if self._floor.closing.is_set():
            raise RuntimeError("the scorer is closed")
        with self._lock:
            if episode_id not in self._open:
                raise ValueError(f"there is no open episode {episode_id!r}; open it first")
            return self._open[episode_id]
