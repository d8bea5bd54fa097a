"""Puzzles of reasoning-gym: the right answer is paid, in any form that is right; junk, echoes and lists are not."""

from __future__ import annotations

import itertools
import json
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from gyms.api import Score, Services, Status, Task
from gyms.load import resolve
from gyms.logic.datasets import EXCLUDED, LEAKY, SLOW
from gyms.logic.gym import Logic, LogicSettings, answer_in, default_mixture, gym_of_dataset, is_fit, library
from gyms.logic.verify import SHAPES, is_same
from gyms.testing import check_gym
from tests.growth import grows_linearly

QUICK = (
    *("ab", "advanced_geometry", "basic_arithmetic", "boxnet", "calendar_arithmetic", "chain_sum"),
    *("coin_flip", "complex_arithmetic", "course_schedule", "cryptarithm", "dice", "family_relationships"),
    *("fraction_simplification", "graph_color", "gsm_symbolic", "kakurasu", "knights_knaves", "mini_sudoku"),
    *("n_queens", "number_sorting", "palindrome_generation", "power_function", "prime_factorization"),
    *("propositional_logic", "rush_hour", "shortest_path", "string_manipulation", "survo", "syllogism"),
    *("tower_of_hanoi", "tsumego"),
)
"""Data sets whose entries are made in milliseconds; benchmarks aside, all of them were tried (docs/gyms.md)."""

JUNK = (
    "",
    "I don't know",
    "True False Yes No",
    " ".join(map(str, range(100))),
    "None",
    "[]",
    "{}",
    '[{"a": 1}]',
    "[[1]]",
    "<answer></answer>",
    "<answer>" * 50,
    "nan",
    "1e999999999",
    "9**9**9**9",
    "__import__('os').system('true')",
    "(((((" * 1000,
    "\ud800",
)


@pytest.fixture(scope="module")
def gym() -> Logic:
    return Logic(LogicSettings(), Services())


def entries(name: str, count: int = 3) -> list[dict[str, Any]]:
    dataset = library().create_dataset(name, seed=11, size=50)
    drawn = (dict(dataset[i]) for i in range(50))
    made = ({**entry, "metadata": {**entry["metadata"], "source_dataset": name}} for entry in drawn)
    return list(itertools.islice(filter(is_fit, made), count))


def score(gym: Logic, entry: Mapping[str, Any], response: str) -> Score:
    return gym.score(Task(id="t", prompt=(), data=entry), response)


def entry(name: str, answer: str | None, question: str = "Well?", **metadata: Any) -> dict[str, Any]:
    return {"question": question, "answer": answer, "metadata": {"source_dataset": name, **metadata}}


@pytest.mark.parametrize("name", QUICK)
def test_the_right_answer_scores_one_and_junk_nothing(gym: Logic, name: str) -> None:
    for made in entries(name):
        stored = json.loads(json.dumps(made, default=str))
        if made["answer"] is not None:
            for answer in (made["answer"], f"<think>hm</think> So: <answer>{made['answer']}</answer>"):
                assert score(gym, made, answer).value == 1.0
                assert score(gym, stored, answer).value == 1.0
        hidden = "word " * 3000 + str(made["answer"]) + " word" * 3000
        for response in (*JUNK, made["question"], f"<answer>{made['question']}</answer>", hidden):
            result = score(gym, made, response)
            assert not result.status.is_masked, result
            assert not result.value, (name, response[:60])


@pytest.mark.parametrize("name", ["game_of_life_halting", "knights_knaves", "prime_factorization", "gsm_symbolic"])
def test_datasets_that_pay_junk_by_themselves_do_not_here(gym: Logic, name: str) -> None:
    puzzles = {
        "game_of_life_halting": entry(name, "True"),
        "knights_knaves": entry(name, "Zoey is a knight, and Joe is a knave."),
        "prime_factorization": entry(name, "2 \u00d7 2 \u00d7 7"),
        "gsm_symbolic": entry(name, "20"),
    }
    made = puzzles[name]
    assert score(gym, made, made["answer"]).value == 1.0
    for junk in ("I don't know", "Well?", f"{made['answer']} or not", f"not {made['answer']}", "x" * 10_000):
        assert not score(gym, made, junk).value


