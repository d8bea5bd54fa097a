"""One vLLM engine in this process, on its own thread: submit and abort at any time, responses leave as they finish.

All calls into vLLM happen on one thread, the engine's. Other threads leave commands in an inbox and read finished
samples from an outbox; between two `step()` calls the engine empties the inbox. So a response can be scored while its
siblings still decode, and a swap can never meet a half-done step.

What makes a sample a function of (weights, prompt, seed, temperature) alone, whatever else is in the batch: a generator
per request, chunked prefill off (partly prefilled requests break seeded sampling on CPU), no speculative decoding, and
log-probabilities "processed", i.e. of the distribution drawn from, temperature included (docs/reliability.md).

Swap: `stage_weights` checks an artefact against what the engine serves, makes its bytes in the engine's memory layout
where that is known (rollout/engine/staging.py), and touches nothing; `commit_weights` swaps it in. If that fails, the
previous artefact is swapped in again, so that the engine serves the old version or the new one, never a mixture; if
that fails too, `EngineBroken` tells the owner to rebuild this engine. What is lent: rollout/weights/device_copy.py.
"""

from __future__ import annotations

import os
import queue
import threading
import time
import traceback
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from pathlib import Path
from typing import Any

from rollout.engine import tenants
from rollout.engine.compat import check_version, keeps_set_num_threads, prepare_environment, request_amx
from rollout.engine.counts import PromptCounts
from rollout.engine.device import this_device
from rollout.engine.memory import DeviceMemory, device_memory
from rollout.engine.ready import Ready, SwapTiming
from rollout.engine.requests import sampling_params, to_sample
from rollout.engine.settings import EngineSettings, vllm_arguments
from rollout.engine.states import Action, EngineBroken, EngineState, WakeTag, WrongState, after
from rollout.engine.teams import in_passing
from rollout.engine.workers import Workers, threads_shared
from rollout.types import Sample, SampleRequest
from rollout.weights.contract import WeightArtefact
from rollout.weights.device_copy import DeviceCopy, Loan, borrow
from rollout.weights.receiver import check_bytes, expected_from_folder, tensors, validate

__all__ = ["EngineBroken", "EngineSettings", "SwapTiming", "VLLMEngine", "WrongState"]


