"""The folder of experiment configs."""

from __future__ import annotations

from pathlib import Path

import pytest

from configs.load import load_config

FOLDER = Path(__file__).parents[3] / "configs"
SHIPPED = sorted(FOLDER.rglob("*.toml"))


@pytest.mark.parametrize("file", SHIPPED, ids=lambda file: file.stem)
def test_every_shipped_config_is_valid_is_called_as_its_file_and_says_what_it_is(file: Path, tmp_path: Path) -> None:
    config = load_config([file], [f"run_dir={tmp_path / 'run'}"])
    assert config.name == file.stem
    directive, head = file.read_text().splitlines()[:2]
    assert (file.parent / directive.removeprefix("#:schema ")).resolve() == FOLDER / "config.schema.json"
    assert head.startswith("# ")


def test_there_are_configs() -> None:
    assert {"tiny_cpu", "smollm2_cpu", "smollm2_brief", "tiny_critic", "k2_joint"} <= {file.stem for file in SHIPPED}
