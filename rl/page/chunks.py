"""Samples as the page stores them: an index for filters, and compressed parts that a browser opens when it needs them.

A page of 100,000 samples stays usable because a browser never holds them all as objects. The index has one number per
sample and column (step, gym, status, reward, ...), so filters need nothing else. Texts and tokens lie in parts of whole
groups, gzip in base64, opened one at a time; tokens apart from texts, since most readers never colour any.

What a page holds is bounded, by the number of samples and by the size of their files, and the choice is a function of
the folder alone: groups at evenly spaced places, through the whole run. Long responses are cut, and say by how much.
"""

from __future__ import annotations

import base64
import gzip
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, get_args

import numpy as np

from rl.advantage import Baseline, group_advantages
from rl.page.stored import PlayedTurn, StoredSample

__all__ = ["IndexRow", "Part", "advantages_of", "compressed", "compressed_text", "index_of", "parts_of", "spaced"]

PART_BYTES = 400_000
"""Text of a part before compression; a part is whole groups, so one may be larger."""
MAX_CHARS = 20_000
"""Of a response; what is behind stays in the run folder."""
MAX_PROMPT_CHARS = 8_000
"""Of each message of a prompt."""
MAX_TURN_CHARS = 4_000
"""Of each text of an episode's turn."""
MAX_FAILED = 20
"""Of the cases that a response did not pass."""
MAX_TOKENS = 6_000
"""Of a response, where tokens are coloured."""

Group = Sequence[StoredSample]


class IndexRow(NamedTuple):
    """What filters know of one sample."""

    step: int
    draw: int
    k: int
    gym: str
    status: str
    flags: str
    """Joined by a space."""
    reward: float
    adv: float
    """Its advantage."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Part:
    """Some whole groups of one step, compressed."""

    rows: tuple[IndexRow, ...]
    """Of its samples, in order."""
    ids: frozenset[int]
    """Token ids in `tokens`."""
    has_gap: bool
    """Whether a sample has log-probabilities of the learner beside the engine's."""
    texts: str
    """gzip in base64 of JSON: `groups` with task and prompt, `samples` with all that a card shows."""
    tokens: str
    """gzip in base64 of JSON: `ids`, `logprobs`, `learner` and `stretches`, each a list for every sample. Empty where
    no sample has any. Log-probabilities are in thousandths of a nat; a stretch is [tokens, sampled or not, weight
    version], and there are none where the policy wrote all with the same weights."""


def index_of(parts: Sequence[Part]) -> dict[str, Any]:
    """Columns over all samples of a run, in the order of its parts; texts as numbers into lists of names."""
    rows = [row for part in parts for row in part.rows]
    columns: dict[str, Any] = {name: [row[i] for row in rows] for i, name in enumerate(IndexRow._fields)}
    for name, plural in (("gym", "gyms"), ("status", "statuses"), ("flags", "flag_sets")):
        numbers = {text: n for n, text in enumerate(dict.fromkeys(columns[name]))}
        columns[name] = [numbers[text] for text in columns[name]]
        columns[plural] = list(numbers)
    return columns


def parts_of(groups: Sequence[Group], config: Mapping[str, Any]) -> list[Part]:
    """One step's groups as parts, in their order."""
    bins: list[list[Group]] = [[]]
    size = 0
    for group in groups:
        if size >= PART_BYTES:
            bins.append([])
            size = 0
        bins[-1].append(group)
        size += sum(len(sample.response) + 100 for sample in group)
    return [_part(chosen, config) for chosen in bins if chosen]


def spaced(groups: Sequence[Group], keep_frac: float) -> list[Group]:
    """A fraction of a run's groups, evenly spaced by their draws' numbers, whichever step's are asked for."""
    if keep_frac >= 1:
        return list(groups)
    return [group for group in groups if int((group[0].draw + 1) * keep_frac) > int(group[0].draw * keep_frac)]


def advantages_of(groups: Sequence[Group], config: Mapping[str, Any]) -> list[float]:
    """What each reward was worth beside its siblings': as stored, else by the run's baseline; 0 where masked."""
    learner = config.get("learner")
    learner = learner if isinstance(learner, Mapping) else {}
    baseline = learner.get("baseline", "mean")
    chosen: Baseline = baseline if baseline in get_args(Baseline) else "mean"
    found: list[float] = []
    for group in groups:
        stored = [sample.advantage for sample in group if sample.advantage is not None]
        if len(stored) == len(group):
            found += stored
            continue
        result = group_advantages(
            np.array([[sample.reward for sample in group]]),
            np.array([[sample.is_masked for sample in group]]),
            baseline=chosen,
            tau=float(learner.get("tau", 1.0)),
            scale_by_std=bool(learner.get("scale_by_std", False)),
        )
        found += result.advantages_PK[0].tolist()
    return found


