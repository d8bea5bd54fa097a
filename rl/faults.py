"""What ends a step or a run: a process died, did not answer in time, was asked out of turn; or an alarm rang."""

from __future__ import annotations

__all__ = ["ActorLost", "DeadlineExceeded", "HandedLost", "PhaseError", "RunStopped"]


class DeadlineExceeded(RuntimeError):
    """A remote call did not answer in time."""


class ActorLost(RuntimeError):
    """A process of the run died."""


class HandedLost(ActorLost):
    """What a process was handed by reference is gone, and with it the only node that had it: who made it was lost.

    The process that was to take it lives, and nothing of it was touched.
    """


class PhaseError(RuntimeError):
    """A phase was entered while another one had the devices."""


class RunStopped(RuntimeError):
    """An alarm rang (`alarm.*`); a checkpoint was saved."""
