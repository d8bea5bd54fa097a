"""An OpenAI-compatible endpoint, against a small real server that misbehaves on request."""

from __future__ import annotations

import asyncio
import contextlib
import json
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from gyms.api import message
from gyms.critic.verdict import VerdictForm
from reward.judges.api import JudgeReply, JudgeRequest, NoReply
from reward.judges.endpoint import Endpoint, EndpointSettings

REQUEST = JudgeRequest(
    id="g/0", messages=(message("user", "Which? \u00e9"),), max_tokens=9, temperature=0.0, seed=2**62 + 5,
    schema=VerdictForm().schema(),
)  # fmt: skip
Answer = tuple[int, dict[str, str], bytes]
FILTERED = json.dumps({"error": {"message": "The prompt was filtered. " * 20, "code": "content_filter"}}).encode()
LITELLM = "litellm.BadRequestError: litellm.ContentPolicyViolationError: AzureException - The response was filtered"


def error(message: str, code: str | None, **more: Any) -> bytes:
    return json.dumps({"error": {"message": message, "type": None, "param": None, "code": code, **more}}).encode()


def completion(content: Any = '{"winner": "A"}', *, finish: str = "stop", **extra: Any) -> bytes:
    choice = {"message": {"role": "assistant", "content": content, **extra}, "finish_reason": finish}
    return json.dumps({"choices": [choice], "usage": {"prompt_tokens": 12, "completion_tokens": 4}}).encode()


class Server:
    """Answers the n-th request with `answer(n)`."""

    def __init__(self, answer: Callable[[int], Answer]) -> None:
        self.seen: list[tuple[str, dict[str, str], Any]] = []
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                outer.seen.append((self.path, dict(self.headers), json.loads(body)))
                status, headers, raw = answer(len(outer.seen) - 1)
                self.send_response(status)
                for key, value in headers.items():
                    self.send_header(key, value)
                self.send_header("Content-Length", str(len(raw)))
                self.end_headers()
                with contextlib.suppress(OSError):  # the client has gone
                    self.wfile.write(raw)

            def log_message(self, *arguments: Any) -> None:
                pass

        self._http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._http.daemon_threads = True
        threading.Thread(target=self._http.serve_forever, args=(0.01,), daemon=True).start()
        self.url = f"http://127.0.0.1:{self._http.server_port}/v1"

    def close(self) -> None:
        self._http.shutdown()
        self._http.server_close()


@pytest.fixture
def serve() -> Iterator[Callable[..., Server]]:
    servers: list[Server] = []

    def start(*answers: Answer | bytes) -> Server:
        def answer(number: int) -> Answer:
            found = answers[min(number, len(answers) - 1)]
            return (200, {}, found) if isinstance(found, bytes) else found

        servers.append(Server(answer))
        return servers[-1]

    yield start
    for server in servers:
        server.close()


def asked(server: Server, request: JudgeRequest = REQUEST, **kwargs: Any) -> JudgeReply:
    async def scenario() -> JudgeReply:
        settings = EndpointSettings(
            **{"base_url": server.url, "model": "m", "first_wait_seconds": 0.01, "try_seconds": 5.0, **kwargs}
        )
        endpoint = Endpoint(settings)
        try:
            return (await endpoint.generate([request]))[0]
        finally:
            await endpoint.aclose()

    return asyncio.run(scenario())