@pytest.mark.parametrize(
    ("made", "answer", "value"),
    [
        (entry("prime_factorization", "2 \u00d7 2 \u00d7 7"), "7 x 2 x 2", 1.0),
        (entry("prime_factorization", "2 \u00d7 2 \u00d7 7"), "4 x 7", 0.0),
        (entry("puzzle24", "4*8 - 6 - 2", numbers=[2, 4, 6, 8]), "8*4 - (2+6)", 1.0),
        (entry("puzzle24", "4*8 - 6 - 2", numbers=[2, 4, 6, 8]), "6*4*1*1", 0.0),
        (entry("puzzle24", "4*8 - 6 - 2", numbers=[2, 4, 6, 8]), "24", 0.0),
        (entry("countdown", "3*4", numbers=[3, 4], target=12), "4*3 = 12", 1.0),
        (entry("countdown", "3*4", numbers=[3, 4], target=12), "4**3", 0.0),
        (entry("countdown", "3*4", numbers=[3, 4], target=12), "12", 0.0),
        (entry("knights_knaves", "Zoey is a knight, and Joe is a knave."), "joe is a knave and zoey is a knight", 1.0),
        (entry("knights_knaves", "Zoey is a knight, and Joe is a knave."), "Zoey is a knight, Zoey is a knave", 0.0),
        (entry("simple_integration", "x**2 + C", variable="x", integrand="2*x"), "x*x + 5", 1.0),
        (entry("simple_integration", "x**2 + C", variable="x", integrand="2*x"), "Integral(2*x, x)", 0.0),
        (entry("simple_integration", "x**2 + C", variable="x", integrand="2*x"), "x**9**9**9", 0.0),
        (entry("simple_integration", "x**2 + C", variable="x", integrand="2*x"), "x**3", 0.0),
        (entry("coin_flip", "0.001953125"), "0", 0.0),
        (entry("coin_flip", "0.001953125"), "1/512", 1.0),
        (entry("coin_flip", "3.051757812e-05"), "3.051757812e-05", 1.0),
        (entry("coin_flip", "3.051757812e-05"), "1/32768", 1.0),
        (entry("coin_flip", "3.051757812e-05"), "0.00003051757812", 1.0),
        (entry("coin_flip", "3.051757812e-05"), "3.2e-05", 0.0),
        (entry("codeio", '{"n": 1}'), '{"n": 1' + "0" * 400 + "}", 0.0),
        (entry("codeio", '{"n": 1' + "0" * 400 + "}"), '{"n": 1' + "0" * 400 + "}", 1.0),
        (entry("codeio", '{"n": 0.5}'), '{"n": 1' + "0" * 400 + "}", 0.0),
        (entry("codeio", '{"n": 1}'), '{"n": 1e999}', 0.0),
        (entry("codeio", '"268/3"'), '"268/3"', 1.0),
        (entry("codeio", '"268/3"'), "268/3", 1.0),
        (entry("codeio", '"((2, 38), 34);"'), '`"((2, 38), 34);"`', 1.0),
        (entry("codeio", '"268/3"'), '"268/30"', 0.0),
        (entry("codeio", '"True"'), "true", 0.0),
        (entry("codeio", "[1, 2.5]"), "[1,2.5000000001]", 1.0),
        (entry("spell_backward", '"so"'), '"so"', 1.0),
        (entry("simple_integration", "x**2 + C", variable="x", integrand="2*x"), "exp(exp(exp(exp(x))))", 0.0),
        (entry("number_sorting", "['-1.5', '2.0']"), "[-1.5, 2]", 1.0),
        (entry("number_sorting", "['-1.5', '2.0']"), "[-1.0, 2]", 0.0),
        (entry("codeio", '{"root": 20.283685442927837}'), '{"root": 20.2836854429}', 1.0),
        (entry("codeio", '{"root": 20.283685442927837}'), '{"root": NaN}', 0.0),
        (entry("aiw", "7"), "**7**", 1.0),
        (entry("aiw", "7"), "7.0", 1.0),
        (entry("aiw", "7"), "7 8", 0.0),
    ],
)
def test_answers_are_judged_by_what_they_say(gym: Logic, made: dict[str, Any], answer: str, value: float) -> None:
    assert (score(gym, made, f"<answer>{answer}</answer>").value or 0.0) == value


