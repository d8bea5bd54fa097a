"""A cluster whose processes live in this one: a small learner and engines, on devices that hold one or the other."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np

from configs.schema import Config
from rl.cluster import Cluster
from rl.learner import Learner
from rl.processes import Place
from rollout.engine.device import CPU, DeviceProfile
from rollout.engine.engine import SwapTiming
from rollout.engine.process import EngineProcess
from rollout.engine.states import Action, EngineState, WakeTag, after
from rollout.weights.changes import Changes
from rollout.weights.contract import Manifest, WeightArtefact

NUM_ENGINES = 3


class SmallEngine:
    """Serves the version that it was handed last, until it sleeps; then it forgets it."""

    folder: Path | None = None
    version = staged = -1
    offered: Any = None
    """The copy that it was offered last."""
    state = EngineState.SERVING

    def begin(self, settings: Any) -> None:
        assert self.folder is None
        self.folder = settings.model_folder

    @property
    def has_memory(self) -> bool:
        return self.folder is not None and self.state is not EngineState.ASLEEP

    def sleep(self) -> None:
        self.state, self.version = after(self.state, Action.SLEEP), -1

    def wake(self, tag: WakeTag) -> None:
        self.state = after(self.state, Action.WAKE_WEIGHTS if tag == "weights" else Action.WAKE_KV_CACHE)

    def stage_weights(self, artefact: WeightArtefact, *, is_reswap: bool, copy: Any = None) -> None:
        self.offered = copy
        if artefact.manifest.version <= self.version and not is_reswap:
            raise ValueError("not newer")
        self.staged = artefact.manifest.version

    def commit_weights(self, version: int) -> SwapTiming:
        assert self.staged == version
        self.version, self.state = version, after(self.state, Action.COMMIT)
        return SwapTiming(version=version, stall_seconds=0.0, num_bytes=0, is_copy=True)

    def abort(self, ids: Any) -> int:
        return 0

    def finished(self, *, wait_seconds: float) -> list[Any]:
        return []


class SmallLearner:
    """Its weights are the number of its updates."""

    def __init__(self, settings: Any, seat: Any = None) -> None:
        self.num_updates, self.seat = 0, seat
        self.has_memory = True
        self.lent: str | None = None

    def offload(self) -> None:
        assert self.has_memory
        self.has_memory = False

    def onload(self) -> None:
        assert not self.has_memory
        self.has_memory = True

    def update(self, minibatch: Any, ptx: Any, *, lr: float) -> None:
        assert self.has_memory
        self.num_updates += 1

    def publish(self, version: int) -> WeightArtefact:
        assert self.has_memory
        manifest = Manifest(version=version, entries=(), total_bytes=0)
        return WeightArtefact(manifest=manifest, buffer=np.zeros(0, dtype=np.uint8))

    def publish_shared(
        self, version: int, *, before: Any = None, lends: bool = False
    ) -> tuple[WeightArtefact, Changes]:
        self.lent = f"copy of {version}" if lends else None
        copy: Any = self.lent
        return self.publish(version), Changes(num_bytes=0, code_flip_frac=None, copy=copy)

    def take_back(self) -> None:
        assert self.lent is not None
        self.lent = None

    def save(self, folder: Path) -> None:
        assert self.has_memory
        (folder / "learner.pt").write_text(str(self.num_updates))

    def load(self, folder: Path) -> None:
        assert self.has_memory
        self.num_updates = int((folder / "learner.pt").read_text())

    def export(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "config.json").write_text("{}")


class Here:
    """A process that is none. `fault` is what a call of it comes to, after `num_spared` others and `busy_until`."""

    def __init__(self, name: str, inside: Any, check: Callable[[], None]) -> None:
        self.name, self.inside, self._check = name, inside, check
        self.failure: Exception | None = None
        self.fault: Exception | None = None
        self.num_spared = 0
        self.busy_until = asyncio.Event()
        self.busy_until.set()

    async def ask(self, method: str, *args: Any, setting: str, **kwargs: Any) -> Any:
        """Who asked may be cancelled; the process does what it was asked all the same."""
        return await asyncio.shield(self._do(method, *args, **kwargs))

    async def _do(self, method: str, *args: Any, **kwargs: Any) -> Any:
        await asyncio.sleep(0)
        await self.busy_until.wait()
        if self.fault is not None:
            if self.num_spared == 0:
                self.failure, self.fault = self.fault, None
                raise self.failure
            self.num_spared -= 1
        answer = None if method == "__ray_ready__" else getattr(self.inside, method)(*args, **kwargs)
        self._check()
        return answer

    async def ask_shared(self, method: str, *args: Any, setting: str, **kwargs: Any) -> tuple[Any, Any]:
        return await self.ask(method, *args, setting=setting, **kwargs)


class InThisProcess:
    """Starts nothing but objects; `started` and `stopped` have their names in order.

    `doomed` are those, by name, whose next process comes to a fault in its first call.

    Args:
        device: GPUs have no room for the learner beside an engine.
        is_shared: they are on the same devices.
    """

    host = "127.0.0.1"

    def __init__(self, device: DeviceProfile, *, is_shared: bool = True) -> None:
        self.device, self._is_tight = device, device.sleeps and is_shared
        self.place = Place()
        self.running: dict[str, Here] = {}
        self.started: list[str] = []
        self.stopped: list[str] = []
        self.doomed: dict[str, Exception] = {}

    async def __aenter__(self) -> InThisProcess:
        return self

    async def __aexit__(self, *error: object) -> None:
        self.running = {}

    def start(
        self, kind: type, *args: Any, name: str, bundle: int, device: int | None = None,
        environment: Mapping[str, str], max_concurrency: int = 1,
    ) -> Here:  # fmt: skip
        small = {Learner: SmallLearner, EngineProcess: SmallEngine}[kind]
        self.started.append(name)
        self.running[name] = Here(name, small(*args), self._check)
        self.running[name].fault = self.doomed.pop(name, None)
        self._check()
        return self.running[name]

    def stop(self, process: Here) -> None:
        self.stopped.append(process.name)
        assert self.running.pop(process.name) is process

    def _check(self) -> None:
        holders = {name.split()[0] for name, process in self.running.items() if process.inside.has_memory}
        assert not self._is_tight or len(holders) <= 1, f"out of memory: {holders}"
        serving = [one for one in self.running.values() if getattr(one.inside, "state", None) is EngineState.SERVING]
        is_lent = any(getattr(one.inside, "lent", None) for one in self.running.values())
        assert not (is_lent and any(one.inside.folder for one in serving)), "out of memory: a copy beside KV caches"

    def folders(self) -> set[Path | None]:
        """What the engines began with; None: they have not."""
        return {process.inside.folder for name, process in self.running.items() if name.startswith("engine")}

    def versions(self) -> list[int]:
        """What the engines serve."""
        return [process.inside.version for name, process in sorted(self.running.items()) if name.startswith("engine")]


def on_a_cluster(
    folder: Path,
    work: Callable[[Cluster, InThisProcess], Awaitable[Any]],
    *,
    device: DeviceProfile = CPU,
    num_ranks: int = 1,
    steps_ahead: int = 0,
    borrows: bool = False,
) -> Any:
    """What `work` returns, in a cluster of `NUM_ENGINES` engines."""
    config = Config.model_validate(
        {
            "model": {"source": "tiny"},
            "gyms": [{"name": "arithmetic"}],
            "engine": {"num_engines": NUM_ENGINES, "borrow_weights": borrows},
            "learner": {"num_ranks": num_ranks},
            "cluster": {"separate": steps_ahead > 0},
            "rollout": {"steps_ahead": steps_ahead},
        }
    )
    chat: Any = SimpleNamespace(end_token_ids=(0,))

    async def run() -> Any:
        here = InThisProcess(device, is_shared=not steps_ahead)
        async with Cluster(
            config, model_folder=folder / "base", initial_int4=folder / "int4", chat=chat, processes=here
        ) as cluster:
            return await work(cluster, here)

    return asyncio.run(run())


async def generate(cluster: Cluster, version: int) -> None:
    """An empty turn of the engines."""
    async with cluster.keeping() as learner:
        weights = await learner.publish(version)
    async with cluster.generating(weights):
        pass
