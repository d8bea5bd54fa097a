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
that fails too, `EngineBroken` tells the owner to rebuild this engine.
"""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from rollout.engine.compat import check_version, prepare_environment, request_amx
from rollout.types import FinishReason, Sample, SampleRequest, Segment
from rollout.weights.contract import WeightArtefact
from rollout.weights.receiver import expected_from_folder, tensors, validate

__all__ = ["EngineBroken", "EngineSettings", "SwapTiming", "VLLMEngine"]


class EngineBroken(RuntimeError):
    """The engine can no longer serve: its thread died, or a failed swap could not be undone. Rebuild it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class EngineSettings:
    """What an engine is started with."""

    model_folder: Path
    """INT4 (or BF16) Hugging Face folder."""
    context_length: int
    """Most tokens of prompt and response."""
    max_num_seqs: int
    """Most responses that decode at the same time."""
    kv_cache_bytes: int
    """Memory of the KV cache in bytes."""
    block_size: int
    """Tokens of a KV block."""
    stop_token_ids: tuple[int, ...]
    """Tokens that end a response."""
    seed: int = 0
    """vLLM's global seed; samples use their own."""
    quantised: bool = True
    """False serves a BF16 folder (comparisons); its weights are never swapped."""
    stages: bool = True
    """Whether swaps copy weights that were made in the engine's layout beforehand, where that is proven exact."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SwapTiming:
    """How long a swap took on one engine."""

    version: int
    stall_seconds: float
    """Time in which the engine could not decode."""
    num_bytes: int
    """Size of the packed weights."""
    is_copy: bool
    """Whether the weights had been made in the engine's layout before, so that the stall was a copy."""


class _Ready(NamedTuple):
    """An artefact that may be committed."""

    artefact: WeightArtefact
    copy: Any
    """`rollout.engine.staging.Staged`; None where vLLM's layerwise reload is to load it."""


def _finish_reason(request_id: str, told: str | None) -> FinishReason:
    """vLLM's word for why a response ended. Its others (abort, error, repetition) are no answer of the policy."""
    if told in ("stop", "length"):
        return FinishReason(told)
    raise EngineBroken(
        f"vLLM ended request {request_id!r} with finish_reason {told!r}, which is neither an end token nor a budget "
        "that ran out"
    )


