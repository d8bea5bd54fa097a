"""The math gym: built-in problems, rows of both dialects, disjoint splits, malformed tasks, settings."""

from __future__ import annotations

import json
import pickle
from pathlib import Path
from typing import Any

import pytest

from gyms.api import Services, Status, Task, message
from gyms.load import load_gym
from gyms.math.gym import Math
from gyms.mixture import check_disjoint
from gyms.testing import check_gym


def gym(**args: Any) -> Math:
    found = load_gym("math", "gyms.math.gym:Math", args, Services())
    assert isinstance(found, Math)
    return found


def task(**data: Any) -> Task:
    return Task(id="t", prompt=(message("user", "What is it?"),), data=data)


def write(path: Path, rows: list[dict[str, Any]]) -> str:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return str(path)


def test_the_built_in_problems_keep_the_contract() -> None:
    built_in = gym()
    check_gym(built_in)
    assert len(built_in.tasks("train")) == 300 and len(built_in.tasks("heldout")) == 77
    for split in ("train", "heldout"):
        assert all(built_in.score(t, built_in.gold(t)).value == 1.0 for t in built_in.tasks(split))
    assert pickle.loads(pickle.dumps(built_in.tasks("train")[7])) == gym().tasks("train")[7]


def test_a_score_says_what_it_found() -> None:
    score = gym().score(task(answer="5 kg"), r"so \boxed{5 m}")
    assert (score.status, score.value, score.answer) == (Status.OK, 0.0, "5 m")
    assert score.components == {"correct": 0.0, "marked": 1.0}
    assert "unit_mismatch" in score.flags
    unmarked = gym().score(task(answer=5), "It is 5.")
    assert (unmarked.value, unmarked.components["marked"]) == (1.0, 0.0)


@pytest.mark.parametrize(
    ("response", "status"),
    [
        ("", Status.NO_ANSWER),
        ("I cannot say.", Status.NO_ANSWER),
        (r"\boxed{}", Status.NO_ANSWER),
        ("\\boxed{@#}", Status.INVALID_ANSWER),
        (r"\boxed{9^{9^{9^9}}}", Status.TOO_COMPLEX),
        (r"\boxed{6}", Status.OK),
    ],
)
def test_faults_of_the_model_have_their_status(response: str, status: Status) -> None:
    score = gym().score(task(answer="5"), response)
    assert score.status is status
    assert not score.value


@pytest.mark.parametrize(
    "data",
    [
        {},
        {"answer": None},
        {"answer": ""},
        {"answer": []},
        {"answer": True},
        {"answer": {"value": 5}},
        {"answer": r"\boxed{}"},
        {"answer": r"\nonsense{5}"},
        {"answer": "5", "type": "integer?"},
        {"answer": "5", "type": 7},
        {"answer": "5", "tolerance": "wide"},
        {"answer": "5", "tolerance": -0.1},
        {"answer": "5", "units": "blorg7"},
        {"answer": "5", "units": ["kg"]},
        {"answer": "5", "question": 7},
        {"answer": float("nan")},
        {"answer": float("inf")},
    ],
)
def test_a_malformed_task_is_masked(data: dict[str, Any]) -> None:
    assert gym().score(task(**data), r"\boxed{5}").status is Status.BAD_TASK


def test_numbers_as_gold_answers() -> None:
    for answer in (5, 5.0, "5", "$5$", r"\boxed{5}", "#### 5"):
        assert gym().score(task(answer=answer), r"\boxed{5}").value == 1.0
    assert gym().score(task(answer=0.1), r"\boxed{\frac{1}{10}}").value == 1.0
    assert gym().score(task(answer=1e20), r"\boxed{10^{20}}").value == 1.0


