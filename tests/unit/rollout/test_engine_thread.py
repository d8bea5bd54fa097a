"""The engine's thread without vLLM: once it has ended, whatever the cause, no call waits for it."""

from __future__ import annotations

import threading
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from rollout.engine.engine import EngineBroken, EngineSettings, VLLMEngine

SETTINGS = EngineSettings(
    model_folder=Path(), context_length=8, max_num_seqs=1, kv_cache_bytes=1, block_size=32, stop_token_ids=(),
    quantised=False,
)  # fmt: skip


class Idle(VLLMEngine):
    """Decodes nothing; `on_worker` runs what it is given on the engine's thread."""

    def _build(self) -> Any:
        return SimpleNamespace(has_unfinished_requests=lambda: False, collective_rpc=lambda method, args: [args[0]()])


def every_call(engine: VLLMEngine) -> None:
    for call in (
        lambda: engine.submit([]),
        lambda: engine.abort(),
        lambda: engine.finished(wait_seconds=0.0),
        lambda: engine.finished(wait_seconds=60.0),
        lambda: engine.prompt_logprobs([]),
    ):
        for _ in range(2):
            with pytest.raises(EngineBroken, match="the engine's thread has ended: "):
                call()


def test_a_closed_engine_refuses_every_call_at_once():
    engine = Idle(SETTINGS)
    assert engine.on_worker("f", lambda: 3) == 3
    assert engine.finished(wait_seconds=0.0) == []
    engine.close()
    every_call(engine)
    engine.close()  # twice is once


def test_a_broken_engine_refuses_every_call_at_once_and_says_what_broke_it():
    engine = Idle(SETTINGS)

    def fall() -> None:
        raise EngineBroken("the swap could not be undone")

    with pytest.raises(EngineBroken, match="could not be undone"):
        engine.on_worker("f", fall)
    engine._thread.join()
    every_call(engine)
    with pytest.raises(EngineBroken, match="the swap could not be undone"):
        engine.abort()


def test_a_call_that_was_queued_behind_the_fall_hears_of_it_too():
    engine = Idle(SETTINGS)
    is_running, may_fall, told = threading.Event(), threading.Event(), []

    def fall() -> None:
        is_running.set()
        may_fall.wait()
        raise EngineBroken("gone")

    def ask(command) -> None:
        try:
            engine.on_worker("f", command)
        except EngineBroken as error:
            told.append(str(error))

    callers = [threading.Thread(target=ask, args=(fall,))]
    callers[0].start()
    is_running.wait()
    callers += [threading.Thread(target=ask, args=(lambda: 1,)) for _ in range(4)]
    for caller in callers[1:]:
        caller.start()
    may_fall.set()
    for caller in callers:
        caller.join()
    assert len(told) == 5 and all("gone" in text for text in told)
