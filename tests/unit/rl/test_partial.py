"""Partial rollouts: what outgrows its step goes on under the next weights, and is learned from when it is whole."""

from __future__ import annotations

import asyncio
import json
from dataclasses import replace

import numpy as np
import pytest
import torch

from gyms.api import Gym, GymSettings, Score, Services, Status, Task, message
from gyms.mixture import Draw, GymEntry
from gyms.response import Response
from reward.rules import TruncationRule
from rl.batch import learning_batch
from rl.collect import collect, sample_seed
from rl.loss import LossInputs, k2_seq
from rl.partial import PartialGroup, respond
from rollout.repetition import Repetition
from rollout.routing import Routing
from rollout.types import FinishReason, Sample, SampleRequest, Segment

LENGTHS = {(0, 0): 2, (0, 1): 7, (1, 0): 3, (1, 1): 99, (2, 0): 1, (2, 1): 1}
"""Tokens that each response takes, by draw and sibling."""
BUDGET, SEGMENT = 8, 3
PROMPT = (7, 7)


class Policy:
    """Counts: token i of a response is 10 + i, and its last one is 0."""

    def __init__(self, version: int, temperature: float) -> None:
        self.version, self.temperature = version, temperature
        self.requests: list[SampleRequest] = []

    def prompt_ids(self, task: Task, tools=()) -> tuple[int, ...]:
        return PROMPT

    def text(self, token_ids) -> str:
        return ",".join(map(str, token_ids))

    def read_response(self, sample: Sample) -> Response:
        return Response(sample.text)

    async def sample(self, request: SampleRequest, *, group: str) -> Sample:
        self.requests.append(request)
        draw, k = map(int, request.id.split("/")[1:3])
        done, length = len(request.prompt_ids) - len(PROMPT), LENGTHS[draw, k]
        ids = tuple(10 + i if i + 1 < length else 0 for i in range(done, min(done + request.budget, length)))
        segment = Segment(
            token_ids=ids,
            logprobs=tuple(-0.5 * self.version - 0.01 * i for i, _ in enumerate(ids)),
            weight_version=self.version,
            temperature=request.temperature,
        )
        reason = FinishReason.STOP if ids[-1] == 0 else FinishReason.LENGTH
        return Sample(
            id=request.id, prompt_ids=request.prompt_ids, segments=(segment,), finish_reason=reason, text=self.text(ids)
        )


class Scorer:
    """1 for responses of an odd length; remembers what it saw."""

    def __init__(self) -> None:
        self.seen: list[str] = []

    async def score(self, request_id: str, gym_name: str, task: Task, response: str) -> Score:
        self.seen.append(request_id)
        return Score(status=Status.OK, value=float(len(response.split(",")) % 2))

    async def score_group(self, request_id, gym_name, task, responses):
        self.seen.append(request_id)
        return [Score(status=Status.OK, value=0.5) for _ in responses]


class Tasks(Gym):
    """t0 to t4: the task of a place."""

    def tasks(self, split):
        return [Task(id=f"t{i}", prompt=(message("user", "?"),)) for i in range(5)]

    def score(self, task, response):
        raise AssertionError("the scorer of this file scores")


ENTRY = GymEntry(name="g", gym=Tasks(GymSettings(), Services()), share=1.0, budget=BUDGET)


def draw(index: int) -> Draw:
    return ENTRY.draw(index, ENTRY.gym.tasks("train")[index], place=index, num_dropped=index)


def step(number: int, scorer: Scorer, carried=(), *, new=(), segment_tokens: int | None = SEGMENT, **changes):
    policy = Policy(version=number, temperature=1.0 - 0.1 * number)
    arguments = {
        "samples_per_prompt": 2, "temperature": policy.temperature, "seed": 5, "key": number,
        "truncation": TruncationRule(rule="penalty", reward=-1.0), "minimum": lambda gym: 0.0,
        "carried": carried, "segment_tokens": segment_tokens,
    }  # fmt: skip
    found = asyncio.run(collect(policy, scorer, [draw(i) for i in new], **arguments | changes))
    return found, policy


def three_steps(*, through_json: bool = False):
    scorer, carried, steps = Scorer(), (), []
    for number, new in enumerate([(0, 1), (2,), ()]):
        found, policy = step(number, scorer, carried, new=new)
        steps.append((found, policy))
        carried = found.carried
        if through_json:
            states = json.loads(json.dumps([group.state_dict() for group in carried]))
            carried = tuple(PartialGroup.from_state(state, [ENTRY]) for state in states)
    return steps, scorer


