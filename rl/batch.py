"""From scored groups to what the learner sees: frozen values, in draw order, with every denominator already global.

A group is complete when its K samples are scored. `learning_batch` takes a baseline from the rewards, leaves masked
samples out, may drop groups without spread, and deals the draws into minibatches by a keyed shuffle. Denominators count
every unmasked sample, dropped groups included: dropping saves work and must not scale the gradient. Where other draws
took the place of groups without spread, those do not count.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np

from gyms.api import Score
from gyms.mixture import Draw
from reward.rules import Reward
from rl.advantage import Baseline, group_advantages
from rl.mismatch import LogprobGap, logprob_gap
from rl.own_advantage import AdvantageInputs, OwnAdvantage, own_advantages
from rollout.routing import Routing
from rollout.types import Sample, Segment

__all__ = ["Group", "LearningBatch", "LearningSample", "Minibatch", "ScoredSample", "learning_batch"]


@dataclass(frozen=True, slots=True, kw_only=True)
class ScoredSample:
    """A response and what it earned."""

    sample: Sample
    score: Score
    reward: Reward


@dataclass(frozen=True, slots=True, kw_only=True)
class Group:
    """The K scored siblings of one draw, in the order in which they were asked for."""

    draw: Draw
    samples: tuple[ScoredSample, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class LearningSample:
    """One response as the learner sees it, or a part of one: an episode whose context was rewritten is several, each
    behind the context that the policy saw. All sequences have its length T."""

    number: int
    """Unique in the step: draw position * K + k, and P * K more for each part of the response before it."""
    group: int
    """Position of its draw in the step."""
    prompt_ids: tuple[int, ...]
    """Token ids of its context: the prompt, or what it was rewritten to."""
    token_ids: tuple[int, ...]
    """[T] response token ids."""
    loss_mask: tuple[bool, ...]
    """[T] True where the policy sampled the token."""
    engine_logprobs: tuple[float, ...]
    """[T] log-probabilities of the engine."""
    temperatures: tuple[float, ...]
    """[T] temperature that each token was drawn with."""
    advantage: float
    """Reward minus baseline."""
    num_counted: int | None = None
    """Tokens of the whole response that carry loss, where this is a part of it; None: those of `loss_mask`."""
    routing: Routing | None = None
    """The experts that the engine chose, of the context and the response up to the last token that it sampled."""
    routed_by: int = 0
    """Version of the weights that sampled that token, and so computed all before it."""
    old_logprobs: tuple[float, ...] | None = None
    """[T] log-probabilities of the learner before the step's first update; None until they are computed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Minibatch:
    """What one optimiser update learns from."""

    index: int
    """Place in the step, from 0."""
    samples: tuple[LearningSample, ...]
    """The samples that carry a gradient."""
    num_samples: int
    """Denominator of sequence losses: unmasked samples of the minibatch, dropped groups included."""
    num_tokens: int
    """Denominator of token losses: sampled tokens of the same."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LearningBatch:
    """A step's minibatches, and the groups they came from."""

    step: int
    groups: tuple[Group, ...]
    minibatches: tuple[Minibatch, ...]
    minibatch_of: tuple[int, ...]
    """[P] index of the minibatch that each draw was dealt to; 0 where it was dealt to none."""
    advantages: Mapping[int, float]
    """Of every counted sample, by its number; 0 in groups without spread that count."""
    weight_version: int | None = None
    """Version of the policy that the step began with; tokens of older ones are stale. None: no token is."""

    def fresh(self, number: int) -> Iterator[bool]:
        """Of each token of a learning sample, whether the policy that the step began with drew it."""
        number_of_part, number = divmod(number, len(self.groups) * len(self.groups[0].samples))
        place, k = divmod(number, len(self.groups[0].samples))
        for part in self.groups[place].samples[k].sample.sequences[number_of_part][1]:
            is_fresh = part.is_sampled and self.weight_version in (None, part.weight_version)
            yield from (is_fresh for _ in part.token_ids)

    def gap(self, old_logprobs: Mapping[int, Sequence[float]], *, of_stale: bool = False) -> LogprobGap | None:
        """Learner against engine over the fresh tokens that carried a gradient; None where there were none.

        Args:
            old_logprobs: log pi_old by the number of the sample, of all of them.
            of_stale: over the others that did, which older weights drew.
        """
        samples = [sample for minibatch in self.minibatches for sample in minibatch.samples]
        if not samples:
            return None
        masks = [np.fromiter(self.fresh(sample.number), bool) for sample in samples]
        if of_stale:
            masks = [np.array(s.loss_mask, bool) & ~mask for s, mask in zip(samples, masks, strict=True)]
        old = [np.array(old_logprobs[s.number])[mask] for s, mask in zip(samples, masks, strict=True)]
        engine = [np.array(s.engine_logprobs)[mask] for s, mask in zip(samples, masks, strict=True)]
        return logprob_gap(np.concatenate(old), np.concatenate(engine))

    def with_minibatches(self, minibatches: tuple[Minibatch, ...]) -> LearningBatch:
        """The same batch with other minibatches: those that hold `old_logprobs`."""
        return replace(self, minibatches=minibatches)


