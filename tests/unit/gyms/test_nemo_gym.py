"""The environment `nemo_gym` without its package: its rows, and servers that fail in every way."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from gyms.api import Call, Episode, ServiceFailed, Status, Task, Turn
from gyms.load import load_gym
from tests.answering import Answering, answering, break_off, drip_body, endless, said


def rows(folder: Path, *lines: object) -> Path:
    file = folder / "rows.jsonl"
    text = "".join(f"{line if isinstance(line, str) else json.dumps(line)}\n" for line in lines)
    file.write_text(text, encoding="utf-8")
    return file


def asked(content: object, **more: object) -> dict[str, object]:
    return {"responses_create_params": {"input": content, **more}, "expected": 3}


def gym(file: Path, url: str = "http://127.0.0.1:9", **args: object):
    return load_gym("n", "nemo_gym", {"url": url, "rows": str(file), "heldout_fraction": 0.5, **args})


@pytest.fixture
def server() -> Iterator[Answering]:
    """One that works: it seeds, has the tool `f`, and judges."""
    with answering(seed_session=said({}), f=said("found"), verify=said({"reward": 1.5, "more": [1]})) as found:
        yield found


def begun(server: Answering, folder: Path, **args: object) -> Episode:
    return gym(rows(folder, asked("hi")), server.url, **args).start(Task(id="1", prompt=(), data=asked("hi")), seed=0)


def called(episode: Episode) -> str:
    turn = Turn(text="", calls=(Call(id="call_0", tool="f", arguments={"a": 1}),))
    (answer,) = episode.step(turn).messages
    return answer["content"]


def test_rows_of_nemo_gym_become_tasks_with_their_tools(tmp_path: Path) -> None:
    tool = {"type": "function", "name": "f", "parameters": {"type": "object", "properties": {}}, "description": None}
    parts = [
        {"role": "developer", "content": [{"type": "input_text", "text": "a"}, {"type": "input_text", "text": "b"}]}
    ]
    env = gym(rows(tmp_path, asked("hi", instructions="Be brief.", tools=[tool]), "", asked(parts)))
    tasks = {task.id: task for split in ("train", "heldout") for task in env.tasks(split)}
    assert tasks["1"].prompt == ({"role": "system", "content": "Be brief."}, {"role": "user", "content": "hi"})
    assert tasks["3"].prompt == ({"role": "system", "content": "a\nb"},)
    assert [(t.name, t.description) for t in env.tools(tasks["1"])] == [("f", "")] and env.tools(tasks["3"]) == ()


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("{", "not a line of JSON"),
        ([1], "expected a JSON object"),
        ({"input": "hi"}, "expected responses_create_params.input"),
        *((asked(given), "expected responses_create_params.input") for given in (5, None, "", [], {"role": "user"})),
        (asked([{"type": "function_call", "name": "f"}]), ".* is no message of text"),
        (asked([{"role": "user", "content": [{"type": "input_image"}]}]), ".* is no message of text"),
    ],
)
def test_a_row_that_is_none_is_told_with_its_line(tmp_path: Path, line: object, message: str) -> None:
    with pytest.raises(ValueError, match=f"rows: .*rows.jsonl:2: {message}"):
        gym(rows(tmp_path, asked("hi"), line)).tasks("train")


def test_rows_end_at_newlines_alone_and_may_begin_with_a_byte_order_mark(tmp_path: Path) -> None:
    lines = [json.dumps(asked(text), ensure_ascii=False) for text in ("a\u2028b", "a\u0085b")]
    env = gym(rows(tmp_path, "\ufeff" + lines[0], lines[1]))
    tasks = {task.id: task for split in ("train", "heldout") for task in env.tasks(split)}
    assert [tasks[number].prompt[0]["content"] for number in ("1", "2")] == ["a\u2028b", "a\u0085b"]


def test_a_server_that_is_not_there_is_our_fault_and_a_task_of_another_kind_is_masked(tmp_path: Path) -> None:
    env = gym(rows(tmp_path, asked("hi"), asked("ho"), asked("he"), asked("ha")))
    with pytest.raises(ServiceFailed, match=r"url = 'http://127.0.0.1:9': /seed_session is not answered"):
        env.start(env.tasks("train")[0], seed=0)
    episode: Episode = env.start(Task(id="t", prompt=()), seed=0)
    assert episode.score().status is Status.BAD_TASK
    with pytest.raises(ValueError, match="expected http://HOST:PORT"):
        gym(tmp_path, url="localhost:8000")
    with pytest.raises(ValueError, match="rows: there is no file"):
        gym(tmp_path / "no").tasks("train")


def test_an_episode_is_seeded_called_and_judged(server: Answering, tmp_path: Path) -> None:
    episode = begun(server, tmp_path, max_reward=2.0)
    assert called(episode) == "found" and episode.step(Turn(text="done")).is_done
    score = episode.score()
    assert (score.value, score.components) == (0.75, {"reward": 1.5, "num_calls": 1.0})
    paths, bodies = zip(*server.asked, strict=True)
    assert paths == ("seed_session", "f", "verify") and bodies[:2] == (asked("hi"), {"a": 1})
    kinds = [part["type"] for part in bodies[2]["response"]["output"]]
    assert kinds == ["function_call", "function_call_output", "message"] and bodies[2]["expected"] == 3


@pytest.mark.parametrize(
    "verify",
    [
        *(said("busy", status=status) for status in (429, 500, 502, 503, 504)),
        *(said(text) for text in ("", "[]", "{}", '{"reward": NaN}', '{"reward": -Infinity}', '{"reward": null}')),
        break_off,
        endless,
    ],
)
def test_a_server_that_fails_to_judge_is_our_fault(server: Answering, tmp_path: Path, verify) -> None:
    server.answers["verify"] = verify
    with pytest.raises(ServiceFailed, match="verify"):
        begun(server, tmp_path).score()


def test_a_judgement_that_is_refused_or_late_is_left_to_a_control_sample(server: Answering, tmp_path: Path) -> None:
    server.answers["verify"] = said("unprocessable", status=422)
    with pytest.raises(RuntimeError, match="status 422: unprocessable") as found:
        begun(server, tmp_path).score()
    assert not isinstance(found.value, ServiceFailed)
    server.answers["verify"] = drip_body
    with pytest.raises(TimeoutError, match="takes over 2 s"):
        begun(server, tmp_path, call_seconds=2.0).score()


def test_a_tool_that_fails_is_slow_or_talks_too_much_is_told_to_the_model(server: Answering, tmp_path: Path) -> None:
    for status in (400, 404, 422, 500):
        server.answers["f"] = said("ValueError('a')", status=status)
        assert called(begun(server, tmp_path)) == f"Error {status}: ValueError('a')"
    server.answers["f"] = drip_body
    episode = begun(server, tmp_path, call_seconds=2.0)
    assert called(episode).startswith("Error: the call took over 2 s")
    server.answers["f"] = endless
    assert called(begun(server, tmp_path)) == "Error: the answer is too long to be read."
    assert episode.score().components["num_calls"] == 1.0
    (told,) = [p["output"] for p in server.asked[-1][1]["response"]["output"] if p["type"] == "function_call_output"]
    assert told.startswith("Error: the call took over 2 s"), "the judge sees what the model saw"


def test_a_server_that_is_too_busy_for_a_call_or_gone_is_our_fault(server: Answering, tmp_path: Path) -> None:
    episode = begun(server, tmp_path)
    for answer in (said("busy", status=503), break_off):
        server.answers["f"] = answer
        with pytest.raises(ServiceFailed):
            called(episode)
