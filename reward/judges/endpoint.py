"""Any OpenAI-compatible endpoint as the generator behind a judge: a hosted model, or another vLLM server.

Retries are bounded and only for what may pass (busy, unreachable, server errors), with doubling waits; every try has
its own deadline. The key is read from the environment variable that the settings *name*: it stands in no config, no
log and no error message, a server that echoes it included. Redirects are not followed and proxies of the environment
not used, so the key goes to the named host or nowhere. What the server sends is read up to a cap and checked.
"""

from __future__ import annotations

import asyncio
import json
import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal
from urllib.parse import urlsplit

import httpx

from reward.judges.api import Cause, JudgeReply, JudgeRequest, NoReply

__all__ = ["Endpoint", "EndpointSettings"]

MAX_REPLY_BYTES = 4 << 20
MAX_WAIT_SECONDS = 30.0
_MAY_PASS = frozenset({408, 409, 425, 429, 500, 502, 503, 504, 529})
_FILTERED = re.compile(
    rb'"code":\s*"(?:content_filter|content_policy_violation|ResponsibleAIPolicyViolation|data_inspection_failed)"'
    rb'|"message":\s*"(?:litellm\.\w+: )*litellm\.ContentPolicyViolationError\b'
)
"""What filters say of a prompt, with status 400: Azure's, OpenAI's, Alibaba's, and LiteLLM's proxy, whose own code is
"400". A text that is quoted has its quotes escaped, so none looks like this."""
_TOO_LONG = ("context length", "context_length", "maximum context", "too long", "max_model_len")


@dataclass(frozen=True, slots=True, kw_only=True)
class EndpointSettings:
    """Where the model is served and how it is asked.

    Example:
        EndpointSettings(base_url="https://api.example.com/v1", model="some-model", key_env="EXAMPLE_API_KEY")
    """

    base_url: str
    """Up to and without `/chat/completions`."""
    model: str
    """Name of the model at the server."""
    key_env: str = ""
    """Name of the environment variable that holds the key. Empty: no key is sent."""
    try_seconds: float = 60.0
    """Longest that one try may take."""
    num_tries: int = 3
    """Tries per request, at least 1."""
    first_wait_seconds: float = 0.5
    """Wait before the second try; doubled for each further one. A server's own wish is kept, up to 30 s."""
    guided: Literal["json_schema", "vllm", "none"] = "json_schema"
    """How the verdict's form is enforced: OpenAI's `response_format`, vLLM's own fields (labels too), or not at all."""
    extra: Mapping[str, Any] = field(default_factory=dict)
    """Further fields of the request's body; a value of None leaves a field out that is sent otherwise."""

    def __post_init__(self) -> None:
        parts = urlsplit(self.base_url)
        if parts.scheme not in ("http", "https") or not parts.hostname or parts.username or parts.password:
            raise ValueError(
                f"the endpoint's base_url must be http(s)://host/path without a user, got {self.base_url!r}"
            )
        if not self.model or self.num_tries < 1 or self.try_seconds <= 0.0 or self.first_wait_seconds < 0.0:
            raise ValueError("an endpoint needs a model, num_tries >= 1, try_seconds > 0 and first_wait_seconds >= 0")

    def key(self) -> str:
        """What the named variable holds; "" where none is named.

        Raises:
            ValueError: it is not set.
        """
        key = os.environ.get(self.key_env, "").strip() if self.key_env else ""
        if self.key_env and not key:
            raise ValueError(
                f"the environment variable {self.key_env} is not set; it must hold the key of {self.base_url}"
            )
        return key


