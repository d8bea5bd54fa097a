"""`python -m gyms look FILE` says which gym reads a file, and what it proposes works in a run."""

from __future__ import annotations

import csv
import datetime
import json
import tomllib
from pathlib import Path
from typing import Any

import pytest

from gyms.__main__ import main
from gyms.load import gym_names, load_gym, resolve
from gyms.row_gym import RowGym

ROW_GYMS = {"chat", "code", "constraints", "gsm8k", "math"}
ADDS = "def add(a, b):\n    return a + b\n"
FILES: dict[str, tuple[str, list[dict[str, Any]]]] = {
    "math": ("columns", [{"query": f"{n} + {n}?", "meta": {"ground_truth": 2 * n}} for n in range(40)]),
    "gsm8k": ("own", [{"question": f"{n} + {n}?", "answer": f"So.\n#### {2 * n}"} for n in range(40)]),
    "code": (
        "acecode",
        [{"question": f"Add, {n}.", "test_cases": ["assert add(1, 2) == 3"], "id": str(n)} for n in range(40)],
    ),
    "constraints": (
        "open-instruct-if",
        [
            {
                "messages": [{"role": "user", "content": f"Tell me about {n} eggs."}],
                "ground_truth": repr([{"instruction_id": ["punctuation:no_comma"], "kwargs": [None]}]),
            }
            for n in range(40)
        ],
    ),
    "chat": ("sharegpt-prompt", [{"conversations": [{"from": "human", "value": f"Hi {n}"}]} for n in range(40)]),
}


def looked(capsys: pytest.CaptureFixture[str], *arguments: str, status: int = 0) -> dict[str, Any]:
    assert main(["look", *arguments, "--json"]) == status
    return json.loads(capsys.readouterr().out)


def written(path: Path, rows: list[dict[str, Any]]) -> str:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return str(path)


def test_every_built_in_gym_that_reads_rows_declares_what_it_reads() -> None:
    classes = {name: resolve(name) for name in gym_names() if name not in ("word", "sql")}
    assert {name for name, gym_class in classes.items() if issubclass(gym_class, RowGym)} == ROW_GYMS
    for name in ROW_GYMS:
        gym_class = classes[name]
        assert issubclass(gym_class, RowGym)
        assert gym_class.reads.wanted and gym_class.reads.own
        assert {gym_class.file_setting, gym_class.share_setting} <= gym_class.Settings.model_fields.keys()


