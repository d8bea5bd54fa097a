"""What an engine may be asked when: the state machine, and an engine without vLLM that obeys it."""

from __future__ import annotations

import itertools
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from rollout.engine.device import CPU, CUDA
from rollout.engine.engine import EngineSettings, VLLMEngine
from rollout.engine.memory import CuMemory, NoSleep, device_memory
from rollout.engine.states import Action, EngineState, WrongState, after
from rollout.types import SampleRequest

S, A = EngineState, Action
ROUND = [(A.SLEEP, S.ASLEEP), (A.WAKE_WEIGHTS, S.GARBAGE), (A.COMMIT, S.LOADED), (A.WAKE_KV_CACHE, S.SERVING)]


def test_a_night_goes_asleep_garbage_loaded_serving() -> None:
    state = S.SERVING
    for action, expected in ROUND:
        state = after(state, action)
        assert state is expected


def test_samples_are_drawn_by_an_engine_that_serves_and_by_no_other() -> None:
    assert after(S.SERVING, A.SAMPLE) is S.SERVING
    for state in set(S) - {S.SERVING}:
        with pytest.raises(WrongState, match="cannot sample"):
            after(state, A.SAMPLE)


def test_no_way_leads_from_garbage_to_samples_without_a_commit() -> None:
    """Every sequence of four actions that do not commit."""
    for actions in itertools.product(set(A) - {A.COMMIT}, repeat=4):
        state = S.GARBAGE
        for action in actions:
            try:
                state = after(state, action)
            except WrongState:
                continue
            assert state in (S.GARBAGE, S.ASLEEP), actions


def test_staging_is_possible_always_and_every_state_can_go_to_sleep_but_that_of_sleep() -> None:
    for state in S:
        assert after(state, A.STAGE) is state
        if state is not S.ASLEEP:
            assert after(state, A.SLEEP) is S.ASLEEP


def test_a_refusal_says_what_may_be_done_instead() -> None:
    with pytest.raises(WrongState) as refused:
        after(S.ASLEEP, A.COMMIT)
    assert str(refused.value) == (
        'the engine is asleep and cannot commit weights; now it may: stage weights, wake("weights")'
    )


def test_a_gpu_sleeps_and_a_cpu_says_that_it_does_not() -> None:
    assert isinstance(device_memory(CUDA), CuMemory)
    with pytest.raises(ValueError, match="on a CPU do not sleep"):
        device_memory(CPU).sleep(None)
    assert isinstance(device_memory(CPU), NoSleep)


class Told:
    """Memory that notes what it is asked."""

    def __init__(self) -> None:
        self.calls: list[str] = []

    def sleep(self, llm: Any) -> None:
        self.calls.append("sleep")

    def wake(self, llm: Any, tag: str) -> None:
        self.calls.append(tag)


class Idle(VLLMEngine):
    """Decodes nothing."""

    def _build(self) -> Any:
        self._expected = {}
        return SimpleNamespace(
            has_unfinished_requests=lambda: False, collective_rpc=lambda method, args=(): [None],
            reset_prefix_cache=lambda: True, abort_request=lambda ids: None,
            engine_core=SimpleNamespace(shutdown=lambda: None),
        )  # fmt: skip

    def _prepare(self) -> None:
        pass


@pytest.fixture
def engine():
    settings = EngineSettings(
        model_folder=Path(), context_length=8, max_num_seqs=1, kv_cache_bytes=1, block_size=32, stop_token_ids=(),
        quantised=False,
    )  # fmt: skip
    engine = Idle(settings, memory=Told())
    yield engine
    engine.close()


def test_an_engine_refuses_what_its_state_forbids_and_its_memory_is_not_asked(engine: Idle) -> None:
    request = SampleRequest(id="r", prompt_ids=(1,), budget=1, temperature=1.0, seed=0)
    with pytest.raises(WrongState, match=r'is serving and cannot wake\("weights"\)'):
        engine.wake("weights")
    engine.sleep()
    for call in (
        engine.sleep, lambda: engine.submit([request]), lambda: engine.prompt_logprobs([(1, 2)]),
        lambda: engine.wake("kv_cache"),
    ):  # fmt: skip
        with pytest.raises(WrongState, match="the engine is asleep"):
            call()
    engine.wake("weights")
    for call in (lambda: engine.submit([request]), lambda: engine.wake("kv_cache")):
        with pytest.raises(WrongState, match="awake with garbage"):
            call()
    assert engine.state is S.GARBAGE and engine.weight_version == -1
    assert engine._memory.calls == ["sleep", "weights"]
    assert engine.abort() == 0, "stopping what is in flight is allowed always"


def test_an_engine_that_nothing_could_load_again_does_not_sleep() -> None:
    class Plain(Idle):
        def _build(self) -> Any:
            llm = super()._build()
            self._expected = None  # as an engine that serves BF16 has it
            return llm

    engine = Plain(
        EngineSettings(
            model_folder=Path(), context_length=8, max_num_seqs=1, kv_cache_bytes=1, block_size=32, stop_token_ids=(),
            quantised=False,
        ),
        memory=Told(),
    )  # fmt: skip
    with pytest.raises(ValueError, match="serves BF16"):
        engine.sleep()
    assert engine.state is S.SERVING
    engine.close()
