"""What travels between the loop, the engines and the learner: requests, samples, groups. Plain frozen facts.

A sample is a list of segments because one response may be drawn in several pieces, each with its own weights and
temperature (a partial rollout), or may hold observations that the policy did not write (a multi-turn task). The loss
reads `is_sampled`; everything else in a segment is there so that its log-probabilities can be recomputed exactly.
Token-in, token-out: text is for verifiers and people and is never re-tokenised.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from typing import Literal

from gyms.api import Message, Turn
from rollout.repetition import Repetition
from rollout.routing import Routing

__all__ = ["FinishReason", "PlayedTurn", "Sample", "SampleRequest", "Segment"]


class FinishReason(StrEnum):
    """Why a response ended."""

    STOP = "stop"
    """The policy ended it with an end token."""
    LENGTH = "length"
    """Its token budget ran out: the sample is truncated."""
    REPETITION = "repetition"
    """It repeated itself and was stopped (rollout/repetition.py): the sample is truncated."""
    PAUSED = "paused"
    """It got the tokens of this step, and goes on in the next (rl/partial.py)."""
    TURNS = "turns"
    """The last turn of its episode was taken."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SampleRequest:
    """One response to be drawn.

    Example:
        SampleRequest(id="s3/d12/k5", prompt_ids=(1, 40, 7), budget=24, temperature=1.0, seed=913)
    """

    id: str
    """Unique among the requests in flight on an engine."""
    prompt_ids: tuple[int, ...]
    """Token ids of the prompt."""
    budget: int
    """Most tokens of the response, > 0."""
    temperature: float
    """Sampling temperature >= 0; 0 is greedy."""
    seed: int
    """Seed of this sample's own random generator, in [0, 2**63): a function of (run seed, step, draw, k)."""
    choices: tuple[str, ...] = ()
    """Where not empty, the only responses that decoding allows."""
    json_schema: str = ""
    """Where not empty, a JSON schema that decoding enforces; at most one of the two is given."""
    repetition: Repetition | None = None
    """The loop at which it is stopped; None: only its end token or its budget ends it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Segment:
    """A stretch of one response drawn under one policy."""

    token_ids: tuple[int, ...]
    """[T] token ids; an end token that the policy sampled is among them."""
    logprobs: tuple[float, ...]
    """[T] log-probabilities (nats) of the engine under the distribution drawn from, temperature included."""
    weight_version: int
    """Version of the weights that drew it."""
    temperature: float
    """Temperature it was drawn with."""
    is_sampled: bool = True
    """False for observations: text that the policy did not write and that carries no loss."""
    context_ids: tuple[int, ...] | None = None
    """Where the context was rewritten: the very tokens, prompt included, behind which this segment was drawn. None: it
    stands behind the segment before it."""
    rewritten_for: Literal["thoughts", "room"] | None = field(default=None, compare=False)
    """Why it was: the chat template leaves thoughts out (rollout/past_turns.py), or there was no room
    (rollout/context.py). None: it was not, or its checkpoint is of a version that did not say."""
    routing: Routing | None = None
    """The experts of all tokens up to its last, context included: what the engine computed it behind. Only of the last
    sampled segment behind a context, where `learner.replay_routing` asks for it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PlayedTurn:
    """A turn of an episode, as it was read, and what the environment said to it."""

    turn: Turn
    reply: tuple[Message, ...] = ()

    @property
    def lines(self) -> list[str]:
        """What people read of it."""
        calls = [
            f"-> {call.tool}({'?' if call.arguments is None else dict(call.arguments)})" for call in self.turn.calls
        ]
        said = [self.turn.text] if self.turn.text or not calls else []
        return [*said, *calls, *(f"<- {message['content']}" for message in self.reply)]


@dataclass(frozen=True, slots=True, kw_only=True)
class Sample:
    """One response, or one episode.

    Example:
        Sample(id="s3/d12/k5", prompt_ids=(1, 40, 7), finish_reason=FinishReason.STOP, text="42",
               segments=(Segment(token_ids=(52, 2), logprobs=(-0.1, -0.02), weight_version=3, temperature=1.0),))
    """

    id: str
    prompt_ids: tuple[int, ...]
    segments: tuple[Segment, ...]
    finish_reason: FinishReason
    text: str
    """The response decoded without special tokens: what verifiers and people read. Of an episode, its turns."""
    turns: tuple[PlayedTurn, ...] = ()
    """Of an episode; empty for a response of a gym of one turn."""
    world_seed: int = 0
    """Of what the environment of an episode drew."""

    @property
    def sequences(self) -> list[tuple[tuple[int, ...], tuple[Segment, ...]]]:
        """What the policy saw and wrote: contexts, and the segments behind each; every segment is in one of them.

        One, behind the prompt, unless the context was rewritten.
        """
        found: list[tuple[tuple[int, ...], tuple[Segment, ...]]] = []
        for segment in self.segments:
            if segment.context_ids is not None:
                found.append((segment.context_ids, (segment,)))
            else:
                context, before = found.pop() if found else (self.prompt_ids, ())
                found.append((context, (*before, segment)))
        return found

    @property
    def rewritten_for(self) -> Literal["thoughts", "room"] | None:
        """Why its context was rewritten: for thoughts alone, or at least once for room or for what is not known."""
        reasons = {segment.rewritten_for for segment in self.segments if segment.context_ids is not None}
        return ("thoughts" if reasons == {"thoughts"} else "room") if reasons else None

    @property
    def is_truncated(self) -> bool:
        """Stopped by its token budget, or for repeating itself, rather than by the policy."""
        return self.finish_reason in (FinishReason.LENGTH, FinishReason.REPETITION)

    @property
    def is_paused(self) -> bool:
        """Unfinished: it goes on in the next step."""
        return self.finish_reason is FinishReason.PAUSED

    @property
    def num_tokens(self) -> int:
        """Length of the response in tokens, observations included."""
        return sum(len(segment.token_ids) for segment in self.segments)

    @property
    def num_sampled(self) -> int:
        """Tokens that the policy sampled."""
        return sum(len(segment.token_ids) for segment in self.segments if segment.is_sampled)

    @property
    def token_ids(self) -> tuple[int, ...]:
        """[T] token ids of the whole response."""
        return tuple(token for segment in self.segments for token in segment.token_ids)

    @property
    def logprobs(self) -> tuple[float, ...]:
        """[T] engine log-probabilities of the whole response."""
        return tuple(value for segment in self.segments for value in segment.logprobs)
