"""Episodes: a scripted policy plays the adder, and every way out is seen: done, cut off, too long, out of turns."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import pytest

from gyms.adder.gym import Adder
from gyms.api import Reply, Score, Services, Status, Task, Turn
from gyms.episodes.turns import turn_of_json
from gyms.mixture import Draw, EpisodeLimits
from reward.rules import TruncationRule
from rl.batch import learning_batch
from rl.collect import collect, sample_seed
from rl.sample_rows import sample_rows
from rollout.tool_calls import read_turn
from rollout.types import FinishReason, Sample, SampleRequest, Segment

Script = Callable[[int, int], str]
"""What the policy says at a turn, by sibling and turn."""


class Scripted:
    """A policy whose tokens are characters: a turn is its text and the end token 0."""

    def __init__(self, script: Script) -> None:
        self.script = script
        self.requests: list[SampleRequest] = []

    def prompt_ids(self, task: Task, tools=()) -> tuple[int, ...]:
        return tuple(map(ord, task.prompt[0]["content"]))

    async def sample(self, request: SampleRequest, *, lane: int) -> Sample:
        self.requests.append(request)
        await asyncio.sleep(0)
        _, _, k, turn = map(int, request.id.split("/"))
        text = self.script(k, turn)
        ids = (*map(ord, text), 0)
        is_cut = len(ids) > request.budget
        ids = ids[: request.budget]
        logprobs = tuple(-1.0 - turn for _ in ids)
        return Sample(
            id=request.id,
            prompt_ids=request.prompt_ids,
            segments=(Segment(token_ids=ids, logprobs=logprobs, weight_version=4, temperature=request.temperature),),
            finish_reason=FinishReason.LENGTH if is_cut else FinishReason.STOP,
            text="".join(map(chr, ids)).rstrip("\0"),
        )

    def read_turn(self, sample: Sample, tools, *, number: int) -> Turn:
        return read_turn(sample.text, tools, tool_format="pythonic", number=number, is_truncated=sample.is_truncated)

    def reply_ids(self, draw: Draw, reply) -> tuple[int, ...]:
        return tuple(ord(c) for said in reply for c in f"{said['content']}\n")


class InProcess:
    """Episodes of one environment, in this process."""

    def __init__(self, env: Adder) -> None:
        self.env = env
        self.open: dict[str, object] = {}
        self.seeds: list[int] = []

    async def open_episode(self, episode_id: str, gym_name: str, task: Task, *, seed: int) -> None:
        self.open[episode_id] = self.env.start(task, seed)
        self.seeds.append(seed)

    async def step(self, episode_id: str, place: int, turn: Turn) -> Reply:
        return self.open[episode_id].step(turn)

    async def score_episode(self, episode_id: str) -> Score:
        return self.open[episode_id].score()

    async def close_episode(self, episode_id: str) -> None:
        del self.open[episode_id]


@pytest.fixture
def env() -> Adder:
    return Adder(Adder.Settings(num_operands=3, min_operand=10, max_operand=99), Services())


def play(env: Adder, script: Script, *, budget: int = 40, max_turns: int = 6, max_tokens: int = 300):
    task = env.tasks("train")[0]
    policy, host = Scripted(script), InProcess(env)
    draw = Draw(
        index=7, gym="adder", task=task, budget=budget, tools=tuple(env.tools(task)),
        limits=EpisodeLimits(max_turns=max_turns, max_tokens=max_tokens),
    )  # fmt: skip
    found = asyncio.run(
        collect(
            policy, host, [draw], samples_per_prompt=2, temperature=0.9, seed=3, key=5,
            truncation=TruncationRule(rule="penalty", reward=-0.25), minimum=lambda gym: 0.0,
        )  # type: ignore[arg-type]
    )  # fmt: skip
    assert not host.open, "an episode was left open"
    return found.groups[0], policy, host


def solver(env: Adder) -> Script:
    a, b, c = env.tasks("train")[0].data["operands"]

    def says(k: int, turn: int) -> str:
        if k:
            return "add(1,2)"
        return [f"add({a},{b})", f"add({a + b},{c})", f"The sum is {a + b + c}."][turn]

    return says


def test_an_episode_is_one_sequence_whose_observations_are_not_sampled(env):
    group, _, host = play(env, solver(env), max_turns=3)
    solved, lost = (s.sample for s in group.samples)
    assert [s.reward.value for s in group.samples] == [1.0, 0.0]
    assert (solved.finish_reason, lost.finish_reason) == (FinishReason.STOP, FinishReason.TURNS)
    a, b, c = group.draw.task.data["operands"]
    said = f"add({a},{b})\0{a + b}\nadd({a + b},{c})\0{a + b + c}\nThe sum is {a + b + c}.\0"
    assert "".join(map(chr, solved.token_ids)) == said
    assert [part.is_sampled for part in solved.segments] == [True, False, True, False, True]
    assert solved.num_sampled == len(said) - len(f"{a + b}\n{a + b + c}\n")
    assert [len(s.sample.turns) for s in group.samples] == [3, 3]
    assert set(host.seeds) == {sample_seed(3, 5, 7, "world")}, "siblings live in the same world"


def test_a_turn_is_asked_for_behind_all_tokens_before_it_with_a_seed_of_its_own(env):
    group, policy, _ = play(env, solver(env), max_turns=3)
    solved = group.samples[0].sample
    asked = [request for request in policy.requests if request.id.startswith("5/7/0/")]
    assert [request.id for request in asked] == ["5/7/0/0", "5/7/0/1", "5/7/0/2"]
    ends = [0, *(sum(len(p.token_ids) for p in solved.segments[:n]) for n in (2, 4))]
    assert [request.prompt_ids for request in asked] == [(*solved.prompt_ids, *solved.token_ids[:end]) for end in ends]
    assert [r.seed for r in asked] == [sample_seed(3, 5, 7, 0), *(sample_seed(3, 5, 7, 0, turn) for turn in (1, 2))]
    assert len({request.seed for request in policy.requests}) == len(policy.requests)


def test_the_loss_falls_on_what_the_policy_sampled_alone(env):
    group, _, _ = play(env, solver(env), max_turns=3)
    (minibatch,) = learning_batch([group], step=5, seed=3, num_minibatches=1, drop_zero_spread=True).minibatches
    for sample, scored in zip(minibatch.samples, group.samples, strict=True):
        parts = scored.sample.segments
        assert list(sample.loss_mask) == [part.is_sampled for part in parts for _ in part.token_ids]
        assert [p for p, m in zip(sample.engine_logprobs, sample.loss_mask, strict=True) if m] == [
            p for part in parts if part.is_sampled for p in part.logprobs
        ]
    assert minibatch.num_tokens == sum(s.sample.num_sampled for s in group.samples)


def test_a_turn_that_its_budget_cuts_off_is_truncated_and_never_stepped(env):
    group, _, _ = play(env, lambda k, turn: "9" * 50, budget=40)
    for scored in group.samples:
        assert (scored.score.status, scored.reward.value) == (Status.TRUNCATED, -0.25)
        assert scored.sample.num_tokens == 40 and scored.sample.turns[0].turn.is_truncated


@pytest.mark.parametrize("max_tokens", [40, 44, 52, 53, 54, 100])
def test_an_episode_never_outgrows_its_tokens(env, max_tokens):
    group, policy, _ = play(env, lambda k, turn: "add(50,50)", budget=40, max_turns=20, max_tokens=max_tokens)
    for scored in group.samples:
        assert scored.sample.num_tokens <= max_tokens
        assert scored.score.status is Status.TRUNCATED
    for request in policy.requests:
        assert len(request.prompt_ids) - len(group.samples[0].sample.prompt_ids) + request.budget <= max_tokens


def test_the_row_of_an_episode_holds_its_turns(env):
    group, _, _ = play(env, solver(env), max_turns=3)
    row = sample_rows(5, [group])[0]
    a, b, c = group.draw.task.data["operands"]
    assert row["response"].splitlines()[0] == f"-> add({{'a': {a}, 'b': {b}}})"
    assert row["response"].splitlines()[-1] == f"The sum is {a + b + c}."
    turns = [turn_of_json(turn) for turn in row["episode"]["turns"]]
    replayed = env.start(group.draw.task, row["episode"]["seed"])
    assert [list(replayed.step(turn).messages) for turn in turns] == row["episode"]["replies"]
    assert replayed.score().value == row["value"] == 1.0
    assert row["num_tokens"] == group.samples[0].sample.num_sampled and row["finish_reason"] == "stop"


def test_what_breaks_closes_its_episode(env):
    def breaks(k: int, turn: int) -> str:
        raise RuntimeError("engine lost")

    with pytest.raises(RuntimeError, match="engine lost"):
        play(env, breaks)
