"""One call of a gym, looked at as a host would: what it may not do or give becomes a GymContractError.

`gyms.testing` (tasks and responses) and `gyms.episodes.checks` (turns) decide what is asked; this file, what any answer
must be.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import TypeVar

from gyms.api import Gym, Score, Status, Task
from gyms.confinement.declared import UndeclaredNeed, watched

__all__ = [
    "GymContractError",
    "calling",
    "checked_score",
    "name_of",
    "require",
    "score_checked",
    "told",
    "verifying",
    "within_limits",
]

_Answer = TypeVar("_Answer")


class GymContractError(AssertionError):
    """A gym breaks the contract of gyms/api.py; the message names gym, task and what broke."""


def score_checked(gym: Gym, task: Task, response: str) -> Score:
    """The gym's score; GymContractError where it is not one that a gym may give, or took longer than it declares."""
    return checked_score(gym, task, partial(gym.score, task, response), f"score({task.id!r}, {response!r:.60})")


def checked_score(gym: Gym, task: Task, ask: Callable[[], Score], what: str) -> Score:
    """What a call that is asked for a score gives; `what` is the call with its arguments, for the message."""
    score, name = within_limits(gym, ask, what), name_of(gym)
    require(isinstance(score, Score), f"{name}: score returned {type(score).__name__}, expected gyms.api.Score")
    undeclared = sorted(set(score.components) - set(gym.components)) if gym.components else []
    require(not undeclared, f"{name}: score gave the component {undeclared[:1]}, which {name}.components lacks")
    require(
        score.status not in (Status.TRUNCATED, Status.CANCELLED),
        f"{name}: score returned the status {score.status}, which only the pipeline may give",
    )
    is_ours = score.status.is_masked
    require(not is_ours, f"{name}: task {task.id!r} with {what} is {told(score)}, a fault of the gym")
    return score


def within_limits(gym: Gym, ask: Callable[[], _Answer], what: str) -> _Answer:
    """What a call of the verifier gives, which may do what the gym declares and take the time that it declares."""
    before = time.monotonic()
    with verifying(gym, what):
        answer = ask()
    seconds = time.monotonic() - before
    require(
        seconds <= gym.needs.wall_seconds,
        f"{name_of(gym)}: {what} took {seconds:.1f} s, more than needs.wall_seconds = {gym.needs.wall_seconds:g}",
    )
    return answer


@contextmanager
def calling(gym: Gym, what: str) -> Iterator[None]:
    """Around one plug-in call: what it raises becomes a GymContractError that names the call."""
    try:
        yield
    except GymContractError:
        raise
    except Exception as error:
        raise GymContractError(f"{name_of(gym)}: {what} raised {type(error).__name__}: {error}") from error


@contextmanager
def verifying(gym: Gym, what: str) -> Iterator[None]:
    """Around one call of the verifier, which may only do what the gym declares."""
    with calling(gym, what), watched(gym.needs, only_this_thread=True) as watch:
        yield
        if watch.refusal:
            raise UndeclaredNeed(watch.refusal)


def require(is_kept: bool, message: str) -> None:
    if not is_kept:
        raise GymContractError(message)


def name_of(gym: Gym) -> str:
    return type(gym).__name__


def told(score: Score) -> str:
    return f"{score.status} with value {score.value}" + (f" ({score.detail})" if score.detail else "")
