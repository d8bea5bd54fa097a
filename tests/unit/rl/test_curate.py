"""What a run did well becomes curated conversations, which say the same as worked episodes do."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from configs.schema import Config
from gyms.episodes.checks import play
from gyms.episodes.turns import turn_as_json
from gyms.load import load_gym
from gyms.mixture import GymEntry, draws
from rl.curate import curated, main
from rl.ptx import GymConversations, load_conversations
from rl.run_folder import RunFolder


def row(task: str = "t", value: float | None = 1.0, **changes: Any) -> dict[str, Any]:
    facts = {
        "gym": "g", "task": task, "value": value, "finish_reason": "stop", "num_tokens": 5, "episode": None,
        "draw": 0, "prompt": [{"role": "user", "content": "1+1="}], "response": "2", "segments": [{"num_tokens": 5}],
    }  # fmt: skip
    return facts | changes


def test_good_and_whole_samples_are_kept_the_shortest_of_each_task() -> None:
    rows = [
        row("a", num_tokens=9), row("a", num_tokens=3), row("a", num_tokens=4), row("b", 0.5), row("b", None),
        row("c", finish_reason="length"), row("d", segments=[{"num_tokens": 1, "context_ids": [1]}]),
    ]  # fmt: skip
    assert curated(rows, min_value=1.0, per_task=1) == [rows[1]]
    assert curated(rows, min_value=1.0, per_task=2) == rows[1:3]
    assert curated(rows, min_value=0.5, per_task=1) == [rows[1], rows[3]]


def test_a_context_without_some_thoughts_is_a_conversation_and_a_shortened_one_is_none() -> None:
    segments = [{"num_tokens": 1}, {"num_tokens": 1, "context_ids": [1]}]
    rows = [
        row("a", segments=segments, context="thoughts"), row("b", segments=segments, context="room"),
        row("c", segments=segments), row("d", context=None),
    ]  # fmt: skip
    assert curated(rows, min_value=1.0, per_task=1) == [rows[0], rows[3]]


@pytest.fixture
def run(tmp_path: Path) -> Path:
    """A run of the adder with four solved episodes and one that was not."""
    args = {"style": "bare", "num_operands": 3}
    config = Config.model_validate(
        {
            "model": {"source": "tiny", "chat_template": False},
            "gyms": [{"name": "adder", "episode_tokens": 400, "args": args}],
            "rollout": {"prompts_per_step": 2},
        }
    )
    folder = RunFolder(tmp_path / "run")
    folder.create()
    folder.config.write_text(config.model_dump_json())
    gym: Any = load_gym("adder", "adder", args)
    entry = GymEntry(name="adder", gym=gym, share=1.0, budget=16)
    for step in range(2):
        rows = []
        for draw in draws(config.seed, step, 2, [entry]):
            turns = gym.gold_turns(draw.task)
            replies = [[dict(m) for m in reply.messages] for reply in play(gym, draw.task, turns).replies]
            episode = {"seed": 0, "turns": list(map(turn_as_json, turns)), "replies": replies}
            prompt = [dict(m) for m in draw.task.prompt]
            facts = {"gym": "adder", "draw": draw.index, "prompt": prompt, "episode": episode}
            rows += [row(draw.task.id, **facts), row(draw.task.id, 0.0, **facts)]
        folder.write_rollouts(step, rows)
    return folder.path


def test_a_solved_episode_is_the_conversation_that_its_gold_turns_are(run: Path, tmp_path: Path, capsys) -> None:
    file = tmp_path / "curated.jsonl"
    assert main([str(run), "--output", str(file)]) == 0
    assert "4 conversations" in capsys.readouterr().out
    found = load_conversations(jsonl=file)
    gym = load_gym("adder", "adder", {"style": "bare", "num_operands": 3})
    worked = GymConversations({"adder": gym}, tool_format="pythonic")
    places = {task.prompt[0]["content"]: place for place, task in enumerate(gym.tasks("train"))}
    assert len(found) == 4
    for conversation in found:
        assert conversation == worked[places[conversation[0]["content"]]]
        assert conversation.tools == tuple(gym.tools(gym.tasks("train")[0]))


def test_an_episode_is_written_with_the_tools_of_its_task_however_it_was_drawn(tmp_path: Path, capsys) -> None:
    """As a curriculum draws: a task that no draw of that number would take; tools are spelled differently by task."""
    args = {"worlds": ["bank"], "num_train": 40}
    config = Config.model_validate(
        {"model": {"source": "tiny", "chat_template": False}, "gyms": [{"name": "tools", "args": args}]}
    )
    folder = RunFolder(tmp_path / "run")
    folder.create()
    folder.config.write_text(config.model_dump_json())
    gym: Any = load_gym("tools", "tools", args)
    tasks, rows = gym.tasks("train"), []
    for place in range(40):
        turns = gym.gold_turns(tasks[place])
        replies = [[dict(m) for m in reply.messages] for reply in play(gym, tasks[place], turns).replies]
        episode = {"seed": 0, "turns": list(map(turn_as_json, turns)), "replies": replies}
        facts = {"gym": "tools", "prompt": [dict(m) for m in tasks[place].prompt], "episode": episode}
        rows.append(row(tasks[place].id, **facts, **({"place": place} if place % 2 else {})))
    folder.write_rollouts(0, [*rows, {**rows[0], "task": "train/40"}])
    assert main([str(folder.path), "--output", str(tmp_path / "x"), "--tool-format", "hermes"]) == 0
    told = capsys.readouterr()
    assert "40 conversations" in told.out and "1 episodes were left out" in told.err
    found = load_conversations(jsonl=tmp_path / "x")
    names = {conversation.tools[0].name for conversation in found}
    assert len(names) > 1, "one dialect alone shows nothing"
    assert [conversation.tools for conversation in found] == [tuple(gym.tools(task)) for task in tasks]
    folder.write_rollouts(0, [{**rows[0], "task": "train/40"}])
    assert main([str(folder.path), "--output", str(tmp_path / "x"), "--tool-format", "hermes"]) == 2
    assert "no longer have the tasks of the 1 samples" in capsys.readouterr().err


def test_what_cannot_be_written_is_told(run: Path, tmp_path: Path, capsys) -> None:
    assert main([str(tmp_path), "--output", "x"]) == 2
    assert "is no run folder" in capsys.readouterr().err
    config = json.loads((run / "config.json").read_text())
    config["model"]["chat_template"] = True
    (run / "config.json").write_text(json.dumps(config))
    assert main([str(run), "--output", str(tmp_path / "x")]) == 2
    assert "--tool-format hermes" in capsys.readouterr().err
    assert main([str(run), "--output", str(tmp_path / "x"), "--tool-format", "hermes"]) == 0
    for rollouts in (run / "rollouts").iterdir():
        rollouts.unlink()
    assert main([str(run), "--output", str(tmp_path / "x")]) == 2
    assert "has a value of 1" in capsys.readouterr().err
    for name, value in (("--per-task", "0"), ("--min-value", "nan"), ("--min-value", "2")):
        assert main([str(run), "--output", str(tmp_path / "x"), name, value]) == 2
        assert f"nothing written: {name} {value}: expected" in capsys.readouterr().err


def test_a_file_that_cannot_be_written_is_told_before_the_work(tmp_path: Path, capsys) -> None:
    (tmp_path / "file").write_text("")
    for output in (tmp_path / "no" / "x", tmp_path / "file" / "x"):
        assert main([str(tmp_path / "no run"), "--output", str(output)]) == 2
        assert f"nothing written: --output {output}" in capsys.readouterr().err


def test_a_folder_as_the_file_is_told(run: Path, tmp_path: Path, capsys) -> None:
    assert main([str(run), "--output", str(tmp_path), "--tool-format", "hermes"]) == 2
    assert "Is a directory" in capsys.readouterr().err


@pytest.mark.parametrize("name", ["add", "no_such_tool"])
def test_an_episode_with_a_call_that_could_not_be_read_is_no_example(run: Path, tmp_path: Path, capsys, name) -> None:
    folder, file = RunFolder(run), tmp_path / "x"
    rows = [found for rollouts in sorted(folder.rollouts.iterdir()) for found in folder.rows(rollouts)]
    good = [found for found in rows if found["value"] == 1.0]
    unread = {"id": "call_0_0", "tool": name, "arguments": None, "problem": "the arguments are not JSON"}
    for one in good[:1]:
        one["episode"]["turns"].insert(0, {"text": "", "calls": [unread]})
        one["episode"]["replies"].insert(0, [{"role": "user", "content": "Error"}])
    folder.write_rollouts(0, good)
    folder.write_rollouts(1, [])
    assert main([str(run), "--output", str(file)]) == 0
    told = capsys.readouterr()
    assert "3 conversations" in told.out and "1 episodes were left out: one of their calls could not be" in told.err
    assert "None" not in file.read_text()
    folder.write_rollouts(0, good[:1])
    assert main([str(run), "--output", str(file)]) == 2
    assert "one of their calls could not be read" in capsys.readouterr().err


def test_what_is_left_out_for_its_context_is_counted(run: Path, tmp_path: Path, capsys) -> None:
    folder, file = RunFolder(run), tmp_path / "x"
    rows = [found for rollouts in sorted(folder.rollouts.iterdir()) for found in folder.rows(rollouts)]
    rewritten = [{"num_tokens": 5}, {"num_tokens": 5, "context_ids": [1]}]

    def curate(*contexts: str) -> int:
        good = [found for found in rows if found["value"] == 1.0]
        marked = [{**found, "segments": rewritten, "context": c} for found, c in zip(good, contexts, strict=False)]
        lost = [found for found in rows if found["value"] == 0.0]
        folder.write_rollouts(0, [*marked, *good[len(marked) :], *({**one, "segments": rewritten} for one in lost)])
        folder.write_rollouts(1, [])
        return main([str(run), "--output", str(file)])

    assert curate("thoughts", "thoughts") == 0
    told = capsys.readouterr()
    assert "4 conversations" in told.out and not told.err
    assert curate("thoughts", "room") == 0
    told = capsys.readouterr()
    assert "3 conversations" in told.out and "1 episodes were left out: their contexts were rewritten" in told.err
    assert curate(*["room"] * 4) == 2
    told = capsys.readouterr()
    assert "all 4 whole episodes" in told.err and "gyms.N.context_tokens" in told.err and told.err.count("\n") == 1
