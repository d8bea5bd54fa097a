"""One row out for each row in, in order, whatever the rows hold."""

from __future__ import annotations

import io
import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gyms.__main__ import main
from gyms.api import Score, Status
from reward.rescore import rescore
from reward.rows import MAX_ROW_BYTES, parse_row, result_of
from reward.scorer import Scorer

BAD_ENVIRONMENTS = Path(__file__).parent / "bad_environments.py"
BAD_GYMS = Path(__file__).parent / "bad_gyms.py"
SUM = {"gym": "gyms.arithmetic.gym:Arithmetic", "task": {"answer": "42", "operands": [17, 25]}}
KEYS = {"id", "status", "value", "reward", "masked", "components", "answer", "flags", "seconds"}


def run(tmp_path: Path, lines: list[str | bytes], *options: str) -> list[dict[str, Any]]:
    source, output = tmp_path / "rows.jsonl", tmp_path / "out" / "scores.jsonl"
    source.write_bytes(b"\n".join(line if isinstance(line, bytes) else line.encode() for line in lines))
    assert main(["score", "--input", str(source), "--output", str(output), "--workers", "2", *options]) == 0
    return [json.loads(line, parse_constant=lambda name: pytest.fail(name)) for line in output.read_text().splitlines()]


def row(**fields: Any) -> str:
    return json.dumps({**SUM, **fields})