@pytest.mark.parametrize("name", FILES)
def test_what_is_proposed_makes_as_many_tasks_in_a_run(
    name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    form, rows = FILES[name]
    facts = looked(capsys, written(tmp_path / "rows.jsonl", [*rows, {"nothing": "of use"}]))
    assert facts["num_rows"] == 41 and not facts["has_more"]
    if name != "chat":
        assert facts["gyms"][0]["gym"] != "chat"  # any question can be asked openly; what verifies an answer goes first
    found = {gym["gym"]: gym for gym in facts["gyms"]}
    assert set(found) == ROW_GYMS and found[name]["num_fit"] == 40 and found[name]["read_as"] == form
    for gym_name, gym in found.items():
        if gym["num_fit"]:
            args = tomllib.loads(gym["toml"])["args"]
            assert args == gym["args"] and args["skip_malformed"] is True
            gym_of_run = load_gym("g", gym_name, args)
            num_tasks = sum(len(gym_of_run.tasks(split)) for split in ("train", "heldout"))
            assert num_tasks == gym["num_fit"] and "41" in gym["reasons"][0]
        else:
            assert not gym["args"] and not gym["toml"] and (gym["missing"] or gym["reasons"])


def test_the_columns_are_shown_with_the_first_rows(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rows = [
        {"chat": [{"role": "user", "content": "Who?"}], "meta": {"n": 1, "gold": None}, "raw": '{"label": "x"}'},
        {"chat": [{"role": "user", "content": "y" * 500}], "meta": {"n": "two", "gold": None}, "raw": "plain"},
        {"meta": {"n": 3.5}},
    ]
    file = written(tmp_path / "rows.jsonl", rows)
    columns = {column["column"]: column for column in looked(capsys, file)["columns"]}
    assert list(columns) == ["chat.-1.content", "meta.n", "meta.gold", "raw", "raw.label"]
    assert columns["chat.-1.content"]["examples"] == ["Who?", "y" * 57 + "..."]
    assert (columns["meta.n"]["num_filled"], columns["meta.n"]["holds"]) == (3, "number or text")
    assert (columns["meta.gold"]["num_filled"], columns["meta.gold"]["holds"]) == (0, "nothing")
    assert columns["raw.label"]["examples"] == ["x", ""]
    assert main(["look", file]) == 0
    assert ["meta.n", "3", "number", "or", "text", "1", "two"] in [
        line.split() for line in capsys.readouterr().out.splitlines()
    ]


def test_what_is_missing_is_said_and_a_near_name_is_proposed(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = [{"qestion": f"{n}?", "verdict": n} for n in range(5)]
    found = {gym["gym"]: gym for gym in looked(capsys, written(tmp_path / "r.jsonl", rows), status=1)["gyms"]}
    assert found["math"]["missing"] == ["answer"] and found["math"]["nearest"] == {"question": "qestion"}
    assert found["code"]["missing"] == ["prompt", "tests"]
    main(["look", str(tmp_path / "r.jsonl")])
    shown = capsys.readouterr().out
    assert 'nothing is like answer; columns = { question = "qestion" } with answer = ... named by hand' in shown
    assert "nothing is like prompt or tests; prompt, tests = ..." in shown
    assert "No gym reads these rows" in shown


def test_a_conversation_as_text_in_csv_is_proposed_by_its_path(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "r.csv"
    with file.open("w", newline="") as stream:
        writer = csv.writer(stream)
        writer.writerow(["ask", "final_answer"])
        for n in range(30):
            writer.writerow([json.dumps([{"role": "user", "content": f"What is {n} + {n}?"}]), 2 * n])
    (gym,) = looked(capsys, str(file), "--gym", "math")["gyms"]
    assert gym["args"]["columns"] == {"question": "ask.-1.content", "answer": "final_answer"}
    assert gym["num_fit"] == 30
    run = load_gym("g", "math", gym["args"])
    assert run.tasks("train")[0].prompt[0]["content"].startswith("What is ")


def test_one_of_several_fitting_forms_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rows = [{"prompt": f"{n} + {n}?", "answer": str(2 * n), "solution": "Easy."} for n in range(9)]
    (gym,) = looked(capsys, written(tmp_path / "r.jsonl", rows), "--gym", "gsm8k")["gyms"]
    assert gym["num_fit"] == 9 and gym["read_as"] == gym["args"].get("format", "trl")


def test_what_knows_a_form_goes_before_what_goes_by_likely_names(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    row = {
        "question": "Write `add`.",
        "solution": ADDS,
        "test_code": "from solution import add\n\ndef test_it():\n    ",
    }
    row["test_code"] += "assert add(1, 2) == 3\n"
    facts = looked(capsys, written(tmp_path / "r.jsonl", [row]))
    assert [(gym["gym"], gym["read_as"]) for gym in facts["gyms"] if gym["num_fit"]] == [
        ("code", "kodcode"),
        ("math", "columns"),
        ("chat", "columns"),
    ]


def test_values_that_json_does_not_know_are_shown(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    parquet = pytest.importorskip("pyarrow.parquet")
    table = pytest.importorskip("pyarrow").Table.from_pylist(
        [
            {
                "question": "1 + 1?",
                "answer": "2",
                "image": b"\xff",
                "at": datetime.datetime(2020, 1, 1),
                "x": float("nan"),
            }
        ]
    )
    parquet.write_table(table, tmp_path / "r.parquet")
    facts = looked(capsys, str(tmp_path / "r.parquet"))
    holds = {column["column"]: column["holds"] for column in facts["columns"]}
    assert holds == {"question": "text", "answer": "text", "image": "bytes", "at": "datetime", "x": "number"}
    assert facts["gyms"][0]["num_fit"] == 1


def test_only_so_many_rows_are_looked_at(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = written(tmp_path / "r.jsonl", FILES["gsm8k"][1])
    facts = looked(capsys, file, "--max-rows", "7")
    assert facts["num_rows"] == 7 and facts["has_more"]
    main(["look", file, "--max-rows", "7"])
    assert "rows looked at: 7 (there are more: --max-rows)" in capsys.readouterr().out


def test_curated_conversations_are_recognised(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rows = [{"prompt": f"{n}?", "completion": "yes"} for n in range(3)]
    facts = looked(capsys, written(tmp_path / "r.jsonl", rows))
    assert facts["conversations"] == "prompt-completion"


@pytest.mark.parametrize(
    ("data", "arguments", "message"),
    [
        ("", [], "holds no rows"),
        ("<html><body>", [], "is a web page, not the data"),
        ('{"a": 1}', ["--max-rows", "0"], "--max-rows = 0: must be at least 1"),
        ('{"a": 1}', ["--gym", "arithmetic"], "--gym = 'arithmetic': it declares no rows"),
        ('{"a": 1}', ["--gym", "maht"], "--gym = 'maht': there is no gym of that name (did you mean 'math'"),
    ],
)
def test_wrong_use_is_one_line_and_status_2(
    data: str, arguments: list[str], message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "rows.jsonl"
    file.write_text(data)
    assert main(["look", str(file), *arguments]) == 2
    told = capsys.readouterr().err
    assert message in told and told.count("\n") == 1
    assert main(["look", str(tmp_path / "none.jsonl")]) == 2
    assert "there is no file" in capsys.readouterr().err


def test_any_name_of_a_file_or_column_is_pasted_as_toml(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    name = 'a "b"\\ \x7f \u00fc.jsonl'
    rows = [{"my question": f"{n}?", "answer": n} for n in range(12)]
    (gym,) = looked(capsys, written(tmp_path / name, rows), "--gym", "math")["gyms"]
    assert tomllib.loads(gym["toml"])["args"] == gym["args"]
    assert gym["args"]["train_file"].endswith(name) and gym["args"]["columns"] == {"question": "my question"}


def test_a_column_without_a_value_is_proposed_for_nothing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rows = [{"prompt": None, "answer": None, "query": f"{n} + {n}?"} for n in range(12)]
    found = {each["gym"]: each for each in looked(capsys, written(tmp_path / "rows.jsonl", rows))["gyms"]}
    assert found["chat"]["num_fit"] == 12 and found["chat"]["args"]["columns"] == {"prompt": "query"}
    assert found["math"]["nearest"] == {"question": "query"} and found["math"]["missing"] == ["answer"]
