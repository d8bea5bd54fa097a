"""Learner and engines on shared devices: whose turn it is, and what is started anew when one of them was lost.

They take turns: `generating`, `learning` and `keeping` are context managers, and entering one inside another raises.
Entering one gives it the devices' memory (rl/residents.py); entering `generating` hands the engines their weights
(rl/handover.py), and its body begins when *all* of them serve that version.
With devices of their own (`cluster.separate`) they need not wait for each other: engines may draw the next step while
the learner learns (rl/ahead.py).
Where their processes live is in rl/actors.py, what a call to one may end in, in rl/calls.py; nothing here knows Ray.

Whoever was lost is started anew, and nobody else: an engine from the initial INT4 folder and the current artefact, the
learner from the source's weights, for `Run` to load its newest checkpoint into and to rewind; with it, engines that
have not begun, which hold nothing and may have died with its node unasked. Steps are functions of (config, step), so
repeating them changes nothing.

Packed weights lie on the learner's node until engines take them. A node that dies while engines sample takes with it
what an engine that is started anew would be handed, and nobody has asked the learner meanwhile: so after every loss it
is asked whether it lives, and where an engine finds that its weights are gone, the learner counts as lost.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import AsyncIterator, Callable, Coroutine
from pathlib import Path
from typing import Any

from configs.schema import Config
from rl.actors import Actors
from rl.ahead import Ahead, Drawn
from rl.bundles import spots_of_ranks
from rl.checkpoint import PublishedWeights
from rl.faults import HandedLost, PhaseError
from rl.handover import HandOver, settled
from rl.personas import Personas
from rl.policy import ServedPolicy
from rl.processes import Process, StartsProcesses
from rl.rank_group import RankGroup, start_learner
from rl.remote_learner import RemoteLearner
from rl.residents import Residents
from rl.settings import engine_settings, learner_settings
from rollout.chat import ChatFormat
from rollout.engine.process import EngineProcess

__all__ = ["Cluster"]

NUM_ENGINE_THREADS = 4
"""Concurrent calls into one engine actor: a poll must not block a submit."""


class Cluster:
    """The processes of one run.

    Args:
        config: the resolved config.
        model_folder: the policy before training, BF16 or FP32.
        initial_int4: where the learner writes the folder that engines start from; None where nothing is trained: then
            there is no learner, and `serving` is what remains.
        chat: tokenizer and template of the policy.
        on_phase: called with (phase name, seconds) when a phase ends.
        processes: where learner and engines are started; None: on Ray.
    """

    learner: RemoteLearner

    def __init__(
        self,
        config: Config,
        *,
        model_folder: Path,
        initial_int4: Path | None,
        chat: ChatFormat,
        on_phase: Callable[[str, float], None] = lambda name, seconds: None,
        processes: StartsProcesses | None = None,
    ) -> None:
        self.config = config
        self.model_folder = model_folder
        self.initial_int4 = initial_int4
        self.chat = chat
        self.on_phase = on_phase
        self.handover = HandOver()
        self.ahead = Ahead()
        self._personas = Personas(config)
        logs = None if initial_int4 is None else initial_int4.with_name("logs")
        self._processes: StartsProcesses = Actors(config, logs=logs) if processes is None else processes
        self.place = self._processes.place
        self._residents = Residents(is_tight=False)
        self._learner: Process | None = None
        self._engines: dict[int, Process] = {}  # by bundle
        self._spare: dict[int, Process] = {}  # engines that have imported vLLM and have not begun

    async def __aenter__(self) -> Cluster:
        await self._processes.__aenter__()
        self._residents = Residents(is_tight=self.is_tight)
        try:
            if self.initial_int4 is not None:
                await self._start_learner()
        except BaseException:
            await self._processes.__aexit__()
            raise
        self.place.phase = None
        return self

    async def __aexit__(self, *error: object) -> None:
        self._engines, self._spare = {}, {}
        await self._personas.aclose()
        await self._processes.__aexit__(*error)

    # -- start, and start anew ----------------------------------------------------------------------------------------

    async def _start_learner(self) -> None:
        """Start the learner and let it write the folder that engines start from, if that is missing.

        Engines that are missing import vLLM meanwhile.
        """
        assert self.initial_int4 is not None
        self._learner = start_learner(
            self._processes,
            learner_settings(self.config, self.model_folder),
            spots=spots_of_ranks(self.config, self._processes.device),
            limits=self.config.cluster,
        )
        lends = self.is_tight and self.config.engine.borrow_weights
        self.learner = RemoteLearner(self._learner, lends=lends)
        self._create_engines()
        if not (self.initial_int4 / "config.json").is_file():
            await self._learner.ask("export", self.initial_int4, setting="start_seconds")
        else:
            await self._learner.ask("__ray_ready__", setting="start_seconds")

    def _create_engines(self) -> None:
        """The processes of engines that are missing; they do not initialise CUDA until they begin."""
        for i in range(self.config.engine.num_engines):
            if i not in self._engines and i not in self._spare:
                self._spare[i] = self._processes.start(
                    EngineProcess,
                    name=f"engine {i}",
                    bundle=i,
                    environment=self._processes.device.engine_environment,
                    max_concurrency=NUM_ENGINE_THREADS,
                )

    async def _start_engines(self, folder: Path, *, quantised: bool = True) -> None:
        """Start the engines that are missing, from a folder, packed INT4 or BF16, which they serve at first.

        One that has not begun when this fails or is cancelled, and was not lost, is stopped: inside its constructor it
        could not be asked to sleep, and the learner may need the memory that it takes.
        """
        self._create_engines()
        if not self._spare:
            return
        started = time.perf_counter()
        if self._learner is not None:
            await self.learner.take_back()  # engines begin with KV caches: there may be no room for both
        self.handover.forget()
        settings = engine_settings(self.config, folder, self.chat, quantised=quantised)

        async def begin(i: int, engine: Process) -> None:
            await engine.ask("begin", settings, setting="start_seconds")
            self._engines[i] = self._spare.pop(i)

        try:
            await settled([begin(i, engine) for i, engine in self._spare.items()])
        except BaseException:
            for i in [i for i, engine in self._spare.items() if not engine.failure]:
                self._processes.stop(self._spare.pop(i))
            raise
        finally:
            self.on_phase("start", time.perf_counter() - started)

    def _stop_engines(self) -> None:
        for engine in self._engines.values():
            self._processes.stop(engine)
        self._engines = {}

    async def start_anew(self) -> bool:
        """End who failed, and start them anew; if nobody did, the engines could not agree: all of them. Engines start
        when they are next needed.

        Returns:
            Whether the learner no longer holds the state of the step's start, or engines what its samples were drawn
            with; then a checkpoint must be loaded.
        """
        self._blame_the_learner()
        if not self.learner.is_lost:
            await self.learner.look()
        there = self._engines | self._spare
        lost = {i for i, engine in there.items() if engine.failure}
        if self.learner.is_lost:
            lost |= set(self._spare)  # they hold nothing, and nobody has asked those that died with the learner's node
        elif not lost:
            lost = set(self._engines)
        for i in lost:
            self._processes.stop(there[i])
            self._engines.pop(i, None)
            self._spare.pop(i, None)
        is_undrawn = self.ahead.is_undrawn or self.ahead.step not in (None, self.place.step)
        is_rewound = self.learner.is_lost or self.learner.has_moved or is_undrawn
        if self.learner.is_lost:
            assert self._learner is not None
            for rank in self._learner.ranks if isinstance(self._learner, RankGroup) else [self._learner]:
                self._processes.stop(rank)
            await self._start_learner()
        if is_rewound:
            await self.ahead.forget()
            self.handover.forget()
        return is_rewound

    def _blame_the_learner(self) -> None:
        """Engines that were handed what is gone are well; who made it is not, or it would be there."""
        for engine in self._engines.values():
            if isinstance(engine.failure, HandedLost):
                self.learner.process.failure, engine.failure = engine.failure, None

    # -- phases -------------------------------------------------------------------------------------------------------

    @property
    def is_tight(self) -> bool:
        """Learner and engines give each other their memory: the learner can do nothing while engines sample."""
        return self._processes.device.sleeps and not self.config.cluster.separate

    @property
    def is_generating(self) -> bool:
        """The engines have the devices: the learner holds the state of the step's start."""
        return self.place.phase == "generate"

    @contextlib.asynccontextmanager
    async def _turn(self, phase: str, *, is_timed: bool = True) -> AsyncIterator[None]:
        if self.place.phase is not None:
            raise PhaseError(f"phase {phase!r} was entered during {self.place.phase!r}; learner and engines take turns")
        self.place.phase, started = phase, time.perf_counter()
        try:
            yield
        finally:
            self.place.phase = None
            if is_timed:
                self.on_phase(phase, time.perf_counter() - started)

    @contextlib.asynccontextmanager
    async def generating(self, weights: PublishedWeights) -> AsyncIterator[ServedPolicy]:
        """The engines' turn: all of them serve `weights` before the first sample is drawn."""
        async with self._turn("generate"):
            assert self.initial_int4 is not None
            waited = time.perf_counter()
            if await self.ahead.settled() is not None:
                self.on_phase("rollout", time.perf_counter() - waited)
            await self._residents.learner_leaves(self._learner)
            await self._start_engines(self.initial_int4)
            if await self._residents.engines_return(self._all_engines):
                self.handover.forget()
            await self.handover.sync_weights(self._all_engines, weights, copy=self.learner.copy)
            await self.learner.take_back()  # not after a fault: somebody may read it still
            await self._residents.engines_are_whole(self._all_engines)
            async with self._policy() as policy:
                yield policy

    @contextlib.asynccontextmanager
    async def serving(self, folder: Path, *, quantised: bool) -> AsyncIterator[ServedPolicy]:
        """Engines of their own that serve a folder as it is, packed INT4 or BF16: for comparisons."""
        async with self._turn("generate"):
            self._stop_engines()
            await self._residents.learner_leaves(self._learner)
            try:
                await self._start_engines(folder, quantised=quantised)
                async with self._policy() as policy:
                    yield policy
            finally:
                self._stop_engines()

    @property
    def _all_engines(self) -> list[Process]:
        return [self._engines[i] for i in sorted(self._engines)]

    def _policy(self) -> ServedPolicy:
        return ServedPolicy(
            self._all_engines,
            chat=self.chat,
            max_prompt_tokens=self.config.rollout.max_prompt_tokens,
            max_num_seqs=self.config.engine.max_num_seqs,
            generate_seconds=self.config.cluster.generate_seconds,
            place=self.place,
            personas=self._personas,
        )

    def draw_ahead(self, step: int, draw: Callable[[ServedPolicy], Coroutine[Any, Any, Drawn]]) -> None:
        """Have the engines draw a step behind their turn, with the weights that they serve: `generating` waits for that
        before it hands them others."""

        async def drawn() -> Drawn:
            async with self._policy() as policy:
                return await draw(policy)

        self.ahead.begin(step, drawn())

    @contextlib.asynccontextmanager
    async def learning(self) -> AsyncIterator[RemoteLearner]:
        """The learner's turn."""
        async with self._turn("learn"):
            await self._residents.learner_returns(self.learner.process, self._all_engines)
            yield self.learner

    @contextlib.asynccontextmanager
    async def keeping(self) -> AsyncIterator[RemoteLearner]:
        """The learner's state is needed, to be saved, restored or exported; nothing is learned."""
        async with self._turn("keep", is_timed=False):
            await self._residents.learner_returns(self.learner.process, self._all_engines)
            yield self.learner

    async def export(self, folder: Path) -> None:
        """The current policy as an INT4 folder."""
        async with self.keeping() as learner:
            await learner.export(folder)
