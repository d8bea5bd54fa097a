"""An episode: the policy's turns and what the environment answers, until one of them, or a limit, ends it.

    prompt -> (sample a turn -> read it -> hear what it asked -> step -> its observation's tokens)* -> score

The context only grows: a turn is sampled behind all tokens before it, so the engine's prefix cache holds them, and the
whole episode is one sequence for the learner, with observations under the loss mask. It is rewritten where it would
outgrow the gym's `context_tokens`, by the gym's rule (rollout/context.py), and where the model's chat template leaves
thoughts of earlier turns out (rollout/past_turns.py); what is sampled from then on is a further sequence for the
learner, behind the very tokens that the policy saw. All of it is a function of (seed, step, draw, k) and the weights:
turns have seeds of their own, and siblings live in the same world.

| what ends it | finish reason | score |
|---|---|---|
| the environment is done, or broke, or a persona could not be asked | `stop` | the environment's, or the fault's |
| a turn, the context, or the episode ran out of tokens | `length` | truncated: the run's rule (`reward.truncation`) |
| a turn repeated itself (`rollout.repetition`) | `repetition` | truncated, too |
| the last turn was taken | `turns` | the environment's, as far as it came |

A turn that its budget cut off, or a loop, ends the episode: half a call is none, and half an answer is not to be paid.

*Over several steps.* With `rollout.segment_tokens` an episode that has sampled so many tokens in a step pauses behind
that turn, and goes on in the next step under its weights: the environment is opened again and replays what was said.
Turns are never cut. Where it pauses is a function of the episode alone, as in rl/partial.py.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Literal, Protocol

from gyms.api import Message, Reply, Score, Status, Task, Tool, Turn
from gyms.mixture import Draw
from reward.judges.api import NoReply
from rl.personas import Answers, hear
from rollout.context import Round, rewritten
from rollout.types import FinishReason, PlayedTurn, Sample, SampleRequest, Segment

__all__ = ["Course", "PlaysEpisodes", "TakesTurns", "play"]


class TakesTurns(Answers, Protocol):
    """The served policy, as an episode sees it: `rl.policy.ServedPolicy`."""

    async def sample(self, request: SampleRequest, *, group: str) -> Sample: ...

    def read_turn(self, sample: Sample, tools: Sequence[Tool], *, number: int) -> Turn:
        """What the policy did at turn `number`."""
        ...

    def reply_ids(self, draw: Draw, reply: Sequence[Message]) -> tuple[int, ...]:
        """Token ids between the policy's turn and its next one."""
        ...

    def left_out(self, draw: Draw, rounds: Sequence[Round]) -> frozenset[int]:
        """The numbers of the rounds whose thoughts the next turn is not to see."""
        ...

    def context_ids(self, draw: Draw, rounds: Sequence[Round], *, without: frozenset[int]) -> tuple[int, ...]:
        """Token ids in front of the next turn, behind these rounds, some of them without their thoughts."""
        ...


class PlaysEpisodes(Protocol):
    """Where environments live: `reward.scorer.Scorer`."""

    async def open_episode(
        self, episode_id: str, gym_name: str, task: Task, *, seed: int, history: Sequence[tuple[Turn, Reply]] = ()
    ) -> None: ...

    async def step(self, episode_id: str, place: int, turn: Turn) -> Reply: ...

    async def score_episode(self, episode_id: str) -> Score: ...

    async def close_episode(self, episode_id: str) -> None: ...


async def play(
    policy: TakesTurns,
    scorer: PlaysEpisodes,
    draw: Draw,
    first: SampleRequest,
    *,
    group: str,
    world_seed: int,
    turn_seed: Callable[..., int],
    so_far: Sample | None = None,
    segment_tokens: int | None = None,
) -> tuple[Sample, Score | None]:
    """One episode of a draw that has limits, played to its end or for a step; no score where it goes on.

    Args:
        first: asks for the first turn; its id names the episode.
        group: that the episode belongs to.
        world_seed: of what the environment draws.
        turn_seed: the seed of turn 1, 2, ... (`first` has that of turn 0), and of what a persona says in a turn, by
            (turn, "persona", place of the call).
        so_far: what was played of it in earlier steps.
        segment_tokens: sampled tokens of a step behind which it pauses; None: it never does.
    """
    course = Course(draw=draw, first=first, policy=policy)
    history = course.repeat(so_far) if so_far is not None else []
    await scorer.open_episode(first.id, draw.gym, draw.task, seed=world_seed, history=history)
    try:
        reason = await _turns(policy, scorer, course, group=group, turn_seed=turn_seed, segment_tokens=segment_tokens)
        sample = replace(course.sample(reason), world_seed=world_seed)
        if sample.is_paused:
            return sample, None
        if sample.is_truncated:
            return sample, Score(status=Status.TRUNCATED)
        if course.fault is not None:
            return sample, course.fault
        return sample, await scorer.score_episode(first.id)
    finally:
        await scorer.close_episode(first.id)


