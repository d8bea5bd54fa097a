"""What can go wrong with a process of the run: it died, it did not answer in time, or it was asked out of turn."""

from __future__ import annotations

__all__ = ["ActorLost", "DeadlineExceeded", "PhaseError"]


class DeadlineExceeded(RuntimeError):
    """A remote call did not answer in time."""

    def __init__(self, message: str, *, actor: str) -> None:
        super().__init__(message)
        self.actor = actor


class ActorLost(RuntimeError):
    """A process of the run died."""

    def __init__(self, message: str, *, actor: str) -> None:
        super().__init__(message)
        self.actor = actor


class PhaseError(RuntimeError):
    """A phase was entered while another one had the devices."""