def test_a_group_is_complete_when_its_last_sibling_has_ended():
    steps, scorer = three_steps()
    assert [[group.draw.index for group in found.groups] for found, _ in steps] == [[], [2], [0, 1]]
    assert [[group.draw.index for group in found.carried] for found, _ in steps] == [[0, 1], [0, 1], []]
    assert [sum(group.num_unfinished for group in found.carried) for found, _ in steps] == [2, 2, 0]
    assert sorted(scorer.seen) == ["0/0/0", "0/0/1", "0/1/0", "1/2/0", "1/2/1"], "each is scored once, when it is whole"


def test_each_segment_keeps_the_weights_and_the_temperature_that_drew_it():
    steps, _ = three_steps()
    long, endless = steps[2][0].groups[0].samples[1].sample, steps[2][0].groups[1].samples[1].sample
    assert long.token_ids == (10, 11, 12, 13, 14, 15, 0) and long.finish_reason is FinishReason.STOP
    assert long.text == "10,11,12,13,14,15,0" and long.prompt_ids == PROMPT and long.id == "0/0/1"
    assert [(s.weight_version, s.temperature, len(s.token_ids)) for s in long.segments] == [
        (0, 1.0, 3), (1, 0.9, 3), (2, 0.8, 1),
    ]  # fmt: skip
    assert (endless.num_tokens, endless.finish_reason) == (BUDGET, FinishReason.LENGTH), "the budget is of all segments"
    assert steps[2][0].groups[1].samples[1].reward.value == -1.0


def test_a_segment_is_asked_for_behind_the_tokens_before_it_with_a_seed_of_its_own():
    steps, _ = three_steps()
    asked = [[r for r in policy.requests if r.id.startswith("0/0/1")] for _, policy in steps]
    assert [[r.id for r in requests] for requests in asked] == [["0/0/1"], ["0/0/1/1"], ["0/0/1/2"]]
    assert [r.prompt_ids for (r,) in asked] == [PROMPT, (*PROMPT, 10, 11, 12), (*PROMPT, 10, 11, 12, 13, 14, 15)]
    assert [r.budget for (r,) in asked] == [3, 3, 2]
    assert [r.seed for (r,) in asked] == [
        sample_seed(5, 0, 0, 1), sample_seed(5, 0, 0, 1, "segment", 1), sample_seed(5, 0, 0, 1, "segment", 2),
    ]  # fmt: skip


def test_what_is_carried_goes_through_a_checkpoint_unchanged():
    straight, resumed = three_steps()[0], three_steps(through_json=True)[0]
    for (one, _), (other, _) in zip(straight, resumed, strict=True):
        assert one == other


@pytest.mark.parametrize("status", list(Status))
def test_a_sibling_of_any_status_goes_through_a_checkpoint(status: Status):
    """One that was stopped in a loop is truncated, which no gym may say, while its siblings go on."""
    found, _ = step(0, Scorer(), new=(0,))
    (sample, _), unfinished = found.carried[0].siblings
    score = Score(status=status, value=1.0 if status is Status.OK else None)
    group = replace(found.carried[0], siblings=((sample, score), unfinished))
    assert PartialGroup.from_state(json.loads(json.dumps(group.state_dict())), [ENTRY]) == group


def test_without_segments_a_response_ends_in_its_step():
    found, policy = step(0, Scorer(), new=(0, 1), segment_tokens=None)
    assert [group.draw.index for group in found.groups] == [0, 1] and not found.carried
    assert {request.budget for request in policy.requests} == {BUDGET}


def test_siblings_that_are_scored_together_wait_for_each_other():
    scorer, carried = Scorer(), ()
    for number in range(3):
        found, policy = step(number, scorer, carried, new=(0,) if number == 0 else (), grouped=frozenset({"g"}))
        assert len(policy.requests) == (2 if number == 0 else 1), "who has ended is not asked again"
        carried = found.carried
        assert scorer.seen == (["0/0"] if number == 2 else [])
    assert [s.reward.value for s in found.groups[0].samples] == [0.5, 0.5]


def batch_of_last_step(**changes):
    groups = three_steps()[0][2][0].groups
    settings = {"step": 2, "seed": 5, "num_minibatches": 1, "drop_zero_spread": False, "weight_version": 2}
    return learning_batch(groups, **settings | changes)


