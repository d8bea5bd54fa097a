"""What the micro-batches of an update add up to, before ranks add up theirs."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from rl.batch import LearningSample
from rl.loss import PolicyLoss

__all__ = ["Part", "Sums", "merged", "sums"]


class Part(NamedTuple):
    """What a micro-batch added to an update; scalars stay on the device until all of them are there."""

    loss: PolicyLoss
    samples: Sequence[LearningSample]
    old_NT: Tensor
    """log pi_old of the samples."""
    weight_sum: Tensor
    weight_square_sum: Tensor
    num_dropped: Tensor
    """Of the weights for the engine, as in `UpdateMetrics`."""
    reference_kl: Tensor
    """Its part of the divergence from the reference; 0 without."""
    num_flipped: Tensor
    num_replayed: int
    """Of `rl.routing.RoutingReplay.flips`; 0 without."""
    router_aux: Tensor
    """Its part of the loss of uneven load; 0 without."""


class Sums(NamedTuple):
    """What the micro-batches of an update add up to."""

    loss: float
    log_ratio: float
    log_ratio_square: float
    clipped: float
    weight: float
    weight_square: float
    num_dropped: float
    reference_kl: float
    num_flipped: float
    num_replayed: float
    router_aux: float


def sums(parts: Sequence[Part]) -> Sums:
    """What all parts add up to; zeros where there are none."""
    zero = torch.zeros(())
    losses = [sum(column, start=zero).item() for column in zip(*(part.loss for part in parts), strict=True)]
    return Sums(
        *(losses or [0.0] * 4),
        weight=math.fsum(part.weight_sum.item() for part in parts),
        weight_square=math.fsum(part.weight_square_sum.item() for part in parts),
        num_dropped=sum(part.num_dropped.item() for part in parts),
        reference_kl=math.fsum(part.reference_kl.item() for part in parts),
        num_flipped=sum(part.num_flipped.item() for part in parts),
        num_replayed=sum(part.num_replayed for part in parts),
        router_aux=math.fsum(part.router_aux.item() for part in parts),
    )


def merged(parts: Sequence[dict[int, tuple[float, ...]]]) -> dict[int, tuple[float, ...]]:
    """What ranks know of their own samples, together."""
    return {number: known for part in parts for number, known in part.items()}
