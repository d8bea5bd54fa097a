"""What a plug-in must survive beyond its own contract: a killable worker, limits, another order, cancellation.

`gyms.testing.check_gym` looks at a gym in the caller's process. This looks at it where a run will use it, behind the
scorer: it can be built from its settings alone, scores there as it does here, in any order and in every worker, answers
the oddest responses within its limits, and leaves no process when it is cancelled or done. The pytest plug-in
(reward/pytest_plugin.py) runs both.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Sequence
from itertools import islice

from gyms.api import Environment, Gym, Score, Task
from gyms.children import children_of
from gyms.episodes.checks import play, some_episodes
from gyms.load import GymSpec
from gyms.testing import ODD_RESPONSES, GymContractError
from reward.control import CONTROL_FLAG
from reward.scorer import Scorer

__all__ = ["check_cancellation", "check_in_worker"]

_NUM_TASKS = 4
_NUM_EPISODES = 5
"""Episodes of each task that are played in a worker."""


def check_in_worker(spec: GymSpec, gym: Gym, *, start_seconds: float = 120.0) -> None:
    """Raise GymContractError where the gym behaves differently in a worker, depends on order, or overruns a limit.

    Args:
        spec: what the gym is built from in the worker.
        gym: the same gym, built in this process.
    """
    tasks = _some_tasks(gym)
    pairs = [(task, response) for task in tasks for response in _responses(gym, task)]
    with Scorer([spec], num_workers=2, start_seconds=start_seconds) as scorer:
        forward = asyncio.run(_score_all(scorer, spec.name, pairs, "forward"))
        backward = asyncio.run(_score_all(scorer, spec.name, pairs[::-1], "backward"))[::-1]
    for (task, response), one, other in zip(pairs, forward, backward, strict=True):
        told = f"gym {spec.name!r}: task {task.id!r} with {response!r:.60}"
        if one.status.is_masked:
            raise GymContractError(f"{told} is {one.status} in a worker: {one.detail}")
        if CONTROL_FLAG in one.flags:
            raise GymContractError(f"{told} breaks the verifier in a worker: {one.detail}")
        if one != other:
            raise GymContractError(f"{told} scores differently in another order or worker: {one} and {other}")
    if isinstance(gym, Environment):
        _check_episodes_in_worker(spec, gym, tasks, start_seconds)
    for task in tasks:
        gold = gym.gold(task)
        if gold is not None and forward[pairs.index((task, gold))].value != 1.0:
            raise GymContractError(
                f"gym {spec.name!r}: the gold response of task {task.id!r} scores "
                f"{forward[pairs.index((task, gold))]} in a worker, expected 1.0"
            )


def _check_episodes_in_worker(spec: GymSpec, env: Environment, tasks: Sequence[Task], start_seconds: float) -> None:
    """Whole episodes score in a worker as they do here, all at the same time in the same worker."""
    episodes = [
        (task, turns, seed) for task in tasks for seed, turns in enumerate(some_episodes(env, task, num=_NUM_EPISODES))
    ]
    with Scorer([spec], start_seconds=start_seconds) as scorer:
        pending = [
            scorer.submit_episode(f"episode/{number}", spec.name, task, turns, seed=seed)
            for number, (task, turns, seed) in enumerate(episodes)
        ]
        scores = [score.result() for score in pending]
    for (task, turns, seed), score in zip(episodes, scores, strict=True):
        told = f"gym {spec.name!r}: an episode of task {task.id!r} with seed {seed} and the turns {turns!r:.300}"
        if score.status.is_masked or CONTROL_FLAG in score.flags:
            raise GymContractError(f"{told} is {score.status} in a worker: {score.detail}")
        here = play(env, task, turns, seed=seed).score
        if score != here:
            raise GymContractError(f"{told} scores differently in a worker: {score}, here {here}")


def check_cancellation(spec: GymSpec, gym: Gym, *, start_seconds: float = 120.0) -> None:
    """Raise GymContractError where a cancelled score stays behind, or the scores after it suffer."""
    task = _some_tasks(gym)[0]
    before = set(children_of(os.getpid()))

    async def cancel_and_go_on(scorer: Scorer) -> Score:
        await scorer.score("warm", spec.name, task, "warm")
        for number, response in enumerate(ODD_RESPONSES[-3:]):
            busy = asyncio.create_task(scorer.score(f"cancelled/{number}", spec.name, task, response))
            await asyncio.sleep(0.001)
            busy.cancel()
            await asyncio.gather(busy, return_exceptions=True)
        return await scorer.score("after", spec.name, task, gym.gold(task) or "after")

    with Scorer([spec], start_seconds=start_seconds) as scorer:
        after = asyncio.run(cancel_and_go_on(scorer))
    if after.status.is_masked:
        raise GymContractError(f"gym {spec.name!r}: after a cancelled score, a task is {after.status}: {after.detail}")
    left = set(children_of(os.getpid())) - before
    if left:
        raise GymContractError(f"gym {spec.name!r}: the processes {sorted(left)} are left after the scorer was closed")


async def _score_all(scorer: Scorer, name: str, pairs: Sequence[tuple[Task, str]], prefix: str) -> list[Score]:
    jobs = [scorer.score(f"{prefix}/{i}", name, task, response) for i, (task, response) in enumerate(pairs)]
    return list(await asyncio.gather(*jobs))


def _some_tasks(gym: Gym) -> list[Task]:
    return [task for split in ("train", "heldout") for task in islice(gym.tasks(split), _NUM_TASKS // 2)]  # type: ignore[arg-type]


def _responses(gym: Gym, task: Task) -> list[str]:
    gold = gym.gold(task)
    return [*([gold] if gold is not None else []), *ODD_RESPONSES]
