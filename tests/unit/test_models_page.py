"""docs/models.md says what was found, of every architecture of the table."""

from __future__ import annotations

import json
from pathlib import Path

from tests.families.proof import check
from tests.families.shapes import FAMILIES
from tests.families.table import page

DOCS = Path(__file__).parents[2] / "docs"


def test_the_page_is_written_from_what_was_found() -> None:
    facts = json.loads((DOCS / "models.json").read_text())
    assert page(facts) == (DOCS / "models.md").read_text(), "run: make test-families"
    names = [family.name for family in FAMILIES]
    assert list(facts["families"]) == [name for name in names if name in facts["families"]]
    for family in FAMILIES:
        found = facts["families"].get(family.name)
        if found is not None and family.refusal is None:
            assert check(family, found) == [], family.name
