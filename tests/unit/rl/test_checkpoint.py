"""A checkpoint exists whole or not at all, and the newest whole one is never deleted."""

from __future__ import annotations

import pytest

from rl.checkpoint import PublishedWeights, RunState, latest_checkpoint, prune, staging_folder, write_manifest


def weights(version: int) -> PublishedWeights:
    return PublishedWeights(version=version, handle=object(), num_bytes=1, pack_seconds=0.0)


def save(checkpoints, step: int, text: str = "theta"):
    staging = staging_folder(checkpoints, step)
    (staging / "learner.pt").write_text(f"{text} {step}")
    return write_manifest(staging, checkpoints, run={"step": step}, fingerprint={"chat_template": "ab"})


def steps(checkpoints) -> list[str]:
    return sorted(path.name for path in checkpoints.iterdir())


def test_the_newest_checkpoint_is_found_with_its_facts(tmp_path):
    assert latest_checkpoint(tmp_path / "none") is None
    for step in (0, 9, 10):
        save(tmp_path, step)
    found = latest_checkpoint(tmp_path)
    assert found is not None
    assert found.run == {"step": 10} and found.fingerprint == {"chat_template": "ab"}
    assert found.folder.joinpath("learner.pt").read_text() == "theta 10"
    assert steps(tmp_path) == ["step_000000", "step_000009", "step_000010"]


def test_a_half_written_checkpoint_is_not_found(tmp_path):
    save(tmp_path, 1)
    staging = staging_folder(tmp_path, 2)
    assert latest_checkpoint(tmp_path).run["step"] == 1
    (staging / "learner.pt").write_text("half")
    assert latest_checkpoint(tmp_path).run["step"] == 1
    for missing in ("run.json", "learner.pt"):
        (save(tmp_path, 3) / missing).unlink()
        assert latest_checkpoint(tmp_path).run["step"] == 1


def test_what_an_attempt_that_was_given_up_still_writes_comes_into_no_checkpoint(tmp_path):
    given_up = staging_folder(tmp_path, 2)
    staging = staging_folder(tmp_path, 2)
    assert list(staging.iterdir()) == []
    (staging / "learner.pt").write_text("new")
    given_up.mkdir(exist_ok=True)
    (given_up / "learner.pt").write_text("stale")
    saved = write_manifest(staging, tmp_path, run={"step": 2}, fingerprint={})
    assert (saved / "learner.pt").read_text() == "new"
    prune(tmp_path, 1)
    assert steps(tmp_path) == ["step_000002"]


def test_attempts_that_failed_do_not_pile_up(tmp_path):
    for step in (2, 2, 3):
        (staging_folder(tmp_path, step) / "learner.pt").write_text("half")
    assert len(list(tmp_path.iterdir())) == 1


def test_saving_a_step_again_replaces_it(tmp_path):
    save(tmp_path, 4, "old")
    save(tmp_path, 4, "new")
    assert latest_checkpoint(tmp_path).folder.joinpath("learner.pt").read_text() == "new 4"
    assert steps(tmp_path) == ["step_000004"]


def test_a_kill_between_the_two_renames_of_a_replacement_loses_nothing(tmp_path):
    save(tmp_path, 4).rename(tmp_path / ".step_000004.replaced.partial")  # away, and the new one not yet in its place
    (staging_folder(tmp_path, 4) / "learner.pt").write_text("new")
    assert latest_checkpoint(tmp_path).folder.joinpath("learner.pt").read_text() == "theta 4"
    prune(tmp_path, 1)
    assert steps(tmp_path) == ["step_000004"]


def test_a_checkpoint_knows_whether_it_holds_what_would_be_saved(tmp_path):
    save(tmp_path, 4)
    found = latest_checkpoint(tmp_path)
    assert found.holds({"step": 4}, {"chat_template": "ab"})
    assert not found.holds({"step": 4, "is_warm": True}, {"chat_template": "ab"})
    assert not found.holds({"step": 4}, {"chat_template": "other"})


@pytest.mark.parametrize("keep", [1, 2, 3, 9])
def test_pruning_keeps_the_newest_and_removes_what_is_half_written(tmp_path, keep):
    for step in (2, 4, 6, 8):
        save(tmp_path, step)
    staging_folder(tmp_path, 10)
    prune(tmp_path, keep)
    assert steps(tmp_path) == [f"step_{step:06d}" for step in (2, 4, 6, 8)][-keep:]


def test_pruning_never_lets_a_half_deleted_checkpoint_take_the_place_of_a_whole_one(tmp_path):
    (save(tmp_path, 8) / "learner.pt").unlink()  # a kill in the middle of replacing it
    save(tmp_path, 7)
    prune(tmp_path, 1)
    assert latest_checkpoint(tmp_path).run["step"] == 7


def test_run_state_comes_back_from_its_plain_facts():
    state = RunState(num_steps=5, weights=weights(0))
    state.is_warm, state.num_evals, state.rates = True, 3, {"sums": {"a": 0.1}}
    state.budgets = {"sums": {"b": 7}}
    state.advance(weights(1))
    facts = {"step": 1, "weight_version": 1, "is_warm": True, "num_evals": 3, "carried": [], "ahead": None}
    assert state.state_dict(()) == {**facts, "rates": {"sums": {"a": 0.1}}, "budgets": {"sums": {"b": 7}}}
    restored, now = RunState(num_steps=5, weights=weights(0)), weights(1)
    restored.load_state_dict(state.state_dict(()), now, ())
    assert restored.state_dict(()) == state.state_dict(()) and restored.weights is now


def test_a_run_goes_on_until_its_last_step_or_until_it_is_stopped():
    state = RunState(num_steps=2, weights=weights(0))
    seen = []
    while state.goes_on:
        seen.append(state.step)
        state.advance(weights(state.step + 1))
    assert seen == [0, 1] and state.weights.version == 2
    state = RunState(num_steps=2, weights=weights(0), is_stopping=True)
    assert not state.goes_on
