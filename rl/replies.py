"""The served policy as a generator: it answers chat messages, to judge or to play somebody (reward/judges/api.py)."""

from __future__ import annotations

import json
from typing import Protocol

from gyms.response import Response
from reward.judges.api import JudgeReply, JudgeRequest, NoReply
from rollout.chat import ChatFormat
from rollout.types import Sample, SampleRequest

__all__ = ["Samples", "reply_of"]


class Samples(Protocol):
    """The served policy, as far as it is asked here."""

    async def sample(self, request: SampleRequest, *, group: str) -> Sample: ...


async def reply_of(
    policy: Samples,
    chat: ChatFormat,
    request: JudgeRequest,
    *,
    name: str,
    context_length: int,
    shortened_by: str,
    alone: bool = False,
) -> JudgeReply:
    """What the policy says to a request.

    Args:
        name: of the request among all that the engines are asked.
        context_length: of the engines, in tokens.
        shortened_by: the setting that makes such requests shorter.
        alone: without `model.system_prompt`; a judge has it, as the policy learns to judge with it.

    Raises:
        NoReply: the context has no room for it.
    """
    prompt_ids = chat.prompt_ids(request.messages, alone=alone)
    if len(prompt_ids) + request.max_tokens > context_length:
        raise NoReply(
            "no_room",
            f"{len(prompt_ids)} tokens and a reply of {request.max_tokens} exceed model.context_length = "
            f"{context_length}; lower {shortened_by}, or raise the context",
        )
    sample = await policy.sample(
        SampleRequest(
            id=name,
            prompt_ids=prompt_ids,
            budget=request.max_tokens,
            temperature=request.temperature,
            seed=request.seed,
            choices=request.choices,
            json_schema=json.dumps(request.schema) if request.schema else "",
        ),
        group=name,
    )
    is_guided = bool(request.choices or request.schema)  # then decoding leaves no room for thoughts
    return JudgeReply(
        text=Response(sample.text) if is_guided else chat.read_response(sample),
        is_truncated=sample.is_truncated,
        num_prompt_tokens=len(prompt_ids),
        num_tokens=sample.num_tokens,
    )
