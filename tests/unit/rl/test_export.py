"""A checkpoint becomes a folder, or one line says why not."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from transformers import AutoModelForCausalLM

from configs.load import load_config, to_json
from rl.checkpoint import staging_folder, write_manifest
from rl.export import export, main
from rl.learner import Learner
from rl.lora import LoraMasters
from rl.run_folder import RunFolder
from rl.settings import learner_settings
from rl.tiny_model import build_tiny_model

ROOT = Path(__file__).parents[3]


@pytest.fixture(scope="module")
def run(tmp_path_factory) -> Path:
    return make_run(tmp_path_factory.mktemp("run"))[0]


def make_run(path: Path, *overrides: str) -> tuple[Path, Learner]:
    """A run folder with checkpoints of steps 2 and 4 whose weights differ, and the learner that wrote them."""
    folder = RunFolder(path)
    folder.create()
    config = load_config([ROOT / "configs" / "tiny_cpu.toml"], [f"run_dir={folder.path}", *overrides])
    folder.config.write_text(to_json(config))
    build_tiny_model(folder.base, config.model.tiny, context_length=config.model.context_length, seed=0)
    learner = Learner(learner_settings(config, folder.base))
    for step in (2, 4):
        for master in learner.masters.parameters.values():
            master.add_(0.01 * step)
        learner.kept.updated()
        learner.masters.refresh()
        staging = staging_folder(folder.checkpoints, step)
        learner.save(staging)
        write_manifest(staging, folder.checkpoints, run={"step": step}, fingerprint={})
        learner.export(folder.path / f"expected_{step}")
    return folder.path, learner


@pytest.mark.parametrize("how", [(), ("learner.lora.rank=2",)], ids=["masters", "adapters"])
def test_in_bf16_the_folder_holds_the_weights_before_the_grid(how: tuple[str, ...], tmp_path: Path) -> None:
    run, learner = make_run(tmp_path / "run", *how)
    assert main([str(run), "--bf16"]) == 0
    made = run / "export_bf16_step_4"
    model = AutoModelForCausalLM.from_pretrained(made, dtype="auto")
    masters = learner.masters
    for name, found in model.named_parameters():
        if isinstance(masters, LoraMasters):
            matrix = name.removesuffix(".weight")
            expected = masters.merged(matrix) if f"{matrix}.lora_A" in masters.parameters else masters.images()[name]
        else:
            expected = masters.parameters[name]
        assert found.dtype == torch.bfloat16 and found.equal(expected.to(torch.bfloat16)), name
    on_grid = load_file(run / "expected_4" / "model.safetensors")
    assert any(name.endswith(".weight_packed") for name in on_grid) and (made / "tokenizer.json").is_file()
    assert "quantization_config" not in json.loads((made / "config.json").read_text())


def test_the_newest_checkpoint_or_another_becomes_the_folder_that_the_learner_writes(run: Path, tmp_path: Path) -> None:
    assert export(run, None, None) == run / "export_step_4"
    assert export(run, 2, tmp_path / "two") == tmp_path / "two"
    for made, step in ((run / "export_step_4", 4), (tmp_path / "two", 2)):
        found, expected = (load_file(path / "model.safetensors") for path in (made, run / f"expected_{step}"))
        assert found.keys() == expected.keys()
        assert all(found[name].equal(expected[name]) for name in found)
        assert (made / "tokenizer.json").is_file()


def test_what_cannot_be_exported_is_one_line(run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    taken = tmp_path / "taken"
    taken.mkdir()
    (taken / "file").write_text("mine")
    bare = RunFolder(tmp_path / "bare")
    bare.create()
    bare.config.write_text((run / "config.json").read_text())
    for arguments, told in (
        ([str(tmp_path)], "is no run folder: it has no config.json"),
        (["x" * 300], "File name too long"),
        ([str(bare.path)], "has no checkpoint yet"),
        ([str(run), "--step", "3"], "has no checkpoint of step 3; it has: 2, 4"),
        ([str(run), "--output", str(taken)], "is there already"),
    ):
        assert main(arguments) == 2
        captured = capsys.readouterr()
        assert captured.out == "" and captured.err.startswith("not exported: ") and told in captured.err
        assert captured.err.count("\n") == 1
    assert (taken / "file").read_text() == "mine"


def test_the_average_of_the_weights_replaces_no_folder_of_its_name(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run, _ = make_run(tmp_path / "run", "learner.ema_decay=0.5")
    mine = tmp_path / "made_ema" / "file"
    mine.parent.mkdir()
    mine.write_text("mine")
    assert main([str(run), "--output", str(tmp_path / "made")]) == 2
    assert f"{mine.parent} is there already" in capsys.readouterr().err
    assert mine.read_text() == "mine" and not (tmp_path / "made").exists()
    assert main([str(run), "--output", str(tmp_path / "made"), "--bf16"]) == 0  # without the average
