"""Arithmetic: the split never leaks, and only one claimed answer is paid."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gyms.api import Status, Task
from gyms.arithmetic.gym import Arithmetic, score_claim
from gyms.load import load_gym


def gym(**args: Any) -> Arithmetic:
    found = load_gym("sums", "gyms.arithmetic.gym:Arithmetic", args)
    assert isinstance(found, Arithmetic)
    return found


def chat_task(a: int, b: int, answer: int | None = None) -> Task:
    return Task(id="t", prompt=(), data={"operands": (a, b), "answer": str(a + b if answer is None else answer)})


@settings(max_examples=25, deadline=None)
@given(
    low=st.integers(0, 5),
    span=st.integers(1, 9),
    num_operands=st.integers(2, 3),
    fraction=st.floats(0.01, 0.9),
    seed=st.integers(0, 99),
)
def test_both_splits_together_hold_every_ordered_problem_once_and_share_no_unordered_one(
    low: int, span: int, num_operands: int, fraction: float, seed: int
) -> None:
    sums = gym(
        min_operand=low, max_operand=low + span, num_operands=num_operands, heldout_fraction=fraction, split_seed=seed
    )
    train = [task.data["operands"] for task in sums.tasks("train")]
    held = {tuple(sorted(task.data["operands"])) for task in sums.tasks("heldout")}
    assert len(set(train)) == len(train)
    assert not held & {tuple(sorted(operands)) for operands in train}
    num_held_forms = (span + 1) ** num_operands - len(train)
    assert len(held) <= num_held_forms <= 6 * len(held)


def test_every_order_of_a_train_problem_is_a_train_task() -> None:
    train = {task.data["operands"] for task in gym(max_operand=20).tasks("train")}
    assert all((b, a) in train for a, b in train)


def test_heldout_size_is_exact() -> None:
    assert len(gym(max_operand=49, min_operand=1, num_heldout=300).tasks("heldout")) == 300


def test_a_huge_space_is_lazy_and_still_disjoint() -> None:
    huge = gym(max_operand=10**6, num_operands=3, num_heldout=200)
    train, held = huge.tasks("train"), huge.tasks("heldout")
    assert len(train) > 10**17
    forms = {huge.fingerprint(task) for task in held}
    assert not forms & {huge.fingerprint(train[i * 10**14]) for i in range(1000)}
    assert train[-1] == train[len(train) - 1]


def test_another_split_seed_is_another_split_and_the_same_seed_the_same() -> None:
    def ids(seed: int) -> list[str]:
        return [task.id for task in gym(split_seed=seed).tasks("heldout")]

    assert ids(1) == ids(1) != ids(2)


def test_prompts_and_answers_by_hand() -> None:
    chat = gym(operation="mul", min_operand=3, max_operand=4, num_heldout=1)
    tasks = {task.prompt[0]["content"]: task.data["answer"] for task in (*chat.tasks("train"), *chat.tasks("heldout"))}
    assert {("What is 3 * 3?", "9"), ("What is 4 * 4?", "16")} & set(tasks.items())
    bare = gym(operation="sub", style="bare", reverse_digits=True, num_heldout=1)
    answers = {task.prompt[0]["content"]: task.data["answer"] for task in bare.tasks("train")}
    assert answers["3-17="] == "-41"
    assert answers["97-3="] == "49"


def test_presets_fill_what_is_not_given() -> None:
    assert gym(difficulty=1).settings.max_operand == 9
    assert gym(difficulty=4).settings.num_operands == 3
    assert gym(difficulty=3, max_operand=500).settings.max_operand == 500


@pytest.mark.parametrize(
    ("args", "message"),
    [
        ({"min_operand": 9, "max_operand": 3}, "min_operand = 9 must be below max_operand = 3"),
        ({"reverse_digits": True}, 'needs style = "bare"'),
        ({"max_operand": 10**9, "num_operands": 4}, r"more than 2\*\*62 tasks"),
        ({"max_operand": 1, "num_heldout": 3}, "leaves nothing to train on: there are 3 problems"),
        ({"difficulty": 7}, "args.difficulty"),
        ({"max_oprand": 7}, "did you mean 'max_operand'"),
    ],
)
def test_settings_that_cannot_be_are_refused(args: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        gym(**args)


@pytest.mark.parametrize(
    "response",
    [
        "42",
        " 42.\n",
        "**42**",
        "17 + 25 = 42",
        "17+25=42.",
        "25 + 17 is 42",
        "The answer is 42.",
        "The sum of 17 and 25 is 42.",
        "42 (17 + 25 = 42)",
        "17 + 25 = 42, so the answer is 42!",
        "$17 + 25 = 42$",
        "\\boxed{42}",
        "42 = 17 + 25",
        "<think>40? 41?</think>\n42",
    ],
)
def test_one_claimed_answer_is_right(response: str) -> None:
    assert gym().score(chat_task(17, 25), response).value == 1.0


@pytest.mark.parametrize(
    "response",
    [
        "41",
        "41 or 42",
        "42 or 41",
        "40 41 42",
        "1 2 3 4 5 6 7 8 42",
        "-42",
        "142",
        "42.5",
        "420",
        "17 + 25 = 41",
        "10 + 32 = 42",
        "17 + 25 + 0 = 42",
        "4 2",
        "17 25 17 25 42",
    ],
)
def test_a_wrong_or_a_second_claim_is_worth_nothing(response: str) -> None:
    score = gym().score(chat_task(17, 25), response)
    assert (score.status, score.value) == (Status.OK, 0.0)


@pytest.mark.parametrize(
    "response",
    ["", "I do not know", "What is 17 + 25?", "17 + 25 =", "17 and 25", "forty-two", "<think>It is 42", "42</think>"],
)
def test_without_a_claim_there_is_no_answer(response: str) -> None:
    assert gym().score(chat_task(17, 25), response).status is Status.NO_ANSWER


@pytest.mark.parametrize(("a", "b"), [(0, 17), (17, 0), (0, 0)])
def test_echoing_a_sum_with_zero_is_no_answer(a: int, b: int) -> None:
    sums = gym()
    assert sums.score(chat_task(a, b), f"What is {a} + {b}?").status is Status.NO_ANSWER
    assert sums.score(chat_task(a, b), f"{a} + {b} = {a + b}").value == 1.0
    assert sums.score(chat_task(a, b), str(a + b)).value == 1.0


def test_negative_answers_and_thousands_are_read() -> None:
    minus = gym(operation="sub")
    for response in ("-8", "\u22128", "17 - 25 = -8", "17-25=-8", "It is -8."):
        assert minus.score(chat_task(17, 25, -8), response).value == 1.0, response
    assert minus.score(chat_task(17, 25, -8), "8").value == 0.0
    times = gym(operation="mul")
    for response in (
        "1,234,000",
        "1234 \u00d7 1000 = 1234000",
        "1234 x 1000 = 1,234,000",
        "1234 \\times 1000 = 1234000",
    ):
        assert times.score(chat_task(1234, 1000, 1234000), response).value == 1.0, response


def test_bare_answers_must_match_to_the_character() -> None:
    bare = gym(style="bare", reverse_digits=True)
    task = next(task for task in bare.tasks("train") if task.data["operands"] == (17, 26))
    assert task.data["answer"] == "34"
    for response, value in (("34", 1.0), (" 34\n", 1.0), ("43", 0.0), ("34.", 0.0), ("034", 0.0), ("3 4", 0.0)):
        assert bare.score(task, response).value == value, response
    assert bare.score(task, "").status is Status.NO_ANSWER


def test_digit_bombs_are_refused_before_they_are_parsed() -> None:
    sums = gym()
    assert sums.score(chat_task(1, 2), "9" * 5000).status is Status.TOO_COMPLEX
    assert sums.score(chat_task(1, 2), "1," + "111," * 2000 + "1").status is Status.TOO_COMPLEX
    assert sums.score(chat_task(1, 2), "x" * 10_001).status is Status.TOO_COMPLEX
    assert gym(style="bare").score(chat_task(1, 2), "9" * 10**6).status is Status.TOO_COMPLEX


def test_a_malformed_task_is_ours() -> None:
    assert gym().score(Task(id="t", prompt=(), data={}), "3").status is Status.BAD_TASK


SUMS = gym()


@settings(deadline=None)
@given(response=st.text(), a=st.integers(0, 99), b=st.integers(0, 99))
def test_any_string_gets_a_score(response: str, a: int, b: int) -> None:
    assert SUMS.score(chat_task(a, b), response).status in (Status.OK, Status.NO_ANSWER, Status.TOO_COMPLEX)


@settings(deadline=None)
@given(a=st.integers(0, 9999), b=st.integers(0, 9999), guess=st.integers(-9999, 99999))
def test_exactly_the_right_number_scores(a: int, b: int, guess: int) -> None:
    assert SUMS.score(chat_task(a, b), f"{a} + {b} = {guess}").value == float(guess == a + b)


@pytest.mark.parametrize(
    "response",
    ["-8", "\u22128", "\u20138", "minus 8", "It is negative 8.", "17 - 25 = - 8", "It is - 8", "17 minus 25 is -8"],
)
def test_a_minus_in_words_or_apart_from_its_number_is_its_sign(response: str) -> None:
    assert score_claim(response, -8, [17, 25]).value == 1.0
    assert score_claim(response, 8, [17, 25]).value == 0.0


def test_a_minus_between_operands_or_before_an_item_is_no_sign() -> None:
    for response in (
        "25 minus 17 is 8",
        "25 - 17 = 8",
        "25 \u2013 17 = 8",
        "- 8",
        "Take 25 minus 17. The answer is 8.",
    ):
        assert score_claim(response, 8, [25, 17]).value == 1.0, response


def test_a_decimal_is_no_integer_said_twice() -> None:
    assert score_claim("5.5", 5, [2, 3]).value == score_claim("It is 5.05.", 5, [2, 3]).value == 0.0
    assert score_claim("It is 5.", 5, [2, 3]).value == 1.0
    assert score_claim("It is .5", 5, [2, 3]).value == score_claim(r"\boxed{5}.5", 5, [2, 3]).value == 0.0


@pytest.mark.parametrize(
    "response",
    [
        *(
            "It is not 42",
            "It isn't 42",
            "Less than 42",
            r"not \boxed{42}",
            "42 thousand",
            r"\boxed{42} million",
            "42\u00bd",
        ),
        *("42^42", "42/42", "$42!$", r"\boxed{42}^{42}", "17 + 25 is not 42"),
    ],
)
def test_an_answer_that_is_denied_or_goes_on_as_another_number_is_wrong(response: str) -> None:
    score = score_claim(response, 42, [17, 25])
    assert score.value == 0.0 and not score.status.is_masked


def test_what_else_stands_beside_an_answer_leaves_it() -> None:
    for response in (
        "42!",
        "**42**",
        r"\boxed{42}.",
        "25 more than 17 is 42",
        "17 and 25 is not hard: 42",
        "42 apples",
    ):
        assert score_claim(response, 42, [17, 25]).value == 1.0, response
