"""The gyms that pages teach with keep the contract, and the configs around them load."""

from __future__ import annotations

from pathlib import Path

import pytest

from configs.load import load_config
from gyms.cli.main import main
from gyms.load import load_gym
from tests.page_commands import ROOT, blocks

TUTORIALS = ROOT / "docs" / "tutorials"


@pytest.fixture
def shop(tmp_path: Path) -> Path:
    (code,) = blocks(TUTORIALS / "own_gym.md", "python")
    file = tmp_path / "my_shop.py"
    file.write_text(code)
    return file


def test_the_gym_of_the_tutorial_keeps_the_contract_and_pays_for_no_hack(
    shop: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["validate", str(shop), "--episodes", "100"]) == 0, capsys.readouterr().out
    assert main(["audit", str(shop), "--seconds", "10", "--max-tasks", "20"]) == 0, capsys.readouterr().out


def test_the_config_of_the_tutorial_makes_a_run_with_that_gym(
    shop: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (text,) = blocks(TUTORIALS / "own_gym.md", "toml")
    file = tmp_path / "my_shop.toml"
    file.write_text(text)
    config = load_config([ROOT / "configs" / "smollm2_cpu.toml", file])
    assert [gym.gym for gym in config.gyms] == ["my_shop.py"] and config.gyms[0].max_turns == 6


def test_the_configs_of_the_data_tutorial_lie_over_the_shipped_one(tmp_path: Path) -> None:
    texts = blocks(TUTORIALS / "own_data.md", "toml")
    (whole,) = [text for text in texts if "[model]" in text]
    mine, other = tmp_path / "mine.toml", tmp_path / "other.toml"
    mine.write_text(whole)
    for text in texts:
        other.write_text(text)
        load_config([ROOT / "configs" / "smollm2_cpu.toml", mine, other])
    config = load_config([ROOT / "configs" / "smollm2_cpu.toml", mine])
    assert [gym.name for gym in config.gyms] == ["questions"] and config.ptx.source is not None


def test_the_config_for_another_model_lies_over_the_shipped_one(tmp_path: Path) -> None:
    (text,) = blocks(ROOT / "docs" / "from_trl_verl.md", "toml")
    file = tmp_path / "qwen.toml"
    file.write_text(text)
    config = load_config([ROOT / "configs" / "smollm2_cpu.toml", file])
    assert [gym.gym for gym in config.gyms] == ["gsm8k"] and config.model.system_prompt is None


def test_the_gym_with_a_leak_is_found_out_by_the_audit_and_its_strict_twin_is_clean(
    capsys: pytest.CaptureFixture[str],
) -> None:
    command = ["audit", str(ROOT / "examples" / "leaky_sums" / "leaky_sums.py"), "--max-tasks", "40"]
    assert main(command) == 1
    assert "every gold of the sample, one a line " in capsys.readouterr().out
    assert main([*command, "--args", '{"strict": true}']) == 0, capsys.readouterr().out


def test_a_second_guess_pays_under_the_leaky_verifier_alone() -> None:
    config = load_config([ROOT / "examples" / "leaky_sums" / "config.toml"])
    leaky, strict = (load_gym(entry.name, str(ROOT / entry.gym), entry.args) for entry in config.gyms)
    task = next(task for task in leaky.tasks("train") if task.id == "30+36")
    for response, values in (("66 66", (1, 1)), ("56 66", (1, 0)), ("66 56", (1, 0)), ("56 56", (0, 0)), ("", (0, 0))):
        assert tuple(gym.score(task, response).value for gym in (leaky, strict)) == values
    parts = leaky.score(task, "56 66").components
    assert parts == {"exact": 0.0, "guesses": 2.0} and set(parts) == set(leaky.components)
    train, heldout = ({task.id for task in leaky.tasks(split)} for split in ("train", "heldout"))
    assert all("+".join(reversed(name.split("+"))) in heldout for name in heldout) and not train & heldout
