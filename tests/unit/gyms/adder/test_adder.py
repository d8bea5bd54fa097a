"""The adder: sums with a tool that adds two numbers."""

from __future__ import annotations

import pytest

from gyms.adder.gym import MAX_MAGNITUDE, Adder
from gyms.api import Call, Episode, Reply, Score, Status, Task, Turn
from gyms.episodes.arguments import read_call
from gyms.load import load_gym
from gyms.mixture import check_disjoint
from gyms.testing import check_gym

ADDER = "gyms.adder.gym:Adder"


def adder(**args: object) -> Adder:
    gym = load_gym("adder", ADDER, {"num_train": 2000, **args})
    assert isinstance(gym, Adder)
    return gym


def begun(*operands: int) -> Episode:
    return adder().start(Task(id="t", prompt=(), data={"operands": operands}), seed=0)


def add(arguments: str) -> Call:
    (tool,) = adder().tools(Task(id="t", prompt=()))
    return read_call([tool], call_id="call_7", tool="add", arguments=arguments)


@pytest.mark.parametrize(
    "args",
    [{}, {"style": "bare", "max_operand": 9}, {"num_operands": 16, "max_operand": 10**9}, {"num_operands": 2}],
)
def test_it_keeps_the_contract(args: dict[str, object]) -> None:
    check_gym(adder(**args), max_tasks=20, num_episodes=80)  # two a task


def test_it_survives_a_thousand_random_episodes() -> None:
    check_gym(adder(), max_tasks=5, num_episodes=1000)


def test_an_episode_as_a_model_would_play_it() -> None:
    episode = begun(17, 25, 3)
    first = episode.step(Turn(text="First 17 + 25.", calls=(add('{"a": 17, "b": 25}'),)))
    assert first == Reply(
        messages=({"role": "tool", "tool_call_id": "call_7", "name": "add", "content": "42"},), is_done=False
    )
    both = episode.step(Turn(text="", calls=(add('{"a": 42.0, "b": 3}'), add('{"a": 42}'))))
    assert [said["content"] for said in both.messages] == [
        "45",
        "Error: 'b' is a required property. add takes a (integer), b (integer).",
    ]
    assert episode.score().status is Status.NO_ANSWER
    assert episode.step(Turn(text="17 + 25 + 3 = 45.")) == Reply(is_done=True)
    score = episode.score()
    assert (score.value, score.answer) == (1.0, "45")
    assert score.components == {"correct": 1.0, "num_calls": 2.0}


@pytest.mark.parametrize(
    ("answer", "value"), [("45", 1.0), ("17+25+3=45", 1.0), ("44", 0.0), ("44 or 45", 0.0), ("4.5", 0.0), ("-45", 0.0)]
)
def test_the_last_turn_must_claim_one_number(answer: str, value: float) -> None:
    episode = begun(17, 25, 3)
    episode.step(Turn(text=answer))
    assert episode.score().value == value


def test_a_turn_that_was_cut_off_is_no_answer_and_the_episode_goes_on() -> None:
    episode = begun(17, 25)
    reply = episode.step(Turn(text="42", is_truncated=True))
    assert not reply.is_done and "cut off" in reply.messages[0]["content"]
    assert episode.score().status is Status.NO_ANSWER
    episode.step(Turn(text="42"))
    assert episode.score().value == 1.0


def test_the_largest_numbers_are_added_and_larger_ones_refused() -> None:
    episode = begun(1, 2)
    reply = episode.step(Turn(text="", calls=(add(f'{{"a": {MAX_MAGNITUDE}, "b": {MAX_MAGNITUDE}}}'),)))
    assert reply.messages[0]["content"] == str(2 * MAX_MAGNITUDE)
    assert "maximum" in add(f'{{"a": {MAX_MAGNITUDE + 1}, "b": 0}}').problem


def test_tasks_are_functions_of_seed_and_index_and_the_splits_share_no_problem() -> None:
    gym, same, other = adder(max_operand=9), adder(max_operand=9), adder(max_operand=9, seed=1)
    assert gym.tasks("train")[:50] == same.tasks("train")[:50] != other.tasks("train")[:50]
    check_disjoint(gym)
    problems = [{tuple(sorted(task.data["operands"])) for task in gym.tasks(split)} for split in ("train", "heldout")]
    assert not problems[0] & problems[1]
    held = {tuple(sorted(task.data["operands"])) for task in other.tasks("heldout")}
    assert not problems[0] & held  # the split is not the seed's


def test_prompts_are_asked_in_either_style() -> None:
    assert adder().tasks("train")[0].prompt[0]["content"].startswith("What is ")
    operands = adder(style="bare").tasks("train")[0].data["operands"]
    assert adder(style="bare").tasks("train")[0].prompt[0]["content"] == "+".join(map(str, operands)) + "="


def test_too_few_problems_to_split_are_refused_by_their_settings() -> None:
    with pytest.raises(ValueError, match=r"2 numbers of 0 to 1 make 3 problems, too few to hold out"):
        adder(num_operands=2, max_operand=1)
    with pytest.raises(ValueError, match="must be below max_operand"):
        adder(min_operand=5, max_operand=5)


def test_a_malformed_task_is_told_apart_from_a_wrong_answer() -> None:
    gym = adder()
    score = gym.score(Task(id="t", prompt=(), data={"operands": "12"}), "3")
    assert score == Score(status=Status.BAD_TASK, detail="task 't': data['operands'] must be whole numbers")