class VLLMEngine:
    """A served policy. Thread-safe; every method but the constructor may be called from any thread.

    Raises:
        ValueError: unsupported vLLM, or a folder that vLLM refuses.
    """

    def __init__(self, settings: EngineSettings, *, artefact: WeightArtefact | None = None) -> None:
        check_version()
        prepare_environment()
        self.settings = settings
        self._inbox: queue.SimpleQueue[tuple[Callable[[], Any], Future[Any]] | None] = queue.SimpleQueue()
        self._outbox: queue.SimpleQueue[Sample | None] = queue.SimpleQueue()
        self._requests: dict[str, SampleRequest] = {}
        self._served = artefact
        self._staged: _Ready | None = None
        self._handing_over = threading.Lock()  # staging writes what a commit reads
        self._dead: BaseException | None = None
        self._ending = threading.Lock()  # between "is it dead? then queue" and "it is dead, fail what is queued"
        self.num_quantised_layers = 0
        self._expected = expected_from_folder(settings.model_folder) if settings.quantised else None
        self._llm: Any = None
        self._staging: Any = None
        self._prompts: Any = None
        started: Future[None] = Future()
        self._thread = threading.Thread(target=self._run, args=(started,), name="vllm-engine", daemon=True)
        self._thread.start()
        started.result()

    # -- callers' side ------------------------------------------------------------------------------------------------

    @property
    def weight_version(self) -> int:
        """Version of the weights being served; -1 before the first artefact."""
        return self._served.manifest.version if self._served is not None else -1

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

    def stage_weights(self, artefact: WeightArtefact, *, is_reswap: bool = False) -> None:
        """Check an artefact against what is served, and make ready what a commit copies; the engine is not touched.

        Raises:
            WeightsRefused: names the tensors that are missing, extra, of another shape or dtype, or corrupted.
        """
        assert self._expected is not None, "an engine that serves BF16 has no swap"
        current = None if self._served is None else self._served.manifest.version
        validate(artefact, self._expected, current_version=current, is_repeat_allowed=is_reswap)
        with self._handing_over:
            self._staged = None
            copy = None if self._staging is None else self._staging.stage(tensors(artefact))
            self._staged = _Ready(artefact, copy)

    def commit_weights(self, version: int) -> SwapTiming:
        """Swap the staged artefact in; the prefix cache is emptied. All or nothing.

        Raises:
            RuntimeError: the swap failed; the old version is serving.
            EngineBroken: the swap failed and the old version could not be put back.
        """
        with self._handing_over:
            staged = self._staged
            if staged is None or staged.artefact.manifest.version != version:
                raise ValueError(f"version {version} is not staged; call stage_weights first")
            self._staged = None
            return self._call(lambda: self._swap(staged))

    def prompt_logprobs(self, sequences: Sequence[tuple[int, ...]]) -> list[tuple[float, ...]]:
        """Log-probability of every token but the first under the served weights at T = 1. For probes, not sampling."""
        return self._call(lambda: self._prompt_logprobs(sequences))

    def on_worker(self, method: str, *args: Any) -> Any:
        """Call a method of vLLM's worker (or of `SwapExtension`) and return the first worker's answer."""
        return self._call(lambda: self._llm.collective_rpc(method, args=args)[0])

    def close(self) -> None:
        """Stop the thread and free the model."""
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
        try:
            self._llm = self._build()
        except BaseException as error:
            self._dead = error
            started.set_exception(error)
            return
        started.set_result(None)
        try:
            while self._handle_commands():
                if self._llm.has_unfinished_requests():
                    for output in self._llm.step():
                        if output.finished and output.request_id in self._requests:
                            self._outbox.put(self._to_sample(self._requests.pop(output.request_id), output))
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

    def _build(self) -> Any:
        from vllm import EngineArgs, LLMEngine
        from vllm.config import KVTransferConfig

        from rollout.engine import cpu_experts

        request_amx()
        cpu_experts.install()
        s = self.settings
        llm: Any = LLMEngine.from_engine_args(  # Any: the in-process client has parts that its base class lacks
            EngineArgs(
                model=str(s.model_folder),
                dtype="bfloat16",
                max_model_len=s.context_length,
                max_num_seqs=s.max_num_seqs,
                max_num_batched_tokens=max(s.context_length, 2048),
                kv_cache_memory_bytes=s.kv_cache_bytes,
                block_size=s.block_size,
                seed=s.seed,
                enforce_eager=True,
                enable_chunked_prefill=False,
                enable_prefix_caching=True,
                kv_transfer_config=KVTransferConfig(
                    kv_connector="SharedPrompts",
                    kv_connector_module_path="rollout.engine.shared_prompts",
                    kv_role="kv_both",
                ),
                logprobs_mode="processed_logprobs",
                generation_config="vllm",
                disable_log_stats=True,
                worker_extension_cls="rollout.engine.swap.SwapExtension",
            )
        )
        self.num_quantised_layers = llm.collective_rpc("k2rl_prepare")[0]
        if s.stages and self._expected is not None:
            self._staging = llm.collective_rpc("k2rl_staging", args=(Path(s.model_folder), self._expected))[0]
        self._prompts = llm.engine_core.engine_core.scheduler.connector
        return llm

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
                future.set_exception(error)
                if isinstance(error, EngineBroken):
                    raise
            block = not self._llm.has_unfinished_requests()

    def _add(self, request: SampleRequest) -> None:
        from vllm import SamplingParams
        from vllm.sampling_params import RequestOutputKind, StructuredOutputsParams

        if request.id in self._requests:
            raise ValueError(f"request {request.id!r} is in flight already")
        form = None
        if request.choices or request.json_schema:
            form = StructuredOutputsParams(
                choice=list(request.choices) or None,
                json=request.json_schema or None,
                disable_any_whitespace=bool(
                    request.json_schema
                ),  # else a small model writes blanks until its budget ends
            )
        params = SamplingParams(
            temperature=request.temperature,
            seed=request.seed,
            max_tokens=request.budget,
            logprobs=0,
            stop_token_ids=list(self.settings.stop_token_ids),
            structured_outputs=form,
            output_kind=RequestOutputKind.FINAL_ONLY,
        )
        self._requests[request.id] = request
        self._llm.add_request(request.id, {"prompt_token_ids": list(request.prompt_ids)}, params)

    def _abort(self, ids: Sequence[str] | None) -> int:
        doomed = [i for i in (self._requests if ids is None else ids) if i in self._requests]
        for request_id in doomed:
            del self._requests[request_id]
        self._llm.abort_request(doomed)
        return len(doomed)

    def _to_sample(self, request: SampleRequest, output: Any) -> Sample:
        completion = output.outputs[0]
        token_ids = tuple(completion.token_ids)
        logprobs = tuple(entry[token].logprob for token, entry in zip(token_ids, completion.logprobs, strict=True))
        return Sample(
            id=request.id,
            prompt_ids=request.prompt_ids,
            segments=(
                Segment(
                    token_ids=token_ids,
                    logprobs=logprobs,
                    weight_version=self.weight_version,
                    temperature=request.temperature,
                ),
            ),
            finish_reason=_finish_reason(request.id, completion.finish_reason),
            text=completion.text,
        )

    def _swap(self, ready: _Ready) -> SwapTiming:
        if self._requests:
            raise ValueError(f"{len(self._requests)} requests are in flight; a swap needs a quiet engine")
        artefact, copy = ready
        started = time.perf_counter()
        try:
            self._load(artefact) if copy is None else copy.commit()
            self._empty_prefix_cache()
        except Exception as error:
            self._put_back(error)
            raise RuntimeError(
                f"swap to version {artefact.manifest.version} failed, version {self.weight_version} is serving: {error}"
            ) from error
        self._served = artefact
        return SwapTiming(
            version=artefact.manifest.version,
            stall_seconds=time.perf_counter() - started,
            num_bytes=artefact.manifest.total_bytes,
            is_copy=copy is not None,
        )

    def _put_back(self, cause: Exception) -> None:
        if self._served is None:
            raise EngineBroken(f"the first swap failed and there is no version to go back to: {cause}") from cause
        try:
            self._load(self._served)
            self._empty_prefix_cache()
        except Exception as error:
            raise EngineBroken(f"version {self.weight_version} could not be put back after {cause}: {error}") from error

    def _load(self, artefact: WeightArtefact) -> None:
        self._llm.collective_rpc("k2rl_swap", args=(tensors(artefact),))

    def _empty_prefix_cache(self) -> None:
        if not self._llm.reset_prefix_cache():
            raise RuntimeError("vLLM did not empty its prefix cache after a swap")

    def _prompt_logprobs(self, sequences: Sequence[tuple[int, ...]]) -> list[tuple[float, ...]]:
        from vllm import SamplingParams

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
