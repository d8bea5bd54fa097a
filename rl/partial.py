"""Partial rollouts: a long response does not hold its step; it goes on under the next weights (Kimi K1.5, 2.6.2).

With `rollout.segment_tokens` a response gets at most so many new tokens a step. What is unfinished then is carried with
its group to the next step, behind the tokens that it has, and a group is learned from when its last sibling has ended.
So a step costs what its segments cost, whatever the longest response does; each segment keeps the version of the
weights and the temperature that drew it, and the engine's log-probabilities.

*What is cut is a function of the response alone*: no clock and no neighbour decides, so a run that was stopped and goes
on carries the same. A segment has a seed of its own, a function of (run seed, step and draw that began it, k, segment).
*Staleness* is bounded by the budget: a response spans at most budget / segment_tokens steps, rounded up.

Episodes pause between two turns (rl/episodes.py). A loop is looked for in the whole response (rollout/repetition.py).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields, replace
from typing import Any, Protocol

from gyms.api import Score, Task
from gyms.episodes.turns import turn_as_json, turn_of_json
from gyms.lazy import find_tasks
from gyms.mixture import Draw, GymEntry
from reward.wire import score_as_json, stored_score
from rollout.repetition import Repetition, first_repetition
from rollout.routing import Routing
from rollout.types import FinishReason, PlayedTurn, Sample, SampleRequest, Segment

__all__ = ["PartialGroup", "Respond", "Scored", "respond"]

Scored = tuple[Sample, Score | None]
"""A sibling and its score; None while it is unfinished, or waits to be scored together with its siblings."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PartialGroup:
    """The siblings of a draw of which one is unfinished, or more."""

    draw: Draw
    step: int
    """That began it."""
    siblings: tuple[Scored, ...]
    """[K] in the order in which they were asked for."""

    @property
    def num_unfinished(self) -> int:
        """Siblings that go on."""
        return sum(sample.is_paused for sample, _ in self.siblings)

    def state_dict(self, entries: Sequence[GymEntry] = ()) -> dict[str, Any]:
        """Plain data; of the draw its number and its task's place, from which its gym makes it again.

        Args:
            entries: the gyms whose tasks may have changed since; what is gone from one of them is kept whole.
        """
        task = self.draw.task
        is_gone = any(
            entry.name == self.draw.gym and _found(entry, task.id, self.draw.place) is None for entry in entries
        )
        return {
            "step": self.step,
            "draw": self.draw.index,
            "gym": self.draw.gym,
            "place": self.draw.place,
            "task": task.id,
            "content": [list(map(dict, task.prompt)), dict(task.data)] if is_gone else None,
            "num_dropped": self.draw.num_dropped,
            "is_ungated": self.draw.is_ungated,
            "siblings": [
                {
                    "id": sample.id,
                    "prompt_ids": list(sample.prompt_ids),
                    "finish_reason": str(sample.finish_reason),
                    "text": sample.text,
                    "segments": list(map(_segment_as_json, sample.segments)),
                    "turns": [
                        [turn_as_json(played.turn), [dict(said) for said in played.reply]] for played in sample.turns
                    ],
                    "world_seed": sample.world_seed,
                    "score": None if score is None else score_as_json(score),
                }
                for sample, score in self.siblings
            ],
        }

    @classmethod
    def from_state(cls, state: dict[str, Any], entries: Sequence[GymEntry]) -> PartialGroup:
        """What `state_dict` gave.

        Args:
            entries: the gyms of the run.
        """
        (entry,) = (entry for entry in entries if entry.name == state["gym"])
        if state.get("content"):
            prompt, data = state["content"]
            task: Task | None = Task(id=state["task"], prompt=tuple(prompt), data=data)
        else:
            task = _found(entry, state["task"], state["place"])
        if task is None:
            raise ValueError(
                f"gym {entry.name!r} has no task {state['task']!r} any more, of which a carried group goes on"
            )
        draw = entry.draw(
            state["draw"], task, place=state["place"],
            num_dropped=state["num_dropped"], is_ungated=state["is_ungated"],
        )  # fmt: skip
        return cls(draw=draw, step=state["step"], siblings=tuple(map(_sibling, state["siblings"])))