def test_the_loss_of_a_sample_that_spans_three_versions_is_that_of_the_hand():
    """k2_seq at theta = theta_old: -A * sum of log p over the tokens learned from, each at its own temperature."""
    batch = batch_of_last_step()
    (minibatch,) = batch.minibatches
    sample = minibatch.samples[1]
    assert sample.temperatures == (1.0,) * 3 + (0.9,) * 3 + (0.8,)
    assert sample.engine_logprobs == pytest.approx((0.0, -0.01, -0.02, -0.5, -0.51, -0.52, -1.0))
    old = torch.tensor([sample.engine_logprobs])
    for stale, learned in (("learn", 7), ("mask", 1)):
        (minibatch,) = batch_of_last_step(stale_tokens=stale).minibatches
        (sample,) = [one for one in minibatch.samples if one.number == 1]
        assert sum(sample.loss_mask) == learned
        result = k2_seq(
            LossInputs(
                logprobs_NT=old.clone().requires_grad_(), old_logprobs_NT=old,
                advantages_N=torch.tensor([sample.advantage]), loss_mask_NT=torch.tensor([sample.loss_mask]),
                num_samples=minibatch.num_samples, num_tokens=minibatch.num_tokens, tau=0.1,
                clip_low=-1.0, clip_high=1.0,
            )
        )  # fmt: skip
        total = sum(sample.engine_logprobs[-learned:])
        assert result.loss.item() == pytest.approx(-sample.advantage * total / minibatch.num_samples, rel=1e-6)


def test_masked_stale_tokens_are_out_of_the_denominators_too():
    assert batch_of_last_step().minibatches[0].num_tokens == 2 + 7 + 3 + 8
    assert batch_of_last_step(stale_tokens="mask").minibatches[0].num_tokens == 1 + 2


def test_a_sample_all_of_whose_tokens_are_stale_is_counted_and_not_learned_from():
    """A minibatch of such samples alone would divide by no token."""
    (minibatch,) = batch_of_last_step(stale_tokens="mask").minibatches
    assert [sample.number for sample in minibatch.samples] == [1, 3] and minibatch.num_samples == 4
    for number, counted in ((1, 1), (3, 2)):
        (sample,) = [one for one in minibatch.samples if one.number == number]
        assert sum(sample.loss_mask) == counted


def test_the_gap_is_measured_on_tokens_of_the_served_weights_alone():
    batch = batch_of_last_step()
    old = {s.number: tuple(p + 1.0 for p in s.engine_logprobs) for s in batch.minibatches[0].samples}
    stale_differs = {n: (*(p + 50.0 for p in row[:-1]), row[-1]) for n, row in old.items()}
    gap = batch.gap(stale_differs | {3: old[3]})
    assert gap is not None and (gap.num, gap.mean) == (1 + 2, pytest.approx(1.0))


def test_a_step_in_which_nothing_is_complete_learns_nothing():
    batch = learning_batch([], step=0, seed=5, num_minibatches=2, drop_zero_spread=True)
    assert [(m.samples, m.num_samples, m.num_tokens) for m in batch.minibatches] == [((), 0, 0)] * 2


@pytest.mark.parametrize("num_groups", [1, 2, 3, 5])
def test_uneven_numbers_of_groups_are_dealt_out_whole(num_groups):
    groups = [replace(three_steps()[0][2][0].groups[0], draw=draw(i)) for i in range(num_groups)]
    batch = learning_batch(groups, step=1, seed=5, num_minibatches=2, drop_zero_spread=False)
    dealt = [sample.group for minibatch in batch.minibatches for sample in minibatch.samples]
    assert sorted(dealt) == sorted(list(range(num_groups)) * 2)


def test_a_carried_group_finds_its_task_where_its_gym_has_moved_it():
    state = step(0, Scorer(), new=(0, 1))[0].carried[1].state_dict()

    class Moved(Tasks):
        def tasks(self, split):
            return super().tasks(split)[::-1]

    moved = GymEntry(name="g", gym=Moved(GymSettings(), Services()), share=1.0, budget=BUDGET)
    assert PartialGroup.from_state(state, [moved]).draw.task.id == "t1"
    with pytest.raises(ValueError, match="has no task 'gone' any more"):
        PartialGroup.from_state({**state, "task": "gone"}, [moved])


