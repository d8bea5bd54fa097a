"""Engines that share a process, and what vLLM keeps once for all of them: its process groups and its KV connector.

vLLM ends these when an engine is collected as garbage, whoever uses them then: a later engine in the middle of its
start, or one that goes on. Until then a later engine takes over groups that may not fit it. So the last engine that
leaves a process ends them, before its `close` returns; one that leaves others behind ends nothing that is shared.
"""

from __future__ import annotations

import threading
from typing import Any

__all__ = ["enter", "leave"]

_tenants: set[Any] = set()
_moving = threading.Lock()


def enter(engine: Any) -> None:
    """An engine is about to start; waits for one that is leaving."""
    with _moving:
        _tenants.add(engine)


def leave(engine: Any, llm: Any, *, num_workers: int) -> None:
    """An engine has ended: end what vLLM keeps of it.

    Args:
        engine: that entered.
        llm: vLLM's; None: it did not come to that.
        num_workers: more than one are processes, which end in any case.
    """
    with _moving:
        _tenants.remove(engine)
        if llm is None:
            return
        if not _tenants or num_workers > 1:
            llm.engine_core.shutdown()
        elif hasattr(llm.engine_core, "_finalizer"):  # not in every version of vLLM
            llm.engine_core._finalizer.detach()
