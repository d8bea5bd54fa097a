"""The policy loss behind `learner.loss`: of the table in `rl.loss`, of an installed package, or of one's own module.

A plug-in is a function with the signature of the table, `LossInputs -> PolicyLoss` (or an `Objective`, where its
log-ratio is one of whole responses). It is named by `module:function`, or by an entry point of the group `k2rl_losses`;
names of the table come first. Before a run starts, `check_objective` calls it on a few made-up tokens and refuses what
would train something else than it says: losses that read padding, or whose micro-batches do not add up, because then
`learner.max_microbatch_tokens`, which only bounds memory, would change what is learned.

A plug-in is foreign code, so loading (`rl.outside`) and probing it are places that catch broadly; whatever it raises
becomes a ValueError with the config key.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import lru_cache
from typing import Any

import torch
from torch import Tensor

from configs.learner import LOSS_GROUP
from configs.schema import Config
from rl.loss import OBJECTIVES, Aggregation, LossInputs, Objective, PolicyLoss
from rl.outside import from_outside
from rl.own_advantage import advantage_of, check_advantage

__all__ = ["check_loss", "check_objective", "objective"]

TOLERANCE = 1e-9
"""Relative, of sums of a dozen float64 numbers."""


@lru_cache(maxsize=16)
def objective(name: str) -> Objective:
    """The loss of that name.

    Raises:
        ValueError: there is none, two packages offer it, or it cannot be imported.
    """
    if name in OBJECTIVES:
        return OBJECTIVES[name]
    found = from_outside("learner.loss", name, group=LOSS_GROUP, what="a loss")
    if isinstance(found, Objective):
        return found
    if not callable(found):
        raise ValueError(f"learner.loss = {name!r} is {found!r}, wanted a function of rl.loss.LossInputs")
    return Objective(found, counts_samples=False)


def check_objective(config: Config) -> None:
    """Try the config's loss and advantage; those of this project are tested elsewhere and pass at once.

    Raises:
        ValueError: one cannot be had, raises, or does not keep the contract; says which part of it.
    """
    learner = config.learner
    if learner.loss not in OBJECTIVES:
        check_loss(
            objective(learner.loss).loss, f"learner.loss = {learner.loss!r}", tau=learner.tau,
            clip_low=learner.clip_low, clip_high=learner.clip_high, aggregation=learner.aggregation,
        )  # fmt: skip
    if learner.advantage is not None:
        check_advantage(advantage_of(learner.advantage), f"learner.advantage = {learner.advantage!r}")


def check_loss(
    loss: Callable[[LossInputs], PolicyLoss],
    what: str = "the loss",
    *,
    tau: float = 0.05,
    clip_low: float = -0.6931,
    clip_high: float = 0.6931,
    aggregation: Aggregation | None = None,
) -> None:
    """Call a loss on made-up tokens: the contract, for a plug-in's own tests too.

    Args:
        what: what messages call it.
        tau, clip_low, clip_high, aggregation: of `LossInputs`.

    Raises:
        ValueError: it raises, or does not keep the contract; says which part of it.
    """
    settings = {"tau": tau, "clip_low": clip_low, "clip_high": clip_high, "aggregation": aggregation}
    now, rest = _made_up()
    try:
        whole, slope = _called(loss, now, rest, slice(None), settings)
        parts = [_called(loss, now, rest, part, settings) for part in (slice(0, 1), slice(1, None))]
        elsewhere, _ = _called(loss, now + (1 - rest["loss_mask_NT"]) * 0.5, rest, slice(None), settings)
    except Exception as error:
        raise ValueError(
            f"{what} failed on a trial of {len(now)} responses: {type(error).__name__}: {error}"
        ) from error
    problem = None
    if not torch.isfinite(slope).all() or not slope.any():
        problem = "its gradient is not finite, or 0 everywhere"
    elif ((1 - rest["loss_mask_NT"]) * slope).any() or not _equal(elsewhere, whole):
        problem = "it reads padding or observations: multiply by x.mask_NT or x.gain_mask_NT"
    elif not _equal(sum(part for part, _ in parts), whole):
        problem = (
            "the losses of two micro-batches do not add up to that of both: divide by x.num_samples or x.num_tokens "
            "(x.mean does), not by what the micro-batch happens to hold"
        )
    if problem:
        raise ValueError(f"{what}: {problem}")


def _made_up() -> tuple[Tensor, dict[str, Any]]:
    """[3, 4] log-probabilities in float64, and what goes with them; log-ratios up to .2, weights about 1."""
    now = torch.tensor([[-0.7, -1.9, -0.4, -9.0], [-2.3, -0.2, -1.1, -0.6], [-0.9, -1.3, -9.0, -9.0]]).double()
    mask = torch.tensor([[1, 1, 1, 0], [1, 0, 1, 1], [1, 1, 0, 0]]).double()
    old = now - mask * torch.tensor([0.1, -0.2, 0.05, 0.15]).double()
    weights = torch.tensor([1.0, 0.9, 1.1, 1.0]).double().expand(3, 4)
    advantages = torch.tensor([0.6, -0.5, -0.1]).double()
    return now, {
        "old_logprobs_NT": old, "loss_mask_NT": mask, "weights_NT": weights, "advantages_N": advantages
    }  # fmt: skip


def _called(
    loss: Any, now: Tensor, rest: dict[str, Any], part: slice, settings: dict[str, Any]
) -> tuple[float, Tensor]:
    """The loss of some of the responses, and its gradient."""
    leaf = now[part].clone().requires_grad_()
    num_tokens = int(rest["loss_mask_NT"].sum())
    found = loss(
        LossInputs(
            logprobs_NT=leaf, num_samples=len(now), num_tokens=num_tokens,
            **{key: value[part] for key, value in rest.items()}, **settings,
        )
    )  # fmt: skip
    if not isinstance(found, PolicyLoss) or any(not isinstance(value, Tensor) or value.ndim for value in found):
        raise TypeError(
            f"it returned {found!r:.200}, wanted an rl.loss.PolicyLoss of scalar tensors (rl.loss.policy_loss)"
        )
    (slope,) = torch.autograd.grad(found.loss, leaf)
    return float(found.loss.detach()), slope


def _equal(a: float, b: float) -> bool:
    return math.isclose(a, b, rel_tol=TOLERANCE, abs_tol=TOLERANCE)
