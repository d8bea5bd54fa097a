"""The environment `nemo_gym` without a server: its rows, and a server that is not there."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from gyms.api import Episode, Status, Task
from gyms.load import load_gym


def rows(folder: Path, *lines: object) -> Path:
    file = folder / "rows.jsonl"
    file.write_text("".join(f"{line if isinstance(line, str) else json.dumps(line)}\n" for line in lines))
    return file


def asked(content: object, **more: object) -> dict[str, object]:
    return {"responses_create_params": {"input": content, **more}, "expected": 3}


def gym(file: Path, url: str = "http://127.0.0.1:9"):
    return load_gym("n", "nemo_gym", {"url": url, "rows": str(file), "heldout_fraction": 0.5})


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
        ("{", "line 2: expected a JSON object with responses_create_params.input"),
        ([1], "line 2: expected a JSON object"),
        (asked([{"type": "function_call", "name": "f"}]), "line 2: .* is no message of text"),
        (asked([{"role": "user", "content": [{"type": "input_image"}]}]), "line 2: .* is no message of text"),
    ],
)
def test_a_row_that_is_none_is_told_with_its_line(tmp_path: Path, line: object, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        gym(rows(tmp_path, asked("hi"), line)).tasks("train")


def test_a_server_that_is_not_there_is_our_fault_and_a_task_of_another_kind_is_masked(tmp_path: Path) -> None:
    env = gym(rows(tmp_path, asked("hi"), asked("ho"), asked("he"), asked("ha")))
    with pytest.raises(RuntimeError, match="the resources server does not answer"):
        env.start(env.tasks("train")[0], seed=0)
    episode: Episode = env.start(Task(id="t", prompt=()), seed=0)
    assert episode.score().status is Status.BAD_TASK
    with pytest.raises(ValueError, match="expected http://HOST:PORT"):
        gym(tmp_path, url="localhost:8000")
    with pytest.raises(ValueError, match="cannot be read"):
        gym(tmp_path / "no").tasks("train")
