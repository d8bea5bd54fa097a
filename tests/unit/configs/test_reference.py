"""docs/configuration.md is what the schema says."""

from __future__ import annotations

from pathlib import Path

import pytest

from configs.load import MAY_CHANGE_ON_RESUME
from configs.reference import main, reference

PAGE = Path(__file__).parents[3] / "docs" / "configuration.md"


def row(key: str) -> list[str]:
    lines = [line for line in reference().splitlines() if line.startswith(f"| `{key}` |")]
    assert len(lines) == 1
    return [cell.strip() for cell in lines[0].strip("| ").split(" | ")]


def test_the_page_in_docs_is_up_to_date() -> None:
    assert main(["--check", str(PAGE)]) == 0, "run: python -m configs.reference > docs/configuration.md"


def test_a_stale_or_missing_page_fails_the_check_with_the_command_to_run(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    page = tmp_path / "page.md"
    assert main(["--check", str(page)]) == 1
    page.write_text(reference() + "x", encoding="utf-8")
    assert main(["--check", str(page)]) == 1
    assert f"python -m configs.reference > {page}" in capsys.readouterr().err


def test_without_arguments_the_page_is_written_to_stdout(capsys: pytest.CaptureFixture[str]) -> None:
    assert main([]) == 0
    assert capsys.readouterr().out == reference()


@pytest.mark.parametrize(
    ("key", "cells"),
    [
        ("learner.lr", ["number", "`1e-06`", ">= 0", "Peak learning rate."]),
        ("learner.betas", ["list of 2 numbers", "`[0.9, 0.95]`", "each >= 0, < 1", "AdamW moment decays."]),
        ("rollout.temperature.decay_steps", ["integer or none", "`none`", "> 0"]),
        ("engine.block_size", ["integer", "`32`", "> 0, a multiple of 32"]),
        ("learner.loss", ["text", '`"k2_seq"`']),
        ("learner.optimizer", ['`"adamw"` or `"muon"`', '`"adamw"`']),
        ("gyms.NAME.name", ["text", "required"]),
        ("gyms.NAME.args", ["table", "`{}`"]),
        ("ptx.source.jsonl", ["path or none", "`none`"]),
    ],
)
def test_a_row_says_type_default_range_and_meaning(key: str, cells: list[str]) -> None:
    assert row(key)[1 : 1 + len(cells)] == cells


def test_what_may_change_on_resume_is_listed_with_its_reason() -> None:
    resume = reference().partition("## Resuming")[2]
    assert all(f"| `{key}` | {reason} |\n" in resume for key, reason in MAY_CHANGE_ON_RESUME.items())


def test_every_row_has_five_cells_or_is_of_the_resume_table() -> None:
    tables, resume = reference().split("## Resuming")
    rows = [line for line in tables.splitlines() if line.startswith("| `")]
    assert len(rows) > 70
    assert all(len(line.replace("\\|", "").split("|")) == 7 for line in rows)
    assert resume.count("\n| `") == len(MAY_CHANGE_ON_RESUME)
