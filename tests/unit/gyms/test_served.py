"""A question to a server ends: with an answer, in time, with few bytes, or with whose fault it was."""

from __future__ import annotations

import socket
import threading

import pytest

from gyms.adapters import mcp, nemo, openenv
from gyms.adapters.served import Answer, Server, TooLong, TooSlow, object_of, reward_of
from gyms.api import ServiceFailed
from gyms.episodes.calling import MAX_CALLS_A_TURN
from tests.answering import answering, break_off, drip_body, drip_headers, endless, said

PATIENCE = 120.0


def test_an_answer_of_any_status_is_an_answer_and_cookies_make_a_session() -> None:
    with answering(begin=said({"a": 1}, Set_Cookie="session=7"), bad=said("no", status=500)) as found:
        cookies: list[str | None] = []
        found.answers["count"] = lambda handler, body: (
            cookies.append(handler.headers["Cookie"]),
            said("")(handler, body),
        )[1]
        first, second = (Server(found.url + "/", seconds=PATIENCE) for _ in range(2))
        assert first.post("begin", {"x": [1.5, None]}) == Answer(200, '{"a": 1}')
        assert first.post("bad", {}) == Answer(500, "no") and first.get("nowhere") == Answer(404, "no such path")
        first.post("count", {})
        second.post("count", {})
    assert found.asked[0] == ("begin", {"x": [1.5, None]}) and found.asked[2] == ("nowhere", None)
    assert cookies == ["session=7", None]


@pytest.mark.parametrize("slow", [drip_body, drip_headers])
def test_a_server_that_drips_is_left_at_the_deadline_and_no_thread_stays(slow) -> None:
    with answering(f=slow, g=said("")) as found:
        server = Server(found.url, seconds=0.5)
        with pytest.raises(TooSlow, match=r"/f takes over 0\.5 s"):
            server.post("f", {})
    assert not [thread for thread in threading.enumerate() if isinstance(thread, threading.Timer)]


def test_an_answer_that_never_ends_is_read_up_to_a_limit() -> None:
    with answering(f=endless, g=said("x" * 1000), h=said("x" * 1001)) as found:
        server = Server(found.url, seconds=PATIENCE, max_bytes=1000)
        assert server.post("g", {}).text == "x" * 1000
        for path in "fh":
            with pytest.raises(TooLong, match="more than 1000 bytes"):
                server.post(path, {})


def test_no_answer_or_half_of_one_is_the_services_fault() -> None:
    with answering(f=break_off, g=lambda handler, body: handler.wfile.write(b"garbage\r\n\r\n")) as found:
        server = Server(found.url, seconds=PATIENCE)
        with pytest.raises(ServiceFailed, match="broke off behind 15 bytes"):
            server.post("f", {})
        with pytest.raises(ServiceFailed, match="broke off: BadStatusLine"):
            server.post("g", {})
    with pytest.raises(ServiceFailed, match=r"url = 'http://127.0.0.1:9': /f is not answered: .*refused"):
        Server("http://127.0.0.1:9", seconds=PATIENCE).post("f", {})


def test_a_handshake_that_is_not_answered_ends_too() -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"https://127.0.0.1:{silent.getsockname()[1]}"
        with pytest.raises(ServiceFailed, match="is not answered"):
            Server(url, seconds=0.5).get("f")


def test_the_proxies_of_the_environment_are_not_used(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:9")
    monkeypatch.delenv("no_proxy", raising=False)
    with answering(f=said("here")) as found:
        assert Server(found.url, seconds=PATIENCE).get("f").text == "here"


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf"), None, "1", [1]])
def test_a_reward_that_is_no_finite_number_is_no_score(value: object) -> None:
    with pytest.raises(ServiceFailed, match="expected a finite number"):
        reward_of(value, "the server")
    assert reward_of(2, "the server") == 2.0


@pytest.mark.parametrize("text", ["", "[1]", "{", "NaN", "[" * 100_000])
def test_what_is_no_object_is_no_answer(text: str) -> None:
    with pytest.raises(ServiceFailed, match="expected a JSON object"):
        object_of(Answer(200, text), "the server")


@pytest.mark.parametrize(
    ("gym", "field", "num_questions"),
    [
        (nemo.NemoGym, "call_seconds", 1),
        (openenv.OpenEnv, "step_seconds", 1),
        (mcp.Mcp, "call_seconds", mcp.MAX_QUESTIONS_A_CALL),
    ],
)
def test_all_calls_of_a_turn_fit_into_the_gyms_time(gym, field: str, num_questions: int) -> None:
    facts = gym.Settings.model_fields[field].metadata
    longest = next(fact.le for fact in facts if hasattr(fact, "le"))
    assert MAX_CALLS_A_TURN * num_questions * longest < gym.needs.wall_seconds