def compressed(data: Any) -> str:
    """JSON as `compressed_text`; a browser reads none with NaN or Infinity."""
    return compressed_text(json.dumps(data, separators=(",", ":"), allow_nan=False))


def compressed_text(text: str) -> str:
    """gzip in base64: the same for the same text, and nothing in it that HTML could mistake for a tag."""
    return base64.b64encode(gzip.compress(text.encode(), 6, mtime=0)).decode("ascii")


def _part(groups: Sequence[Group], config: Mapping[str, Any]) -> Part:
    samples = [sample for group in groups for sample in group]
    texts = {
        "groups": [
            {
                "task": group[0].task,
                "prompt": [[role, _cut(content, MAX_PROMPT_CHARS)] for role, content in group[0].prompt],
                "num": len(group),
            }
            for group in groups
        ],
        "samples": [_card(sample) for sample in samples],
    }
    tokens = {
        "ids": [sample.token_ids[:MAX_TOKENS] if sample.logprobs else () for sample in samples],
        "logprobs": [_thousandths(sample.logprobs) for sample in samples],
        "learner": [_thousandths(sample.old_logprobs) for sample in samples],
        "stretches": [sample.stretches if len(sample.stretches) > 1 else () for sample in samples],
    }
    rows = [_row(s, a) for s, a in zip(samples, advantages_of(groups, config), strict=True)]
    return Part(
        rows=tuple(rows),
        ids=frozenset(token_id for ids in tokens["ids"] for token_id in ids),
        has_gap=any(tokens["learner"]),
        texts=compressed(texts),
        tokens=compressed(tokens) if any(tokens["logprobs"]) else "",
    )


def _row(s: StoredSample, advantage: float) -> IndexRow:
    flags = " ".join(s.flags)
    return IndexRow(s.step, s.draw, s.k, s.gym, s.status, flags, round(s.reward, 4), round(advantage, 4))


def _card(sample: StoredSample) -> dict[str, Any]:
    """What a card shows beside the index; what is empty or as usual is left out."""
    card: dict[str, Any] = {"text": sample.response[:MAX_CHARS], "tokens": sample.num_tokens}
    optional = {
        "all": len(sample.token_ids) if len(sample.token_ids) > sample.num_tokens else None,
        "chars": len(sample.response) if len(sample.response) > MAX_CHARS else None,
        "masked": sample.is_masked or None,
        "value": sample.value if sample.value != sample.reward else None,
        "length_reward": round(sample.length_reward, 4) or None,
        "turns": [_turn(turn) for turn in sample.turns] or None,
        "components": {name: round(value, 4) for name, value in sample.components.items()} or None,
        "answer": None if sample.answer is None else _cut(sample.answer, 1_000),
        "detail": _cut(sample.detail, 2_000) or None,
        "cases": _cases(sample.cases) if sample.cases else None,
        "provenance": dict(sample.provenance) or None,
        "finish": sample.finish_reason or None,
        "temperature": sample.temperature,
        "version": sample.weight_version,
    }
    return card | {name: value for name, value in optional.items() if value is not None}


def _cases(cases: Sequence[tuple[str, bool, str]]) -> dict[str, Any]:
    failed = [[_cut(name, 200), _cut(reason, 500)] for name, passed, reason in cases if not passed]
    return {"passed": len(cases) - len(failed), "all": len(cases), "failed": failed[:MAX_FAILED]}


def _turn(turn: PlayedTurn) -> dict[str, Any]:
    return {
        "text": _cut(turn.text, MAX_TURN_CHARS),
        "calls": [_cut(call, MAX_TURN_CHARS) for call in turn.calls],
        "replies": [[who, _cut(said, MAX_TURN_CHARS)] for who, said in turn.replies],
    }


def _cut(text: str, most: int) -> str:
    return text if len(text) <= most else f"{text[:most]} ... ({len(text) - most} characters more)"


def _thousandths(logprobs: Sequence[float]) -> list[int]:
    return [round(1000 * max(value, -1e6)) for value in logprobs[:MAX_TOKENS]]
