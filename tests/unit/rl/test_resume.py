"""A command goes on with the run in its folder or is refused, before anything starts and for one reason."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from configs.load import ConfigError, load_config, to_json
from configs.schema import Config
from gyms.api import Services
from gyms.critic.gym import CriticGym, CriticGymSettings
from gyms.mixture import GymEntry
from rl.ahead import Held
from rl.checkpoint import Checkpoint
from rl.resume import check_draws_so_far, check_fingerprint, resumed
from rl.run_folder import RunFolder

FINGERPRINT = {"chat_template": "ab12", "tokenizer": "cd34", "gyms": {"sums": {"num": 50}}}


def config_of(*overrides: str) -> Config:
    return load_config([], ["model.source=tiny", 'gyms=[{name="sums",budget=8}]', *overrides])


@pytest.fixture
def folder(tmp_path) -> RunFolder:
    """The folder of a run that stopped after three steps."""
    folder = RunFolder(tmp_path / "run")
    checkpoint = folder.checkpoints / "step_000003"
    checkpoint.mkdir(parents=True)
    (checkpoint / "learner.pt").touch()
    (checkpoint / "run.json").write_text(json.dumps({"run": {"step": 3}, "fingerprint": FINGERPRINT}))
    folder.config.write_text(to_json(config_of()))
    return folder


def refusal(check, *args) -> str:
    with pytest.raises(ConfigError) as caught:
        check(*args)
    return str(caught.value)


def test_an_empty_folder_begins_a_run(tmp_path):
    assert resumed(config_of(), RunFolder(tmp_path / "none")) is None


def test_the_same_config_goes_on_from_the_newest_checkpoint(folder):
    found = resumed(config_of("num_steps=9"), folder)
    assert found is not None
    old, checkpoint = found
    assert (old, checkpoint.step, checkpoint.fingerprint) == (config_of(), 3, FINGERPRINT)
    check_fingerprint(checkpoint, FINGERPRINT)


def test_another_config_is_refused_with_both_values(folder):
    assert "learner.lr: the run has 1e-06, now it is 0.1" in refusal(resumed, config_of("learner.lr=0.1"), folder)


@pytest.mark.parametrize("key", FINGERPRINT)
def test_another_template_or_other_tasks_are_refused_by_name(folder, key):
    checkpoint = Checkpoint(folder=folder.checkpoints / "step_000003", run={"step": 3}, fingerprint=FINGERPRINT)
    told = refusal(check_fingerprint, checkpoint, {**FINGERPRINT, key: "other"})
    assert told.startswith(f"{key} has changed since the checkpoint {checkpoint.folder}: it was ")


def test_a_checkpoint_that_names_no_tokenizer_goes_on_with_any(folder):
    named = {key: value for key, value in FINGERPRINT.items() if key != "tokenizer"}
    check_fingerprint(Checkpoint(folder=folder.path, run={"step": 3}, fingerprint=named), FINGERPRINT)


def test_what_is_no_longer_left_out_is_a_change_too(folder):
    checkpoint = Checkpoint(folder=folder.path, run={"step": 3}, fingerprint={**FINGERPRINT, "rates": "abc"})
    assert "rates has changed" in refusal(check_fingerprint, checkpoint, FINGERPRINT)


@pytest.mark.parametrize("spoil", ["{", "[]", '{"run": {}}'])
def test_a_checkpoint_that_cannot_be_read_is_refused_with_what_to_do(folder, spoil):
    (folder.checkpoints / "step_000003" / "run.json").write_text(spoil)
    told = refusal(resumed, config_of(), folder)
    assert "cannot be read" in told and "delete its folder to go on from the one before" in told and "\n" not in told


@pytest.mark.parametrize("lines", [None, "", '{"step": 4}\n'])
def test_a_checkpoint_without_what_was_drawn_ahead_is_refused_in_the_same_way(folder, lines):
    checkpoint = folder.checkpoints / "step_000003"
    held = Held(groups=(), seconds=1.0, lines='{"step": 3}\n')
    run = {"step": 3, "ahead": held.facts()}
    (checkpoint / "run.json").write_text(json.dumps({"run": run, "fingerprint": FINGERPRINT}))
    held.write(checkpoint)
    assert resumed(config_of(), folder) is not None
    (checkpoint / "ahead.jsonl").unlink() if lines is None else (checkpoint / "ahead.jsonl").write_text(lines)
    told = refusal(resumed, config_of(), folder)
    assert "cannot be read" in told and "ahead.jsonl" in told and "delete its folder" in told


@pytest.mark.parametrize("spoil", [None, "{", '{"seeed": 1}'])
def test_a_run_without_its_config_is_refused(folder, spoil):
    folder.config.unlink()
    if spoil is not None:
        folder.config.write_text(spoil)
    told = refusal(resumed, config_of(), folder)
    assert "holds checkpoints, but its config.json cannot be read" in told and "\n" not in told


# -- limits that may change while they changed nothing ----------------------------------------------------------------

CHECKPOINT = Checkpoint(folder=Path("step_000003"), run={"step": 3})
NONE_DROPPED = [{"step": i, "rollout/num_dropped_prompts": 0} for i in range(4)]
DROPPED = [*NONE_DROPPED[:2], {"step": 2, "rollout/num_dropped_prompts": 1}]
LATER = [*NONE_DROPPED[:3], {"step": 3, "rollout/num_dropped_prompts": 1}]


def check(old: str, new: str, rows, gyms=()) -> None:
    check_draws_so_far(config_of(*old.split()), config_of(*new.split()), CHECKPOINT, rows, gyms)


DROP = "rollout.long_prompts=drop"
LONGER = "rollout.max_prompt_tokens=1100"


@pytest.mark.parametrize(
    ("old", "new", "rows"),
    [
        ("", "", DROPPED),
        (DROP, DROP, DROPPED),
        ("", LONGER, NONE_DROPPED),
        ("", f"{LONGER} {DROP}", NONE_DROPPED),
        ("", DROP, [{"step": 0}, {"step": 1}]),  # rows of a version without the metric, which refused all
        (DROP, "", NONE_DROPPED),
        (DROP, f"{DROP} {LONGER}", LATER),  # the step that dropped one is done again
    ],
)
def test_a_limit_that_changed_no_draw_so_far_may_be_raised(old, new, rows):
    check(old, new, rows)


@pytest.mark.parametrize("held", [{"ahead": {"num_dropped": 1}}, {"carried": [{"num_dropped": 0}, {"num_dropped": 2}]}])
def test_a_draw_that_is_there_already_counts_for_the_step_to_do(held):
    was, now = config_of(DROP), config_of(DROP, LONGER)
    checkpoint = Checkpoint(folder=Path("step_000003"), run={"step": 3, **held})
    assert "step 3 drew others in the place" in refusal(check_draws_so_far, was, now, checkpoint, NONE_DROPPED, ())


@pytest.mark.parametrize(
    ("old", "new", "rows", "expected"),
    [
        (DROP, f"{DROP} {LONGER}", DROPPED, "step 2 drew others in the place of tasks that were left out"),
        (DROP, "", DROPPED, "step 2 drew others in the place of tasks that were left out"),
        ("", "rollout.max_prompt_tokens=1000", NONE_DROPPED, "the run has 1024, now it is 1000; what it drew"),
    ],
)
def test_a_limit_that_would_change_past_draws_is_refused_with_the_reason(old, new, rows, expected):
    told = refusal(check, old, new, rows)
    rule = "drop" if old == DROP else "refuse"
    assert expected in told and "\n" not in told
    assert f'set rollout.max_prompt_tokens = 1024 and rollout.long_prompts = "{rule}" again' in told


def test_a_critic_that_learned_from_what_fitted_the_limit_keeps_it():
    critic = GymEntry(name="critic", gym=CriticGym(CriticGymSettings(), Services()), share=1.0, budget=8)
    assert "its critic learned from pairs of answers that fitted" in refusal(check, "", LONGER, NONE_DROPPED, [critic])
    check("", DROP, NONE_DROPPED, [critic])
