"""Our requests in vLLM's words, and its answers in ours."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from rollout.engine.states import EngineBroken
from rollout.routing import Routing
from rollout.types import FinishReason, Sample, SampleRequest, Segment

__all__ = ["finish_reason", "sampling_params", "to_sample"]


def sampling_params(request: SampleRequest, *, stop_token_ids: Sequence[int]) -> Any:
    """vLLM's `SamplingParams` of a request."""
    from vllm import SamplingParams
    from vllm.sampling_params import RequestOutputKind, StructuredOutputsParams

    form = None
    if request.choices or request.json_schema:
        form = StructuredOutputsParams(
            choice=list(request.choices) or None,
            json=request.json_schema or None,
            disable_any_whitespace=bool(request.json_schema),  # else a small model writes blanks until its budget ends
        )
    early_stop: dict[str, Any] = {}
    if (wanted := request.repetition) is not None:
        from vllm.sampling_params import RepetitionDetectionParams

        early_stop["repetition_detection"] = RepetitionDetectionParams(
            min_count=wanted.min_count,
            min_pattern_size=wanted.min_pattern_tokens,
            max_pattern_size=wanted.max_pattern_tokens,
        )
    return SamplingParams(
        temperature=request.temperature,
        seed=request.seed,
        max_tokens=request.budget,
        logprobs=0,
        stop_token_ids=list(stop_token_ids),
        structured_outputs=form,
        output_kind=RequestOutputKind.FINAL_ONLY,
        **early_stop,
    )


def to_sample(request: SampleRequest, output: Any, *, weight_version: int, routing: Routing | None = None) -> Sample:
    """The sample of a request that vLLM has finished.

    Raises:
        EngineBroken: it ended for a reason that is no answer of the policy.
    """
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
                weight_version=weight_version,
                temperature=request.temperature,
                routing=routing,
            ),
        ),
        finish_reason=finish_reason(request.id, completion.finish_reason),
        text=completion.text,
    )


def finish_reason(request_id: str, told: str | None) -> FinishReason:
    """vLLM's word for why a response ended. Its others (abort, error) are no answer of the policy."""
    if told in ("stop", "length", "repetition"):
        return FinishReason(told)
    raise EngineBroken(
        f"vLLM ended request {request_id!r} with finish_reason {told!r}, which is neither an end token, nor a budget "
        "that ran out, nor a repetition"
    )
