"""What is asked of the gyms of a run before it starts: tasks in both splits, gold that scores, no shared problem.

Gyms are plug-ins: whatever their code raises becomes a ValueError that names the gym (`gym_code`).
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from configs.schema import Config, GymConfig
from gyms.api import Environment, Gym, Score, Status, Task, Turn
from gyms.episodes.checks import play
from gyms.fingerprint import ask_another_process
from gyms.load import GymSpec, load_gym
from gyms.mixture import EpisodeLimits, GymEntry, check_disjoint
from reward.scorer import Scorer
from rl.machine import check_languages

__all__ = ["check_gold", "check_gyms", "check_same_everywhere", "episode_limits", "gym_code", "runs_all_golds"]

_NUM_GOLDS = 8
"""Tasks of each split whose gold answer is scored."""
_MAX_WRONG_GOLDS = 0.25
"""Fraction of those that may fail."""
_log = logging.getLogger(__name__)


def check_gyms(config: Config) -> tuple[tuple[GymEntry, ...], tuple[GymSpec, ...]]:
    """Load every gym, score a gold answer, and see that train and held-out tasks do not overlap."""
    entries, specs = [], []
    for i, settings in enumerate(config.gyms):
        gym = load_gym(settings.name, settings.gym, settings.args, config_key=f"gyms.{i}")
        with gym_code(i, settings.name):
            for split in ("train", "heldout"):
                if not len(gym.tasks(split)):
                    raise ValueError(f"gyms.{i} ({settings.name}) has no {split} tasks; check gyms.{i}.args")
            check_languages(f"gyms.{i} ({settings.name})", gym)
            spec = GymSpec(name=settings.name, reference=settings.gym, args=settings.args)
            if not runs_all_golds(settings, gym):  # else rl.golds does, and knows which to leave out
                check_gold(gym, i, spec)
            check_disjoint(gym, name=settings.name)
        entries.append(
            GymEntry(
                name=settings.name, gym=gym, share=settings.share, budget=settings.budget,
                limits=episode_limits(settings, gym, config_key=f"gyms.{i}"),
            )
        )  # fmt: skip
        specs.append(spec)
    return tuple(entries), tuple(specs)


def episode_limits(settings: GymConfig, gym: Gym, *, config_key: str) -> EpisodeLimits | None:
    """How long an episode may get; None for a gym of one turn. One whose only turn ends it is as long as that turn.

    Raises:
        ValueError: a limit is missing, or is none of this gym's.
    """
    if not isinstance(gym, Environment):
        for key in ("max_turns", "episode_tokens", "context_tokens"):
            if (given := getattr(settings, key)) is not None:
                raise ValueError(
                    f"{config_key}.{key} = {given}, but {settings.name} is a gym of one turn; remove it, and set "
                    f"{config_key}.budget"
                )
        return None
    if settings.episode_tokens is None and gym.max_turns > 1:
        raise ValueError(
            f"{config_key} ({settings.name}) takes up to {gym.max_turns} turns: set {config_key}.episode_tokens, the "
            f"most tokens of an episode behind its prompt; {config_key}.budget = {settings.budget} is that of one turn"
        )
    if gym.scores_groups or gym.needs.judge:
        raise ValueError(
            f"{config_key} ({settings.name}) takes many turns, and scores of siblings together or with a judge are "
            "not asked for there; have its episodes score themselves"
        )
    return EpisodeLimits(
        max_turns=settings.max_turns or gym.max_turns,
        max_tokens=settings.episode_tokens or settings.budget,
        context=settings.context,
        max_context=settings.context_tokens,
    )


@contextlib.contextmanager
def gym_code(index: int, name: str) -> Iterator[None]:
    """Around calls into a plug-in: whatever it raises becomes a ValueError that names the gym."""
    try:
        yield
    except ValueError:
        raise
    except Exception as error:
        raise ValueError(
            f"gyms.{index} ({name}) raised {type(error).__name__}: {error}; run `python -m gyms validate {name}` and "
            "mend the gym"
        ) from error


def runs_all_golds(settings: GymConfig, gym: Gym) -> bool:
    """Whether every worked answer is scored before a start (`gyms.N.golds`).

    `auto` asks it of what runs submitted code; an environment's golds are episodes, of which a sample is played.
    """
    if isinstance(gym, Environment):
        return False
    return settings.golds == "all" or (settings.golds == "auto" and gym.needs.sandbox)


def check_gold(gym: Gym, index: int, spec: GymSpec) -> None:
    """Worked answers score 1: the first of each split, and most of a sample; else the verifier teaches nonsense.

    Scored here, but for gyms that run submitted code: those get a worker with its sandbox, as in the run. Published
    sets hold some tasks whose own solution fails; where few of the sample are such, they are logged.
    """
    name = spec.name
    if isinstance(gym, Environment):
        check_gold_turns(gym, index, spec)
        return
    tasks = [task for split in ("train", "heldout") for task in _spread(gym.tasks(split), _NUM_GOLDS)]
    firsts = {gym.tasks(split)[0].id for split in ("train", "heldout")}
    golds = [(task, answer) for task in tasks if (answer := gym.gold(task)) is not None]
    scores = _score_in_worker(spec, golds) if gym.needs.sandbox else [gym.score(task, answer) for task, answer in golds]
    wrong = [
        (task, answer, score)
        for (task, answer), score in zip(golds, scores, strict=True)
        if score.status is not Status.OK or score.value != 1.0
    ]
    if not wrong:
        return
    task, answer, score = min(wrong, key=lambda found: found[0].id not in firsts)
    told = (
        f"gyms.{index} ({name}): the gold answer {answer!r:.300} of task {task.id!r} scores {score.value} "
        f"({score.status})"
    )
    if task.id in firsts or len(wrong) > _MAX_WRONG_GOLDS * len(golds):
        many = f" and {len(wrong)} of {len(golds)} sampled gold answers fail" if len(wrong) > 1 else ""
        raise ValueError(f"{told}{many}; run `python -m gyms validate {name}` and mend the gym")
    _log.warning("%s; %d of %d sampled: such tasks teach nothing, drop their rows", told, len(wrong), len(golds))


def check_gold_turns(env: Environment, index: int, spec: GymSpec) -> None:
    """The same for an environment, whose worked answers are whole episodes."""
    name = spec.name
    for task in [task for split in ("train", "heldout") for task in _spread(env.tasks(split), _NUM_GOLDS)]:
        gold = env.gold_turns(task)
        if gold is None:
            continue
        score = _played_in_worker(spec, task, gold) if env.needs.sandbox else play(env, task, gold).score
        if score.status is not Status.OK or score.value != 1.0:
            raise ValueError(
                f"gyms.{index} ({name}): the gold turns of task {task.id!r} score {score.value} ({score.status}: "
                f"{score.detail}); run `python -m gyms validate {name}` and "
                "mend the environment"
            )


def _spread(tasks: Sequence[Task], num: int) -> list[Task]:
    """Up to so many tasks, the first one and others evenly spaced."""
    return [tasks[i * len(tasks) // num] for i in range(num)] if len(tasks) > num else list(tasks)


def _score_in_worker(spec: GymSpec, pairs: Sequence[tuple[Task, str]]) -> list[Score]:
    async def score_all() -> list[Score]:
        return [await scorer.score(f"gold/{i}", spec.name, *pair) for i, pair in enumerate(pairs)]

    with Scorer([spec]) as scorer:
        return asyncio.run(score_all())


def _played_in_worker(spec: GymSpec, task: Task, turns: Sequence[Turn]) -> Score:
    with Scorer([spec]) as scorer:
        return scorer.submit_episode(f"gold/{task.id}", spec.name, task, turns, seed=0).result()


def check_same_everywhere(specs: Sequence[GymSpec], here: Mapping[str, Any]) -> None:
    """Another process finds the same tasks in these gyms, of which `here` are the fingerprints in this one."""
    there = ask_another_process(specs) if specs else {}
    for spec in specs:
        if there.get(spec.name) != here[spec.name]:
            what = "differ in another process" if spec.name in there else "cannot be built in another process"
            raise ValueError(
                f"the tasks of gym {spec.name!r} ({spec.reference}) {what}; a gym's tasks must be the same in every "
                "process, or its run cannot go on after a stop: sort what comes from a set, seed what is drawn"
            )
