"""Episodes: a scripted policy plays the adder, and every way out is seen: done, cut off, too long, out of turns."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest

from gyms.adder.gym import Adder
from gyms.api import Episode, Reply, Score, Services, Status, Task, Turn, tool_result
from gyms.episodes.turns import turn_of_json
from gyms.mixture import Draw, EpisodeLimits, GymEntry
from reward.rules import TruncationRule
from rl.batch import learning_batch
from rl.collect import collect, sample_seed
from rl.partial import PartialGroup
from rl.sample_rows import minibatches_of, sample_rows
from rollout.context import HIDDEN
from rollout.repetition import Repetition, first_repetition
from rollout.routing import Routing
from rollout.tool_calls import read_turn
from rollout.types import FinishReason, Sample, SampleRequest, Segment

Script = Callable[[int, int], str]
"""What the policy says at a turn, by sibling and turn."""


class Scripted:
    """A policy whose tokens are characters: a turn is its text and the end token 0, its experts the turn's number."""

    def __init__(self, script: Script) -> None:
        self.script = script
        self.requests: list[SampleRequest] = []

    def prompt_ids(self, task: Task, tools=()) -> tuple[int, ...]:
        return tuple(map(ord, task.prompt[0]["content"]))

    async def sample(self, request: SampleRequest, *, group: str) -> Sample:
        self.requests.append(request)
        await asyncio.sleep(0)
        _, _, k, turn = map(int, request.id.split("/"))
        text = self.script(k, turn)
        ids = (*map(ord, text), 0)
        is_cut = len(ids) > request.budget
        ids, reason = ids[: request.budget], FinishReason.LENGTH if is_cut else FinishReason.STOP
        if request.repetition is not None and (end := first_repetition(ids, request.repetition)) is not None:
            ids, reason = ids[:end], FinishReason.REPETITION
        logprobs = tuple(-1.0 - turn for _ in ids)
        routing = Routing.of(np.full((len(request.prompt_ids) + len(ids) - 1, 1, 1), turn))
        return Sample(
            id=request.id,
            prompt_ids=request.prompt_ids,
            segments=(
                Segment(
                    token_ids=ids, logprobs=logprobs, weight_version=4, temperature=request.temperature, routing=routing
                ),
            ),
            finish_reason=reason,
            text="".join(map(chr, ids)).rstrip("\0"),
        )

    def read_turn(self, sample: Sample, tools, *, number: int) -> Turn:
        return read_turn(sample.text, tools, tool_format="pythonic", number=number, is_truncated=sample.is_truncated)

    def reply_ids(self, draw: Draw, reply) -> tuple[int, ...]:
        return tuple(ord(c) for said in reply for c in f"{said['content']}\n")

    def left_out(self, draw: Draw, rounds) -> frozenset[int]:
        return frozenset()

    def context_ids(self, draw: Draw, rounds, *, without: frozenset[int]) -> tuple[int, ...]:
        parts = [part for one in rounds for part in (one.turn_ids, self.reply_ids(draw, one.reply))]
        return tuple(token for part in (self.prompt_ids(draw.task), *parts) for token in part)


class InProcess:
    """Episodes of one environment, in this process."""

    def __init__(self, env: Adder) -> None:
        self.env = env
        self.open: dict[str, object] = {}
        self.seeds: list[int] = []

    async def open_episode(self, episode_id: str, gym_name: str, task: Task, *, seed: int, history=()) -> None:
        self.open[episode_id] = self.env.start(task, seed)
        for turn, reply in history:
            assert self.open[episode_id].step(turn) == reply, "a replay is answered otherwise"
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


