"""The learner as the loop holds it: what it publishes, and which deadline each of its methods has."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from rl.faults import ActorLost, DeadlineExceeded
from rl.remote_learner import RemoteLearner
from rollout.weights.changes import Changes, changes
from rollout.weights.contract import WeightArtefact
from rollout.weights.sender import build_artefact


class Asked:
    """Answers `publish_shared` with codes that depend on the version, all else with its name; notes deadlines."""

    name = "learner"
    failure: Exception | None = None
    fault: Exception | None = None
    """What its next call comes to."""

    def __init__(self) -> None:
        self.settings: dict[str, str] = {}
        self.stored: dict[str, WeightArtefact] = {}

    async def ask(self, method: str, *args: Any, setting: str, **kwargs: Any) -> Any:
        self.settings[method] = setting
        if self.fault is not None:
            self.failure = self.fault
            raise self.fault
        return method

    async def ask_shared(
        self, method: str, version: int, *, before: str | None, setting: str, lends: bool
    ) -> tuple[str, Changes]:
        self.settings[method] = setting
        words = torch.zeros(8, 2, dtype=torch.int32)  # 128 codes in 64 bytes
        words.view(-1)[:version] = 1  # one code each
        reference, artefact = f"reference to {version}", build_artefact([("layer.weight_packed", words)], version)
        self.stored[reference] = artefact
        return reference, changes(None if before is None else self.stored[before], artefact)


def test_published_weights_are_a_reference_with_their_size_and_the_codes_that_flipped_since_the_last_ones() -> None:
    async def run() -> None:
        learner = RemoteLearner(Asked())
        first = await learner.publish(0)
        assert (first.version, first.handle, first.num_bytes) == (0, "reference to 0", 64)
        assert first.code_flip_frac is None and first.pack_seconds >= 0.0
        assert (await learner.publish(3)).code_flip_frac == 3 / 128
        assert (await learner.publish(4)).code_flip_frac == 1 / 128

    asyncio.run(run())


def test_only_an_update_moves_the_learner_off_the_state_of_the_steps_start() -> None:
    async def run() -> None:
        learner = RemoteLearner(Asked())
        await learner.add_old_logprobs([])
        await learner.publish(1)
        assert not learner.has_moved
        await learner.update(None, [], lr=0.1)  # type: ignore[arg-type]
        assert learner.has_moved

    asyncio.run(run())


@pytest.mark.parametrize("fault", [ActorLost("died"), DeadlineExceeded("late"), None])
def test_a_look_at_the_learner_finds_that_it_died_and_raises_nothing(fault: Exception | None) -> None:
    async def run() -> None:
        asked = Asked()
        asked.fault = fault
        learner = RemoteLearner(asked)
        await learner.look()
        assert learner.is_lost is (fault is not None) and asked.settings == {"__ray_ready__": "save_seconds"}

    asyncio.run(run())


def test_each_method_has_the_deadline_that_the_documents_say() -> None:
    async def run() -> dict[str, str]:
        asked = Asked()
        learner = RemoteLearner(asked)
        await learner.add_old_logprobs([])
        await learner.update(None, [], lr=0.1)  # type: ignore[arg-type]
        await learner.warm_up([], lrs=[])
        await learner.publish(1)
        for method in (learner.save, learner.load, learner.export):
            await method(Path("folder"))
        return asked.settings

    assert asyncio.run(run()) == {
        "add_old_logprobs": "update_seconds", "update": "update_seconds", "warm_up": "update_seconds",
        "publish_shared": "swap_seconds", "save": "save_seconds", "load": "save_seconds", "export": "save_seconds",
    }  # fmt: skip


class Lending(Asked):
    """One that keeps a copy, named after the version, where it is asked to."""

    def __init__(self) -> None:
        super().__init__()
        self.asked: list[str] = []

    async def ask(self, method: str, *args: Any, setting: str, **kwargs: Any) -> Any:
        self.asked.append(method)
        return await super().ask(method, *args, setting=setting, **kwargs)

    async def ask_shared(  # type: ignore[override]
        self, method: str, version: int, *, before: str | None, setting: str, lends: bool
    ) -> tuple[str, Changes]:
        assert lends
        if self.fault is not None:
            raise self.fault
        reference, found = await super().ask_shared(method, version, before=before, setting=setting, lends=lends)
        copy: Any = f"copy of {version}"
        return reference, replace(found, copy=copy)


def test_a_copy_is_known_until_it_is_taken_back_or_the_next_version_is_published() -> None:
    async def run() -> None:
        asked = Lending()
        learner = RemoteLearner(asked, lends=True)
        await learner.take_back()
        assert learner.copy is None and asked.asked == []
        await learner.publish(1)
        assert learner.copy == "copy of 1"
        await learner.publish(2)
        assert learner.copy == "copy of 2"
        await learner.take_back()
        await learner.take_back()
        assert learner.copy is None and asked.asked == ["take_back"] and asked.settings["take_back"] == "swap_seconds"
        await learner.publish(3)
        asked.fault = ValueError("a parameter is not finite")
        with pytest.raises(ValueError, match="not finite"):
            await learner.publish(4)
        assert learner.copy is None  # the one of version 3 may be freed already

    asyncio.run(run())