class VLLMEngine:
    """A served policy. Thread-safe; every method but the constructor may be called from any thread.

    Args:
        settings: what it serves, and how.
        artefact: what `model_folder` holds, if that has a version.
        memory: how its memory is given up; None: as its device does it.

    Raises:
        ValueError: unsupported vLLM, a folder that vLLM refuses, or a device with too little free memory.
    """

    def __init__(
        self,
        settings: EngineSettings,
        *,
        artefact: WeightArtefact | None = None,
        memory: DeviceMemory | None = None,
    ) -> None:
        check_version()
        prepare_environment()
        self.settings = settings
        self._device = settings.device or this_device()
        self._memory = memory or device_memory(self._device)
        self._state = EngineState.SERVING
        self._inbox: queue.SimpleQueue[tuple[Callable[[], Any], Future[Any]] | None] = queue.SimpleQueue()
        self._outbox: queue.SimpleQueue[Sample | None] = queue.SimpleQueue()
        self._requests: dict[str, SampleRequest] = {}
        self._served = artefact
        self._staged: Ready | None = None
        self._handing_over = threading.Lock()  # staging writes what a commit reads
        self._dead: BaseException | None = None
        self._ending = threading.Lock()  # between "is it dead? then queue" and "it is dead, fail what is queued"
        self.num_quantised_layers = 0
        self._expected = expected_from_folder(settings.model_folder) if settings.quantised else None
        not_yet: Any = None
        self._llm = self._workers = self._staging = self._prompts = self._routing = not_yet
        started: Future[None] = Future()
        self._thread = threading.Thread(target=self._run, args=(started,), name="vllm-engine", daemon=True)
        self._thread.start()
        started.result()

    # -- callers' side ------------------------------------------------------------------------------------------------

    @property
    def weight_version(self) -> int:
        """Version of the weights in the engine's memory; -1 before the first artefact, and while it holds none.

        An engine that slept has none until a commit: that it served a version before does not spare it the swap.
        """
        if self._served is None or self._state in (EngineState.ASLEEP, EngineState.GARBAGE):
            return -1
        return self._served.manifest.version

    @property
    def state(self) -> EngineState:
        """What its memory holds; rollout/engine/states.py says what it may be asked then."""
        return self._state

    @property
    def num_prefilled_tokens(self) -> int:
        """Prompt tokens computed since the start: what siblings copied and the prefix cache held is not counted."""
        return self._prompts.num_prefilled_tokens

    @property
    def num_preemptions(self) -> int:
        """How often a response gave its KV blocks up to others and was computed again, since the start."""
        return self._prompts.num_preemptions

    def submit(self, requests: Sequence[SampleRequest]) -> None:
        """Queue responses to be drawn. Their ids must not be in flight.

        Requests with the same prompt are queued one behind the other, so that they meet and prefill it once.

        Raises:
            WrongState: it is asleep, or has no weights or no KV cache yet.
        """
        places: dict[tuple[int, ...], int] = {}
        for request in requests:
            places.setdefault(request.prompt_ids, len(places))
        ordered = sorted(requests, key=lambda request: places[request.prompt_ids])
        self._call(lambda: [self._add(request) for request in ordered])

    def finished(self, *, wait_seconds: float) -> list[Sample]:
        """Samples finished since the last call; waits up to `wait_seconds` for the first.

        Raises:
            EngineBroken: the engine's thread has ended; every call says so from then on.
        """
        samples: list[Sample] = []
        timeout: float | None = wait_seconds
        while True:
            try:
                item = self._outbox.get(timeout=timeout) if timeout else self._outbox.get_nowait()
            except queue.Empty:
                return samples
            if item is None:  # the thread has ended; stays for every later poll
                self._outbox.put(None)
                if not samples:
                    self._check_alive()
                return samples
            samples.append(item)
            timeout = None

    def abort(self, ids: Sequence[str] | None = None) -> int:
        """Stop requests (None: all in flight) without a sample; returns how many were stopped."""
        return self._call(lambda: self._abort(ids))

    def stage_weights(
        self, artefact: WeightArtefact, *, copy: DeviceCopy | None = None, is_reswap: bool = False
    ) -> None:
        """Check an artefact against what is served, and make ready what a commit copies; the engine is not touched.

        A `copy` of it that is on this device is checked and read in its place, until the commit has ended.

        Raises:
            WeightsRefused: names the tensors that are missing, extra, of another shape or dtype, or corrupted.
        """
        loan = in_passing(lambda: self._checked(artefact, copy, is_reswap=is_reswap))
        with self._handing_over:
            self._staged, made = None, None
            if not self._workers.are_here:
                self._call(lambda: self._workers.hold(artefact))
            elif self._staging is not None:
                make = in_passing if self._requests else self._call  # beside what decodes, or by the idle engine's team
                made = make(lambda: self._staging.stage(tensors(artefact)))
            self._staged = Ready(artefact, made, loan)

    def _checked(self, artefact: WeightArtefact, copy: DeviceCopy | None, *, is_reswap: bool) -> Loan | None:
        assert self._expected is not None, "an engine that serves BF16 has no swap"
        after(self._state, Action.STAGE)
        old = self.weight_version if self.weight_version >= 0 else None
        takes = copy is not None and self._staging is None and self._workers.are_here
        loan = borrow(copy, artefact.manifest, kind=self._device.name) if takes else None
        flat = None if loan is None else loan.flat
        validate(artefact, self._expected, current_version=old, is_repeat_allowed=is_reswap, flat=flat)
        return loan

    def commit_weights(self, version: int) -> SwapTiming:
        """Swap the staged artefact in; the prefix cache is emptied. All or nothing.

        Raises:
            WrongState: it is asleep; wake its weights first.
            RuntimeError: the swap failed; the old version is serving (or loaded, if the KV cache still sleeps).
            EngineBroken: the swap failed and the old version could not be put back.
        """
        with self._handing_over:
            staged = self._staged
            if staged is None or staged.artefact.manifest.version != version:
                raise ValueError(f"version {version} is not staged; call stage_weights first")
            self._staged = None
            try:
                return self._call(lambda: self._swap(staged))
            finally:
                staged.close()

    def sleep(self) -> None:
        """Give up the device memory of weights and KV cache (level 2): they are forgotten, the addresses stay.

        What no checkpoint brings back is copied to the host first. Until it is woken the engine refuses requests and
        commits; staging goes on working. What was staged from lent memory must be staged again.

        Raises:
            WrongState: it is asleep already.
            ValueError: requests are in flight; it serves BF16, which nothing could load again; or its device has
                nothing to give back (`DeviceProfile.sleeps`).
        """
        self._call(self._sleep)

    def wake(self, tag: WakeTag) -> None:
        """Take memory back: first `"weights"`, then a commit, then `"kv_cache"`.

        After `wake("weights")` the engine holds garbage: it serves no version (`weight_version` is -1), and the version
        that it served before must be staged and committed like any other. The prefix cache is empty when it serves.

        Raises:
            WrongState: not in this order.
        """
        self._call(lambda: self._wake(tag))

    def prompt_logprobs(self, sequences: Sequence[tuple[int, ...]]) -> list[tuple[float, ...]]:
        """Log-probability of every token but the first under the served weights at T = 1. For probes, not sampling."""
        return self._call(lambda: self._prompt_logprobs(sequences))

    def on_worker(self, method: Any, *args: Any) -> Any:
        """Call a method of vLLM's worker (or of `SwapExtension`) and return the first worker's answer."""
        return self.on_workers(method, *args)[0]

    def on_workers(self, method: Any, *args: Any) -> list[Any]:
        """As `on_worker`: every worker's answer, by rank. There is one, but for tensor parallelism."""
        return self._call(lambda: self._workers.ask(method, *args))

    def close(self) -> None:
        """Stop the thread, and end what vLLM keeps of the engine; of the process, if it is the last one there."""
        self._inbox.put(None)
        self._thread.join(timeout=30)

    def _call(self, command: Callable[[], Any]) -> Any:
        future: Future[Any] = Future()
        with self._ending:
            self._check_alive()
            self._inbox.put((command, future))
        return future.result()

    def _check_alive(self) -> None:
        if self._dead is not None:
            raise EngineBroken(f"the engine's thread has ended: {self._dead!r}") from self._dead

    # -- the engine's thread ------------------------------------------------------------------------------------------

    def _run(self, started: Future[None]) -> None:
        tenants.enter(self)
        try:
            self._llm = self._build()
            self._workers = Workers(self._llm, num=self.settings.tensor_parallel)
            self._prepare()
        except BaseException as error:
            self._dead = error
            try:
                tenants.leave(self, self._llm, num_workers=self.settings.tensor_parallel)
            finally:
                started.set_exception(error)  # whoever starts it waits for this
            return
        started.set_result(None)
        try:
            while self._handle_commands():
                if self._llm.has_unfinished_requests():
                    for output in self._llm.step():
                        if output.finished and output.request_id in self._requests:
                            request = self._requests.pop(output.request_id)
                            routing = None if self._routing is None else self._routing.take(request.id)
                            sample = to_sample(request, output, weight_version=self.weight_version, routing=routing)
                            self._outbox.put(sample)
        except BaseException as error:
            self._end(error)
        else:
            self._end(EngineBroken("it was closed"))

    def _end(self, cause: BaseException) -> None:
        """Nothing runs from now on: fail who waits, and who asks later."""
        with self._ending:
            self._dead = cause
            while not self._inbox.empty():
                if (item := self._inbox.get()) is not None:
                    item[1].set_exception(EngineBroken(f"the engine's thread has ended: {cause!r}"))
        self._outbox.put(None)  # wakes a poll
        tenants.leave(self, self._llm, num_workers=self.settings.tensor_parallel)

    def _build(self) -> Any:
        from vllm import EngineArgs, LLMEngine
        from vllm.config import KVTransferConfig

        from rollout.engine import cpu_experts

        request_amx()
        cpu_experts.install()
        arguments = vllm_arguments(self.settings, self._device)
        if self._device.shares_prompts:
            arguments["kv_transfer_config"] = KVTransferConfig(
                kv_connector="SharedPrompts",
                kv_connector_module_path="rollout.engine.shared_prompts",
                kv_role="kv_both",
            )
        if self._device.name == "cuda":  # to have asked whether there is a GPU already spoils a fork
            os.environ["VLLM_WORKER_MULTIPROC_METHOD"] = "spawn"
        with threads_shared(self.settings.tensor_parallel), keeps_set_num_threads():
            return LLMEngine.from_engine_args(EngineArgs(**arguments))

    def _prepare(self) -> None:
        """Make ready what is ours: staging, counts, routing."""
        workers = self._workers
        self.num_quantised_layers = workers.ask("k2rl_prepare", self.settings.bf16_copy)[0]
        if self.settings.stages and self._expected is not None and workers.are_here:
            folder = Path(self.settings.model_folder)
            self._staging = workers.ask("k2rl_staging", folder, self._expected)[0]
        scheduler = self._llm.engine_core.engine_core.scheduler
        self._prompts = scheduler.connector if self._device.shares_prompts else PromptCounts(scheduler)
        if self.settings.returns_routing:
            num_blocks = scheduler.kv_cache_config.num_blocks
            self._routing = workers.ask("k2rl_routing", num_blocks, self.settings.block_size)[0]
            scheduler.connector.routing = self._routing

    def _handle_commands(self) -> bool:
        """Run queued commands; waits for one while there is nothing to decode. False: close."""
        block = not self._llm.has_unfinished_requests()
        while True:
            try:
                item = self._inbox.get(block=block)
            except queue.Empty:
                return True
            if item is None:
                return False
            command, future = item
            try:
                future.set_result(command())
            except BaseException as error:  # the caller gets it; only EngineBroken ends the thread
                if self._workers.is_one_lost:
                    error = EngineBroken(f"a process of the engine died: {error}")
                future.set_exception(error)
                if isinstance(error, EngineBroken):
                    raise error
            block = not self._llm.has_unfinished_requests()

    def _add(self, request: SampleRequest) -> None:
        after(self._state, Action.SAMPLE)
        if request.id in self._requests:
            raise ValueError(f"request {request.id!r} is in flight already")
        params = sampling_params(request, stop_token_ids=self.settings.stop_token_ids)
        self._requests[request.id] = request
        request_id = self._llm.add_request(request.id, {"prompt_token_ids": list(request.prompt_ids)}, params)
        if self._routing is not None:
            self._routing.want(request.id, request_id)

    def _abort(self, ids: Sequence[str] | None) -> int:
        doomed = [i for i in (self._requests if ids is None else ids) if i in self._requests]
        for request_id in doomed:
            del self._requests[request_id]
        self._llm.abort_request(doomed)
        return len(doomed)

    def _swap(self, ready: Ready) -> SwapTiming:
        if self._requests:
            raise ValueError(f"{len(self._requests)} requests are in flight; a swap needs a quiet engine")
        artefact = ready.artefact
        started, state = time.perf_counter(), after(self._state, Action.COMMIT)
        try:
            ready.load(self._workers)
            self._empty_prefix_cache()
        except Exception as error:
            self._put_back(error)
            self._state = state
            raise RuntimeError(
                f"swap to version {artefact.manifest.version} failed, version {self.weight_version} is serving: {error}"
            ) from error
        self._served, self._state = artefact, state
        return SwapTiming(
            version=artefact.manifest.version,
            stall_seconds=time.perf_counter() - started,
            num_bytes=artefact.manifest.total_bytes,
            is_copy=ready.copy is not None,
            is_lent=ready.loan is not None,
        )

    def _put_back(self, cause: Exception) -> None:
        traceback.clear_frames(cause.__traceback__)  # which would keep what was borrowed open
        if self._served is None:
            raise EngineBroken(f"the first swap failed and there is no version to go back to: {cause}") from cause
        try:
            check_bytes(self._served)  # where a copy was read in its place, nobody has yet
            self._workers.load(self._served)
            self._empty_prefix_cache()
        except Exception as error:
            version = self._served.manifest.version
            raise EngineBroken(f"version {version} could not be put back after {cause}: {error}") from error

    def _sleep(self) -> None:
        state = after(self._state, Action.SLEEP)
        if self._requests:
            raise ValueError(f"{len(self._requests)} requests are in flight; an engine that sleeps has none")
        if self._expected is None:
            raise ValueError("an engine that serves BF16 has no swap, so nothing could wake it: it does not sleep")
        if self._state is EngineState.SERVING or self._state is EngineState.LOADED:
            self._workers.ask("k2rl_keep", frozenset(self._expected))
        if self._staged is not None and self._staged.loan is not None:
            self._staged = None  # memory that the learner is to have back
        self._empty_prefix_cache()
        with self._workers.in_step():
            self._memory.sleep(self._llm)
        self._state = state

    def _wake(self, tag: WakeTag) -> None:
        state = after(self._state, Action.WAKE_WEIGHTS if tag == "weights" else Action.WAKE_KV_CACHE)
        with self._workers.in_step():
            self._memory.wake(self._llm, tag)
        if tag == "weights":
            self._workers.ask("k2rl_restore")
        else:
            self._workers.ask("k2rl_clear_kv_cache")
            self._empty_prefix_cache()
        self._state = state

    def _empty_prefix_cache(self) -> None:
        if not self._llm.reset_prefix_cache():
            raise RuntimeError("vLLM did not empty its prefix cache after a swap")
        if self._routing is not None:
            self._routing.forget()

    def _prompt_logprobs(self, sequences: Sequence[tuple[int, ...]]) -> list[tuple[float, ...]]:
        from vllm import SamplingParams

        after(self._state, Action.SAMPLE)
        if self._requests:
            raise ValueError("prompt_logprobs needs a quiet engine")
        params = SamplingParams(temperature=0.0, max_tokens=1, prompt_logprobs=0)
        for i, ids in enumerate(sequences):
            self._llm.add_request(f"probe/{i}", {"prompt_token_ids": list(ids)}, params)
        found: dict[str, tuple[float, ...]] = {}
        while self._llm.has_unfinished_requests():
            for output in self._llm.step():
                if output.finished:
                    rows = zip(output.prompt_token_ids[1:], output.prompt_logprobs[1:], strict=True)
                    found[output.request_id] = tuple(entry[token].logprob for token, entry in rows)
        return [found[f"probe/{i}"] for i in range(len(sequences))]
