"""The gyms that pages teach with keep the contract, and the configs around them load."""

from __future__ import annotations

import tomllib
from pathlib import Path

import pytest

from configs.load import load_config
from gyms.cli.main import main
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


def test_the_settings_that_the_data_tutorial_shows_are_settings() -> None:
    for text in blocks(TUTORIALS / "own_data.md", "toml"):
        data = tomllib.loads(text)
        assert set(data) <= {"gyms", "ptx"}


def test_the_gym_with_a_leak_is_found_out_by_the_audit(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["audit", str(ROOT / "examples" / "leaky_sums" / "leaky_sums.py"), "--seconds", "20"]) == 1
    assert "every number to 100 " in capsys.readouterr().out
