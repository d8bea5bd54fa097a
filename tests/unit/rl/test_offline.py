"""A step done again from what a run left behind: the very numbers, and one clear line where it cannot be."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from configs.load import load_config, to_json
from rl.batch import learning_batch
from rl.checkpoint import staging_folder, write_manifest
from rl.golds import Replayed
from rl.learner import Learner
from rl.metrics import learner_metrics
from rl.offline import replay
from rl.replay import main
from rl.run_folder import RunFolder
from rl.sample_rows import sample_rows
from rl.settings import learner_settings, learning_rate

STEPS = (3, 4, 5)


@pytest.fixture(scope="module")
def run(tiny_folder, group, scored, tmp_path_factory) -> Path:
    """What three steps of a run left, with a checkpoint before the first of them alone."""
    folder = RunFolder(tmp_path_factory.mktemp("replay") / "run")
    folder.create()
    config = load_config(
        [],
        [
            f"model.path={tiny_folder}", "model.chat_template=false", "model.context_length=64", "num_steps=9",
            "rollout.max_prompt_tokens=16", 'gyms=[{name="arithmetic",budget=8,args={style="bare",max_operand=9}}]',
            "rollout.prompts_per_step=4", "rollout.samples_per_prompt=3", "learner.num_minibatches=2",
            "learner.lr=1e-2", "learner.lr_ramp_steps=5", "learner.compute_dtype=float32",
            "learner.max_microbatch_tokens=32", "ptx.coef=0.5", "ptx.batch_size=2", "ptx.source.gym=arithmetic",
            "cluster.cpus_per_bundle=1",
        ],
    )  # fmt: skip
    folder.config.write_text(to_json(config))
    learner = Learner(learner_settings(config, tiny_folder))
    staging = staging_folder(folder.checkpoints, 3)
    learner.save(staging)
    write_manifest(staging, folder.checkpoints, run={"step": 3}, fingerprint={})
    data = _ptx(config, folder)
    for step in STEPS:
        num_groups = 1 if step == STEPS[1] else 4  # the second minibatch of that step has conversations alone
        groups = [group(step * 4 + p, *_samples(scored, step, p)) for p in range(num_groups)]
        batch = learning_batch(groups, step=step, seed=0, num_minibatches=2, drop_zero_spread=True)
        first, second = batch.minibatches
        updates = [
            learner.update(minibatch, data.batch(step * 2 + minibatch.index, seed=0, stream=0, batch_size=2),
                           lr=learning_rate(config, step))
            for minibatch in (first, *learner.add_old_logprobs([second]))
        ]  # fmt: skip
        old = {number: values for update in updates for number, values in update.old_logprobs.items()}
        folder.write_rollouts(step, sample_rows(step, groups, batch=batch, old_logprobs=old))
        folder.append(folder.metrics, {"step": step, **learner_metrics(updates)})
    return folder.path


def _ptx(config, folder):
    from rl.offline import _curated

    return _curated(config, folder, Replayed({}))


def _samples(scored, step: int, p: int):
    return [
        scored(
            float(k == (p + step) % 3),
            token_ids=tuple((5 * k + 3 * t + p) % 14 + 2 for t in range(2 + k)),
            logprobs=tuple(-2.5 - 0.25 * ((k + t) % 3) for t in range(2 + k)),
        )
        for k in range(3)
    ]


@pytest.mark.parametrize("step", STEPS)
def test_a_step_is_done_again_with_the_numbers_of_the_run_also_on_the_way_from_an_earlier_checkpoint(run, step):
    said: list[str] = []
    found = replay(run, step, say=said.append)
    assert found.checkpoint.name == "step_000003" and len(said) == step - 3
    assert len(found.updates) == 2 and found.changed == ()
    assert {name: found.logged[name] for name in found.found} == found.found


def test_the_weight_of_curated_conversations_is_that_of_the_row_where_the_schedule_has_become_another(run, tmp_path):
    """As it does where num_steps is raised."""
    later = RunFolder(tmp_path / "run")
    shutil.copytree(run, later.path)
    config = json.loads(later.config.read_text())
    config["ptx"]["coef_end_frac"] = 0.1
    later.config.write_text(json.dumps(config))
    found = replay(later.path, 4)
    assert {name: found.logged[name] for name in found.found} == found.found


@pytest.mark.parametrize(
    ("override", "kept"),
    [
        ("learner.tau=0.5", {"learner/learning_rate", "learner/ptx_coef"}),
        ("ptx.coef=0.25", {"learner/learning_rate"}),
        ("learner.lr=0.02", {"learner/ptx_coef"}),
    ],
)
def test_what_is_asked_for_anew_leaves_the_other_schedules_as_the_row_has_them(run, tmp_path, override, kept):
    later = RunFolder(tmp_path / "run")
    shutil.copytree(run, later.path)
    config = json.loads(later.config.read_text())
    config["ptx"]["coef_end_frac"], config["learner"]["lr_ramp_steps"] = 0.1, 9
    later.config.write_text(json.dumps(config))
    found = replay(later.path, 3, [override])
    same = {name for name in ("learner/learning_rate", "learner/ptx_coef") if found.found[name] == found.logged[name]}
    assert same == kept


def test_another_loss_sees_the_same_samples_and_the_steps_on_the_way_keep_the_runs_own(run):
    own = replay(run, 4)
    other = replay(run, 4, ["learner.loss=grpo", "learner.mismatch.correction=none"])
    assert other.changed == ("learner.loss", "learner.mismatch.correction")
    assert other.updates[0].grad_norm != own.updates[0].grad_norm
    assert other.updates[0].old_logprobs == own.updates[0].old_logprobs
    assert other.updates[0].ptx_loss == own.updates[0].ptx_loss  # of the same theta


def test_the_command_prints_both_numbers_and_says_that_they_are_equal(run, capsys):
    assert main([str(run), "3"]) == 0
    out = capsys.readouterr().out
    assert "from step_000003, 2 updates" in out and out.endswith("equal to what the run logged, to the last digit\n")
    assert main([str(run), "3", "--json", "learner.tau=0.5"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["changed"] == ["learner.tau"] and found["learner"]["grad_norm"]["logged"] > 0
    assert found["learner"]["routing_flip_frac"] == found["learner"]["router_aux"] == {"replayed": None, "logged": None}


def refused(capsys, *arguments: str) -> str:
    assert main([*arguments]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    return line


def test_what_cannot_be_replayed_says_what_can(run, capsys, tmp_path):
    line = refused(capsys, str(run), "2")
    assert "step 2 of" in line and "steps 3 to 5 can" in line
    assert "steps 3 to 5 can" in refused(capsys, str(run), "6")
    assert "no run folder" in refused(capsys, str(tmp_path), "0")
    assert main(["x" * 300, "0"]) == 2
    assert "not replayed: [Errno 36] File name too long" in capsys.readouterr().err


def test_a_setting_that_decided_before_the_update_cannot_change(run, capsys):
    line = refused(capsys, str(run), "3", "learner.baseline=leave_one_out")
    assert line.startswith("not replayed: learner.baseline decides") and "learner.loss" in line
    assert "learner.losss is not a setting" in refused(capsys, str(run), "3", "learner.losss=grpo")
