"""Checkpoints that are written while engines sample: what waits for them, and what becomes of a fault."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

from rl.faults import ActorLost
from rl.remote_learner import RemoteLearner


class Writing:
    """A learner's process whose `save` ends when it is told to; `calls` are its answered calls in order."""

    name, failure = "learner", None

    def __init__(self) -> None:
        self.calls: list[str] = []
        self.is_written = asyncio.Event()
        self.fault: Exception | None = None

    async def ask(self, method: str, *args: Any, setting: str, **kwargs: Any) -> Any:
        if method == "save":
            await self.is_written.wait()
            if self.fault is not None:
                raise self.fault
        self.calls.append(method)

    async def ask_shared(self, method: str, *args: Any, setting: str, **kwargs: Any) -> tuple[Any, Any]:
        raise NotImplementedError


async def turns() -> None:
    """Let every task of the loop go as far as it can."""
    for _ in range(20):
        await asyncio.sleep(0)


def test_what_the_learner_is_asked_next_waits_until_the_checkpoint_exists() -> None:
    async def work() -> list[str]:
        process = Writing()
        learner = RemoteLearner(process)
        learner.save_meanwhile(Path("folder"), then=lambda: process.calls.append("manifest"))
        await turns()  # the engines' turn
        update = asyncio.create_task(learner.update(None, (), lr=0.1))  # type: ignore[arg-type]
        await turns()
        assert process.calls == [] and not update.done()
        process.is_written.set()
        await update
        await learner.saved()  # nothing is left to wait for
        return process.calls

    assert asyncio.run(work()) == ["save", "manifest", "update"]


@pytest.mark.parametrize("fault", [ActorLost("learner.save: the process died"), OSError("no space left on device")])
def test_a_checkpoint_that_failed_never_exists_and_is_told_to_who_waits_next(fault: Exception) -> None:
    async def work() -> list[str]:
        process = Writing()
        learner = RemoteLearner(process)
        process.fault = fault
        learner.save_meanwhile(Path("folder"), then=lambda: process.calls.append("manifest"))
        process.is_written.set()
        await turns()
        with pytest.raises(type(fault), match=str(fault)):
            await learner.add_old_logprobs([])
        await learner.forget_optimizer()  # told once
        return process.calls

    assert asyncio.run(work()) == ["forget_optimizer"]
