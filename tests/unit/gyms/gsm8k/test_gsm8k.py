"""GSM8K: rows are read with clear errors, final numbers are compared exactly."""

from __future__ import annotations

import json
from fractions import Fraction
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gyms.api import Status, Task
from gyms.gsm8k.gym import Gsm8k, parse_number
from gyms.load import load_gym
from gyms.mixture import check_disjoint

ROWS = [
    {"question": "Ann has 3 pens and buys 4. How many?", "answer": "She has 3+4=<<3+4=7>>7 pens.\n#### 7"},
    {"question": "A car costs $1,200. Half price?", "answer": "1200/2=600\n#### 1,600"},
]


def write_rows(path: Path, rows: list[dict[str, Any]]) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def gym(**args: Any) -> Gsm8k:
    found = load_gym("gsm", "gyms.gsm8k.gym:Gsm8k", args)
    assert isinstance(found, Gsm8k)
    return found


def local(tmp_path: Path, train: list[dict[str, Any]], held: list[dict[str, Any]], **args: Any) -> Gsm8k:
    return gym(
        train_file=str(write_rows(tmp_path / "train.jsonl", train)),
        heldout_file=str(write_rows(tmp_path / "test.jsonl", held)),
        **args,
    )


def task(answer: str = "18") -> Task:
    return Task(id="t", prompt=(), data={"answer": answer, "solution": "", "question": ""})


def value(response: str, answer: str = "18") -> float | None:
    return gym().score(task(answer), response).value


def test_rows_become_tasks_with_the_suffix_and_without_the_answer_in_the_prompt(tmp_path: Path) -> None:
    gsm = local(tmp_path, ROWS, [], suffix="\nAnswer as #### <number>.")
    first = gsm.tasks("train")[0]
    assert first.prompt[0]["content"] == "Ann has 3 pens and buys 4. How many?\nAnswer as #### <number>."
    assert first.data["answer"] == "7"
    assert gsm.gold(first) == "She has 3+4=7 pens.\n#### 7"
    assert first.id == "train/0"
    assert len(gsm.tasks("heldout")) == 0


def test_a_malformed_line_is_named_by_file_and_line(tmp_path: Path) -> None:
    path = tmp_path / "train.jsonl"
    path.write_text(json.dumps(ROWS[0]) + "\n\n{'question': 1}\n")
    with pytest.raises(ValueError, match=r"train\.jsonl:3: not a line of JSON"):
        gym(train_file=str(path), heldout_fraction=0.5).tasks("train")
    path.write_text(json.dumps(ROWS[0]) + "\n[1, 2]\n")
    with pytest.raises(ValueError, match=r"train\.jsonl:2: expected a JSON object"):
        gym(train_file=str(path), heldout_fraction=0.5).tasks("train")
    path.write_bytes(b'{"question": "\xff\xfe"}\n')
    with pytest.raises(ValueError, match=r"train\.jsonl:1: not a line of JSON"):
        gym(train_file=str(path), heldout_fraction=0.5).tasks("train")


@pytest.mark.parametrize("answer", ["no marker 7", "#### blue", "####", None])
def test_a_row_without_a_final_number_is_named(tmp_path: Path, answer: str | None) -> None:
    row = {"question": "q", "answer": answer} if answer is not None else {"question": "q"}
    with pytest.raises(ValueError, match=r"train\.jsonl:2: "):
        local(tmp_path, [ROWS[0], row], []).tasks("train")


def test_a_missing_file_and_a_lone_file_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="there is no file"):
        gym(train_file="no.jsonl", heldout_file="none.jsonl").tasks("train")
    with pytest.raises(ValueError, match=r"gyms\.gsm\.args: train_file is given without heldout_file"):
        gym(train_file="no.jsonl")