def learning_batch(
    groups: Sequence[Group],
    *,
    step: int,
    seed: int,
    num_minibatches: int,
    drop_zero_spread: bool,
    count_zero_spread: bool = True,
    baseline: Baseline = "mean",
    tau: float = 1.0,
    scale_by_std: bool = False,
    own: OwnAdvantage | None = None,
    weight_version: int | None = None,
    stale_tokens: Literal["learn", "mask"] = "learn",
) -> LearningBatch:
    """Groups of one step, in draw order, to minibatches.

    Args:
        groups: P groups of K samples each; minibatches differ by one draw at most.
        weight_version: of the policy that the step began with; tokens of older ones are stale.
        stale_tokens: "mask" leaves them out of the loss and its denominators.
        step, seed: key of the shuffle that deals draws to minibatches.
        drop_zero_spread: leave groups whose rewards are all equal out of the minibatches.
        count_zero_spread: False leaves them out of the denominators too, and deals the others alone: for steps in which
            others took their place (`rl.refill`).
        baseline, tau, scale_by_std: see `group_advantages`.
        own: an advantage from outside in the place of all of them.
    """
    num_samples = len(groups[0].samples) if groups else 1
    shape = (len(groups), num_samples)
    rewards_PK = np.array([[s.reward.total for s in group.samples] for group in groups]).reshape(shape)
    is_masked_PK = np.array([[s.reward.is_masked for s in group.samples] for group in groups], bool).reshape(shape)
    advantages = group_advantages(rewards_PK, is_masked_PK, baseline=baseline, tau=tau, scale_by_std=scale_by_std)
    if own is not None and groups:
        counted_PK = advantages.is_counted_PK
        lengths_PK = np.array([[s.sample.num_sampled for s in group.samples] for group in groups])
        inputs = AdvantageInputs(
            rewards_PK=np.where(counted_PK, rewards_PK, 0.0), is_counted_PK=counted_PK, tau=tau,
            lengths_PK=np.where(counted_PK, lengths_PK, 0), gyms=tuple(group.draw.gym for group in groups),
        )  # fmt: skip
        advantages = own_advantages(own, inputs)
    learned_version = weight_version if stale_tokens == "mask" else None
    order = np.random.default_rng((seed, step, 0x6D62)).permutation(len(groups))
    if not count_zero_spread:
        order = order[advantages.has_spread_P[order]]
    minibatches, minibatch_of, found = [], [0] * len(groups), {}
    for index, chosen in enumerate(np.array_split(order, num_minibatches)):
        for p in chosen:
            minibatch_of[p] = index
        counted = [(int(p), int(k)) for p in sorted(chosen) for k in np.flatnonzero(advantages.is_counted_PK[p])]
        found |= {p * num_samples + k: float(advantages.advantages_PK[p, k]) for p, k in counted}
        masks = {(p, k): _loss_mask(groups[p].samples[k].sample.segments, learned_version) for p, k in counted}
        spread = [(p, k) for p, k in counted if advantages.has_spread_P[p] or not drop_zero_spread]
        learned = [(p, k) for p, k in spread if any(masks[p, k])]  # where stale tokens are left out, there may be none
        minibatches.append(
            Minibatch(
                index=index,
                samples=tuple(
                    part
                    for p, k in learned
                    for number in [p * num_samples + k]
                    for part in _learning_samples(
                        groups[p].samples[k].sample,
                        p,
                        range(number, 1 << 62, len(groups) * num_samples),
                        found[number],
                        learned_version,
                    )
                ),
                num_samples=len(counted),
                num_tokens=sum(map(sum, masks.values())),
            )
        )
    return LearningBatch(
        step=step, groups=tuple(groups), minibatches=tuple(minibatches), minibatch_of=tuple(minibatch_of),
        advantages=found, weight_version=weight_version,
    )  # fmt: skip


def _loss_mask(segments: Sequence[Segment], version: int | None) -> tuple[bool, ...]:
    """[T] what the policy sampled, and with a version, what that version did."""
    return tuple(s.is_sampled and version in (None, s.weight_version) for s in segments for _ in s.token_ids)


def _learning_samples(
    sample: Sample, group: int, numbers: Sequence[int], advantage: float, version: int | None
) -> Iterator[LearningSample]:
    """A response as the learner sees it: one, unless its context was rewritten."""
    sequences = sample.sequences
    num_counted = sum(_loss_mask(sample.segments, version)) if len(sequences) > 1 else None
    for number, (context_ids, segments) in zip(numbers, sequences, strict=False):
        last = next(segment for segment in reversed(segments) if segment.is_sampled)
        yield LearningSample(
            number=number,
            group=group,
            prompt_ids=context_ids,
            token_ids=tuple(token for segment in segments for token in segment.token_ids),
            loss_mask=_loss_mask(segments, version),
            engine_logprobs=tuple(value for segment in segments for value in segment.logprobs),
            temperatures=tuple(s.temperature for s in segments for _ in s.token_ids),
            advantage=advantage,
            num_counted=num_counted,
            routing=last.routing,
            routed_by=last.weight_version,
        )