async def _turns(
    policy: TakesTurns,
    scorer: PlaysEpisodes,
    course: Course,
    *,
    group: str,
    turn_seed: Callable[..., int],
    segment_tokens: int | None,
) -> FinishReason:
    draw, name, num_sampled = course.draw, course.first.id, 0
    while True:
        number = len(course.turns)
        drawn = await policy.sample(course.request(turn_seed(number) if number else course.first.seed), group=group)
        turn = policy.read_turn(drawn, draw.tools, number=number)
        if drawn.is_truncated:
            course.take(drawn.segments, PlayedTurn(turn=turn))
            return drawn.finish_reason
        try:
            turn = await hear(
                policy, turn, draw.tools, name=f"{name}/{number}", seed=partial(turn_seed, number, "persona")
            )
        except NoReply as failure:
            course.take(drawn.segments, PlayedTurn(turn=turn))
            detail = f"gym {draw.gym!r}: the model of its persona (persona.source) could not be asked: {failure}"
            course.fault = Score(status=Status.VERIFIER_ERROR, detail=detail)
            return FinishReason.STOP
        reply = await scorer.step(name, number, turn)
        course.take(drawn.segments, PlayedTurn(turn=turn, reply=reply.messages))
        if reply.is_done:
            return FinishReason.STOP
        if (reason := course.go_on()) is not None:
            return reason
        num_sampled += drawn.num_tokens
        if segment_tokens is not None and num_sampled >= segment_tokens:
            return FinishReason.PAUSED


@dataclass(kw_only=True)
class Course:
    """How far an episode is: what was said, what the next turn is sampled behind, and what room is left. No I/O."""

    draw: Draw
    first: SampleRequest
    policy: TakesTurns
    """Asked for token ids only."""
    segments: list[Segment] = field(default_factory=list)
    turns: list[PlayedTurn] = field(default_factory=list)
    fault: Score | None = None
    """What ended it before its time, of what is ours and not the environment's."""

    def __post_init__(self) -> None:
        assert self.draw.limits is not None
        self._limits = self.draw.limits
        self._room = self._limits.max_tokens
        self._context = self.first.prompt_ids
        self._rounds: tuple[Round, ...] = ()
        self._observed: tuple[int, ...] = ()
        """What stands in front of the next turn, and in no segment yet."""
        self._rewritten_for: Literal["thoughts", "room"] | None = None
        self._without: frozenset[int] = frozenset()
        """Rounds of the context whose thoughts are left out of it."""

    def request(self, seed: int) -> SampleRequest:
        """Asks for the next turn."""
        return SampleRequest(
            id=f"{self.first.id}/{len(self.turns)}", prompt_ids=self._context, seed=seed,
            budget=min(self.draw.budget, self._room), temperature=self.first.temperature,
            repetition=self.first.repetition,
        )  # fmt: skip

    def take(self, drawn: Sequence[Segment], played: PlayedTurn) -> None:
        """The next turn: as it was drawn, and what it was."""
        begun, *rest = drawn
        if self._rewritten_for is not None:
            begun = replace(begun, context_ids=self._context, rewritten_for=self._rewritten_for)
        elif self._observed:
            before = self.segments[-1] = replace(self.segments[-1], routing=None)  # this turn's covers it
            self.segments.append(
                Segment(
                    token_ids=self._observed, logprobs=(0.0,) * len(self._observed), is_sampled=False,
                    weight_version=before.weight_version, temperature=before.temperature,
                )
            )  # fmt: skip
        self.segments += [begun, *rest]
        self.turns.append(played)
        ids = tuple(token for part in drawn for token in part.token_ids)
        self._context = (*self._context, *ids)
        self._rounds = (*self._rounds, Round(turn_ids=ids, reply=played.reply))
        self._room -= len(ids)
        self._observed, self._rewritten_for = (), None

    def go_on(self) -> FinishReason | None:
        """Make ready for the turn behind the last one; why there is none, where there is none."""
        limits = self._limits
        if len(self.turns) == limits.max_turns:
            return FinishReason.TURNS
        self._observed = self.policy.reply_ids(self.draw, self._rounds[-1].reply)
        self._room -= len(self._observed)
        if self._room <= 0:
            return FinishReason.LENGTH
        self._context = (*self._context, *self._observed)
        without = self.policy.left_out(self.draw, self._rounds)
        if without != self._without:
            self._rewrite(self._rounds, without=without, reason="thoughts")
        if not self._fits() and limits.context != "fail":
            rounds = rewritten(limits.context, self._rounds)
            self._rewrite(rounds, without=self.policy.left_out(self.draw, rounds), reason="room")
        return None if self._fits() else FinishReason.LENGTH

    def _rewrite(
        self, rounds: tuple[Round, ...], *, without: frozenset[int], reason: Literal["thoughts", "room"]
    ) -> None:
        self._rounds, self._without = rounds, without
        self._context = self.policy.context_ids(self.draw, rounds, without=without)
        self._rewritten_for = reason

    def repeat(self, so_far: Sample) -> list[tuple[Turn, Reply]]:
        """Go to where a paused episode stands; what was said there."""
        for drawn, played in zip(_drawn(so_far), so_far.turns, strict=True):
            self.take(drawn, played)
            reason = self.go_on()
            assert reason is None, f"a paused episode had ended: {reason}"
        assert tuple(self.segments) == so_far.segments, "a paused episode goes on from elsewhere"
        return [(played.turn, Reply(messages=played.reply)) for played in so_far.turns]

    def sample(self, reason: FinishReason) -> Sample:
        """The episode as it stands."""
        return Sample(
            id=self.first.id, prompt_ids=self.first.prompt_ids, segments=tuple(self.segments), finish_reason=reason,
            text="\n".join(text for played in self.turns for text in played.lines), turns=tuple(self.turns),
        )  # fmt: skip

    def _fits(self) -> bool:
        """Whether a whole turn can be sampled behind the context."""
        wanted = len(self._context) - len(self.first.prompt_ids) + min(self.draw.budget, self._room)
        return self._limits.max_context is None or wanted <= self._limits.max_context


def _drawn(sample: Sample) -> Iterator[tuple[Segment, ...]]:
    """The segments of each turn, as they were drawn; an engine draws a turn as one."""
    for segment in sample.segments:
        if segment.is_sampled:
            yield (replace(segment, context_ids=None, rewritten_for=None),)
