"""Rows of JSONL as facts, whichever version wrote them: docs/metrics.md has the columns.

A column that is missing has its neutral value, and an unknown one is ignored. Numbers that are none (null, NaN, text)
are None, and a list beside the tokens that is not as long as they are is empty: it does not belong to them.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

__all__ = [
    "AVERAGED",
    "PlayedTurn",
    "StoredSample",
    "Stretch",
    "lines_of",
    "number",
    "of_policy",
    "read_samples",
    "step_of",
]

AVERAGED = "after RL, averaged"
"""The stage in evals.jsonl of the average of the weights, which comes after the policy's at the same step."""

MAX_TURNS = 200
"""Of an episode; a row of more is cut."""


class Stretch(NamedTuple):
    """Tokens of a response that have one author."""

    num_tokens: int
    is_sampled: bool
    """False: an observation of an episode, which nobody learns from."""
    weight_version: int | None


def of_policy(evals: Iterable[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """Rows of evals.jsonl but those of the average of the weights: the last says how good the policy is now."""
    return [row for row in evals if row.get("stage") != AVERAGED]


class PlayedTurn(NamedTuple):
    """One turn of an episode, and what it was answered."""

    text: str
    calls: tuple[str, ...]
    """Tool calls as `tool(arguments)`; where they could not be read, with the reason."""
    replies: tuple[tuple[str, str], ...]
    """Who answers (role, and the tool's name), and what."""


@dataclass(frozen=True, kw_only=True, slots=True)
class StoredSample:
    """One row of rollouts/."""

    step: int
    draw: int
    k: int
    gym: str
    task: str
    prompt: tuple[tuple[str, str], ...]
    """Role and content of every message."""
    response: str
    reward: float
    length_reward: float
    """Part of it that the length earned."""
    is_masked: bool
    status: str
    value: float | None
    components: Mapping[str, float]
    answer: str | None
    flags: tuple[str, ...]
    detail: str
    cases: tuple[tuple[str, bool, str], ...]
    """Name, whether it passed, and why not: tests of a program, instructions, comparisons by a judge."""
    provenance: Mapping[str, str]
    """How it was verified: a sandbox's tier, judge and rubric."""
    finish_reason: str
    num_tokens: int
    token_ids: tuple[int, ...]
    logprobs: tuple[float, ...]
    """Of the engine, as long as `token_ids`, or empty."""
    old_logprobs: tuple[float, ...]
    """Of the learner before the step's first update, as long as `token_ids`; empty where the row has none."""
    stretches: tuple[Stretch, ...]
    """Their tokens add up to `token_ids`; empty where the row does not say who wrote which."""
    turns: tuple[PlayedTurn, ...]
    """Of an episode; empty for a response of one turn."""
    advantage: float | None
    """As the update saw it, 0 where it did not count; None where the row does not say."""
    temperature: float | None
    weight_version: int | None


def read_samples(file: Path) -> tuple[list[StoredSample], int]:
    """The samples of one step, in draw order, and how many lines could not be read."""
    rows, num_bad = lines_of(file)
    samples = [sample for row in rows if (sample := _sample(row)) is not None]
    samples.sort(key=lambda sample: (sample.draw, sample.k))
    return samples, num_bad + len(rows) - len(samples)


def lines_of(file: Path) -> tuple[list[dict[str, Any]], int]:
    """Rows, and the number of bad lines; a torn last line is no bad one: it is being written, or a kill cut it."""
    try:
        lines = file.read_bytes().split(b"\n")[:-1]
    except FileNotFoundError:
        return [], 0
    rows, num_bad = [], 0
    for line in lines:
        try:
            row = json.loads(line)
        except (ValueError, RecursionError):
            row = None
        if isinstance(row, dict):
            rows.append(row)
        else:
            num_bad += 1
    return rows, num_bad


def number(value: Any) -> float | None:
    """A finite number, or None for whatever else stands there."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    try:
        return float(value) if math.isfinite(value) else None
    except OverflowError:
        return None


def step_of(row: Mapping[str, Any]) -> int | None:
    """The step that a row is about."""
    step = row.get("step")
    return step if isinstance(step, int) and not isinstance(step, bool) and step >= 0 else None


def _sample(row: Mapping[str, Any]) -> StoredSample | None:
    step, draw, k = step_of(row), row.get("draw"), row.get("k")
    response, gym = row.get("response"), row.get("gym")
    if step is None or not isinstance(draw, int) or not isinstance(k, int):
        return None
    if not isinstance(response, str) or not isinstance(gym, str):
        return None
    ids = _numbers(row.get("token_ids"))
    flags, answer, version = row.get("flags"), row.get("answer"), row.get("weight_version")
    return StoredSample(
        step=step,
        draw=draw,
        k=k,
        gym=gym,
        task=str(row.get("task", "")),
        prompt=_messages(row.get("prompt")),
        response=response,
        reward=number(row.get("reward")) or 0.0,
        length_reward=number(row.get("length_reward")) or 0.0,
        is_masked=bool(row.get("is_masked")),
        status=str(row.get("status", "")),
        value=number(row.get("value")),
        components={
            str(k): found for k, v in _table(row.get("components")).items() if (found := number(v)) is not None
        },
        answer=None if answer is None else str(answer),
        flags=tuple(map(str, flags)) if isinstance(flags, list) else (),
        detail=str(row.get("detail", "")),
        cases=tuple(
            (str(case.get("id", "")), bool(case.get("passed")), str(case.get("reason", "")))
            for case in _tables(row.get("cases"))
        ),
        provenance={str(k): str(v) for k, v in _table(row.get("provenance")).items()},
        finish_reason=str(row.get("finish_reason", "")),
        num_tokens=int(number(row.get("num_tokens")) or len(ids)),
        token_ids=tuple(map(int, ids)),
        logprobs=_beside(ids, row.get("logprobs")),
        old_logprobs=_beside(ids, row.get("old_logprobs")),
        stretches=_stretches(ids, row.get("segments")),
        turns=_turns(_table(row.get("episode"))),
        advantage=None if row.get("minibatch") is None else number(row.get("advantage")) or 0.0,
        temperature=number(row.get("temperature")),
        weight_version=version if isinstance(version, int) else None,
    )


def _table(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, dict) else {}


def _tables(value: Any) -> list[Mapping[str, Any]]:
    return [item for item in value if isinstance(item, dict)] if isinstance(value, list) else []


def _numbers(value: Any) -> tuple[float, ...]:
    """All of them, or none where one is no finite number."""
    if not isinstance(value, list) or not all(number(item) is not None for item in value):
        return ()
    return tuple(value)


def _beside(ids: Sequence[float], value: Any) -> tuple[float, ...]:
    found = _numbers(value)
    return found if len(found) == len(ids) else ()


def _messages(value: Any) -> tuple[tuple[str, str], ...]:
    return tuple((" ".join(_names(m)), _text(m.get("content", ""))) for m in _tables(value))


def _names(message: Mapping[str, Any]) -> list[str]:
    return [str(message[key]) for key in ("role", "name") if message.get(key)]


def _stretches(ids: Sequence[float], value: Any) -> tuple[Stretch, ...]:
    found = tuple(
        Stretch(int(number(one.get("num_tokens")) or 0), bool(one.get("is_sampled", True)), one.get("weight_version"))
        for one in _tables(value)
    )
    return found if sum(one.num_tokens for one in found) == len(ids) else ()


def _turns(episode: Mapping[str, Any]) -> tuple[PlayedTurn, ...]:
    replies = episode.get("replies")
    replies = replies if isinstance(replies, list) else []
    return tuple(
        PlayedTurn(
            text=_text(turn.get("text", "")),
            calls=tuple(_call(call) for call in _tables(turn.get("calls"))),
            replies=_messages(replies[n]) if n < len(replies) else (),
        )
        for n, turn in enumerate(_tables(episode.get("turns"))[:MAX_TURNS])
    )


def _call(call: Mapping[str, Any]) -> str:
    arguments, problem = call.get("arguments"), call.get("problem")
    return f"{call.get('tool', '')}({_text(arguments) if arguments is not None else f'could not be read: {problem}'})"


def _text(content: Any) -> str:
    return content if isinstance(content, str) else json.dumps(content)
