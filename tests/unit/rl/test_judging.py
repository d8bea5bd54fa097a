"""The run's critic: groups judged by the served policy, the gate, the pool that verified groups fill."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from configs.schema import Config, TinyModelConfig
from gyms.api import Score, Status
from gyms.load import load_gym
from gyms.mixture import GymEntry, draws
from gyms.response import Response
from reward.rules import TruncationRule
from rl.collect import collect
from rl.judging import Judging, calibration_pairs
from rl.tiny_model import build_tiny_model
from rollout.chat import ChatFormat
from rollout.types import FinishReason, Sample, SampleRequest, Segment


class Knowing:
    """A policy that judges sums rightly, fails every nth verdict, and answers prompts with its own number."""

    def __init__(self, chat: ChatFormat, *, fails_every: int = 0) -> None:
        self.chat = chat
        self.fails_every = fails_every
        self.verdicts: list[SampleRequest] = []

    def prompt_ids(self, task, tools=()):
        return self.chat.prompt_ids(task.prompt)

    def read_response(self, sample: Sample) -> Response:
        return self.chat.read_response(sample)

    async def sample(self, request: SampleRequest, *, group: str) -> Sample:
        await asyncio.sleep(0)
        text = self._verdict(request) if request.choices else request.id.replace("/", "-")
        segment = Segment(token_ids=(2, 0), logprobs=(-0.1, -0.1), weight_version=0, temperature=request.temperature)
        return Sample(
            id=request.id,
            prompt_ids=request.prompt_ids,
            segments=(segment,),
            finish_reason=FinishReason.STOP,
            text=text,
        )

    def _verdict(self, request: SampleRequest) -> str:
        self.verdicts.append(request)
        if self.fails_every and len(self.verdicts) % self.fails_every == 0:
            return "3"
        question, first, *_ = self.chat.decode(request.prompt_ids).replace("=", "=?").split("?")
        a, b = (int(part) for part in question.rstrip("=").split("+")) if "+" in question else (0, 0)
        return "1" if first == str(a + b) else "2"


@pytest.fixture(scope="module")
def chat(tmp_path_factory: pytest.TempPathFactory) -> ChatFormat:
    folder = tmp_path_factory.mktemp("chat") / "model"
    alphabet = "0123456789+-*=? abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ.,'"
    shape = TinyModelConfig(hidden_size=32, num_layers=1, num_heads=1, intermediate_size=32, alphabet=alphabet)
    build_tiny_model(folder, shape, context_length=32, seed=0)
    return ChatFormat(folder, use_template=False)


def judging_of(chat: ChatFormat, *, style: str = "bare", **judge) -> tuple[Judging, tuple[GymEntry, ...]]:
    config = Config.model_validate(
        {
            "num_steps": 2,
            "model": {"source": "tiny", "context_length": 2048},
            "gyms": [{"name": "arithmetic"}],
            "judge": {"style": "bare", "max_tokens": 4, "calibration": {"num_pairs": 24}, **judge},
        }
    )
    references = {
        "arithmetic": {"style": "bare"}, "chat": {}, "critic": {"style": style, "min_pool": 1},
    }  # fmt: skip
    gyms = tuple(
        GymEntry(name=name, gym=load_gym(name, name, args, config_key="gyms"), share=1.0, budget=32)
        for name, args in references.items()
    )
    return Judging(config, gyms, chat), gyms


def test_the_gate_opens_for_a_judge_that_knows_and_its_verdicts_become_scores(chat):
    judging, gyms = judging_of(chat)
    policy = Knowing(chat)
    task = next(entry.gym for entry in gyms if entry.name == "chat").tasks("train")[0]

    async def run():
        before = await judging.judge_group("0/0", task, ["first of all", "second of all"])
        found = await judging.calibrate(policy, 0)
        return before, found, await judging.judge_group("0/1", task, ["first of all", "second of all", None])

    before, found, after = asyncio.run(run())
    assert {score.status for score in before} == {Status.JUDGE_FAILED}
    assert all("gate_closed" in score.flags for score in before)
    assert found.accuracy == 1.0 and judging.gate.is_open
    assert [score.status for score in after] == [Status.OK, Status.OK, Status.CANCELLED]
    metrics = judging.take_metrics()
    assert metrics["judge/gate_open"] == 1.0 and metrics["judge/calls"] == 2 * 24 + 2
    assert {request.choices for request in policy.verdicts} == {("1", "2"), ("1", "2", "tie")}


def test_calls_of_a_step_that_is_done_again_are_not_counted(chat):
    judging, _ = judging_of(chat)
    asyncio.run(judging.calibrate(Knowing(chat), 0))
    judging.forget_counts()
    asyncio.run(judging.calibrate(Knowing(chat), 0))
    assert judging.take_metrics()["judge/calls"] == 2 * 24


def test_answers_for_which_the_context_has_no_room_are_masked_and_not_worth_0(chat):
    """The context is ours, and so is how much of it an answer may take."""
    judging, gyms = judging_of(chat, calibration={"min_accuracy": 0.0, "min_pairs": 1})
    task = next(entry.gym for entry in gyms if entry.name == "chat").tasks("train")[0]

    async def run():
        await judging.calibrate(Knowing(chat), 0)
        return await judging.judge_group("0/1", task, ["a" * 2000, "b" * 2000])

    scores = asyncio.run(run())
    assert [(score.status, score.value) for score in scores] == [(Status.JUDGE_FAILED, None)] * 2
    assert all("exceed model.context_length = 2048; lower judge.max_answer_chars" in score.detail for score in scores)
    assert judging.take_metrics()["judge/barred"] == 0


def test_a_judge_that_fails_some_calls_masks_those_samples_and_no_others(chat):
    judging, gyms = judging_of(chat, num_retries=0, calibration={"min_accuracy": 0.0, "min_pairs": 1})
    policy = Knowing(chat, fails_every=5)
    chat_gym = next(entry for entry in gyms if entry.name == "chat")

    async def run():
        await judging.calibrate(policy, 0)
        return await collect(
            policy, NeverAsked(), draws(0, 0, 6, [chat_gym]), samples_per_prompt=3, temperature=1.0, seed=0, key=0,
            truncation=TruncationRule(), minimum=lambda name: 0.0, judge=judging,
        )  # fmt: skip

    groups = asyncio.run(run()).groups
    statuses = [scored.score.status for group in groups for scored in group.samples]
    assert set(statuses) == {Status.OK, Status.JUDGE_FAILED}
    assert all(s.reward.is_masked == (s.score.status is Status.JUDGE_FAILED) for g in groups for s in g.samples)


def test_verified_groups_teach_the_critic_and_its_state_survives_a_checkpoint(chat, group, scored):
    judging, gyms = judging_of(chat)
    task = gyms[0].gym.tasks("train")[0]
    right, wrong = scored(1.0, text="42"), scored(0.0, text="41")
    made = group(0, right, wrong, task=task, gym="arithmetic")
    judging.learn_from([made])
    pairs = [*judging.critic_gym.pool.pairs("train"), *judging.critic_gym.pool.pairs("heldout")]
    assert [(pair.right, pair.wrong) for pair in pairs] == [("42", "41")]
    again, _ = judging_of(chat)
    again.load_state_dict(judging.state_dict())
    assert again.state_dict() == judging.state_dict()


def test_a_critic_gym_of_another_style_than_the_judge_is_refused(chat):
    with pytest.raises(ValueError, match=r'learns the style "short" and judge\.style is "bare"'):
        judging_of(chat, style="short")


def test_calibration_pairs_are_different_held_out_problems(chat):
    judging, _ = judging_of(chat)
    pairs = calibration_pairs(judging.critic_gym, 24)
    assert len({pair.question for pair in pairs}) == 24
    assert all(pair.right != pair.wrong for pair in pairs)


class NeverAsked:
    async def score(self, request_id: str, gym_name: str, task, response: str) -> Score:
        raise AssertionError("judged groups are not scored by their gym")

    async def score_group(self, request_id: str, gym_name: str, task, responses) -> list[Score]:
        raise AssertionError("judged groups are not scored by their gym")


def test_a_run_without_judged_gyms_reports_nothing_and_calibrates_never(chat):
    judging, gyms = judging_of(chat)
    judging.judged = frozenset()
    assert not judging.is_due(0) and judging.take_metrics() == {}
    assert isinstance(chat, ChatFormat) and Path(gyms[0].name)


@pytest.mark.parametrize(("num_chars", "num_pairs"), [(100, 1), (600, 0)])
def test_pairs_that_are_too_long_for_a_prompt_never_enter_the_critics_pool(chat, group, scored, num_chars, num_pairs):
    """A step would draw them, and the run end of what it made itself: a character is a token, a prompt has 1024."""
    judging, gyms = judging_of(chat)
    task = gyms[0].gym.tasks("train")[0]
    answers = [scored(value, text=digit * num_chars) for digit, value in (("1", 1.0), ("2", 0.0))]
    judging.learn_from([group(0, *answers, gym="arithmetic", task=task)])
    pool = judging.critic_gym.pool
    assert len(pool.pairs("train")) + len(pool.pairs("heldout")) == num_pairs
