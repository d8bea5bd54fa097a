"""Everything that changes over the run, as pure functions of the step: a resumed run needs no counters."""

from __future__ import annotations

import math

__all__ = ["learning_rate_at", "temperature_at", "warmup_learning_rate_at"]


def temperature_at(
    step: int, start: float, end: float, decay_steps: int, shape: str = "linear", num_stairs: int = 4
) -> float:
    """Sampling temperature of a step: from `start` at step 0 to `end` at `decay_steps`, then constant.

    Kimi K2 (section 3.2.3) decays the temperature over training and publishes neither endpoints nor shape; linear is
    our choice.

    Args:
        shape: `linear`; `cosine`, half a period of it; `stepwise`, `num_stairs` falls of equal size at equal distances,
            the first after the first stretch and the last at `decay_steps`.
    """
    if step <= 0:
        return start
    if step >= decay_steps:
        return end
    match shape:
        case "cosine":
            done = (1.0 - math.cos(math.pi * step / decay_steps)) / 2.0
        case "stepwise":
            done = step * num_stairs // decay_steps / num_stairs
        case _:
            done = step / decay_steps
    return start + (end - start) * done


def learning_rate_at(step: int, *, lr: float, ramp_steps: int, num_steps: int, end_frac: float) -> float:
    """Learning rate of a step: rises linearly over `ramp_steps`, then falls linearly to `lr * end_frac` at the end.

    Step 0 gets lr / ramp_steps, not 0: a step that cannot learn would waste its rollout.
    """
    if step < ramp_steps:
        return lr * (step + 1) / ramp_steps
    rest = max(num_steps - 1 - ramp_steps, 1)
    return lr * (1.0 + (end_frac - 1.0) * min((step - ramp_steps) / rest, 1.0))


def warmup_learning_rate_at(update: int, *, lr: float, num_updates: int) -> float:
    """Learning rate of a warm-up update: ramped over the first tenth, then linear down to a tenth of `lr`."""
    return learning_rate_at(update, lr=lr, ramp_steps=max(num_updates // 10, 1), num_steps=num_updates, end_frac=0.1)
