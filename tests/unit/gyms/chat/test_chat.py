"""Open-ended prompts: where they come from, and the little that code may say of an answer."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from gyms.api import Status, Task, message
from gyms.chat.gym import Chat
from gyms.load import load_gym
from gyms.testing import check_gym
from reward.rubric import rubric_for


def chat(**args: Any) -> Chat:
    found = load_gym("chat", "gyms.chat.gym:Chat", args)
    assert isinstance(found, Chat)
    return found


def written(path: Path, rows: list[Any]) -> str:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return str(path)


def test_the_prompts_of_the_project_keep_the_contract_and_name_valid_rubrics() -> None:
    gym = chat()
    check_gym(gym)
    tasks = {split: gym.tasks(split) for split in ("train", "heldout")}
    assert (len(tasks["train"]), len(tasks["heldout"])) == (80, 40)
    labels = {rubric_for(task).label for split in tasks.values() for task in split}
    assert labels == {"core@1+prescriptive@1", "core@1+prescriptive@1+task", "brief@1+prescriptive@1"}


def test_the_gym_says_that_a_judge_gives_the_reward() -> None:
    assert Chat.needs.judge
    task = chat().tasks("train")[0]
    score = chat().score(task, "Yeast makes gas, and the dough holds it.")
    assert score.flags == {"unjudged"} and score.value == 1.0
    assert score.components == {"no_opening_praise": 1.0, "no_self_justification": 1.0}


@pytest.mark.parametrize("response", ["", ":", "Solution", " \n", "\u89e3", "Why does bread rise when it is  baked?"])
def test_nothing_and_an_echo_are_worth_0(response: str) -> None:
    score = chat().score(chat().tasks("train")[0], response)
    assert (score.status, score.value) == (Status.OK, 0.0) and "unjudged" not in score.flags


def test_the_checkable_properties_of_a_task_are_its_cases() -> None:
    task = next(task for task in chat().tasks("train") if "under_30_words" in task.data["checks"])
    score = chat().score(task, "Great question! " + "word " * 40)
    assert {case.id: case.passed for case in score.cases} == {
        "no_opening_praise": False,
        "no_self_justification": True,
        "under_30_words": False,
    }
    assert score.value == pytest.approx(1 / 3) and set(score.components) <= set(Chat.components)


def test_a_malformed_task_is_ours_and_a_flood_the_models() -> None:
    for checks in (("no_such",), (["no_list"],), "no_list", 3, {"no_list": 1}):
        bad = Task(id="t", prompt=(message("user", "Hi?"),), data={"checks": checks})
        assert chat().score(bad, "Hello.").status is Status.BAD_TASK
    assert chat().score(chat().tasks("train")[0], "x" * 100_001).status is Status.TOO_COMPLEX


def test_rows_come_from_local_files(tmp_path: Path) -> None:
    criterion = {"id": "one", "text": "Says one thing.", "weight": 1}
    talk = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "Why?"}]
    train = [{"prompt": "How?", "id": "a", "rubric": "brief", "criteria": [criterion], "checks": ["no_list"]},
             {"prompt": talk}, {"prompt": "how?  "}]  # fmt: skip
    gym = chat(
        train_file=written(tmp_path / "t.jsonl", train),
        heldout_file=written(tmp_path / "h.jsonl", [{"prompt": "When?"}]),
        suffix=" Be short.",
        checks=["one_sentence"],
    )
    first, second = gym.tasks("train")
    assert first.id == "train/a" and first.prompt == (message("user", "How? Be short."),)
    assert first.data["checks"] == ("no_list", "one_sentence") and rubric_for(first).label == "brief@1+task"
    assert [m["role"] for m in second.prompt] == ["system", "user"]
    check_gym(gym)
    assert rubric_for(chat(rubric="brief").tasks("train")[0]).label == "brief@1"


@pytest.mark.parametrize(
    ("row", "message_"),
    [
        ({}, r"t\.jsonl:1: the columns are \[\], wanted were prompt"),
        ({"prompt": "  "}, r"t\.jsonl:1: 'prompt' must be text"),
        ({"prompt": 3}, "'prompt' must be text"),
        ({"prompt": [{"role": "robot", "content": "x"}]}, "'prompt' must be text"),
        ({"prompt": [{"role": "assistant", "content": "x"}]}, "must be the user's"),
        ({"prompt": "x", "rubric": 3}, "'rubric' must be packs"),
        ({"prompt": "x", "criteria": {"id": "x"}}, "'criteria' must be a list"),
        ({"prompt": "x", "checks": ["no_such"]}, "there is no check 'no_such'"),
        ({"prompt": "x", "checks": [["no_list"]]}, "there is no check"),
        ({"prompt": "x", "checks": "no_list"}, "'checks' must be a list"),
    ],
)
def test_a_bad_row_is_refused_with_its_place(tmp_path: Path, row: dict[str, Any], message_: str) -> None:
    heldout = written(tmp_path / "h.jsonl", [{"prompt": "When?"}])
    gym = chat(train_file=written(tmp_path / "t.jsonl", [row]), heldout_file=heldout)
    with pytest.raises(ValueError, match=message_):
        gym.tasks("train")


def test_a_data_set_is_split_by_its_prompts(tmp_path: Path) -> None:
    pytest.importorskip("datasets")
    rows = [{"text": f"Question {i}?"} for i in range(60)]
    folder = tmp_path / "data"
    folder.mkdir()
    written(folder / "train.jsonl", rows)
    gym = chat(source=str(folder), columns={"prompt": "text"}, heldout_fraction=0.3)
    train, held = gym.tasks("train"), gym.tasks("heldout")
    assert len(train) + len(held) == 60 and 8 <= len(held) <= 30
    check_gym(gym)
    with pytest.raises(
        ValueError, match=r'the columns are \[text\], wanted were prompt.*columns = \{ prompt = "text" \}'
    ):
        chat(source=str(folder)).tasks("train")
    with pytest.raises(ValueError, match="cannot be loaded"):
        chat(source=str(tmp_path / "none")).tasks("train")


@pytest.mark.parametrize(
    ("args", "message_"),
    [
        ({"train_file": "x.jsonl"}, "without heldout_file"),
        ({"train_file": "x", "heldout_file": "y", "source": "z"}, "one place"),
        ({"checks": ["no_such"]}, "there is no check"),
        ({"rubrik": "core"}, "did you mean 'rubric'"),
    ],
)
def test_settings_that_cannot_be_are_refused(args: dict[str, Any], message_: str) -> None:
    with pytest.raises(ValueError, match=message_):
        chat(**args)
