"""Rollout: every draw becomes a group of K scored siblings, each scored as soon as it is finished.

Where siblings are scored together (a judge compares them, or a gym scores groups), that happens as soon as the group is
complete, while other groups still decode.

Scoring overlaps decoding: a response leaves the engine when it ends and goes to its verifier while its siblings still
decode. A truncated response never reaches a verifier; its own rule decides. Neither does one whose thoughts never end;
what verifiers and judges read is what stands behind the thoughts (rollout/thoughts.py). A draw of many turns is played
(rl/episodes.py); one whose response outgrows its step is carried to the next (rl/partial.py). Seeds are functions of
(run seed, step, draw, k), so the order in which things finish changes nothing but the time.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import Protocol

from gyms.api import Score, Status, Task, Tool
from gyms.mixture import Draw
from gyms.response import Response
from reward.rules import TruncationRule, reward_of
from reward.together import together
from rl.batch import Group, ScoredSample
from rl.episodes import PlaysEpisodes, TakesTurns, play
from rl.partial import PartialGroup, Respond, Scored, respond
from rollout.repetition import Repetition
from rollout.types import Sample, SampleRequest

__all__ = ["Collected", "JudgesGroups", "Policy", "ScoresResponses", "collect", "sample_seed"]


_UNCLOSED = Score(status=Status.NO_ANSWER, detail="its thoughts never end")


class Policy(Respond, TakesTurns, Protocol):
    """The served policy, as the loop sees it while the engines are awake."""

    def prompt_ids(self, task: Task, tools: Sequence[Tool] = ()) -> tuple[int, ...]:
        """A task's prompt as token ids."""
        ...

    def read_response(self, sample: Sample) -> Response:
        """What counts of a sampled response."""
        ...


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


@dataclass(frozen=True, slots=True, kw_only=True)
class Collected:
    """What a rollout gave."""

    groups: tuple[Group, ...]
    """Complete ones: carried ones first, then in draw order."""
    carried: tuple[PartialGroup, ...] = ()
    """Those that go on in the next step."""


async def collect(
    policy: Policy,
    scorer: ScoresResponses,
    draws: Sequence[Draw],
    *,
    samples_per_prompt: int,
    temperature: float,
    temperatures: Mapping[str, float] = MappingProxyType({}),
    seed: int,
    key: int | str,
    truncation: TruncationRule,
    truncations: Mapping[str, TruncationRule] = MappingProxyType({}),
    minimum: Callable[[str], float],
    judge: JudgesGroups | None = None,
    grouped: frozenset[str] = frozenset(),
    on_group: Callable[[Group], None] = lambda group: None,
    carried: Sequence[PartialGroup] = (),
    segment_tokens: int | None = None,
    repetition: Repetition | None = None,
) -> Collected:
    """Sample and score `samples_per_prompt` responses for every draw; groups in draw order.

    Args:
        key: the step, or the name of an evaluation; part of every sample's seed.
        temperatures, truncations: of gyms that have their own. minimum: a gym's reward for faults of the model.
        judge: scores the groups of the gyms that need one; None (evaluation): those gyms' own `score` is asked.
        grouped: gyms that score their siblings together (`Gym.scores_groups`).
        on_group: called when a group is complete (progress). carried: groups that go on here, or are complete already.
        segment_tokens: of a response in this step, or those behind which an episode pauses; None: all end in this step.
        repetition: the loop at which a response is stopped; None: none is looked for.
    """

    async def group(draw: Draw, origin: int | str, before: Sequence[Scored]) -> Group | PartialGroup:
        name = f"{origin}/{draw.index}"
        prompt_ids = policy.prompt_ids(draw.task, draw.tools)

        async def answer(k: int) -> Sample:
            return await respond(
                policy, request(k), before[k][0] if before else None, segment_tokens=segment_tokens, group=name,
                segment_seed=lambda number: sample_seed(seed, origin, draw.index, k, "segment", number),
            )  # fmt: skip

        async def alone(k: int) -> Scored:
            if before and before[k][1] is not None:
                return before[k]
            if draw.limits is None:
                return await _scored_alone(policy, scorer, draw, await answer(k))
            return await play(
                policy, scorer, draw, request(k), group=name,
                world_seed=sample_seed(seed, origin, draw.index, "world"),
                turn_seed=lambda *key: sample_seed(seed, origin, draw.index, k, *key),
                so_far=before[k][0] if before else None, segment_tokens=segment_tokens,
            )  # fmt: skip

        def request(k: int) -> SampleRequest:
            return SampleRequest(
                id=f"{name}/{k}", prompt_ids=prompt_ids, budget=draw.budget, repetition=repetition,
                temperature=temperatures.get(draw.gym, temperature), seed=sample_seed(seed, origin, draw.index, k),
            )  # fmt: skip

        by_judge = judge if judge and draw.gym in judge.judged else None
        if (by_judge or draw.gym in grouped) and not _are_scored(before):
            samples = await together([answer(k) for k in range(samples_per_prompt)])
            siblings = await _scored_together(policy, scorer, by_judge, draw, samples, name=name)
        else:
            siblings = await together([alone(k) for k in range(samples_per_prompt)])
        if any(sample.is_paused for sample, _ in siblings):
            assert isinstance(origin, int), "an evaluation has no next step"
            return PartialGroup(draw=draw, step=origin, siblings=tuple(siblings))
        complete = _complete(draw, siblings, minimum(draw.gym), truncations.get(draw.gym, truncation))
        on_group(complete)
        return complete

    before = [(found.draw, found.step, found.siblings) for found in carried]
    jobs = [*before, *((draw, key, ()) for draw in draws)]
    found = await together([group(*job) for job in jobs])
    return Collected(
        groups=tuple(one for one in found if isinstance(one, Group)),
        carried=tuple(one for one in found if isinstance(one, PartialGroup)),
    )


