"""Which engine draws which group: the one that has least to do takes the next, as soon as it has room.

A sample depends on its request alone (rollout/engine/engine.py), so any engine may draw it. Siblings share their
prompt, so a group stays where it was begun: that engine prefills the prompt once, and has the earlier turns of an
episode in its prefix cache. Nobody knows how long responses become; so a group is not dealt out beforehand but waits
until an engine has room, and an engine that is done early takes what is left.
"""

from __future__ import annotations

from rollout.types import SampleRequest

__all__ = ["Dispatch", "Given"]

Given = tuple[int, SampleRequest]
"""Number of an engine, and a request that it is to be sent."""


class Dispatch:
    """The requests of a phase and where they are.

    Args:
        num_engines: how many there are.
        max_requests: an engine takes a new group while it owes fewer samples; those of its groups it takes always.
    """

    def __init__(self, num_engines: int, *, max_requests: float) -> None:
        self.engine_of: dict[str, int] = {}
        """By group; not those that wait."""
        self._max_requests = max_requests
        self._waiting: dict[str, list[SampleRequest]] = {}  # by group, in the order in which they came
        self._num_owed = [0] * num_engines
        self._tokens_owed = [0] * num_engines

    def ask(self, group: str, request: SampleRequest) -> list[Given]:
        """A request has come; what is to be sent now."""
        if group in self.engine_of:
            return [self._give(group, request)]
        self._waiting.setdefault(group, []).append(request)
        return self._deal()

    def end(self, group: str, request: SampleRequest) -> list[Given]:
        """A request was answered, or nobody waits for it any more; what is to be sent now."""
        if (engine := self.engine_of.get(group)) is not None:
            self._num_owed[engine] -= 1
            self._tokens_owed[engine] -= request.budget
        else:
            self._waiting[group].remove(request)
            if not self._waiting[group]:
                del self._waiting[group]
        return self._deal()

    def _deal(self) -> list[Given]:
        given = []
        while self._waiting:
            free = [i for i, num in enumerate(self._num_owed) if num < self._max_requests]
            if not free:
                break
            group = next(iter(self._waiting))
            self.engine_of[group] = min(free, key=lambda i: (self._tokens_owed[i], self._num_owed[i]))
            given += [self._give(group, request) for request in self._waiting.pop(group)]
        return given

    def _give(self, group: str, request: SampleRequest) -> Given:
        engine = self.engine_of[group]
        self._num_owed[engine] += 1
        self._tokens_owed[engine] += request.budget
        return engine, request
