"""A step's rollout with a policy and a scorer that replay what they are told, in whatever order they are told to."""

from __future__ import annotations

import asyncio
from dataclasses import replace

import pytest

from gyms.api import Score, Status, Task, message
from gyms.mixture import Draw
from gyms.response import Response, after_thoughts
from reward.rules import TruncationRule
from rl.accuracy import evaluate
from rl.collect import collect, sample_seed
from rollout.types import FinishReason, Sample, SampleRequest, Segment


class CannedPolicy:
    """Answers each request with its id after `delay(request)` event-loop turns; some run into their budget."""

    def __init__(self, *, delay=lambda request: 0, is_truncated=lambda request: False, fails=lambda request: False):
        self.delay, self.is_truncated, self.fails = delay, is_truncated, fails
        self.requests: list[SampleRequest] = []
        self.groups: dict[str, str] = {}
        self.num_cancelled = 0

    def prompt_ids(self, task: Task, tools=()) -> tuple[int, ...]:
        return tuple(task.id.encode())

    def read_response(self, sample: Sample) -> Response:
        return Response(after_thoughts(sample.text), sample.text)

    async def sample(self, request: SampleRequest, *, group: str) -> Sample:
        self.requests.append(request)
        self.groups[request.id] = group
        try:
            for _ in range(self.delay(request)):
                await asyncio.sleep(0)
        except asyncio.CancelledError:
            self.num_cancelled += 1
            raise
        if self.fails(request):
            raise RuntimeError(f"engine lost at {request.id}")
        return Sample(
            id=request.id,
            prompt_ids=request.prompt_ids,
            segments=(Segment(token_ids=(1,), logprobs=(-1.0,), weight_version=0, temperature=request.temperature),),
            finish_reason=FinishReason.LENGTH if self.is_truncated(request) else FinishReason.STOP,
            text=request.id,
        )


class CannedScorer:
    """Scores 1 where k is even; remembers what it saw."""

    def __init__(self) -> None:
        self.seen: list[str] = []

    async def score(self, request_id: str, gym_name: str, task: Task, response: str) -> Score:
        assert response == request_id
        self.seen.append(request_id)
        return Score(status=Status.OK, value=float(int(request_id.rpartition("/")[2]) % 2 == 0))


DRAWS = [
    Draw(index=40 + i, gym="sums", task=Task(id=f"t{i}", prompt=(message("user", "?"),)), budget=8 + i)
    for i in range(4)
]


def run(policy: CannedPolicy, scorer: CannedScorer, **changes):
    arguments = {
        "samples_per_prompt": 3,
        "temperature": 0.9,
        "seed": 7,
        "key": 5,
        "truncation": TruncationRule(rule="penalty", reward=-0.25),
        "minimum": lambda gym: 0.0,
    }
    return list(asyncio.run(collect(policy, scorer, DRAWS, **arguments | changes)).groups)


def test_every_draw_becomes_k_scored_siblings_under_its_own_budget():
    policy = CannedPolicy()
    groups = run(policy, CannedScorer())
    assert [group.draw for group in groups] == DRAWS
    assert [[s.reward.value for s in group.samples] for group in groups] == [[1.0, 0.0, 1.0]] * 4
    assert {(r.id, r.budget, r.prompt_ids, r.temperature) for r in policy.requests} == {
        (f"5/{40 + i}/{k}", 8 + i, tuple(f"t{i}".encode()), 0.9) for i in range(4) for k in range(3)
    }
    assert policy.groups == {f"5/{40 + i}/{k}": f"5/{40 + i}" for i in range(4) for k in range(3)}


def test_a_gym_may_have_a_temperature_and_a_rule_for_truncated_responses_of_its_own():
    policy = CannedPolicy(is_truncated=lambda request: request.id.endswith("/2"))
    own = {"temperatures": {"sums": 0.5}, "truncations": {"sums": TruncationRule(rule="penalty", reward=-1.0)}}
    groups = run(policy, CannedScorer(), **own)
    assert {request.temperature for request in policy.requests} == {0.5}
    assert [[s.reward.value for s in group.samples] for group in groups] == [[1.0, 0.0, -1.0]] * 4
    others = run(policy, CannedScorer(), temperatures={"other": 0.5}, truncations={"other": TruncationRule()})
    assert [[s.reward.value for s in group.samples] for group in others] == [[1.0, 0.0, -0.25]] * 4


