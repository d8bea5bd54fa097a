"""What an engine may be asked, by what its memory holds: a state machine without an engine.

At sleep of level 2 a device forgets weights and KV cache. Waking gives the memory back, at the same addresses, full of
garbage; only a swap makes weights of it. So a woken engine must not sample, must not be believed to serve the version
that it served, and takes that very version again. The order is vLLM's own, and the one in which weights and learner
never lie on the device together: sleep, wake the weights, commit, wake the KV cache.

                sleep            wake("weights")            commit             wake("kv_cache")
    SERVING  ----------> ASLEEP ----------------> GARBAGE ----------> LOADED ------------------> SERVING

A commit may be repeated, also while the engine serves, and staging touches no device memory, so it is allowed always.
Going to sleep is allowed from every state but `ASLEEP`: whoever was interrupted half awake goes back to a known one.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from typing import Literal

__all__ = ["Action", "EngineBroken", "EngineState", "WakeTag", "WrongState", "after"]

WakeTag = Literal["weights", "kv_cache"]
"""What is woken."""


class EngineBroken(RuntimeError):
    """The engine can no longer serve: its thread died, or a failed swap could not be undone. Rebuild it."""


class WrongState(ValueError):
    """An engine was asked for something that its memory does not allow; nothing was done."""


class EngineState(StrEnum):
    """What an engine's device memory holds."""

    SERVING = "serving"
    """Weights and KV cache: it can sample."""
    ASLEEP = "asleep"
    """Nothing; the device belongs to others."""
    GARBAGE = "awake with garbage for weights"
    """Memory of the weights, not yet filled; no KV cache."""
    LOADED = "loaded, its KV cache asleep"
    """Weights; no KV cache."""


class Action(StrEnum):
    """What an engine is asked."""

    SAMPLE = "sample"
    STAGE = "stage weights"
    COMMIT = "commit weights"
    SLEEP = "sleep"
    WAKE_WEIGHTS = 'wake("weights")'
    WAKE_KV_CACHE = 'wake("kv_cache")'


_S, _A = EngineState, Action
_NEXT: Mapping[EngineState, Mapping[Action, EngineState]] = {
    _S.SERVING: {
        _A.SAMPLE: _S.SERVING, _A.STAGE: _S.SERVING, _A.COMMIT: _S.SERVING, _A.SLEEP: _S.ASLEEP,
    },
    _S.ASLEEP: {_A.STAGE: _S.ASLEEP, _A.WAKE_WEIGHTS: _S.GARBAGE},
    _S.GARBAGE: {_A.STAGE: _S.GARBAGE, _A.COMMIT: _S.LOADED, _A.SLEEP: _S.ASLEEP},
    _S.LOADED: {
        _A.STAGE: _S.LOADED, _A.COMMIT: _S.LOADED, _A.SLEEP: _S.ASLEEP, _A.WAKE_KV_CACHE: _S.SERVING,
    },
}  # fmt: skip


def after(state: EngineState, action: Action) -> EngineState:
    """The state that an action leads to.

    Raises:
        WrongState: says what may be done instead.
    """
    allowed = _NEXT[state]
    if action not in allowed:
        raise WrongState(f"the engine is {state} and cannot {action}; now it may: {', '.join(allowed)}")
    return allowed[action]
