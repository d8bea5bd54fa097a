"""The estimate of how hard tasks are: which tasks, what a line says, and how it goes on."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from configs.load import load_config
from gyms.api import Status
from rl.difficulty import Job, done_before, main, rate_row, settings_and_weights, train_draws
from rl.rates import problem_of, read_rates
from tests.unit.rl.listed import entry, task

TINY = Path(__file__).parents[3] / "configs" / "tiny_cpu.toml"
TASKS = [task(f"t{i}") for i in range(10)]


def job(tmp_path, **changes) -> Job:
    given = {"model": "m", "output": tmp_path / "rates.jsonl", "num_samples": 4, "temperature": 1.0, "max_tasks": None,
             "settings_and_weights": "abc"}  # fmt: skip
    return Job(**{**given, **changes})


def test_all_tasks_that_can_be_asked_are_or_some_that_the_seed_chooses():
    entries = [entry("a", TASKS), entry("b", TASKS[:2])]

    def found(max_tasks, seed=0, fits=lambda gym, task: True):
        draws = train_draws(entries, max_tasks=max_tasks, seed=seed, fits=fits)
        return [(draw.gym, draw.task.id, draw.index) for draw in draws]

    assert found(None) == [("a", f"t{i}", i) for i in range(10)] + [("b", "t0", 0), ("b", "t1", 1)]
    assert len({name for gym, name, _ in found(4) if gym == "a"}) == 4
    assert found(4) == found(4) != found(4, seed=1)
    assert [name for _, name, _ in found(None, fits=lambda gym, task: task.id == "t1")] == ["t1", "t1"]


def test_a_line_says_how_often_the_task_was_solved_and_is_read_back(tmp_path, group, scored):
    samples = [scored(1.0), scored(0.5), scored(status=Status.TRUNCATED), scored(status=Status.VERIFIER_ERROR)]
    one = group(3, *samples)
    gym = entry("sums", [one.draw.task]).gym
    row = rate_row(one, job(tmp_path), gym=gym)
    assert row == {
        "gym": "sums", "task": "sums/1", "rate": 0.5, "right_lengths": [3], "num_scored": 3, "tokens_mean": 3.0,
        "truncated_frac": pytest.approx(1 / 3), "model": "m", "num_samples": 4, "temperature": 1.0,
        "settings_and_weights": "abc", "problem": problem_of(gym, one.draw.task),
    }  # fmt: skip
    assert rate_row(group(3, scored(status=Status.JUDGE_FAILED)), job(tmp_path), gym=gym) is None
    job(tmp_path).output.write_text(json.dumps(row) + "\n")
    known = read_rates(job(tmp_path).output, ["sums"])
    assert (known.rates, known.right_lengths) == ({"sums": {"sums/1": 0.5}}, {"sums": {"sums/1": [3]}})


def test_a_command_goes_on_behind_whole_lines_of_the_same_settings(tmp_path):
    one = job(tmp_path)
    assert done_before(one) == set()
    line = json.dumps({"gym": "a", "task": "t1", "rate": 0.0, **one.facts})
    one.output.write_bytes(f"{line}\n{line[:20]}".encode() + b"\xff")  # a kill may leave any bytes
    assert done_before(one) == {("a", "t1")} and one.output.read_text() == f"{line}\n"
    with pytest.raises(ValueError, match=r"holds what .*'num_samples': 4.* did, now it is .*'num_samples': 8"):
        done_before(job(tmp_path, num_samples=8))
    with pytest.raises(ValueError, match=r"holds what .*'abc'.* did, now it is .*'other'"):
        done_before(job(tmp_path, settings_and_weights="other"))
    one.output.write_text("{}\n")
    with pytest.raises(ValueError, match="line 1, is no line of this command"):
        done_before(one)


def test_gyms_seed_prompt_and_weights_that_change_rates_are_told_apart_and_nothing_else(tmp_path):
    weights = tmp_path / "model.safetensors"
    weights.write_bytes(b"weights")

    def digest(*overrides: str) -> str:
        return settings_and_weights(load_config([TINY], [*overrides]), str(tmp_path))

    first = digest()
    assert digest("learner.lr=1e-5", "name=another") == first
    chat = "model.chat_template=true"
    others = [digest(one) for one in ("seed=7", "gyms.0.budget=9", "gyms.0.args.max_operand=88", chat)]
    others.append(digest(chat, "model.system_prompt=x"))
    stat = weights.stat()
    os.utime(weights, ns=(stat.st_atime_ns, stat.st_mtime_ns + 2 * 10**9))  # trained on: as many bytes
    assert len({first, *others, digest()}) == 7


def test_a_tokenizer_a_template_or_a_file_of_rows_that_changed_is_told_apart_from_the_one_before(tmp_path):
    rows = tmp_path / "rows.jsonl"
    rows.write_text("{}\n")
    args = f"gyms.0.args={{train_file = '{rows}', note = '{'x' * 5000}', home = '~nobody0/x'}}"
    config = load_config([TINY], ["gyms.0.gym=gsm8k", args])
    model = tmp_path / "model"
    (model / "additional_chat_templates").mkdir(parents=True)

    def digest() -> str:
        return settings_and_weights(config, str(model))

    digests = [digest()]
    for name in (
        "chat_template.jinja", "additional_chat_templates/tools.jinja", "tokenizer.json", "tokenizer_config.json",
        "generation_config.json", "tiktoken.model", "merges.txt", "tokenization_kimi.py", "../rows.jsonl",
    ):  # fmt: skip
        for text in ("one", "another"):
            (model / name).write_text(text)
            digests.append(digest())
    assert len(set(digests)) == len(digests)
    (model / "README.md").write_text("Read me.")
    assert digest() == digests[-1]


def test_wrong_use_is_told_before_anything_starts(tmp_path, capsys):
    assert main([str(tmp_path), "--output", str(tmp_path / "x")]) == 2
    assert "wanted one model folder and a config" in capsys.readouterr().err
    assert main(["m", str(TINY), "--output", str(tmp_path)]) == 2
    assert "Is a directory" in capsys.readouterr().err
    assert main([str(tmp_path), str(TINY), "gyms.0.args.rules=mine.toml", "--output", str(tmp_path / "x")]) == 2
    assert f"{tmp_path} is no model folder" in capsys.readouterr().err
    for wrong in (["--samples", "0"], ["--temperature", "9"]):
        with pytest.raises(SystemExit, match="2"):
            main(["m", "c.toml", "--output", "x", *wrong])
        assert "wanted a " in capsys.readouterr().err


def test_what_is_in_a_folder_that_a_gym_is_given_is_told_apart_and_what_is_being_written_there_is_not(
    tmp_path, monkeypatch
):
    for name in ("corpus/sub", "work"):
        (tmp_path / name).mkdir(parents=True)
    document, output = tmp_path / "corpus" / "sub" / "one.txt", tmp_path / "corpus" / "rates.jsonl"
    args = f"gyms.0.args={{corpus = '{tmp_path / 'corpus'}', sign = '/', empty = '', here = '.'}}"
    config = load_config([TINY], ["gyms.0.gym=search", args])
    monkeypatch.chdir(tmp_path / "work")

    def digest() -> str:
        return settings_and_weights(config, str(tmp_path / "model"), but_for=output)

    digests = [digest()]
    for text in ("one", "another"):
        document.write_text(text)
        digests.append(digest())
    assert len(set(digests)) == 3
    for file in (output, tmp_path / "work" / "notes.txt"):
        file.write_text("{}")
    assert digest() == digests[-1]
