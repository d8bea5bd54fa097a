"""Ray: the one file that knows it. Actors, the devices they share, whose turn it is, and what happens when one is lost.

Learner and engines are plain classes; here they become actors on one placement group, bundle i holding engine i and the
learner living in bundle 0 beside its engine (colocated). They take turns: `generating` and `learning` are context
managers, and entering one inside the other raises. Entering `generating` hands the engines their weights and returns
only when *all* of them serve that version: first every engine checks the artefact, then all commit.

Every remote call has a deadline; its error names actor, method, phase, step and the setting that raises it. A lost
actor is rebuilt by `Run.recovering`: engines from the initial INT4 folder and the current artefact, the learner from
the newest checkpoint, to which the run is then rewound. Steps are functions of (config, step), so repeating them
changes nothing.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import re
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from pathlib import Path
from typing import Any

import ray
import ray.exceptions
from ray.util.placement_group import PlacementGroup, placement_group, remove_placement_group
from ray.util.scheduling_strategies import PlacementGroupSchedulingStrategy

from configs.schema import Config
from rl.actor_logs import logged
from rl.checkpoint import PublishedWeights
from rl.faults import ActorLost, DeadlineExceeded, PhaseError
from rl.learner import Learner
from rl.settings import engine_settings, learner_settings
from rl.turns import LearnerHandle, ServedPolicy
from rollout.chat import ChatFormat
from rollout.engine.engine import EngineBroken, EngineSettings, SwapTiming, VLLMEngine
from rollout.weights.changes import code_flip_frac
from rollout.weights.contract import WeightArtefact

__all__ = ["Cluster", "check_running_cluster", "cpus_per_bundle"]

NUM_ENGINE_THREADS = 4
"""Concurrent calls into one engine actor: a poll must not block a submit."""
ALLOCATOR = {"MALLOC_MMAP_MAX_": "0", "MALLOC_TRIM_THRESHOLD_": "1000000000000", "MALLOC_TOP_PAD_": "268435456"}
"""glibc keeps freed memory instead of returning it: activations of every micro-batch would be faulted in again."""
SPIN_COUNT = "20000"
"""How long a thread of libgomp spins at a barrier before it sleeps (GOMP_SPINCOUNT): about half a millisecond. The
default, 300,000, collapses as soon as another process wants a core. On 2 cores of an AMD EPYC whose speed varies by a
third, a forward pass of the learner took 1.7 to 2.0 s beside two busy loops, by default 2.5 to 6.8 s (beside more, 17
to 19 s); on quiet cores 0.9 s, by default 0.7 s. A quiet engine drew 266 to 296 tokens/s, by default 153 to 232.
"""

_RAISED = re.compile(r"^(?:\w+\.)*(?P<name>\w+): (?P<text>.*)", re.MULTILINE | re.DOTALL)
"""What a traceback ends in: the exception's name at the start of a line, and its text."""
_CHAINED = re.compile(r"^(?:The above exception|During handling of the above exception).*$", re.MULTILINE)


