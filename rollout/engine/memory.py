"""Giving an engine's device memory up and taking it again: the one adapter between our states and a device.

What an engine *may* do while its memory is gone is decided in rollout/engine/states.py; what survives is decided in
rollout/engine/kept.py; here is only how memory goes and comes. Tests hand in a device that forgets on a CPU what a GPU
would forget (tests/integration/forgetful.py).

Only vLLM's own allocator (CuMem) may free weights: it keeps virtual addresses, which captured graphs have burnt in.
Left out: level 1, which copies all weights to the host. The next swap brings them anyway.
"""

from __future__ import annotations

from typing import Any, Protocol

from rollout.engine.device import DeviceProfile
from rollout.engine.states import WakeTag

__all__ = ["CuMemory", "DeviceMemory", "NoSleep", "device_memory"]


class DeviceMemory(Protocol):
    """How an engine's memory goes and comes. Called on the engine's thread, while nothing decodes."""

    def sleep(self, llm: Any) -> None:
        """Give up weights and KV cache; `llm` is vLLM's LLMEngine."""

    def wake(self, llm: Any, tag: WakeTag) -> None:
        """Take one of them back, at its old addresses and full of garbage."""


class CuMemory:
    """A GPU's, through vLLM's sleep mode at level 2."""

    def sleep(self, llm: Any) -> None:
        llm.sleep(level=2)

    def wake(self, llm: Any, tag: WakeTag) -> None:
        llm.collective_rpc("k2rl_empty_allocator")  # what a swap left in its cache may be what the KV cache needs
        llm.wake_up(tags=[tag])


class NoSleep:
    """A CPU's: learner and engines share one memory, and nothing of it is given back between turns."""

    def sleep(self, llm: Any) -> None:
        raise ValueError(
            "engines on a CPU do not sleep: learner and engines share one memory (DeviceProfile.sleeps says so)"
        )

    def wake(self, llm: Any, tag: WakeTag) -> None:
        raise AssertionError("an engine that cannot sleep was woken")


def device_memory(device: DeviceProfile) -> DeviceMemory:
    """That of a kind of device."""
    return CuMemory() if device.sleeps else NoSleep()