def test_every_line_has_its_row_in_order(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    obedient = f"{BAD_GYMS}:Obedient"
    lines: list[str | bytes] = [
        row(id=1, response="42"),
        row(id=2, response="41"),
        row(id=3, response="I give up"),
        "not json",
        "",
        "[1, 2]",
        "null",
        '{"id": "only"}',
        row(id="no task", task=None, response="42"),
        row(id="no response", response=None),
        row(id="no gold", task={}, response="42"),
        row(id="nope", gym="nope", response="42"),
        row(id="no module", gym="no_such_module:Gym", response="42"),
        row(id="args", args={"bogus": 1}, response="42"),
        row(id="args list", args=[], response="42"),
        row(id=1, response="42"),
        row(id={"k": [1]}, response="\ud800 42"),
        b'{"id": NaN, ' + row(response="42").encode()[1:],
        b"\xff\xfe garbage \x00",
        row(id="exit", gym=obedient, response="exit"),
        row(id="hang", gym=f"{BAD_GYMS}:Impatient", response="hang"),
        row(id="well", gym=obedient, response="well"),
        '{"id": ' + "1" * 5000 + "}",
        "[" * 100_000,
        row(id="big", response="42 " * 50_000),
        row(response="42"),
    ]
    rows = run(tmp_path, lines, "--json")
    assert len(rows) == len(lines) and all(set(found) >= KEYS for found in rows)
    assert all(found["masked"] == Status(found["status"]).is_masked for found in rows)
    statuses = [found["status"] for found in rows]
    assert statuses[:3] == ["ok", "ok", "no_answer"]
    assert [(found["value"], found["reward"]) for found in rows[:3]] == [(1.0, 1.0), (0.0, 0.0), (0.0, 0.0)]
    assert set(statuses[3:12]) == {"bad_task"}
    assert statuses[12:15] == ["bad_task"] * 3
    assert rows[12]["detail"].endswith(
        "importing 'no_such_module' failed: ModuleNotFoundError: No module named 'no_such_module'"
    )
    assert "row.args.bogus: unknown setting. Known settings: operation, " in rows[13]["detail"]
    assert statuses[15:18] == ["ok"] * 3 and [found["id"] for found in rows[15:18]] == [1, {"k": [1]}, None]
    assert statuses[18] == "bad_task" and statuses[20:22] == ["verifier_error", "ok"]
    assert statuses[19] in (
        "verifier_error",
        "crashed",
    )  # where the row after it came first
    assert "hung in score" in rows[20]["detail"] and rows[20]["id"] == "hang"
    assert statuses[22:] == ["bad_task", "bad_task", "too_complex", "ok"] and rows[25]["id"] is None
    summary = json.loads(capsys.readouterr().out)
    assert summary["rows"] == len(lines) and summary["masked"] == sum(found["masked"] for found in rows)


def test_what_a_row_asks_for_wrongly_is_its_own_fault_and_its_neighbours_are_scored(tmp_path: Path) -> None:
    lines: list[str | bytes] = [
        row(id="well", args={"max_operand": 49}, response="42"),
        row(id="wrong value", args={"max_operand": "many"}, response="42"),
        row(id="wrong pair", args={"min_operand": 9, "max_operand": 3}, response="42"),
        row(id="no class", gym="gyms.arithmetic.gym:Arithmetics", response="42"),
        row(id="no file", gym="no_such_file.py:Gym", response="42"),
        row(id="constructor", gym=f"{BAD_GYMS}:NeedsLicence", args={"licence": "old"}, response="42"),
        row(id="no operands", task={"answer": "42"}, response="42"),
        row(id="odd operands", task={"answer": "42", "operands": ["a", None]}, response="42"),
        row(id="odd gold", task={"answer": "many", "operands": [17, 25]}, response="42"),
        row(id="gym's own fault", gym=f"{BAD_GYMS}:CannotBuild", response="42"),
        row(id="same args", args={"max_operand": 49}, response="41"),
    ]
    rows = run(tmp_path, lines)
    assert [found["status"] for found in rows] == ["ok", *["bad_task"] * 8, "verifier_error", "ok"]
    told = {found["id"]: found["detail"] for found in rows}
    assert "row.args.max_operand: Input should be a valid integer" in told["wrong value"]
    assert "row.args" in told["wrong pair"] and "did you mean 'Arithmetic'" in told["no class"]
    assert "row.gym: there is no file" in told["no file"] and "licence = 'old': expired" in told["constructor"]
    assert rows[0]["reward"] == 1.0 and rows[-1]["reward"] == 0.0


def test_a_stored_episode_is_scored_by_replay(tmp_path: Path) -> None:
    def episode(row_id: str, *turns: Any, **fields: Any) -> str:
        return json.dumps(
            {"id": row_id, "gym": "gyms.adder.gym:Adder", "task": {"operands": [17, 25]}, "turns": turns, **fields}
        )

    call = {"id": "call_0", "tool": "add", "arguments": {"a": 17, "b": 25}}
    rows = run(
        tmp_path,
        [
            episode("right", {"text": "", "calls": [call]}, {"text": "42"}, {"text": "never played"}),
            episode("wrong", {"text": "41"}, seed=3),
            episode("ill-formed", {"text": "", "calls": [{**call, "arguments": None}]}, {"text": "42"}),
            episode("none"),
            episode("no turn", {"calls": [call]}),
            episode("no seed", {"text": "42"}, seed="x"),
            episode("no task", {"text": "42"}, task={}),
            episode("one turn", {"text": "42"}, **SUM),
            episode("breaks", {"text": "exit"}, gym=f"{BAD_ENVIRONMENTS}:Obedient"),
            episode("no turns", turns="42"),
            episode("not a number", {"text": "", "calls": [{**call, "arguments": {"a": "x"}}]}, {"text": "42"}),
            episode("no tool", {"text": "", "calls": [{**call, "tool": "subtract"}]}, {"text": "42"}),
        ],
    )
    found = {line["id"]: (line["status"], line["reward"], line["components"].get("num_calls")) for line in rows}
    assert found == {
        "right": ("ok", 1.0, 1.0),
        "wrong": ("ok", 0.0, 0.0),
        "ill-formed": ("ok", 1.0, 0.0),
        "none": ("no_answer", 0.0, None),
        "no turn": ("bad_task", 0.0, None),
        "no seed": ("bad_task", 0.0, None),
        "no task": ("bad_task", 0.0, None),
        "one turn": ("ok", 1.0, None),
        "breaks": ("crashed", 0.0, None),
        "no turns": ("bad_task", 0.0, None),
        "not a number": ("ok", 1.0, 0.0),
        "no tool": ("ok", 1.0, 0.0),
    }
    details = {line["id"]: line["detail"] for line in rows}
    assert details["no turn"] == "line 5: turns: expected a turn's text, got None"
    assert details["no seed"] == "line 6: 'seed' must be a whole number, got 'x'"
    assert details["no turns"] == "line 10: 'turns' must be a list, got str"


def test_rows_that_lack_their_judge_say_so(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    judged = row(id="judged", gym=f"{BAD_GYMS}:NeedsJudge", response="well")
    rows = run(tmp_path, [row(id="sum", response="42"), judged, judged], "--json")
    assert [found["flags"] for found in rows] == [[], ["unjudged"], ["unjudged"]]
    out, err = capsys.readouterr()
    assert json.loads(out)["unjudged"] == 2
    assert [line for line in err.splitlines() if line.startswith("warning: 2 rows are of gyms that need a judge")]
    run(tmp_path, [row(response="42")])
    assert "warning" not in capsys.readouterr().err


@given(line=st.binary(max_size=200) | st.text(max_size=100).map(str.encode))
def test_any_bytes_are_a_row_or_a_fault(line: bytes) -> None:
    found = parse_row(line, number=1)
    assert found.fault or found.task is not None
    json.dumps(result_of(found.id, Score(status=Status.BAD_TASK), minimum=0.0), allow_nan=False)


def test_a_line_that_is_too_long_is_one_bad_row(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("reward.rescore.MAX_ROW_BYTES", 1000)
    monkeypatch.setattr("reward.rows.MAX_ROW_BYTES", 1000)
    output = io.StringIO()
    source = io.BytesIO(b"x" * 5000 + b"\n" + row(id=2, response="42").encode() + b"\n")
    with Scorer([]) as scorer:
        scores = list(rescore(source, output, scorer))
    assert [score.status for score, _ in scores] == [Status.BAD_TASK, Status.OK]
    assert MAX_ROW_BYTES > 1000 and len(output.getvalue().splitlines()) == 2


def test_value_is_the_fraction_and_reward_what_is_learned() -> None:
    score = Score(status=Status.OK, value=0.0, components={"fraction": 0.75})
    assert (result_of(1, score, minimum=0.0)["value"], result_of(1, score, minimum=0.0)["reward"]) == (0.75, 0.0)
    fault = result_of(1, Score(status=Status.TIMEOUT), minimum=0.1)
    assert (fault["value"], fault["reward"], fault["masked"]) == (0.0, 0.1, False)
    ours = result_of(1, Score(status=Status.JUDGE_FAILED), minimum=0.1)
    assert (ours["value"], ours["reward"], ours["masked"]) == (None, 0.0, True)


def test_the_mean_reward_is_that_of_the_rows_also_where_a_fault_has_a_minimum(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    lenient = row(gym=f"{BAD_GYMS}:Lenient", response="")
    rows = run(tmp_path, [lenient, row(response="42"), "not json"], "--json")
    assert [found["reward"] for found in rows] == [0.25, 1.0, 0.0]
    assert json.loads(capsys.readouterr().out)["mean_reward"] == 0.625  # the last one is masked


def test_rows_come_from_stdin_and_go_to_stdout() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "gyms", "score", "--input", "-", "--output", "-", "--workers", "1"],
        input=row(id="a", response="42") + "\n",
        capture_output=True,
        text=True,
        cwd=Path(__file__).parents[3],
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["reward"] == 1.0 and "scored 1 rows" in done.stderr


def test_ctrl_c_keeps_whole_rows_and_leaves_no_process(tmp_path: Path) -> None:
    source, output = tmp_path / "rows.jsonl", tmp_path / "scores.jsonl"
    mark = tmp_path / "mark"
    quick = [row(id=i, gym=f"{BAD_GYMS}:HasGold", response="well") for i in range(600)]  # more than are read ahead
    slow = [row(id=i, gym=f"{BAD_GYMS}:HasGold", response=f"waitmark {mark}") for i in range(600, 700)]
    source.write_text("\n".join([*quick, *slow]))
    command = [sys.executable, "-m", "gyms", "score", "--input", str(source), "--output", str(output)]
    process = subprocess.Popen(
        command,
        cwd=Path(__file__).parents[3],
        stderr=subprocess.PIPE,
        env={**os.environ, "TMPDIR": str(tmp_path)},
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),  # a shell's background jobs ignore it
    )
    deadline = time.monotonic() + 300
    while not mark.exists():
        assert time.monotonic() < deadline and process.poll() is None
        time.sleep(0.05)
    process.send_signal(signal.SIGINT)
    assert process.wait(300) == 130, process.stderr.read()
    (told,) = re.findall(rb"stopped: (\d+) whole rows", process.stderr.read())
    process.stderr.close()
    rows = [json.loads(line) for line in output.read_text().splitlines()]
    assert [one["id"] for one in rows] == list(range(int(told))) and rows
    assert not list(tmp_path.glob("scoring-worker-*"))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--input", "none.jsonl", "--output", "-"], "cannot be read"),
        (["--input", "pyproject.toml", "--output", "pyproject.toml"], "is the input file"),
        (["--input", "pyproject.toml", "--output", "-", "--workers", "-1"], "must be above 0"),
    ],
)
def test_wrong_use_is_told_in_one_line(
    options: list[str], message: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(Path(__file__).parents[3])
    assert main(["score", *options]) == 2
    assert message in capsys.readouterr().err
