"""Several coroutines at once, all of them or none."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine, Sequence
from typing import Any, TypeVar

__all__ = ["together"]

_T = TypeVar("_T")


async def together(jobs: Sequence[Coroutine[Any, Any, _T]]) -> list[_T]:
    """Results in order. The first failure cancels the rest and is raised as it is, not wrapped in a group: whoever
    rebuilds a lost engine looks for its type."""
    tasks = [asyncio.create_task(job) for job in jobs]
    try:
        return await asyncio.gather(*tasks)
    except BaseException:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        raise
