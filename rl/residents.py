"""Who has the devices' memory, where learner and engines do not fit beside each other: on GPUs, not on a CPU.

    the engines' turn    learner offloads -> engines wake their weights -> hand-over -> they wake their KV cache
    the learner's turn   engines sleep -> learner onloads

An engine that slept has forgotten its weights and holds garbage where they were, so the hand-over in the middle is
never left out, whichever version it served before. What each process holds is noted one by one: after a fault, those
that live are taken from where they are, and one that was started anew has its memory. A Ctrl-C while the engines' turn
begins leaves this in the middle of a call, which the process goes on with: so what it was asked for is noted before it
answers, and taken back only where it fails.
"""

from __future__ import annotations

from collections.abc import Sequence
from weakref import WeakSet

from rl.handover import settled
from rl.processes import Process

__all__ = ["Residents"]


class Residents:
    """Gives memory from one to the other.

    Args:
        is_tight: learner and engines do not fit beside each other; False: nothing here does anything.
    """

    def __init__(self, *, is_tight: bool) -> None:
        self._is_tight = is_tight
        self._asleep: WeakSet[Process] = WeakSet()
        self._half_awake: WeakSet[Process] = WeakSet()
        """Engines with memory for weights and without a KV cache."""
        self._offloaded: WeakSet[Process] = WeakSet()

    async def learner_leaves(self, learner: Process | None) -> None:
        """The devices are free for engines, also for those that are yet to be started."""
        if self._is_tight and learner is not None and learner not in self._offloaded:
            self._offloaded.add(learner)
            try:
                await learner.ask("offload", setting="swap_seconds")
            except Exception:
                self._offloaded.discard(learner)
                raise

    async def engines_return(self, engines: Sequence[Process]) -> bool:
        """Engines have memory for weights.

        Returns:
            Whether there are some that hold garbage in it, and must be handed weights before `engines_are_whole`.
        """
        await settled([self._wake_weights(engine) for engine in engines if engine in self._asleep])
        return any(engine in self._half_awake for engine in engines)

    async def engines_are_whole(self, engines: Sequence[Process]) -> None:
        """Engines, which hold weights, have their KV caches too."""
        await settled([self._wake_kv_cache(engine) for engine in engines if engine in self._half_awake])

    async def learner_returns(self, learner: Process, engines: Sequence[Process]) -> None:
        """Engines sleep, and the learner has its memory."""
        if not self._is_tight:
            return
        await settled([self._sleep(engine) for engine in engines if engine not in self._asleep])
        if learner in self._offloaded:
            await learner.ask("onload", setting="swap_seconds")
            self._offloaded.discard(learner)

    async def _wake_weights(self, engine: Process) -> None:
        self._asleep.discard(engine)
        self._half_awake.add(engine)
        try:
            await engine.ask("wake", "weights", setting="swap_seconds")
        except Exception:
            self._half_awake.discard(engine)
            self._asleep.add(engine)
            raise

    async def _wake_kv_cache(self, engine: Process) -> None:
        await engine.ask("wake", "kv_cache", setting="swap_seconds")
        self._half_awake.discard(engine)

    async def _sleep(self, engine: Process) -> None:
        await engine.ask("sleep", setting="swap_seconds")
        self._half_awake.discard(engine)
        self._asleep.add(engine)
