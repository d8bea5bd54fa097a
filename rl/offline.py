"""A stored step through the learner again, without engines: the same losses and gradient norm as the run logged.

The rows of rollouts/ hold what an update saw, and a checkpoint holds the learner that saw it. Where a step has no
checkpoint of its own, the newest before it is taken and the steps in between are done again: updates are functions of
theta and rows. On the machine of the run, with its versions and number of threads, the numbers are equal to the last
digit (CPU); elsewhere they differ by rounding, which grows from one update to the next.

Settings that only an update reads may be changed for the step at hand: what would another loss have made of these very
samples? What was decided before (which samples, rewards, advantages, minibatches) stays as it was.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

import torch

from configs.load import ConfigError, diff, from_json
from configs.schema import Config
from gyms.load import load_gym
from gyms.mixture import GymEntry
from rl.checkpoint import Checkpoint, complete_checkpoints
from rl.curated import Curated
from rl.golds import Replayed
from rl.learner import Learner
from rl.metrics import learner_metrics
from rl.objective import check_objective
from rl.preflight import chat_of, load_ptx
from rl.run_folder import RunFolder
from rl.sample_rows import minibatches_of
from rl.settings import learner_settings, learning_rate, ptx_batch
from rl.update import UpdateMetrics

__all__ = ["Replay", "config_of", "model_folder_of", "replay"]

MAY_CHANGE = (
    "learner.loss", "learner.aggregation", "learner.tau", "learner.clip_*", "learner.squared_over",
    "learner.mismatch.*", "learner.lr*", "learner.max_grad_norm", "learner.max_microbatch_tokens", "ptx.coef",
)  # fmt: skip
"""Settings (patterns) that an update reads and nothing before it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Replay:
    """A step, done again."""

    step: int
    checkpoint: Path
    """What theta and the optimiser came from."""
    updates: tuple[UpdateMetrics, ...]
    """One for each minibatch."""
    logged: dict[str, Any]
    """The step's row of metrics.jsonl."""
    changed: tuple[str, ...]
    """Settings that the run did not have."""

    @property
    def found(self) -> dict[str, float | int | None]:
        """The numbers of the updates, under their names in metrics.jsonl."""
        return learner_metrics(self.updates)


def replay(
    run: Path, step: int, overrides: Sequence[str] = (), *, say: Callable[[str], None] = lambda text: None
) -> Replay:
    """Do the updates of a step of a run again.

    Args:
        run: the run folder; nothing in it is written.
        overrides: `key.path=value` for this step alone; see `MAY_CHANGE`.
        say: takes a line for each step that is done on the way.

    Raises:
        ValueError: no such run, no checkpoint at or before the step, rows that hold too little, or another setting.
    """
    folder = RunFolder(run.absolute())
    config, wanted = _configs(folder, overrides)
    check_objective(wanted)
    checkpoint, logged = _start(folder, step)
    ptx = _curated(config if config.ptx.coef else wanted, folder, Replayed.before(checkpoint.fingerprint))
    learner = Learner(learner_settings(config, model_folder_of(config, folder)))
    learner.load(checkpoint.folder)
    for now in range(checkpoint.step, step):
        say(f"step {now}, on the way from {checkpoint.folder.name}")
        _do(learner, config, folder, now, logged[now], ptx)
    learner.settings = learner_settings(wanted, learner.settings.model_folder)
    changed = diff(config, wanted)
    updates = _do(learner, wanted, folder, step, logged[step], ptx, changed=changed)
    return Replay(
        step=step,
        checkpoint=checkpoint.folder,
        updates=tuple(updates),
        logged=logged[step],
        changed=tuple(changed),
    )


def config_of(folder: RunFolder, overrides: Sequence[str] = ()) -> Config:
    """The config that a run folder holds.

    Raises:
        ValueError: it holds none, or one that this version does not know.
    """
    if not folder.config.is_file():
        raise ValueError(f"{folder.path} is no run folder: it has no config.json")
    return from_json(folder.config.read_text(encoding="utf-8"), overrides)


