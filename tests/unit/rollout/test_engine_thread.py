"""The engine's thread without vLLM: once it has ended, whatever the cause, no call waits for it."""

from __future__ import annotations

import threading
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from rollout.engine.engine import EngineBroken, EngineSettings, VLLMEngine

SETTINGS = EngineSettings(
    model_folder=Path(), context_length=8, max_num_seqs=1, kv_cache_bytes=1, block_size=32, stop_token_ids=(),
    quantised=False,
)  # fmt: skip


class Core:
    """What vLLM keeps of an engine; `ended` says what became of it."""

    def __init__(self) -> None:
        self.ended: list[str] = []
        self._finalizer = SimpleNamespace(detach=lambda: self.ended.append("left to the others"))

    def shutdown(self) -> None:
        self.ended.append(f"shut down by {threading.current_thread().name}")


class Idle(VLLMEngine):
    """Decodes nothing; `on_worker` runs what it is given on the engine's thread."""

    def _build(self) -> Any:
        self.core = Core()
        return SimpleNamespace(
            has_unfinished_requests=lambda: False, collective_rpc=lambda method, args: [args[0]()],
            engine_core=self.core,
        )  # fmt: skip

    def _prepare(self) -> None:
        pass


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
        assert may_fall.wait(300)
        raise EngineBroken("gone")

    def ask(command) -> None:
        try:
            engine.on_worker("f", command)
        except EngineBroken as error:
            told.append(str(error))

    callers = [threading.Thread(target=ask, args=(fall,), daemon=True)]
    callers[0].start()
    assert is_running.wait(300)
    callers += [threading.Thread(target=ask, args=(lambda: 1,), daemon=True) for _ in range(4)]
    for caller in callers[1:]:
        caller.start()
    while engine._inbox.qsize() < 4:
        time.sleep(0.001)
    may_fall.set()
    for caller in callers:
        caller.join(300)
    assert len(told) == 5 and all("gone" in text for text in told)


def test_what_vllm_keeps_once_for_a_process_ends_with_the_last_engine_and_before_close_returns():
    first, second = Idle(SETTINGS), Idle(SETTINGS)
    second.close()
    assert (first.core.ended, second.core.ended) == ([], ["left to the others"])
    first.close()
    assert first.core.ended == ["shut down by vllm-engine"]
    third = Idle(SETTINGS)
    with pytest.raises(EngineBroken):
        third.on_worker("f", lambda: (_ for _ in ()).throw(EngineBroken("gone")))
    third._thread.join()
    assert third.core.ended == first.core.ended


def test_an_engine_that_is_refused_after_vllm_built_it_leaves_nothing_behind():
    cores = []

    class Refused(Idle):
        def _prepare(self) -> None:
            cores.append(self.core)
            raise ValueError("no routers")

    with pytest.raises(ValueError, match="no routers"):
        Refused(SETTINGS)
    assert cores[0].ended == ["shut down by vllm-engine"]


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_why_an_engine_does_not_start_is_told_although_vllm_cannot_be_ended_either():
    refused = []

    class Refused(Idle):
        def _prepare(self) -> None:
            refused.append(self)
            del self._llm.engine_core
            raise ValueError("no routers")

    with pytest.raises(ValueError, match="no routers"):
        Refused(SETTINGS)
    refused[0]._thread.join()  # its complaint belongs to this test