@pytest.mark.parametrize(
    "broken",
    [
        {},
        {"question": "?", "answer": "1"},
        entry("no_such_dataset", "1"),
        entry("aiw", None),
        entry("aiw", ""),
        entry("aiw", ["1"]),  # type: ignore[arg-type]
        {"question": "?", "answer": "1", "metadata": {"source_dataset": 3}},
        entry("kakurasu", "1 0\n0 1"),
        entry("simple_integration", "x**3 + C", variable="x", integrand="2*x"),
    ],
)
def test_a_broken_entry_is_a_bad_task(gym: Logic, broken: dict[str, Any]) -> None:
    assert score(gym, broken, "1").status is Status.BAD_TASK


@pytest.mark.parametrize(
    ("response", "has_lines", "answer"),
    [
        ("so\n7", False, "7"),
        ("1 2\n3 4", True, "1 2\n3 4"),
        ("The answer is: 7", False, "7"),
        ("<answer>6</answer> no: <answer>7</answer>", False, "7"),
        ("<answer>7</answer> <answer>", False, None),
        ("<think>7", False, None),
        ("<think><answer>7</answer></think>", False, None),
        ("", False, None),
    ],
)
def test_the_last_whole_answer_after_the_thoughts_counts(response: str, has_lines: bool, answer: str | None) -> None:
    assert answer_in(response, has_lines=has_lines) == answer


def test_extraction_is_linear() -> None:
    assert answer_in("<answer>" * 100_000 + "</think>" * 100_000, has_lines=False) is None


def test_equality_forgives_dress_and_nothing_else() -> None:
    assert is_same(" ['a','b'] ", '["a", "b"]') and is_same("1,234", "1234") and is_same("1 2 \n3", "1 2\n3")
    assert not is_same("True", "False", ignore_case=True) and not is_same("", "") and not is_same("7 or 8", "7")
    assert is_same("[ a b ,\n'c' ]", "['a b', 'c']") and is_same("[( 1, 2 ), {x : 3}]", "[(1,2),{'x': 3}]")
    assert not is_same("['a b']", "['ab']") and not is_same("[12]", "[1 2]") and not is_same("[1,\n1 2]", "[1, 12]")


@pytest.mark.parametrize(
    ("answer", "gold", "same"),
    [
        ("12,345.50", "12345.5", True),
        ("-1,234", "-1234", True),
        ("1, 2", "1,2", True),
        ("12", "1, 2", False),
        ("1,2", "12", False),
        ("1,0,0,0", "1000", False),
        ("10,00", "1000", False),
        ("1234", "1, 234", False),
        (",5", "5", False),
    ],
)
def test_commas_group_the_digits_of_a_number_by_threes_or_stand_between_numbers(answer, gold, same) -> None:
    assert is_same(answer, gold) is same


def test_a_single_dataset_keeps_the_contract() -> None:
    name = "reasoning_gym:chain_sum"
    check_gym(resolve(name)(LogicSettings(size=20, heldout_size=10), Services()), max_tasks=10)


def test_tasks_are_pure_and_splits_disjoint_and_prompts_hold_no_metadata() -> None:
    settings = LogicSettings(datasets=("aiw", "dice"), size=40, heldout_size=20)
    one, other = (Logic(settings, Services()) for _ in range(2))
    assert list(one.tasks("train")) == list(other.tasks("train"))[:40]
    questions = [{t.data["question"] for t in one.tasks(split)} for split in ("train", "heldout")]  # type: ignore[arg-type]
    assert not questions[0] & questions[1]
    assert "seed" not in one.tasks("train")[0].prompt[0]["content"]


def test_excluded_datasets_are_refused_with_the_reason() -> None:
    with pytest.raises(ValueError, match="not offered: a mixture of other data sets"):
        gym_of_dataset("composite")
    with pytest.raises(ValueError, match=r"reasoning_gym:nope.*no data set 'nope'"):
        resolve("reasoning_gym:nope")
    tables = (set(EXCLUDED), set(LEAKY), set(SLOW), set(default_mixture()))
    assert sum(map(len, tables)) == len(set().union(*tables)), "a data set is in one table alone"
    assert set().union(*tables) == set(library().DATASETS)


