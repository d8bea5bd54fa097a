"""Whether a command goes on with the run that its folder holds: the same answer for `--dry-run` and for the start.

A run that goes on must equal one that never stopped. So its settings, chat template, tokenizer and tasks must be those
that it began with, but for what `configs.load.MAY_CHANGE_ON_RESUME` lists. Some of that depends on what the run did so
far: the limit of prompts, and what becomes of too long ones, may change only while they changed no draw. (The same rule
for curated conversations needs no check: under "refuse" a run with one of no use never began, and from "drop" to
"refuse" it does not go on.)
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from configs.load import ConfigError, check_same_run, from_json
from configs.schema import Config
from gyms.critic.gym import CriticGym
from gyms.mixture import GymEntry
from rl.ahead import read_lines
from rl.checkpoint import Checkpoint, latest_checkpoint
from rl.run_folder import RunFolder

__all__ = ["check_draws_so_far", "check_fingerprint", "resumed"]


def resumed(config: Config, folder: RunFolder) -> tuple[Config, Checkpoint] | None:
    """The run in `folder` that `config` goes on with: its config and newest checkpoint; None where it starts one.

    Raises:
        ConfigError: the folder holds another run, or one that cannot be read.
    """
    try:
        checkpoint = latest_checkpoint(folder.checkpoints)
        if checkpoint is not None and (ahead := checkpoint.run.get("ahead")):
            read_lines(checkpoint.folder, ahead)
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ConfigError(
            f"the newest checkpoint in {folder.checkpoints} cannot be read ({type(error).__name__}: {error}); delete "
            "its folder to go on from the one before, or start a new run_dir"
        ) from error
    if checkpoint is None:
        return None
    try:
        old = from_json(folder.config.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        told = "; ".join(str(error).splitlines())
        raise ConfigError(
            f"{folder.path} holds checkpoints, but its config.json cannot be read ({told}); restore it, or start a new "
            "run_dir"
        ) from error
    check_same_run(old, config)
    return old, checkpoint


def check_fingerprint(checkpoint: Checkpoint, now: Mapping[str, Any]) -> None:
    """Chat template, tokenizer and tasks are those of the checkpoint.

    Raises:
        ConfigError: they are not.
    """
    for key in dict.fromkeys((*now, *checkpoint.fingerprint)):  # one that is gone has changed, too
        before, value = checkpoint.fingerprint.get(key), now.get(key)
        if key == "tokenizer" and before is None:
            continue  # the checkpoint was written before tokenizers were named
        if before != value:
            raise ConfigError(
                f"{key} has changed since the checkpoint {checkpoint.folder}: it was {before}, now it is {value}; "
                "restore it, or start a new run_dir"
            )


def check_draws_so_far(
    old: Config, new: Config, checkpoint: Checkpoint, rows: Sequence[Mapping[str, Any]], gyms: Sequence[GymEntry]
) -> None:
    """Changed limits of prompts, had they held from the start, would have drawn the same tasks so far.

    Args:
        rows: of metrics.jsonl.

    Raises:
        ConfigError: they would not, or it cannot be known.
    """
    was, now = old.rollout, new.rollout
    if (was.max_prompt_tokens, was.long_prompts) == (now.max_prompt_tokens, now.long_prompts):
        return
    back = (
        f'set rollout.max_prompt_tokens = {was.max_prompt_tokens} and rollout.long_prompts = "{was.long_prompts}" '
        "again, or start a new run_dir"
    )
    if now.max_prompt_tokens < was.max_prompt_tokens:
        raise ConfigError(
            f"rollout.max_prompt_tokens: the run has {was.max_prompt_tokens}, now it is {now.max_prompt_tokens}; what "
            f"it drew so far may be longer: {back}"
        )
    if now.max_prompt_tokens > was.max_prompt_tokens and any(isinstance(entry.gym, CriticGym) for entry in gyms):
        raise ConfigError(
            f"rollout.max_prompt_tokens: the run has {was.max_prompt_tokens}, now it is {now.max_prompt_tokens}; its "
            f"critic learned from pairs of answers that fitted the former: {back}"
        )
    steps = [row["step"] for row in rows if row.get("rollout/num_dropped_prompts") and row["step"] < checkpoint.step]
    ahead, carried = checkpoint.run.get("ahead") or {}, checkpoint.run.get("carried") or []
    if ahead.get("num_dropped") or any(group["num_dropped"] for group in carried):
        steps.append(checkpoint.step)  # whose draws are there already
    if steps:
        raise ConfigError(
            f"rollout.max_prompt_tokens and rollout.long_prompts cannot change: step {min(steps)} drew others in the "
            f"place of tasks that were left out: {back}"
        )
