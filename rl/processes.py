"""What a run knows of its processes, wherever they live: on Ray (rl/actors.py, rl/calls.py), or here, in a test."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:  # heavy, and what waits for a call needs it not
    from rollout.engine.device import DeviceProfile

__all__ = ["Place", "Process", "StartsProcesses"]


@dataclass(slots=True, kw_only=True)
class Place:
    """Where a run is, for the texts of errors."""

    phase: str | None = "starting"
    """None between two phases."""
    step: int = 0


class Process(Protocol):
    """The learner, or one of its ranks, or an engine."""

    @property
    def failure(self) -> Exception | None:
        """Why it must be started anew, if it must; set by whoever finds out."""
        ...

    @failure.setter
    def failure(self, error: Exception | None) -> None: ...

    @property
    def name(self) -> str:
        """In errors: "learner", "engine 0"."""
        ...

    async def ask(self, method: str, *args: Any, setting: str, **kwargs: Any) -> Any:
        """Call a method and wait for its answer, at most `cluster.<setting>` seconds.

        Raises:
            DeadlineExceeded: no answer in time.
            ActorLost: the process died.
            Exception: what the method raised.
        """
        ...

    async def ask_shared(self, method: str, *args: Any, setting: str, **kwargs: Any) -> tuple[Any, Any]:
        """As `ask`, of a method that returns something large, and what there is to know of it.

        Of several ranks, the others are asked without the keywords: references among them are for the one that answers.

        Returns:
            A reference to the large one, which other processes take in its place: it stays where it is until they do,
            and comes to each of their nodes once, never to this process. Then, what there is to know of it.
        """
        ...


class StartsProcesses(Protocol):
    """The devices of a run, and what is started on them. A context manager: leaving it ends them all."""

    place: Place

    @property
    def device(self) -> DeviceProfile:
        """What kind of devices they are; known once it was entered."""
        ...

    @property
    def host(self) -> str:
        """Address of this process's machine, as those that it starts reach it."""
        ...

    async def __aenter__(self) -> StartsProcesses: ...

    async def __aexit__(self, *error: object) -> None: ...

    def start(
        self, kind: type, *args: Any, name: str, bundle: int, device: int | None = None,
        environment: Mapping[str, str], max_concurrency: int = 1,
    ) -> Process:  # fmt: skip
        """Start `kind(*args)` in a process of its own; returns at once (`ask("__ray_ready__")` waits for it).

        Args:
            name: in errors.
            bundle: number of the bundle whose devices it has, or shares.
            device: number of the one that it has of them, where they are several; None: all.
            environment: variables that it needs before it imports anything.
            max_concurrency: calls that it serves at the same time, on threads.
        """
        ...

    def stop(self, process: Any) -> None:
        """End one that `start` gave, now."""
        ...