def test_moves_that_almost_have_the_right_form_take_linear_time(gym: Logic) -> None:
    move = "Move disk 1 from Peg 1 to Peg 2"
    moves = "\n".join([move] * 200)
    rules = {"metadata": {"source_dataset": "tower_of_hanoi"}, "question": "?", "answer": None}
    for answer in (f"{moves}\n$", f"${moves}", moves.replace("\n", "\n \n") + "!"):
        assert SHAPES["tower_of_hanoi"].fullmatch(answer) is None
        assert gym.score(Task(id="t", prompt=(), data=rules), f"<answer>{answer}</answer>").value != 1.0
    assert SHAPES["tower_of_hanoi"].fullmatch(moves) is not None

    def score(text: str, head: str, tail: str) -> object:
        return gym.score(Task(id="t", prompt=(), data=rules), f"<answer>{head}{text}{tail}</answer>")

    for head, unit, tail in (("", f"{move}\n", "$"), ("$", f"{move}\n", ""), ("", f"{move}\n \n", "!")):
        assert grows_linearly(lambda text, h=head, t=tail: score(text, h, t), unit, size=2_000), (head, tail)


@pytest.mark.parametrize("name", ["chain_sum", "caesar_cipher", "fraction_simplification", "syllogism"])
def test_a_full_stop_and_capital_tags_do_not_cost_a_right_answer(name: str) -> None:
    gym = resolve("logic")(LogicSettings(datasets=(name,)), Services())
    task = gym.tasks("train")[0]
    answer = task.data["answer"]
    for response in (f"<answer>{answer}.</answer>", f"The answer is {answer}.", f"<Answer>{answer}</Answer>"):
        assert gym.score(task, response).value == 1.0, response
    assert gym.score(task, f"<answer>{answer}...</answer>").value != 1.0


PREMISES = ["(P \u2227 Q)", "(Q \u2192 R)", "\u00acS"]


@pytest.mark.parametrize(
    ("conclusion", "value"),
    [
        ("(P \u2227 R)", 1.0),
        ("(R \u2228 S)", 1.0),
        ("\u00ac(R \u2192 S)", 1.0),
        ("(P \u2227 Q)", 0.0),
        ("P \u2227 Q", 0.0),
        ("((Q \u2227 P))", 0.0),
        ("(\u00acQ \u2228 R)", 0.0),
        ("\u00acS", 0.0),
        ("\u00ac\u00ac\u00acS", 0.0),
        ("(S \u2228 \u00acS)", 0.0),
        ("(P \u2227 S)", 0.0),
    ],
)
def test_a_restated_premise_is_no_conclusion(gym: Logic, conclusion: str, value: float) -> None:
    made = entry("propositional_logic", None, premises=PREMISES, variables=["P", "Q", "R", "S"])
    assert (score(gym, made, f"<answer>{conclusion}</answer>").value or 0.0) == value


def test_a_task_whose_own_answer_is_not_right_is_not_asked() -> None:
    integral = {"variable": "x", "integrand": "x*cos(x)"}
    assert is_fit(entry("intermediate_integration", "x*sin(x) + cos(x) + C", **integral))
    assert not is_fit(entry("intermediate_integration", "Integral(x*cos(x), x) + C", **integral))


def test_a_task_whose_answer_is_given_is_not_asked() -> None:
    question = "Insert by these rules, and give the string.\nThe string: ABBA"
    assert is_fit(entry("string_insertion", "ABCDA", question=question))
    assert not is_fit(entry("string_insertion", "ABBA", question=question))
    gym = gym_of_dataset("string_insertion")(LogicSettings(size=5, heldout_size=5), Services())
    for task in (*gym.tasks("train"), *gym.tasks("heldout")):
        assert task.data["metadata"]["string"] != task.data["answer"]


def test_no_answer_hangs_crashes_or_masks_a_verifier() -> None:
    """In a child with a limit of CPU time: what hangs in C code would hang the tests with it."""
    own = ("boxnet", "jugs", "palindrome_partitioning", "rubiks_cube", "polynomial_equations", "simple_integration")
    names = [*QUICK, *(name for name in own if name not in QUICK)]
    done = subprocess.run(
        [sys.executable, "-m", "tests.unit.gyms.logic.hostile_puzzles", *names],
        capture_output=True,
        text=True,
        cwd=Path(__file__).parents[4],
    )
    assert done.returncode == 0, done.stderr[-2000:]
    assert int(done.stdout) > 1000
