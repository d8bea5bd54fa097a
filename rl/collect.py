"""Rollout: every draw becomes a group of K scored siblings, each scored as soon as it is finished.

Where siblings are scored together (a judge compares them, or a gym scores groups), that happens as soon as the group is
complete, while other groups still decode.

Scoring overlaps decoding: a response leaves the engine when it ends and goes to its verifier while its siblings still
decode. A truncated response never reaches a verifier; its own rule decides. A draw of many turns is played
(rl/episodes.py). Seeds are functions of (run seed, step,
draw, k), so the order in which things finish changes nothing but the time.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Callable, Coroutine, Sequence
from typing import Any, Protocol, TypeVar

from gyms.api import Message, Score, Status, Task, Tool, Turn
from gyms.mixture import Draw
from reward.rules import TruncationRule, reward_of
from rl.batch import Group, ScoredSample
from rl.episodes import PlaysEpisodes, play
from rollout.types import Sample, SampleRequest

__all__ = ["JudgesGroups", "Policy", "ScoresResponses", "collect", "gather_or_cancel", "sample_seed"]


_T = TypeVar("_T")


class Policy(Protocol):
    """The served policy, as the loop sees it while the engines are awake."""

    async def sample(self, request: SampleRequest, *, lane: int) -> Sample:
        """Draw one response; `lane` picks the engine."""
        ...

    def prompt_ids(self, task: Task, tools: Sequence[Tool] = ()) -> tuple[int, ...]:
        """A task's prompt as token ids."""
        ...

    def read_turn(self, sample: Sample, tools: Sequence[Tool], *, number: int) -> Turn: ...

    def reply_ids(self, draw: Draw, reply: Sequence[Message]) -> tuple[int, ...]: ...


class ScoresResponses(PlaysEpisodes, Protocol):
    """What scores complete responses and episodes: `reward.scorer.Scorer`."""

    async def score(self, request_id: str, gym_name: str, task: Task, response: str) -> Score: ...

    async def score_group(
        self, request_id: str, gym_name: str, task: Task, responses: Sequence[str]
    ) -> Sequence[Score]: ...


class JudgesGroups(Protocol):
    """What scores the siblings of one draw together: `rl.judging.Judging`."""

    judged: frozenset[str]
    """Names of the gyms whose groups it judges."""

    async def judge_group(self, request_id: str, task: Task, responses: Sequence[str | None]) -> Sequence[Score]: ...


def sample_seed(seed: int, *key: int | str) -> int:
    """A seed in [0, 2**63) for one sample: a hash of the run's seed and the sample's coordinates."""
    text = "/".join(map(str, (seed, *key)))
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest(), "little") >> 1


async def collect(
    policy: Policy,
    scorer: ScoresResponses,
    draws: Sequence[Draw],
    *,
    samples_per_prompt: int,
    temperature: float,
    seed: int,
    key: int | str,
    truncation: TruncationRule,
    minimum: Callable[[str], float],
    judge: JudgesGroups | None = None,
    grouped: frozenset[str] = frozenset(),
    on_group: Callable[[Group], None] = lambda group: None,
) -> list[Group]:
    """Sample and score `samples_per_prompt` responses for every draw; groups in draw order.

    Args:
        key: the step, or the name of an evaluation; part of every sample's seed.
        minimum: a gym's reward for faults of the model, by gym name.
        judge: scores the groups of the gyms that need one; None (evaluation): those gyms' own `score` is asked.
        grouped: gyms that score their siblings together (`Gym.scores_groups`).
        on_group: called when a group is complete (progress).
    """

    def scored(draw: Draw, sample: Sample, score: Score) -> ScoredSample:
        reward = reward_of(score, minimum=minimum(draw.gym), truncation=truncation)
        return ScoredSample(sample=sample, score=score, reward=reward)

    async def group(lane: int, draw: Draw) -> Group:
        prompt_ids = policy.prompt_ids(draw.task, draw.tools)
        requests = [
            SampleRequest(
                id=f"{key}/{draw.index}/{k}", prompt_ids=prompt_ids, budget=draw.budget, temperature=temperature,
                seed=sample_seed(seed, key, draw.index, k),
            )
            for k in range(samples_per_prompt)
        ]  # fmt: skip

        async def alone(k: int) -> tuple[Sample, Score]:
            if draw.limits is None:
                return await _answer(policy, scorer, draw, requests[k], lane)
            return await play(
                policy, scorer, draw, requests[k], lane=lane,
                world_seed=sample_seed(seed, key, draw.index, "world"),
                turn_seed=lambda turn: sample_seed(seed, key, draw.index, k, turn),
            )  # fmt: skip

        by_judge = judge if judge is not None and draw.gym in judge.judged else None
        if by_judge is not None or draw.gym in grouped:
            pairs = await _together(policy, scorer, by_judge, draw, requests, lane, name=f"{key}/{draw.index}")
        else:
            pairs = await gather_or_cancel([alone(k) for k in range(samples_per_prompt)])
        complete = Group(draw=draw, samples=tuple(scored(draw, *pair) for pair in pairs))
        on_group(complete)
        return complete

    return await gather_or_cancel([group(position, draw) for position, draw in enumerate(draws)])


async def _answer(
    policy: Policy, scorer: ScoresResponses, draw: Draw, request: SampleRequest, lane: int
) -> tuple[Sample, Score]:
    """One response, scored as soon as it is finished."""
    sample = await policy.sample(request, lane=lane)
    if sample.is_truncated:
        return sample, Score(status=Status.TRUNCATED)
    return sample, await scorer.score(sample.id, draw.gym, draw.task, sample.text)


async def _together(
    policy: Policy,
    scorer: ScoresResponses,
    judge: JudgesGroups | None,
    draw: Draw,
    requests: Sequence[SampleRequest],
    lane: int,
    *,
    name: str,
) -> list[tuple[Sample, Score]]:
    """Siblings that are scored together, by the judge or else by their gym; truncated ones are left out."""
    samples = await gather_or_cancel([policy.sample(request, lane=lane) for request in requests])
    texts = [None if sample.is_truncated else sample.text for sample in samples]
    if judge is not None:
        judged = await judge.judge_group(name, draw.task, texts)
        found = iter([score for score, text in zip(judged, texts, strict=True) if text is not None])
    else:
        finished = [text for text in texts if text is not None]
        found = iter(await scorer.score_group(name, draw.gym, draw.task, finished) if finished else [])
    return [(s, Score(status=Status.TRUNCATED) if s.is_truncated else next(found)) for s in samples]


async def gather_or_cancel(jobs: Sequence[Coroutine[Any, Any, _T]]) -> list[_T]:
    """As asyncio.gather, but the first failure cancels the rest instead of leaving them running."""
    tasks = [asyncio.create_task(job) for job in jobs]
    try:
        return await asyncio.gather(*tasks)
    except BaseException:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        raise
