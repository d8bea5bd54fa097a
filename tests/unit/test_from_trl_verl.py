"""The page that translates: what it calls ours exists."""

from __future__ import annotations

import re

import pytest

from configs.load import ELSEWHERE, ConfigError, load_config, setting_names
from rl.metric_table import METRICS
from tests.page_commands import ROOT

TEXT = (ROOT / "docs" / "from_trl_verl.md").read_text(encoding="utf-8")
LAST_CELLS = "\n".join(row.split("|")[-2] for row in TEXT.splitlines() if "|" in row)
THEIRS: dict[str, list[str]] = {}
"""Their settings, by the last word, and what stands in the last cell of their rows."""
for row in TEXT[TEXT.index("## Settings") : TEXT.index("## Numbers")].splitlines():
    if row.startswith("| "):
        *cells, ours = row.strip("|").split("|")
        for name in re.findall(r"`(?:[a-z_]+\.)*([a-z_]+)`", "".join(cells)):
            THEIRS.setdefault(name, []).append(ours)
OURS = re.findall(r"`([a-z_]+(?:[./][a-z_<>*]+)+)`", LAST_CELLS)


def test_the_page_translates_to_many_names() -> None:
    assert len(OURS) > 50


@pytest.mark.parametrize("name", sorted(set(OURS)))
def test_a_name_of_ours_is_a_setting_or_a_number_of_a_run(name: str) -> None:
    assert name in setting_names() or name in {metric.name for metric in METRICS}


@pytest.mark.parametrize("theirs", sorted(THEIRS))
def test_a_setting_of_theirs_is_refused_with_ours_of_its_row(theirs: str) -> None:
    with pytest.raises(ConfigError, match=f"^{theirs} is not a setting") as told:
        load_config([ROOT / "configs" / "tiny_cpu.toml"], [f"{theirs}=1"])
    ours = [name for cell in THEIRS[theirs] for name in re.findall(r"`([a-z_.*/]+)`", cell) or [cell.strip()]]
    assert any(name.replace("*", "NAME") in str(told.value) for name in ours)


def test_what_the_configs_know_of_theirs_stands_on_the_page() -> None:
    assert set(ELSEWHERE) <= set(THEIRS)