class Cluster:
    """The actors of one run.

    Args:
        config: the resolved config.
        model_folder: the policy before training, BF16 or FP32.
        initial_int4: where the learner writes the folder that engines start from; None where nothing is trained: then
            there is no learner, and `serving` is what remains.
        chat: tokenizer and template of the policy.
        on_phase: called with (phase name, seconds) when a phase ends.
    """

    def __init__(
        self,
        config: Config,
        *,
        model_folder: Path,
        initial_int4: Path | None,
        chat: ChatFormat,
        on_phase: Callable[[str, float], None] = lambda name, seconds: None,
    ) -> None:
        self.config = config
        self.model_folder = model_folder
        self.initial_int4 = initial_int4
        self.logs = None if initial_int4 is None else initial_int4.with_name("logs")
        self.chat = chat
        self.on_phase = on_phase
        self.step = 0
        self.learner_has_moved = False
        self._swap_times: tuple[float, float] | None = None
        self._phase: str | None = "starting"
        self._group: PlacementGroup | None = None
        self._learner: Any = None
        self._engines: list[Any] = []
        self._served_version: int | None = None
        self._published: WeightArtefact | None = None
        self._owns_ray = False

    # -- start and stop -----------------------------------------------------------------------------------------------

    async def __aenter__(self) -> Cluster:
        try:
            self._connect()
            self._group = await self._reserve()
            if self.initial_int4 is not None:
                await self.start_learner()
        except BaseException:
            await self._shut_down()
            raise
        self._phase = None
        return self

    async def __aexit__(self, *error: object) -> None:
        await self._shut_down()

    def _connect(self) -> None:
        """Join the job's cluster, or start one that ends with this process."""
        address = _address(self.config)
        self._owns_ray = not ray.is_initialized()
        if not self._owns_ray:
            return
        if address is not None:
            ray.init(address=address, log_to_driver=False, logging_level=logging.ERROR)
        else:
            _start_ray(self.config)

    async def _reserve(self) -> PlacementGroup:
        """One bundle per engine: its share of the CPUs, and a GPU where the cluster has one for each."""
        have = ray.cluster_resources()
        num_engines = self.config.engine.num_engines
        cpus = cpus_per_bundle(self.config, have)
        self._threads = cpus
        self._has_gpus = have.get("GPU", 0) >= num_engines
        bundle = {"CPU": float(cpus), **({"GPU": 1.0} if self._has_gpus else {})}
        group = placement_group([bundle] * num_engines, strategy="PACK")
        try:
            await asyncio.wait_for(_future(group.ready()), self.config.cluster.start_seconds)
        except TimeoutError:
            remove_placement_group(group)
            raise ValueError(
                f"the Ray cluster did not free {num_engines} bundles of {bundle} within "
                f"{self.config.cluster.start_seconds:g} s (cluster.start_seconds): it has {have}; is another run on it?"
            ) from None
        return group

    def _options(self, bundle: int, *, max_concurrency: int = 1) -> dict[str, Any]:
        """Half a bundle each: learner and engine share the devices and take turns, so both use all of its threads."""
        group = self._group
        assert group is not None
        return {
            "num_cpus": self._threads / 2,
            "num_gpus": 0.5 if self._has_gpus else 0,
            "max_concurrency": max_concurrency,
            "max_restarts": 0,
            "scheduling_strategy": PlacementGroupSchedulingStrategy(group, placement_group_bundle_index=bundle),
            "runtime_env": {
                "env_vars": {
                    **ALLOCATOR,
                    "OMP_NUM_THREADS": str(self._threads),
                    "GOMP_SPINCOUNT": SPIN_COUNT,
                    "TOKENIZERS_PARALLELISM": "false",
                    "HF_HUB_DISABLE_PROGRESS_BARS": "1",
                    "PYTHONHASHSEED": "0",
                }
            },
        }

    async def start_learner(self) -> None:
        """Start the learner and let it write the folder that engines start from, if that is missing."""
        assert self.initial_int4 is not None
        actor = ray.remote(logged(Learner, self.logs, "learner")).options(**self._options(0))
        self._learner = actor.remote(learner_settings(self.config, self.model_folder))
        if not (self.initial_int4 / "config.json").is_file():
            await self.ask("learner", "export", self.initial_int4, setting="start_seconds")
        else:
            await self.ask("learner", "__ray_ready__", setting="start_seconds")

    async def start_engines(self, folder: Path, *, quantised: bool = True) -> None:
        """Start every engine from a folder, packed INT4 or BF16; they serve it until they are handed other weights."""
        settings = engine_settings(self.config, folder, self.chat, quantised=quantised)
        self._engines = [self._new_engine(settings, bundle=i) for i in range(self.config.engine.num_engines)]
        await self._ask_engines("__ray_ready__", setting="start_seconds")
        self._served_version = None

    def _new_engine(self, settings: EngineSettings, *, bundle: int) -> Any:
        options = self._options(bundle, max_concurrency=NUM_ENGINE_THREADS)
        return ray.remote(logged(VLLMEngine, self.logs, f"engine_{bundle}")).options(**options).remote(settings)

    async def _stop_engines(self) -> None:
        for engine in self._engines:
            ray.kill(engine)
        self._engines, self._served_version = [], None

    async def _shut_down(self) -> None:
        await self._stop_engines()
        if self._learner is not None:
            ray.kill(self._learner)
            self._learner = None
        if self._group is not None:
            remove_placement_group(self._group)
            self._group = None
        if self._owns_ray and ray.is_initialized():
            ray.shutdown()

    # -- phases -------------------------------------------------------------------------------------------------------

    @property
    def is_generating(self) -> bool:
        """The engines have the devices: the learner holds the state of the step's start."""
        return self._phase == "generate"

    @contextlib.asynccontextmanager
    async def _turn(self, phase: str) -> AsyncIterator[None]:
        if self._phase is not None:
            raise PhaseError(f"phase {phase!r} was entered during {self._phase!r}; learner and engines take turns")
        self._phase, started = phase, time.perf_counter()
        try:
            yield
        finally:
            self._phase = None
            self.on_phase(phase, time.perf_counter() - started)

    @contextlib.asynccontextmanager
    async def generating(self, weights: PublishedWeights) -> AsyncIterator[ServedPolicy]:
        """The engines' turn: all of them serve `weights` before the first sample is drawn."""
        async with self._turn("generate"):
            if not self._engines:
                assert self.initial_int4 is not None
                await self.start_engines(self.initial_int4)
            await self._sync_weights(weights)
            async with ServedPolicy(self, self._engines) as policy:
                yield policy

    @contextlib.asynccontextmanager
    async def serving(self, folder: Path, *, quantised: bool) -> AsyncIterator[ServedPolicy]:
        """Engines of their own that serve a folder as it is, packed INT4 or BF16: for comparisons."""
        async with self._turn("generate"):
            await self._stop_engines()
            try:
                await self.start_engines(folder, quantised=quantised)
                async with ServedPolicy(self, self._engines) as policy:
                    yield policy
            finally:
                await self._stop_engines()

    @contextlib.asynccontextmanager
    async def learning(self) -> AsyncIterator[LearnerHandle]:
        """The learner's turn."""
        async with self._turn("learn"):
            yield LearnerHandle(self)

    async def _sync_weights(self, weights: PublishedWeights) -> None:
        """Two phases on all engines: everyone checks, then everyone swaps; one retry, then `EngineBroken`."""
        if self._served_version == weights.version:
            return
        started = time.perf_counter()
        try:
            timings = await self._stage_and_commit(weights, is_reswap=False)
        except (EngineBroken, DeadlineExceeded, ActorLost, ValueError):
            raise
        except RuntimeError:  # a failed swap; the engines that took it and those that did not must agree again
            try:
                timings = await self._stage_and_commit(weights, is_reswap=True)
            except RuntimeError as error:
                raise EngineBroken(f"version {weights.version} could not be swapped in twice: {error}") from error
        self._served_version = weights.version
        self._swap_times = time.perf_counter() - started, max(timing.stall_seconds for timing in timings)

    async def _stage_and_commit(self, weights: PublishedWeights, *, is_reswap: bool) -> list[SwapTiming]:
        self._served_version = None
        await self._ask_engines("stage_weights", weights.handle, is_reswap=is_reswap, setting="swap_seconds")
        return await self._ask_engines("commit_weights", weights.version, setting="swap_seconds")

    def take_swap_times(self) -> tuple[float, float] | tuple[None, None]:
        """Seconds of the last hand-over and its longest engine stall, once; (None, None) if there was none since."""
        taken, self._swap_times = self._swap_times, None
        return taken or (None, None)

    # -- remote calls -------------------------------------------------------------------------------------------------

    async def _ask_engines(self, method: str, *args: Any, setting: str, **kwargs: Any) -> list[Any]:
        calls = [
            self.ask(f"engine {i}", method, *args, setting=setting, handle=engine, **kwargs)
            for i, engine in enumerate(self._engines)
        ]
        return list(await asyncio.gather(*calls))

    async def ask(self, actor: str, method: str, *args: Any, setting: str, handle: Any = None, **kwargs: Any) -> Any:
        """Call an actor's method and wait for the answer, at most `cluster.<setting>` seconds.

        Raises:
            DeadlineExceeded: no answer in time.
            ActorLost: the actor's process died.
            Exception: what the method raised.
        """
        handle = self._learner if handle is None else handle
        return await self._answer(getattr(handle, method).remote(*args, **kwargs), actor, method, setting)

    async def _answer(self, reference: Any, actor: str, method: str, setting: str) -> Any:
        seconds = getattr(self.config.cluster, setting)
        where = f"{actor}.{method} in phase {self._phase!r} of step {self.step}"
        try:
            return await asyncio.wait_for(_future(reference), seconds)
        except TimeoutError:
            raise DeadlineExceeded(
                f"{where} did not answer within {seconds:g} s; if that is too short, raise cluster.{setting}",
                actor=actor,
            ) from None
        except ray.exceptions.RayTaskError as error:
            raise _cause(error) from None
        except ray.exceptions.RayActorError as error:
            if cause := _start_failure(error):
                raise cause from None
            raise ActorLost(f"{where}: the process died: {_first_line(error)}", actor=actor) from error

    # -- weights, checkpoints, faults ---------------------------------------------------------------------------------

    async def publish(self, version: int) -> PublishedWeights:
        """Pack the learner's weights into an immutable artefact in the object store (one copy per node)."""
        started = time.perf_counter()
        handle = self._learner.publish.remote(version)
        artefact = await self._answer(handle, "learner", "publish", "swap_seconds")
        pack_seconds = time.perf_counter() - started
        before, self._published = self._published, artefact
        flipped = None if before is None else await asyncio.to_thread(code_flip_frac, before, artefact)
        return PublishedWeights(
            version=version,
            handle=handle,
            num_bytes=artefact.manifest.total_bytes,
            pack_seconds=pack_seconds,
            code_flip_frac=flipped,
        )

    async def save_learner(self, file: Path) -> None:
        """Masters and optimiser to one file."""
        await self.ask("learner", "save", file, setting="save_seconds")

    async def load_learner(self, file: Path) -> None:
        """Masters and optimiser from one file."""
        await self.ask("learner", "load", file, setting="save_seconds")

    async def export(self, folder: Path) -> None:
        """The current policy as an INT4 folder."""
        await self.ask("learner", "export", folder, setting="save_seconds")

    async def rebuild_engines(self) -> None:
        """Throw all engines away; the next `generating` starts new ones and hands them the current weights."""
        await self._stop_engines()

    async def rebuild_learner(self) -> None:
        """A new learner process with the source's weights; the caller loads a checkpoint into it."""
        ray.kill(self._learner)
        await self.start_learner()


