"""Heavy mode: what the last attempt is shown, by hand, and what an evaluation makes of it."""

from __future__ import annotations

import asyncio

import pytest

from configs.schema import Config
from gyms.api import Score, Status, Task, Turn, message
from gyms.mixture import Draw
from gyms.response import Response, after_thoughts
from rl.accuracy import evaluate
from rl.heavy import NO_ANSWER, answer_of, with_answers
from rollout.types import FinishReason, PlayedTurn, Sample, SampleRequest, Segment

TASK = Task(id="t", prompt=(message("system", "Be brief."), message("user", "1+2?")), data={"sum": 3})
PART = Segment(token_ids=(1,), logprobs=(-1.0,), weight_version=0, temperature=1.0)


def sample(text: str, reason: FinishReason = FinishReason.STOP, turns: tuple[PlayedTurn, ...] = ()) -> Sample:
    return Sample(id="s", prompt_ids=(1,), segments=(PART,), finish_reason=reason, text=text, turns=turns)


class Counts:
    """A policy that answers 3 where it is shown a 3 more often than anything else, and `texts` in turn elsewhere.

    A prompt token is a character; longer prompts than `room` are refused.
    """

    def __init__(self, *texts: str, room: int = 10**6) -> None:
        self.texts, self.room = texts, room
        self.prompts: dict[str, str] = {}

    def prompt_ids(self, task: Task, tools=()) -> tuple[int, ...]:
        text = "\n".join(m["content"] for m in task.prompt)
        if len(text) > self.room:
            raise ValueError("too long")
        return tuple(map(ord, text))

    def read_response(self, sample: Sample) -> Response:
        return Response(after_thoughts(sample.text), sample.text)

    async def sample(self, request: SampleRequest, *, group: str) -> Sample:
        kind, _, k = request.id.split("/")
        asked = self.prompts[request.id] = "".join(map(chr, request.prompt_ids))
        text = self.texts[int(k)] if kind == "eval-sampled" else "3" if asked.count("\n3\n") > 1 else "0"
        return sample(text)


class Sums:
    async def score(self, request_id: str, gym_name: str, task: Task, response: str) -> Score:
        return Score(status=Status.OK, value=float(response == str(task.data["sum"])))


def heavy(policy: Counts, num: int, num_samples: int = 4):
    draws = [Draw(index=0, gym="sums", task=TASK, budget=9)]
    return asyncio.run(
        evaluate(policy, Sums(), draws, temperature=1.0, seed=0, samples_per_task=num_samples, heavy=num)
    )["sums"]


def test_the_last_attempt_is_shown_the_answers_in_front_of_the_question_and_scored_as_any_other() -> None:
    policy = Counts("<think>2?</think>3", "4", "3", "5")
    found = heavy(policy, 3)
    shown = policy.prompts["eval-heavy/0/0"]
    assert shown.startswith("Be brief.\n") and shown.endswith("The task:\n1+2?")
    assert (
        "Attempt 1:\n3\n\nAttempt 2:\n4\n\nAttempt 3:\n3\n\n" in shown
        and "Attempt 4" not in shown
        and "think" not in shown
    )
    assert found.heavy is not None and (found.heavy.mean, found.heavy.num) == (1.0, 1)
    assert (found.greedy.mean, found.sampled.mean) == (0.0, 0.5)
    wrong = heavy(Counts("1", "4", "3", "5"), 3).heavy
    assert wrong is not None and wrong.mean == 0.0
    assert heavy(Counts("3", "3", "3", "3"), 0).heavy is None


def test_what_was_cut_off_or_never_said_is_no_answer_and_an_episode_answers_at_its_last_turn() -> None:
    policy = Counts()
    assert answer_of(policy, sample("3", FinishReason.LENGTH)) == NO_ANSWER
    assert answer_of(policy, sample("<think>3")) == NO_ANSWER
    turns = (PlayedTurn(turn=Turn(text="let me see")), PlayedTurn(turn=Turn(text=" 3 ")))
    assert answer_of(policy, sample("all of it", turns=turns)) == "3"


def test_answers_that_do_not_fit_are_cut_to_their_ends_and_else_the_task_is_asked_as_it_is() -> None:
    bare = len("\n".join(m["content"] for m in with_answers(TASK, ["", ""]).prompt))
    policy = Counts("x" * 900 + "3\n", "y" * 300 + "3\n", room=bare + 2 * 300)
    heavy(policy, 2, num_samples=2)
    shown = policy.prompts["eval-heavy/0/0"]
    assert len(shown) <= policy.room and f"\n{'x' * 224}3\n" in shown and f"\n{'y' * 224}3\n" in shown
    tight = Counts("x" * 900, "y" * 300, room=bare + 2)
    heavy(tight, 2, num_samples=2)
    assert tight.prompts["eval-heavy/0/0"] == "Be brief.\n1+2?"


@pytest.mark.parametrize(("num", "k"), [(1, 4), (5, 4), (2, 1)])
def test_more_attempts_than_are_sampled_or_a_single_one_are_refused(num: int, k: int) -> None:
    facts = {"model": {"source": "tiny"}, "gyms": [{"name": "sums"}], "eval": {"samples_per_task": k, "heavy": num}}
    with pytest.raises(ValueError, match=f"eval.heavy = {num}.*at most eval.samples_per_task = {k}"):
        Config.model_validate(facts)
