"""A learner and engines that can be told in which call to die or to hang; light, since each process imports it."""

from __future__ import annotations

import os
import signal
import time
from types import SimpleNamespace
from typing import Any

from rollout.types import FinishReason, Sample, SampleRequest, Segment


class Mortal:
    """Dies, or hangs, in the next call of the method that it was told."""

    def __init__(self, settings: Any = None) -> None:
        self._doomed: dict[str, str] = {}

    def pid(self) -> int:
        return os.getpid()

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

    def stage_weights(self, version: int, *, is_reswap: bool) -> None:
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


class MortalLearner(Mortal):
    """Learns nothing."""

    def export(self, folder: Any) -> None:
        self.meet_fate("export")

    def update(self, minibatch: Any, ptx: Any, *, lr: float) -> None:
        self.meet_fate("update")

    def save(self, file: Any) -> None:
        self.meet_fate("save")