def test_gsm8k_and_math_rows_become_tasks(tmp_path: Path) -> None:
    gsm = {"question": "Ann has 3 pens and buys 4. How many?", "answer": "3+4=<<3+4=7>>7\n#### 7"}
    mth = {"problem": "What is $1/2+1/4$?", "solution": "It is $\\boxed{\\frac34}$."}
    plain = {"problem": "What is $2^{10}$?", "answer": "1024", "solution": "So \\boxed{1024}."}
    train = write(tmp_path / "train.jsonl", [gsm, mth])
    loaded = gym(train_file=train, heldout_file=write(tmp_path / "test.jsonl", [plain]), suffix=" Box it.")
    first, second = loaded.tasks("train")
    assert first.data["answer"] == "7" and second.data["answer"] == "\\frac34"
    assert first.prompt[0]["content"] == gsm["question"] + " Box it."
    assert loaded.gold(first) == "3+4=7\n#### 7"
    assert loaded.gold(loaded.tasks("heldout")[0]) == "So \\boxed{1024}."
    assert all(loaded.score(t, loaded.gold(t)).value == 1.0 for t in (first, second))


@pytest.mark.parametrize(
    "row",
    [
        {"question": "q"},
        {"answer": "5"},
        {"question": "", "answer": "5"},
        {"problem": "p", "solution": "no box"},
        {"question": "q", "answer": "\\nonsense{"},
    ],
)
def test_a_row_without_problem_or_answer_is_named(tmp_path: Path, row: dict[str, Any]) -> None:
    good = {"question": "What is 2?", "answer": "2"}
    path = write(tmp_path / "train.jsonl", [good, row])
    with pytest.raises(ValueError, match=r"train\.jsonl:2: "):
        gym(train_file=path, heldout_file=write(tmp_path / "test.jsonl", [good])).tasks("train")


def test_heldout_problems_are_dropped_from_train_and_one_file_is_split_by_text(tmp_path: Path) -> None:
    rows = [{"question": f"What is {n} + {n}?", "answer": str(2 * n)} for n in range(200)]
    dressed = [{"question": "what is  7 + 7 ", "answer": "14"}]
    two = gym(train_file=write(tmp_path / "a.jsonl", rows), heldout_file=write(tmp_path / "b.jsonl", dressed))
    assert len(two.tasks("train")) == 199
    check_disjoint(two)
    one = gym(train_file=str(tmp_path / "a.jsonl"), heldout_fraction=0.25)
    held = {t.data["question"] for t in one.tasks("heldout")}
    assert 30 <= len(held) <= 70 and len(one.tasks("train")) == 200 - len(held)
    check_disjoint(one)
    backwards = gym(train_file=write(tmp_path / "c.jsonl", rows[::-1]), heldout_fraction=0.25)
    assert {t.data["question"] for t in backwards.tasks("heldout")} == held


def test_a_folder_loads_through_datasets(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("datasets")
    monkeypatch.setenv("HF_DATASETS_OFFLINE", "1")
    write(tmp_path / "train.jsonl", [{"problem": "p 1", "answer": "1"}, {"problem": "p 2", "answer": "2"}])
    write(tmp_path / "test.jsonl", [{"problem": "p 3", "answer": "3"}])
    loaded = gym(source=str(tmp_path))
    assert [t.data["answer"] for t in loaded.tasks("train")] == ["1", "2"]
    assert len(loaded.tasks("heldout")) == 1


def test_settings_that_contradict_each_other_are_refused() -> None:
    with pytest.raises(ValueError, match="both given"):
        gym(source="x", train_file="y")
    with pytest.raises(ValueError, match="without train_file"):
        gym(heldout_file="y")


def test_settings_change_how_strictly_an_answer_is_read() -> None:
    assert gym(require_mark=True).score(task(answer="5"), "It is 5").status is Status.NO_ANSWER
    assert gym(finals="last").score(task(answer="5"), r"\boxed{4} \boxed{x}. So \boxed{5}").value == 1.0
    assert gym(significant_digits=3).score(task(answer="1/3"), r"\boxed{0.333}").value == 1.0
    part = gym(partial_credit=True)
    assert part.score(task(answer="(1, 2, 3, 4)"), r"\boxed{(1, 2, 3, 5)}").value == 0.75
    assert part.score(task(answer="1, 2"), r"\boxed{2, 3}").value == 0.5
    assert part.score(task(answer="1, 2"), r"\boxed{1, 2, 3}").value == 0.0
    assert part.score(task(answer="5"), r"\boxed{17-12}").value == 0.0