def _found(entry: GymEntry, name: str, place: int | None) -> Task | None:
    """The train task of that id, which is at that place unless its gym's tasks have changed since (the critic's do)."""
    return find_tasks(entry.gym.tasks("train"), {name: place}).get(name)


def _sibling(state: dict[str, Any]) -> Scored:
    sample = Sample(
        id=state["id"],
        prompt_ids=tuple(state["prompt_ids"]),
        segments=tuple(map(_segment_of_json, state["segments"])),
        turns=tuple(PlayedTurn(turn=turn_of_json(turn), reply=tuple(reply)) for turn, reply in state["turns"]),
        world_seed=state["world_seed"],
        finish_reason=FinishReason(state["finish_reason"]),
        text=state["text"],
    )
    return sample, None if state["score"] is None else stored_score(state["score"])


def _segment_as_json(segment: Segment) -> dict[str, Any]:
    found = {field.name: getattr(segment, field.name) for field in fields(segment)}
    if segment.routing is not None:
        found["routing"] = segment.routing.as_json()
    return {name: list(value) if isinstance(value, tuple) else value for name, value in found.items()}


def _segment_of_json(state: dict[str, Any]) -> Segment:
    found: dict[str, Any] = {k: tuple(value) if isinstance(value, list) else value for k, value in state.items()}
    if found.get("routing") is not None:
        found["routing"] = Routing.of_json(found["routing"])
    return Segment(**found)


class Respond(Protocol):
    """The served policy, as a response sees it."""

    async def sample(self, request: SampleRequest, *, group: str) -> Sample: ...

    def text(self, token_ids: Sequence[int]) -> str:
        """What tokens say, special ones left out."""
        ...


async def respond(
    policy: Respond,
    whole: SampleRequest,
    so_far: Sample | None,
    *,
    segment_tokens: int | None,
    segment_seed: Callable[[int], int],
    group: str,
) -> Sample:
    """A response, drawn to its end or for a segment.

    Args:
        whole: asks for all of it, at the temperature of this step.
        so_far: what there is of it; as it is where that is finished.
        segment_tokens: most new tokens; None: no limit but the budget.
        segment_seed: the seed of segment 1, 2, ...; `whole` has that of segment 0.
        group: that it belongs to.
    """
    if so_far is not None and not so_far.is_paused:
        return so_far
    segments, before = (so_far.segments, so_far.token_ids) if so_far is not None else ((), ())
    room = whole.budget - len(before)
    request = replace(whole, budget=min(room, segment_tokens or room))
    if number := len(segments):
        request = replace(
            request,
            id=f"{whole.id}/{number}",
            prompt_ids=(*whole.prompt_ids, *before),
            seed=segment_seed(number),
        )
    drawn = await policy.sample(request, group=group)
    if drawn.finish_reason is FinishReason.LENGTH and request.budget < room:
        drawn = replace(drawn, finish_reason=FinishReason.PAUSED)
    if whole.repetition is not None and segment_tokens is not None:
        drawn = stopped_in_loop(before, drawn, whole.repetition)
    is_cut = drawn.finish_reason is FinishReason.REPETITION
    return Sample(
        id=whole.id,
        prompt_ids=whole.prompt_ids,
        segments=(*(replace(segment, routing=None) for segment in segments), *drawn.segments),
        finish_reason=drawn.finish_reason,
        text=policy.text((*before, *drawn.token_ids)) if segments or is_cut else drawn.text,
    )


def stopped_in_loop(before: Sequence[int], drawn: Sample, wanted: Repetition) -> Sample:
    """A segment up to the first loop of the whole response, if there is one.

    The engine sees loops within the segment alone, and none at its last token. As there, a token that ends the response
    anyway, an end token or the last of the budget, is not looked at.
    """
    is_ended = drawn.finish_reason in (FinishReason.STOP, FinishReason.LENGTH)
    ids = (*before, *drawn.token_ids)
    end = first_repetition(ids[: len(ids) - is_ended], wanted, begin=len(before))
    if end is None:
        return drawn
    (segment,), kept = drawn.segments, end - len(before)
    segment = replace(segment, token_ids=segment.token_ids[:kept], logprobs=segment.logprobs[:kept])
    return replace(drawn, segments=(segment,), finish_reason=FinishReason.REPETITION)