def play(
    env: Adder, script: Script, *, budget: int = 40, max_turns: int = 6, max_tokens: int = 300,
    context: str = "fail", max_context: int | None = None, repetition: Repetition | None = None,
):  # fmt: skip
    task = env.tasks("train")[0]
    policy, host = Scripted(script), InProcess(env)
    draw = Draw(
        index=7, gym="adder", task=task, budget=budget, tools=tuple(env.tools(task)),
        limits=EpisodeLimits(
            max_turns=max_turns, max_tokens=max_tokens, context=context, max_context=max_context
        ),
    )  # fmt: skip
    found = asyncio.run(
        collect(
            policy, host, [draw], samples_per_prompt=2, temperature=0.9, seed=3, key=5,
            truncation=TruncationRule(rule="penalty", reward=-0.25), minimum=lambda gym: 0.0,
            repetition=repetition,
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


# -- contexts that are rewritten ---------------------------------------------------------------------------------------


def adds(k: int, turn: int) -> str:
    """Seven turns of a call each, then an answer that is wrong: "add(10,1k)" is answered by its sum."""
    return f"add(10,1{k})" if turn < 7 else "0."


CALL, CALLED = "add(10,10)\0", "add(10,10)\0" + "20\n"
HID = "add(10,10)\0" + HIDDEN + "\n"


def said(ids) -> str:
    return "".join(map(chr, ids))


def rewritten(env, rule: str, **limits):
    group, policy, _ = play(env, adds, max_turns=9, max_tokens=900, context=rule, **limits)
    sample = group.samples[0].sample
    prompt = said(sample.prompt_ids)
    contexts = [said(ids).removeprefix(prompt) for ids, _ in sample.sequences]
    written = ["".join(said(part.token_ids) for part in parts) for _, parts in sample.sequences]
    asked = [said(r.prompt_ids).removeprefix(prompt) for r in policy.requests if r.id.startswith("5/7/0/")]
    return group, contexts, written, asked


def test_hidden_results_make_further_sequences_each_the_context_that_the_policy_saw(env):
    group, contexts, written, asked = rewritten(env, "hide_tools", budget=12, max_context=60)
    # 14 tokens a round: behind 3 rounds there are 42, and the next turn fits; behind 4 it does not, and two are hidden
    assert asked[:4] == ["", CALLED, CALLED * 2, CALLED * 3]
    long = HID * 3 + CALLED
    assert group.samples[0].sample.finish_reason is FinishReason.LENGTH, "even hidden, it does not fit again"
    assert contexts == [""] and written == [(CALLED * 3) + CALL] and len(long) > 60 - 12


def test_hiding_goes_on_where_results_are_long(env):
    env = LongAnswers(env.settings, env.services)
    group, contexts, written, asked = rewritten(env, "hide_tools", budget=12, max_context=165)
    called, hidden = CALL + "x" * 40 + "\n", HID
    assert asked == ["", called, called * 2, hidden * 2 + called, hidden * 3 + called]
    assert contexts == ["", hidden * 2 + called, hidden * 3 + called]
    assert written == [called * 2 + CALL, CALL, CALL]
    sample = group.samples[0].sample
    assert sample.finish_reason is FinishReason.LENGTH
    assert sample.num_sampled == 5 * len(CALL)


@pytest.mark.parametrize(("rule", "kept"), [("keep_last", CALLED), ("discard_all", "")])
def test_what_is_kept_of_the_rounds_begins_the_next_sequence(env, rule, kept):
    group, contexts, written, asked = rewritten(env, rule, budget=12, max_context=60)
    assert asked[:5] == ["", CALLED, CALLED * 2, CALLED * 3, kept]
    assert contexts[:2] == ["", kept] and written[0] == CALLED * 3 + CALL
    assert asked[5] == kept + CALLED
    assert group.samples[0].sample.finish_reason is FinishReason.STOP
    assert group.samples[0].score.value == 0.0
    assert "".join(written).count("add") == 7 and written[-1].endswith("0.\0")


def test_the_loss_falls_on_each_sampled_token_once_whatever_was_rewritten(env):
    def mixed(k: int, turn: int) -> str:
        return adds(k, turn) if k else solver(env)(0, turn)

    group, _, _ = play(env, mixed, budget=30, max_turns=9, max_tokens=900, context="discard_all", max_context=60)
    assert [len(s.sample.sequences) for s in group.samples] == [1, 3]
    batch = learning_batch([group], step=5, seed=3, num_minibatches=1, drop_zero_spread=True)
    (minibatch,) = batch.minibatches
    assert [sample.number for sample in minibatch.samples] == [0, 1, 3, 5]
    assert sum(sum(sample.loss_mask) for sample in minibatch.samples) == minibatch.num_tokens
    assert minibatch.num_tokens == sum(s.sample.num_sampled for s in group.samples) and minibatch.num_samples == 2
    lost = group.samples[1].sample
    parts = [sample for sample in minibatch.samples if sample.number % 2]
    assert [p.prompt_ids for p in parts] == [ids for ids, _ in lost.sequences]
    assert sum((p.token_ids for p in parts), ()) == lost.token_ids
    assert {p.num_counted for p in parts} == {lost.num_sampled} and {p.advantage for p in parts} == {-0.5}
    fresh = [list(batch.fresh(p.number)) for p in parts]
    assert fresh == [list(p.loss_mask) for p in parts]
    old = {p.number: tuple(-p.number - t / 3 for t in range(len(p.token_ids))) for p in minibatch.samples}
    rows = json.loads(json.dumps(sample_rows(5, [group], batch=batch, old_logprobs=old)))
    assert [row["context"] for row in rows] == [None, "room"]
    (again,) = minibatches_of(rows, num_minibatches=1)
    assert again.samples == tuple(replace(p, old_logprobs=old[p.number]) for p in minibatch.samples)
    assert (again.num_samples, again.num_tokens) == (minibatch.num_samples, minibatch.num_tokens)


class LongAnswers(Adder):
    """An adder whose tool says 40 characters."""

    def start(self, task, seed):
        return Wordy()


class Wordy(Episode):
    def step(self, turn: Turn) -> Reply:
        return Reply(messages=tuple(tool_result(call, "x" * 40) for call in turn.calls))

    def score(self) -> Score:
        return Score(status=Status.OK, value=0.0)


# -- episodes over several steps ---------------------------------------------------------------------------------------


def over_steps(env, script: Script, *, segment_tokens: int | None, through_json: bool = True, **limits):
    """Steps until nothing is carried any more: the finished group, the policy's requests and what each step carried."""
    task, host = env.tasks("train")[0], InProcess(env)
    facts = {"max_turns": 9, "max_tokens": 900, "context": "fail", "max_context": None} | limits
    entry = GymEntry(name="adder", gym=env, share=1.0, budget=12, limits=EpisodeLimits(**facts))
    draw = entry.draw(7, task, place=0)
    carried, requests, states = (), [], []
    for step in range(5, 30):
        policy = Scripted(script)
        found = asyncio.run(
            collect(
                policy, host, [draw] if step == 5 else [], samples_per_prompt=2, temperature=0.9, seed=3, key=step,
                truncation=TruncationRule(rule="penalty", reward=-0.25), minimum=lambda gym: 0.0,
                carried=carried, segment_tokens=segment_tokens,
            )  # type: ignore[arg-type]
        )  # fmt: skip
        assert not host.open, "a paused episode was left open"
        requests.append(policy.requests)
        carried = found.carried
        if not carried:
            return found.groups[0], requests, states
        states.append(carried[0].state_dict())
        if through_json:
            carried = (PartialGroup.from_state(json.loads(json.dumps(states[-1])), [entry]),)
    raise AssertionError("the episode never ends")


@pytest.mark.parametrize("context", ["fail", "hide_tools", "keep_last", "discard_all"])
@pytest.mark.parametrize("segment_tokens", [1, 12, 25, 60])
def test_an_episode_over_several_steps_is_the_one_that_is_played_in_one(env, context, segment_tokens):
    limits = {} if context == "fail" else {"context": context, "max_context": 90 if context == "hide_tools" else 40}
    group, requests, states = over_steps(env, adds, segment_tokens=segment_tokens, **limits)
    whole, (asked,), _ = over_steps(env, adds, segment_tokens=None, **limits)
    assert [s.sample for s in group.samples] == [s.sample for s in whole.samples]
    reason = "room" if context in ("keep_last", "discard_all") else None  # hidden results are longer here: nothing fits
    assert {s.sample.rewritten_for for s in group.samples} == {reason}
    assert [s.score for s in group.samples] == [s.score for s in whole.samples]
    spread = [r for step in requests for r in step]
    assert {r.id: r for r in spread} == {r.id: r for r in asked} and len(spread) == len(asked), "no turn is drawn twice"
    assert len(states) >= (segment_tokens < 60), "it was carried"


def test_an_episode_pauses_behind_the_turn_that_reaches_its_tokens(env):
    _, requests, states = over_steps(env, adds, segment_tokens=12)
    turns = [len(state["siblings"][0]["turns"]) for state in states]
    assert turns == [2, 4, 6], "a turn of 11 tokens is too little, two are enough"
    assert [len(step) for step in requests] == [4, 4, 4, 4]
    assert {state["siblings"][0]["finish_reason"] for state in states} == {"paused"}
    assert all(state["siblings"][0]["score"] is None for state in states)


def test_the_last_turn_of_each_context_alone_carries_its_experts_whatever_paused_in_between(env):
    group, _, states = over_steps(env, adds, segment_tokens=12, context="discard_all", max_context=40)
    sample = group.samples[0].sample
    assert len(states) == 3, "it paused behind every second turn"
    # a round is 14 tokens: behind two there is room for a turn of 12, behind three there is not
    turns = [part.routing and int(part.routing.array()[0, 0, 0]) for part in sample.segments if part.is_sampled]
    assert turns == [None, None, 2, None, None, 5, None, 7]
    assert all(part.routing is None for part in sample.segments if not part.is_sampled)
    for context_ids, parts in sample.sequences:
        num_known = len(context_ids) + sum(len(part.token_ids) for part in parts) - 1
        assert parts[-1].routing.array().shape == (num_known, 1, 1)
    paused = [[bool(part["routing"]) for part in s["siblings"][0]["segments"] if part["is_sampled"]] for s in states]
    assert paused == [[False, True], [False, False, True, True], [False, False, True, False, False, True]]


def test_a_sibling_that_has_ended_waits_with_its_score(env):
    group, requests, states = over_steps(env, lambda k, turn: "0." if k else adds(k, turn), segment_tokens=12)
    assert [sibling["score"] is None for sibling in states[0]["siblings"]] == [True, False]
    assert [len(step) for step in requests] == [3, 2, 2, 2]
    assert [len(s.sample.turns) for s in group.samples] == [8, 1]


def test_a_turn_that_repeats_itself_ends_the_episode_as_one_that_was_cut_off(env):
    def says(k: int, turn: int) -> str:
        return "add(1,2)" if turn < 2 or k else "add(1,1,1,1,1,1)"

    wanted = Repetition(min_count=4, min_pattern_tokens=1, max_pattern_tokens=4)
    group, policy, _ = play(env, says, repetition=wanted)
    looped, other = (scored.sample for scored in group.samples)
    assert {request.repetition for request in policy.requests} == {wanted}, "of every turn"
    assert looped.finish_reason is FinishReason.REPETITION and looped.is_truncated
    assert len(looped.turns) == 3 and said(looped.segments[-1].token_ids) == "add(1,1,1,1,"
    assert group.samples[0].score.status is Status.TRUNCATED and group.samples[0].reward.value == -0.25
    assert other.finish_reason is FinishReason.TURNS, "turns that are alike are no loop"