class Endpoint:
    """Sends judge requests to a server; `endpoint.generate` is what a `PromptedJudge` takes.

    Raises ValueError when it is built while the named environment variable is not set.
    """

    def __init__(self, settings: EndpointSettings) -> None:
        self.settings = settings
        self._key = settings.key()
        self._client: tuple[asyncio.AbstractEventLoop, httpx.AsyncClient] | None = None

    @property
    def name(self) -> str:
        """Model and host: part of the key of stored verdicts."""
        return f"{self.settings.model}@{self.settings.base_url}"

    async def generate(self, requests: Sequence[JudgeRequest]) -> list[JudgeReply]:
        """Replies in order; NoReply for the first that cannot be had."""
        return list(await asyncio.gather(*(self._one(request) for request in requests)))

    async def aclose(self) -> None:
        """Close the connections."""
        if self._client is not None and self._client[0] is asyncio.get_running_loop():
            await self._client[1].aclose()
        self._client = None

    async def _one(self, request: JudgeRequest) -> JudgeReply:
        body = json.dumps(self._body(request)).encode("ascii")
        wait, trouble = self.settings.first_wait_seconds, ""
        for attempt in range(self.settings.num_tries):
            if attempt:
                await asyncio.sleep(min(wait, MAX_WAIT_SECONDS))
                wait = self.settings.first_wait_seconds * 2**attempt
            try:
                status, headers, raw = await self._post(body)
            except httpx.HTTPError as error:
                trouble = f"{type(error).__name__}: {error}"
                continue
            except TimeoutError:
                trouble = f"no answer within {self.settings.try_seconds:g} s"
                continue
            if status == 200:
                return _read(raw)
            trouble = f"HTTP {status}: {raw[:300].decode('utf-8', 'replace')}"
            if status not in _MAY_PASS:
                raise NoReply(_cause(status, raw, trouble), self._safe(trouble))
            wait = max(wait, _retry_after(headers))
        raise NoReply("unavailable", self._safe(f"{self.settings.num_tries} tries, the last: {trouble}"))

    async def _post(self, body: bytes) -> tuple[int, httpx.Headers, bytes]:
        url = self.settings.base_url.rstrip("/") + "/chat/completions"
        headers = {"Content-Type": "application/json"}
        if self._key:
            headers["Authorization"] = f"Bearer {self._key}"
        async with (
            asyncio.timeout(self.settings.try_seconds),
            self._connected().stream("POST", url, content=body, headers=headers) as response,
        ):
            raw = bytearray()
            async for piece in response.aiter_bytes():
                raw += piece
                if len(raw) > MAX_REPLY_BYTES:
                    raise NoReply("unavailable", f"the server's reply has more than {MAX_REPLY_BYTES} bytes")
            return response.status_code, response.headers, bytes(raw)

    def _connected(self) -> httpx.AsyncClient:
        """One client per event loop: connections belong to the loop that opened them."""
        loop = asyncio.get_running_loop()
        if self._client is None or self._client[0] is not loop:
            limits = httpx.Limits(max_connections=256)
            client = httpx.AsyncClient(timeout=None, follow_redirects=False, trust_env=False, limits=limits)
            self._client = (loop, client)
        return self._client[1]

    def _body(self, request: JudgeRequest) -> dict[str, Any]:
        body: dict[str, Any] = {
            "model": self.settings.model,
            "messages": [dict(message) for message in request.messages],
            "max_tokens": request.max_tokens,
            "temperature": request.temperature,
            "seed": request.seed % (1 << 31),
        }
        if request.schema is not None and self.settings.guided != "none":
            schema = {"name": "verdict", "strict": True, "schema": dict(request.schema)}
            body["response_format"] = {"type": "json_schema", "json_schema": schema}
        if request.choices and self.settings.guided == "vllm":
            body["structured_outputs"] = {"choice": list(request.choices)}
        body.update(self.settings.extra)
        return {key: value for key, value in body.items() if value is not None}

    def _safe(self, text: str) -> str:
        return text.replace(self._key, "***") if self._key else text


def _cause(status: int, raw: bytes, trouble: str) -> Cause:
    """What a status means that will not pass; "refused" is of the texts that were sent, the others are ours."""
    if status in (400, 422) and _FILTERED.search(raw):
        return "refused"
    is_long = status in (400, 413, 422) and any(word in trouble.lower() for word in _TOO_LONG)
    return "no_room" if is_long else "unavailable"


def _read(raw: bytes) -> JudgeReply:
    """The reply in a server's answer; NoReply where it is none."""
    try:
        answer = json.loads(raw)
        choice = answer["choices"][0]
        text, finish = choice["message"].get("content"), choice.get("finish_reason")
        refusal = choice["message"].get("refusal")
    except (ValueError, RecursionError, LookupError, TypeError, AttributeError) as error:
        raise NoReply("unavailable", f"the server's answer is no chat completion ({type(error).__name__})") from None
    if finish == "content_filter" or refusal:
        raise NoReply("refused", f"the model refused: {refusal or finish!r:.200}")
    if not isinstance(text, str):
        raise NoReply("unreadable", "the server's answer has no text")
    usage = answer.get("usage")
    usage = usage if isinstance(usage, Mapping) else {}
    counts = [usage.get(key) for key in ("prompt_tokens", "completion_tokens")]
    num_prompt_tokens, num_tokens = (count if type(count) is int and count >= 0 else 0 for count in counts)
    return JudgeReply(
        text=text, is_truncated=finish == "length", num_prompt_tokens=num_prompt_tokens, num_tokens=num_tokens
    )


def _retry_after(headers: httpx.Headers) -> float:
    """Seconds that the server asks to wait; 0 where it names none that can be read."""
    try:
        seconds = float(headers.get("retry-after", "0"))
    except ValueError:
        return 0.0
    return seconds if 0.0 <= seconds < float("inf") else 0.0
