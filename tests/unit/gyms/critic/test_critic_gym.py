"""Which answer is right: tasks in both orders, pairs of the run's own groups, held-out problems apart."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gyms.api import Status, Task, message
from gyms.critic.gym import CriticGym
from gyms.critic.pool import CriticPool, KnownPair, known_pairs, split_of
from gyms.load import load_gym
from gyms.mixture import GymEntry, draws
from gyms.testing import check_gym


def gym(**args: Any) -> CriticGym:
    found = load_gym("critic", "gyms.critic.gym:CriticGym", args)
    assert isinstance(found, CriticGym)
    return found


def asked(problem: int) -> Task:
    return Task(id=f"q{problem}", prompt=(message("user", f"What is {problem} + 1?"),), data={})


SMALL = {"min_operand": 5, "max_operand": 20}
STYLES: list[dict[str, Any]] = [
    {"sums": SMALL},
    {"style": "full", "sums": SMALL},
    {"style": "bare", "sums": {**SMALL, "reverse_digits": True}},
    {"style": "quote", "sums": {**SMALL, "reverse_digits": True}},
    {"labels": ["X", "Y"], "sums": SMALL},
    {"sums": {"operation": "sub", "max_operand": 30}},
]


def rendered(critic: CriticGym, task: Task, side: int) -> str:
    label = task.data["labels"][side]
    return f'{{"winner": "{label}"}}' if critic.settings.style == "full" else label


@pytest.mark.parametrize("args", STYLES, ids=str)
def test_the_gym_keeps_the_contract(args: dict[str, Any]) -> None:
    check_gym(gym(**args), max_tasks=30)


@pytest.mark.parametrize("args", STYLES, ids=str)
def test_each_pair_is_asked_in_both_orders_so_a_constant_is_right_half_of_the_time(args: dict[str, Any]) -> None:
    critic = gym(**args)
    tasks = critic.tasks("train")[:40]
    for side in (0, 1):  # the first answer of every task, and the second
        assert sum(critic.score(task, rendered(critic, task, side)).value or 0.0 for task in tasks) == 20
    for one, other in zip(tasks[::2], tasks[1::2], strict=True):
        assert one.data["right"] == other.data["right"] and one.data["winner"] != other.data["winner"]


def test_the_built_in_pairs_are_a_right_sum_and_a_near_miss() -> None:
    critic = gym(style="bare", sums={"reverse_digits": True})
    for pair in (task.data for task in critic.tasks("train")[:200]):
        left, right = pair["question"].rstrip("=").split("+")
        total = int(left) + int(right)
        assert int(pair["right"][::-1]) == total
        assert 0 < abs(int(pair["wrong"][::-1]) - total) <= 10


def test_in_quote_style_the_verdict_is_the_right_answer_itself() -> None:
    critic = gym(style="quote", sums={**SMALL, "reverse_digits": True})
    task = critic.tasks("train")[0]
    right, wrong = task.data["right"], task.data["wrong"]
    assert task.prompt[0]["content"] == f"{task.data['question']}{right}?{wrong}?"
    assert critic.gold(task) == right
    assert critic.score(task, f" {right}\n").value == 1.0 and critic.score(task, wrong).value == 0.0
    for response in ("1", "first", f"{right}?", right + wrong, "tie"):
        assert critic.score(task, response).status is Status.INVALID_ANSWER


def test_in_quote_style_answers_that_look_alike_are_no_pair() -> None:
    critic = gym(style="quote", sums={**SMALL, "reverse_digits": True})
    task = Task(id="t", prompt=(message("user", "2+2="),))
    assert critic.add_group(task, ["4", "4?"], [1.0, 0.0], problem="2+2", is_heldout=False) == 0
    assert critic.add_group(task, ["4", "5?"], [1.0, 0.0], problem="2+2", is_heldout=False) == 1
    assert gym(style="bare").add_group(task, ["4", "4?"], [1.0, 0.0], problem="2+2", is_heldout=False) == 1


def test_names_have_no_meaning_in_quote_style() -> None:
    with pytest.raises(ValueError, match="leave labels out"):
        gym(style="quote", labels=["X", "Y"])


def test_a_verdict_is_read_strictly() -> None:
    critic = gym(style="full")
    task = critic.tasks("train")[0]
    assert critic.score(task, '{"winner": "A"}').value == 1.0
    assert critic.score(task, '<think>B?</think>{"winner": "A"}').value == 1.0
    assert critic.score(task, '{"winner": "B"}').value == 0.0
    for response in ("A", '{"winner": "tie"}', '{"winner": "A"} {"winner": "A"}', "A and B", '{"winner": "a"}'):
        assert critic.score(task, response).status is Status.INVALID_ANSWER
    assert critic.score(task, " \n").status is Status.NO_ANSWER
    assert critic.score(Task(id="t", prompt=(), data={"winner": "both"}), "A").status is Status.BAD_TASK
    for labels in (None, "AB", ["A"], ["A", 2]):
        spoiled = Task(id="t", prompt=(), data={"winner": "first", "labels": labels})
        assert critic.score(spoiled, "A").status is Status.BAD_TASK


def test_pairs_come_from_right_and_wrong_siblings_only() -> None:
    found = known_pairs(
        asked(1),
        ["2", "3", "2 ", "", "4", "5"],
        [1.0, 0.0, 1.0, 0.0, 0.7, None],
        problem="1",
        max_pairs=9,
    )
    assert [(pair.right, pair.wrong, pair.question) for pair in found] == [("2", "3", "What is 1 + 1?")]
    assert known_pairs(asked(1), ["2", "2"], [1.0, 1.0], problem="1") == []
    assert known_pairs(asked(1), ["2", "2"], [1.0, 0.0], problem="1") == [], "one text cannot be right and wrong"
    assert known_pairs(asked(1), ["x" * 50, "3"], [1.0, 0.0], problem="1", max_chars=40) == []
    with pytest.raises(ValueError, match="2 responses and 1 rewards"):
        known_pairs(asked(1), ["2", "3"], [1.0], problem="1")


@settings(max_examples=50, deadline=None)
@given(
    st.lists(st.tuples(st.text(max_size=4), st.sampled_from([None, 0.0, 0.4, 0.9, 1.0])), max_size=8), st.integers(1, 4)
)
def test_no_answer_is_used_twice_and_siblings_may_come_in_any_order(
    rated: list[tuple[str, float | None]], num: int
) -> None:
    texts, rewards = [text for text, _ in rated], [reward for _, reward in rated]
    found = known_pairs(asked(0), texts, rewards, problem="p", max_pairs=num)
    used = [text for pair in found for text in (pair.right, pair.wrong)]
    assert len(found) <= num and len(set(used)) == len(used)


def pair(number: int, problem: str | None = None) -> KnownPair:
    return KnownPair(id=f"p{number}", problem=problem or str(number), question="q", right=f"r{number}", wrong="w")


def test_a_problem_is_never_in_both_splits() -> None:
    pool = CriticPool(heldout_fraction=0.3)
    pool.add(pair(number) for number in range(300))
    pool.add([pair(999, problem="5")], split="train" if split_of("5", 0.3) == "heldout" else "heldout")
    train, held = ({found.problem for found in pool.pairs(split)} for split in ("train", "heldout"))
    assert not train & held and 50 < len(held) < 130 and len(train) + len(held) == 300


def test_the_pool_is_bounded_keeps_the_newest_and_survives_a_restart() -> None:
    pool = CriticPool(max_train=3, heldout_fraction=0.0)
    pool.add(pair(number) for number in (1, 2, 3, 1, 4))
    assert [found.id for found in pool.pairs("train")] == ["p3", "p1", "p4"]
    copy = CriticPool(max_train=3)
    copy.load_state_dict(json.loads(json.dumps(pool.state_dict())))
    assert copy.pairs("train") == pool.pairs("train") and copy.state_dict() == pool.state_dict()


def test_the_pool_takes_over_from_the_sums_once_it_is_full_enough() -> None:
    critic = gym(min_pool=2, heldout_fraction=0.0)
    before = critic.tasks("train")
    for problem in range(3):
        rewards = [1.0, 0.0, None]
        num = critic.add_group(
            asked(problem), ["right", "wrong", "lost"], rewards, problem=str(problem), is_heldout=False
        )
        assert num == 1
    tasks = critic.tasks("train")
    assert len(tasks) == 6 and len(before) > 1000 and tasks[-1] == tasks[5]
    assert {task.data["problem"] for task in tasks} == {"0", "1", "2"}
    assert len(critic.tasks("heldout")) > 100, "the held-out pool is still empty: sums"
    critic.add_group(asked(7), ["a right one", "a wrong one"], [1.0, 0.0], problem="7", is_heldout=True)
    assert [known.problem for known in critic.pool.pairs("heldout")] == ["7"]
    assert len(gym(source="sums").tasks("train")) == len(before)
    entries = [GymEntry(name="critic", gym=critic, share=1.0, budget=4)]
    assert draws(0, 3, 4, entries) == draws(0, 3, 4, entries)


def test_surrogates_in_answers_do_not_break_the_pool() -> None:
    critic = gym(min_pool=1, heldout_fraction=0.0)
    critic.add_group(asked(1), ["ok\ud800", "no\x00"], [1.0, 0.0], problem="\udfff", is_heldout=False)
    task = critic.tasks("train")[0]
    task.prompt[0]["content"].encode("utf-8")
    assert critic.score(task, critic.gold(task)).value == 1.0


@pytest.mark.parametrize(
    "args",
    [{"labels": ["A", "A"]}, {"labels": ["A", ""]}, {"sums": {"style": "chat"}}, {"sums": {"max": 3}},
     {"style": "x"}, {"min_pool": 0}],
)  # fmt: skip
def test_settings_that_cannot_be_are_refused(args: dict[str, Any]) -> None:
    with pytest.raises(ValueError):
        gym(**args)