def test_a_carried_group_whose_task_is_gone_from_its_gym_goes_on_with_it_from_a_checkpoint():
    """The critic's tasks do: its pool takes over from the sums, and drops the oldest pairs."""
    (group,) = step(0, Scorer(), new=(0, 1))[0].carried[1:]

    class Changed(Tasks):
        def tasks(self, split):
            return [one for one in super().tasks(split) if one.id != group.draw.task.id]

    changed = GymEntry(name="g", gym=Changed(GymSettings(), Services()), share=1.0, budget=BUDGET)
    assert group.state_dict([ENTRY])["content"] is None, "its gym makes it again"
    stored = json.loads(json.dumps(group.state_dict([changed])))
    assert PartialGroup.from_state(stored, [changed]) == group


class Stuck(Policy):
    """Says a script, token by token, to its end (0) or its budget; its engine looks for no loop."""

    def __init__(self, script: tuple[int, ...]) -> None:
        super().__init__(0, 1.0)
        self.script = script

    async def sample(self, request: SampleRequest, *, group: str) -> Sample:
        done = len(request.prompt_ids) - len(PROMPT)
        ids = self.script[done : done + request.budget]
        part = Segment(
            token_ids=ids, logprobs=tuple(-0.1 * t for t in ids), weight_version=0, temperature=1.0,
            routing=Routing.of(np.full((len(request.prompt_ids) + len(ids) - 1, 1, 2), done)),
        )  # fmt: skip
        reason = FinishReason.STOP if ids[-1] == 0 else FinishReason.LENGTH
        text = self.text(ids)
        return Sample(
            id=request.id, prompt_ids=request.prompt_ids, segments=(part,), finish_reason=reason, text=text
        )  # fmt: skip


def in_segments(script: tuple[int, ...], size: int, *, is_killed: bool = False) -> Sample:
    """Drawn in segments of so many tokens; of a run that is killed behind each, and goes on from its checkpoint."""
    first = SampleRequest(
        id="0/0/0", prompt_ids=PROMPT, budget=len(script), temperature=1.0, seed=1,
        repetition=Repetition(min_count=3, min_pattern_tokens=1, max_pattern_tokens=4),
    )  # fmt: skip
    found: Sample | None = None
    while found is None or found.is_paused:
        found = asyncio.run(
            respond(Stuck(script), first, found, segment_tokens=size, segment_seed=lambda number: number, group="0/0")
        )
        if is_killed and found.is_paused:
            found = from_checkpoint(found)
    return found


def test_a_response_that_goes_on_carries_the_experts_of_its_last_segment_which_saw_all_before_it() -> None:
    found = in_segments((4, 5, 6, 7, 0), 2, is_killed=True)
    last = Routing.of(np.full((len(PROMPT) + 4, 1, 2), 4))
    assert [segment.routing for segment in found.segments] == [None, None, last]


def from_checkpoint(paused: Sample) -> Sample:
    state = PartialGroup(draw=draw(0), step=0, siblings=((paused, None),)).state_dict()
    ((found, score),) = PartialGroup.from_state(json.loads(json.dumps(state)), [ENTRY]).siblings
    assert score is None
    return found


@pytest.mark.parametrize("size", range(1, 14))
def test_where_a_loop_is_stopped_does_not_depend_on_where_a_segment_begins(size):
    looped = in_segments((9, 8, 5, 6, 5, 6, 5, 6, 5, 6, 5, 6), size)
    assert looped.token_ids == (9, 8, 5, 6, 5, 6, 5, 6) and looped.finish_reason is FinishReason.REPETITION
    assert looped.logprobs == tuple(-0.1 * t for t in looped.token_ids) and looped.text == "9,8,5,6,5,6,5,6"
    assert looped.is_truncated


@pytest.mark.parametrize("size", range(1, 14))
@pytest.mark.parametrize("script", [(9, 8, 5, 6, 5, 6, 5, 6, 5, 6, 5, 6), (9, 5, 5, 0), (5, 5, 4, 5, 5, 4, 5, 5, 4, 0)])
def test_a_loop_is_stopped_at_the_same_token_after_any_number_of_kills(script, size):
    assert in_segments(script, size, is_killed=True) == in_segments(script, size)


@pytest.mark.parametrize("size", range(1, 5))
def test_a_token_that_ends_the_response_anyway_makes_no_loop(size):
    assert in_segments((9, 5, 5, 5), size).finish_reason is FinishReason.LENGTH, "the last token of its budget"
    ended = in_segments((9, 5, 5, 0), size)
    assert ended.finish_reason is FinishReason.STOP and ended.token_ids == (9, 5, 5, 0)
