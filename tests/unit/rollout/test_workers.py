"""Calls to an engine's processes: all answers are read, whichever of them raised."""

from __future__ import annotations

import os
import pickle
import subprocess
import sys
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

from rollout.engine.workers import Answer, Workers, threads_shared
from rollout.weights.contract import WeightArtefact
from rollout.weights.receiver import tensors
from rollout.weights.sender import build_artefact


class Processes:
    """As vLLM's executor: whatever goes to a worker, or comes back, is pickled."""

    def __init__(self, *workers: Any) -> None:
        self.workers = workers

    def collective_rpc(self, method: str, args: tuple[Any, ...]) -> list[Any]:
        return [pickle.loads(pickle.dumps(getattr(w, method)(*pickle.loads(pickle.dumps(args))))) for w in self.workers]


class Loader:
    """A worker that holds and loads, or fails to."""

    def __init__(self, *, fails: bool = False) -> None:
        self.fails = fails
        self.held: WeightArtefact | None = None
        self.loaded: dict[str, torch.Tensor] = {}
        self.num_held = 0

    def k2rl_try(self, method: str, args: tuple[Any, ...]) -> Answer:
        try:
            return Answer(value=getattr(self, method)(*args))
        except OSError as error:
            return Answer(error=f"OSError: {error}")

    def k2rl_hold(self, artefact: WeightArtefact) -> None:
        self.held, self.num_held = artefact, self.num_held + 1

    def k2rl_load_held(self) -> int:
        if self.fails:
            raise OSError("no memory")
        assert self.held is not None
        self.loaded = dict(tensors(self.held))
        return 7


@pytest.fixture
def artefact() -> WeightArtefact:
    return build_artefact([("a", torch.arange(5)), ("b", torch.ones(2, 3))], 3)


def test_an_artefact_is_given_to_every_process_once_and_then_loaded(artefact: WeightArtefact) -> None:
    both = Loader(), Loader()
    workers = Workers(Processes(*both), num=2)
    assert not workers.are_here
    workers.hold(artefact)
    assert [one.loaded for one in both] == [{}, {}]
    workers.load(artefact)
    for one in both:
        assert one.num_held == 1 and torch.equal(one.loaded["a"], torch.arange(5))
        assert one.held is not artefact and np.array_equal(one.held.buffer, artefact.buffer)
    workers.load(artefact)  # nobody holds it any more
    assert [one.num_held for one in both] == [2, 2]


def test_errors_of_processes_are_told_with_their_ranks_and_the_others_were_heard(artefact: WeightArtefact) -> None:
    both = Loader(), Loader(fails=True)
    workers = Workers(Processes(*both), num=2)
    with pytest.raises(RuntimeError, match=r"^worker 1: OSError: no memory$"):
        workers.load(artefact)
    assert both[0].loaded.keys() == {"a", "b"}
    both[1].fails = False
    assert workers.ask("k2rl_load_held") == [7, 7]


def test_the_worker_of_this_process_is_called_directly_and_raises_what_it_raises(artefact: WeightArtefact) -> None:
    got: list[Any] = []
    here = SimpleNamespace(collective_rpc=lambda method, args: [got.append((method, list(args[0])))])
    workers = Workers(here, num=1)
    workers.hold(artefact)
    assert workers.are_here and got == []
    workers.load(artefact)
    assert [name for name, _ in got[0][1]] == ["a", "b"] and got[0][0] == "k2rl_swap"

    def broken(method: str, args: tuple[Any, ...]) -> list[Any]:
        raise KeyError("a tensor")

    with pytest.raises(KeyError, match="a tensor"):
        Workers(SimpleNamespace(collective_rpc=broken), num=1).ask("k2rl_swap")


@pytest.mark.parametrize("before", [None, "9"])
def test_processes_that_are_started_get_their_part_of_the_threads_and_this_ones_setting_stays(
    monkeypatch: pytest.MonkeyPatch, before: str | None
) -> None:
    def of_a_process() -> str:
        words = [sys.executable, "-c", "import os; print(os.environ.get('OMP_NUM_THREADS'))"]
        return subprocess.run(words, check=True, capture_output=True, text=True).stdout.strip()

    if before is None:
        monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    else:
        monkeypatch.setenv("OMP_NUM_THREADS", before)
    monkeypatch.setattr(torch, "get_num_threads", lambda: 5)  # a vLLM of an earlier test lets nobody set them
    for num, expected in ((1, str(before)), (2, "2"), (5, "1"), (7, "1")):
        with threads_shared(num):
            assert of_a_process() == expected
        assert os.environ.get("OMP_NUM_THREADS") == before