@pytest.mark.parametrize("order", [1, -1, 7, 11])
def test_groups_and_samples_are_in_draw_order_whatever_finishes_first(order):
    finished = []
    policy = CannedPolicy(delay=lambda request: order * request.seed % 50)
    groups = run(policy, CannedScorer(), on_group=lambda group: finished.append(group.draw.index))
    assert [group.draw.index for group in groups] == [40, 41, 42, 43]
    assert [[s.sample.id for s in g.samples] for g in groups] == [
        [f"5/{40 + i}/{k}" for k in range(3)] for i in range(4)
    ]
    assert sorted(finished) == [40, 41, 42, 43]


def test_a_sample_is_scored_while_its_siblings_still_decode():
    scorer = CannedScorer()
    seen_at_the_end = []

    class Slow(CannedPolicy):
        async def sample(self, request, *, group):
            found = await super().sample(request, group=group)
            if request.id == "5/43/2":
                seen_at_the_end.append(len(scorer.seen))
            return found

    run(Slow(delay=lambda request: 40 if request.id == "5/43/2" else 0), scorer)
    assert seen_at_the_end == [11]


@pytest.mark.parametrize(("rule", "value", "is_masked"), [("penalty", -0.25, False), ("mask", 0.0, True)])
def test_a_truncated_response_never_reaches_the_scorer(rule, value, is_masked):
    scorer = CannedScorer()
    policy = CannedPolicy(is_truncated=lambda request: request.id.endswith("/0"))
    groups = run(policy, scorer, truncation=TruncationRule(rule=rule, reward=-0.25))
    assert not any(request_id.endswith("/0") for request_id in scorer.seen) and len(scorer.seen) == 8
    for group in groups:
        first = group.samples[0]
        assert first.score.status is Status.TRUNCATED
        assert (first.reward.value, first.reward.is_masked) == (value, is_masked)


class Thinking(CannedPolicy):
    """Every first sibling never ends its thoughts, every second one does."""

    async def sample(self, request: SampleRequest, *, group: str) -> Sample:
        told = {"0": "<think>", "1": "<think>1?</think>", "2": ""}[request.id[-1]]
        return replace(await super().sample(request, group=group), text=told + request.id)


def test_a_response_whose_thoughts_never_end_scores_nothing_and_a_gym_reads_what_stands_behind_them():
    scorer = CannedScorer()
    for group in run(Thinking(), scorer):
        assert [s.score.status for s in group.samples] == [Status.NO_ANSWER, Status.OK, Status.OK]
        assert [s.reward.value for s in group.samples] == [0.0, 0.0, 1.0]
        assert group.samples[1].sample.text == f"<think>1?</think>{group.samples[1].sample.id}"
    assert sorted(scorer.seen) == sorted(f"5/{40 + i}/{k}" for i in range(4) for k in (1, 2))


def test_siblings_that_are_judged_together_are_read_in_the_same_way():
    class Judge:
        judged = frozenset({"sums"})

        def __init__(self) -> None:
            self.seen: list[list[str | None]] = []

        async def judge_group(self, request_id, task, responses):
            self.seen.append(list(responses))
            return [Score(status=Status.OK, value=0.5 if text else 0.0) for text in responses]

    class Together(CannedScorer):
        async def score_group(self, request_id, gym_name, task, responses):
            judge.seen.append(list(responses))
            return [Score(status=Status.OK, value=0.5)] * len(responses)

    judge = Judge()
    for changes, unread in (({"judge": judge}, [None]), ({"grouped": frozenset({"sums"})}, [])):
        judge.seen.clear()
        for group in run(Thinking(), Together(), **changes):
            assert [s.score.status for s in group.samples] == [Status.NO_ANSWER, Status.OK, Status.OK]
            assert [s.reward.value for s in group.samples] == [0.0, 0.5, 0.5]
        assert judge.seen[0] == [*unread, "5/40/1", "5/40/2"]


def test_a_gym_that_scores_siblings_together_gets_the_finished_ones_at_once_and_in_order():
    class Together(CannedScorer):
        async def score_group(self, request_id, gym_name, task, responses):
            self.seen.append(f"{request_id} {gym_name} {' '.join(responses)}")
            return [Score(status=Status.OK, value=1.0 / (i + 1)) for i in range(len(responses))]

    scorer = Together()
    policy = CannedPolicy(is_truncated=lambda request: request.id in ("5/40/1", "5/41/0", "5/41/1", "5/41/2"))
    groups = run(policy, scorer, grouped=frozenset({"sums"}))
    assert scorer.seen[:2] == ["5/40 sums 5/40/0 5/40/2", "5/42 sums 5/42/0 5/42/1 5/42/2"]
    assert [s.reward.value for s in groups[0].samples] == [1.0, -0.25, 0.5]
    assert {s.score.status for s in groups[1].samples} == {Status.TRUNCATED}


