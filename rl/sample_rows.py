"""What rollouts/ keeps of every sample, and back: rows from which a step's update can be done again (`rl.replay`).

A row is written twice: when its step is sampled, and again when the step is done, with what the update made of it. It
holds all that a loss needs, token by token: ids of prompt and response, who wrote each stretch at which temperature
under which weights, log-probabilities of engine and learner, the advantage, and the minibatch.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from gyms.episodes.turns import turn_as_json
from rl.batch import Group, LearningBatch, LearningSample, Minibatch, ScoredSample
from rollout.routing import Routing
from rollout.types import Sample

__all__ = ["minibatches_of", "sample_rows"]

Row = dict[str, Any]
UNLEARNED: Mapping[str, None] = dict.fromkeys(("minibatch", "advantage", "old_logprobs"))
"""The columns of what the update made of a sample, before there was one."""


def sample_rows(
    step: int,
    groups: Sequence[Group],
    *,
    batch: LearningBatch | None = None,
    old_logprobs: Mapping[int, Sequence[float]] | None = None,
) -> list[Row]:
    """A row for each sample, in draw order.

    Args:
        batch: what became of the groups; None while nothing was learned.
        old_logprobs: log pi_old by the number of the sample, of those that carried a gradient.
    """
    rows = []
    for p, group in enumerate(groups):
        for k, scored in enumerate(group.samples):
            learned: Mapping[str, Any] = UNLEARNED
            if batch is not None:
                number = p * len(group.samples) + k
                num_all = len(groups) * len(group.samples)
                parts = [(old_logprobs or {}).get(number + n * num_all) for n in range(len(scored.sample.sequences))]
                old = None if None in parts else [value for part in parts for value in part or ()]
                learned = {
                    "minibatch": batch.minibatch_of[p],
                    "advantage": batch.advantages.get(number),
                    "old_logprobs": old,
                }
            rows.append({**_sampled(step, group, k, scored), **learned})
    return rows


def _sampled(step: int, group: Group, k: int, scored: ScoredSample) -> Row:
    """What was asked, answered, scored, and by which policy."""
    sample, score = scored.sample, scored.score
    return {
        "step": step,
        "draw": group.draw.index,
        "k": k,
        "gym": group.draw.gym,
        "task": group.draw.task.id,
        "place": group.draw.place,
        "prompt": [dict(m) for m in group.draw.task.prompt],
        "response": sample.text,
        "reward": scored.reward.total,
        "length_reward": scored.reward.length,
        "is_masked": scored.reward.is_masked,
        "status": str(score.status),
        "value": score.value,
        "components": dict(score.components),
        "answer": score.answer,
        "flags": sorted(score.flags),
        "detail": score.detail,
        "cases": [{"id": case.id, "passed": case.passed, "reason": case.reason} for case in score.cases],
        "provenance": dict(score.provenance),
        "finish_reason": str(sample.finish_reason),
        "num_tokens": sample.num_sampled,
        "prompt_ids": list(sample.prompt_ids),
        "token_ids": list(sample.token_ids),
        "logprobs": list(sample.logprobs),
        "temperature": sample.segments[-1].temperature,
        "weight_version": sample.segments[-1].weight_version,
        "segments": [
            {
                "num_tokens": len(segment.token_ids),
                "is_sampled": segment.is_sampled,
                "temperature": segment.temperature,
                "weight_version": segment.weight_version,
                **({} if segment.context_ids is None else {"context_ids": list(segment.context_ids)}),
                **({} if segment.routing is None else {"routing": segment.routing.as_json()}),
            }
            for segment in sample.segments
        ],
        "context": sample.rewritten_for,
        "episode": _episode(sample) if sample.turns else None,
    }


def _episode(sample: Sample) -> Row:
    """What replays it: the seed of its world and its turns, with what they were answered."""
    return {
        "seed": sample.world_seed,
        "turns": [turn_as_json(played.turn) for played in sample.turns],
        "replies": [[dict(said) for said in played.reply] for played in sample.turns],
    }


def minibatches_of(
    rows: Sequence[Mapping[str, Any]], *, num_minibatches: int, version: int | None = None
) -> tuple[Minibatch, ...]:
    """The minibatches that the update of a step saw, log pi_old included, from all rows of the step, in draw order.

    Args:
        num_minibatches: of the step; the last ones may have no rows, and still be updates by curated conversations.
        version: of the weights whose tokens alone were learned from (`rollout.stale_tokens = "mask"`); None: all.

    Raises:
        ValueError: the rows do not say what the update made of them.
    """
    if any(row.get("minibatch") is None for row in rows):
        raise ValueError(
            "its rows do not say what the update made of the samples: the step was not finished, or an older version "
            "wrote them"
        )
    places = {draw: p for p, draw in enumerate(dict.fromkeys(row["draw"] for row in rows))}
    num_siblings = 1 + max((row["k"] for row in rows), default=0)
    found = []
    for index in range(num_minibatches):
        counted = [row for row in rows if row["minibatch"] == index and row["advantage"] is not None]
        found.append(
            Minibatch(
                index=index,
                samples=tuple(
                    part
                    for row in counted
                    if row["old_logprobs"] is not None
                    for group in [places[row["draw"]]]
                    for first in [group * num_siblings + row["k"]]
                    for part in _learning_samples(
                        row, version, group, range(first, 1 << 62, len(places) * num_siblings)
                    )
                ),
                num_samples=len(counted),
                num_tokens=sum(s["num_tokens"] for row in counted for s in row["segments"] if _is_learned(s, version)),
            )
        )
    return tuple(found)


def _is_learned(segment: Mapping[str, Any], version: int | None) -> bool:
    return segment["is_sampled"] and version in (None, segment["weight_version"])


def _learning_samples(
    row: Mapping[str, Any], version: int | None, group: int, numbers: Sequence[int]
) -> Iterator[LearningSample]:
    """The sequences of a row: one, unless its context was rewritten."""
    parts: list[tuple[list[int], list[Mapping[str, Any]]]] = []
    for segment in row["segments"]:
        if "context_ids" in segment or not parts:
            parts.append((segment.get("context_ids", row["prompt_ids"]), []))
        parts[-1][1].append(segment)
    num_counted = sum(s["num_tokens"] for s in row["segments"] if _is_learned(s, version)) if len(parts) > 1 else None
    start = 0
    for number, (context_ids, segments) in zip(numbers, parts, strict=False):
        end = start + sum(segment["num_tokens"] for segment in segments)
        last = next(segment for segment in reversed(segments) if segment["is_sampled"])

        def per_token(
            of: Callable[[Mapping[str, Any]], Any], segments: Sequence[Mapping[str, Any]] = segments
        ) -> tuple[Any, ...]:
            return tuple(of(segment) for segment in segments for _ in range(segment["num_tokens"]))

        yield LearningSample(
            number=number,
            group=group,
            prompt_ids=tuple(context_ids),
            token_ids=tuple(row["token_ids"][start:end]),
            loss_mask=per_token(lambda segment: _is_learned(segment, version)),
            engine_logprobs=tuple(row["logprobs"][start:end]),
            temperatures=per_token(lambda segment: segment["temperature"]),
            advantage=row["advantage"],
            num_counted=num_counted,
            routing=Routing.of_json(last["routing"]) if "routing" in last else None,
            routed_by=last["weight_version"],
            old_logprobs=tuple(row["old_logprobs"][start:end]),
        )
        start = end
