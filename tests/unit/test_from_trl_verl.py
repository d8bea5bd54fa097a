"""The page that translates: what it calls ours exists."""

from __future__ import annotations

import re

import pytest

from configs.load import ELSEWHERE, ConfigError, load_config, setting_names
from rl.metric_table import METRICS
from tests.page_commands import ROOT

TEXT = (ROOT / "docs" / "from_trl_verl.md").read_text(encoding="utf-8")
LAST_CELLS = "\n".join(row.split("|")[-2] for row in TEXT.splitlines() if "|" in row)
OURS = re.findall(r"`([a-z_]+(?:[./][a-z_<>*]+)+)`", LAST_CELLS)


def test_the_page_translates_to_many_names() -> None:
    assert len(OURS) > 50


@pytest.mark.parametrize("name", sorted(set(OURS)))
def test_a_name_of_ours_is_a_setting_or_a_number_of_a_run(name: str) -> None:
    assert name in setting_names() or name in {metric.name for metric in METRICS}


@pytest.mark.parametrize("theirs", ELSEWHERE)
def test_a_setting_of_theirs_is_refused_with_ours_which_the_page_has_too(theirs: str) -> None:
    ours = ELSEWHERE[theirs]
    with pytest.raises(ConfigError, match=f"{theirs} is not a setting; what TRL or verl call so is {ours} "):
        load_config([ROOT / "configs" / "tiny_cpu.toml"], [f"learner.{theirs}=1"])
    assert ours.replace("NAME", "*") in setting_names()
    rows = [row for row in TEXT.splitlines() if re.search(rf"[`.]{theirs}`", row) and row.startswith("|")]
    assert any(f"`{ours.replace('NAME', '*')}`" in row.split("|")[-2] for row in rows)
