"""Puzzles whose own answer is wrong are not asked; right answers in another form, or other right ones, are paid."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

import pytest

from gyms.api import Services, Split, Status, Task
from gyms.logic.gym import Logic, LogicSettings, gym_of_dataset, is_fit
from gyms.response import Response


@pytest.fixture(scope="module")
def gym() -> Logic:
    return Logic(LogicSettings(datasets=("aiw",)), Services())


def entry(name: str, answer: str | None, question: str = "Well?", **metadata: Any) -> dict[str, Any]:
    return {"question": question, "answer": answer, "metadata": {"source_dataset": name, **metadata}}


def value(gym: Logic, made: Mapping[str, Any], answer: str) -> float:
    score = gym.score(Task(id="t", prompt=(), data=made), f"<answer>{answer}</answer>")
    assert not score.status.is_masked, score.detail
    return score.value or 0.0


def family(relationship: str) -> dict[str, Any]:
    return entry("family_relationships", relationship, person1="Anna", person2="Mia")


def mahjong(answer: str, *, hand: str, new: str) -> dict[str, Any]:
    """The last round adds a card to a hand and takes its first one away."""
    return entry("mahjong_puzzle", answer, rounds=[{"add": new, "remove": hand[0], "cards": hand[1:] + new}])


def syllogism(answer: str, *statements: str) -> dict[str, Any]:
    return entry("syllogism", answer, **dict(zip(("premise1", "premise2", "conclusion"), statements, strict=True)))


def cube(answer: str, rotations: Sequence[str], target: str) -> dict[str, Any]:
    sides = {side: side.upper() for side in ("top", "right", "front", "left", "back", "bottom")}
    return entry("color_cube_rotation", answer, initial_state=sides, rotations=rotations, target_side=target)


BARBARA = ("All ants are bees", "All bees are cats", "All ants are cats")


@pytest.mark.parametrize(
    ("made", "fits"),
    [
        (family("son"), True),
        (family("mother-in-law"), False),
        (family("nephew"), False),
        (mahjong("Pass", hand="ABDFHJLNPRTVX", new="Y"), True),
        (mahjong("Pass", hand="ABDFHJLNPRTVX", new="C"), False),
        (mahjong("Chi", hand="ABDFHJLNPRTVX", new="C"), True),
        (mahjong("Chi", hand="ABCCHJLNPRTVX", new="C"), False),
        (mahjong("Peng", hand="ABCCHJLNPRTVX", new="C"), True),
        (mahjong("Peng", hand="CBDFHJLNPRTVX", new="C"), False),
        (syllogism("Yes", *BARBARA), True),
        (syllogism("No", *BARBARA), False),
        (syllogism("Yes", "All ants are bees", "Some bees are not cats", "Some ants are not cats"), False),
        (syllogism("No", "All ants are bees", "Some bees are not cats", "Some ants are not cats"), True),
        (syllogism("Yes", "All ants are bees", "No dogs are cats", "Some bees are ants"), True),
        (syllogism("Yes", "All ants are bees", "No bees are cats", "Some bees are ants"), False),
        (syllogism("Yes", "Some ants are bees", "No bees are cats", "Some bees are ants"), True),
        (cube("RIGHT", ["right"], "top"), True),
        (cube("BOTTOM", ["right"], "right"), True),
        (cube("TOP", ["right"], "right"), False),
        (cube("BOTTOM", ["bottom"], "top"), True),
        (cube("BACK", ["bottom"], "front"), False),
        (cube("LEFT", ["right", "bottom"], "top"), True),
        (entry("power_function", "27.04", base=-5.2, exponent=2), False),
        (entry("power_function", "27.04", base=5.2, exponent=2), True),
        (entry("power_function", "-140.608", base=-5.2, exponent=3), True),
        (entry("simple_equations", "83", equation="0 = 0", variable="i"), False),
        (entry("simple_equations", "3", equation="152 - 5*n = 137", variable="n"), True),
        (entry("syllogism", "Yes"), True),
    ],
)
def test_a_puzzle_whose_own_answer_is_wrong_or_not_the_only_one_is_not_asked(
    gym: Logic, made: dict[str, Any], fits: bool
) -> None:
    stored = json.loads(json.dumps(made))
    assert (is_fit(made), is_fit(stored)) == (fits, fits)
    status = gym.score(Task(id="t", prompt=(), data=stored), f"<answer>{made['answer']}</answer>").status
    assert status is (Status.OK if fits else Status.BAD_TASK)


def test_a_syllogism_of_four_terms_has_no_verdict_of_ours() -> None:
    assert is_fit(syllogism("No", "All ants are bees", "All cats are dogs", "All ants are dogs"))


ROUNDED = "Solve this to a maximum of 12 significant digits.\n7.027/3.377/4.547-8.531/(1.247-0.731) = ?"
PARTS = {"numerator": 2, "denominator": 4, "simplified_numerator": 1, "simplified_denominator": 2}
HALF = entry("fraction_simplification", "1/2", **PARTS)
GRID = "4.5 4.5\n4.75 5.0"


@pytest.mark.parametrize(
    ("made", "answer", "worth"),
    [
        (entry("pool_matrix", GRID), "4.50 4.50\n4.75 5.00", 1.0),
        (entry("pool_matrix", GRID), "4.5 4.5\n4.75 5", 1.0),
        (entry("pool_matrix", GRID), "4.5 4.5 4.75 5.0", 0.0),
        (entry("pool_matrix", GRID), "4.5 4.5\n4.75 5.01", 0.0),
        (entry("pool_matrix", GRID), f"```\n{GRID}\n```", 1.0),
        (entry("pool_matrix", GRID), f"```text\n{GRID}\n```", 1.0),
        (entry("pool_matrix", GRID), f"```\n1 2\n```\n```\n{GRID}\n```", 0.0),
        (entry("aiw", "7"), "```\n7\n```", 1.0),
        (HALF, r"\(\frac{1}{2}\)", 1.0),
        (HALF, r"\[\boxed{\frac{1}{2}}\]", 1.0),
        (HALF, r"$\boxed{1/2}$", 1.0),
        (HALF, r"\boxed{1/2} or \boxed{1/3}", 0.0),
        (HALF, r"\(1/2\) or \(1/3\)", 0.0),
        (entry("aiw", "7"), r"\(\boxed{7}\)", 1.0),
        (entry("aiw", "7"), r"**\(7\)**", 1.0),
        (entry("number_format", "995834358.785"), "9.958343587850000e+08", 1.0),
        (entry("number_format", "995834358.785"), "995,834,358.785", 1.0),
        (entry("number_format", "947865419.1689999"), "947865419.169000", 1.0),
        (entry("number_format", "995834358.785"), "995834358.786", 0.0),
        (entry("number_format", "995834358.785"), "1e99999999", 0.0),
        (entry("decimal_arithmetic", "-16.0753163141", ROUNDED), "-16.0753163142", 1.0),
        (entry("decimal_arithmetic", "-16.0753163141", ROUNDED), "-16.0753163", 0.0),
        (entry("decimal_arithmetic", "-16.0753163141", ROUNDED), "16.0753163142", 0.0),
    ],
)
def test_a_number_counts_in_whatever_form_it_is_written(
    gym: Logic, made: dict[str, Any], answer: str, worth: float
) -> None:
    assert value(gym, made, answer) == worth


def test_a_decimal_that_its_own_answer_has_rounded_too_often_is_not_asked() -> None:
    assert is_fit(entry("decimal_arithmetic", "-16.0753163141", ROUNDED))
    assert not is_fit(entry("decimal_arithmetic", "-16.0753163", ROUNDED))


HANOI = {"num_disks": 2, "num_pegs": 3, "start_peg": 1, "target_peg": 3, "solution_length": 3}
HANOI_GOLD = "Move disk 1 from Peg 1 to Peg 2\nMove disk 2 from Peg 1 to Peg 3\nMove disk 1 from Peg 2 to Peg 3"
SURVO = {"puzzle": [[0, 0, 3], [0, 0, 3], [3, 3, 6]], "candidate_numbers": [1, 2, 1, 2]}
BOXES = {"initial_state": {"0.5_0.5": ["box_red"], "0.5_1.5": ["target_red"], "0.5_2.5": []}}
TO_THE_RIGHT = '{"Agent[0.5, 0.5]": "move(box_red, square[0.5, 1.5])"}'
ON_TARGET = '{"Agent[0.5, 1.5]": "move(box_red, target_red)"}'
BOARD = [".XX..", "XOO..", ".XX..", "...X.", "..XO."]
GO = {"board": [list(line) for line in BOARD]}


@pytest.mark.parametrize(
    ("made", "answer", "worth"),
    [
        (entry("tower_of_hanoi", HANOI_GOLD, **HANOI), HANOI_GOLD, 1.0),
        (
            entry("tower_of_hanoi", HANOI_GOLD, **HANOI),
            f"Move disk 1 from Peg 1 to Peg 3\nMove disk 1 from Peg 3 to Peg 1\n{HANOI_GOLD}",
            1.0,
        ),
        (entry("tower_of_hanoi", HANOI_GOLD, **HANOI), "Move disk 2 from Peg 1 to Peg 3", 0.0),
        (
            entry("tower_of_hanoi", HANOI_GOLD, **HANOI),
            "Move disk 1 from Peg 1 to Peg 3\nMove disk 2 from Peg 1 to Peg 3",
            0.0,
        ),
        (entry("tower_of_hanoi", HANOI_GOLD, **HANOI), HANOI_GOLD.partition("\n")[0], 0.0),
        (entry("tower_of_hanoi", HANOI_GOLD, **HANOI), HANOI_GOLD.replace("Peg 2", "Peg 4"), 0.0),
        (entry("survo", "1 2 3\n2 1 3\n3 3 6", **SURVO), "2 1 3\n1 2 3\n3 3 6", 1.0),
        (entry("survo", "1 2 3\n2 1 3\n3 3 6", **SURVO), "0 3 3\n3 0 3\n3 3 6", 0.0),
        (entry("survo", "1 2 3\n2 1 3\n3 3 6", **SURVO), "1 2 3\n2 1 3\n3 3 7", 0.0),
        (entry("survo", "1 2 3\n2 1 3\n3 3 6", **SURVO), "1 2 3\n2 1 3", 0.0),
        (
            entry("boxnet", None, **BOXES),
            f"[{TO_THE_RIGHT}, {ON_TARGET}]",
            1.0,
        ),
        (
            entry("boxnet", None, **BOXES),
            f"```json\n[{TO_THE_RIGHT},\n{ON_TARGET}]\n```",
            1.0,
        ),
        (
            entry("boxnet", None, **BOXES),
            f"[{ON_TARGET}, {TO_THE_RIGHT}, {ON_TARGET}]",
            0.0,
        ),
        (entry("boxnet", None, **BOXES), '[{"Agent[0.5, 0.5]": "move(box_red, target_red)"}]', 0.0),
        (entry("boxnet", None, **BOXES), '[{"Agent[0.5, 0.5]": "move(box_red, square[0.5, 2.5])"}]', 0.0),
        (entry("boxnet", None, **BOXES), '[{"Agent[0.5, 0.5]": "move(box_red, square[1.5, 0.5])"}]', 0.0),
        (entry("boxnet", None, **BOXES), '[["Agent[0.5, 0.5]"]]', 0.0),
        (entry("tsumego", "D4", **GO), "d4", 1.0),
        (entry("tsumego", "D4", **GO), "E1", 0.0),
        (entry("tsumego", "D4", **GO), "A5", 0.0),
        (entry("tsumego", "D4", **GO), "B5", 0.0),
        (entry("tsumego", "D4", **GO), "Z9", 0.0),
    ],
)
def test_what_a_board_asks_for_is_right_and_nothing_else(
    gym: Logic, made: dict[str, Any], answer: str, worth: float
) -> None:
    assert value(gym, made, answer) == worth


def test_a_go_puzzle_is_asked_where_no_move_captures_more_than_its_own() -> None:
    assert is_fit(entry("tsumego", "D4", **GO))
    assert not is_fit(entry("tsumego", "E1", **GO))
    assert not is_fit(entry("tsumego", "A1", board=[list("...")] * 3))


def test_an_answer_is_read_as_the_host_read_the_response_and_without_what_nobody_sees(gym: Logic) -> None:
    made = entry("aiw", "7")
    for response in (
        Response("<answer>7</answer> (no <reasoning> needed)", "<think>7?</think><answer>7</answer>"),
        "<answer>\u200b7\u200b</answer>",
        "So:\u2028\u20607",
    ):
        assert gym.score(Task(id="t", prompt=(), data=made), response).value == 1.0, response
    assert gym.score(Task(id="t", prompt=(), data=made), Response(None, "<think>7")).status is Status.NO_ANSWER


def test_a_task_does_not_depend_on_which_were_made_before_it() -> None:
    args = {"decimal_chain_sum": {"min_digits": 14, "max_digits": 14}}
    settings = LogicSettings(datasets=("decimal_arithmetic", "decimal_chain_sum"), dataset_args=args)
    one, other = (Logic(settings, Services()).tasks("train") for _ in range(2))
    alone = one[1]
    assert (other[0].id, other[1]) == ("decimal_arithmetic/train/0", alone)


@pytest.mark.parametrize("split", ["train", "heldout"])
def test_no_problem_of_a_small_data_set_is_asked_twice(split: Split) -> None:
    gym = gym_of_dataset("gsm_symbolic")(LogicSettings(size=60, heldout_size=60), Services())
    questions = {task.data["question"] for task in gym.tasks(split)}
    assert len(questions) == 60


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"datasets": ("aiw", "dice", "aiw")}, "datasets names 'aiw' twice"),
        ({"datasets": ("aiw",), "dataset_args": {"dice": {"num_dice": 4}}}, "dataset_args.dice: .*; asked: aiw"),
    ],
)
def test_a_setting_that_nothing_would_use_is_refused(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Logic(LogicSettings(**settings), Services())
