"""A group of answers before a critic, and what each is worth."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine, Sequence
from dataclasses import replace
from typing import Any

from gyms.api import Score, Task, message
from reward.critic import CriticSettings, SelfCritic
from reward.judges.api import Generate
from reward.judges.prompted import PromptSettings
from reward.rubric import Rubric, load_rubric

TASK = Task(id="t", prompt=(message("user", "Why is the sky blue?"),))
AIMS = load_rubric("core")
SETTINGS = CriticSettings(seed=0)


def run(job: Coroutine[Any, Any, Any]) -> Any:
    return asyncio.run(job)


def judged(
    generate: Generate,
    responses: Sequence[str | None],
    *,
    rubric: Rubric | None = AIMS,
    prompt: PromptSettings | None = None,
    **kwargs: Any,
) -> list[Score]:
    critic = SelfCritic(generate, replace(SETTINGS, **kwargs), prompt=prompt or PromptSettings())
    return run(critic.judge_group("s0/d0", TASK, responses, rubric))


def values(scores: Sequence[Score]) -> list[float | None]:
    return [score.value for score in scores]