def _are_scored(siblings: Sequence[Scored]) -> bool:
    return bool(siblings) and all(score is not None for _, score in siblings)


def _complete(draw: Draw, siblings: Sequence[Scored], minimum: float, truncation: TruncationRule) -> Group:
    """Scores become rewards."""
    rewards = [(s, score, reward_of(score, minimum=minimum, truncation=truncation)) for s, score in siblings if score]
    return Group(draw=draw, samples=tuple(ScoredSample(sample=s, score=score, reward=r) for s, score, r in rewards))


async def _scored_alone(policy: Policy, scorer: ScoresResponses, draw: Draw, sample: Sample) -> Scored:
    """A response with its score, if it is finished."""
    if sample.is_paused:
        return sample, None
    if sample.is_truncated:
        return sample, Score(status=Status.TRUNCATED)
    said = policy.read_response(sample)
    sample = replace(sample, text=said.whole)  # with the marks, so that a stored row can be read again
    return sample, await scorer.score(sample.id, draw.gym, draw.task, said) if said.is_closed else _UNCLOSED


async def _scored_together(
    policy: Policy,
    scorer: ScoresResponses,
    judge: JudgesGroups | None,
    draw: Draw,
    samples: Sequence[Sample],
    *,
    name: str,
) -> list[Scored]:
    """Siblings scored by the judge or else by their gym, once all are finished; truncated ones are left out."""
    if any(sample.is_paused for sample in samples):
        return [(sample, None) for sample in samples]
    read = [None if sample.is_truncated else policy.read_response(sample) for sample in samples]
    texts = [said if said is not None and said.is_closed else None for said in read]
    if judge is not None:
        judged = await judge.judge_group(name, draw.task, texts)
        found = iter([score for score, text in zip(judged, texts, strict=True) if text is not None])
    else:
        finished = [text for text in texts if text is not None]
        found = iter(await scorer.score_group(name, draw.gym, draw.task, finished) if finished else [])
    return [
        (sample, Score(status=Status.TRUNCATED))
        if said is None
        else (replace(sample, text=said.whole), next(found) if said.is_closed else _UNCLOSED)
        for sample, said in zip(samples, read, strict=True)
    ]
