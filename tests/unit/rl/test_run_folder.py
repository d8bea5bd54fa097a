"""Files of a run folder survive a kill at any byte."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rl.run_folder import RunFolder, write_atomically


@pytest.fixture
def folder(tmp_path) -> RunFolder:
    made = RunFolder(tmp_path / "run")
    made.create()
    return made


def test_a_file_is_replaced_whole_or_not_at_all(tmp_path):
    file = tmp_path / "facts.json"
    write_atomically(file, "old")
    with pytest.raises(TypeError):
        write_atomically(file, b"new")  # type: ignore[arg-type]  # fails once the file is open
    assert file.read_text() == "old"
    write_atomically(file, "new")
    assert file.read_text() == "new"
    assert [path.name for path in tmp_path.iterdir()] == ["facts.json"]


def test_rows_come_back_as_they_were_appended(folder):
    rows = [{"step": 0, "text": "a\nb\u2028c\x85d\x1ce"}, {"step": 1, "x": None, "y": 1e-300, "z": "\u00e9"}]
    for row in rows:
        folder.append(folder.metrics, row)
    assert folder.rows(folder.metrics) == rows
    assert folder.rows(folder.evals) == []


@given(st.integers(min_value=0))
def test_a_last_line_that_a_kill_cut_short_is_ignored(tmp_path_factory, cut):
    folder = RunFolder(tmp_path_factory.mktemp("run"))
    rows = [{"step": i, "name": "\u00e9\u2028\U0001f600"} for i in range(3)]
    for row in rows:
        folder.append(folder.metrics, row)
    whole = folder.metrics.read_bytes()
    size = len(whole) // 3
    cut %= len(whole) + 1
    folder.metrics.write_bytes(whole[:cut])
    assert folder.rows(folder.metrics) == rows[: cut // size]
    folder.drop_from(3, num_evals=0)
    folder.append(folder.metrics, {"step": 9})
    assert folder.rows(folder.metrics) == [*rows[: cut // size], {"step": 9}]


def test_rows_of_steps_to_be_done_again_are_dropped(folder):
    for step in range(4):
        folder.append(folder.metrics, {"step": step})
        folder.append(folder.evals, {"stage": f"s{step}"})
        folder.write_rollouts(step, [{"step": step, "k": k, "response": "\u2028"} for k in range(2)])
    folder.drop_from(2, num_evals=3)
    assert [row["step"] for row in folder.rows(folder.metrics)] == [0, 1]
    assert [row["stage"] for row in folder.rows(folder.evals)] == ["s0", "s1", "s2"]
    assert sorted(path.name for path in folder.rollouts.iterdir()) == ["step_000000.jsonl", "step_000001.jsonl"]
    kept = (folder.rollouts / "step_000001.jsonl").read_bytes().split(b"\n")
    assert [json.loads(line) for line in kept if line] == [{"step": 1, "k": k, "response": "\u2028"} for k in range(2)]


def test_dropping_everything_of_an_empty_run_is_fine(folder):
    folder.drop_from(0, num_evals=0)
    assert folder.rows(folder.metrics) == folder.rows(folder.evals) == []


def test_half_a_surrogate_pair_in_what_a_verifier_found_is_written_as_json_writes_it(folder):
    row = {"step": 0, "answer": "a\ud800b\udfff", "detail": "\u00e9"}
    folder.append(folder.metrics, row)
    folder.write_rollouts(0, [row])
    assert folder.rows(folder.metrics) == [row]
    assert json.loads((folder.rollouts / "step_000000.jsonl").read_text(encoding="utf-8")) == row
    folder.drop_from(1, num_evals=0)
    assert folder.rows(folder.metrics) == [row]