def test_a_fault_of_the_model_earns_its_gyms_minimum():
    class Unreadable(CannedScorer):
        async def score(self, request_id, gym_name, task, response):
            return Score(status=Status.NO_ANSWER)

    groups = run(CannedPolicy(), Unreadable(), minimum={"sums": 0.125}.__getitem__)
    assert {s.reward.value for group in groups for s in group.samples} == {0.125}


def test_seeds_depend_on_seed_key_draw_and_k_and_on_nothing_else():
    def seeds(delay: int = 0, **changes) -> dict[str, int]:
        policy = CannedPolicy(delay=lambda request: delay * (request.seed % 3))
        run(policy, CannedScorer(), **changes)
        return {r.id.partition("/")[2]: r.seed for r in policy.requests}

    base = seeds()
    assert base == seeds(delay=9, temperature=0.1)
    assert base == {f"{40 + i}/{k}": sample_seed(7, 5, 40 + i, k) for i in range(4) for k in range(3)}
    assert base.items() <= seeds(samples_per_prompt=5).items()
    everything = [*base.values(), *seeds(seed=8).values(), *seeds(key=6).values(), *seeds(key="eval-greedy").values()]
    assert len(set(everything)) == 4 * 12
    assert all(0 <= seed < 2**63 for seed in everything)


def test_seeds_are_the_same_in_every_version_of_this_project():
    """A changed hash would silently change every resumed run: blake2b of "7/5/40/2", low 8 bytes, halved."""
    assert sample_seed(7, 5, 40, 2) == 1636781916767113590


def test_the_first_failure_cancels_all_that_is_still_running():
    policy = CannedPolicy(
        delay=lambda request: 2 if request.id == "5/41/1" else 10**6, fails=lambda request: request.id == "5/41/1"
    )

    async def fail_and_look() -> int:
        with pytest.raises(RuntimeError, match="engine lost at 5/41/1"):
            await collect(
                policy, CannedScorer(), DRAWS, samples_per_prompt=3, temperature=1.0, seed=7, key=5,
                truncation=TruncationRule(), minimum=lambda gym: 0.0,
            )  # fmt: skip
        return len(asyncio.all_tasks())

    assert asyncio.run(fail_and_look()) == 1
    assert policy.num_cancelled == 11


def test_a_prompt_that_cannot_be_rendered_fails_the_rollout_at_once():
    class NoPrompt(CannedPolicy):
        def prompt_ids(self, task, tools=()):
            raise ValueError(f"task {task.id!r} cannot be rendered")

    with pytest.raises(ValueError, match="task 't0' cannot be rendered"):
        run(NoPrompt(), CannedScorer())


def test_a_failing_evaluation_leaves_nothing_running_either():
    policy = CannedPolicy(
        delay=lambda request: 2 if request.temperature == 0.0 else 10**6, fails=lambda request: request.temperature == 0
    )

    async def fail_and_look() -> int:
        with pytest.raises(RuntimeError, match="engine lost at eval-greedy"):
            await evaluate(policy, CannedScorer(), DRAWS, temperature=1.0, seed=7)
        return len(asyncio.all_tasks())

    assert asyncio.run(fail_and_look()) == 1
    assert policy.num_cancelled == 4


def test_an_evaluation_of_k_samples_asks_every_task_once_greedily_and_k_times_sampled():
    policy = CannedPolicy()
    found = asyncio.run(evaluate(policy, CannedScorer(), DRAWS, temperature=0.7, seed=7, samples_per_task=3))
    assert sorted(r.id for r in policy.requests if r.temperature) == sorted(
        f"eval-sampled/{40 + i}/{k}" for i in range(4) for k in range(3)
    )
    assert len(policy.requests) == 4 + 12 and len({r.seed for r in policy.requests}) == 16
    assert found["sums"].best is not None and found["sums"].best.num == 4


def test_an_evaluation_asks_every_task_once_greedily_and_once_sampled():
    policy = CannedPolicy(is_truncated=lambda request: request.id == "eval-greedy/40/0")
    complete = []
    results = asyncio.run(evaluate(policy, CannedScorer(), DRAWS, temperature=0.7, seed=7, on_group=complete.append))
    assert {(r.id, r.temperature) for r in policy.requests} == {
        (f"eval-{name}/{40 + i}/0", temperature)
        for name, temperature in (("greedy", 0.0), ("sampled", 0.7))
        for i in range(4)
    }
    assert len(complete) == 8
    found = results["sums"]
    assert (found.greedy.mean, found.sampled.mean, found.truncated_frac) == (0.75, 1.0, 0.25)
