"""A learner and engines that can be told in which call to die or to hang; light, since each process imports it."""

from __future__ import annotations

import os
import signal
import time
from types import SimpleNamespace
from typing import Any

import numpy as np
import ray

from rollout.types import FinishReason, Sample, SampleRequest, Segment


class Mortal:
    """Dies, or hangs, in the next call of the method that it was told."""

    def __init__(self, settings: Any = None) -> None:
        self._doomed: dict[str, str] = {}

    def pid(self) -> int:
        return os.getpid()

    def node(self) -> str:
        """Ray's id of the node that it is on."""
        return ray.get_runtime_context().get_node_id()

    def doom(self, method: str, fate: str) -> None:
        self._doomed[method] = fate

    def meet_fate(self, method: str) -> None:
        fate = self._doomed.pop(method, "")
        if fate == "die":
            os.kill(os.getpid(), signal.SIGKILL)
        if fate == "hang":
            time.sleep(3600)


class MortalEngine(Mortal):
    """Answers each request with the version that it serves."""

    version = staged = -1
    requests: tuple[SampleRequest, ...] = ()

    def begin(self, settings: Any) -> None:
        self.meet_fate("begin")

    def stage_weights(self, version: int, *, copy: Any, is_reswap: bool) -> None:
        self.meet_fate("stage_weights")
        if version <= self.version and not is_reswap:
            raise ValueError(f"version {version} is not newer than {self.version}")
        self.staged = version

    def commit_weights(self, version: int) -> Any:
        self.meet_fate("commit_weights")
        assert self.staged == version and not self.requests
        self.version = version
        return SimpleNamespace(stall_seconds=0.0)

    def submit(self, requests: list[SampleRequest]) -> None:
        self.meet_fate("submit")
        self.requests += tuple(requests)

    def abort(self, ids: list[str] | None) -> int:
        before = len(self.requests)
        self.requests = tuple(r for r in self.requests if ids is not None and r.id not in ids)
        return before - len(self.requests)

    def finished(self, *, wait_seconds: float) -> list[Sample]:
        self.meet_fate("finished")
        answered, self.requests = self.requests, ()
        return [
            Sample(
                id=one.id,
                prompt_ids=one.prompt_ids,
                segments=(Segment(token_ids=(1,), logprobs=(0.0,), weight_version=self.version, temperature=1.0),),
                finish_reason=FinishReason.STOP,
                text="",
            )
            for one in answered
        ]


class HandedEngine(MortalEngine):
    """Takes what a `MortalLearner` has published."""

    def stage_weights(self, artefact: np.ndarray, *, copy: Any, is_reswap: bool) -> None:
        super().stage_weights(int(artefact[-1]), copy=copy, is_reswap=is_reswap)


class MortalLearner(Mortal):
    """Learns nothing; publishes a megabyte, as large things are that stay in the store of their node."""

    def publish_shared(self, version: int, *, before: Any = None, lends: bool) -> tuple[np.ndarray, Any]:
        return np.full(1 << 17, version), SimpleNamespace(num_bytes=1 << 20, code_flip_frac=None, copy=None)

    def export(self, folder: Any) -> None:
        self.meet_fate("export")

    def update(self, minibatch: Any, ptx: Any, *, lr: float) -> None:
        self.meet_fate("update")

    def save(self, file: Any) -> None:
        self.meet_fate("save")
