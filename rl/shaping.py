"""What a response's length makes of its reward: the ramp before a budget, Toggle, and the reward for brevity, in turn.

Each is off by default, and each is a pure function of a complete group; the budgets that Toggle remembers are in
`RunState`. What the critic learns from, what success rates are made of and what evaluations count is the gym's score
alone.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from configs.schema import Config
from reward.rules import TruncationRule
from rl.batch import Group
from rl.length_reward import with_length_reward
from rl.toggle import Budgets, is_budgeted, toggled, with_budgets
from rollout.repetition import Repetition

__all__ = ["Shaping", "ramp", "repetition_rule", "truncation_rules", "with_ramp"]


def ramp(length: int, *, budget: int, ramp_tokens: int, reward: float) -> float:
    """What a finished response loses near its budget (soft overlong punishment, DAPO, arXiv 2503.14476, eq. 13).

    0 up to `budget - ramp_tokens`, then linear, `reward` (below 0) at the budget.
    """
    return reward * min(max(length - (budget - ramp_tokens), 0) / ramp_tokens, 1.0)


def with_ramp(group: Group, rule: TruncationRule) -> Group:
    """The group with the ramp added to every unmasked response that its budget did not cut off; those have it already.

    The budget of an episode is that of all its tokens, observations included.
    """
    assert rule.ramp_tokens is not None
    budget = group.draw.budget if group.draw.limits is None else group.draw.limits.max_tokens
    samples = list(group.samples)
    for k, scored in enumerate(samples):
        if not scored.reward.is_masked and not scored.sample.is_truncated:
            lost = ramp(scored.sample.num_tokens, budget=budget, ramp_tokens=rule.ramp_tokens, reward=rule.reward)
            samples[k] = replace(scored, reward=replace(scored.reward, length=scored.reward.length + lost))
    return replace(group, samples=tuple(samples))


def truncation_rules(config: Config) -> dict[str, TruncationRule]:
    """The rule for truncated responses of each gym."""
    return {gym.name: TruncationRule(**config.truncation_of(gym).model_dump()) for gym in config.gyms}


def repetition_rule(config: Config) -> Repetition | None:
    """The loop at which a run's responses are stopped."""
    wanted = config.rollout.repetition
    return None if wanted.min_count is None else Repetition(**wanted.model_dump())


class Shaping:
    """The settings of a run, ready to be applied.

    Args:
        config: `reward.truncation`, `reward.toggle`, `reward.length`, and the gyms' own rules.
        judged: gyms whose groups a judge compares.
        known: token budgets of tasks from before the run.
    """

    def __init__(
        self, config: Config, *, judged: frozenset[str], known: Mapping[str, Mapping[str, int]] | None = None
    ) -> None:
        self._toggle, self._length = config.reward.toggle, config.reward.length
        self._rules = truncation_rules(config)
        self._judged, self._known = judged, known or {}

    def apply(self, group: Group, step: int, budgets: Budgets) -> Group:
        """What a complete group's rewards become in a step."""
        gym = group.draw.gym
        if self._rules[gym].rule == "ramp":
            group = with_ramp(group, self._rules[gym])
        if gym in self._judged:
            return group
        if self._is_budgeted(step):
            group = toggled(group, self._budget(group, budgets), min_mean=self._toggle.min_mean)
        if self._length.coef > 0 and step >= self._length.from_step:
            group = with_length_reward(group, self._length.coef)
        return group

    def budgets_after(self, budgets: Budgets, groups: Sequence[Group]) -> Budgets:
        """The budgets that the next step knows."""
        if self._toggle.period is None:
            return budgets
        new = [g for g in groups if g.draw.gym not in self._judged and self._budget(g, budgets) is None]
        return with_budgets(budgets, new, share=self._toggle.quantile)

    def metrics(self, step: int, groups: Sequence[Group]) -> dict[str, float]:
        """Numbers of a step with Toggle; none without."""
        if self._toggle.period is None:
            return {}
        found = [s.reward.is_over_budget for g in groups for s in g.samples if not s.reward.is_masked]
        share = sum(found) / len(found) if found else 0.0
        return {"reward/is_budgeted": float(self._is_budgeted(step)), "reward/over_budget_frac": share}

    def _is_budgeted(self, step: int) -> bool:
        return is_budgeted(step, period=self._toggle.period, from_step=self._toggle.from_step)

    def _budget(self, group: Group, budgets: Budgets) -> int | None:
        gym, task = group.draw.gym, group.draw.task.id
        own = budgets.get(gym, {}).get(task)
        return self._known.get(gym, {}).get(task) if own is None else own
