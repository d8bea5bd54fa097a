"""An episode: the policy's turns and what the environment answers, until one of them, or a limit, ends it.

    prompt -> (sample a turn -> read it -> step -> its observation's tokens)* -> score

The context only grows: a turn is sampled behind all tokens before it, so the engine's prefix cache holds them, and the
whole episode is one sequence for the learner, with observations under the loss mask. Where it would outgrow the gym's
`context_tokens`, it is rewritten by the gym's rule (rollout/context.py); what is sampled from then on is a further
sequence for the learner, behind the very tokens that the policy saw. All of it is a function of (seed, step, draw, k)
and the weights: turns have seeds of their own, and siblings live in the same world.

| what ends it | finish reason | score |
|---|---|---|
| the environment is done, or broke | `stop` | the environment's, or the fault's |
| a turn, the context, or the episode ran out of tokens | `length` | truncated: the run's rule (`reward.truncation`) |
| the last turn was taken | `turns` | the environment's, as far as it came |

A turn that its budget cut off ends the episode: half a call is none, and half an answer is not to be paid.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Protocol

from gyms.api import Message, Reply, Score, Status, Task, Tool, Turn
from gyms.mixture import Draw
from rollout.context import Round, rewritten
from rollout.types import FinishReason, PlayedTurn, Sample, SampleRequest, Segment

__all__ = ["PlaysEpisodes", "TakesTurns", "play"]


class TakesTurns(Protocol):
    """The served policy, as an episode sees it: `rl.turns.ServedPolicy`."""

    async def sample(self, request: SampleRequest, *, lane: int) -> Sample: ...

    def read_turn(self, sample: Sample, tools: Sequence[Tool], *, number: int) -> Turn:
        """What the policy did at turn `number`."""
        ...

    def reply_ids(self, draw: Draw, reply: Sequence[Message]) -> tuple[int, ...]:
        """Token ids between the policy's turn and its next one."""
        ...


class PlaysEpisodes(Protocol):
    """Where environments live: `reward.scorer.Scorer`."""

    async def open_episode(self, episode_id: str, gym_name: str, task: Task, *, seed: int) -> None: ...

    async def step(self, episode_id: str, place: int, turn: Turn) -> Reply: ...

    async def score_episode(self, episode_id: str) -> Score: ...

    async def close_episode(self, episode_id: str) -> None: ...


async def play(
    policy: TakesTurns,
    scorer: PlaysEpisodes,
    draw: Draw,
    first: SampleRequest,
    *,
    lane: int,
    world_seed: int,
    turn_seed: Callable[[int], int],
) -> tuple[Sample, Score]:
    """One episode of a draw that has limits.

    Args:
        first: asks for the first turn; its id names the episode.
        world_seed: of what the environment draws.
        turn_seed: the seed of turn 1, 2, ...; `first` has that of turn 0.
    """
    assert draw.limits is not None
    await scorer.open_episode(first.id, draw.gym, draw.task, seed=world_seed)
    try:
        sample = await _turns(policy, scorer, draw, first, lane=lane, turn_seed=turn_seed)
        sample = replace(sample, world_seed=world_seed)
        if sample.is_truncated:
            return sample, Score(status=Status.TRUNCATED)
        return sample, await scorer.score_episode(first.id)
    finally:
        await scorer.close_episode(first.id)


async def _turns(
    policy: TakesTurns,
    scorer: PlaysEpisodes,
    draw: Draw,
    first: SampleRequest,
    *,
    lane: int,
    turn_seed: Callable[[int], int],
) -> Sample:
    limits = draw.limits
    assert limits is not None
    segments: list[Segment] = []
    turns: list[PlayedTurn] = []
    room, context = limits.max_tokens, first.prompt_ids
    rounds: tuple[Round, ...] = ()
    is_rewritten = False

    def ended(reason: FinishReason) -> Sample:
        return Sample(
            id=first.id, prompt_ids=first.prompt_ids, segments=tuple(segments), finish_reason=reason,
            text="\n".join(text for played in turns for text in played.lines), turns=tuple(turns),
        )  # fmt: skip

    def observe(ids: tuple[int, ...]) -> None:
        last = segments[-1]
        segments.append(
            Segment(
                token_ids=ids, logprobs=(0.0,) * len(ids), weight_version=last.weight_version,
                temperature=last.temperature, is_sampled=False,
            )
        )  # fmt: skip

    def between(reply: Sequence[Message]) -> tuple[int, ...]:
        return policy.reply_ids(draw, reply)

    def fits(ids: tuple[int, ...]) -> bool:
        """Whether a whole turn can be sampled behind them."""
        wanted = len(ids) - len(first.prompt_ids) + min(draw.budget, room)
        return limits.max_context is None or wanted <= limits.max_context

    for number in range(limits.max_turns):
        request = SampleRequest(
            id=f"{first.id}/{number}", prompt_ids=context, budget=min(draw.budget, room),
            temperature=first.temperature, seed=turn_seed(number) if number else first.seed,
        )  # fmt: skip
        drawn = await policy.sample(request, lane=lane)
        if is_rewritten:
            begun, *rest = drawn.segments
            segments += [replace(begun, context_ids=context), *rest]
        else:
            segments += drawn.segments
        turn = policy.read_turn(drawn, draw.tools, number=number)
        if drawn.is_truncated:
            turns.append(PlayedTurn(turn=turn))
            return ended(FinishReason.LENGTH)
        reply = await scorer.step(first.id, number, turn)
        turns.append(PlayedTurn(turn=turn, reply=reply.messages))
        if reply.is_done:
            return ended(FinishReason.STOP)
        if number + 1 == limits.max_turns:
            break
        observed = between(reply.messages)
        room -= drawn.num_tokens + len(observed)
        if room <= 0:
            return ended(FinishReason.LENGTH)
        context = (*context, *drawn.token_ids, *observed)
        rounds = (*rounds, Round(turn_ids=drawn.token_ids, reply=reply.messages))
        is_rewritten = not fits(context) and limits.context != "fail"
        if is_rewritten:
            context, rounds = rewritten(limits.context, first.prompt_ids, rounds, between)
        if not fits(context):
            return ended(FinishReason.LENGTH)
        if not is_rewritten:
            observe(observed)
    return ended(FinishReason.TURNS)
