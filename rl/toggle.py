"""Toggle: phases with a token budget for each task, in turn with phases without (Kimi K2.5, its follow-up to budgets).

    budgeted phase   r~ = r * 1{ mean_K r < lambda  or  |y| <= budget(x) }
    free phase       r~ = r
    budget(x)        the rho-quantile of the lengths of right responses to x, estimated once and then fixed

A rigid budget makes a policy unable to use a larger one later; in turn with free phases it learns to be brief where it
can be. The condition on the mean lets tasks that are not yet solved think on. K2.5 publishes neither lambda nor rho nor
the length of a phase: `reward.toggle.min_mean`, `.quantile`, `.period`.

Choices where the paper has none. "Estimated once at start" is the first group that answers a task rightly: its right
responses give the budget, from the next step on; or a file of `python -m rl.difficulty`, which has them before the
start. Right is a score of 1. A reward below 0 (a penalty) is not raised to 0. Groups that a judge compares have no
right answers and no budgets.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace

from rl.batch import Group

__all__ = ["Budgets", "is_budgeted", "quantile", "right_lengths", "toggled", "with_budgets"]

Budgets = dict[str, dict[str, int]]
"""Token budgets by gym and task id."""


def is_budgeted(step: int, *, period: int | None, from_step: int) -> bool:
    """Whether a step is of a phase with budgets: the first `period` steps are, the next are not, and so on."""
    return period is not None and step >= from_step and (step - from_step) // period % 2 == 0


def quantile(lengths: Sequence[int], share: float) -> int:
    """The smallest of the lengths that at least this share of them does not exceed.

    Example:
        quantile([3, 9, 5, 7], 0.75) == 7
    """
    return sorted(lengths)[max(math.ceil(share * len(lengths)), 1) - 1]


def right_lengths(group: Group) -> list[int]:
    """Tokens of the right responses of a group."""
    return [s.sample.num_sampled for s in group.samples if not s.reward.is_masked and s.score.value == 1.0]


def with_budgets(budgets: Mapping[str, Mapping[str, int]], groups: Sequence[Group], *, share: float) -> Budgets:
    """The budgets after a step: those there were, and one for each task that was answered rightly the first time."""
    found = {gym: dict(known) for gym, known in budgets.items()}
    for group in groups:
        known, lengths = found.setdefault(group.draw.gym, {}), right_lengths(group)
        if lengths and group.draw.task.id not in known:
            known[group.draw.task.id] = quantile(lengths, share)
    return found


def toggled(group: Group, budget: int | None, *, min_mean: float) -> Group:
    """A group of a budgeted phase: what was right in more tokens than its budget is not paid.

    Args:
        budget: of its task; None: not known yet, nothing changes.
        min_mean: lambda; below this mean reward of the unmasked siblings nothing changes.
    """
    values = [s.reward.value for s in group.samples if not s.reward.is_masked]
    if budget is None or not values or math.fsum(values) / len(values) < min_mean:
        return group
    samples = [
        replace(s, reward=replace(s.reward, length=s.reward.length - s.reward.value, is_over_budget=True))
        if not s.reward.is_masked and s.reward.value > 0 and s.sample.num_sampled > budget
        else s
        for s in group.samples
    ]
    return replace(group, samples=tuple(samples))