def cpus_per_bundle(config: Config, have: Mapping[str, float]) -> int:
    """CPUs of one engine's bundle, given a cluster's resources.

    Raises:
        ValueError: the cluster has too few.
    """
    num_engines = config.engine.num_engines
    cpus = config.cluster.cpus_per_bundle or max(int(have.get("CPU", 0)) // num_engines, 1)
    if cpus * num_engines > have.get("CPU", 0):
        raise ValueError(
            f"the Ray cluster has {have.get('CPU', 0):g} CPUs; engine.num_engines = {num_engines} bundles of "
            f"cluster.cpus_per_bundle = {cpus} need {cpus * num_engines}; lower one of them"
        )
    return cpus


def check_running_cluster(config: Config) -> None:
    """Ask the cluster that the run would join, if any, whether it is large enough; starts nothing on it.

    Raises:
        ValueError: no cluster answers at the address, or it has too few CPUs.
    """
    address = _address(config)
    if address is None:
        return
    try:
        ray.init(address=address, log_to_driver=False, logging_level=logging.ERROR)
    except (ConnectionError, ValueError, RuntimeError) as error:
        raise ValueError(
            f"no Ray cluster answers at {address} (cluster.address, or RAY_ADDRESS): {_first_line(error)}"
        ) from error
    try:
        cpus_per_bundle(config, ray.cluster_resources())
    finally:
        ray.shutdown()


def _address(config: Config) -> str | None:
    return config.cluster.address or os.environ.get("RAY_ADDRESS")


def _future(reference: Any) -> Awaitable[Any]:
    return asyncio.wrap_future(reference.future())


def _cause(error: ray.exceptions.RayTaskError) -> Exception:
    """What the actor's code raised, as itself."""
    cause = error.cause
    return cause if isinstance(cause, Exception) else RuntimeError(_first_line(error))


def _start_failure(error: ray.exceptions.RayActorError) -> Exception | None:
    """What an actor's constructor raised, if that is how it died. Ray keeps only the traceback's text."""
    if not error.actor_init_failed:
        return None
    raised = _RAISED.search(_CHAINED.split(str(error))[-1])
    if raised is None:
        return RuntimeError(_first_line(error))
    name, text = raised["name"], raised["text"].strip()
    return ValueError(text) if name == "ValueError" else RuntimeError(f"{name}: {text}")


def _first_line(error: BaseException) -> str:
    return str(error).strip().split("\n")[0]


def _start_ray(config: Config) -> None:
    """Start a cluster that ends with this process.

    Ray gives its node 30 s to register, which no setting of Ray's raises. A busy machine may need longer: it is tried
    again until `cluster.start_seconds` have passed.
    """
    deadline = time.monotonic() + config.cluster.start_seconds
    while True:
        try:
            ray.init(
                address="local",
                include_dashboard=False,
                object_store_memory=config.cluster.object_store_bytes,
                log_to_driver=False,
                logging_level=logging.ERROR,
                _system_config={"worker_niceness": 0},  # Ray's 15 would starve the engines beside their own driver
            )
            return
        except Exception as error:  # Ray raises no narrower type here
            if "timed out during startup" not in str(error):
                raise
            if time.monotonic() > deadline:
                raise DeadlineExceeded(
                    f"Ray's node did not register within {config.cluster.start_seconds:g} s, in phase 'starting'; is "
                    "the machine busy? If that is too short, raise cluster.start_seconds",
                    actor="ray",
                ) from error
            ray.shutdown()