def test_a_request_is_a_chat_completion_with_the_verdicts_schema(
    serve: Callable[..., Server], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("JUDGE_KEY", "sk-secret\n")
    server = serve(completion())
    reply = asked(server, key_env="JUDGE_KEY", extra={"seed": None, "top_p": 0.5})
    assert reply == JudgeReply(text='{"winner": "A"}', num_prompt_tokens=12, num_tokens=4)
    path, headers, body = server.seen[0]
    assert path == "/v1/chat/completions" and headers["Authorization"] == "Bearer sk-secret"
    assert body["messages"] == [{"role": "user", "content": "Which? \u00e9"}]
    assert (body["model"], body["max_tokens"], body["temperature"], body["top_p"]) == ("m", 9, 0.0, 0.5)
    assert body["response_format"]["json_schema"]["schema"]["required"] == ["winner"] and "seed" not in body


def test_labels_are_guided_where_the_server_is_vllm(serve: Callable[..., Server]) -> None:
    server = serve(completion("A"))
    request = JudgeRequest(id="g", messages=REQUEST.messages, max_tokens=1, temperature=0.0, seed=1, choices=("A", "B"))
    asked(server, request, guided="vllm")
    asked(server, request, guided="none")
    assert server.seen[0][2]["structured_outputs"] == {"choice": ["A", "B"]}
    assert "structured_outputs" not in server.seen[1][2] and "Authorization" not in server.seen[1][1]


def test_what_may_pass_is_tried_again_within_bounds(serve: Callable[..., Server]) -> None:
    server = serve((503, {}, b"busy"), (429, {"Retry-After": "0.01"}, b"slow down"), completion())
    assert asked(server).text == '{"winner": "A"}' and len(server.seen) == 3
    server = serve((500, {"Retry-After": "soon"}, b"oops"))
    with pytest.raises(NoReply, match="unavailable: 3 tries, the last: HTTP 500: oops"):
        asked(server)
    assert len(server.seen) == 3


@pytest.mark.parametrize(
    ("status", "raw", "cause"),
    [
        (401, b"who are you?", "unavailable"),
        (404, b"no such model", "unavailable"),
        (400, b"This model's maximum context length is 4096 tokens", "no_room"),
        (307, b"", "unavailable"),
        (400, FILTERED, "refused"),
        (422, FILTERED, "refused"),
        (400, error("Your request was rejected by our safety system.", "content_policy_violation"), "refused"),
        (400, error("Filtered.", None, innererror={"code": "ResponsibleAIPolicyViolation"}), "refused"),
        (400, error("Input data may contain inappropriate content.", "data_inspection_failed"), "refused"),
        (400, error(LITELLM, "400"), "refused"),
        (400, error("litellm.BadRequestError: got: litellm.ContentPolicyViolationError", "400"), "unavailable"),
        (400, error(f'bad role in "message": "{LITELLM}"', "400"), "unavailable"),
        (401, FILTERED, "unavailable"),
        (400, json.dumps({"detail": {"input": FILTERED.decode()}}).encode(), "unavailable"),
    ],
)
def test_what_will_not_pass_is_not_tried_again(
    serve: Callable[..., Server], status: int, raw: bytes, cause: str
) -> None:
    server = serve((status, {"Location": "http://127.0.0.1:1/elsewhere"}, raw))
    with pytest.raises(NoReply) as hit:
        asked(server)
    assert hit.value.cause == cause and len(server.seen) == 1


def test_a_key_that_the_server_echoes_is_blotted_out(
    serve: Callable[..., Server], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("JUDGE_KEY", "sk-secret")
    with pytest.raises(NoReply) as hit:
        asked(serve((401, {}, b"Incorrect API key provided: sk-secret")), key_env="JUDGE_KEY")
    assert "sk-secret" not in str(hit.value) and "***" in str(hit.value)


@pytest.mark.parametrize(
    "raw",
    [b"", b"<html>", b"[]", b"{}", b'{"choices": []}', b'{"choices": [{}]}', b'{"choices": [{"message": null}]}',
     b'{"choices": "x"}', b"\xff\xfe", b"[" * 100_000],
)  # fmt: skip
def test_an_answer_that_is_no_completion_is_a_failure(serve: Callable[..., Server], raw: bytes) -> None:
    with pytest.raises(NoReply, match="no chat completion"):
        asked(serve(raw))


def test_refusals_missing_text_and_truncation_are_told_apart(serve: Callable[..., Server]) -> None:
    for raw, cause in (
        (completion(finish="content_filter"), "refused"),
        (completion(None, refusal="I will not."), "refused"),
        (completion(None), "unreadable"),
        (completion(["parts"]), "unreadable"),
    ):
        with pytest.raises(NoReply) as hit:
            asked(serve(raw))
        assert hit.value.cause == cause
    assert asked(serve(completion(finish="length"))).is_truncated


def test_usage_that_is_rubbish_counts_as_nothing(serve: Callable[..., Server]) -> None:
    for usage in (None, [], {"prompt_tokens": "many", "completion_tokens": True}, {"prompt_tokens": -5}):
        raw = json.loads(completion())
        raw["usage"] = usage
        reply = asked(serve(json.dumps(raw).encode()))
        assert (reply.num_prompt_tokens, reply.num_tokens) == (0, 0)


def test_a_flood_is_cut(serve: Callable[..., Server]) -> None:
    with pytest.raises(NoReply, match="more than 4194304 bytes"):
        asked(serve(b" " * (6 << 20)))


def test_a_server_that_does_not_answer_or_is_not_there_has_its_deadline(serve: Callable[..., Server]) -> None:
    given_up = threading.Event()
    slow = Server(lambda number: (given_up.wait(300), (200, {}, completion()))[1])  # without a deadline: an answer
    with pytest.raises(NoReply, match=r"2 tries, the last: no answer within 0\.05 s"):
        asked(slow, try_seconds=0.05, num_tries=2)
    given_up.set()
    slow.close()
    gone = serve(completion())
    gone.close()
    with pytest.raises(NoReply, match="unavailable: 2 tries, the last: Connect"):
        asked(gone, num_tries=2)