def test_a_folder_loads_through_datasets(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("datasets")
    monkeypatch.setenv("HF_DATASETS_OFFLINE", "1")
    folder = tmp_path / "folder"
    folder.mkdir()
    write_rows(folder / "train.jsonl", ROWS)
    write_rows(folder / "test.jsonl", ROWS[:1])
    gsm = gym(source=str(folder), config="")
    assert [t.data["answer"] for t in gsm.tasks("train")] == ["7", "1,600"]
    assert len(gsm.tasks("heldout")) == 1
    with pytest.raises(ValueError, match=r"source = '.*nowhere'.*cannot be loaded.*train_file and heldout_file"):
        gym(source=str(tmp_path / "nowhere"), config="").tasks("train")


def test_the_same_question_in_other_dress_is_the_same_problem(tmp_path: Path) -> None:
    dressed = {"question": "ann has 3 pens,  and buys 4: how many", "answer": "#### 7"}
    with pytest.raises(ValueError, match=r"'train/0' and held-out task 'heldout/0' are the same problem"):
        check_disjoint(local(tmp_path, ROWS, [dressed]))
    check_disjoint(local(tmp_path, ROWS, [{"question": "Ann has 3.5 pens and buys 4. How many?", "answer": "#### 7"}]))


@pytest.mark.parametrize(
    "response",
    [
        "#### 18",
        "####18",
        "so\n#### $18.00",
        "#### 18 dollars",
        "#### 18.",
        "**#### 18**",
        "\\boxed{18}",
        "$\\boxed{\\$18}$",
        "\\boxed{18\\text{ dollars}}",
        "#### Step 1\n9 * 2 = 18\n#### 18",
        "\\boxed{18}\n#### 18.0",
        "She makes 9 * 2 = $18 every day.",
        "She makes $18.",
        "18",
    ],
)
def test_final_answers_that_are_right(response: str) -> None:
    assert value(response) == 1.0


@pytest.mark.parametrize(
    "response",
    [
        "#### 17.999",
        "#### -18",
        "18\n#### 19",
        "\\boxed{19} so 18",
        "#### 18\n#### 19",
        "#### 19\n#### 18",
        "\\boxed{17}\n#### 18",
        "18 or 19",
        "9 - 18 = -18",
    ],
)
def test_final_answers_that_are_wrong_or_conflict(response: str) -> None:
    assert value(response) == 0.0


@pytest.mark.parametrize("response", ["#### <number>", "#### 18 or 19", "18 ####", "\\boxed{9 \\cdot 2}", "\\boxed{}"])
def test_a_marker_without_one_number_is_unreadable(response: str) -> None:
    assert gym().score(task(), response).status is Status.INVALID_ANSWER


@pytest.mark.parametrize("response", ["#### 36/2", "\\boxed{36/2}", "It is 36/2", "#### 18/1", "#### $36/2 dollars"])
def test_a_division_left_to_the_reader_is_refused(response: str) -> None:
    score = gym().score(task(), response)
    assert score.value == 0.0 and "unevaluated" in score.flags
    assert gym().score(task("0.75"), "#### 3/4").value == gym().score(task("0.75"), "#### 6/8").value == 1.0
    assert gym().score(task("18"), "36/2 is 18\n#### 18 km/h").value == 1.0


@pytest.mark.parametrize(
    "response", ["#### 18%", "\\boxed{18\\%}", "#### 18 percent", "It is 18 %.", "\\boxed{18\\%} or 0.18."]
)
def test_percent_is_the_bare_number_only_where_the_question_asks_for_it(response: str) -> None:
    asked = Task(id="t", prompt=(), data={"answer": "18", "question": "What percent of the pens are red?"})
    assert gym().score(asked, response).value == gym().score(asked, "#### 18").value == 1.0
    assert gym().score(task(), response).value == 0.0
    assert gym().score(task("0.18"), response).value == 1.0


DRESSED = [
    "#### 2,450",
    "#### 2450 euros",
    "\\boxed{2{,}450}",
    "\\boxed{2\\,450}",
    "#### 2\u202f450",
    "\\boxed{y = 2450}",
    "\\boxed{n = 49 \\cdot 50 = 2450}",
    "\\boxed{\\text{Total} = 2450}",
    "\\boxed{2450 \\text{ pages}}",
    "\\boxed{2450\\ \\mathrm{km/h}}",
    "\\boxed{2450 \\text{ pages per week}}",
    "\\boxed{2450 \\text{ times as many}}",
    "\\boxed{2450 \\text{ cm}^2}",
    "\\boxed{2450\\text{ sq. in}}",
    "#### 2450 sq. in",
    "That makes 2450 cm^2.",
    "#### 2450 times a day",
    "#### 2450 pens and pencils",
    "\\boxed{\\text{2450 more pens}}",
    "\\boxed{\\mathbf{2450}}",
    "#### \\boxed{2450}",
    "#### <2450>",
    "#### \u20b92450",
    "#### 2450 \u20ac",
    "#### \u00a32,450",
    "#### $2,450.00",
    "#### 'Answer: 2450'",
    "\\boxed{\\$2450}",
    "\\boxed{2450^\\circ}",
    "\ufeff#### 2450\r\n",
    "#### 2450\u2028I checked 1 thing twice.",
    "<think>#### 2449</think>\n#### 2450",
    "<think>\\boxed{2449}?</think> So 2450.",
    "It is 49 times 50, that is 2450.",
    "He wanted 50 pens or so. All in all it is 2450.",
    "\\boxed{2450 \\frac{\\text{km}}{\\text{h}}}",
    "#### **2450** pages",
    "#### $2,450 per week",
    "#### $2450 profit",
    "#### \u20ac2450 a day",
    "#### [2450]",
    "#### 2450 dollars and 0 cents",
    "####\n2450",
    "####  \n2450 pages\nThat is all.",
    "The answer is **2450** pages.",
]


@pytest.mark.parametrize("response", DRESSED)
def test_a_number_in_any_dress_is_read(response: str) -> None:
    assert gym().score(task("2450"), response).value == 1.0
    assert gym().score(task("2,450"), response).value == 1.0
    assert not gym().score(task("2449"), response).value


@pytest.mark.parametrize(
    "response",
    [
        "#### 24 hundred",
        "#### **24** hundred",
        "#### $24 dozen",
        "#### [23, 24]",
        "####\n\n24",
        "#### 0 dollars and 24 cents",
        "#### 24 dozen",
        "#### 24 tens",
        "\\boxed{24 \\text{ thousand}}",
        "\\boxed{24 \\text{ sevenths}}",
        "#### 24 and a half",
        "#### 24x",
        "#### 24 x",
        "#### 24 pi",
        "#### 24xy",
        "#### 24_5",
        "#### 24 or more",
        "#### maybe 24",
        "#### not 24",
        "#### 24 or 25",
        "#### 23, 24",
        "#### <24> <25>",
        "#### 24:00",
        "#### 24^1",
        "#### 2.4e1",
        "\\boxed{12 \\cdot 2}",
        "\\boxed{x + 24}",
        "\\boxed{2x = 24}",
        "\\boxed{23 = 24}",
        "\\boxed{\\frac{48}{2}}",
        "<think>so #### 24",
        "<think>so \\boxed{24}",
        "<think>24</think>",
        "#### 23\nNo, one more.\n#### 24",
        "\\boxed{23} no \\boxed{24}",
        "It is 23 or 24",
        "22\n23\n24",
        "22 23 24",
        "22; 24",
        "One of 22, 23, 24",
        "It is 24 hundred",
        "It is 24 tens",
        "It is 24 and a half",
        "It is 24 thirds",
        "It is about 24 million",
    ],
)
def test_what_makes_another_number_or_none_of_it_is_refused(response: str) -> None:
    score = gym().score(task("24"), response)
    assert not score.value and not score.status.is_masked


def test_a_scale_behind_a_number_counts() -> None:
    assert gym().score(task("2400"), "#### 24 hundred").value == 1.0
    assert gym().score(task("24000000"), "It is 24 million").value == 1.0
    assert gym().score(task("288"), "#### 24 dozen").value == 1.0


def test_a_final_box_that_is_never_closed_is_no_answer() -> None:
    assert gym().score(task("24"), "\\boxed{24} and then \\boxed{24").status is Status.NO_ANSWER
    assert gym().score(task("24"), "so \\boxed{24").status is Status.NO_ANSWER
    assert gym().score(task("24"), "so \\boxed{24}").value == 1.0


def test_thoughts_without_an_end_are_no_answer() -> None:
    assert gym().score(task("24"), "<think>so #### 24").status is Status.NO_ANSWER


def test_no_number_is_no_answer_and_bombs_are_refused() -> None:
    assert gym().score(task(), "none").status is Status.NO_ANSWER
    assert gym().score(task(), "9" * 10_000).status is Status.TOO_COMPLEX
    assert gym().score(task(), "x" * 200_001).status is Status.TOO_COMPLEX
    assert gym().score(task("many"), "18").status is Status.BAD_TASK


@pytest.mark.parametrize(
    ("text", "number"),
    [
        ("1,234,567", 1234567),
        ("$1,234.50.", Fraction(2469, 2)),
        ("-$5", -5),
        ("$-5", -5),
        ("\u22125", -5),
        (".5", Fraction(1, 2)),
        ("3/4", Fraction(3, 4)),
        ("1\\,000", 1000),
        ("3/0", None),
        ("1,23", None),
        ("1e5", None),
        ("2^3", None),
        ("--5", None),
        ("\u0661\u0668", None),
        ("\uff11\uff18", 18),
        ("18个", 18),
        ("18 яблок", 18),
        ("18元。", 18),
        ("18 \U0001f60a", 18),
        ("18万", None),
        ("18 тысяч", None),
        ("18或19", None),
        ("18 или 19", None),
        ("9" * 41, None),
    ],
)
def test_numbers_by_hand(text: str, number: Fraction | int | None) -> None:
    assert parse_number(text) == number


@settings(deadline=None)
@given(st.integers(-(10**12), 10**12))
def test_every_way_to_write_an_integer_is_read(number: int) -> None:
    for text in (f"{number}", f"{number:,}", f"{number}.00", f"{number:,}.", f"{number} apples", f"{2 * number}/2"):
        assert parse_number(text) == number, text


@settings(deadline=None)
@given(st.text(alphabet=st.sampled_from(list("0123456789,.-/$%# \n\\boxed{}ax\u2212\ud800")), max_size=60))
def test_any_string_gets_a_score(response: str) -> None:
    assert not gym().score(task(), response).status.is_masked


def test_odd_long_strings_are_scored_in_linear_time() -> None:
    for piece in ("#", "\\boxed{", "1,111", "{", "}", "1/", ".", "-", " ", "####\n", "a "):
        assert not gym().score(task(), (piece * 200_000)[:200_000]).status.is_masked


@pytest.mark.parametrize("mark", ["#### 17", r"\boxed{17}", "The answer is 17."])
def test_a_guess_of_another_number_behind_the_answer_makes_it_none(mark: str) -> None:
    for guess in ("\n\nOr maybe 18.", "\nPerhaps 18", " Or 18?", "\nOr $3 \\times 6$.", "\nOr 18%."):
        assert not value(mark + guess, "17") and not value(mark + guess, "18")
    assert value(f"{mark}\n\nOr maybe 17.0", "17") == value(f"{mark}\n\nWe checked it.\n#### 17", "17") == 1.0


@pytest.mark.parametrize(
    ("response", "number"),
    [
        ("#### 18\nAlternatively, $3 \\times 6$.", "18"), ("#### 2 hours\nOr 120 minutes.", "2"),
        ("#### 18\nOr x.", "18"), (r"\boxed{0.5} or 50%.", "0.5"),
        ("#### 1500000\nOr 1.5 million.", "1500000"), ("It is 1500000. Or 1.5 million.", "1500000"),
    ],
)  # fmt: skip
def test_the_same_number_in_other_words_behind_the_answer_leaves_it(response: str, number: str) -> None:
    assert value(response, number) == 1.0


def test_an_unmarked_answer_may_stand_behind_its_question() -> None:
    assert value("What is 2 + 16? 18.", "18") == 1.0
    assert value("Is it 17? Or 18?", "18") == value("Is it 17? Maybe 18.", "18") == 0.0


def test_a_marked_number_may_be_said_in_words() -> None:
    for said, number in (("seventeen", "17"), ("three apples", "3"), ("twelve dozen", "144"), ("two thirds", "2/3")):
        assert value(f"#### {said}", number) == 1.0
    for said, number in (("twelve dozen", "12"), ("five sixths", "5"), ("six or seven", "6")):
        assert value(f"#### {said}", number) != 1.0


@pytest.mark.parametrize(
    "response",
    [
        *(r"-\boxed{18}", r"so -\boxed{18}", r"$x = -\boxed{18}$", r"It is \(-\boxed{18}\).", "x = \u2212\\boxed{18}"),
        *(r"Negative \boxed{18}", r"It is minus $\boxed{18}$", r"= - \boxed{18}", "is \u2013\\boxed{18}"),
        *(r"\boxed{18} thousand", r"$\boxed{18}$ million", r"\boxed{18}\text{ dozen}", r"\boxed{18} and a half"),
        *(r"\boxed{18}\%", r"\boxed{18} \times 10^3", r"\boxed{18}万"),
        *(r"not \boxed{18}", r"The answer isn't $\boxed{18}$.", r"x \ne \boxed{18}", r"It is 18, not \boxed{18}"),
        *("It is not 18.", "It isn't 18", "It is - 18.", "It is minus 18", "Negative 18", "x = \u221218"),
        *("It is 18k.", "That is 18^2", "$18^{2}$", "2 ** 18 is 18**2", "18K", "18\u00bd", "$18!$"),
        *(r"\boxed{18}.5", r"$\boxed{18}$.5", r"\boxed{18}^2", r"$\boxed{18}^{2}$", r"$\boxed{18}!$", r"\boxed{18}/5"),
        *(r"\boxed{18}\frac{1}{2}", r"\boxed{18},000", r"\boxed{18}5", r"less than \boxed{18}", "It is less than 18"),
        *("not #### 18", "It isn't **#### 18**", r"other than \boxed{18}"),
    ],
)
def test_a_number_with_a_sign_a_scale_or_a_denial_beside_it_is_not_that_number(response: str) -> None:
    score = gym().score(task(), response)
    assert not score.value and not score.status.is_masked


@pytest.mark.parametrize(
    ("number", "response"),
    [
        *(("-18", text) for text in (r"so -\boxed{18}", r"$-\boxed{18}$", r"minus \boxed{18}", "x = \u221218")),
        ("-18", "x = - 18"),
        *(("18000", text) for text in (r"\boxed{18} thousand", r"$\boxed{18}$ thousand dollars")),
        *(("18", text) for text in (r"20 - 2 = \boxed{18}", r"20 -\boxed{18} = 2", "Answer:\n- \\boxed{18}", "- 18")),
        *(("18", text) for text in (r"Not 17 but \boxed{18}", r"It is \boxed{18}, not \boxed{17}.", "Not 17 but 18")),
        *(("18", text) for text in ("It takes 18h.", "It is 18m", "It is 18x as much", "18^\\circ", "**18**", "18!")),
        *(("18", text) for text in ("\\boxed{\n18\n}", r"\boxed{{{{{{18}}}}}}", "#### 18\n##### Checked")),
        ("18", r"I put it in \boxed{} as asked: \boxed{18}"),
        *(("18", text) for text in (r"\boxed{18}. 5 remain.", r"\boxed{18}, 5 more", r"\boxed{18}!", r"$\boxed{18}$!")),
        *(("18", text) for text in (r"\boxed{18} m^2", r"\boxed{18}\text{ cm}^2", r"\boxed{18 \text{ cm}}^2")),
        *(("18", text) for text in (r"\boxed{18}/day", r"\boxed{18}^{th}", r"$\boxed{18}^\circ$", r"\boxed{18}$^2$")),
        *(("18", text) for text in (r"no more than \boxed{18}", r"More than \boxed{17}: \boxed{18}")),
        *(("18", text) for text in ("Why not?\n#### 18", "More are up than not\n#### 18", "up than not\n\\boxed{18}")),
        *(("18.5", text) for text in (r"\boxed{18}.5", r"\(\boxed{18}\).5", r"\boxed{18}\frac12", "\\boxed{18}\u00bd")),
        *(("18000", text) for text in (r"$\boxed{18}$,000", r"\boxed{18},000 dollars")),
    ],
)
def test_what_touches_a_number_is_read_with_it(number: str, response: str) -> None:
    assert value(response, number) == 1.0
