"""A process of the run, and calls to it: each has a deadline, and its error says what went wrong and what to set.

Ray's exceptions end here. What a method raised arrives as itself; a process that died, or did not answer in time, is
`ActorLost` or `DeadlineExceeded`, with actor, method, phase, step and setting in its text. An actor that failed in such
a way remembers it (`failure`), so that whoever rebuilds need not guess from an exception what it was that was lost.

A reference outlives the node that holds what it refers to. Where a process was handed such a one, that is `HandedLost`;
where an answer went down with the node of the process that gave it, that process is lost.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

import ray
import ray.exceptions

from configs.sections import ClusterConfig
from rl.faults import ActorLost, DeadlineExceeded, HandedLost
from rl.folders import Folders
from rl.processes import Place
from rollout.engine.states import EngineBroken

__all__ = ["Actor", "ShelfOf", "first_line"]

_RAISED = re.compile(r"^(?:\w+\.)*(?P<name>\w+): (?P<text>.*)", re.MULTILINE | re.DOTALL)
"""What a traceback ends in: the exception's name at the start of a line, and its text."""
_ADDRESS = re.compile(r"^\tip: (\S+)", re.MULTILINE)
"""Where Ray's text of an actor's death names its node."""
_FIRST_CALLS = ("__ray_ready__", "begin")
"""A learner is ready when its constructor ends; an engine, whose process is there before, when it has begun."""
_CHAINED = re.compile(r"^(?:The above exception|During handling of the above exception).*$", re.MULTILINE)


class Actor:
    """A Ray actor by name: a `rl.processes.Process`.

    Args:
        name: "learner", "engine 0", ...
        handle: Ray's.
        limits: the deadlines, by the names of their settings.
        place: where the run is; shared, changes as the run goes on.
        lack: what the cluster lacks for it to start, and what to do; "": nothing.
    """

    def __init__(
        self, name: str, handle: Any, *, limits: ClusterConfig, place: Place, lack: Callable[[], str] = lambda: ""
    ) -> None:
        self.name = name
        self.failure: Exception | None = None
        self._handle = handle
        self._limits = limits
        self._place = place
        self._lack = lack
        self._is_ended = False

    async def ask(self, method: str, *args: Any, setting: str, **kwargs: Any) -> Any:
        return await self._answer(self._call(method, *args, **kwargs), method, setting)

    async def ask_shared(self, method: str, *args: Any, setting: str, **kwargs: Any) -> tuple[Any, Any]:
        self._check_there(method)
        large, known = getattr(self._handle, method).options(num_returns=2).remote(*args, **kwargs)
        return large, await self._answer(known, method, setting)

    def kill(self) -> None:
        """End the process, now."""
        self._is_ended = True
        ray.kill(self._handle)

    def _check_there(self, method: str) -> None:
        """Ray, asked for one that it ended when it ended itself, would start anew."""
        if self._is_ended:
            raise ActorLost(f"{self.name}.{method}: the process was ended")

    def _call(self, method: str, *args: Any, **kwargs: Any) -> ray.ObjectRef:
        self._check_there(method)
        return getattr(self._handle, method).remote(*args, **kwargs)

    async def _answer(self, reference: ray.ObjectRef, method: str, setting: str) -> Any:
        try:
            return await self._in_time(reference, method, setting)
        except (ActorLost, DeadlineExceeded, EngineBroken) as error:
            self.failure = self.failure or error
            raise

    async def _in_time(self, reference: ray.ObjectRef, method: str, setting: str) -> Any:
        seconds = getattr(self._limits, setting)
        where = f"{self.name}.{method} in phase {self._place.phase!r} of step {self._place.step}"
        try:
            return await asyncio.wait_for(_future(reference), seconds)
        except ray.exceptions.RayTaskError as error:  # first: it is a TimeoutError too where that was raised over there
            cause = _cause(error)
            if isinstance(cause, ray.exceptions.ObjectLostError):
                raise HandedLost(f"{where}: what it was handed is lost: {first_line(cause)}") from error
            raise cause from None
        except TimeoutError:
            if method in _FIRST_CALLS and (lack := self._lack()):
                raise DeadlineExceeded(f"{where} did not start within {seconds:g} s: {lack}") from None
            raise DeadlineExceeded(
                f"{where} did not answer within {seconds:g} s; if that is too short, raise cluster.{setting}"
            ) from None
        except ray.exceptions.RayActorError as error:
            if cause := _start_failure(error):
                raise cause from None
            raise ActorLost(f"{where}: {_loss(error)}") from error
        except ray.exceptions.OutOfMemoryError as error:  # Ray ended it, where memory ran out
            raise ActorLost(f"{where}: the process died: {first_line(error)}") from error
        except ray.exceptions.ObjectLostError as error:
            raise ActorLost(f"{where}: its answer is lost, and so is its node: {first_line(error)}") from error


@dataclass(frozen=True, slots=True)
class ShelfOf:
    """How processes reach the driver's folders; called in theirs."""

    shelf: Any
    """Ray's handle of a `rl.folders.Shelf`."""
    node: str
    """Ray's id of the driver's node."""
    seconds: float
    """Of a call; the call of the process that needs it ends sooner, with an error that names the setting."""

    def __call__(self) -> Folders:
        return Folders(None if ray.get_runtime_context().get_node_id() == self.node else self._ask)

    def _ask(self, method: str, *args: Any) -> Any:
        return ray.get(getattr(self.shelf, method).remote(*args), timeout=self.seconds)


def first_line(error: BaseException) -> str:
    """The first line of an exception's text; Ray's go on with tracebacks."""
    return str(error).strip().split("\n")[0]


def _loss(error: ray.exceptions.RayActorError) -> str:
    """How a process was lost. Ray tells a node that died from one behind a link that was cut as little as anyone."""
    if "its node has died" not in str(error):
        return f"the process died: {first_line(error)}"
    address = _ADDRESS.search(str(error))
    return (
        f"its node {address[1] if address else '(of unknown address)'} died or cannot be reached; mend it or give the "
        "cluster another, and run the same command again"
    )


def _future(reference: Any) -> Awaitable[Any]:
    return asyncio.wrap_future(reference.future())


def _cause(error: ray.exceptions.RayTaskError) -> Exception:
    """What the actor's code raised, as itself."""
    cause = error.cause
    return cause if isinstance(cause, Exception) else RuntimeError(first_line(error))


def _start_failure(error: ray.exceptions.RayActorError) -> Exception | None:
    """What an actor's constructor raised, if that is how it died. Ray keeps only the traceback's text."""
    if not error.actor_init_failed:
        return None
    raised = _RAISED.search(_CHAINED.split(str(error))[-1])
    if raised is None:
        return RuntimeError(first_line(error))
    name, text = raised["name"], raised["text"].strip()
    return ValueError(text) if name == "ValueError" else RuntimeError(f"{name}: {text}")
