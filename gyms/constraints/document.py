"""The table of docs/constraints.md, made from the registry: `python -m gyms.constraints.document docs/constraints.md`.

The page keeps its hand-written head; everything from the marker line on is generated, and a test fails when the two
differ.
"""

from __future__ import annotations

import sys
from itertools import combinations
from pathlib import Path

from gyms.constraints.conflicts import exclusion
from gyms.constraints.registry import BUILT_IN
from gyms.constraints.rule import SOURCES

__all__ = ["MARKER", "generated", "write"]

MARKER = "<!-- generated from here on: python -m gyms.constraints.document docs/constraints.md -->"


def generated() -> str:
    """The generated part of the page."""
    parts = [MARKER, ""]
    for source in SOURCES:
        rows = [constraint for constraint in BUILT_IN.values() if constraint.source == source]
        parts += [f"## {source}: {len(rows)} ids", "", "| id | arguments | rule | against the published checker |"]
        parts.append("|---|---|---|---|")
        for constraint in rows:
            names = ", ".join(f"`{name}`" for name in constraint.args.model_fields) or "-"
            told = constraint.difference or "the same"
            parts.append(f"| `{constraint.id}` | {names} | {_cell(constraint.rule)} | {_cell(told)} |")
        parts.append("")
    parts += ["## Ids that exclude each other", "", "| ids | why |", "|---|---|"]
    for one, other in combinations(sorted(BUILT_IN), 2):
        if why := exclusion(BUILT_IN[one], BUILT_IN[other]):
            parts.append(f"| `{one}`, `{other}` | {_cell(why)} |")
    return "\n".join(parts) + "\n"


def write(page: Path) -> None:
    """Bring the generated part of the page up to date."""
    head = page.read_text(encoding="utf-8").partition(MARKER)[0]
    page.write_text(head + generated(), encoding="utf-8")


def _cell(text: str) -> str:
    return text.replace("|", r"\|").replace("<", "&lt;").replace("*", r"\*").replace("\n", " ")


if __name__ == "__main__":
    write(Path(sys.argv[1]))