def _configs(folder: RunFolder, overrides: Sequence[str]) -> tuple[Config, Config]:
    """The run's config, and the same with the overrides."""
    config, wanted = config_of(folder), config_of(folder, overrides)
    if wrong := [key for key in diff(config, wanted) if not any(fnmatchcase(key, may) for may in MAY_CHANGE)]:
        raise ConfigError(
            f"{wrong[0]} decides what a step samples, or how its learner was built, and cannot change in a replay; "
            f"what can: {', '.join(MAY_CHANGE)}"
        )
    return config, wanted


def _start(folder: RunFolder, step: int) -> tuple[Checkpoint, dict[int, dict[str, Any]]]:
    """The newest checkpoint at or before the step, and all rows of metrics.jsonl by step."""
    logged = {row["step"]: row for row in folder.rows(folder.metrics)}
    checkpoints = complete_checkpoints(folder.checkpoints)
    first = min((checkpoint.step for checkpoint in checkpoints), default=None)
    before = [checkpoint for checkpoint in checkpoints if checkpoint.step <= step]
    if first is None or not logged or step not in logged or not before:
        possible = [s for s in logged if first is not None and s >= first]
        told = f"steps {min(possible)} to {max(possible)} can" if possible else "no step of it can"
        raise ValueError(
            f"step {step} of {folder.path} cannot be replayed, {told}: a step needs its rows and a checkpoint at or "
            "before it (checkpoint.every, checkpoint.keep)"
        )
    return before[0], logged


def model_folder_of(config: Config, folder: RunFolder) -> Path:
    """The policy before training."""
    return folder.base if config.model.path is None else config.model.path


def _curated(config: Config, folder: RunFolder, golds: Replayed) -> Curated | None:
    """The curated conversations of the PTX loss, if it is on; without what the run left out."""
    if not config.ptx.coef:
        return None
    entries = [
        GymEntry(
            name=gym.name,
            gym=load_gym(gym.name, gym.gym, gym.args, config_key=f"gyms.{i}"),
            share=gym.share,
            budget=gym.budget,
        )
        for i, gym in enumerate(config.gyms)
        if any(gym.name in source.gyms for source in config.ptx.sources)
    ]
    return load_ptx(config, tuple(entries), chat_of(config, model_folder_of(config, folder), entries), golds)


def _do(
    learner: Learner, config: Config, folder: RunFolder, step: int, logged: dict[str, Any], ptx: Curated | None, *,
    changed: Sequence[str] = (),
) -> list[UpdateMetrics]:  # fmt: skip
    """All updates of a step, on as many threads as its row of metrics.jsonl says (older rows do not).

    Args:
        changed: settings that the run did not have. The row's learning rate and PTX weight count, whatever the config
            makes of the run's length, which may have changed; but not those that are asked for anew.
    """
    if num_threads := logged.get("learner/num_threads"):
        torch.set_num_threads(num_threads)
    try:
        if not folder.rollouts_of(step).is_file():
            raise ValueError("there is no such file")
        rows = folder.rows(folder.rollouts_of(step))
        version = None
        if config.rollout.stale_tokens == "mask":  # every group has a sibling that ended in this step
            version = max((part["weight_version"] for row in rows for part in row["segments"]), default=None)
        minibatches = minibatches_of(rows, num_minibatches=config.learner.num_minibatches, version=version)
    except (ValueError, KeyError) as error:
        raise ValueError(f"step {step} cannot be replayed from {folder.rollouts_of(step)}: {error}") from error
    lr = learning_rate(config, step)
    is_logged_lr = not any(key.startswith("learner.lr") for key in changed)
    if is_logged_lr and not math.isclose(lr, logged["learner/learning_rate"], rel_tol=1e-6):
        lr = logged["learner/learning_rate"]
    updates, coef = [], None if "ptx.coef" in changed else logged.get("learner/ptx_coef")
    for minibatch in minibatches:
        curated = ptx_batch(config, ptx, step=step, minibatch=minibatch.index)
        if curated and coef is not None and not math.isclose(config.ptx.coef * curated.scale, coef, rel_tol=1e-6):
            curated.scale = coef / config.ptx.coef
        updates.append(learner.update(minibatch, curated, lr=lr))
    return updates
