"""The numbers of a step, as one flat row with stable names; docs/metrics.md says what each one is. Pure functions."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from reward.control import CONTROL_FLAG
from rl.batch import Group, LearningBatch, ScoredSample
from rl.mismatch import LogprobGap, effective_frac
from rl.partial import PartialGroup
from rl.update import UpdateMetrics
from rollout.types import FinishReason

__all__ = ["fault_causes", "learner_metrics", "step_metrics"]

Row = dict[str, float | int | None]


def step_metrics(
    *,
    step: int,
    temperature: float,
    weight_version: int,
    batch: LearningBatch,
    carried: Sequence[PartialGroup] = (),
    updates: Sequence[UpdateMetrics],
    gap: LogprobGap | None,
    stale_gap: LogprobGap | None = None,
    phases: Mapping[str, float],
    sync_seconds: float | None,
    stall_seconds: float | None,
    num_weight_bytes: int,
    code_flip_frac: float | None,
) -> Row:
    """One row of metrics.jsonl. A number that this step has no data for is None (null), never left out.

    Args:
        gap, stale_gap: between learner and engine, over the tokens that were learned from and that the served weights
            drew, or older ones; None where there were none.
        phases: seconds of each phase of this step, by name.
        code_flip_frac: between the weights that sampled and those that this step made.
        sync_seconds, stall_seconds: hand-over of the weights served in this step; None where no swap was needed.
    """
    scored = [sample for group in batch.groups for sample in group.samples]
    drawing_seconds = phases.get("ahead") or phases.get("rollout", 0.0)
    drawn = [s.sample for s in scored] + [sample for group in carried for sample, _ in group.siblings]
    parts = [part for sample in drawn for part in sample.segments if part.is_sampled]
    newest = max((part.weight_version for part in parts), default=weight_version)  # an older one where drawn ahead
    num_tokens = sum(len(part.token_ids) for part in parts if part.weight_version == newest)
    row: Row = {
        "step": step,
        **_reward_metrics(batch.groups),
        "rollout/temperature": temperature,
        **_gym_temperatures(batch.groups, temperature),
        "rollout/weight_version": newest,
        "rollout/num_samples": len(scored),
        "rollout/num_dropped_prompts": sum(group.draw.num_dropped for group in batch.groups),
        "rollout/num_refills": sum(group.draw.index < 0 for group in batch.groups),
        "rollout/refill_tokens_frac": _refill_tokens_frac(batch.groups),
        "rollout/num_ungated": sum(group.draw.is_ungated for group in batch.groups),
        "rollout/num_tokens": num_tokens,
        "rollout/length_mean": _mean([s.sample.num_sampled for s in scored]),
        "rollout/truncated_frac": _mean([s.sample.is_truncated for s in scored]),
        "rollout/repetition_frac": _mean([s.sample.finish_reason is FinishReason.REPETITION for s in scored]),
        "rollout/surprise_mean": _mean(
            [-p for s in scored for part in s.sample.segments if part.is_sampled for p in part.logprobs]
        ),
        "rollout/num_carried": sum(group.num_unfinished for group in carried),
        "rollout/stale_frac": _stale_frac(scored, weight_version),
        "rollout/turns_mean": _mean([len(s.sample.turns) for s in scored if s.sample.turns]),
        "rollout/unread_calls_frac": _mean(
            [c.arguments is None for s in scored for t in s.sample.turns for c in t.turn.calls]
        ),
        "rollout/silent_answers_frac": _mean(
            [not c.heard.strip() for s in scored for t in s.sample.turns for c in t.turn.calls if c.heard is not None]
        ),
        **_gap_metrics(gap),
        "rollout/stale_gap_mean": None if stale_gap is None else stale_gap.mean,
        "rollout/tokens_per_second": num_tokens / drawing_seconds if drawing_seconds else None,
        **learner_metrics(updates),
        "weights/sync_seconds": sync_seconds,
        "weights/swap_stall_seconds": stall_seconds,
        "weights/num_bytes": num_weight_bytes,
        "weights/code_flip_frac": code_flip_frac,
        "faults/masked_frac": _mean([s.score.status.is_masked for s in scored]),
        "faults/broke_verifier_frac": _mean([CONTROL_FLAG in s.score.flags for s in scored]),
    }
    return row | {f"phase/{name}_seconds": seconds for name, seconds in phases.items()}


def _stale_frac(scored: Sequence[ScoredSample], weight_version: int) -> float | None:
    """Of the sampled tokens of complete groups, those that older weights drew."""
    parts = [part for s in scored for part in s.sample.segments if part.is_sampled]
    num = sum(len(part.token_ids) for part in parts)
    return sum(len(p.token_ids) for p in parts if p.weight_version != weight_version) / num if num else None


def _gym_temperatures(groups: Sequence[Group], temperature: float) -> Row:
    """Of the gyms that have their own: what the last tokens of their responses were drawn at."""
    found = {g.draw.gym: s.sample.segments[-1].temperature for g in groups for s in g.samples}
    return {f"rollout/{gym}/temperature": own for gym, own in sorted(found.items()) if own != temperature}


def _refill_tokens_frac(groups: Sequence[Group]) -> float | None:
    """Of the sampled tokens of complete groups, those of draws that the step added."""
    lengths = [(g.draw.index < 0, s.sample.num_sampled) for g in groups for s in g.samples]
    num = sum(length for _, length in lengths)
    return sum(length for is_refill, length in lengths if is_refill) / num if num else None


def _reward_metrics(groups: Sequence[Group]) -> Row:
    def of(chosen: Sequence[Group]) -> float | None:
        return _mean([s.reward.total for g in chosen for s in g.samples if not s.reward.is_masked])

    names = sorted({group.draw.gym for group in groups})
    spread = [len({s.reward.total for s in g.samples if not s.reward.is_masked}) > 1 for g in groups]
    row: Row = {"reward/mean": of(groups), "reward/spread_frac": _mean(spread)}
    row["reward/length_mean"] = _mean([s.reward.length for g in groups for s in g.samples if not s.reward.is_masked])
    for name in names:
        chosen = [group for group in groups if group.draw.gym == name]
        parts: dict[str, list[float]] = {}
        for scored in (s for g in chosen for s in g.samples):
            for key, value in scored.score.components.items():
                parts.setdefault(key, []).append(value)
        row |= {f"reward/{name}/{key}": _mean(values) for key, values in sorted(parts.items())}
        row[f"reward/{name}/mean"] = of(chosen)  # last: a component of that name does not take its place
        row[f"reward/{name}/tokens_per_right"] = _tokens_per_right(chosen)
    return row


def _tokens_per_right(groups: Sequence[Group]) -> float | None:
    """Tokens of all unmasked responses over the number of those with a score of 1; None without such."""
    scored = [s for g in groups for s in g.samples if not s.reward.is_masked]
    num_right = sum(s.score.value == 1.0 for s in scored)
    return sum(s.sample.num_sampled for s in scored) / num_right if num_right else None


def learner_metrics(updates: Sequence[UpdateMetrics]) -> Row:
    """What the updates of a step did: means over them, and counts over all their tokens and samples."""
    fields = (
        "policy_loss",
        "ptx_loss",
        "ptx_coef",
        "grad_norm",
        "learning_rate",
        "update_size",
        "log_ratio_mean",
        "log_ratio_std",
        "clipped_frac",
    )
    row: Row = {f"learner/{name}": _mean([getattr(update, name) for update in updates]) for name in fields}
    num_tokens = sum(update.num_tokens for update in updates)
    weight_sum, weight_square_sum = math.fsum(u.weight_sum for u in updates), sum(u.weight_square_sum for u in updates)
    return row | {
        "learner/ptx_heldout_loss": _mean([u.ptx_heldout_loss for u in updates if u.ptx_heldout_loss is not None]),
        "learner/reference_kl": _mean([u.reference_kl for u in updates if u.reference_kl is not None]),
        "learner/qk_max_logit": max((u.qk_max_logit for u in updates if u.qk_max_logit is not None), default=None),
        "learner/weight_ess": effective_frac(weight_sum, weight_square_sum, num_tokens),
        "learner/weight_dropped_frac": sum(u.num_dropped for u in updates) / num_tokens if num_tokens else None,
        "learner/router_aux": _mean([u.router_aux for u in updates if u.router_aux is not None]),
        "learner/routing_flip_frac": _frac(sum(u.num_flipped for u in updates), sum(u.num_replayed for u in updates)),
        "learner/num_samples": sum(update.num_samples for update in updates),
        "learner/num_threads": updates[-1].num_threads if updates else None,
    }


def _gap_metrics(gap: LogprobGap | None) -> Row:
    names = ("mean", "stderr", "median", "p90", "p99", "p999", "max", "kl_k3")
    return {f"rollout/logprob_gap_{name}": None if gap is None else getattr(gap, name) for name in names}


def fault_causes(groups: Sequence[Group]) -> list[str]:
    """What each masked-for-our-fault sample failed of. A closed gate masks on purpose and is no fault."""
    return [
        f"{s.score.status}: {s.score.detail}"
        for g in groups
        for s in g.samples
        if s.score.status.is_masked and "gate_closed" not in s.score.flags
    ]


def _frac(part: int, whole: int) -> float | None:
    return part / whole if whole else None


def _mean(values: Sequence[float]) -> float | None:
    return math.fsum(values) / len(values) if values else None
